//! An HTTP action that is ready: it sends, shows what it would send, and tries its credentials.

use std::collections::BTreeMap;

use event::Time;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method, Url};
use serde_json::{Map, Value, json};

use super::answer::{ANSWER_MAX, Good};
use super::request;
use super::steps::{Program, Step, Steps};
use crate::actions::{Action, Answer, Sending, Showing, Trying};
use crate::call::Call;
use crate::jq::Jq;
use crate::preset::Limit;
use remote::hidden::Hidden;

/// Stands for a secret where a request is shown.
const COVER: &str = "***";

pub struct Live {
    pub(super) client: Client,
    pub(super) url: Url,
    /// The URL, if it is no secret.
    pub(super) base: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) steps: Steps,
    pub(super) form: bool,
    /// Those of a preset.
    pub(super) limits: Option<BTreeMap<String, Limit>>,
    pub(super) hmac: Option<(String, Vec<u8>)>,
    pub(super) hidden: Hidden,
    pub(super) set: Map<String, Value>,
    pub(super) secret: Map<String, Value>,
    /// Whom it goes to, with where each is reached.
    pub(super) people: BTreeMap<String, String>,
    pub(super) jq: Jq,
}

/// One request, whole.
pub struct Made {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) body: Option<Vec<u8>>,
}

impl Action for Live {
    fn send<'a>(&'a self, call: &'a Call) -> Sending<'a> {
        Box::pin(async move {
            let Some(step) = self.steps.of(&call.told) else { return Answer::done(None) };
            let now = call.event.received.ms();
            if !self.people.is_empty() && !self.people.contains_key(&call.target) {
                return Answer::never(None, "this contact is no longer in `to`");
            }
            let mut more = self.more(&call.target, Some(&call.key), false);
            match self.before(step, call, &more, now).await {
                Ok(before) if before.is_empty() => {}
                Ok(before) => drop(more.insert("before".into(), before.into())),
                Err(answer) => return answer,
            }
            let made = match self.make(step, call.input(&more), Some(&call.told_line()), now).await {
                Ok(made) => made,
                Err(why) => return Answer::never(None, self.hidden.cut_parts(why)),
            };
            // What is known of the incident stays, unless a later step says more.
            let note = step.reference.is_some() && (call.told.reference.is_none() || !self.steps.is_first(step));
            match self.ask(made, Some(&call.key), step, ANSWER_MAX, now).await {
                Ok(good) if note => self.noted(good, step, now).await,
                Ok(good) => Answer::done(Some(i64::from(good.status))),
                Err(answer) => answer,
            }
        })
    }

    fn show<'a>(&'a self, call: &'a Call) -> Showing<'a> {
        Box::pin(async move {
            let Some(step) = self.steps.of(&call.told) else {
                return Ok(json!({"nothing": "the service has not heard of this incident"}));
            };
            let seen = call.input(&self.more(&call.target, Some(&call.key), true));
            let made = self.make(step, seen, Some(&call.told_line()), call.event.received.ms()).await;
            let made = made.map_err(|why| self.hidden.cut_parts(why))?;
            let headers: Map<String, Value> = self
                .headers
                .iter()
                .filter(|(name, _)| *name != CONTENT_TYPE)
                .map(|(name, _)| (name.as_str().to_owned(), COVER.into()))
                .collect();
            let body = match &made.body {
                Some(body) if self.form => String::from_utf8_lossy(body).into_owned().into(),
                Some(body) => serde_json::from_slice(body).map_err(|e| e.to_string())?,
                None => Value::Null,
            };
            let mut shown = json!({
                "method": made.method.as_str(),
                "origin": self.url.origin().ascii_serialization(),
                "headers": headers,
                "idempotency_key": call.key,
                "body": body,
            });
            if let (false, Some(map)) = (step.before.is_empty(), shown.as_object_mut()) {
                map.insert("before".into(), self.show_before(step, call).await.into());
            }
            if let (Some(_), Some(map)) = (&self.base, shown.as_object_mut()) {
                map.insert("path".into(), made.url.path().into());
                map.insert("query".into(), made.url.query().into());
            }
            Ok(self.hidden.cut_value(shown))
        })
    }

    fn online(&self) -> Option<Trying<'_>> {
        let step = self.steps.online.as_ref()?;
        Some(Box::pin(async move {
            let nobody = String::new();
            let people = if self.people.is_empty() { vec![&nobody] } else { self.people.keys().collect() };
            for target in people {
                let seen = Value::Object(self.more(target, None, false)).to_string().into_bytes();
                let now = Time::now().ms();
                let mut made = self.make(step, seen, None, now).await.map_err(|why| self.hidden.cut_parts(why))?;
                if step.method.is_none() {
                    made.method = Method::GET;
                }
                self.ask(made, None, step, ANSWER_MAX, now).await.map_err(|answer| answer.error)?;
            }
            Ok(())
        }))
    }

    fn keeps_reference(&self) -> bool {
        self.steps.noting || self.steps.tells_apart()
    }
}

impl Live {
    /// What its programs see beside the match. `covered`: nothing of what they make may tell a secret.
    pub(super) fn more(&self, target: &str, key: Option<&str>, covered: bool) -> Map<String, Value> {
        let cover =
            |(name, value): (&String, &Value)| (name.clone(), if covered { COVER.into() } else { value.clone() });
        let mut more = Map::new();
        more.insert("set".into(), self.set.clone().into());
        more.insert("secret".into(), self.secret.iter().map(cover).collect::<Map<_, _>>().into());
        if let Some(key) = key {
            more.insert("key".into(), key.into());
        }
        if let Some(person) = self.people.get(target) {
            more.insert("target".into(), if covered { COVER } else { person }.into());
        }
        more
    }

    /// `line`: what is sent where no body is made.
    pub(super) async fn make(&self, step: &Step, seen: Vec<u8>, line: Option<&[u8]>, now: i64) -> Result<Made, String> {
        let path = self.run("path", &step.path, &seen, now).await?;
        let query = self.run("query", &step.query, &seen, now).await?;
        let url = request::address(&self.url, path.as_deref(), query.as_deref())?;
        let method = step.method.clone().unwrap_or(Method::POST);
        let bodiless = matches!(method, Method::GET | Method::DELETE);
        let body = match self.run("body", &step.body, &seen, now).await? {
            Some(made) => Some(request::body(made, self.limits.as_ref(), self.form)?),
            None => line.filter(|_| !bodiless).map(<[u8]>::to_vec),
        };
        Ok(Made { method, url, body })
    }

    pub(super) async fn run(
        &self,
        key: &str,
        program: &Program,
        seen: &[u8],
        now: i64,
    ) -> Result<Option<Vec<u8>>, String> {
        let Some(program) = program else { return Ok(None) };
        self.jq.one(program, seen.to_vec(), now).await.map(Some).map_err(|why| format!("`{key}`: {why}"))
    }

    pub(super) async fn ask(
        &self,
        made: Made,
        key: Option<&str>,
        step: &Step,
        most: usize,
        now: i64,
    ) -> Result<Good, Answer> {
        let mut request = self.client.request(made.method, made.url).headers(self.headers.clone());
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some((name, key)) = &self.hmac {
            request = request.header(name, request::sign(key, made.body.as_deref().unwrap_or_default()));
        }
        if let Some(body) = made.body {
            request = request.body(body);
        }
        match request.send().await {
            Ok(response) => self.judge(response, step, most, now).await,
            Err(error) if error.is_builder() => Err(Answer::never(None, self.plain(error))),
            Err(error) if error.is_connect() => Err(Answer::later(None, self.plain(error))),
            Err(error) => Err(Answer::unsure(self.plain(error))),
        }
    }
}

//! What is asked or done before the request that counts: whether a ticket is there already, which ways out of its status
//! it has, a change that may be made twice without harm.
//!
//! After a crash or a failure all of it is done again. So what may be repeated goes first, and what may not is last.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::answer::{FOUND_MAX, Good};
use super::live::Live;
use super::steps::Step;
use crate::actions::{Answer, Verdict};
use crate::call::Call;

impl Live {
    /// The answers {status, headers, body, …}, with null for what was left out; or the end of the try: one failed, or what
    /// is asked for is there already.
    pub(super) async fn before(
        &self,
        step: &Step,
        call: &Call,
        more: &Map<String, Value>,
        now: i64,
    ) -> Result<Vec<Value>, Answer> {
        let (mut answers, mut more) = (Vec::new(), more.clone());
        for earlier in &step.before {
            more.insert("before".into(), answers.clone().into());
            let good = self.earlier(earlier, call, &more, now).await?;
            let Some(good) = good else {
                answers.push(Value::Null);
                continue;
            };
            let view: Value = serde_json::from_slice(&good.view).unwrap_or_default();
            if earlier.reference.is_some() {
                self.there(earlier, call, &more, (good, &view), now).await?;
            }
            answers.push(view);
        }
        Ok(answers)
    }

    /// What they would be. Some are made of the answers to others, which nobody knows here.
    pub(super) async fn show_before(&self, step: &Step, call: &Call) -> Vec<Value> {
        let seen = call.input(&self.more(&call.target, Some(&call.key), true));
        let mut all = Vec::new();
        for earlier in &step.before {
            let method = earlier.method.clone().unwrap_or(Method::GET);
            let mut shown = json!({"method": method.as_str()});
            let made = self.make(earlier, seen.clone(), None, call.event.received.ms()).await;
            let more = match made {
                Ok(made) => json!({
                    "path": made.url.path(),
                    "query": made.url.query(),
                    "body": made.body.and_then(|body| serde_json::from_slice::<Value>(&body).ok()),
                }),
                Err(_) => json!({"depends": "on the answers before it"}),
            };
            if let (Some(map), Value::Object(more)) = (shown.as_object_mut(), more) {
                map.extend(more);
            }
            all.push(shown);
        }
        all
    }

    /// The answer to one of them; none: it was not asked.
    async fn earlier(
        &self,
        step: &Step,
        call: &Call,
        more: &Map<String, Value>,
        now: i64,
    ) -> Result<Option<Good>, Answer> {
        let never = |why: String| Answer::never(None, self.hidden.cut_parts(why));
        let seen = call.input(more);
        let when = self.run("when", &step.when, &seen, now).await.map_err(never)?;
        if matches!(when.as_deref(), Some(b"false" | b"null")) {
            return Ok(None);
        }
        let mut made = self.make(step, seen, None, now).await.map_err(never)?;
        if step.method.is_none() {
            made.method = Method::GET;
        }
        let asks = made.method == Method::GET || step.reference.is_some();
        // The key is that of the request that counts.
        let asked = self.ask(made, None, step, FOUND_MAX, now).await;
        asked.map(Some).map_err(|answer| match answer.verdict {
            // Of a question nobody need wonder whether it was done.
            Verdict::Later { after, .. } if asks => {
                Answer { verdict: Verdict::Later { after, unsure: false }, ..answer }
            }
            _ => answer,
        })
    }

    /// Ends the try where what is wanted is there already.
    async fn there(
        &self,
        step: &Step,
        call: &Call,
        more: &Map<String, Value>,
        (good, view): (Good, &Value),
        now: i64,
    ) -> Result<(), Answer> {
        let never = |why: String| Answer::never(None, self.hidden.cut_parts(why));
        let mut seen: Map<String, Value> = serde_json::from_slice(&call.input(more)).unwrap_or_default();
        seen.extend(view.as_object().cloned().unwrap_or_default());
        let seen = Value::Object(seen).to_string().into_bytes();
        match self.run("ref", &step.reference, &seen, now).await.map_err(never)? {
            Some(made) if made != b"null" => Err(self.noting(i64::from(good.status), &made)),
            _ => Ok(()),
        }
    }
}

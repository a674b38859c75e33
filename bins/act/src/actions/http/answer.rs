//! What is made of an answer.

use std::time::Duration;

use event::Time;
use reqwest::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::{Map, Value, json};

use super::live::Live;
use super::steps::Step;
use crate::actions::{Answer, Verdict};
use crate::call::one_line;
use crate::retry;

/// How much of an answer is read, in bytes.
pub const ANSWER_MAX: usize = 512 << 10;
/// The same of one to a question that comes before: lists of tickets with their texts.
pub const FOUND_MAX: usize = 4 << 20;
/// How much of an answer goes into an error, in characters.
const SAID_MAX: usize = 200;
/// The longest pause that an answer may ask for.
const AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
/// The longest reference that is kept, in bytes of JSON.
const REFERENCE_MAX: usize = 4 << 10;

/// An answer that is good.
pub struct Good {
    pub status: u16,
    /// What `ref` and what comes after it see, as JSON.
    pub view: Vec<u8>,
}

impl Live {
    /// Reads the answer, at most `most` bytes of it, and judges it: what its programs see of one that is good, else the end
    /// of the try.
    pub(super) async fn judge(
        &self,
        mut response: Response,
        step: &Step,
        most: usize,
        now: i64,
    ) -> Result<Good, Answer> {
        let status = response.status().as_u16();
        let after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok());
        let after = after.and_then(|v| retry::retry_after(v, Time::now().ms()));
        let mut body = Vec::new();
        while body.len() < most {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend(chunk.iter().take(most - body.len())),
                Ok(None) => break,
                Err(error) => return Err(Answer::unsure(self.plain(error))),
            }
        }
        // Of half an answer nobody can say what it refers to: a second ticket would be made, or this one never closed.
        if body.len() >= most && step.reference.is_some() && (200..300).contains(&status) {
            return Err(Answer::unsure(format!("status {status}: the answer is longer than {most} bytes")));
        }
        let view = self.view(status, response.headers(), &body);
        let number = Some(i64::from(status));
        let by_status = matches!(status, 408 | 425 | 429 | 500..=599);
        let ok = match &step.ok {
            Some(program) => self.jq.holds(program, view.clone(), now).await.map_err(|why| format!("`ok`: {why}")),
            None => Ok((200..300).contains(&status)),
        };
        let mut said = match &ok {
            Ok(true) => return Ok(Good { status, view }),
            Ok(false) => String::from_utf8_lossy(&body).into_owned(),
            Err(why) => self.hidden.cut_parts(why.clone()),
        };
        // A program fails on answers that it was not written for, such as a proxy's page: the status says enough.
        let later = match &step.later {
            Some(program) => self.jq.holds(program, view.clone(), now).await.unwrap_or_else(|why| {
                said = format!("`later`: {}; {said}", self.hidden.cut_parts(why));
                by_status
            }),
            None => by_status,
        };
        let said = one_line(&self.hidden.cut(said), SAID_MAX);
        let error = if said.is_empty() { format!("status {status}") } else { format!("status {status}: {said}") };
        if !later {
            return Err(Answer::never(number, error));
        }
        // `X-RateLimit-Reset` and its like are times of the real clock.
        let asked = match &step.after {
            Some(program) => self.jq.one(program, view, Time::now().ms()).await.ok().and_then(|made| seconds(&made)),
            None => None,
        };
        let verdict = Verdict::Later { after: asked.or(after), unsure: false };
        Err(Answer { verdict, ..Answer::later(number, error) })
    }

    /// With what `ref` makes of the answer. Without it the service has the message all the same, so it is done.
    pub(super) async fn noted(&self, good: Good, step: &Step, now: i64) -> Answer {
        let status = i64::from(good.status);
        let Some(program) = &step.reference else { return Answer::done(Some(status)) };
        match self.jq.one(program, good.view, now).await {
            Ok(made) => self.noting(status, &made),
            Err(why) => {
                tracing::warn!("`ref`: {}", one_line(&self.hidden.cut_parts(why), SAID_MAX));
                Answer::done(Some(status))
            }
        }
    }

    /// Done, and this is what `ref` gave.
    pub(super) fn noting(&self, status: i64, made: &[u8]) -> Answer {
        let answer = Answer::done(Some(status));
        match serde_json::from_slice::<Value>(made) {
            Ok(value) if made.len() <= REFERENCE_MAX && value.get("id").is_some_and(|id| !id.is_null()) => {
                answer.noting(self.hidden.cut_value(value))
            }
            _ => {
                tracing::warn!("`ref` gave no object with an `id` (or more than {REFERENCE_MAX} bytes)");
                answer
            }
        }
    }

    /// What `ok`, `later`, `after` and `ref` see: {status, headers, body, set, url?}.
    fn view(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
        let named = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.as_str().to_owned(), Value::String(String::from_utf8_lossy(value.as_bytes()).into_owned()))
        };
        let headers_seen: Map<String, Value> = headers.iter().map(named).collect();
        let is_json = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("json"));
        let parsed = is_json.then(|| serde_json::from_slice::<Value>(body).ok()).flatten();
        let body = parsed.unwrap_or_else(|| Value::String(String::from_utf8_lossy(body).into_owned()));
        let mut view = json!({"status": status, "headers": headers_seen, "body": body, "set": self.set});
        if let (Some(base), Some(map)) = (&self.base, view.as_object_mut()) {
            map.insert("url".into(), base.clone().into());
        }
        serde_json::to_vec(&view).unwrap_or_default()
    }

    /// The words of an error and its causes, without the URL.
    pub(super) fn plain(&self, error: reqwest::Error) -> String {
        one_line(&self.hidden.cut(remote::http::plain(error)), SAID_MAX)
    }
}

/// A number of seconds that can be waited.
fn seconds(made: &[u8]) -> Option<Duration> {
    let seconds: f64 = serde_json::from_slice(made).ok()?;
    Some(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(AFTER_MAX).min(AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_that_are_asked_for() {
        for (made, want) in [
            ("2.5", Some(Duration::from_millis(2500))),
            ("-3", Some(Duration::ZERO)),
            ("1e300", Some(AFTER_MAX)),
            ("null", None),
            ("\"5\"", None),
        ] {
            assert_eq!(seconds(made.as_bytes()), want, "{made}");
        }
    }
}

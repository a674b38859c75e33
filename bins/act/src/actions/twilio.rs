//! SMS by Twilio: one message to each telephone, in as few parts as the configuration allows.
//!
//! Twilio's crate builds the request, our client sends it. 201 means queued; what became of it on its way Twilio tells
//! the `status_callback`. Twilio knows no idempotency key: after a crash between sending and hearing the answer a message
//! may come twice.

mod request;
mod sms;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use event::Time;
use pipe::config::{Secret, Settings};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, Url};
use serde_json::{Map, Value, json};

use self::request::{Account, Built, Sender};
use self::sms::{Alphabet, fit, segments};
use super::http::open::client;
use super::{Action, Answer, Kind, Opening, Reading, STAND_IN, Sending, Showing, Spec, Trying, Verdict};
use crate::call::{Call, cut, lines, one_line};
use crate::jq::Jq;
use crate::retry;
use remote::hidden::Hidden;

/// The kind.
pub const KIND: Kind =
    Kind { name: "twilio", repeatable: true, timeout: Duration::from_secs(30), changes_machines: false, read };

/// Where Twilio answers, unless the configuration names one of its regions.
const URL: &str = "https://api.twilio.com";
/// Parts of one message, unless the configuration says otherwise, and the most (Twilio takes 1,600 characters).
const SEGMENTS: i64 = 3;
const SEGMENTS_MAX: i64 = 10;
/// How much of an answer is read, in bytes, and how much of it goes into an error, in characters.
const ANSWER_MAX: usize = 64 << 10;
const SAID_MAX: usize = 200;
/// The queue of a sender is full: it drains (<https://www.twilio.com/docs/errors/21611>).
const QUEUE_FULL: i64 = 21_611;

struct Twilio {
    url: Url,
    account: String,
    key: Option<String>,
    token: Secret,
    sender: Sender,
    to: Vec<String>,
    segments: usize,
    body: Option<Arc<str>>,
    callback: Option<Url>,
    ca: Option<PathBuf>,
}

fn read(settings: &mut Settings, reading: &Reading<'_>) -> Option<Box<dyn Spec>> {
    let url = web(settings, "url").or_else(|| Url::parse(URL).ok());
    let login = settings.table("login").and_then(|mut table| {
        let login = read_login(&mut table);
        settings.absorb(table);
        login
    });
    if !settings.has("login") {
        settings.fail("", "needs the key `login`");
    }
    let sender = settings.required_str("from").and_then(|text| {
        let sender = read_sender(&text);
        if sender.is_none() {
            settings.fail("from", format!("`{text}` is no number (+4930…), short code, sender's name or MG… service"));
        }
        sender
    });
    let to = reading.config.people(settings, &pipe::config::PHONE).into_iter().map(|person| person.at).collect();
    let most = settings.int("segments").unwrap_or(SEGMENTS);
    if !(1..=SEGMENTS_MAX).contains(&most) {
        settings.fail("segments", format!("is 1 to {SEGMENTS_MAX}"));
    }
    let (body, callback, ca) =
        (reading.program(settings, "body"), web(settings, "status_callback"), settings.path("ca"));
    let (account, key, token) = login?;
    let (url, sender, segments) = (url?, sender?, usize::try_from(most).unwrap_or(1).max(1));
    Some(Box::new(Twilio { url, account, key, token, sender, to, segments, body, callback, ca }))
}

fn read_login(table: &mut Settings) -> Option<(String, Option<String>, Secret)> {
    let (account, key, token) = (table.required_str("account"), table.str("key"), table.secret("token"));
    for (name, begin, value) in [("account", "AC", &account), ("key", "SK", &key)] {
        if let Some(text) = value.as_ref().filter(|text| !is_sid(text, begin)) {
            table.fail(name, format!("`{text}` is not {begin} and 32 hex digits"));
        }
    }
    if !table.has("token") {
        table.fail("", "needs the key `token`");
    }
    Some((account?, key, token?))
}

/// Whether this names something at Twilio: two letters and 32 hex digits.
fn is_sid(text: &str, begin: &str) -> bool {
    text.strip_prefix(begin).is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn read_sender(text: &str) -> Option<Sender> {
    if is_sid(text, "MG") {
        return Some(Sender::Service(text.to_owned()));
    }
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let number = text.strip_prefix('+').is_some_and(|rest| (7..=15).contains(&rest.len()) && digits(rest));
    let code = (3..=8).contains(&text.len()) && digits(text);
    // A name of the sender: up to 11 letters, digits and spaces, one letter at least.
    let name = (1..=11).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b' ')
        && text.bytes().any(|b| b.is_ascii_alphabetic());
    (number || code || name).then(|| Sender::From(text.to_owned()))
}

fn web(settings: &mut Settings, key: &str) -> Option<Url> {
    let text = settings.str(key)?;
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
    if url.is_none() {
        settings.fail(key, "must begin with https:// or http://");
    }
    url
}

impl Spec for Twilio {
    fn targets(&self) -> Vec<String> {
        self.to.clone()
    }

    fn open(&self, opening: &Opening<'_>) -> Result<Arc<dyn Action>, String> {
        let token = opening.secret(&self.token, STAND_IN)?.trim().to_owned();
        let builder = Account::new(&self.account, &token)?;
        let mut hidden = Hidden::default();
        hidden.add(&token);
        hidden.add(&builder.message(&self.sender, "", "", None)?.login);
        Ok(Arc::new(Live {
            client: client(self.ca.as_deref())?,
            builder,
            hidden,
            url: self.url.clone(),
            key: self.key.clone(),
            token,
            sender: self.sender.clone(),
            segments: self.segments,
            body: self.body.clone(),
            callback: self.callback.clone(),
            jq: opening.jq.clone(),
        }))
    }
}

struct Live {
    client: Client,
    builder: Account,
    hidden: Hidden,
    url: Url,
    /// An API key to log in with in place of the account.
    key: Option<String>,
    token: String,
    sender: Sender,
    segments: usize,
    body: Option<Arc<str>>,
    callback: Option<Url>,
    jq: Jq,
}

impl Action for Live {
    fn send<'a>(&'a self, call: &'a Call) -> Sending<'a> {
        Box::pin(async move {
            let (built, _) = match self.built(call).await {
                Ok(built) => built,
                Err(why) => return Answer::never(None, why),
            };
            let request = self.client.post(self.at(&built.path));
            let request = self.login(request, &built.login).header("Idempotency-Key", &call.key);
            let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(built.form);
            match request.send().await {
                Ok(response) => self.judge(response).await,
                Err(error) if error.is_builder() => Answer::never(None, self.plain(error)),
                Err(error) if error.is_connect() => Answer::later(None, self.plain(error)),
                Err(error) => Answer::unsure(self.plain(error)),
            }
        })
    }

    fn show<'a>(&'a self, call: &'a Call) -> Showing<'a> {
        Box::pin(async move {
            let (built, body) = self.built(call).await?;
            let mut form = Map::from_iter([("To".to_owned(), call.target.clone().into())]);
            match &self.sender {
                Sender::From(from) => form.insert("From".into(), from.clone().into()),
                Sender::Service(service) => form.insert("MessagingServiceSid".into(), service.clone().into()),
            };
            form.insert("Body".into(), body.clone().into());
            if let Some(url) = &self.callback {
                form.insert("StatusCallback".into(), url.as_str().into());
            }
            Ok(json!({
                "method": "POST", "url": self.at(&built.path).as_str(), "idempotency_key": call.key, "form": form,
                "alphabet": Alphabet::of(&body).word(), "segments": segments(&body),
            }))
        })
    }

    /// Asks for the list of messages, which tells nobody; API keys may read it too.
    fn online(&self) -> Option<Trying<'_>> {
        Some(Box::pin(async move {
            let built = self.builder.message(&self.sender, "", "", None)?;
            let mut url = self.at(&built.path);
            url.set_query(Some("PageSize=1"));
            let asked = self.login(self.client.get(url), &built.login).send().await;
            let response = asked.map_err(|error| self.plain(error))?;
            let status = response.status().as_u16();
            match self.read(response).await {
                Ok(body) if status == 200 && body.get("messages").is_some() => Ok(()),
                Ok(body) => Err(self.said(status, &body)),
                Err(why) => Err(why),
            }
        }))
    }
}

impl Live {
    /// The request and its text.
    async fn built(&self, call: &Call) -> Result<(Built, String), String> {
        let words = match &self.body {
            Some(program) => {
                let made = self.jq.one(program, call.input(&Map::new()), call.event.received.ms()).await;
                let made = made.map_err(|why| format!("`body`: {why}"))?;
                match serde_json::from_slice(&made) {
                    Ok(Value::String(text)) if !text.trim().is_empty() => lines(&text),
                    _ => return Err("`body` gave no text".into()),
                }
            }
            None => words(call),
        };
        let body = fit(&words, link(call).as_deref(), self.segments);
        let callback = self.callback.as_ref().map(Url::as_str);
        Ok((self.builder.message(&self.sender, &call.target, &body, callback)?, body))
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.url.path().trim_end_matches('/')));
        url
    }

    fn login(&self, request: RequestBuilder, login: &str) -> RequestBuilder {
        match &self.key {
            Some(key) => request.basic_auth(key, Some(&self.token)),
            None => request.header(AUTHORIZATION, login),
        }
    }

    async fn judge(&self, response: Response) -> Answer {
        let status = response.status().as_u16();
        let after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok());
        let after = after.and_then(|v| retry::retry_after(v, Time::now().ms()));
        let body = match self.read(response).await {
            Ok(body) => body,
            Err(why) => return Answer::unsure(why),
        };
        let (number, said) = (Some(i64::from(status)), self.said(status, &body));
        let later = Verdict::Later { after, unsure: false };
        match status {
            200..=299 => match body.get("sid").and_then(Value::as_str) {
                Some(sid) => Answer::done(number).noting(json!({"id": cut(&one_line(sid, SAID_MAX), SAID_MAX)})),
                // Whatever answered, Twilio has queued nothing.
                None => Answer::later(number, said),
            },
            408 | 425 | 429 | 500..=599 => Answer { verdict: later, ..Answer::later(number, said) },
            _ if body.get("code").and_then(Value::as_i64) == Some(QUEUE_FULL) => {
                Answer { verdict: later, ..Answer::later(number, said) }
            }
            _ => Answer::never(number, said),
        }
    }

    /// The answer as JSON, or as text where it is none.
    async fn read(&self, mut response: Response) -> Result<Value, String> {
        let mut body = Vec::new();
        while body.len() < ANSWER_MAX {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend(chunk.iter().take(ANSWER_MAX - body.len())),
                Ok(None) => break,
                Err(error) => return Err(self.plain(error)),
            }
        }
        let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
        Ok(serde_json::from_slice(&body).unwrap_or_else(|_| text()))
    }

    /// What Twilio said: `status 400: 21211: The 'To' number …`.
    fn said(&self, status: u16, body: &Value) -> String {
        let text = |key: &str| body.get(key).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
        let said = match (text("code"), text("message")) {
            (Some(code), Some(message)) => format!(": {code}: {message}"),
            _ => {
                body.as_str().filter(|said| !said.trim().is_empty()).map(|said| format!(": {said}")).unwrap_or_default()
            }
        };
        self.clean(format!("status {status}{said}"))
    }

    /// The words of an error and its causes.
    fn plain(&self, error: reqwest::Error) -> String {
        self.clean(remote::http::plain(error))
    }

    fn clean(&self, text: String) -> String {
        one_line(&self.hidden.cut(text), SAID_MAX)
    }
}

/// What a telephone shows: the title, what has become of it, what the filter says.
fn words(call: &Call) -> String {
    let mut all = vec![call.title()];
    if call.is_digest() {
        all.extend(call.items().into_iter().map(|item| item.title));
    } else {
        all.extend(call.story());
        all.extend(call.body());
    }
    all.join("\n")
}

/// Where to read on.
fn link(call: &Call) -> Option<String> {
    let links = call.links();
    ["incident", "event", "machine"].into_iter().find_map(|key| Some(links.get(key)?.as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_send() {
        let service = "MG0123456789abcdef0123456789ABCDEF";
        for (text, holds) in [
            ("+4930000000", true),
            ("12345", true),
            ("Zentral 1", true),
            (service, true),
            ("MG01", true),
            ("+49x", false),
        ] {
            assert_eq!(read_sender(text).is_some(), holds, "{text}");
        }
        assert_eq!(read_sender(service), Some(Sender::Service(service.to_owned())));
        for text in ["", "a name that is too long", "Zen\r\nx", "+0"] {
            assert_eq!(read_sender(text), None, "{text}");
        }
        assert!(is_sid("AC0123456789abcdef0123456789abcdef", "AC") && !is_sid("AC…", "AC"));
    }
}

//! An HTTP call: the bare kind `http`, and every preset.
//!
//! Scheme and host come from the configuration alone. Each call carries `Idempotency-Key`; redirects are not followed;
//! of the answer no more than 64 KiB are read. The URL is a secret: it stands in no error and no log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use event::Time;
use hmac::{Hmac, KeyInit, Mac};
use pipe::config::{Secret, Settings};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Response, Url};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Action, Answer, Kind, Opening, Reading, STAND_IN, Sending, Showing, Spec, Verdict};
use crate::call::{Call, cut, one_line};
use crate::jq::Jq;
use crate::retry;

/// The kind.
pub const KIND: Kind =
    Kind { name: "http", repeatable: true, timeout: Duration::from_secs(30), changes_machines: false, read };

/// How long making the connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an answer is read, in bytes.
const ANSWER_MAX: usize = 64 << 10;
/// How much of an answer goes into an error, in characters.
const SAID_MAX: usize = 200;
/// What is shorter, in bytes, is too common a word to be taken for a secret.
const SECRET_MIN: usize = 8;
/// Stands for a URL that is not there in a dry run; nobody has this name (RFC 6761, § 6.4).
const URL_STAND_IN: &str = "https://secret.invalid/";
const USER_AGENT: &str = concat!("zentral/", env!("CARGO_PKG_VERSION"));
const METHODS: [&str; 3] = ["POST", "PUT", "PATCH"];

struct Http {
    url: Secret,
    method: String,
    headers: Vec<(String, Secret)>,
    programs: Programs,
    limits: BTreeMap<String, usize>,
    ca: Option<PathBuf>,
    hmac: Option<(String, Secret)>,
}

#[derive(Clone, Default)]
struct Programs {
    body: Option<Arc<str>>,
    ok: Option<Arc<str>>,
    later: Option<Arc<str>>,
}

fn read(settings: &mut Settings, reading: &Reading<'_>) -> Option<Box<dyn Spec>> {
    let preset = reading.preset.clone().unwrap_or_default();
    let url = settings.secret("url").or_else(|| preset.url.clone().map(Secret::Literal));
    if url.is_none() && !settings.has("url") {
        settings.fail("", "needs the key `url`");
    }
    if let Some(Secret::Literal(text)) = &url
        && let Err(why) = parse_url(text)
    {
        settings.fail("url", why);
    }
    let method = settings.word("method", &METHODS).map(str::to_owned).or(preset.method.clone());
    let mut headers: Vec<(String, Secret)> =
        preset.headers.iter().map(|(k, v)| (k.clone(), Secret::Literal(v.clone()))).collect();
    headers.extend(settings.secrets("headers"));
    for (name, _) in &headers {
        let parsed = HeaderName::try_from(name.as_str());
        if parsed.is_err() || parsed.is_ok_and(|n| n == "idempotency-key" || n == "host" || n == "content-length") {
            settings.fail("headers", format!("`{name}` cannot be set"));
        }
    }
    let mut program =
        |key: &str, preset: Option<String>| reading.program(settings, key).or_else(|| preset.map(Arc::from));
    let programs = Programs {
        body: program("body", preset.body),
        ok: program("ok", preset.ok),
        later: program("later", preset.later),
    };
    let hmac = settings.table("hmac").and_then(|mut table| {
        let (header, secret) = (table.required_str("header"), table.secret("secret"));
        if secret.is_none() && !table.has("secret") {
            table.fail("", "needs the key `secret`");
        }
        settings.absorb(table);
        Some((header?, secret?))
    });
    if hmac.as_ref().is_some_and(|(name, _)| HeaderName::try_from(name.as_str()).is_err()) {
        settings.fail("hmac", "`header` is no name of a header");
    }
    let ca = settings.path("ca");
    let method = method.unwrap_or_else(|| "POST".to_owned());
    Some(Box::new(Http { url: url?, method, headers, programs, limits: preset.limits, ca, hmac }))
}

/// The error says nothing of the URL: it is a secret.
fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("is no URL: {e}"))?;
    match (url.scheme(), url.host_str()) {
        ("https" | "http", Some(_)) => Ok(url),
        _ => Err("must begin with https:// or http://".into()),
    }
}

impl Spec for Http {
    fn open(&self, opening: &Opening<'_>) -> Result<Arc<dyn Action>, String> {
        let text = opening.secret(&self.url, URL_STAND_IN)?;
        let url = parse_url(text.trim()).map_err(|why| format!("`url` {why}"))?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut secrets = vec![text.trim().to_owned()];
        for (name, secret) in &self.headers {
            let text = opening.secret(secret, STAND_IN)?;
            let value =
                HeaderValue::try_from(&text).map_err(|_| format!("header `{name}` holds what no header may"))?;
            let name = HeaderName::try_from(name.as_str()).map_err(|_| format!("`{name}` is no name of a header"))?;
            if name != CONTENT_TYPE {
                // Of `Bearer X` an answer may repeat X alone.
                secrets.extend(text.split_ascii_whitespace().map(str::to_owned));
                secrets.push(text);
            }
            headers.insert(name, value);
        }
        let hmac = match &self.hmac {
            Some((name, secret)) => Some((name.clone(), opening.secret(secret, STAND_IN)?.into_bytes())),
            None => None,
        };
        let mut client = Client::builder()
            .user_agent(USER_AGENT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT);
        for pem in crate::roots::extra(self.ca.as_deref())? {
            let certificates = reqwest::Certificate::from_pem_bundle(&pem.bytes);
            for certificate in certificates.map_err(|_| format!("{} holds no certificates", pem.path.display()))? {
                client = client.add_root_certificate(certificate);
            }
        }
        // Path and query of a webhook's URL are what makes it secret; they or their parts might be echoed alone.
        secrets.extend([url.path().to_owned(), url.query().unwrap_or("").to_owned()]);
        secrets.retain(|s| s.len() >= SECRET_MIN);
        let parts = url.path().split('/').chain(url.query().unwrap_or("").split(['&', '=']));
        secrets.extend(parts.filter(|part| part.len() >= 16).map(str::to_owned));
        // The longest first: of a part nothing is left over.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Ok(Arc::new(Live {
            client: client.build().map_err(|e| format!("no HTTP client: {}", e.without_url()))?,
            method: Method::from_bytes(self.method.as_bytes()).unwrap_or(Method::POST),
            url,
            headers,
            programs: self.programs.clone(),
            limits: self.limits.clone(),
            hmac,
            secrets,
            jq: opening.jq.clone(),
        }))
    }
}

struct Live {
    client: Client,
    method: Method,
    url: Url,
    headers: HeaderMap,
    programs: Programs,
    limits: BTreeMap<String, usize>,
    hmac: Option<(String, Vec<u8>)>,
    secrets: Vec<String>,
    jq: Jq,
}

impl Action for Live {
    fn send<'a>(&'a self, call: &'a Call) -> Sending<'a> {
        Box::pin(async move {
            let body = match self.body(call).await {
                Ok(body) => body,
                Err(why) => return Answer::never(None, why),
            };
            let mut request = self.client.request(self.method.clone(), self.url.clone()).headers(self.headers.clone());
            request = request.header("Idempotency-Key", &call.key);
            if let Some((name, key)) = &self.hmac {
                request = request.header(name, sign(key, &body));
            }
            match request.body(body).send().await {
                Ok(response) => self.judge(response, call).await,
                Err(error) if error.is_builder() => Answer::never(None, self.plain(error)),
                Err(error) if error.is_connect() => Answer::later(None, self.plain(error)),
                Err(error) => Answer::unsure(self.plain(error)),
            }
        })
    }

    fn show<'a>(&'a self, call: &'a Call) -> Showing<'a> {
        Box::pin(async move {
            let body: Value = serde_json::from_slice(&self.body(call).await?).map_err(|e| e.to_string())?;
            let origin = self.url.origin().ascii_serialization();
            Ok(json!({"method": self.method.as_str(), "origin": origin, "idempotency_key": call.key, "body": body}))
        })
    }
}

impl Live {
    async fn body(&self, call: &Call) -> Result<Vec<u8>, String> {
        let Some(program) = &self.programs.body else { return Ok(call.line.clone()) };
        let made = self.jq.one(program, call.input(&serde_json::Map::new()), call.event.received.ms()).await;
        let body = made.map_err(|why| format!("`body`: {why}"))?;
        if body == b"null" {
            return Err("`body` gave null".into());
        }
        if self.limits.is_empty() {
            return Ok(body);
        }
        let mut value: Value = serde_json::from_slice(&body).map_err(|e| format!("`body`: {e}"))?;
        for (key, max) in &self.limits {
            if let Some(Value::String(text)) = value.get_mut(key) {
                *text = cut(text, *max);
            }
        }
        serde_json::to_vec(&value).map_err(|e| format!("`body`: {e}"))
    }

    async fn judge(&self, mut response: Response, call: &Call) -> Answer {
        let status = response.status().as_u16();
        let now = Time::now().ms();
        let after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok());
        let after = after.and_then(|v| retry::retry_after(v, now));
        let mut body = Vec::new();
        while body.len() < ANSWER_MAX {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend(chunk.iter().take(ANSWER_MAX - body.len())),
                Ok(None) => break,
                Err(error) => return Answer::unsure(self.plain(error)),
            }
        }
        let view = view(status, response.headers(), &body);
        let (number, now) = (Some(i64::from(status)), call.event.received.ms());
        let by_status = matches!(status, 408 | 425 | 429 | 500..=599);
        let ok = match &self.programs.ok {
            Some(program) => self.jq.holds(program, view.clone(), now).await.map_err(|why| format!("`ok`: {why}")),
            None => Ok((200..300).contains(&status)),
        };
        let mut said = match &ok {
            Ok(true) => return Answer::done(number),
            Ok(false) => String::from_utf8_lossy(&body).into_owned(),
            Err(why) => self.redact_cut(why.clone()),
        };
        // A program fails on answers that it was not written for, such as a proxy's page: the status says enough.
        let later = match &self.programs.later {
            Some(program) => self.jq.holds(program, view, now).await.unwrap_or_else(|why| {
                said = format!("`later`: {}; {said}", self.redact_cut(why));
                by_status
            }),
            None => by_status,
        };
        let said = one_line(&self.redact(said), SAID_MAX);
        let error = if said.is_empty() { format!("status {status}") } else { format!("status {status}: {said}") };
        if later {
            Answer { verdict: Verdict::Later { after, unsure: false }, status: number, error, reference: None }
        } else {
            Answer::never(number, error)
        }
    }

    /// The words of an error and its causes, without the URL.
    fn plain(&self, error: reqwest::Error) -> String {
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            text.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        one_line(&self.redact(text), SAID_MAX)
    }

    fn redact(&self, mut text: String) -> String {
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "***");
        }
        text
    }

    /// The words of a jq error: the values in it are cut, so that a secret may stand there in part.
    fn redact_cut(&self, text: String) -> String {
        let mut text = self.redact(text);
        for secret in &self.secrets {
            for part in (SECRET_MIN..secret.len()).rev().filter_map(|end| secret.get(..end)) {
                text = text.replace(&format!("{part}…"), "***…");
            }
        }
        text
    }
}

/// What `ok` and `later` see.
fn view(status: u16, headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let named = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), Value::String(String::from_utf8_lossy(value.as_bytes()).into_owned()))
    };
    let headers_seen: serde_json::Map<String, Value> = headers.iter().map(named).collect();
    let is_json = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("json"));
    let parsed = is_json.then(|| serde_json::from_slice::<Value>(body).ok()).flatten();
    let body = parsed.unwrap_or_else(|| Value::String(String::from_utf8_lossy(body).into_owned()));
    serde_json::to_vec(&json!({"status": status, "headers": headers_seen, "body": body})).unwrap_or_default()
}

/// `sha256=` and the HMAC-SHA256 of the body in hex, the form that GitHub made common.
fn sign(key: &[u8], body: &[u8]) -> String {
    // A key of any length is taken by HMAC, so the empty fallback is never used.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()));
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_and_urls() {
        // RFC 4231, test case 2.
        let want = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(sign(b"Jefe", b"what do ya want for nothing?"), want);
        for (url, ok) in [("https://h/p?q", true), ("http://127.0.0.1:1/", true), ("ftp://h/", false), ("h/p", false)] {
            assert_eq!(parse_url(url).is_ok(), ok, "{url}");
        }
    }
}

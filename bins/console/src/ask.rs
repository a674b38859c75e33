//! What is asked: who, from where, which words; as a page needs it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::http::request::Parts;
use registry::users::{By, Role};
use serde_json::{Map, Number, Value};
use sha2::{Digest as _, Sha256};

use crate::answer::JSON;
use crate::app::Live;
use crate::conf::Url;
use crate::cookies::{Cookie, is_secret};

/// Words in a query or a form; more are not read.
const WORDS_MAX: usize = 100;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The name of a user, or what a token is for.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The units whose machines and events they see; empty: all.
    pub units: Vec<String>,
    /// The id of the token, if it is one.
    pub token: Option<String>,
    /// The parts of the console that the token is for; empty: all.
    pub scopes: Vec<String>,
}

impl Who {
    /// Whether they see what belongs to this unit.
    pub fn sees(&self, unit: Option<&str>) -> bool {
        self.units.is_empty() || unit.is_some_and(|unit| self.units.iter().any(|one| one == unit))
    }
}

/// A body, before it is taken for a form.
#[derive(Debug)]
pub enum Sent {
    Nothing,
    Form(Vec<(String, String)>),
    Object(Map<String, Value>),
    /// It was to be an object, and is none: why.
    Broken(String),
}

/// A request.
#[derive(Debug)]
pub struct Asked {
    /// Who asks; none: nobody has signed in.
    pub who: Option<Who>,
    /// The words in the path.
    pub path: BTreeMap<String, String>,
    /// The words after the `?`; of several of a name the last.
    pub query: BTreeMap<String, String>,
    /// The words of the form.
    pub form: BTreeMap<String, String>,
    /// The words after the `?` as they were said, in order.
    pub words: Vec<(String, String)>,
    /// The body as it was sent.
    pub sent: Sent,
    /// The whole address without the host, to come back to.
    pub address: String,
    /// How the browser calls us.
    pub us: Url,
    /// The client, whoever stands between.
    pub client: IpAddr,
    /// JSON is wanted, no page.
    pub json: bool,
    /// From `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// The cookie of a session, whether it holds or not.
    pub session: Option<String>,
    /// The cookie of the visit.
    pub visit: Option<String>,
    /// What the visit's cookie is to be from now on, if there was none.
    pub new_visit: Option<String>,
    /// `dark` or `light`, if the person chose.
    pub theme: Option<&'static str>,
    /// Cookies travel by TLS only.
    pub secure: bool,
    /// `Origin` and `Sec-Fetch-Site`, by which a browser says which site a form is of.
    pub origin: Option<String>,
    /// See `origin`.
    pub site: Option<String>,
}

impl Asked {
    /// Reads it. Who it is is looked up elsewhere.
    pub fn read(live: &Live, peer: IpAddr, parts: &Parts, path: BTreeMap<String, String>, body: &[u8]) -> Self {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let secure = live.conf.secure();
        let forwarded = parts.headers.get_all("x-forwarded-for").into_iter().filter_map(|line| line.to_str().ok());
        let forwarded: Vec<&str> = forwarded.collect();
        let accept = text(ACCEPT.as_str()).unwrap_or_default();
        let bearer = text(AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
        let page = accept.contains("text/html");
        let host = text(HOST.as_str()).unwrap_or_default().to_ascii_lowercase();
        let visit = Cookie::Visit.of(&parts.headers, secure).filter(|value| is_secret(value));
        let theme = Cookie::Theme.of(&parts.headers, secure);
        let words = words(parts.uri.query().unwrap_or_default().as_bytes());
        let sent = Sent::read(kind_is(&parts.headers, JSON), body);
        Self {
            who: None,
            path,
            query: words.iter().cloned().collect(),
            form: sent.form(),
            words,
            sent,
            address: parts.uri.path_and_query().map_or_else(|| "/".to_owned(), |all| all.as_str().to_owned()),
            us: Url { secure, host },
            client: live.conf.proxies.client(peer, forwarded.into_iter()),
            json: !page && (accept.contains("application/json") || bearer.is_some()),
            bearer: bearer.map(str::to_owned),
            session: Cookie::Session.of(&parts.headers, secure).filter(|value| is_secret(value)),
            new_visit: if visit.is_none() { registry::users::random().ok() } else { None },
            visit,
            theme: ["dark", "light"].into_iter().find(|word| theme.as_deref() == Some(word)),
            secure,
            origin: text("origin").map(str::to_owned),
            site: text("sec-fetch-site").map(str::to_owned),
        }
    }

    /// A word of the query; empty: not said.
    pub fn word(&self, name: &str) -> &str {
        self.query.get(name).map_or("", |value| value.trim())
    }

    /// A word of the form; empty: not said.
    pub fn field(&self, name: &str) -> &str {
        self.form.get(name).map_or("", String::as_str)
    }

    /// Whether a word of the form says yes.
    pub fn says_yes(&self, name: &str) -> bool {
        matches!(self.field(name), "on" | "true" | "yes" | "1")
    }

    /// A word of the path.
    pub fn part(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// Who changes something, for the audit.
    pub fn by(&self) -> By {
        let who = match &self.who {
            Some(Who { token: Some(id), .. }) => format!("token:{id}"),
            Some(who) => format!("user:{}", who.name),
            None => "nobody".to_owned(),
        };
        By { who, ip: Some(self.client.to_string()) }
    }

    /// What a form of this person must carry: bound to the cookie of the session, or of the visit, which no other site
    /// can read. What is kept nowhere can leak from nowhere.
    pub fn csrf(&self) -> String {
        let session = self.who.as_ref().and(self.session.as_deref());
        let bound = session.or(self.visit.as_deref()).or(self.new_visit.as_deref()).unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(b"zentral form\0");
        hash.update(bound.as_bytes());
        URL_SAFE_NO_PAD.encode(hash.finalize())
    }

    /// Whether a form came from one of our pages: it carries the word above, and the browser names no other site.
    pub fn is_ours(&self) -> bool {
        if self.visit.is_none() && self.who.is_none() {
            return false;
        }
        let (a, b) = (Sha256::digest(self.field("csrf")), Sha256::digest(self.csrf()));
        let same = a.iter().zip(b.iter()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0;
        let here = self.origin.as_ref().is_none_or(|origin| *origin == self.us.to_string());
        let site = self.site.as_deref().is_none_or(|site| matches!(site, "same-origin" | "none"));
        same && here && site
    }
}

/// Whether a body is said to be of this type.
pub fn kind_is(headers: &HeaderMap, want: &str) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(want))
}

/// The words of a query or a form.
fn words(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).take(WORDS_MAX).map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
}

impl Sent {
    fn read(is_json: bool, body: &[u8]) -> Self {
        match is_json {
            _ if body.is_empty() => Self::Nothing,
            false => Self::Form(words(body)),
            true => match serde_json::from_slice(body) {
                Ok(Value::Object(all)) => Self::Object(all.into_iter().take(WORDS_MAX).collect()),
                Ok(_) => Self::Broken("it is something else".to_owned()),
                Err(why) => Self::Broken(why.to_string()),
            },
        }
    }

    /// The words of the form that it is; of several of a name the last.
    fn form(&self) -> BTreeMap<String, String> {
        match self {
            Self::Nothing | Self::Broken(_) => BTreeMap::new(),
            Self::Form(all) => all.iter().cloned().collect(),
            Self::Object(all) => all.iter().map(|(key, value)| (key.clone(), word(value))).collect(),
        }
    }
}

/// A value of an object as a form says it: what is false is not said.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(false) => String::new(),
        Value::Array(list) => list.iter().filter_map(|one| one.as_str()).collect::<Vec<_>>().join(","),
        Value::Number(n) => whole(n).map_or_else(|| n.to_string(), |n| n.to_string()),
        other => other.to_string(),
    }
}

/// A whole number, however it is written (`2.0`).
pub fn whole(n: &Number) -> Option<i64> {
    let same = |n: f64| n.fract() == 0.0 && n.abs() < 9_007_199_254_740_992.0;
    n.as_i64().or_else(|| n.as_f64().filter(|n| same(*n)).map(|n| n as i64))
}

/// Where to go after signing in: a path of ours, or the first page. Never another host, however it is written.
pub fn local(text: &str) -> &str {
    let plain = text.bytes().all(|b| (0x21..0x7f).contains(&b) && b != b'\\');
    if plain && text.starts_with('/') && !text.starts_with("//") { text } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for (text, want) in [
            ("/machines?q=a%20b", "/machines?q=a%20b"),
            ("", "/"),
            ("//evil.example.com", "/"),
            ("/\\evil.example.com", "/"),
            ("https://evil.example.com", "/"),
            ("/a\r\nSet-Cookie: x", "/"),
            ("javascript:alert(1)", "/"),
        ] {
            assert_eq!(local(text), want);
        }
    }
}

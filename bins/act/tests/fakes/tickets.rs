//! What the ticket services have in common: tickets with comments, logins, checks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::Request;

/// One ticket, issue, record or card.
#[derive(Debug, Clone, Default)]
pub struct Ticket {
    pub id: String,
    /// What it was made of.
    pub made: Value,
    pub comments: Vec<String>,
    pub status: String,
}

/// All tickets of one service, oldest first; a test keeps a clone.
#[derive(Debug, Clone, Default)]
pub struct Desk(Arc<Mutex<Vec<Ticket>>>);

impl Desk {
    pub fn all(&self) -> Vec<Ticket> {
        self.lock().clone()
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub fn add(&self, id: &str, made: &Value, status: &str) {
        let ticket = Ticket { id: id.into(), made: made.clone(), comments: Vec::new(), status: status.into() };
        self.lock().push(ticket);
    }

    /// Does something to the one with this id; `None` if there is none.
    pub fn with<T>(&self, id: &str, done: impl FnOnce(&mut Ticket) -> T) -> Option<T> {
        self.lock().iter_mut().find(|ticket| ticket.id == id).map(done)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Ticket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All strings in it, one after the other.
pub fn words_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(words_of).collect(),
        Value::Object(all) => all.values().map(words_of).collect(),
        _ => String::new(),
    }
}

/// The body, if it is said to be JSON and is an object.
pub fn object(request: &Request) -> Option<Value> {
    let is_json = request.header("content-type").starts_with("application/json");
    Some(request.json()).filter(|body| is_json && body.is_object())
}

/// Method and path, to be matched.
pub fn asked(request: &Request) -> (&str, Vec<&str>) {
    (request.method.as_str(), request.path.iter().map(String::as_str).collect())
}

/// `user:password` of a Basic login (RFC 7617).
pub fn login(request: &Request) -> Option<String> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut out) = (0u32, 0u32, Vec::new());
    for byte in request.header("authorization").strip_prefix("Basic ")?.bytes().filter(|b| *b != b'=') {
        bits = (bits << 6) | u32::try_from(DIGITS.iter().position(|d| *d == byte)?).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    String::from_utf8(out).ok()
}

/// Whether it is a string, not empty and no longer than `max` characters.
pub fn short(value: &Value, max: usize) -> bool {
    value.as_str().is_some_and(|text| !text.trim().is_empty() && text.chars().count() <= max)
}

/// Statuses of requests as a test makes them: (`POST /a`, authorization, body; null: none).
pub fn statuses(service: &mut impl super::Service, all: &[(&str, &str, Value)]) -> Vec<u16> {
    let ask = |(line, login, body): &(&str, &str, Value)| {
        let headers = [("Authorization", *login), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        service.answer(&Request::new(line, &headers, body)).status
    };
    all.iter().map(ask).collect()
}

#[test]
fn logins_are_read() {
    let headers = [("Authorization", "Basic YWdlbnRAZXhhbXBsZS5jb20vdG9rZW46dA==")];
    assert_eq!(login(&Request::new("GET /", &headers, "")).as_deref(), Some("agent@example.com/token:t"));
    assert_eq!(words_of(&json!({"a": ["b", {"c": "d"}], "n": 1})), "bd");
}

//! Slack: incoming webhooks (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks): POST JSON to a URL that
//! is the secret; 200 `ok`. 400 `invalid_payload` (no JSON), `no_text` (nothing to show), 403 `invalid_token`,
//! 404 `no_service`, 410 `channel_is_archived`; 429 with `Retry-After` beyond about one message a second.
//!
//! And the Web API's `chat.postMessage` and `auth.test` (docs.slack.dev/reference/methods): bearer, JSON; always 200 with
//! `ok`, else 429. `error`: `not_authed`, `invalid_auth`, `channel_not_found`, `no_text`, `msg_too_long` (40,000
//! characters), `thread_not_found`, `invalid_arguments`. `users.lookupByEmail` reads `email` of the query or a form;
//! `users_not_found`. A person's id is a channel: a direct message.

use serde_json::{Value, json};

use super::{Reply, Request, Service};

pub const HOOK: &str = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX";
pub const TOKEN: &str = "xoxb-1111-2222-bottokenbottoken";
pub const CHANNEL: &str = "C0SECOPS";
/// Somebody, by address and id.
pub const PERSON: (&str, &str) = ("ada@example.com", "U0ADA");

/// Both of them.
#[derive(Default)]
pub struct Slack {
    /// Time stamps of the messages in the channel, `ts`.
    messages: Vec<String>,
}

impl Service for Slack {
    fn answer(&mut self, request: &Request) -> Reply {
        match request.path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["api", "users.lookupByEmail"] if request.method == "GET" => self.call("users.lookupByEmail", request),
            _ if request.method != "POST" => Reply::text(405, "Method Not Allowed"),
            ["services", ..] => hook(request),
            ["api", method] => self.call(method, request),
            _ => Reply::text(404, "not found"),
        }
    }
}

fn hook(request: &Request) -> Reply {
    if request.raw_path != HOOK {
        return Reply::text(404, "no_service");
    }
    let body = request.json();
    let text = body.get("text").and_then(Value::as_str);
    match text {
        _ if !body.is_object() => Reply::text(400, "invalid_payload"),
        None | Some("") => Reply::text(400, "no_text"),
        Some(text) if text.chars().count() > 40_000 => Reply::text(400, "invalid_payload"),
        Some(_) => Reply::text(200, "ok"),
    }
}

impl Slack {
    fn call(&mut self, method: &str, request: &Request) -> Reply {
        let answer = match self.api(method, request) {
            Ok(Value::Object(mut more)) => {
                more.insert("ok".into(), true.into());
                Value::Object(more)
            }
            Ok(_) => json!({"ok": true}),
            Err(error) => json!({"ok": false, "error": error}),
        };
        Reply::json(200, answer)
    }

    fn api(&mut self, method: &str, request: &Request) -> Result<Value, &'static str> {
        match request.header("authorization").strip_prefix("Bearer ") {
            None => return Err("not_authed"),
            Some(TOKEN) => {}
            Some(_) => return Err("invalid_auth"),
        }
        match method {
            "auth.test" => Ok(json!({"team": "Example", "user": "hub", "bot_id": "B1"})),
            "chat.postMessage" => self.post(request),
            "users.lookupByEmail" => match request.query.get("email").map(String::as_str) {
                None | Some("") => Err("invalid_arguments"),
                Some(email) if email == PERSON.0 => Ok(json!({"user": {"id": PERSON.1, "name": "ada"}})),
                Some(_) => Err("users_not_found"),
            },
            _ => Err("unknown_method"),
        }
    }

    fn post(&mut self, request: &Request) -> Result<Value, &'static str> {
        let body = request.json();
        let text = |key: &str| body.get(key).and_then(Value::as_str);
        if !request.header("content-type").starts_with("application/json") || !body.is_object() {
            return Err("invalid_arguments");
        }
        let channel = text("channel").unwrap_or_default().to_owned();
        if ![CHANNEL, PERSON.1].contains(&channel.as_str()) {
            return Err("channel_not_found");
        }
        let said = text("text").filter(|text| !text.is_empty()).ok_or("no_text")?;
        if said.chars().count() > 40_000 {
            return Err("msg_too_long");
        }
        if text("thread_ts").is_some_and(|ts| !self.messages.iter().any(|m| m == ts)) {
            return Err("thread_not_found");
        }
        let ts = format!("1700000000.{:06}", self.messages.len());
        self.messages.push(ts.clone());
        Ok(json!({"channel": channel, "ts": ts, "message": {"text": said}}))
    }
}

/// The sequences in a text that do something: links, mentions. Of `&lt;` Slack shows `<` and does nothing.
pub fn active(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for piece in text.split('<').skip(1) {
        all.push(piece.split('>').next().unwrap_or_default().to_owned());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(token: &str, body: Value) -> String {
        let headers = [("Authorization", token), ("Content-Type", "application/json; charset=utf-8")];
        Slack::default().answer(&Request::new("POST /api/chat.postMessage", &headers, body)).body
    }

    #[test]
    fn wrong_requests_are_refused() {
        let hook = |path: &str, body: &str| Slack::default().answer(&Request::new(&format!("POST {path}"), &[], body));
        assert_eq!((hook(HOOK, "text").status, hook(HOOK, "{}").body.as_str()), (400, "no_text"));
        assert_eq!(hook("/services/T/B/wrong", "{\"text\":\"a\"}").body, "no_service");
        assert_eq!(hook(HOOK, "{\"text\":\"a\"}").body, "ok");
        let bearer = format!("Bearer {TOKEN}");
        for (token, body, error) in [
            ("Bearer xoxb-wrong", json!({}), "invalid_auth"),
            (&bearer, json!({"channel": "C1", "text": "a"}), "channel_not_found"),
            (&bearer, json!({"channel": CHANNEL}), "no_text"),
            (&bearer, json!({"channel": CHANNEL, "text": "x".repeat(40_001)}), "msg_too_long"),
            (&bearer, json!({"channel": CHANNEL, "text": "a", "thread_ts": "1.2"}), "thread_not_found"),
        ] {
            assert_eq!(api(token, body), json!({"ok": false, "error": error}).to_string());
        }
        assert!(api(&bearer, json!({"channel": CHANNEL, "text": "a"})).contains("\"ok\":true"));
    }
}

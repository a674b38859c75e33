//! ntfy (docs.ntfy.sh/publish, "Publish as JSON"): POST JSON to the root. 200 with the message. Errors
//! `{"code", "http", "error"}`: 40009 a topic that is no topic (`[-_A-Za-z0-9]{1,64}`), 40024 what is no JSON,
//! 40007 a priority that is not 1 to 5, 40301 for a topic that is reserved, 40101 for a wrong token; 429 `42901` beyond
//! the limits. A message of more than 4,096 bytes becomes an attachment: 40014 where there are none.

use serde_json::{Value, json};

use super::{Reply, Request, Service};

pub const TOKEN: &str = "tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2";

#[derive(Default)]
pub struct Ntfy;

impl Service for Ntfy {
    fn answer(&mut self, request: &Request) -> Reply {
        let token = request.header("authorization").strip_prefix("Bearer ");
        if token.is_some_and(|token| token != TOKEN) {
            return error(40101, "unauthorized");
        }
        match request.line().as_str() {
            "GET /v1/account" => Reply::json(200, json!({"username": if token.is_some() { "hub" } else { "*" }})),
            "POST /" if token.is_none() => error(40301, "forbidden"),
            "POST /" => publish(&request.json()),
            _ => error(40401, "page not found"),
        }
    }
}

fn publish(body: &Value) -> Reply {
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let topic = text("topic");
    let sound = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !body.is_object() {
        return error(40024, "invalid request: request body must be message JSON");
    }
    if topic.is_empty() || topic.len() > 64 || !topic.chars().all(sound) {
        return error(40009, "invalid request: topic invalid");
    }
    if body.get("priority").is_some_and(|priority| !priority.as_i64().is_some_and(|p| (1..=5).contains(&p))) {
        return error(40007, "invalid request: priority invalid");
    }
    if text("message").len() > 4_096 {
        return error(40014, "invalid request: attachments not allowed");
    }
    Reply::json(200, json!({"id": "x", "event": "message", "topic": topic, "message": text("message")}))
}

fn error(code: u32, why: &str) -> Reply {
    let http = u16::try_from(code / 100).unwrap();
    Reply::json(http, json!({"code": code, "http": http, "error": why}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_requests_are_refused() {
        let bearer = format!("Bearer {TOKEN}");
        for (token, body, status) in [
            (bearer.as_str(), json!({"topic": "t", "message": "m", "priority": 5}), 200),
            ("Bearer tk_wrong", json!({"topic": "t"}), 401),
            (&bearer, json!("text"), 400),
            (&bearer, json!({"topic": "a/b"}), 400),
            (&bearer, json!({"topic": "t", "priority": 6}), 400),
            (&bearer, json!({"topic": "t", "message": "é".repeat(2_049)}), 400),
        ] {
            assert_eq!(Ntfy.answer(&Request::new("POST /", &[("Authorization", token)], body)).status, status);
        }
    }
}

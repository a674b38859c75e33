//! Google Chat, incoming webhook (developers.google.com/workspace/chat/quickstart/webhooks, spaces.messages.create): POST
//! to a URL with `key` and `token`. 200 with the message. Errors `{"error": {code, message, status}}`: 403 for a wrong
//! key or token, 404 for another space, 400 for an empty message, unknown fields, or more than 32,000 bytes; 429 beyond
//! one a second. `requestId`: what came before is answered with the message it made. `thread.threadKey` needs
//! `messageReplyOption` to answer in it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Reply, Request, Service};

pub const HOOK: &str = "/v1/spaces/AAAAsecops/messages?key=keykeykeykeykeykey&token=tokentokentokentoken";

#[derive(Default)]
pub struct GoogleChat {
    /// The messages in the space, by their request's id.
    messages: BTreeMap<String, Value>,
}

impl Service for GoogleChat {
    fn answer(&mut self, request: &Request) -> Reply {
        let query = |key: &str| request.query.get(key).map_or("", String::as_str);
        if request.line() != "POST /v1/spaces/AAAAsecops/messages" {
            return error(404, "NOT_FOUND", "The space is not found.");
        }
        if (query("key"), query("token")) != ("keykeykeykeykeykey", "tokentokentokentoken") {
            return error(403, "PERMISSION_DENIED", "The caller does not have permission");
        }
        let body = request.json();
        let known = ["text", "thread", "cardsV2"];
        let odd = body.as_object().and_then(|all| all.keys().find(|key| !known.contains(&key.as_str())));
        if !body.is_object() || odd.is_some() {
            return error(400, "INVALID_ARGUMENT", "Invalid JSON payload received.");
        }
        let text = body["text"].as_str().unwrap_or_default();
        if text.is_empty() {
            return error(400, "INVALID_ARGUMENT", "Message cannot be empty.");
        }
        if request.body.len() > 32_000 {
            return error(400, "INVALID_ARGUMENT", "Message is too long.");
        }
        let name = format!("spaces/AAAAsecops/messages/{}", self.messages.len());
        let replies = query("messageReplyOption") == "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD";
        let thread = body["thread"]["threadKey"].as_str().filter(|_| replies).unwrap_or(&name).to_owned();
        let message = json!({"name": name, "text": text, "thread": {"name": thread}});
        let id = match query("requestId") {
            "" => name,
            id => id.to_owned(),
        };
        Reply::json(200, self.messages.entry(id).or_insert(message).clone())
    }
}

fn error(code: u16, status: &str, message: &str) -> Reply {
    Reply::json(code, json!({"error": {"code": code, "message": message, "status": status}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_requests_are_refused() {
        for (hook, body, status) in [
            (HOOK.to_owned(), json!({"text": "a"}), 200),
            (HOOK.replace("token=t", "token="), json!({"text": "a"}), 403),
            (HOOK.replace("secops", "others"), json!({"text": "a"}), 404),
            (HOOK.to_owned(), json!({"text": ""}), 400),
            (HOOK.to_owned(), json!({"text": "a", "markdown": true}), 400),
            (HOOK.to_owned(), json!({"text": "x".repeat(32_000)}), 400),
        ] {
            assert_eq!(GoogleChat::default().answer(&Request::new(&format!("POST {hook}"), &[], body)).status, status);
        }
    }

    #[test]
    fn a_request_that_comes_again_makes_no_other_message() {
        let mut chat = GoogleChat::default();
        let mut post = |id: &str| {
            let request = Request::new(&format!("POST {HOOK}&requestId={id}"), &[], json!({"text": id}));
            chat.answer(&request).value()["name"].to_string()
        };
        let (one, two) = (post("a"), post("b"));
        assert!(one != two && post("a") == one);
    }
}

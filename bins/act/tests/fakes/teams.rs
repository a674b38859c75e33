//! Microsoft Teams, the webhook of a workflow (learn.microsoft.com, "Create Incoming Webhooks" and "Post a workflow when
//! a webhook request is received in Microsoft Teams"): POST to a URL whose query holds the signature. 202 without a body;
//! 401 for a wrong signature, 400 for what is no message with adaptive cards, 413 beyond 28 KB, 429 beyond four a second.
//! A card's elements must be of known types, with the keys that they need (adaptivecards.io/explorer).

use serde_json::Value;

use super::{Reply, Request, Service};

pub const HOOK: &str =
    "/workflows/0123456789abcdef/triggers/manual/paths/invoke?api-version=2016-06-01&sig=sigsigsigsigsigsig";

#[derive(Default)]
pub struct Teams;

impl Service for Teams {
    fn answer(&mut self, request: &Request) -> Reply {
        if request.method != "POST" || !request.raw_path.starts_with("/workflows/") {
            return Reply::text(404, "");
        }
        if request.query.get("sig").map(String::as_str) != Some("sigsigsigsigsigsig") {
            return Reply::text(401, "DirectApiAuthorizationRequired");
        }
        if request.body.len() > 28 << 10 {
            return Reply::text(413, "RequestEntityTooLarge");
        }
        match fault(&request.json()) {
            Some(why) => Reply::text(400, why),
            None => Reply::text(202, ""),
        }
    }
}

fn fault(message: &Value) -> Option<&'static str> {
    if message["type"] != "message" {
        return Some("no message");
    }
    let card = &message["attachments"][0];
    if card["contentType"] != "application/vnd.microsoft.card.adaptive" || card["content"]["type"] != "AdaptiveCard" {
        return Some("no adaptive card");
    }
    if card["content"]["version"].as_str().is_none() {
        return Some("no version");
    }
    let body = card["content"]["body"].as_array()?;
    let sound = |element: &Value| match element["type"].as_str() {
        Some("TextBlock") => element["text"].is_string(),
        Some("RichTextBlock") => element["inlines"].as_array().is_some_and(|all| {
            all.iter().all(|run| run["type"] == "TextRun" && run["text"].as_str().is_some_and(|text| !text.is_empty()))
        }),
        _ => false,
    };
    (!body.iter().all(sound)).then_some("an element is wrong")
}

/// The texts of the card that are read as Markdown, and those that are not.
pub fn texts(message: &Value) -> (Vec<String>, Vec<String>) {
    let (mut markdown, mut plain) = (Vec::new(), Vec::new());
    for element in message["attachments"][0]["content"]["body"].as_array().into_iter().flatten() {
        markdown.extend(element["text"].as_str().map(str::to_owned));
        for run in element["inlines"].as_array().into_iter().flatten() {
            plain.extend(run["text"].as_str().map(str::to_owned));
        }
    }
    (markdown, plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wrong_requests_are_refused() {
        let card = |body: Value| {
            let content = json!({"type": "AdaptiveCard", "version": "1.4", "body": body});
            let kind = "application/vnd.microsoft.card.adaptive";
            json!({"type": "message", "attachments": [{"contentType": kind, "content": content}]})
        };
        let good = card(json!([{"type": "TextBlock", "text": "a"}]));
        let long = card(json!([{"type": "TextBlock", "text": "x".repeat(30_000)}]));
        for (hook, body, status) in [
            (HOOK.to_owned(), good.clone(), 202),
            (HOOK.replace("sig=", "sig=x"), good.clone(), 401),
            (HOOK.to_owned(), json!({"text": "a"}), 400),
            (HOOK.to_owned(), card(json!([{"type": "TextBlok", "text": "a"}])), 400),
            (HOOK.to_owned(), card(json!([{"type": "RichTextBlock", "inlines": [{"type": "TextRun"}]}])), 400),
            (HOOK.to_owned(), long, 413),
        ] {
            assert_eq!(Teams.answer(&Request::new(&format!("POST {hook}"), &[], body)).status, status);
        }
    }
}

//! PagerDuty, Events API v2 (github.com/PagerDuty/developer-docs, docs/events-API-v2): POST JSON to `/v2/enqueue` or
//! `/v2/change/enqueue`. 202 `{"status":"success","message","dedup_key"}`; 400 `{"status":"invalid event","errors"}` for a
//! routing key that is not 32 characters, an unknown `event_action` or severity, a missing summary or source, a
//! `dedup_key` of more than 255 characters, a summary of more than 1,024, 512 KB; 429 beyond 120 a minute.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Reply, Request, Service};

pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The alerts by their dedup_key: what has become of each.
#[derive(Default, Clone)]
pub struct PagerDuty {
    pub alerts: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Service for PagerDuty {
    fn answer(&mut self, request: &Request) -> Reply {
        let change = request.line() == "POST /v2/change/enqueue";
        if !change && request.line() != "POST /v2/enqueue" {
            return Reply::text(404, "not found");
        }
        let body = request.json();
        let length = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
        let action = body["event_action"].as_str().unwrap_or_default();
        let payload = &body["payload"];
        let opens = change || action == "trigger";
        let severities = ["critical", "error", "warning", "info"];
        let why = if request.body.len() > 512 << 10 {
            "'event' is too big"
        } else if length(&body["routing_key"]) != 32 {
            "Length of 'routing_key' is incorrect (should be 32 characters)"
        } else if !change && !["trigger", "acknowledge", "resolve"].contains(&action) {
            "'event_action' is missing or not one of trigger, acknowledge, resolve"
        } else if length(&body["dedup_key"]) > 255 {
            "'dedup_key' is too long"
        } else if opens && !(1..=1_024).contains(&length(&payload["summary"])) {
            "'payload.summary' is missing, blank or too long"
        } else if opens && !change && length(&payload["source"]) == 0 {
            "'payload.source' is missing or blank"
        } else if opens && !change && !severities.contains(&payload["severity"].as_str().unwrap_or_default()) {
            "'payload.severity' is missing or not one of critical, error, warning, info"
        } else if body["routing_key"] != KEY {
            "'routing_key' is of no integration"
        } else {
            let key = body["dedup_key"].as_str().unwrap_or("generated").to_owned();
            self.note(&key, action, payload);
            return Reply::json(202, json!({"status": "success", "message": "Event processed", "dedup_key": key}));
        };
        Reply::json(400, json!({"status": "invalid event", "message": "Event object is invalid", "errors": [why]}))
    }
}

impl PagerDuty {
    /// What is resolved and was never triggered is dropped.
    fn note(&self, key: &str, action: &str, payload: &Value) {
        let mut alerts = self.alerts.lock().unwrap();
        match action {
            "trigger" => {
                alerts.insert(key.to_owned(), format!("triggered {}", payload["severity"].as_str().unwrap_or("")));
            }
            action => {
                alerts.entry(key.to_owned()).and_modify(|state| *state = format!("{action}d"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_requests_are_refused() {
        let event = |at: &str, value: Value| {
            let payload = json!({"summary": "s", "source": "h", "severity": "info"});
            let mut event =
                json!({"routing_key": KEY, "event_action": "trigger", "dedup_key": "k", "payload": payload});
            *event.pointer_mut(at).unwrap() = value;
            PagerDuty::default().answer(&Request::new("POST /v2/enqueue", &[], event))
        };
        assert_eq!(event("/dedup_key", "other".into()).status, 202);
        for (at, value, why) in [
            ("/routing_key", "x".to_owned(), "routing_key"),
            ("/event_action", "open".to_owned(), "event_action"),
            ("/dedup_key", "x".repeat(256), "dedup_key"),
            ("/payload/severity", "major".to_owned(), "severity"),
            ("/payload/summary", String::new(), "summary"),
            ("/payload/summary", "x".repeat(600 << 10), "too big"),
        ] {
            let reply = event(at, value.into());
            assert!(reply.status == 400 && reply.body.contains(why), "{why}: {}", reply.body);
        }
    }
}

//! Freshdesk, API v2 (developers.freshdesk.com/api).
//!
//! Login: Basic `KEY:X`. A ticket needs subject, description (HTML), a requester (`email`), priority 1 to 4, status 2 to
//! 5; what is wrong is 400 with errors[], an unknown field too. Answers: 201 with `Location`, 200 to a change. Lists are
//! the newest first, with descriptions only where they are asked for; of a requester whom nobody knows there is none: 400.

use serde_json::{Value, json};

use super::tickets::{Desk, asked, login, object, short};
use super::{Reply, Request, Service};

pub const TOKEN: &str = "freshdesk-key-0123456789";
const FIELDS: [&str; 9] =
    ["subject", "description", "email", "priority", "status", "source", "tags", "type", "group_id"];
const ORDERS: [&str; 4] = ["created_at", "due_by", "updated_at", "status"];

#[derive(Default)]
pub struct Freshdesk {
    pub desk: Desk,
}

impl Service for Freshdesk {
    fn answer(&mut self, request: &Request) -> Reply {
        if login(request).is_none_or(|login| login.split(':').next() != Some(TOKEN)) {
            let message = "You have to be logged in to perform this action.";
            return Reply::json(401, json!({"code": "invalid_credentials", "message": message}));
        }
        let (method, path) = asked(request);
        match (method, path.as_slice()) {
            ("GET", ["api", "v2", "agents", "me"]) => Reply::json(200, json!({"id": 1, "available": true})),
            ("GET", ["api", "v2", "tickets"]) => self.list(request),
            ("POST", ["api", "v2", "tickets"]) => self.make(request),
            ("PUT", ["api", "v2", "tickets", id]) => self.change(id, request),
            ("POST", ["api", "v2", "tickets", id, "notes"]) => self.note(id, request),
            _ => Reply::text(404, ""),
        }
    }
}

impl Freshdesk {
    fn list(&self, request: &Request) -> Reply {
        let get = |key: &str| request.query.get(key).map(String::as_str);
        if get("order_by").is_some_and(|order| !ORDERS.contains(&order)) {
            return failed("order_by", "It should be one of these values");
        }
        if get("email").is_some_and(|email| !self.desk.all().iter().any(|t| t.made["email"] == email)) {
            return failed("email", "There is no contact matching the given email");
        }
        let most = get("per_page").and_then(|n| n.parse().ok()).unwrap_or(30);
        let of = |made: &Value| get("email").is_none_or(|email| made["email"].as_str() == Some(email));
        let whole = get("include").is_some_and(|all| all.split(',').any(|one| one == "description"));
        let shown = |id: &str, made: &Value| {
            let number: u64 = id.parse().unwrap();
            let mut ticket = json!({"id": number, "subject": made["subject"], "tags": made["tags"]});
            if whole {
                ticket["description"] = made["description"].clone();
                ticket["description_text"] = bare(made["description"].as_str().unwrap()).into();
            }
            ticket
        };
        let all = self.desk.all();
        let found = all.iter().rev().filter(|t| of(&t.made)).take(most).map(|t| shown(&t.id, &t.made));
        Reply::json(200, found.collect::<Vec<Value>>().into())
    }

    fn make(&mut self, request: &Request) -> Reply {
        let Some(ticket) = object(request) else { return no_json() };
        if let Some(other) = ticket.as_object().unwrap().keys().find(|key| !FIELDS.contains(&key.as_str())) {
            return failed(other, "Unexpected/invalid field in request");
        }
        for (key, max) in [("subject", 255), ("description", 1 << 20), ("email", 255)] {
            if !short(&ticket[key], max) {
                return failed(key, "It should not be blank, and has a length");
            }
        }
        if let Some(key) = wrong(&ticket) {
            return failed(key, "It should be one of the known values");
        }
        let id = (1 + self.desk.len()).to_string();
        self.desk.add(&id, &ticket, &ticket["status"].to_string());
        let number: u64 = id.parse().unwrap();
        let made = Reply::json(201, json!({"id": number, "subject": ticket["subject"], "status": ticket["status"]}));
        made.with("Location", &format!("https://example.freshdesk.com/api/v2/tickets/{id}"))
    }

    fn change(&mut self, id: &str, request: &Request) -> Reply {
        let Some(ticket) = object(request) else { return no_json() };
        if let Some(key) = wrong(&ticket) {
            return failed(key, "It should be one of the known values");
        }
        let changed = self.desk.with(id, |there| {
            if let Some(status) = ticket.get("status") {
                there.status = status.to_string();
            }
            Reply::json(200, json!({"id": 1, "status": ticket["status"]}))
        });
        changed.unwrap_or(Reply::text(404, ""))
    }

    fn note(&mut self, id: &str, request: &Request) -> Reply {
        let Some(note) = object(request) else { return no_json() };
        if !short(&note["body"], 1 << 20) {
            return failed("body", "It should be a/an String that is not blank");
        }
        if !note["private"].is_null() && !note["private"].is_boolean() {
            return failed("private", "Value set is of type String. It should be a/an Boolean");
        }
        let written = self.desk.with(id, |there| {
            there.comments.push(note["body"].as_str().unwrap().to_owned());
            Reply::json(201, json!({"id": 100 + there.comments.len()}))
        });
        written.unwrap_or(Reply::text(404, ""))
    }
}

/// The text of this HTML, well enough.
fn bare(html: &str) -> String {
    let mut tag = false;
    let keep = |c: &char| {
        let inside = tag || *c == '<';
        tag = inside && *c != '>';
        !inside
    };
    html.chars().filter(keep).collect()
}

/// The first field that is none of what it may be.
fn wrong(ticket: &Value) -> Option<&'static str> {
    let numbers = [("priority", 1, 4), ("status", 2, 5), ("source", 1, 10), ("group_id", 1, i64::MAX)];
    let bad = |key: &str, least, most| {
        !ticket[key].is_null() && !ticket[key].as_i64().is_some_and(|n| (least..=most).contains(&n))
    };
    let number = numbers.into_iter().find(|(key, least, most)| bad(key, *least, *most)).map(|(key, ..)| key);
    number.or_else(|| (!ticket["tags"].is_null() && !ticket["tags"].is_array()).then_some("tags"))
}

fn failed(field: &str, message: &str) -> Reply {
    let errors = json!([{"field": field, "message": message, "code": "invalid_value"}]);
    Reply::json(400, json!({"description": "Validation failed", "errors": errors}))
}

fn no_json() -> Reply {
    Reply::json(400, json!({"code": "invalid_json", "message": "Request body has invalid json format"}))
}

#[cfg(test)]
mod tests {
    use super::super::tickets::statuses;
    use super::*;

    /// `TOKEN:X`.
    const LOGIN: &str = "Basic ZnJlc2hkZXNrLWtleS0wMTIzNDU2Nzg5Olg=";

    #[test]
    fn wrong_requests_are_refused() {
        let made = json!({"subject": "s", "description": "<b>d</b>", "email": "a@b.c", "priority": 1, "status": 2});
        let with = |key: &str, value: Value| {
            let mut other = made.clone();
            other[key] = value;
            other
        };
        let (new, note) = ("POST /api/v2/tickets", "POST /api/v2/tickets/1/notes");
        let all = [
            (new, "Basic eA==", made.clone()),
            (new, LOGIN, with("priority", "high".into())),
            (new, LOGIN, with("status", 9.into())),
            (new, LOGIN, with("subject", "x".repeat(256).into())),
            (new, LOGIN, with("external_id", "x".into())),
            ("PUT /api/v2/tickets/1", LOGIN, json!({"status": 4})),
            (new, LOGIN, made.clone()),
            (note, LOGIN, json!({"private": true})),
            ("GET /api/v2/tickets?order_by=id", LOGIN, Value::Null),
        ];
        assert_eq!(statuses(&mut Freshdesk::default(), &all), [401, 400, 400, 400, 400, 404, 201, 400, 400]);
        assert_eq!(bare("a<br>b &lt;<i>c</i>"), "ab &lt;c");
    }
}

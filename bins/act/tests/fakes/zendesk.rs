//! Zendesk Support, Ticketing API (developer.zendesk.com/api-reference/ticketing/tickets/tickets).
//!
//! Login: Basic `EMAIL/token:TOKEN`; a page about oneself answers 200 without one, of nobody. A ticket needs a comment;
//! priority, type and status are words of a list. Whoever is new as a requester needs a name. The same
//! `Idempotency-Key` gives the same answer, with another body 400. A closed ticket takes no change: 422.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::tickets::{Desk, asked, login, object, short};
use super::{Reply, Request, Service};

pub const EMAIL: &str = "agent@example.com";
pub const TOKEN: &str = "zendesk-token-0123456789";
const PRIORITIES: &[&str] = &["urgent", "high", "normal", "low"];
const TYPES: &[&str] = &["problem", "incident", "question", "task"];
const STATUSES: &[&str] = &["new", "open", "pending", "hold", "solved", "closed"];
/// The longest comment, in bytes (64 KiB).
const COMMENT_MAX: usize = 65_535;

#[derive(Default)]
pub struct Zendesk {
    pub desk: Desk,
    /// What was answered to a key, and to which body.
    keys: BTreeMap<String, (Vec<u8>, Reply)>,
}

impl Service for Zendesk {
    fn answer(&mut self, request: &Request) -> Reply {
        let known = login(request).is_some_and(|login| login == format!("{EMAIL}/token:{TOKEN}"));
        let (method, path) = asked(request);
        if let ("GET", ["api", "v2", "users", "me.json"]) = (method, path.as_slice()) {
            return Reply::json(200, json!({"user": {"id": known.then_some(35436), "name": "Agent"}}));
        }
        if !known {
            return Reply::json(401, json!({"error": "Couldn't authenticate you"}));
        }
        match (method, path.as_slice()) {
            ("GET", ["api", "v2", "tickets.json"]) => self.find(request),
            ("POST", ["api", "v2", "tickets.json"]) => self.once(request),
            ("PUT", ["api", "v2", "tickets", page]) => match page.strip_suffix(".json") {
                Some(id) => self.change(id, request),
                None => missing(),
            },
            _ => missing(),
        }
    }
}

impl Zendesk {
    fn find(&self, request: &Request) -> Reply {
        let wanted = request.query.get("external_id");
        let all = self.desk.all();
        let same = |made: &Value| wanted.is_none_or(|id| made["external_id"] == json!(id));
        let found = all.iter().filter(|t| same(&t.made)).map(|t| shown(&t.id, &t.made, &t.status));
        let found: Vec<Value> = found.collect();
        Reply::json(200, json!({"count": found.len(), "tickets": found, "next_page": null}))
    }

    /// Makes a ticket, once for a key.
    fn once(&mut self, request: &Request) -> Reply {
        match self.keys.get(request.key()) {
            _ if request.key().is_empty() => self.make(request),
            Some((body, before)) if *body == request.body => before.clone().with("X-Idempotency-Lookup", "hit"),
            Some(_) => Reply::json(400, json!({"error": "IdempotentRequestError", "description": "another request"})),
            None => {
                let made = self.make(request);
                self.keys.insert(request.key().to_owned(), (request.body.clone(), made.clone()));
                made.with("X-Idempotency-Lookup", "miss")
            }
        }
    }

    fn make(&mut self, request: &Request) -> Reply {
        let Some(ticket) = ticket_of(request) else { return no_ticket() };
        let blank = || comment(&ticket).is_none().then(|| "Description: cannot be blank".to_owned());
        if let Some(wrong) = fault(&ticket).or_else(blank) {
            return invalid(&wrong);
        }
        let id = (35_436 + self.desk.len()).to_string();
        let status = ticket["status"].as_str().unwrap_or("new");
        self.desk.add(&id, &ticket, status);
        Reply::json(201, json!({"ticket": shown(&id, &ticket, status), "audit": {"id": 1}}))
    }

    fn change(&mut self, id: &str, request: &Request) -> Reply {
        let Some(ticket) = ticket_of(request) else { return no_ticket() };
        if let Some(wrong) = fault(&ticket) {
            return invalid(&wrong);
        }
        let changed = self.desk.with(id, |there| {
            if there.status == "closed" {
                return invalid("Status: closed prevents ticket update");
            }
            there.comments.extend(comment(&ticket));
            if let Some(status) = ticket["status"].as_str() {
                there.status = status.to_owned();
            }
            Reply::json(200, json!({"ticket": shown(id, &there.made, &there.status), "audit": {"id": 2}}))
        });
        changed.unwrap_or_else(missing)
    }
}

fn ticket_of(request: &Request) -> Option<Value> {
    object(request)?.get("ticket").filter(|ticket| ticket.is_object()).cloned()
}

fn shown(id: &str, made: &Value, status: &str) -> Value {
    let url = format!("https://example.zendesk.com/api/v2/tickets/{id}.json");
    let number: u64 = id.parse().unwrap();
    json!({"id": number, "url": url, "external_id": made["external_id"], "subject": made["subject"], "status": status})
}

fn comment(ticket: &Value) -> Option<String> {
    let text = ticket["comment"]["html_body"].as_str().or(ticket["comment"]["body"].as_str())?;
    (!text.trim().is_empty()).then(|| text.to_owned())
}

fn fault(ticket: &Value) -> Option<String> {
    for (key, words) in [("priority", PRIORITIES), ("type", TYPES), ("status", STATUSES)] {
        let word = &ticket[key];
        if !word.is_null() && !word.as_str().is_some_and(|word| words.contains(&word)) {
            return Some(format!("{key}: {word} is not valid"));
        }
    }
    let requester = &ticket["requester"];
    let wrong = [
        (comment(ticket).is_some_and(|text| text.len() > COMMENT_MAX), "Comment: is too long"),
        (!ticket["tags"].is_null() && !ticket["tags"].is_array(), "Tags: is no list"),
        (!ticket["group_id"].is_null() && !ticket["group_id"].is_u64(), "Group: is no number"),
        (!requester.is_null() && !short(&requester["name"], 255), "Requester: Name: is too short"),
    ];
    wrong.iter().find(|(wrong, _)| *wrong).map(|(_, why)| (*why).to_owned())
}

fn invalid(why: &str) -> Reply {
    let details = json!({"base": [{"description": why}]});
    let error = json!({"error": "RecordInvalid", "description": "Record validation errors", "details": details});
    Reply::json(422, error)
}

fn no_ticket() -> Reply {
    Reply::json(400, json!({"error": {"title": "Invalid attribute", "message": "You passed an invalid value"}}))
}

fn missing() -> Reply {
    Reply::json(404, json!({"error": "RecordNotFound", "description": "Not found"}))
}

#[cfg(test)]
mod tests {
    use super::super::tickets::statuses;
    use super::*;

    /// `EMAIL/token:TOKEN`.
    const LOGIN: &str = "Basic YWdlbnRAZXhhbXBsZS5jb20vdG9rZW46emVuZGVzay10b2tlbi0wMTIzNDU2Nzg5";

    #[test]
    fn wrong_requests_are_refused() {
        let made = json!({"ticket": {"subject": "s", "comment": {"body": "b"}}});
        let bad = json!({"ticket": {"comment": {"body": "b"}, "priority": "major"}});
        let close = |status: &str| json!({"ticket": {"status": status}});
        let (new, old) = ("POST /api/v2/tickets.json", "PUT /api/v2/tickets/35436.json");
        let all = [
            (new, "Basic eA==", made.clone()),
            (new, LOGIN, json!({"ticket": {"subject": "s"}})),
            (new, LOGIN, bad),
            (new, LOGIN, json!({"subject": "s"})),
            (old, LOGIN, made.clone()),
            (new, LOGIN, made),
            (old, LOGIN, close("done")),
            (old, LOGIN, close("closed")),
            (old, LOGIN, close("open")),
        ];
        let want = [401, 422, 422, 400, 404, 201, 422, 200, 422];
        assert_eq!(statuses(&mut Zendesk::default(), &all), want);
    }

    #[test]
    fn a_key_makes_one_ticket() {
        let mut fake = Zendesk::default();
        let mut ask = |text: &str| {
            let headers = [("Authorization", LOGIN), ("Content-Type", "application/json"), ("Idempotency-Key", "k")];
            let body = json!({"ticket": {"comment": {"body": text}}});
            fake.answer(&Request::new("POST /api/v2/tickets.json", &headers, body))
        };
        let (first, second) = (ask("a"), ask("a"));
        assert_eq!((first.status, second.status, ask("b").status), (201, 201, 400));
        assert_eq!((first.body, fake.desk.len()), (second.body, 1));
    }
}

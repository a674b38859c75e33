//! Trello, REST API (developer.atlassian.com/cloud/trello/rest; …/guides/rest-api/authorization).
//!
//! `Authorization: OAuth oauth_consumer_key="KEY", oauth_token="TOKEN"`. Everything that works is 200. Ids are 24 hex
//! digits; a wrong one is 400 `invalid value for …`, an unknown one 404. Names and texts up to 16,384 characters. Errors
//! are plain text. The search knows a card once it is in the index.

use serde_json::{Value, json};

use super::tickets::{Desk, asked, object, short};
use super::{Reply, Request, Service};

pub const KEY: &str = "0123456789abcdef0123456789abcdef";
pub const TOKEN: &str = "ATTA0123456789abcdef0123456789abcdef0123456789abcdef";
pub const LIST: &str = "5abbe4b7ddc1b351ef961414";
pub const DONE: &str = "5abbe4b7ddc1b351ef961415";
const TEXT_MAX: usize = 16_384;

pub struct Trello {
    pub desk: Desk,
    /// Whether the search knows what was made.
    pub indexed: bool,
}

impl Default for Trello {
    fn default() -> Self {
        Self { desk: Desk::default(), indexed: true }
    }
}

impl Service for Trello {
    fn answer(&mut self, request: &Request) -> Reply {
        if request.header("authorization") != format!("OAuth oauth_consumer_key=\"{KEY}\", oauth_token=\"{TOKEN}\"") {
            return Reply::text(401, "invalid key");
        }
        let (method, path) = asked(request);
        match (method, path.as_slice()) {
            ("GET", ["1", "lists", LIST]) => Reply::json(200, json!({"id": LIST, "name": "Alerts", "closed": false})),
            ("GET", ["1", "search"]) => self.search(request),
            ("POST", ["1", "cards"]) => self.make(request),
            ("PUT", ["1", "cards", id]) => self.change(id, request),
            ("POST", ["1", "cards", id, "actions", "comments"]) => self.comment(id, request),
            _ => Reply::text(404, "The requested resource was not found."),
        }
    }
}

impl Trello {
    /// Of the search only `description:"…"`.
    fn search(&self, request: &Request) -> Reply {
        let query = request.query.get("query").map(String::as_str).unwrap_or_default();
        if query.is_empty() || query.chars().count() > TEXT_MAX {
            return Reply::text(400, "invalid value for query");
        }
        let phrase = query.strip_prefix("description:\"").and_then(|rest| rest.strip_suffix('"')).unwrap_or(query);
        let all = self.desk.all();
        let holds = |made: &Value| self.indexed && made["desc"].as_str().is_some_and(|desc| desc.contains(phrase));
        let found: Vec<Value> = all.iter().filter(|t| holds(&t.made)).map(|t| shown(&t.id, &t.made)).collect();
        Reply::json(200, json!({"cards": found, "options": {"terms": []}}))
    }

    fn make(&mut self, request: &Request) -> Reply {
        let card = object(request).unwrap_or_default();
        if card["idList"] != LIST {
            return Reply::text(400, "invalid value for idList");
        }
        for (key, max) in [("name", TEXT_MAX), ("desc", TEXT_MAX)] {
            if !card[key].is_null() && card[key].as_str().is_none_or(|text| text.chars().count() > max) {
                return Reply::text(400, &format!("invalid value for {key}"));
            }
        }
        let ids = |all: &Value| all.as_array().is_some_and(|all| all.iter().all(is_id));
        if let Some(key) = ["idLabels", "idMembers"].iter().find(|key| !card[**key].is_null() && !ids(&card[**key])) {
            return Reply::text(400, &format!("invalid value for {key}"));
        }
        let id = format!("{:024x}", 0xca4d_0000_0000u64 + self.desk.len() as u64);
        self.desk.add(&id, &card, "open");
        Reply::json(200, shown(&id, &card))
    }

    fn change(&mut self, id: &str, request: &Request) -> Reply {
        let card = object(request).unwrap_or_default();
        let status = match (&card["dueComplete"], &card["closed"], &card["idList"]) {
            (Value::Bool(true), ..) => "complete",
            (_, Value::Bool(true), _) => "archived",
            (_, _, Value::String(list)) if list == DONE => "moved",
            _ => return Reply::text(400, "invalid value for idList"),
        };
        let changed = self.desk.with(id, |there| {
            there.status = status.to_owned();
            Reply::json(200, shown(id, &there.made))
        });
        changed.unwrap_or_else(|| Reply::text(404, "The requested resource was not found."))
    }

    fn comment(&mut self, id: &str, request: &Request) -> Reply {
        let comment = object(request).unwrap_or_default();
        if !short(&comment["text"], TEXT_MAX) {
            return Reply::text(400, "invalid value for text");
        }
        let written = self.desk.with(id, |there| {
            there.comments.push(comment["text"].as_str().unwrap().to_owned());
            Reply::json(200, json!({"id": id, "type": "commentCard"}))
        });
        written.unwrap_or_else(|| Reply::text(404, "The requested resource was not found."))
    }
}

fn is_id(value: &Value) -> bool {
    value.as_str().is_some_and(|id| id.len() == 24 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn shown(id: &str, made: &Value) -> Value {
    json!({"id": id, "name": made["name"], "desc": made["desc"], "shortUrl": format!("https://trello.com/c/{}", &id[16..])})
}

#[cfg(test)]
mod tests {
    use super::super::tickets::statuses;
    use super::*;

    #[test]
    fn wrong_requests_are_refused() {
        let login = format!("OAuth oauth_consumer_key=\"{KEY}\", oauth_token=\"{TOKEN}\"");
        let login = login.as_str();
        let made = json!({"idList": LIST, "name": "n"});
        let (new, old) = ("POST /1/cards", "PUT /1/cards/00000000000000000000ca4d");
        let all = [
            (new, "OAuth x", made.clone()),
            (new, login, json!({"idList": "alerts", "name": "n"})),
            (new, login, json!({"idList": LIST, "desc": "x".repeat(16_385)})),
            (new, login, json!({"idList": LIST, "name": "n", "idLabels": ["red"]})),
            (new, login, made),
            (old, login, json!({"dueComplete": true})),
            ("PUT /1/cards/000000000000ca4d00000000", login, json!({"idList": "x"})),
            ("PUT /1/cards/000000000000ca4d00000000", login, json!({"dueComplete": true})),
            ("GET /1/search", login, Value::Null),
        ];
        assert_eq!(statuses(&mut Trello::default(), &all), [401, 400, 400, 400, 200, 404, 400, 200, 400]);
    }
}

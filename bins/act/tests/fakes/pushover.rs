//! Pushover (pushover.net/api): POST a form or JSON to `/1/messages.json`. 200 `{"status":1,"request":"…"}`, else 400
//! with `status` 0 and `errors`: no application token, no such user, no message, a message of more than 1,024 characters
//! (its title: 250, its URL: 512), a priority that is not -2 to 2, an emergency (2) without `retry` ≥ 30 and `expire` ≤
//! 10,800. 429 once the month's messages are used up. `/1/users/validate.json` says whether a user is one.

use serde_json::json;

use super::{Reply, Request, Service};

pub const TOKEN: &str = "azGDORePK8gMaC0QOYAMyEEuzJnyUi";
pub const USERS: [&str; 2] = ["uQiRzpo4DXghDmr9QzzfQu27cmVRsG", "gznej3rKEVAvPUxu9vvNnqpmZpokzF"];

#[derive(Default)]
pub struct Pushover;

impl Service for Pushover {
    fn answer(&mut self, request: &Request) -> Reply {
        let form = request.header("content-type").starts_with("application/x-www-form-urlencoded");
        let field = |key: &str| -> String {
            match form {
                true => request.form().and_then(|form| form.get(key).cloned()).unwrap_or_default(),
                false => request.json()[key].as_str().unwrap_or_default().to_owned(),
            }
        };
        let number = |key: &str| field(key).parse::<i64>().unwrap_or(i64::MIN);
        let long = |key: &str, max: usize| field(key).chars().count() > max;
        let message = request.line() == "POST /1/messages.json";
        if !message && request.line() != "POST /1/users/validate.json" {
            return Reply::json(404, json!({"status": 0, "errors": ["not found"]}));
        }
        let priority = if field("priority").is_empty() { 0 } else { number("priority") };
        let why = if field("token") != TOKEN {
            "application token is invalid"
        } else if !USERS.contains(&field("user").as_str()) {
            "user identifier is not a valid user, group, or subscribed user key"
        } else if message && field("message").is_empty() {
            "message cannot be blank"
        } else if long("message", 1_024) || long("title", 250) || long("url", 512) {
            "message is too long"
        } else if !(-2..=2).contains(&priority) {
            "priority is invalid"
        } else if priority == 2 && !(number("retry") >= 30 && (1..=10_800).contains(&number("expire"))) {
            "expire and retry must be supplied for emergency priority"
        } else {
            return Reply::json(200, json!({"status": 1, "request": "647d2300-702c-4b38-8b2f-d56326ae460b"}));
        };
        Reply::json(400, json!({"status": 0, "errors": [why]}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_requests_are_refused() {
        let user = USERS[0];
        for (fields, why) in [
            (format!("token={TOKEN}&user={user}&message=m"), ""),
            (format!("token=x&user={user}&message=m"), "application token"),
            (format!("token={TOKEN}&user=x&message=m"), "user identifier"),
            (format!("token={TOKEN}&user={user}"), "blank"),
            (format!("token={TOKEN}&user={user}&message={}", "x".repeat(1_025)), "too long"),
            (format!("token={TOKEN}&user={user}&message=m&priority=2&retry=5&expire=60"), "emergency"),
        ] {
            let headers = [("Content-Type", "application/x-www-form-urlencoded")];
            let reply = Pushover.answer(&Request::new("POST /1/messages.json", &headers, fields));
            assert_eq!(reply.status == 200, why.is_empty());
            assert!(reply.body.contains(why), "{}", reply.body);
        }
    }
}

//! GitHub, REST API for issues (docs.github.com/en/rest/issues/issues, …/comments; rate limits:
//! docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api).
//!
//! Bearer; 401 Bad credentials, 403 without a User-Agent, 404 for a repository that the token may not see, 410 where issues
//! are off, 422 Validation Failed. Titles up to 256 characters, bodies up to 65,536. A state is `open` or `closed`, its
//! reason a word of a list. Lists are the newest first.

use serde_json::{Value, json};

use super::tickets::{Desk, asked, object, short};
use super::{Reply, Request, Service};

pub const TOKEN: &str = "github_pat_0123456789";
pub const OWNER: &str = "acme";
pub const REPO: &str = "alerts";
const REASONS: [&str; 4] = ["completed", "not_planned", "duplicate", "reopened"];

#[derive(Default)]
pub struct GitHub {
    pub desk: Desk,
    /// Issues are switched off.
    pub off: bool,
}

impl Service for GitHub {
    fn answer(&mut self, request: &Request) -> Reply {
        if request.header("user-agent").is_empty() {
            return said(
                403,
                "Request forbidden by administrative rules. Please make sure your request has a User-Agent header",
            );
        }
        if request.header("authorization") != format!("Bearer {TOKEN}") {
            return said(401, "Bad credentials");
        }
        let (method, path) = asked(request);
        let rest = match path.as_slice() {
            ["repos", OWNER, REPO, rest @ ..] => rest,
            _ => return said(404, "Not Found"),
        };
        match (method, rest) {
            ("GET", []) => Reply::json(200, json!({"full_name": "acme/alerts", "has_issues": !self.off})),
            ("GET" | "POST", ["issues"]) if self.off => said(410, "Issues has been disabled in this repository."),
            ("GET", ["issues"]) => self.list(request),
            ("POST", ["issues"]) => self.make(request),
            ("PATCH", ["issues", id]) => self.change(id, request),
            ("POST", ["issues", id, "comments"]) => self.comment(id, request),
            _ => said(404, "Not Found"),
        }
    }
}

impl GitHub {
    fn list(&self, request: &Request) -> Reply {
        let get = |key: &str| request.query.get(key).map_or("", String::as_str);
        let most = get("per_page").parse().unwrap_or(30usize).min(100);
        let all = self.desk.all();
        let wanted = |status: &str| match get("state") {
            "all" => true,
            "closed" => status == "closed",
            _ => status == "open",
        };
        let found = all.iter().rev().filter(|t| wanted(&t.status)).take(most).map(|t| shown(&t.id, &t.made));
        Reply::json(200, found.collect::<Vec<Value>>().into())
    }

    fn make(&mut self, request: &Request) -> Reply {
        let Some(issue) = object(request) else { return said(400, "Problems parsing JSON") };
        if !short(&issue["title"], 256) {
            return invalid("title");
        }
        if !issue["body"].is_null() && issue["body"].as_str().is_none_or(|body| body.chars().count() > 65_536) {
            return invalid("body");
        }
        if ["labels", "assignees"].iter().any(|key| !issue[*key].is_null() && !issue[*key].is_array()) {
            return invalid("labels");
        }
        let id = (self.desk.len() + 1).to_string();
        self.desk.add(&id, &issue, "open");
        Reply::json(201, shown(&id, &issue))
    }

    fn change(&mut self, id: &str, request: &Request) -> Reply {
        let Some(issue) = object(request) else { return said(400, "Problems parsing JSON") };
        let one_of =
            |key: &str, words: &[&str]| issue[key].is_null() || issue[key].as_str().is_some_and(|w| words.contains(&w));
        if !one_of("state", &["open", "closed"]) || !one_of("state_reason", &REASONS) {
            return invalid("state");
        }
        let changed = self.desk.with(id, |there| {
            if let Some(state) = issue["state"].as_str() {
                there.status = state.to_owned();
            }
            Reply::json(200, shown(id, &there.made))
        });
        changed.unwrap_or_else(|| said(404, "Not Found"))
    }

    fn comment(&mut self, id: &str, request: &Request) -> Reply {
        let comment = object(request).unwrap_or_default();
        if !short(&comment["body"], 65_536) {
            return invalid("body");
        }
        let written = self.desk.with(id, |there| {
            there.comments.push(comment["body"].as_str().unwrap().to_owned());
            Reply::json(201, json!({"id": 1, "body": comment["body"]}))
        });
        written.unwrap_or_else(|| said(404, "Not Found"))
    }
}

fn shown(id: &str, made: &Value) -> Value {
    let number: u64 = id.parse().unwrap();
    let page = format!("https://github.com/{OWNER}/{REPO}/issues/{id}");
    json!({"id": 1, "number": number, "html_url": page, "title": made["title"], "body": made["body"]})
}

fn invalid(field: &str) -> Reply {
    let errors = json!([{"resource": "Issue", "code": "custom", "field": field}]);
    Reply::json(422, json!({"message": "Validation Failed", "errors": errors, "status": "422"}))
}

fn said(status: u16, message: &str) -> Reply {
    Reply::json(status, json!({"message": message, "status": status.to_string()}))
}

#[cfg(test)]
mod tests {
    use super::super::tickets::statuses;
    use super::*;

    #[test]
    fn wrong_requests_are_refused() {
        let login = format!("Bearer {TOKEN}");
        let (new, old) = ("POST /repos/acme/alerts/issues", "PATCH /repos/acme/alerts/issues/1");
        let mut fake = GitHub::default();
        let refused = fake.answer(&Request::new(new, &[("Authorization", &login)], ""));
        assert_eq!(refused.status, 403, "no User-Agent");
        let mut ask = |line: &str, login: &str, body: Value| {
            let headers = [("Authorization", login), ("Content-Type", "application/json"), ("User-Agent", "t")];
            fake.answer(&Request::new(line, &headers, body)).status
        };
        assert_eq!(ask(new, "Bearer x", json!({"title": "t"})), 401);
        assert_eq!(ask("POST /repos/acme/other/issues", &login, json!({"title": "t"})), 404);
        assert_eq!(ask(new, &login, json!({"title": "x".repeat(257)})), 422);
        assert_eq!(ask(new, &login, json!({"title": "t", "body": "x".repeat(65_537)})), 422);
        assert_eq!(ask(new, &login, json!({"title": "t", "labels": "a"})), 422);
        assert_eq!(ask(old, &login, json!({"state": "closed"})), 404);
        assert_eq!(ask(new, &login, json!({"title": "t"})), 201);
        assert_eq!(ask(old, &login, json!({"state": "done"})), 422);
        assert_eq!(statuses(&mut GitHub::default(), &[(new, login.as_str(), json!({}))]), [403]);
    }
}

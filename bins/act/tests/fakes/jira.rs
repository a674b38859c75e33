//! Jira: Cloud, REST API v3 (developer.atlassian.com/cloud/jira/platform/rest/v3), and Data Center, REST API v2
//! (docs.atlassian.com/software/jira/docs/api/REST).
//!
//! Login: Cloud Basic `EMAIL:TOKEN`, Data Center a bearer. An issue needs project, issue type and a summary of one line,
//! at most 255 characters; texts are documents (Cloud) or strings, at most 32,767 characters as they are sent. 400 with errors{}, 401, 404.
//! A status changes by a transition that the issue has at that moment, and by nothing else: 204. A transition with a
//! field that its screen has not is refused. The search knows an issue once it is in the index.

use serde_json::{Value, json};

use super::tickets::{Desk, asked, login, object, short, words_of};
use super::{Reply, Request, Service};

pub const EMAIL: &str = "agent@example.com";
pub const TOKEN: &str = "jira-token-0123456789";
pub const PROJECT: &str = "SEC";
const TEXT_MAX: usize = 32_767;
/// Nodes of a document that hold others, and those of a line.
const BLOCKS: [&str; 3] = ["paragraph", "codeBlock", "heading"];
const INLINE: [&str; 2] = ["text", "hardBreak"];
/// From a status by a transition to another.
const WORKFLOW: [(&str, &str, &str, &str); 4] = [
    ("To Do", "11", "Start", "In Progress"),
    ("To Do", "31", "Done", "Done"),
    ("In Progress", "31", "Done", "Done"),
    ("Done", "41", "Reopen", "To Do"),
];

pub struct Jira {
    pub desk: Desk,
    cloud: bool,
    /// Whether the search knows what was made.
    pub indexed: bool,
}

impl Jira {
    pub fn cloud() -> Self {
        Self { desk: Desk::default(), cloud: true, indexed: true }
    }

    pub fn data_center() -> Self {
        Self { cloud: false, ..Self::cloud() }
    }
}

impl Service for Jira {
    fn answer(&mut self, request: &Request) -> Reply {
        let known = match self.cloud {
            true => login(request).is_some_and(|login| login == format!("{EMAIL}:{TOKEN}")),
            false => request.header("authorization") == format!("Bearer {TOKEN}"),
        };
        if !known {
            return Reply::text(401, "Client must be authenticated to access this resource.");
        }
        let (method, path) = asked(request);
        let version = if self.cloud { "3" } else { "2" };
        let Some(path) = path.strip_prefix(&["rest", "api", version]) else { return missing("no such page") };
        match (method, path, self.cloud) {
            ("GET", ["myself"], true) => Reply::json(200, json!({"accountId": "5b10", "displayName": "Agent"})),
            ("GET", ["myself"], false) => Reply::json(200, json!({"name": "agent", "displayName": "Agent"})),
            ("POST", ["search", "jql"], true) | ("POST", ["search"], false) => self.search(request),
            ("POST", ["issue"], _) => self.make(request),
            ("GET", ["issue", id], _) => self.show(id, request),
            ("POST", ["issue", id, "comment"], _) => self.comment(id, request),
            ("POST", ["issue", id, "transitions"], _) => self.pass(id, request),
            _ => missing("no such page"),
        }
    }
}

impl Jira {
    /// Of JQL only what is asked here: one project, and a phrase in the description.
    fn search(&self, request: &Request) -> Reply {
        let body = object(request).unwrap_or_default();
        let jql = body["jql"].as_str().unwrap_or_default().to_owned();
        let phrase = jql.strip_prefix(&format!("project = \"{PROJECT}\" AND description ~ "));
        let phrase = phrase.and_then(|phrase| serde_json::from_str::<String>(phrase).ok());
        let Some(phrase) = phrase.and_then(|p| Some(p.strip_prefix('"')?.strip_suffix('"')?.to_owned())) else {
            return Reply::json(400, json!({"errorMessages": ["Error in the JQL Query"], "warningMessages": []}));
        };
        let all = self.desk.all();
        let holds = |made: &Value| words_of(&made["description"]).contains(&phrase);
        let found = all.iter().filter(|t| self.indexed && holds(&t.made)).map(|t| shown(&t.id, &t.made));
        Reply::json(200, json!({"issues": found.collect::<Vec<Value>>(), "isLast": true}))
    }

    fn make(&mut self, request: &Request) -> Reply {
        let Some(body) = object(request) else { return wrong("body", "is no JSON") };
        let fields = &body["fields"];
        if fields["project"]["key"] != PROJECT {
            return wrong("project", "valid project is required");
        }
        if !["Task", "Bug"].iter().any(|name| fields["issuetype"]["name"] == *name) {
            return wrong("issuetype", "Specify a valid issue type");
        }
        if !short(&fields["summary"], 255) || fields["summary"].as_str().unwrap().contains(['\n', '\r']) {
            return wrong("summary", "The summary is invalid because it contains newline characters or is too long.");
        }
        if !self.is_text(&fields["description"]) {
            return wrong("description", "Operation value must be an Atlassian Document, or a string");
        }
        let names = |labels: &Value| labels.as_array().is_some_and(|l| l.iter().all(|l| !words_of(l).contains(' ')));
        if !fields["labels"].is_null() && !names(&fields["labels"]) {
            return wrong("labels", "The label can't contain spaces.");
        }
        let id = format!("{PROJECT}-{}", self.desk.len() + 1);
        self.desk.add(&id, fields, "To Do");
        Reply::json(201, shown(&id, fields))
    }

    fn show(&self, id: &str, request: &Request) -> Reply {
        let Some(status) = self.desk.with(id, |issue| issue.status.clone()) else { return no_issue() };
        let mut issue = shown(id, &Value::Null);
        issue["fields"] = json!({"status": status_of(&status)});
        if request.query.get("expand").is_some_and(|e| e.split(',').any(|e| e == "transitions")) {
            let ways = WORKFLOW.iter().filter(|(from, ..)| *from == status);
            let ways = ways.map(|(_, id, name, to)| json!({"id": id, "name": name, "to": status_of(to)}));
            issue["transitions"] = ways.collect::<Vec<Value>>().into();
        }
        Reply::json(200, issue)
    }

    fn comment(&mut self, id: &str, request: &Request) -> Reply {
        let body = object(request).unwrap_or_default();
        if !self.is_text(&body["body"]) {
            return wrong("comment", "Comment body is not valid!");
        }
        let written = self.desk.with(id, |issue| {
            issue.comments.push(words_of(&body["body"]));
            Reply::json(201, json!({"id": "10000", "body": body["body"]}))
        });
        written.unwrap_or_else(no_issue)
    }

    fn pass(&mut self, id: &str, request: &Request) -> Reply {
        let body = object(request).unwrap_or_default();
        if let Some(other) = body.as_object().and_then(|all| all.keys().find(|key| *key != "transition")) {
            return wrong(other, "It is not on the appropriate screen, or unknown.");
        }
        let passed = self.desk.with(id, |issue| {
            let way = WORKFLOW.iter().find(|(from, way, ..)| *from == issue.status && body["transition"]["id"] == *way);
            match way {
                Some((.., to)) => {
                    issue.status = (*to).to_owned();
                    Reply { status: 204, headers: Vec::new(), body: String::new() }
                }
                None => Reply::json(400, json!({"errorMessages": ["It seems that you have tried to perform an illegal workflow operation."], "errors": {}})),
            }
        });
        passed.unwrap_or_else(no_issue)
    }

    fn is_text(&self, value: &Value) -> bool {
        match self.cloud {
            true => is_document(value) && value.to_string().chars().count() <= TEXT_MAX,
            false => short(value, TEXT_MAX),
        }
    }
}

/// Whether it is a document of paragraphs with text, in the Atlassian Document Format.
fn is_document(value: &Value) -> bool {
    let is_line = |node: &Value| match node["type"].as_str() {
        Some("text") => node["text"].as_str().is_some_and(|text| !text.is_empty()),
        other => other.is_some_and(|kind| INLINE.contains(&kind)),
    };
    let lines = |node: &Value| node["content"].as_array().is_some_and(|all| all.iter().all(is_line));
    let is_block = |node: &Value| node["type"].as_str().is_some_and(|kind| BLOCKS.contains(&kind)) && lines(node);
    value["type"] == "doc"
        && value["version"] == 1
        && value["content"].as_array().is_some_and(|all| !all.is_empty() && all.iter().all(is_block))
}

fn shown(id: &str, made: &Value) -> Value {
    let mut issue = json!({"id": "10000", "key": id, "self": "https://example.atlassian.net/rest/api/3/issue/10000"});
    if !made.is_null() {
        issue["fields"] = json!({"description": made["description"]});
    }
    issue
}

fn status_of(name: &str) -> Value {
    let category = match name {
        "Done" => "done",
        "To Do" => "new",
        _ => "indeterminate",
    };
    json!({"name": name, "statusCategory": {"key": category}})
}

fn wrong(field: &str, why: &str) -> Reply {
    Reply::json(400, json!({"errorMessages": [], "errors": {field: why}}))
}

fn no_issue() -> Reply {
    missing("Issue does not exist or you do not have permission to see it.")
}

fn missing(why: &str) -> Reply {
    Reply::json(404, json!({"errorMessages": [why], "errors": {}}))
}

#[cfg(test)]
mod tests {
    use super::super::tickets::statuses;
    use super::*;

    #[test]
    fn wrong_requests_are_refused() {
        let fields = |description: Value, more: Value| {
            let mut fields = json!({"project": {"key": "SEC"}, "issuetype": {"name": "Task"}, "summary": "s"});
            fields["description"] = description;
            fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"fields": fields})
        };
        let text = json!({"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": [{"type": "text", "text": "a"}]}]});
        let empty = json!({"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": [{"type": "text", "text": ""}]}]});
        // agent@example.com:jira-token-0123456789
        let login = "Basic YWdlbnRAZXhhbXBsZS5jb206amlyYS10b2tlbi0wMTIzNDU2Nzg5";
        let (new, way) = ("POST /rest/api/3/issue", "POST /rest/api/3/issue/SEC-1/transitions");
        let all = [
            (new, "Basic eA==", fields(text.clone(), json!({}))),
            (new, login, fields("a".into(), json!({}))),
            (new, login, fields(empty, json!({}))),
            (new, login, fields(text.clone(), json!({"summary": "a\nb"}))),
            (new, login, fields(text.clone(), json!({"project": {"key": "X"}}))),
            (new, login, fields(text.clone(), json!({}))),
            (way, login, json!({"transition": {"id": "41"}})),
            (way, login, json!({"transition": {"id": "31"}, "update": {}})),
            (way, login, json!({"transition": {"id": "31"}})),
            ("POST /rest/api/3/search/jql", login, json!({"jql": "project = SEC OR"})),
            ("POST /rest/api/3/issue/SEC-9/comment", login, json!({"body": text})),
        ];
        let want = [401, 400, 400, 400, 400, 201, 400, 400, 204, 400, 404];
        assert_eq!(statuses(&mut Jira::cloud(), &all), want);
        let bearer = format!("Bearer {TOKEN}");
        let all = [
            ("GET /rest/api/2/myself", login, Value::Null),
            ("POST /rest/api/2/issue", bearer.as_str(), fields(text, json!({}))),
            ("POST /rest/api/2/issue", bearer.as_str(), fields("a".into(), json!({"labels": ["a b"]}))),
            ("POST /rest/api/2/issue", bearer.as_str(), fields("a".into(), json!({"labels": ["a"]}))),
        ];
        assert_eq!(statuses(&mut Jira::data_center(), &all), [401, 400, 400, 201]);
    }
}

//! ServiceNow, Table API (servicenow.com/docs: Table API), tables `incident` and `change_request`.
//!
//! Login: Basic. 201 for a new record, 200 for a changed one, `result` with the fields of `sysparm_fields`. Numbers of
//! choices are strings. `work_notes` are appended. An incident is resolved (6) or closed (7) only with a code of the
//! list and notes: 403 of a data policy else. 400 for a query or body that cannot be read, 404 No Record found.

use serde_json::{Map, Value, json};

use super::tickets::{Desk, asked, login, object, short};
use super::{Reply, Request, Service};

pub const USER: &str = "hub";
pub const PASSWORD: &str = "servicenow-password";
const CODES: [&str; 4] = ["Solution provided", "Workaround provided", "User error", "No resolution provided"];
const STATES: [&str; 6] = ["1", "2", "3", "6", "7", "8"];

#[derive(Default)]
pub struct ServiceNow {
    pub incidents: Desk,
    pub changes: Desk,
}

impl Service for ServiceNow {
    fn answer(&mut self, request: &Request) -> Reply {
        if login(request).is_none_or(|login| login != format!("{USER}:{PASSWORD}")) {
            return failed(401, "User Not Authenticated", "Required to provide Auth information");
        }
        let (method, path) = asked(request);
        let (desk, rest) = match path.as_slice() {
            ["api", "now", "table", "incident", rest @ ..] => (self.incidents.clone(), rest),
            ["api", "now", "table", "change_request", rest @ ..] => (self.changes.clone(), rest),
            _ => return failed(400, "Invalid table", ""),
        };
        match (method, rest) {
            ("GET", []) => find(&desk, request),
            ("POST", []) => make(&desk, request),
            ("PATCH", [id]) => change(&desk, id, request),
            _ => failed(405, "Method not supported", ""),
        }
    }
}

/// Of encoded queries only `field=value`.
fn find(desk: &Desk, request: &Request) -> Reply {
    let query = request.query.get("sysparm_query").map(String::as_str).unwrap_or_default();
    let Some((field, value)) = query.split_once('=').or(query.is_empty().then_some(("", ""))) else {
        return failed(400, "Invalid query", query);
    };
    let most = request.query.get("sysparm_limit").and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let all = desk.all();
    let found = all.iter().filter(|t| field.is_empty() || t.made[field] == value).take(most);
    let found: Vec<Value> = found.map(|t| shown(&t.id, &t.made, request)).collect();
    Reply::json(200, json!({"result": found}))
}

fn make(desk: &Desk, request: &Request) -> Reply {
    let Some(body) = object(request) else { return failed(400, "Exception while reading request", "no JSON") };
    if let Some(why) = fault(&body) {
        return failed(403, "Operation Failed", &why);
    }
    let id = format!("{:032x}", 0xabc0_0000 + desk.len());
    desk.add(&id, &body, body["state"].as_str().unwrap_or("1"));
    Reply::json(201, json!({"result": shown(&id, &body, request)}))
}

fn change(desk: &Desk, id: &str, request: &Request) -> Reply {
    let Some(body) = object(request) else { return failed(400, "Exception while reading request", "no JSON") };
    if let Some(why) = fault(&body) {
        return failed(403, "Operation Failed", &why);
    }
    let changed = desk.with(id, |record| {
        for note in ["work_notes", "close_notes"] {
            record.comments.extend(body[note].as_str().map(str::to_owned));
        }
        if let Some(state) = body["state"].as_str() {
            record.status = state.to_owned();
        }
        Reply::json(200, json!({"result": shown(id, &record.made, request)}))
    });
    changed.unwrap_or_else(|| failed(404, "No Record found", "Record doesn't exist or ACL restricts the record"))
}

/// What a data policy says, or that a text is longer than its field.
fn fault(body: &Value) -> Option<String> {
    for (field, max) in [("short_description", 160), ("description", 4000), ("correlation_id", 100)] {
        if !body[field].is_null() && !short(&body[field], max) {
            return Some(format!("{field} is too long or no text"));
        }
    }
    if let Some(state) = body.get("state") {
        if !state.as_str().is_some_and(|state| STATES.contains(&state)) {
            return Some("state is none of its choices".into());
        }
        let coded = body["close_code"].as_str().is_some_and(|code| CODES.contains(&code));
        if (state == "6" || state == "7") && !(coded && short(&body["close_notes"], 4000)) {
            return Some("Data Policy Exception: Resolution code, Resolution notes are mandatory".into());
        }
    }
    let impact = ["urgency", "impact"]
        .into_iter()
        .find(|field| !body[*field].is_null() && !body[*field].as_str().is_some_and(|n| ["1", "2", "3"].contains(&n)));
    impact.map(|field| format!("{field} is none of its choices"))
}

fn shown(id: &str, made: &Value, request: &Request) -> Value {
    let mut record: Map<String, Value> = made.as_object().unwrap().clone();
    record.insert("sys_id".into(), id.into());
    record.insert("number".into(), format!("INC{}", &id[25..]).into());
    if let Some(fields) = request.query.get("sysparm_fields") {
        record.retain(|field, _| fields.split(',').any(|wanted| wanted == field));
    }
    Value::Object(record)
}

fn failed(status: u16, message: &str, detail: &str) -> Reply {
    Reply::json(status, json!({"error": {"message": message, "detail": detail}, "status": "failure"}))
}

#[cfg(test)]
mod tests {
    use super::super::tickets::statuses;
    use super::*;

    #[test]
    fn wrong_requests_are_refused() {
        // hub:servicenow-password
        let login = "Basic aHViOnNlcnZpY2Vub3ctcGFzc3dvcmQ=";
        let (new, old) =
            ("POST /api/now/table/incident", "PATCH /api/now/table/incident/000000000000000000000000abc00000");
        let made = json!({"short_description": "s", "urgency": "1"});
        let all = [
            (new, "Basic eA==", made.clone()),
            (new, login, json!({"short_description": "x".repeat(161)})),
            (new, login, json!({"short_description": "s", "urgency": 1})),
            (new, login, json!("s")),
            (new, login, made),
            (old, login, json!({"state": "6"})),
            (old, login, json!({"state": "6", "close_code": "Solved", "close_notes": "n"})),
            (old, login, json!({"state": "6", "close_code": "User error", "close_notes": "n"})),
            ("PATCH /api/now/table/incident/7", login, json!({"work_notes": "n"})),
            ("GET /api/now/table/incident?sysparm_query=nonsense", login, Value::Null),
        ];
        let want = [401, 403, 403, 400, 201, 403, 403, 200, 404, 400];
        assert_eq!(statuses(&mut ServiceNow::default(), &all), want);
    }
}

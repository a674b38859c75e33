//! The request cases of osquery, replayed against the real program: its replies, and that the records of a log that was
//! taken are lines. What becomes of them further on is not looked at here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

mod common;

use std::collections::BTreeMap;

use common::{Answer, Hub, gzip};
use registry::db::Db;
use registry::{enrolments, live};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The cases of the suite that osquery agents send; `zentral conform` runs them all, against the whole product.
const CASES: [&str; 3] = [
    include_str!("../../../tests/data/cases/osquery.json"),
    include_str!("../../../tests/data/cases/osquery-carver.json"),
    include_str!("../../../tests/data/cases/robustness.json"),
];

/// Cases whose reply is another one, and why. A case that has come to be met must leave the list.
const OTHERWISE: &[(&str, &str)] = &[];

/// What the cases of the configuration need.
const CONFIGURED: &str = "[source.osquery]\ninventory = \"1h\"\noptions = { disable_carver = \"FaLse\" }\n\
    [pack.p1]\nscope = { tags = [\"tagged\"], not_tags = [\"b\"] }\nqueries.q.sql = \"select 1\"\n\
    [pack.p2]\nqueries.q.sql = \"select 1\"\n\
    [pack.p3]\nscope = { tags = [\"c\"] }\nqueries.q.sql = \"select 1\"\n\
    [pack.p4]\nscope = { not_tags = [\"tagged\"] }\nqueries.q.sql = \"select 1\"\n";

#[derive(Deserialize)]
struct Case {
    name: String,
    request: Request,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    body_raw: Option<String>,
    transform: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    status: u16,
    #[serde(rename = "note")]
    _note: String,
    #[serde(default)]
    status_any: Vec<u16>,
    #[serde(default)]
    headers: BTreeMap<String, Vec<String>>,
    json: Option<Value>,
    #[serde(default)]
    json_has: Vec<String>,
    #[serde(default)]
    json_lacks: Vec<String>,
}

#[test]
fn every_case_is_met_or_named() {
    let hub = Hub::new("", CONFIGURED);
    let (_, secret) = hub.enrolment("berlin", "osquery", None, None);
    let (_, secret_2) = hub.enrolment("berlin", "osquery", None, None);
    let other = hub.enrol(&secret_2, "C03");
    let mut cases: Vec<Case> = CASES.iter().flat_map(|text| serde_json::from_str::<Vec<Case>>(text).unwrap()).collect();
    cases.retain(|case| case.request.path.starts_with("/public/osquery/"));
    assert_eq!(cases.len(), 58);
    for (name, _) in OTHERWISE {
        assert!(cases.iter().any(|case| case.name == *name), "{name} is no case");
    }
    for (number, case) in cases.iter().enumerate() {
        let node_key = hub.enrol(&secret, "C02");
        let runs = if case.is_about("RUN_ID") { hub.runs(&node_key, &other) } else { Default::default() };
        let guid = format!("5b3b5f3a-5b60-4bb7-9a12-{number:012}");
        let session = if case.is_about("CARVE_") { hub.carve(&node_key, &guid, &case.name) } else { String::new() };
        let values = [
            ("NODE_KEY", node_key.as_str()),
            ("OSQUERY_ENROLL_SECRET", &secret),
            ("OSQUERY_ENROLL_SECRET_2", &secret_2),
            ("OSQUERY_SERIAL", "C02"),
            ("CARVE_GUID", &guid),
            ("CARVE_SESSION", &session),
            ("PACK_SLUG", "pack"),
            ("PACK_ID", "1"),
            ("QUERY_SLUG", "query"),
            ("QUERY_ID", "2"),
            ("RUN_ID", &runs[0]),
            ("RUN_ID_CC", &runs[0]),
            ("RUN_ID_TAG", &runs[0]),
            ("OTHER_MACHINE_RUN_ID", &runs[1]),
        ];
        let before = hub.records_of_logs();
        let (answer, sent) = case.send(&hub, &values);
        let mut met = case.met(&answer);
        if case.name == "osquery-config-tag-scoping" {
            let packs: Vec<_> = answer.body["packs"].as_object().unwrap().keys().collect();
            assert_eq!(packs, ["p1", "p2"]);
        }
        let taken = hub.records_of_logs() - before;
        if answer.status == 200 && answer.body == serde_json::json!({}) && taken != sent {
            met = Err(format!("{taken} lines of {sent} records"));
        }
        match (met, OTHERWISE.iter().find(|(name, _)| *name == case.name)) {
            (Ok(()), Some((name, why))) => panic!("{name} is met now, and named as `{why}`"),
            (Err(why), None) => panic!("{}: {why}: {} {}", case.name, answer.status, answer.body),
            _ => {}
        }
    }
    // Two answers gave rows of runs of this machine; nothing was taken under another's name.
    let answers: Vec<_> = hub.lines().into_iter().filter(|line| line.kind == "answer").collect();
    assert!(answers.len() >= 5 && answers.iter().all(|a| a.machine.serial_number.as_deref() == Some("C02")));
    let actions =
        hub.lines().into_iter().filter(|line| line.kind == "carve").map(|line| common::body(&line)["action"].clone());
    assert!(actions.filter(|action| action == "start").count() >= 4);
    // The same record of the same machine, in two requests, is one event.
    let unknown: Vec<_> = hub.records().into_iter().filter(|r| common::body(r)["name"] == "local_query").collect();
    assert_eq!(unknown.len(), 3);
    assert!(unknown.iter().all(|record| record.id == unknown[0].id));
}

impl Hub {
    /// A live query as this machine and as the other is to name it.
    fn runs(&self, node_key: &str, other: &str) -> [String; 2] {
        let mut db = Db::open(&self.path("data/registry.db"), &[enrolments::SCHEMA, live::QUERIES]).unwrap();
        let now = event::Time::now().ms();
        live::ask(&mut db, "select username from users", "{}", now + 600_000, None, now).unwrap();
        [node_key, other].map(|key| {
            common::wait("a query", || {
                let answer = self.ask("", "distributed/read", &json!({"node_key": key}));
                answer.body["queries"].as_object().unwrap().keys().next().cloned()
            })
        })
    }

    /// A carve is scheduled, and begun if the case is about its session.
    fn carve(&self, node_key: &str, guid: &str, case: &str) -> String {
        let row = json!({"carve": "1", "status": "SCHEDULED", "carve_guid": guid, "path": "/a", "request_id": "r"});
        let record = json!({"name": "carves", "action": "added", "unixTime": 1_480_605_737, "columns": row});
        assert_eq!(self.ask("", "log", &common::log_body(node_key, [record])).status, 200);
        if case.contains("start") {
            return String::new();
        }
        let start = json!({"node_key": node_key, "carve_id": guid, "request_id": "r", "block_count": 4455,
            "block_size": 8192, "carve_size": 36_492_800});
        self.ask("", "carver/start", &start).body["session_id"].as_str().unwrap().to_owned()
    }

    fn records_of_logs(&self) -> usize {
        self.lines()
            .iter()
            .filter(|l| matches!(l.kind.as_str(), "result" | "status") || l.kind.starts_with("log:"))
            .count()
    }
}

impl Case {
    /// Whether a placeholder of its body begins so.
    fn is_about(&self, word: &str) -> bool {
        let text = self.request.body.as_ref().map(Value::to_string).unwrap_or_default();
        text.contains(&format!("{{{{{word}")) || text.contains(&format!("_{word}"))
    }

    /// The answer, and how many records of a log were sent.
    fn send(&self, hub: &Hub, values: &[(&str, &str)]) -> (Answer, usize) {
        let Request { method, path, headers, body, body_raw, transform } = &self.request;
        let sent = body.as_ref().filter(|_| path.ends_with("/log")).and_then(|b| b["data"].as_array());
        let mut text = match (body, body_raw) {
            (_, Some(raw)) => raw.clone(),
            (Some(body), None) => body.to_string(),
            (None, None) => String::new(),
        };
        for (name, value) in values {
            text = text.replace(&format!("{{{{{name}}}}}"), value);
        }
        assert!(!text.contains("{{"), "{}: a value that nobody fills in: {text}", self.name);
        let bytes = match transform.as_deref() {
            None => text.into_bytes(),
            Some("gzip") => gzip(text.as_bytes()),
            Some(other) => panic!("{}: transform {other}", self.name),
        };
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = bytes.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n");
        let mut conn = hub.connect();
        conn.send(&[head.as_bytes(), &bytes].concat());
        (conn.answer(), sent.map_or(0, Vec::len))
    }

    fn met(&self, answer: &Answer) -> Result<(), String> {
        let expect = &self.expect;
        if answer.status != expect.status && !expect.status_any.contains(&answer.status) {
            return Err(format!("status {} was expected", expect.status));
        }
        for (name, values) in &expect.headers {
            let prefix = format!("{}: ", name.to_ascii_lowercase());
            let line = answer.head.lines().find_map(|l| l.strip_prefix(&prefix)).unwrap_or_default();
            let mut got: Vec<String> = line.split(',').map(|v| v.trim().to_ascii_uppercase()).collect();
            let mut want = values.clone();
            got.sort();
            want.sort();
            if got != want {
                return Err(format!("{name}: {line}"));
            }
        }
        if expect.json.as_ref().is_some_and(|json| *json != answer.body) {
            return Err(format!("{} was expected", Value::from(expect.json.clone())));
        }
        for path in &expect.json_has {
            let (path, want) = path.split_once('=').map_or((path.as_str(), None), |(path, want)| (path, Some(want)));
            match (at(&answer.body, path), want) {
                (Some(_), None) => {}
                (Some(got), Some(want)) if got.as_str().map_or(got.to_string(), str::to_owned) == want => {}
                (got, _) => return Err(format!("{path}: {got:?}")),
            }
        }
        match expect.json_lacks.iter().find(|path| at(&answer.body, path).is_some()) {
            Some(path) => Err(format!("{path} is there")),
            None => Ok(()),
        }
    }
}

fn at<'a>(body: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(body, |value, key| value.as_object().and_then(|object: &Map<_, _>| object.get(key)))
}

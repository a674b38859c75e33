//! The request cases of Santa, replayed against the real program, each with machines of its own.
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

use common::santad::{Santad, send, zlib};
use common::{Answer, Hub, wait};
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::Value;

const CASES: &str = include_str!("data/santa_requests.json");

/// Cases that are not run, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("santa-preflight-mtls-required", "later: certificates of agents"),
    ("santa-preflight-forced-clean-all", "later: a sync that an administrator orders"),
];

#[derive(Deserialize)]
struct Case {
    name: String,
    request: Request,
    expect: Expect,
    #[serde(default)]
    needs: Vec<String>,
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
    json: Option<Value>,
    #[serde(default)]
    json_has: Vec<String>,
    #[serde(default)]
    json_lacks: Vec<String>,
}

/// One hub, whose configuration is what the case needs.
struct Driver {
    hub: Hub,
    secret: String,
    said: String,
    reloads: usize,
    machines: u32,
}

const SHA: &str = "1111111111111111111111111111111111111111111111111111111111111111";

impl Driver {
    fn say(&mut self, source: &str, rules: &str) {
        let text = format!("[unit.berlin]\n[unit.paris]\n[source.santa]\n{source}\n{rules}\n");
        if text == self.said {
            return;
        }
        self.hub.configure("", &text);
        self.hub.signal(Signal::HUP);
        self.reloads += 1;
        wait("a reload", || (self.hub.log().matches("reloaded").count() >= self.reloads).then_some(()));
        self.said = text;
    }

    /// What the case needs is there; then its request. The values of its machine come from `values` if it goes on from
    /// another case.
    fn run(&mut self, cases: &[Case], case: &Case, values: Option<Values>) -> (Answer, Values) {
        let mut values = values.unwrap_or_else(|| {
            self.machines += 1;
            Values { machine: self.machines, cursor: String::new() }
        });
        let (mut source, mut rules, mut scope) = (String::new(), String::new(), "");
        let (mut version, mut enrolled, mut confirmed) = ("2026.2", false, false);
        for need in &case.needs {
            let (word, more) = need.split_once(':').unwrap_or((need, ""));
            match (word, more) {
                ("santa_enrollment", "") => {}
                ("santa_enrollment", "block_usb_mount,remount=noexec|rdonly") => {
                    source = "block_usb_mount = true\nremount_usb_mode = [\"noexec\", \"rdonly\"]".into();
                }
                ("santa_enrolled_machine", more) => {
                    enrolled = true;
                    match more {
                        "" => {}
                        "batch=2" => source = "batch_size = 2".into(),
                        other => version = if other == "2024.1" { "2024.1" } else { "2025.6" },
                    }
                }
                ("santa_rule", kind) => {
                    let (kind, policy) = kind.split_once(',').unwrap();
                    let cel = if policy == "CEL" { ", cel_expr = \"true\"" } else { "" };
                    rules = format!("{{ type = \"{kind}\", id = \"{SHA}\", policy = \"{policy}\"{cel} }}");
                }
                ("santa_rule_confirmed" | "santa_synced_rule", "") => {
                    (enrolled, confirmed) = (true, true);
                    rules = format!("{{ type = \"BINARY\", id = \"{SHA}\", policy = \"BLOCKLIST\" }}");
                }
                ("santa_rules", "5") => {
                    let rule = |n: u32| format!("{{ type = \"BINARY\", id = \"{n:064}\", policy = \"BLOCKLIST\" }}");
                    rules = (1..=5).map(rule).collect::<Vec<_>>().join(", ");
                }
                ("santa_rule_out_of_scope", "") => scope = "scope = { units = [\"paris\"] }",
                ("santa_rule_excludes_serial", "") => scope = "scope = { not_units = [\"berlin\"] }",
                ("previous", name) => {
                    let (name, times) = name.strip_suffix(" twice").map_or((name, 1), |name| (name, 2));
                    let before = cases.iter().find(|case| case.name == name).unwrap();
                    for turn in 0..times {
                        if turn == 0 {
                            let (answer, after) = self.run(cases, before, Some(values));
                            values = after.next(&answer);
                        } else {
                            let answer = before.send(self, &values, Some(values.cursor.clone()));
                            values = values.next(&answer);
                        }
                    }
                    return (case.send(self, &values, None), values);
                }
                other => panic!("{}: nobody knows what {other:?} is", case.name),
            }
        }
        if case.name.contains("bundle") {
            source += "\nenable_bundles = true";
        }
        let table = |scope: &str| {
            if rules.is_empty() { String::new() } else { format!("[rules.case]\n{scope}\nrules = [ {rules} ]") }
        };
        if enrolled {
            let before = if confirmed { table("") } else { String::new() };
            self.say(&source, &before);
            Santad::new(&self.secret, values.machine, version).sync(&mut self.hub.connect());
        }
        self.say(&source, &table(scope));
        (case.send(self, &values, None), values)
    }
}

struct Values {
    machine: u32,
    cursor: String,
}

impl Values {
    fn next(self, answer: &Answer) -> Self {
        Self { cursor: answer.body["cursor"].as_str().unwrap_or_default().to_owned(), ..self }
    }
}

#[test]
fn every_case_is_met_or_named() {
    let hub = Hub::new("", "[unit.berlin]\n[unit.paris]\n");
    let (_, secret) = hub.enrolment("berlin", "santa", None, None);
    let mut driver = Driver { hub, secret, said: String::new(), reloads: 0, machines: 0 };
    let cases: Vec<Case> = serde_json::from_str(CASES).unwrap();
    let mut met = 0;
    for case in cases.iter().filter(|case| !OTHERWISE.iter().any(|(name, _)| *name == case.name)) {
        let (answer, _) = driver.run(&cases, case, None);
        if let Err(why) = case.met(&answer) {
            panic!("{}: {why}: {} {}", case.name, answer.status, answer.body);
        }
        met += 1;
    }
    assert_eq!(met + OTHERWISE.len(), 63);
}

impl Case {
    fn send(&self, driver: &Driver, values: &Values, cursor: Option<String>) -> Answer {
        let Request { method, path, headers, body, body_raw, transform } = &self.request;
        let known = Santad::new(&driver.secret, values.machine, "");
        let body = if let Some(cursor) = cursor { Some(serde_json::json!({"cursor": cursor})) } else { body.clone() };
        let mut text = match (&body, body_raw) {
            (_, Some(raw)) => raw.clone(),
            (Some(body), None) => body.to_string(),
            (None, None) => String::new(),
        };
        let (mut path, mut headers) =
            (path.clone(), headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>());
        for (name, value) in [
            ("{{SANTA_SECRET}}", driver.secret.as_str()),
            ("{{SANTA_UUID}}", &known.id),
            ("{{NEW_UUID}}", &known.id),
            ("{{SANTA_SERIAL}}", &known.serial),
            // The cases share these serial numbers, each under an id of its own.
            ("C02SANTA0001", &known.serial),
            ("C02SANTA0002", &known.serial),
            ("{{CURSOR_2}}", &values.cursor),
        ] {
            for to in [&mut text, &mut path, &mut headers] {
                *to = to.replace(name, value);
            }
        }
        assert!(!format!("{text}{path}{headers}").contains("{{"), "{}: a value that nobody fills in", self.name);
        let bytes = match transform.as_deref() {
            None => text.into_bytes(),
            Some("zlib") => zlib(text.as_bytes()),
            Some(other) => panic!("{}: transform {other}", self.name),
        };
        send(&mut driver.hub.connect(), method, &path, &bytes, &headers)
    }

    fn met(&self, answer: &Answer) -> Result<(), String> {
        let expect = &self.expect;
        if answer.status != expect.status && !expect.status_any.contains(&answer.status) {
            return Err(format!("status {} was expected", expect.status));
        }
        let json = expect.json.as_ref().map(|json| json.to_string().replace("{{RULE_SHA256}}", SHA));
        if json.is_some_and(|json| serde_json::from_str::<Value>(&json).unwrap() != answer.body) {
            return Err("another body was expected".into());
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
    path.split('.').try_fold(body, |value, key| match value {
        Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        other => other.get(key),
    })
}

//! osquery's requests and the hub's replies, on a desk that answers from a table.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests may panic")]

use std::cell::{Cell, RefCell};
use std::io::{BufReader, Read};
use std::sync::Arc;

use event::{Machine, Raw, Time};
use flate2::Compression;
use flate2::read::GzEncoder;
use serde_json::{Value, json};
use sources::osquery::SOURCE;
use sources::{Desk, Enrolment, MachineFacts, NoRoom, Reply, Request, Sink, Source, Speaker, Unavailable};

#[derive(Default)]
struct Hub {
    down: bool,
    full: bool,
    /// Long bodies are not to be gone on with.
    short: bool,
    heard: RefCell<Vec<&'static str>>,
    due: Cell<bool>,
    lines: RefCell<Vec<u8>>,
}

impl Desk for Hub {
    fn enrol(&self, source: &'static str, secret: &str, facts: &MachineFacts) -> Enrolment {
        assert_eq!(source, "osquery");
        match secret {
            _ if self.down => Enrolment::Unavailable,
            "good" | "again" => Enrolment::Accepted {
                node_key: "k\"1".into(),
                machine: Machine { unit: Some("berlin".into()), ..facts.machine() },
                again: secret == "again",
            },
            "other" => Enrolment::Conflict { known: machine(), why: "hardware", pending: false },
            _ => Enrolment::Refused("expired"),
        }
    }

    fn speaker(&self, _: &'static str, node_key: &str) -> Speaker {
        match node_key {
            _ if self.down => Speaker::Unavailable,
            "k" => Speaker::Known(machine()),
            _ => Speaker::Unknown,
        }
    }

    fn osquery_config(&self, machine: &Machine) -> Result<Arc<[u8]>, Unavailable> {
        assert_eq!(machine.unit.as_deref(), Some("berlin"));
        Ok(Arc::from(&br#"{"schedule":{}}"#[..]))
    }

    fn heard(&self, _: &'static str, _: &Machine, kind: &'static str) -> bool {
        self.heard.borrow_mut().push(kind);
        self.due.get()
    }
}

struct Topic<'a>(&'a Hub);

impl Sink for Topic<'_> {
    fn lines(&mut self, lines: Vec<u8>, count: usize) -> Result<(), NoRoom> {
        assert_eq!(lines.iter().filter(|b| **b == b'\n').count(), count);
        assert!(lines.ends_with(b"\n"));
        if self.0.full {
            return Err(NoRoom);
        }
        self.0.lines.borrow_mut().extend_from_slice(&lines);
        Ok(())
    }

    fn long(&mut self) -> Result<(), NoRoom> {
        if self.0.short { Err(NoRoom) } else { Ok(()) }
    }
}

impl Hub {
    fn post(&self, path: &str, body: &[u8]) -> Reply {
        self.ask("POST", path, None, body, 1 << 20)
    }

    fn ask(&self, method: &str, path: &str, encoding: Option<&str>, body: &[u8], inflated_max: usize) -> Reply {
        let path = format!("/public/osquery/{path}");
        let request = Request {
            id: "r-1",
            received: "2026-01-06T08:00:10Z".parse::<Time>().unwrap(),
            method,
            route: sources::route(&path).unwrap().1,
            parts: &[],
            query: None,
            headers: &(&[] as &[(&str, &str)]),
            encoding,
            ip: Some("203.0.113.9"),
            user_agent: Some("osquery/5.23.0"),
            inflated_max,
        };
        let reply = SOURCE.answer(&request, &mut BufReader::with_capacity(1000, body), self, &mut Topic(self));
        let text: Value = serde_json::from_slice(reply.body.as_bytes()).unwrap();
        assert!(text.is_object(), "every reply is a JSON object, never empty");
        assert_eq!(reply.status >= 400, text.get("error").is_some(), "{text}");
        reply
    }

    fn raws(&self) -> Vec<Raw> {
        self.lines.borrow().split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| Raw::parse(l).unwrap()).collect()
    }

    fn bodies(&self) -> Vec<String> {
        self.raws().iter().map(body).collect()
    }
}

fn body(raw: &Raw) -> String {
    match &raw.body {
        event::Body::Json(text) => text.get().to_owned(),
        other => format!("{other:?}"),
    }
}

fn machine() -> Machine {
    Machine { serial_number: Some("C02".into()), unit: Some("berlin".into()), ..Machine::default() }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    GzEncoder::new(text, Compression::default()).read_to_end(&mut out).unwrap();
    out
}

fn log(data: &str) -> Vec<u8> {
    format!(r#"{{"node_key":"k","log_type":"result","data":{data}}}"#).into_bytes()
}

/// (path, body, status, reply or the reason of an error)
#[test]
fn replies() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let good = r#""host_identifier":"h","platform_type":"21""#;
    let cases: Vec<(&str, String, u16, &str, &str)> = vec![
        ("enroll", "this is not json".into(), 400, "not_json", ""),
        ("enroll", "[]".into(), 400, "not_object", ""),
        ("enroll", "".into(), 400, "empty_body", ""),
        ("enroll", r#"{"something_else":true}"#.into(), 400, "missing_key", ""),
        ("enroll", r#"{"enroll_secret":"good"}"#.into(), 400, "missing_key", ""),
        ("enroll", r#"{"enroll_secret":7,"host_identifier":"h"}"#.into(), 400, "wrong_type", ""),
        ("enroll", format!(r#"{{"enroll_secret":"bad",{good}}}"#), 200, "expired", r#"{"node_invalid":true}"#),
        ("enroll", format!(r#"{{"enroll_secret":"",{good}}}"#), 200, "secret", r#"{"node_invalid":true}"#),
        (
            "enroll",
            format!(r#"{{"enroll_secret":"a","enroll_secret":"b",{good}}}"#),
            200,
            "expired",
            r#"{"node_invalid":true}"#,
        ),
        ("enroll", format!(r#"{{"enroll_secret":" good\n",{good}}}"#), 200, "ok", r#"{"node_key":"k\"1"}"#),
        ("enroll", format!(r#"{{"enroll_secret":"other",{good}}}"#), 200, "conflict", r#"{"node_invalid":true}"#),
        ("config", "null".into(), 400, "not_object", ""),
        ("config", r#"{"foo":1}"#.into(), 400, "missing_key", ""),
        ("config", r#"{"node_key":{}}"#.into(), 400, "wrong_type", ""),
        ("config", r#"{"node_key":""}"#.into(), 200, "node_invalid", r#"{"node_invalid":true}"#),
        ("config", r#"{"node_key":"k"}"#.into(), 200, "ok", r#"{"schedule":{}}"#),
        ("config", format!(r#"{{"node_key":{deep}}}"#), 400, "not_json", ""),
        ("distributed/read", r#"{"node_key":"k"}"#.into(), 200, "ok", r#"{"queries":{}}"#),
        ("distributed/read", r#"{"node_key":"x"}"#.into(), 200, "node_invalid", r#"{"node_invalid":true}"#),
        ("distributed/read", r#"{"foo":"bar"}"#.into(), 400, "missing_key", ""),
        ("distributed/write", r#"{"node_key":"k","queries":{"q1":""},"statuses":{"q1":1}}"#.into(), 200, "ok", "{}"),
        ("carver/start", r#"{"node_key":"k"}"#.into(), 400, "missing_key", ""),
        (
            "carver/start",
            r#"{"node_key":"k","carve_id":"c","block_count":1,"block_size":1,"carve_size":"1"}"#.into(),
            404,
            "carve_unknown",
            "",
        ),
        ("carver/continue", r#"{"session_id":"s","block_id":"a","data":"eA=="}"#.into(), 400, "wrong_type", ""),
        ("carver/continue", r#"{"session_id":"s","block_id":0,"data":"?"}"#.into(), 400, "carve_wrong", ""),
        ("carver/continue", r#"{"session_id":"s","block_id":0,"data":"eA=="}"#.into(), 403, "carve_unknown", ""),
        ("log", "[]".into(), 400, "not_object", ""),
        ("log", "".into(), 400, "empty_body", ""),
        ("log", r#"{"node_key":"k","log_type":"result","data":[{}"#.into(), 400, "not_json", ""),
        ("log", r#"{"node_key":"unknown-node"}"#.into(), 200, "node_invalid", r#"{"node_invalid":true}"#),
        ("log", r#"{"log_type":"result","data":[]}"#.into(), 400, "missing_key", ""),
        ("log", r#"{"node_key":1,"log_type":"result","data":[]}"#.into(), 400, "wrong_type", ""),
        ("log", r#"{"node_key":"k","log_type":"result"}"#.into(), 400, "missing_key", ""),
        ("log", r#"{"node_key":"k","data":[]}"#.into(), 400, "missing_key", ""),
        ("log", r#"{"node_key":"k","log_type":7,"data":[]}"#.into(), 400, "wrong_type", ""),
        ("log", r#"{"node_key":"k","log_type":"result","data":{}}"#.into(), 400, "wrong_type", ""),
        ("log", r#"{"node_key":"k","log_type":"snapshot","data":"not a list"}"#.into(), 400, "wrong_type", ""),
        ("log", r#"{"node_key":"k","log_type":"result","data":[]}"#.into(), 200, "ok", "{}"),
        ("log", r#"{"node_key":"k","log_type":"result","data":""}"#.into(), 200, "ok", "{}"),
        ("log", r#"{"node_key":"k","log_type":"shiny","data":[{"name":"x"}]}"#.into(), 200, "ok", "{}"),
        ("log", format!(r#"{{"node_key":"k","log_type":"result","data":{deep}}}"#), 200, "ok", "{}"),
    ];
    for (path, body, status, reason, text) in cases {
        let reply = Hub::default().post(path, body.as_bytes());
        let shown = body.get(..100).unwrap_or(&body);
        assert_eq!((reply.status, reply.reason), (status, reason), "{path} {shown}");
        if !text.is_empty() {
            assert_eq!(reply.body.as_bytes(), text.as_bytes(), "{path} {shown}");
        }
    }
}

#[test]
fn other_methods() {
    for (method, status) in [("GET", 405), ("PUT", 405), ("OPTIONS", 200)] {
        for route in SOURCE.routes().iter().filter(|route| !route.legacy) {
            let reply = Hub::default().ask(method, route.path.strip_prefix("/public/osquery/").unwrap(), None, b"", 99);
            assert_eq!((reply.status, reply.headers), (status, vec![("Allow", "POST, OPTIONS")]));
        }
    }
}

/// A registry that can't be read and a full topic are "busy", and never "unknown key".
#[test]
fn busy() {
    let down = Hub { down: true, ..Hub::default() };
    let full = Hub { full: true, due: Cell::new(true), ..Hub::default() };
    // What needs no room but for the line about it is answered without that line.
    for (path, body, when_full) in [
        ("enroll", &br#"{"enroll_secret":"good","host_identifier":"h"}"#[..], 503),
        ("config", br#"{"node_key":"k"}"#, 200),
        ("log", br#"{"node_key":"k","log_type":"result","data":[{}]}"#, 503),
        ("distributed/read", br#"{"node_key":"k"}"#, 200),
        ("distributed/write", br#"{"node_key":"k"}"#, 200),
    ] {
        for (hub, status) in [(&down, 503), (&full, when_full)] {
            let reply = hub.post(path, body);
            assert_eq!(reply.status, status, "{path}");
            assert!(status == 200 || reply.body.as_bytes() == br#"{"error":"busy"}"#, "{path}");
        }
    }
}

#[test]
fn an_enrolment_line_has_the_facts_and_not_the_secret() {
    for (secret, action) in [("good", "enrollment"), ("again", "re-enrollment")] {
        let hub = Hub::default();
        let details = json!({"system_info": {"hardware_serial": "C02ENROLL001", "hostname": "mac"}});
        let body = json!({"action": "x", "host_identifier": "h", "enroll_secret": secret, "platform_type": "21", "host_details": details});
        hub.post("enroll", body.to_string().as_bytes());
        let [raw] = &hub.raws()[..] else { panic!("one line") };
        let mut want = json!({"action": action, "host_identifier": "h", "platform_type": "21"});
        want["host_details"] = details;
        assert_eq!((raw.kind.as_str(), &body_value(raw)), ("enroll", &want));
        assert_eq!(raw.machine.serial_number.as_deref(), Some("C02ENROLL001"));
        let facts = SOURCE.facts(raw).unwrap();
        assert_eq!((facts.platform.as_deref(), facts.hostname.as_deref()), (Some("macos"), Some("mac")));
        assert_eq!(SOURCE.translate(raw).unwrap()[0].type_, "osquery_enrollment");
    }
    let hub = Hub::default();
    hub.post("enroll", br#"{"enroll_secret":"other","host_identifier":"h"}"#);
    assert_eq!(hub.raws()[0].kind, "conflict");
    assert_eq!(hub.bodies(), [r#"{"why":"hardware","claimed":{"hostname":"h"}}"#]);
}

fn body_value(raw: &Raw) -> Value {
    serde_json::from_str(&body(raw)).unwrap()
}

#[test]
fn a_request_gets_a_line_when_one_is_due() {
    for (path, body, kind) in [
        ("config", r#"{"node_key":"k"}"#, "config"),
        ("distributed/read", r#"{"node_key":"k"}"#, "distributed_read"),
        ("distributed/write", r#"{"node_key":"k"}"#, "distributed_write"),
        ("log", r#"{"node_key":"k","log_type":"status","data":[]}"#, "log"),
    ] {
        let hub = Hub::default();
        hub.post(path, body.as_bytes());
        assert_eq!((hub.heard.borrow().as_slice(), hub.raws().len()), (&[kind][..], 0));
        hub.due.set(true);
        hub.post(path, body.as_bytes());
        let [raw] = &hub.raws()[..] else { panic!("one line") };
        let event = &SOURCE.translate(raw).unwrap()[0];
        let said = format!(r#"{{"request_type":"{kind}"}}"#);
        assert_eq!((event.type_.as_str(), event.payload.get()), ("osquery_request", said.as_str()));
    }
}

#[test]
fn records_become_lines() {
    let hub = Hub::default();
    let record = r#"{"name":"a","columns":{"x":"é \"]}"},"unixTime":"1767686405"}"#;
    let bad = br#"{"name":"\"#;
    let mut body = br#"{"data":[ {"a" : 1}, "#.to_vec();
    body.extend_from_slice(record.as_bytes());
    body.extend_from_slice(b",");
    body.extend_from_slice(bad);
    body.extend_from_slice(b"\xff\"},[],{\"unixTime\":1e400}],\"log_type\":\"status\",\"node_key\":\"k\"}");
    let reply = hub.ask("POST", "log", Some("gzip"), &gzip(&body), 1 << 20);
    assert_eq!((reply.status, reply.records), (200, 5));
    let raws = hub.raws();
    assert_eq!(raws.iter().map(|r| r.kind.as_str()).collect::<Vec<_>>(), ["status"; 5]);
    assert_eq!(raws.iter().filter(|r| SOURCE.translate(r).is_ok()).count(), 1);
    let bodies = hub.bodies();
    assert_eq!([&bodies[0], &bodies[1]], ["{\"a\":1}", record]);
    assert!(bodies[2].starts_with("Base64"), "{}", bodies[2]);

    let hub = Hub::default();
    let wrapped = serde_json::to_string(&format!("[{record},{{}}]")).unwrap();
    assert_eq!(hub.post("log", &log(&wrapped)).records, 2);
    assert_eq!(hub.bodies(), [record, "{}"]);
}

/// No agent can speak in the hub's own name by giving its log a name of ours.
#[test]
fn labels_are_marked() {
    for (label, kind) in [
        ("enroll", "log:enroll"),
        ("request", "log:request"),
        ("shiny-1", "log:shiny-1"),
        ("a b", "log:other"),
        ("", "log:other"),
    ] {
        let hub = Hub::default();
        hub.post("log", json!({"node_key": "k", "log_type": label, "data": [{}]}).to_string().as_bytes());
        assert_eq!(hub.raws()[0].kind, kind);
    }
}

/// osquery sends what it could not send again, with what came since, in new bodies.
#[test]
fn a_retry_in_other_frames_has_the_same_ids() {
    let record = |n: u32, t: u32| format!(r#"{{"name":"q","columns":{{"n":"{n}"}},"unixTime":{t}}}"#);
    let ids = |frames: &[Vec<String>], inflated_max: usize| {
        let hub = Hub::default();
        for records in frames {
            let reply = hub.ask("POST", "log", None, &log(&format!("[{}]", records.join(","))), inflated_max);
            assert_eq!(reply.reason, "ok");
        }
        hub.raws().into_iter().map(|raw| (body(&raw), raw.id)).collect::<std::collections::BTreeSet<_>>()
    };
    // 1 is there twice in one body; 3 names the time of a dead battery, 4 one of 2040.
    let all = [record(1, 7), record(1, 7), record(2, 7), record(3, 0), record(4, 2_208_988_800)];
    let once = ids(&[all.to_vec()], 1 << 20);
    assert_eq!(once.len(), 5);
    let old_and_new = [record(9, 8)].iter().chain(&all).cloned().collect::<Vec<_>>();
    let again = ids(&[vec![all[2].clone()], old_and_new], 1 << 20);
    assert!(again.is_superset(&once) && again.len() == 6);
    assert_eq!(ids(&[all.to_vec()], 60), once, "while streaming, too");
}

#[test]
fn long_bodies_stream() {
    let records: Vec<String> =
        (0..5000).map(|n| format!(r#"{{"name":"q","columns":{{"n":"{n}"}},"unixTime":{n}}}"#)).collect();
    let whole = log(&format!("[{}]", records.join(",")));
    let (held, streamed) = (Hub::default(), Hub::default());
    held.ask("POST", "log", None, &whole, 1 << 30);
    let reply = streamed.ask("POST", "log", Some("gzip"), &gzip(&whole), 1000);
    assert_eq!((reply.status, reply.records), (200, 5000));
    assert!(*held.lines.borrow() == *streamed.lines.borrow());

    // What can't be held can't be put in order, nor cut out of a string.
    for body in [
        format!(r#"{{"data":[{}],"node_key":"k","log_type":"result"}}"#, records.join(",")),
        format!(r#"{{"node_key":"k","data":[{}],"log_type":"result"}}"#, records.join(",")),
    ] {
        assert_eq!(Hub::default().ask("POST", "log", None, body.as_bytes(), 1000).reason, "too_large");
    }
    let unknown = String::from_utf8(whole.clone()).unwrap().replacen("\"k\"", "\"u\"", 1);
    let hub = Hub::default();
    assert_eq!(hub.ask("POST", "log", None, unknown.as_bytes(), 1000).reason, "node_invalid");
    assert!(hub.lines.borrow().is_empty());
    let reply = Hub { down: true, ..Hub::default() }.ask("POST", "log", None, &whole, 1000);
    assert_eq!(reply.reason, "busy");
    let reply = Hub { full: true, ..Hub::default() }.ask("POST", "log", None, &whole, 1000);
    assert_eq!(reply.reason, "busy");
    let cut_off = Hub::default().ask("POST", "log", None, &whole[..whole.len() - 9], 1000);
    assert_eq!(cut_off.reason, "not_json");
}

#[test]
fn broken_and_exploding_bodies() {
    let good = gzip(&log("[{}]"));
    let bomb = gzip(&log(&format!("[\"{}\"]", "a".repeat(20 << 20))));
    let mut crc = good.clone();
    let at = crc.len() - 5;
    crc[at] ^= 1;
    for (body, encoding, status, reason) in [
        (&good[..], "gzip", 200, "ok"),
        (&crc, "gzip", 400, "bad_encoding"),
        (&good[..good.len() / 2], "gzip", 400, "bad_encoding"),
        (b"{}", "gzip", 400, "bad_encoding"),
        (b"", "gzip", 400, "empty_body"),
        (&good, "br", 415, "bad_encoding"),
        (&good, "", 400, "not_json"),
        (&bomb, "gzip", 413, "bomb"),
    ] {
        for path in ["log", "config"] {
            if path == "config" && matches!(reason, "ok" | "bomb") {
                continue;
            }
            let reply = Hub::default().ask("POST", path, Some(encoding), body, 1 << 20);
            assert_eq!((reply.status, reply.reason), (status, reason), "{path} {encoding}");
        }
    }
    assert_eq!(Hub::default().ask("POST", "config", Some("gzip"), &bomb, 1 << 20).reason, "too_large");

    let hub = Hub { due: Cell::new(true), ..Hub::default() };
    hub.ask("POST", "log", Some("gzip"), &bomb, 1 << 20);
    let raws = hub.raws();
    assert_eq!(raws.iter().map(|r| r.kind.as_str()).collect::<Vec<_>>(), ["request", "refused"]);
    assert_eq!(raws[1].machine, machine(), "the machine that sent it is named");
}

/// Whoever may be anyone makes the hub hold no more than it could need.
#[test]
fn each_path_has_its_bound() {
    let padded = |text: &str, bytes: usize| format!("{{{text},\"x\":\"{}\"}}", "x".repeat(bytes));
    let enrol = r#""enroll_secret":"good","host_identifier":"h""#;
    for (path, text, fits, beyond) in [
        ("config", r#""node_key":"k""#, 60 << 10, 64 << 10),
        ("distributed/read", r#""node_key":"k""#, 60 << 10, 64 << 10),
        ("enroll", enrol, 1000 << 10, 1 << 20),
        ("distributed/write", r#""node_key":"k""#, 15 << 20, 16 << 20),
    ] {
        let ask = |bytes| {
            let body = gzip(padded(text, bytes).as_bytes());
            Hub::default().ask("POST", path, Some("gzip"), &body, 64 << 20).reason
        };
        assert_eq!((ask(fits), ask(beyond)), ("ok", "too_large"), "{path}");
    }
}

/// What is longer than `inflated_max` is gone on with only where the sink lets it.
#[test]
fn a_long_body_may_be_turned_away() {
    let records: Vec<String> = (0..100).map(|n| format!("{{\"n\":{n}}}")).collect();
    let log = log(&format!("[{}]", records.join(",")));
    let write = format!(r#"{{"node_key":"k","x":"{}"}}"#, "x".repeat(1000));
    for (path, body, reason) in [("log", &log[..], "ok"), ("distributed/write", write.as_bytes(), "too_large")] {
        for (short, want) in [(true, "busy"), (false, reason)] {
            let hub = Hub { short, ..Hub::default() };
            assert_eq!(hub.ask("POST", path, None, body, 100).reason, want, "{path}");
            assert!(!short || (hub.heard.borrow().is_empty() && hub.lines.borrow().is_empty()), "{path}");
        }
    }
}

#[test]
fn too_much_of_one_thing_has_its_own_reason() {
    let many = format!("[{}1]", "1,".repeat(sources::RECORDS_MAX));
    let wrapped = serde_json::to_string(&many).unwrap();
    let key = log(&format!("[],\"{}\":1", "x".repeat(sources::RECORD_MAX)));
    for (body, reason) in [(log(&many), "too_many"), (log(&wrapped), "too_many"), (key, "too_long")] {
        for inflated_max in [64 << 20, 1000] {
            // A list in a string can't be cut out of a body that is not held.
            let held = inflated_max > 1000 || !body.starts_with(br#"{"node_key":"k","log_type":"result","data":""#);
            let reason = if held { reason } else { "too_large" };
            let reply = Hub::default().ask("POST", "log", None, &body, inflated_max);
            assert_eq!((reply.status, reply.reason), (413, reason), "{inflated_max}");
        }
    }
}

/// 100 MB in plain text, most of it one record: taken, counted, and not kept.
#[test]
fn a_huge_record_is_cut() {
    let huge = log(&format!("[{{\"a\":1}},\"{}\",{{\"b\":2}}]", "x".repeat(100 << 20)));
    let hub = Hub::default();
    let reply = hub.ask("POST", "log", None, &huge, 1 << 20);
    assert_eq!((reply.status, reply.records), (200, 3));
    let bodies = hub.bodies();
    assert_eq!((bodies[0].as_str(), bodies[2].as_str()), ("{\"a\":1}", "{\"b\":2}"));
    assert!(bodies[1].contains(&format!("bytes: {}", (100 << 20) + 2)), "{}", bodies[1].get(..200).unwrap());
    assert_eq!(SOURCE.translate(&hub.raws()[1]).unwrap_err().reason, "too_long");
}

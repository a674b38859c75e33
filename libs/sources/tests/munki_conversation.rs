//! Munki's requests and the hub's replies, what becomes of a post, and its events, on a desk that remembers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests may panic")]

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::io::BufReader;
use std::sync::Arc;

use base64::Engine as _;
use event::{Event, Machine, Raw, Time};
use serde_json::{Value, json};
use sources::munki::{Check, Expected, NAME, PrincipalUser, SOURCE, Secret, Settings, State};
use sources::{Desk, Enrolment, MachineFacts, NoRoom, Reply, Request, Sink, Source, Speaker, Unavailable, munki};

#[derive(Default)]
struct Hub {
    down: bool,
    full: Cell<bool>,
    /// Bodies are not to be worked on in passing.
    passing: bool,
    busy: Cell<bool>,
    settings: Settings,
    checks: Vec<Check>,
    states: RefCell<HashMap<String, State>>,
    heard: RefCell<BTreeSet<&'static str>>,
    lines: RefCell<Vec<u8>>,
}

fn machine() -> Machine {
    Machine {
        serial_number: Some("C02".into()),
        platform: Some("macos".into()),
        unit: Some("berlin".into()),
        tags: vec!["vip".into(), "lab".into()],
        ..Machine::default()
    }
}

impl Desk for Hub {
    fn enrol(&self, source: &'static str, secret: &str, facts: &MachineFacts) -> Enrolment {
        assert_eq!((source, facts.platform.as_deref()), (NAME, Some("macos")));
        match secret {
            _ if self.down => Enrolment::Unavailable,
            "good" => Enrolment::Accepted { node_key: "t\"1".into(), machine: facts.machine(), again: false },
            "other" => Enrolment::Conflict { known: machine(), why: "hardware", pending: false },
            _ => Enrolment::Refused("secret_expired"),
        }
    }

    fn speaker(&self, _: &'static str, token: &str) -> Speaker {
        match token {
            _ if self.down => Speaker::Unavailable,
            "t" => Speaker::Known(machine()),
            _ => Speaker::Unknown,
        }
    }

    fn osquery_config(&self, _: &Machine) -> Result<Arc<[u8]>, Unavailable> {
        panic!("not asked")
    }

    fn heard(&self, _: &'static str, _: &Machine, kind: &'static str) -> bool {
        self.heard.borrow_mut().insert(kind)
    }

    fn munki(&self) -> Option<&dyn munki::Desk> {
        Some(self)
    }
}

impl munki::Desk for Hub {
    fn secret(&self, secret: &str) -> Secret {
        match secret {
            "good" => Secret::Good { id: "e1".into(), generation: 2 },
            _ => Secret::Refused("secret_bad"),
        }
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn checks(&self, _: &Machine) -> Vec<&Check> {
        self.checks.iter().collect()
    }

    fn state(&self, machine: &str) -> Result<Option<State>, Unavailable> {
        Ok(self.states.borrow().get(machine).cloned())
    }

    fn keep(&self, machine: &str, state: &State) -> Result<(), Unavailable> {
        self.states.borrow_mut().insert(machine.to_owned(), state.clone());
        Ok(())
    }

    fn alone(&self, _: &str) -> Option<Box<dyn Any>> {
        (!self.busy.get()).then(|| Box::new(()) as Box<dyn Any>)
    }
}

struct Topic<'a>(&'a Hub);

impl Sink for Topic<'_> {
    fn lines(&mut self, lines: Vec<u8>, count: usize) -> Result<(), NoRoom> {
        assert_eq!(lines.iter().filter(|b| **b == b'\n').count(), count);
        if self.0.full.get() {
            return Err(NoRoom);
        }
        self.0.lines.borrow_mut().extend_from_slice(&lines);
        Ok(())
    }

    fn long(&mut self) -> Result<(), NoRoom> {
        if self.0.passing { Err(NoRoom) } else { Ok(()) }
    }
}

const MINE: (&str, &str) = ("authorization", "MunkiEnrolledMachine t");
const NOW: &str = "2026-01-06T09:00:00Z";

impl Hub {
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (Reply, Value) {
        let path = format!("/public/munki/{path}");
        let request = Request {
            id: "r-1",
            received: NOW.parse::<Time>().unwrap(),
            method,
            route: sources::route(&path).unwrap().1,
            parts: &[],
            query: None,
            headers: &headers,
            encoding: headers.iter().find(|(name, _)| *name == "content-encoding").map(|(_, value)| *value),
            ip: Some("203.0.113.9"),
            user_agent: Some("zentral-munki/1"),
            inflated_max: 64 << 20,
        };
        let reply = SOURCE.answer(&request, &mut BufReader::with_capacity(1000, body), self, &mut Topic(self));
        let value: Value = serde_json::from_slice(reply.body.as_bytes()).unwrap();
        assert!(value.is_object());
        assert_eq!(reply.status >= 400, value.get("error").is_some(), "{value}");
        (reply, value)
    }

    fn job(&self, more: Value) -> Value {
        let mut body = json!({"machine_serial_number": "C02"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (reply, value) = self.ask("POST", "job_details/", &[MINE], body.to_string().as_bytes());
        assert_eq!(reply.status, 200, "{value}");
        value
    }

    fn post(&self, body: &Value) -> Reply {
        self.ask("POST", "post_job/", &[MINE], body.to_string().as_bytes()).0
    }

    fn posted(&self, more: Value) {
        let mut body = json!({"machine_snapshot": {"serial_number": "C02"}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = self.post(&body);
        assert_eq!((reply.status, reply.body.as_bytes()), (200, &b"{}"[..]));
    }

    fn raws(&self) -> Vec<Raw> {
        let lines = std::mem::take(&mut *self.lines.borrow_mut());
        lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| Raw::parse(l).unwrap()).collect()
    }

    fn events(&self) -> Vec<Event> {
        let raws = self.raws();
        let events = raws.iter().filter(|raw| raw.kind != "request").flat_map(|raw| SOURCE.translate(raw).unwrap());
        let events: Vec<Event> = events.collect();
        for event in &events {
            let mut line = Vec::new();
            event.write(&mut line);
            assert!(event::json::is_canonical(&line), "{}", String::from_utf8_lossy(&line));
        }
        events
    }
}

fn payload(event: &Event) -> Value {
    serde_json::from_str(event.payload.get()).unwrap()
}

fn types(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.type_.as_str()).collect()
}

fn report(sha1: char, at: &str, events: Value) -> Value {
    json!({"basename": "r", "sha1sum": sha1.to_string().repeat(40), "run_type": "auto", "start_time": at, "end_time": at,
        "munki_version": "6.6", "events": events})
}

#[test]
fn who_may_speak() {
    let hub = Hub::default();
    let ask = |method, path: &str, authorization: &str, body: &str| {
        let headers = [("authorization", authorization)];
        let (reply, value) = hub.ask(method, path, &headers[..usize::from(!authorization.is_empty())], body.as_bytes());
        (reply.status, value)
    };
    for shown in ["", "ZtlEnrollmentSecret  ", "ZtlEnrollmentSecret bad", "Bearer good", "good"] {
        assert_eq!(ask("GET", "enrollment/", shown, "").0, 403, "{shown}");
    }
    let fine = (200, json!({"pk": "e1", "version": 2}));
    assert_eq!(ask("GET", "enrollment/", "ZtlEnrollmentSecret good", ""), fine);
    assert_eq!(
        ask("GET", "enrollment", "ztlenrollmentsecret  good ", ""),
        fine,
        "without the slash, and spelt loosely"
    );
    assert_eq!(ask("POST", "enrollment/", "ZtlEnrollmentSecret good", "").0, 405);
    assert_eq!(ask("GET", "enroll/", "", "").0, 405);

    let enrol = |secret: &str, serial: &str| {
        let body = json!({"secret": secret, "serial_number": serial, "uuid": "4C4C4544-0031-4A10-8052-B5C04F4E3132"});
        ask("POST", "enroll/", "", &body.to_string())
    };
    assert_eq!(enrol("good", "C03"), (200, json!({"token": "t\"1"})));
    let long = "x".repeat(10_000);
    for (secret, serial) in
        [("bad", "C03"), ("", "C03"), ("good", "0"), ("good", &long), (&long, "C03"), ("other", "C02")]
    {
        assert_eq!(enrol(secret, serial).0, 400, "{secret} {serial}");
    }
    for body in ["", "{}", "[]", "not json", "{\"secret\":1,\"serial_number\":\"C\"}"] {
        assert_eq!(ask("POST", "enroll/", "", body).0, 400, "{body}");
    }
    let events = hub.events();
    assert_eq!(types(&events), ["munki_enrollment", "enrolment_conflict"]);
    assert_eq!(payload(&events[0])["action"], "enrollment");
    assert!(!events[0].payload.get().contains("good"), "no secret in an event");

    let down = Hub { down: true, ..Hub::default() };
    for path in ["enroll/", "job_details/", "post_job/"] {
        let body = json!({"secret": "good", "serial_number": "C02"}).to_string();
        assert_eq!(down.ask("POST", path, &[MINE], body.as_bytes()).0.status, 503, "{path}");
    }
}

#[test]
fn what_a_machine_is_told() {
    let hub = Hub::default();
    assert_eq!(hub.job(json!({})), json!({"apps_full_info_shard": 100, "incidents": [], "tags": ["lab", "vip"]}));
    let ask = |headers: &[(&str, &str)], body: &[u8]| hub.ask("POST", "job_details/", headers, body).0.status;
    for (body, want) in [
        (&b""[..], 403),
        (b"{}", 403),
        (b"not json", 400),
        (b"\xff\xfe\xe9\0", 400),
        (b"[]", 400),
        (b"{\"machine_serial_number\":\"OTHER\"}", 403),
        (b"{\"machine_serial_number\":7}", 403),
    ] {
        assert_eq!(ask(&[MINE], body), want, "{body:?}");
    }
    for authorization in ["justonetoken", "MunkiEnrolledMachine unknown", "MunkiEnrolledMachine ", "Token t"] {
        assert_eq!(ask(&[("authorization", authorization)], b"{\"machine_serial_number\":\"C02\"}"), 403);
    }
    assert_eq!(ask(&[MINE, ("content-encoding", "gzip")], b"{\"machine_serial_number\":\"C02\"}"), 400);
    assert_eq!(ask(&[MINE, ("content-encoding", "br")], b"{\"machine_serial_number\":\"C02\"}"), 415);
    assert_eq!(ask(&[MINE], &vec![b' '; 100_000]), 413);
    let events = hub.events();
    assert_eq!(types(&events), ["enrolment_conflict"], "once in a while");
    assert_eq!(
        (payload(&events[0])["claimed"]["serial_number"].as_str(), events[0].machine.as_ref().unwrap().key()),
        (Some("OTHER"), Some("C02"))
    );

    hub.posted(json!({}));
    assert_eq!(hub.job(json!({}))["managed_installs"], true, "known, and never told");
    hub.posted(json!({"managed_installs": [["Firefox", "128", "Firefox", null]]}));
    assert_eq!(hub.job(json!({}))["managed_installs"], false);
    hub.posted(json!({"last_seen_report_found": false}));
    assert_eq!(hub.job(json!({}))["managed_installs"], true, "it was wiped");

    let settings = Settings {
        apps_full_info_shard: 7,
        collected_condition_keys: vec!["arch".into()],
        principal_user_detection: Some(PrincipalUser { sources: vec!["logged_in_user".into()], domains: vec![] }),
        ..Settings::default()
    };
    let told = Hub { settings, ..Hub::default() }.job(json!({}));
    assert_eq!((&told["apps_full_info_shard"], &told["collected_condition_keys"]), (&json!(7), &json!(["arch"])));
    assert_eq!(told["principal_user_detection"], json!({"sources": ["logged_in_user"], "domains": []}));
}

fn check(name: &str, os: &str) -> Check {
    Check {
        name: name.into(),
        rev: "1f6c09aa".into(),
        source: "print true".into(),
        expected: Expected::Bool(true),
        every_ms: 86_400_000,
        arch: vec!["arm64".into()],
        os: munki::Bound::list(os).unwrap(),
    }
}

#[test]
fn checks_and_their_changes() {
    let hub = Hub { checks: vec![check("firewall", ">=14,<15"), check("old", "<14.0.1")], ..Hub::default() };
    let mac = |version: &str, arch: &str| hub.job(json!({"os_version": version, "arch": arch}));
    for (version, arch) in [("abc", "arm64"), ("14.1", "mips"), ("14.1", "x86_64"), ("15.0", "arm64")] {
        assert_eq!(mac(version, arch).get("script_checks"), None, "{version} {arch}");
    }
    let want = json!([{"pk": "firewall/1f6c09aa", "name": "firewall", "version": 1, "type": "ZSH_BOOL", "source": "print true",
        "expected_result": true}]);
    assert_eq!(mac("14.1", "arm64")["script_checks"], want);
    let result = |status: Value| json!({"script_check_results": [{"pk": "firewall/1f6c09aa", "version": 1, "status": status, "time": 0.1}]});
    let said = |status: Value| {
        hub.posted(result(status));
        hub.events().iter().map(payload).collect::<Vec<_>>()
    };
    let first = said(json!(300));
    assert_eq!(
        first,
        [
            json!({"name": "firewall", "pk": "firewall/1f6c09aa", "status": "FAILED", "previous_status": null, "time": 0.1})
        ]
    );
    let told = mac("14.1", "arm64");
    assert_eq!(
        (&told["incidents"], told.get("script_checks")),
        (&json!(["firewall"]), None),
        "failed, and not due again"
    );
    assert!(said(json!(300)).is_empty(), "no change");
    let back = said(json!(0));
    assert_eq!((&back[0]["status"], &back[0]["previous_status"]), (&json!("OK"), &json!("FAILED")));
    assert_eq!(mac("14.1", "arm64")["incidents"], json!([]));
    // What is of no check that there is, or of another version of it, changes nothing.
    hub.posted(json!({"script_check_results": [{"pk": "firewall/00000000", "version": 1, "status": 300}, {"pk": "none", "version": 1, "status": 300}]}));
    assert!(hub.events().is_empty());
    // What is no result is refused alone.
    hub.posted(json!({"script_check_results": [{"pk": 7, "version": 1, "status": 0}, {"pk": "firewall/1f6c09aa", "version": 1, "status": 1}, 5]}));
    let refused: Vec<_> = hub.raws().iter().filter_map(|raw| SOURCE.translate(raw).err()).map(|e| e.reason).collect();
    assert_eq!(refused, ["shape"; 3]);
    // A machine that ran its checks without a result is not asked again at once.
    let hub = Hub { checks: vec![check("firewall", ">=14")], ..Hub::default() };
    hub.posted(json!({"script_check_results": []}));
    assert_eq!(hub.job(json!({"os_version": "14.1", "arch": "arm64"})).get("script_checks"), None);
}

#[test]
fn a_report_becomes_events_once() {
    let hub = Hub::default();
    let at = "2026-01-06 08:00:00 +0000";
    let events = json!([
        [at, {"type": "start"}],
        ["2026-01-06T08:01:00Z", {"type": "install", "name": "Editor", "version": "1.2.3", "status": 0}],
        ["2026-01-06T08:01:01Z", {"type": "install", "name": "Editor", "version": "1.3", "status": -3}],
        ["2026-01-06T08:02:00+01:00", {"type": "removal", "name": "Old", "status": 0, "time": "own"}],
        ["2026-01-06 08:02:01", {"type": "removal", "name": "Old", "status": 1}],
        [null, {"type": "warning", "message": "w"}],
        ["2025-01-06T08:02:00Z", {"type": "error", "message": "e"}],
        ["2026-01-06T08:03:00Z", {"type": "else"}],
    ]);
    let body = json!({"reports": [report('a', at, events)]});
    hub.posted(body.clone());
    let raws = hub.raws();
    assert_eq!(raws.iter().map(|raw| raw.kind.as_str()).collect::<Vec<_>>(), ["report", "snapshot", "request"]);
    let events = SOURCE.translate(&raws[0]).unwrap();
    assert_eq!(
        types(&events),
        [
            "munki_start",
            "munki_install",
            "munki_install_failed",
            "munki_removal",
            "munki_removal_failed",
            "munki_warning",
            "munki_error",
            "munki_event"
        ]
    );
    assert_eq!(
        payload(&events[1]),
        json!({"type": "install", "name": "Editor", "version": "1.2.3", "status": 0, "time": "2026-01-06T08:01:00Z", "basename": "r",
            "sha1sum": "a".repeat(40), "run_type": "auto", "start_time": at, "end_time": at, "munki_version": "6.6"})
    );
    assert_eq!(
        (payload(&events[3])["time"].as_str(), &events[3].time.to_string()[..16]),
        (Some("own"), "2026-01-06T07:02")
    );
    assert_eq!(events[5].time.to_string(), "2026-01-06T08:00:00.000Z", "the time of the report");
    assert_eq!(
        (events[6].time.to_string(), &events[6].tags[1]),
        ("2026-01-06T09:00:00.000Z".into(), &"clock".to_owned())
    );
    assert_eq!(events[1].objects, ["munki_item:Editor"]);
    assert_eq!(hub.job(json!({}))["last_seen_sha1sum"], "a".repeat(40));

    hub.posted(body.clone());
    assert!(!hub.raws().iter().any(|raw| raw.kind == "report"), "seen");
    // A machine that lost it sends it again; its events have the ids that they had.
    hub.posted(json!({"reports": [body["reports"][0], body["reports"][0]], "last_seen_report_found": false}));
    let again: Vec<_> = hub.raws().into_iter().filter(|raw| raw.kind == "report").collect();
    assert_eq!((again.len(), &again[0].id), (1, &raws[0].id));
}

#[test]
fn the_newest_report_is_the_last() {
    let hub = Hub::default();
    let two = [report('1', "2026-01-06 00:00:00", json!([])), report('0', "2026-01-05 23:30:00 -0200", json!([]))];
    hub.posted(json!({"reports": [two[0], two[1]]}));
    assert_eq!(hub.job(json!({}))["last_seen_sha1sum"], "0".repeat(40), "zones differ");
    hub.posted(json!({"reports": [report('2', "2026-01-01 00:00:00", json!([]))]}));
    assert_eq!(hub.job(json!({}))["last_seen_sha1sum"], "0".repeat(40), "older");
    hub.posted(json!({"reports": [report('3', "2126-01-01 00:00:00", json!([]))]}));
    hub.posted(json!({"reports": [report('4', "2026-01-06 09:20:00", json!([]))]}));
    assert_eq!(hub.job(json!({}))["last_seen_sha1sum"], "4".repeat(40), "a clock that was wrong once");
}

const PLIST: &str = include_str!("data/munki6.plist");

#[test]
fn a_property_list_is_a_report() {
    let settings = Settings { collected_condition_keys: vec!["machine_type".into()], ..Settings::default() };
    let hub = Hub { settings, ..Hub::default() };
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let laughs = "<!DOCTYPE plist [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><plist><string>&b;</string></plist>";
    let broken = [base64(laughs), base64(&PLIST[..900]), "%".into()]
        .map(|plist| json!({"sha1sum": "b".repeat(40), "plist": plist}));
    let whole = json!({"basename": "ManagedInstallReport", "sha1sum": "a".repeat(40), "plist": base64(PLIST)});
    hub.posted(json!({"reports": [broken[0], whole, broken[1], broken[2]]}));
    let raws = hub.raws();
    let refused =
        raws.iter().filter(|raw| raw.kind == "item" && SOURCE.translate(raw).unwrap_err().reason == "shape").count();
    assert_eq!(refused, 3, "each alone");
    let report = raws.iter().find(|raw| raw.kind == "report").unwrap();
    let events = SOURCE.translate(report).unwrap();
    assert_eq!(types(&events), ["munki_start", "munki_install", "munki_removal", "munki_warning"]);
    assert_eq!(events[1].time.to_string(), "2026-01-06T08:01:40.000Z", "a date of the list");
    let install = payload(&events[1]);
    for (key, want) in [
        ("name", json!("Firefox")),
        ("status", json!(0)),
        ("munki_version", json!("6.6.0.4690")),
        ("run_type", json!("auto")),
        ("conditions", json!({"machine_type": "laptop"})),
        ("console_user", json!("ada")),
    ] {
        assert_eq!(install[key], want, "{key}");
    }
    let snapshot = SOURCE.snapshot(raws.iter().find(|raw| raw.kind == "snapshot").unwrap()).unwrap().unwrap();
    let installs = json!(snapshot.parts["managed_install"]);
    assert_eq!(installs, json!([{"name": "Firefox", "version": "128.0.3", "display_name": "Firefox"}]));
    let told = hub.job(json!({}));
    assert_eq!((&told["last_seen_sha1sum"], &told["managed_installs"]), (&json!("a".repeat(40)), &json!(false)));
}

#[test]
fn a_post_that_is_none() {
    let hub = Hub::default();
    let ask = |body: &[u8]| hub.ask("POST", "post_job/", &[MINE], body).0.status;
    for (body, want) in [
        (&b""[..], 400),
        (b"{}", 400),
        (b"{\"reports\":[]}", 400),
        (b"{\"machine_snapshot\":null}", 400),
        (b"{\"machine_snapshot\":{}}", 403),
        (b"{\"machine_snapshot\":{\"serial_number\":\"SOMEBODYELSE\"}}", 403),
        (b"{\"machine_snapshot\":{\"serial_number\":\"C02\"}", 400),
        (b"{\"machine_snapshot\":{\"serial_number\":\"C02\"},\"reports\":{\"a\":1}}", 400),
        (b"{\"machine_snapshot\":{\"serial_number\":\"C02\"},\"script_check_results\":\"\"}", 400),
        (b"[]", 400),
        (b"\xff\xfe", 400),
    ] {
        assert_eq!(ask(body), want, "{}", String::from_utf8_lossy(body));
    }
    let long = format!("{{\"machine_snapshot\":{{\"serial_number\":\"{}\"}}}}", "x".repeat(10_000));
    assert_eq!(ask(long.as_bytes()), 403);
    let (reply, _) = hub.ask("POST", "post_job/", &[], b"{\"machine_snapshot\":{\"serial_number\":\"C02\"}}");
    assert_eq!(reply.status, 403);
    assert_eq!(types(&hub.events()), ["enrolment_conflict"]);
    assert!(hub.states.borrow().is_empty());

    // Nothing is remembered of what was not taken.
    let body = json!({"machine_snapshot": {"serial_number": "C02"}, "reports": [report('a', "2026-01-06 00:00:00", json!([]))]});
    hub.full.set(true);
    assert_eq!(hub.post(&body).status, 503);
    hub.full.set(false);
    hub.busy.set(true);
    assert_eq!(hub.post(&body).status, 503, "another one is being worked on");
    hub.busy.set(false);
    let passing = Hub { passing: true, ..Hub::default() };
    assert_eq!(passing.post(&body).status, 503, "in passing nothing is durable yet");
    assert!(hub.states.borrow().is_empty() && passing.states.borrow().is_empty() && hub.raws().is_empty());
}

#[test]
fn the_inventory_of_a_post() {
    let hub = Hub::default();
    let profile = json!({"uuid": "p", "identifier": "com.example.wifi"});
    let app = |n: usize| json!({"app": {"bundle_id": format!("com.example.{n}"), "bundle_version_str": "1"}, "bundle_path": format!("/Applications/{n}.app")});
    let mut apps: Vec<Value> = (0..500).map(app).collect();
    apps[250] = json!({"app": {"bundle_id": "com.example.broken"}, "bundle_path": 7});
    apps.push(json!({"bundleid": "com.example.m", "name": "M", "version": "2", "path": "/Applications/M.app", "CFBundleName": "M"}));
    let snapshot = json!({"serial_number": "C02", "system_info": {"computer_name": "mac\0-07", "hardware_model": "Mac15,6"},
        "os_version": {"name": "macOS", "major": 12, "minor": 5}, "profiles": [profile, profile], "disks": [],
        "principal_user": {"principal_name": "ada@example.com"}, "osx_app_instances": apps});
    hub.posted(json!({"machine_snapshot": snapshot}));
    let raws = hub.raws();
    let refused: Vec<_> = raws.iter().filter_map(|raw| SOURCE.translate(raw).err()).collect();
    assert_eq!(refused.len(), 1);
    assert!(refused[0].text.contains("osx_app_instances"), "{}", refused[0]);
    let raw = raws.iter().find(|raw| raw.kind == "snapshot").unwrap();
    let got = SOURCE.snapshot(raw).unwrap().unwrap();
    assert_eq!((got.source.as_str(), got.taken.to_string()), ("munki", "2026-01-06T09:00:00.000Z".to_owned()));
    assert_eq!(got.machine.hostname.as_deref(), Some("mac-07"), "no NUL");
    assert_eq!(
        (got.machine.os_version.as_deref(), got.machine.user.as_deref()),
        (Some("12.5"), Some("ada@example.com"))
    );
    let counts: Vec<(&str, usize)> = got.parts.iter().map(|(kind, all)| (kind.as_str(), all.len())).collect();
    assert_eq!(
        counts,
        [("disk", 0), ("os_version", 1), ("osx_app", 500), ("principal_user", 1), ("profile", 1), ("system_info", 1)]
    );
    assert_eq!(
        json!(got.parts["os_version"][0]),
        json!({"name": "macOS", "major": 12, "minor": 5, "patch": 0, "version": "12.5"})
    );
    assert_eq!(
        json!(got.parts["osx_app"][0]),
        json!({"bundle_id": "com.example.0", "bundle_version_str": "1", "bundle_path": "/Applications/0.app"})
    );
    assert_eq!(
        json!(got.parts["osx_app"][499]),
        json!({"bundle_id": "com.example.m", "bundle_path": "/Applications/M.app", "bundle_version_str": "2", "bundle_name": "M"})
    );
    assert_eq!(SOURCE.facts(raw).unwrap().hostname.as_deref(), Some("mac-07"));
    assert!(SOURCE.translate(raw).unwrap().is_empty());

    // One that is no JSON at all harms no other, either.
    let body = br#"{"machine_snapshot":{"serial_number":"C02","osx_app_instances":[{"path":"/a"},{"path":"/b","name":"\ud800"},{"path":"/c"}]}}"#;
    assert_eq!(hub.ask("POST", "post_job/", &[MINE], body).0.status, 200);
    let raws = hub.raws();
    assert_eq!(raws.iter().filter(|raw| SOURCE.translate(raw).is_err_and(|e| e.reason == "not_json")).count(), 1);
    let snapshot = SOURCE.snapshot(raws.iter().find(|raw| raw.kind == "snapshot").unwrap()).unwrap().unwrap();
    assert_eq!(snapshot.parts["osx_app"].len(), 2);
}

#[test]
fn a_report_of_fifty_megabytes_loses_nothing() {
    let hub = Hub::default();
    let row = |n: usize| json!(["2026-01-06T08:01:00Z", {"type": "install", "name": format!("item-{n}"), "status": 0, "note": "x".repeat(17_000)}]);
    let mut report = report('a', "2026-01-06 08:00:00 +0000", (0..3000).map(row).collect());
    report["conditions"] = json!({"long": "y".repeat(100_000)});
    hub.posted(json!({"reports": [report]}));
    let raws: Vec<Raw> = hub.raws().into_iter().filter(|raw| raw.kind == "report").collect();
    assert!(raws.len() > 20, "{}", raws.len());
    let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
    for event in raws.iter().flat_map(|raw| SOURCE.translate(raw).unwrap()) {
        assert_eq!(event.type_, "munki_install");
        let payload = payload(&event);
        assert_eq!((&payload["run_type"], &payload["sha1sum"]), (&json!("auto"), &json!("a".repeat(40))));
        ids.insert(event.id);
        names.insert(payload["name"].as_str().unwrap().to_owned());
    }
    assert_eq!((ids.len(), names.len()), (3000, 3000));
}

#[test]
fn a_list_that_no_line_holds_is_refused_and_not_halved() {
    let hub = Hub::default();
    let apps: Vec<Value> = (0..5000).map(|n| json!({"path": format!("/{n}"), "x": "y".repeat(1000)})).collect();
    hub.posted(
        json!({"machine_snapshot": {"serial_number": "C02", "osx_app_instances": apps, "disks": [{"name": "d"}]},
        "managed_installs": vec![json!(["x", "y".repeat(3 << 20)]); 1]}),
    );
    let raws = hub.raws();
    let refused: Vec<Value> = raws
        .iter()
        .filter(|raw| raw.kind == "refused")
        .flat_map(|raw| SOURCE.translate(raw).unwrap())
        .map(|e| payload(&e))
        .collect();
    assert_eq!((refused.len(), &refused[0]["what"]), (1, &json!("osx_app_instances")));
    let parts: Vec<String> =
        raws.iter().filter_map(|raw| SOURCE.snapshot(raw)).flat_map(|s| s.unwrap().parts.into_keys()).collect();
    assert_eq!(parts, ["disk", "managed_install"]);
    // Where all of a list is broken nothing is told of it; where it is empty, it is empty.
    hub.posted(json!({"machine_snapshot": {"serial_number": "C02", "disks": [1, 2], "profiles": []}}));
    let told = |raws: Vec<Raw>| {
        raws.iter()
            .filter_map(|raw| SOURCE.snapshot(raw))
            .flat_map(|s| s.unwrap().parts.into_keys())
            .collect::<Vec<_>>()
    };
    assert_eq!(told(hub.raws()), ["profile"]);
    // Of a flood of events none is told, and the rest is.
    let rows = |n: usize| vec![json!([0, {}]); n];
    hub.posted(json!({"reports": [report('e', "2026-01-06 08:00:00", json!(rows(65_537))), report('f', "2026-01-06 08:00:00", json!(rows(9000)))]}));
    let raws = hub.raws();
    assert_eq!(
        raws.iter()
            .filter(|raw| raw.kind == "report")
            .map(|raw| SOURCE.translate(raw).unwrap().len())
            .collect::<Vec<_>>(),
        [4096, 4096, 808]
    );
    assert_eq!(raws.iter().filter(|raw| raw.kind == "item").count(), 1);
    // A flood of broken pieces is counted, not written down.
    let apps = vec![json!(1); 100_000];
    hub.posted(json!({"machine_snapshot": {"serial_number": "C02", "osx_app_instances": apps}}));
    let raws = hub.raws();
    assert_eq!(raws.iter().filter(|raw| raw.kind == "item").count(), 1000);
    assert!(
        raws.iter()
            .any(|raw| raw.kind == "refused" && SOURCE.translate(raw).unwrap()[0].payload.get().contains("100000"))
    );
}

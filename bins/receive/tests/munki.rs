//! Munki over TLS against the real program: a life from enrolment to removal, and what no agent sends. The request cases are
//! `zentral conform`'s.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

mod common;

use common::{Answer, Hub, gzip};
use event::Event;
use registry::{enrolments, server_key};
use serde_json::{Value, json};
use sources::Source as _;
use sources::munki::SOURCE;

const SCRIPTS: &str = "scripts = [ { name = \"wide\", source = \"wide.zsh\", expect = true, arch = \"arm64\", os = \">=14,<15\" },\n\
    { name = \"narrow\", source = \"wide.zsh\", expect = true, os = \">=14,<14.0.1\" } ]\n";

fn hub(munki: &str) -> Hub {
    let hub = Hub::new("", "");
    std::fs::write(hub.path("wide.zsh"), "print true\n").unwrap();
    hub.configure("", &format!("[unit.berlin]\n[source.munki]\n{munki}"));
    hub.signal(rustix::process::Signal::HUP);
    common::wait("the tables", || hub.log().contains("reloaded").then_some(()));
    hub
}

/// The secret of a new enrolment.
fn secret(hub: &Hub, source: &str, quota: Option<u64>, expires: Option<i64>) -> String {
    let made = enrolments::create(&mut hub.registry(), "berlin", source, quota, expires, &[], 0).unwrap();
    let key = server_key::read(&hub.dir.path().join("data")).unwrap().unwrap();
    key.secret(&made.id, made.generation)
}

fn ask(hub: &Hub, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n");
    let mut conn = hub.connect();
    conn.send(&[head.as_bytes(), body].concat());
    conn.answer()
}

/// A Mac.
struct Mac<'h> {
    hub: &'h Hub,
    serial: String,
    token: String,
}

impl<'h> Mac<'h> {
    fn new(hub: &'h Hub, secret: &str, serial: &str) -> Self {
        let uuid = format!("4C4C4544-0031-4A10-8052-{:0>12}", serial.len());
        let body = json!({"secret": secret, "serial_number": serial, "uuid": uuid}).to_string();
        let answer = ask(hub, "POST", "/public/munki/enroll/", "", body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.body);
        Self { hub, serial: serial.into(), token: answer.body["token"].as_str().unwrap().into() }
    }

    fn ask(&self, call: &str, body: &Value) -> Answer {
        let headers = format!("Authorization: MunkiEnrolledMachine {}\r\n", self.token);
        ask(self.hub, "POST", &format!("/public/munki/{call}/"), &headers, body.to_string().as_bytes())
    }

    fn job(&self, version: &str) -> Value {
        let body = json!({"machine_serial_number": self.serial, "os_version": version, "arch": "arm64"});
        let answer = self.ask("job_details", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    fn post(&self, more: &Value) {
        let mut body =
            json!({"machine_snapshot": {"serial_number": self.serial, "system_info": {"computer_name": "mac"}}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = self.ask("post_job", &body);
        assert_eq!((answer.status, answer.body), (200, json!({})));
    }

    fn result(&self, pk: &str, status: i64) {
        self.post(&json!({"script_check_results": [{"pk": pk, "version": 1, "status": status, "time": 0.1}]}));
    }

    /// `pk` of the script checks that are due.
    fn due(&self, version: &str) -> Vec<String> {
        let told = self.job(version);
        let checks = told.get("script_checks").and_then(Value::as_array).cloned().unwrap_or_default();
        checks.iter().map(|check| check["pk"].as_str().unwrap().to_owned()).collect()
    }
}

fn events(hub: &Hub) -> Vec<Event> {
    let lines = hub.lines();
    lines.iter().filter(|raw| raw.kind != "request").flat_map(|raw| SOURCE.translate(raw).unwrap()).collect()
}

fn types(hub: &Hub) -> Vec<String> {
    events(hub).into_iter().map(|event| event.type_).collect()
}

fn report(sha1: char, minute: u32, events: Value) -> Value {
    let at = format!("2026-01-06 08:{minute:02}:00 +0000");
    json!({"basename": "r", "sha1sum": sha1.to_string().repeat(40), "run_type": "auto", "start_time": at, "end_time": at, "events": events})
}

#[test]
fn the_life_of_a_mac() {
    let mut hub = hub(SCRIPTS);
    let secret = secret(&hub, "munki", Some(1), None);
    let info =
        ask(&hub, "GET", "/public/munki/enrollment/", &format!("Authorization: ZtlEnrollmentSecret {secret}\r\n"), b"");
    assert_eq!((info.status, info.body["version"].clone()), (200, json!(1)));
    let mac = Mac::new(&hub, &secret, "C02LIFE");
    assert_eq!(mac.due("14.1").len(), 1);
    let pk = mac.due("14.1").remove(0);
    let install = |status: i64| json!(["2026-01-06 08:00:30 +0000", {"type": "install", "name": "Firefox", "version": "128", "status": status}]);
    mac.post(&json!({"reports": [report('1', 0, json!([["2026-01-06T08:00:00Z", {"type": "start"}], install(-1)]))],
        "managed_installs": [], "script_check_results": [{"pk": pk, "version": 1, "status": 300, "time": 1}]}));
    let told = mac.job("14.1");
    assert_eq!((&told["last_seen_sha1sum"], &told["incidents"]), (&json!("1".repeat(40)), &json!(["wide"])));

    // What was told survives a kill; a run whose answer was lost is told again, and is not news.
    let (serial, token) = (mac.serial, mac.token);
    hub.kill();
    hub.start();
    let mac = Mac { hub: &hub, serial, token };
    let told = mac.job("14.1");
    assert_eq!(
        (&told["last_seen_sha1sum"], told.get("script_checks"), &told["managed_installs"]),
        (&json!("1".repeat(40)), None, &json!(false))
    );
    mac.post(&json!({"reports": [report('1', 0, json!([install(-1)])), report('2', 5, json!([install(0)]))], "last_seen_report_found": true}));
    mac.result(&pk, 0);
    let removal = json!([["2026-01-06 08:10:30 +0000", {"type": "removal", "name": "Firefox", "status": 0}]]);
    mac.post(&json!({"reports": [report('3', 10, removal)]}));
    assert_eq!(
        types(&hub),
        [
            "munki_enrollment",
            "munki_start",
            "munki_install_failed",
            "munki_script_check_status_updated",
            "munki_install",
            "munki_script_check_status_updated",
            "munki_removal"
        ]
    );
    let machine = events(&hub).pop().unwrap().machine.unwrap();
    assert_eq!(
        (machine.key(), machine.unit.as_deref(), machine.platform.as_deref()),
        (Some("C02LIFE"), Some("berlin"), Some("macos"))
    );
    let snapshots: Vec<_> = hub.lines().iter().filter_map(|raw| SOURCE.snapshot(raw)).map(Result::unwrap).collect();
    assert_eq!((snapshots.len(), snapshots[0].machine.hostname.as_deref()), (4, Some("mac")));
    assert!(!hub.log().contains(&secret) && !hub.log().contains(&mac.token), "no secret in the log");
}

#[test]
fn what_no_agent_sends() {
    let hub = hub("");
    let good = secret(&hub, "munki", Some(1), None);
    let mac = Mac::new(&hub, &good, "C02BAD");
    let enrol = |secret: &str, serial: &str, uuid: &str| {
        let body = json!({"secret": secret, "serial_number": serial, "uuid": uuid}).to_string();
        ask(&hub, "POST", "/public/munki/enroll/", "", body.as_bytes())
    };
    let uuid = "4C4C4544-0031-4A10-8052-B5C04F4E3199";
    assert_eq!(enrol(&good, "C02OTHER", uuid).status, 400, "used up");
    assert_eq!(enrol(&secret(&hub, "osquery", None, None), "C02OTHER", uuid).status, 400, "osquery's secret");
    assert_eq!(enrol(&good, "C02BAD", uuid).status, 400, "other hardware");
    assert_eq!(types(&hub), ["munki_enrollment", "enrolment_conflict"]);
    let osquery = hub.node_key("C02OSQ");
    let foreign = Mac { hub: &hub, serial: "C02BAD".into(), token: osquery };
    assert_eq!(
        foreign.ask("job_details", &json!({"machine_serial_number": "C02OSQ"})).status,
        403,
        "a node key of osquery's"
    );
    let other = Mac { hub: &hub, serial: "C02OTHER".into(), token: mac.token.clone() };
    for call in ["job_details", "post_job"] {
        let body = json!({"machine_serial_number": "C02OTHER", "machine_snapshot": {"serial_number": "C02OTHER"}});
        assert_eq!(other.ask(call, &body).status, 403, "another machine's token at {call}");
    }
    let token = format!("Authorization: MunkiEnrolledMachine {}\r\n", mac.token);
    let post =
        |headers: &str, body: &[u8]| ask(&hub, "POST", "/public/munki/post_job/", &format!("{token}{headers}"), body);
    // A bomb, a body without an end, and one that is deep.
    let bomb = gzip(&vec![b' '; 80 << 20]);
    assert_eq!(post("Content-Encoding: gzip\r\n", &bomb).status, 413);
    assert_eq!(post("", format!("{{\"machine_snapshot\":{}", "[".repeat(100_000)).as_bytes()).status, 400);
    assert_eq!(post("Content-Encoding: br\r\n", b"{}").status, 415);
    assert_eq!(types(&hub).last().unwrap(), "munki_body_refused");

    // A report of 50 MB with 3,000 items.
    let row = |n: usize| json!(["2026-01-06T08:01:00Z", {"type": "install", "name": format!("item-{n}"), "status": 0, "note": "x".repeat(16_600)}]);
    let before = events(&hub).len();
    let body = json!({"machine_snapshot": {"serial_number": "C02BAD"}, "reports": [report('a', 0, (0..3000).map(row).collect())]}).to_string();
    assert!(body.len() > 50_000_000);
    let answer = post("", body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.body);
    let events = events(&hub);
    let ids: std::collections::BTreeSet<&str> = events[before..].iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), 3000);
    assert_eq!(mac.job("14.1")["last_seen_sha1sum"], "a".repeat(40));
    let reports = hub.lines().iter().filter(|raw| raw.kind == "report").count();
    assert_eq!(post("Content-Encoding: gzip\r\n", &gzip(body.as_bytes())).status, 200, "and packed");
    assert_eq!(hub.lines().iter().filter(|raw| raw.kind == "report").count(), reports, "seen");
}

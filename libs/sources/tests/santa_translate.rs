//! What Santa's agents say, as events: lines of santad's log, and raw lines of the sync protocol.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use event::{Event, Raw, Time};
use serde_json::{Value, json};
use sources::Source as _;
use sources::santa::SOURCE;

const LOGS: [(&str, usize); 3] = [
    (include_str!("data/santa/2018.log"), 9),
    (include_str!("data/santa/2022.log"), 11),
    (include_str!("data/santa/fields.log"), 62),
];

fn now() -> Time {
    Time::from_ms(1_800_000_000_000)
}

fn read(line: &str) -> Result<Event, &'static str> {
    let events = SOURCE.read_log(line.as_bytes(), now()).map_err(|refusal| refusal.reason)?;
    let [event] = <[Event; 1]>::try_from(events).unwrap();
    assert_eq!(
        (event.type_.as_str(), event.source.as_str(), event.tags.as_slice()),
        ("santa_log", "santa", &["santa".to_owned()][..])
    );
    Ok(event)
}

fn payload(event: &Event) -> Value {
    serde_json::from_str(event.payload.get()).unwrap()
}

#[test]
fn no_pair_of_a_line_is_lost() {
    for (log, want) in LOGS {
        assert_eq!(log.lines().count(), want);
        for line in log.lines() {
            let event = read(line).unwrap();
            let payload = payload(&event);
            let pairs = &line[line.find("action=").unwrap()..];
            assert_eq!(payload.as_object().unwrap().len(), pairs.split('|').count(), "{line}");
            for pair in pairs.split('|') {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                let got = payload[key].as_str().unwrap();
                let back = got.replace('|', "<pipe>").replace('\n', "\\n").replace('\r', "\\r");
                assert_eq!(back, value, "{line}");
            }
            match line.strip_prefix('[') {
                Some(rest) => assert!(rest.starts_with(&event.time.to_string()), "{}: {line}", event.time),
                None => assert_eq!(event.time, now()),
            }
            assert_eq!(event.received, event.time);
            assert_eq!(event.id, read(line).unwrap().id, "the same line is the same event");
        }
    }
}

#[test]
fn lines_at_the_edge() {
    let log = include_str!("data/santa/edge.log");
    let got: Vec<_> = log.lines().map(read).collect();
    let event = got[0].as_ref().unwrap();
    let exec = payload(event);
    assert_eq!(exec["cert_cn"], "Developer ID Application: Ex | Corp (TESTTEAM01)");
    assert_eq!(exec["args"], "/Applications/Ex.app/Contents/MacOS/Ex --say a|b --line one\ntwo");
    assert_eq!(exec["quarantine_url"], "https://dl.example.org/a?b=c&d=e");
    let sha = "ab".repeat(32);
    assert_eq!(
        event.objects,
        [
            format!("file:sha256:{sha}"),
            "team:TESTTEAM01".into(),
            format!("certificate:sha256:{}", "cd".repeat(32)),
            "user:ada".into()
        ]
    );
    let machine = got[2].as_ref().unwrap().machine.as_ref().unwrap();
    assert_eq!(machine.serial_number.as_deref(), Some("ZTST0000A014"));
    assert_eq!(
        payload(got[4].as_ref().unwrap()),
        json!({"action": "NEW_UNKNOWN_ACTION", "foo": "bar", "empty": "", "noequals": ""})
    );
    assert_eq!(got[5].as_ref().unwrap_err(), &"not_santa");
    assert_eq!(got[6].as_ref().unwrap_err(), &"not_santa");
    for (line, reason) in
        [("{\"a\":", "not_json"), ("", "not_santa"), ("[x] I santad: ", "not_santa"), ("action=\u{0}|a=\"", "")]
    {
        assert_eq!(read(line).err().unwrap_or_default(), reason, "{line:?}");
    }
    assert_eq!(SOURCE.read_log(b"action=EXEC|path=\xff", now()).unwrap_err().reason, "not_utf8");
    assert_eq!(payload(&read("action=A|k=1|k=2").unwrap()), json!({"action": "A", "k": "2"}), "the last one counts");
}

#[test]
fn telemetry_is_taken_as_it_is() {
    let log = include_str!("data/santa/telemetry.ndjson");
    for line in log.lines() {
        assert_eq!(payload(&read(line).unwrap()), serde_json::from_str::<Value>(line).unwrap());
    }
    let sha = "ab".repeat(32);
    let message = json!({"machine_id": "0F2C7A6E-5B1D-5E0C-8D54-3C1F7F0A0014", "event_time": "2026-01-06T08:00:05.001234567Z",
        "execution": {"target": {"effective_user": {"uid": 501, "name": "ada"}, "code_signature": {"team_id": "TESTTEAM01"},
            "executable": {"path": "/bin/x", "hash": {"type": "HASH_ALGO_SHA256", "hash": sha}}}, "args": ["YQ=="]}});
    let event = read(&message.to_string()).unwrap();
    assert_eq!(event.time.to_string(), "2026-01-06T08:00:05.001Z");
    assert_eq!(event.objects, [format!("file:sha256:{sha}"), "team:TESTTEAM01".into(), "user:ada".into()]);
    assert!(event.machine.unwrap().hardware_uuid.is_some());
}

fn translate(kind: &str, body: &Value) -> Result<Event, &'static str> {
    let line = json!({"v": 1, "id": "x", "source": "santa", "kind": kind, "received": "2026-01-06T08:00:10Z",
        "machine": {"serial_number": "ZTST0000A014"}, "body": body});
    let raw = Raw::parse(line.to_string().as_bytes()).unwrap();
    let mut events = SOURCE.translate(&raw).map_err(|refusal| refusal.reason)?;
    assert_eq!(events.len(), 1);
    Ok(events.remove(0))
}

#[test]
fn a_record_is_an_event_and_its_own_payload() {
    let sha = "AB".repeat(32);
    for (kind, body, type_, time, objects) in [
        (
            "event",
            json!({"file_sha256": sha, "execution_time": 1_767_686_405.25, "executingUser": "ada", "team_id": "TESTTEAM01",
                "signing_id": "TESTTEAM01:org.example.ex", "cdhash": "ab".repeat(20), "file_bundle_hash": "ef".repeat(32),
                "signing_chain": [{"sha256": "cd".repeat(32)}, {"sha256": "ce".repeat(32)}], "decision": "BLOCK_SOMETHING_NEW"}),
            "santa_event",
            "2026-01-06T08:00:05.250Z",
            vec![
                format!("file:sha256:{}", "ab".repeat(32)),
                format!("file:cdhash:{}", "ab".repeat(20)),
                "team:TESTTEAM01".into(),
                "signingid:TESTTEAM01:org.example.ex".into(),
                format!("certificate:sha256:{}", "cd".repeat(32)),
                format!("bundle:sha256:{}", "ef".repeat(32)),
                "user:ada".into(),
            ],
        ),
        (
            "event",
            json!({"file_sha256": "short", "decision": "BUNDLE_BINARY", "team_id": null}),
            "santa_event",
            "2026-01-06T08:00:10.000Z",
            vec![],
        ),
        (
            "file_access",
            json!({"access_time": "1767686406.5", "process_chain": [{"team_id": "A"}, {"team_id": "B"}]}),
            "santa_file_access_event",
            "2026-01-06T08:00:06.500Z",
            vec!["team:A".into()],
        ),
        (
            "audit",
            json!({"standalone_mode_rule_creation": {"timestamp": 1_767_686_407, "identifier": "x"}}),
            "santa_audit_event",
            "2026-01-06T08:00:07.000Z",
            vec![],
        ),
        (
            "preflight",
            json!({"primary_user": "ada"}),
            "santa_preflight",
            "2026-01-06T08:00:10.000Z",
            vec!["user:ada".into()],
        ),
        ("postflight", json!({}), "santa_postflight", "2026-01-06T08:00:10.000Z", vec![]),
        ("enroll", json!({"action": "enrollment"}), "santa_enrollment", "2026-01-06T08:00:10.000Z", vec![]),
        ("conflict", json!({"why": "hardware"}), "enrolment_conflict", "2026-01-06T08:00:10.000Z", vec![]),
    ] {
        let event = translate(kind, &body).unwrap();
        assert_eq!((event.type_.as_str(), event.time.to_string().as_str()), (type_, time), "{body}");
        assert_eq!(payload(&event), body);
        assert_eq!(event.objects, objects);
        assert_eq!(event.tags, ["santa"]);
    }
    let late = translate("event", &json!({"execution_time": 1_000_000.5})).unwrap();
    assert_eq!((late.time, late.tags), (late.received, vec!["santa".to_owned(), "clock".to_owned()]));
    assert_eq!(translate("event", &json!([1])).err(), Some("not_object"));
    assert_eq!(translate("odd", &json!({})).err(), Some("kind"));
    assert_eq!(translate("event", &json!({"cut": {"bytes": 9, "sha256": "ab", "head": "x"}})).err(), Some("too_long"));
}

#[test]
fn a_preflight_tells_of_its_machine() {
    let body = json!({"serial_num": "ZTST0000A014", "machine_id": "0F2C7A6E-5B1D-5E0C-8D54-3C1F7F0A0014", "hostname": "mac",
        "osVersion": "15.5", "os_build": "24F74", "model_identifier": "Mac15,6", "santa_version": "2025.6"});
    let line = |kind: &str| {
        let line = json!({"v": 1, "id": "x", "source": "santa", "kind": kind, "received": "2026-01-06T08:00:10Z",
            "machine": {"serial_number": "ZTST0000A014", "unit": "berlin"}, "body": body});
        Raw::parse(line.to_string().as_bytes()).unwrap()
    };
    let facts = SOURCE.facts(&line("preflight")).unwrap();
    assert_eq!((facts.os_version.as_deref(), facts.agent_version.as_deref()), (Some("15.5"), Some("2025.6")));
    assert_eq!(facts.platform.as_deref(), Some("macos"));
    let snapshot = SOURCE.snapshot(&line("preflight")).unwrap().unwrap();
    assert_eq!(snapshot.machine.unit.as_deref(), Some("berlin"));
    let parts = serde_json::to_value(&snapshot.parts).unwrap();
    let want = json!({"os_version": [{"version": "15.5", "build": "24F74", "name": "macOS"}],
        "system_info": [{"computer_name": "mac", "hardware_model": "Mac15,6", "hardware_serial": "ZTST0000A014"}]});
    assert_eq!(parts, want);
    assert!(SOURCE.snapshot(&line("event")).is_none() && SOURCE.facts(&line("postflight")).is_none());
}

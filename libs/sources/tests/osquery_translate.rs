//! What osquery's records become, on recorded and hand-made lines.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs, reason = "tests may panic")]

use std::path::PathBuf;

use event::{Event, Raw, Time};
use serde_json::{Value, json};
use sources::{Source, osquery::SOURCE};

fn data(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/osquery").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn now() -> Time {
    "2026-11-21T19:00:00Z".parse().unwrap()
}

fn log(line: &str) -> Vec<Event> {
    SOURCE.read_log(line.as_bytes(), now()).unwrap_or_else(|e| panic!("{line}: {e}"))
}

fn payload(event: &Event) -> Value {
    serde_json::from_str(event.payload.get()).unwrap()
}

fn raw_line(kind: &str, received: &str, body: &str) -> String {
    format!(
        r#"{{"v":1,"id":"01a1ff7a-cbfb-8000-8000-000000000000","source":"osquery","kind":"{kind}","received":"{received}","machine":{{"serial_number":"C02","unit":"berlin"}},"request":{{"ip":"203.0.113.9"}},"newer":7,"body":{body}}}"#
    )
}

fn raw(kind: &str, body: &str) -> Result<Vec<Event>, sources::Refusal> {
    SOURCE.translate(&Raw::parse(raw_line(kind, "2026-01-06T08:00:10.000Z", body).as_bytes()).unwrap())
}

/// Events of type result and status per file, as counted with another program.
const FILES: &[(&str, usize, usize)] = &[
    ("authored-osquery/edge_results.ndjson", 18, 0),
    ("authored-osquery/edge_status.ndjson", 0, 5),
    ("filebeat/darwin_head.log", 29, 0),
    ("filebeat/darwin_homebrew.log", 42, 0),
    ("filebeat/darwin_tail.log", 27, 0),
    ("filebeat/sample_head.log", 40, 0),
    ("filebeat/test.log", 2, 0),
    ("kolide-fleet/service_osquery.ndjson", 4, 2),
    ("osquery-tests/kafka_producer.ndjson", 24, 0),
    ("panther/linux_aws_commands.ndjson", 5, 0),
    ("panther/mac_application_firewall.ndjson", 2, 0),
    ("panther/mac_enable_auto_update.ndjson", 3, 0),
    ("panther/outdated.ndjson", 2, 0),
    ("panther/outdated_macos.ndjson", 2, 0),
    ("panther/ssh_listener.ndjson", 2, 0),
    ("panther/suspicious_cron.ndjson", 6, 0),
    ("rsigma/osquery_result.ndjson", 1, 0),
    ("streamalert/osquery.ndjson", 7, 0),
    ("zentral/osquery_log.ndjson", 9, 3),
];

#[test]
fn recorded_files_give_an_event_a_record_and_one_a_row() {
    let mut bytes = 0;
    for (file, results, statuses) in FILES {
        let text = data(file);
        let run = || text.lines().flat_map(log).collect::<Vec<_>>();
        let (events, again) = (run(), run());
        let count = |type_: &str| events.iter().filter(|e| e.type_ == type_).count();
        assert_eq!((count("osquery_result"), count("osquery_status")), (*results, *statuses), "{file}");
        for (event, again) in events.iter().zip(&again) {
            let (mut line, mut second) = (Vec::new(), Vec::new());
            event.write(&mut line);
            again.write(&mut second);
            assert_eq!(line, second, "{file}: two runs differ");
            assert!(event::json::is_canonical(&line), "{file}: {}", String::from_utf8_lossy(&line));
            assert_eq!(Event::parse(&line).unwrap().id, event.id);
            bytes += line.len();
        }
    }
    assert!(bytes > 100_000);
}

/// Names and values of a record stay, whatever they are; only batch records are taken apart.
#[test]
fn payload_is_the_agents_own_record() {
    for (file, ..) in FILES {
        for line in data(file).lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            if record.get("diffResults").is_none() {
                assert_eq!(payload(&log(line)[0]), record, "{line}");
            }
        }
    }
    let odd =
        r#"{"name":1,"epoch":{"seconds":1},"columns":[1e400,18446744073709551616],"numerics":"x","unixTime":1.5}"#;
    assert_eq!(log(odd)[0].payload.get(), odd);
    let twice = r#"{"columns":{"a":"\/"},"name":"x","n\u0061me":"y"}"#;
    assert_eq!(log(twice)[0].payload.get(), r#"{"columns":{"a":"/"},"name":"y"}"#);
}

#[test]
fn a_batch_gives_its_rows_removed_first() {
    let line = r#"{"name":"apps","action":"x","diffResults":{"added":[{"n":"1"},{"n":"1"}],"removed":[{"n":"0"}]},"unixTime":1767686405,"decorations":{"d":"e"}}"#;
    let events = log(line);
    let want: Vec<String> = [("0", "removed"), ("1", "added"), ("1", "added")]
        .iter()
        .map(|(n, action)| {
            format!(
                r#"{{"name":"apps","unixTime":1767686405,"decorations":{{"d":"e"}},"columns":{{"n":"{n}"}},"action":"{action}"}}"#
            )
        })
        .collect();
    assert_eq!(events.iter().map(|e| e.payload.get().to_owned()).collect::<Vec<_>>(), want);
    let mut ids: Vec<_> = events.iter().map(|e| e.id.clone()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3, "equal rows of one record are told apart");
    for (diff, rows) in [
        (r#"{"added":"","removed":[{}]}"#, 1),
        (r#"{"removed":""}"#, 0),
        ("{}", 0),
        (r#""""#, 0),
        (r#"{"added":null}"#, 0),
    ] {
        assert_eq!(log(&format!(r#"{{"name":"a","diffResults":{diff}}}"#)).len(), rows, "{diff}");
    }
}

#[test]
fn machine_from_a_log() {
    let check = |line: Value, want: Value| {
        let machine = log(&line.to_string())[0].machine.clone().map_or(json!({}), |m| serde_json::to_value(m).unwrap());
        assert_eq!(machine, want, "{line}");
    };
    let uuid = "4C4C4544-0031-4A10-8052-B5C04F4E3132";
    check(
        json!({"columns": {}, "hostIdentifier": "h.local", "decorations": {"serial_number": "C02", "host_uuid": uuid}}),
        json!({"serial_number": "C02", "hardware_uuid": uuid, "hostname": "h.local"}),
    );
    check(
        json!({"columns": {}, "hostname": "old", "decorations": {"hardware_serial": "0"}}),
        json!({"hostname": "old"}),
    );
    check(json!({"columns": {}, "hostIdentifier": uuid}), json!({"hardware_uuid": uuid, "hostname": uuid}));
    check(json!({"columns": {}, "hostIdentifier": 7, "decorations": [1]}), json!({"hostname": "7"}));
    check(json!({"columns": {}, "hostIdentifier": {}, "decorations": "x"}), json!({}));
}

#[test]
fn times() {
    let time = |line: &str| {
        let event = &log(line)[0];
        assert_eq!(event.time, event.received, "a log has no receipt");
        assert_eq!(event.tags, ["osquery"]);
        event.time.to_string()
    };
    assert_eq!(time(r#"{"columns":{},"unixTime":"1767686405"}"#), "2026-01-06T08:00:05.000Z");
    assert_eq!(time(r#"{"columns":{},"calendarTime":"Tue Jan  6 08:00:05 2026 UTC"}"#), "2026-01-06T08:00:05.000Z");
    assert_eq!(time(r#"{"columns":{},"unixTime":0}"#), "1970-01-01T00:00:00.000Z");
    assert_eq!(time(r#"{"columns":{},"unixTime":1e400}"#), now().to_string());
    assert_eq!(time(r#"{"columns":{},"unixTime":"9223372036854775807"}"#), Time::from_ms(i64::MAX).to_string());

    // With a receipt at 08:00:10 an impossible clock is not believed.
    for (unix, want, clock) in [
        ("1767686405", "2026-01-06T08:00:05.000Z", false),
        ("1767687010", "2026-01-06T08:10:10.000Z", false),
        ("1767687011", "2026-01-06T08:00:10.000Z", true),
        ("1765008010", "2025-12-06T08:00:10.000Z", false),
        ("1765008009", "2026-01-06T08:00:10.000Z", true),
        ("0", "2026-01-06T08:00:10.000Z", true),
        ("2208988800", "2026-01-06T08:00:10.000Z", true),
        ("9223372036854775807", "2026-01-06T08:00:10.000Z", true),
        ("null", "2026-01-06T08:00:10.000Z", false),
    ] {
        let body = format!(r#"{{"columns":{{}},"unixTime":{unix}}}"#);
        let event = &raw("result", &body).unwrap()[0];
        assert_eq!(
            (event.time.to_string().as_str(), event.tags.contains(&"clock".to_owned())),
            (want, clock),
            "{unix}"
        );
        assert_eq!(event.payload.get(), body, "payload untouched");
    }
}

#[test]
fn raw_kinds() {
    let check = |kind: &str, body: &str, type_: &str, tags: &[&str]| {
        let events = raw(kind, body).unwrap();
        let mut line = Vec::new();
        events[0].write(&mut line);
        let line = String::from_utf8(line).unwrap();
        assert_eq!((events.len(), events[0].type_.as_str()), (1, type_), "{line}");
        assert_eq!(events[0].tags, tags);
        for part in [
            r#""id":"01a1ff7a-cbfb-8000-8000-000000000000""#,
            r#""machine":{"serial_number":"C02","unit":"berlin"},"request":{"ip":"203.0.113.9"}"#,
            r#""newer":7,"payload":"#,
        ] {
            assert!(line.contains(part), "{line}");
        }
    };
    check("result", r#"{"snapshot":[],"name":"x"}"#, "osquery_result", &["osquery"]);
    check("status", r#"{"severity":0,"message":"","filename":"a","line":1}"#, "osquery_status", &["osquery"]);
    check("result", r#"{"severity":"0","message":""}"#, "osquery_status", &["osquery"]);
    check("log:snapshot", r#"{"snapshot":[1]}"#, "osquery_result", &["osquery", "log_type:snapshot"]);
    check("log:shiny", r#"{"name":"x","unixTime":"1767686405"}"#, "osquery_log", &["osquery", "log_type:shiny"]);
    check("enroll", r#"{"action":"enrollment"}"#, "osquery_enrollment", &["osquery"]);
    check("request", r#"{"request_type":"config"}"#, "osquery_request", &["osquery"]);
    check("refused", r#"{"reason":"bomb"}"#, "osquery_body_refused", &["osquery"]);
    check("conflict", r#"{"why":"hardware"}"#, "enrolment_conflict", &["osquery"]);
}

#[test]
fn objects_named_by_columns() {
    let hash = "AB".repeat(32);
    let line = json!({"columns": {"sha256": hash, "username": "ada", "user": "ada", "team_identifier": "EQHXZ8M8AV", "pid": "1"}});
    let want = [format!("file:sha256:{}", "ab".repeat(32)), "user:ada".into(), "team:EQHXZ8M8AV".into()];
    assert_eq!(log(&line.to_string())[0].objects, want);
    let line = json!({"columns": {"sha256": "x", "username": "", "user": "u".repeat(200), "team_identifier": 1}});
    assert!(log(&line.to_string())[0].objects.is_empty());
}

#[test]
fn refusals_have_a_reason() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let long = format!("{{\"columns\":\"{}\"}}", "x".repeat(4 << 20));
    let rows = format!(r#"{{"diffResults":{{"added":[{}{{}}]}}}}"#, "{},".repeat(70_000));
    let wide = format!(r#"{{"x":"{}","diffResults":{{"added":[{}{{}}]}}}}"#, "x".repeat(1 << 20), "{},".repeat(100));
    for (line, reason) in [
        ("", "not_json"),
        ("{\"columns\":{}", "not_json"),
        ("{\"columns\":{}}}", "not_json"),
        ("{\"columns\":\"\u{0}\"}", "not_json"),
        ("{\"columns\":\"\\ud800\"}", "not_json"),
        ("[1]", "not_object"),
        ("7", "not_object"),
        ("{}", "shape"),
        (r#"{"name":"x","unixTime":1}"#, "shape"),
        (r#"{"diffResults":7}"#, "shape"),
        (r#"{"diffResults":{"added":{"a":1}}}"#, "shape"),
        (&format!("{{\"columns\":{deep}}}"), "too_deep"),
        (&long, "too_long"),
        (&rows, "too_long"),
        (&wide, "too_long"),
    ] {
        let refusal = SOURCE.read_log(line.as_bytes(), now()).unwrap_err();
        assert_eq!(refusal.reason, reason, "{}: {refusal}", line.get(..60).unwrap_or(line));
    }
    assert_eq!(SOURCE.read_log(b"{\"columns\":\"\xff\"}", now()).unwrap_err().reason, "not_utf8");
    for (kind, body, reason) in [
        ("result", r#"{"base64":"ew=="}"#, "not_json"),
        ("result", r#"{"base64":"/w=="}"#, "not_utf8"),
        ("result", r#"{"base64":"eyJhIjoi/yJ9"}"#, "not_utf8"),
        ("result", r#"{"cut":{"bytes":9000000,"sha256":"ab","head":"x"}}"#, "too_long"),
        ("result", "null", "not_object"),
        ("result", r#"{"name":"x"}"#, "shape"),
        ("other", r#"{"columns":{}}"#, "kind"),
    ] {
        assert_eq!(raw(kind, body).unwrap_err().reason, reason, "{kind} {body}");
    }
}

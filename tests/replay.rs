//! A recorded window, replayed: the same matches as the live run gave, byte for byte, from events as from raw lines, with
//! a quarantined filter among them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::process::Output;

use serde_json::{Value, json};
use support::hub::Hub;
use support::recorded::logs;

const PROBES: &str = r#"
[probe.apps]
severity = "minor"
filter = '.payload.columns.name? | strings | {title: .}'
[probe.snapshots]
filter = '.payload.snapshot | arrays | length > 0'
by = '.payload.name'
[probe.linux]
scope = { platforms = ["linux"] }
filter = '.payload.action == "removed"'
[probe.everything]
severity = "critical"
filter = '{words: [.. | strings] | length, keys: keys_unsorted}'
[probe.errors]
filter = 'if .payload.columns.hit then (.payload.name | tonumber) else true end'
[probe.spin]
filter = 'if .payload.columns.spin == "1" then last(range(1000000000)) > 0 else .payload.columns.hit == "1" end'
"#;

/// A hub that has run over recorded agents' lines and is at rest. Every machine's lines come within an hour; a filter
/// loops on twelve of them, and would match after that.
fn ran() -> Hub {
    let hub = Hub::new(PROBES);
    let (mut raw, mut n) = (String::new(), 0);
    let mut put = |serial: &str, kind: &str, body: Value| {
        let received = format!("2026-01-06T{:02}:{:02}:{:02}.000Z", 9 + n / 3600, n / 60 % 60, n % 60);
        n += 1;
        let machine = json!({"serial_number": serial, "hostname": format!("{serial}.example.com"), "unit": "default"});
        let line = json!({"v": 1, "id": format!("01a1ff7a-cbfb-8000-8000-{n:012}"), "source": "osquery", "kind": kind,
            "received": received, "machine": machine, "body": body});
        raw.push_str(&format!("{line}\n"));
    };
    for i in 0..12 {
        put(
            "SPIN",
            "result",
            json!({"name": "x", "unixTime": 1_767_690_000 + i, "columns": {"spin": "1"}, "action": "added"}),
        );
    }
    for i in 0..30 {
        put(
            "SPIN",
            "result",
            json!({"name": "x", "unixTime": 1_767_690_100 + i, "columns": {"hit": "1"}, "action": "added"}),
        );
    }
    for (i, log) in logs().into_iter().enumerate() {
        for record in log {
            put(&format!("REC{i}"), "result", record);
        }
        put(&format!("REC{i}"), "result", json!("not a record"));
    }
    std::fs::write(hub.path("raw.ndjson"), raw).unwrap();
    let out = hub.run(&["up", "--test", "raw.ndjson", "--data", "data2"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(3), "the lines that are no records are refused: {said}");
    hub
}

/// What `words`, fed with `input`, prints of that run.
fn pipe(hub: &Hub, words: &[&str], input: &[u8]) -> Output {
    hub.feed(&[words, &["--data", "data2"]].concat(), input)
}

fn lines(text: &[u8]) -> Vec<&str> {
    std::str::from_utf8(text).unwrap().lines().collect()
}

#[track_caller]
fn same(got: &[u8], want: &[u8]) {
    let (got, want) = (lines(got), lines(want));
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        assert_eq!(got, want, "line {i}");
    }
    assert_eq!(got.len(), want.len());
}

#[test]
fn a_replay_gives_the_matches_of_the_live_run() {
    let hub = ran();
    let cat = |topic: &str| pipe(&hub, &["cat", topic], b"").stdout;
    let matches = cat("matches");
    let of = |probe: &str| lines(&matches).iter().filter(|l| l.contains(&format!("{{\"name\":\"{probe}\""))).count();
    let events = lines(&cat("events")).len();
    for probe in ["apps", "snapshots", "everything", "errors"] {
        assert!(of(probe) > 0, "{probe} never matches");
    }
    assert_eq!(of("spin"), 0, "it is quarantined before it could match");
    assert!(lines(&cat("events")).iter().any(|l| l.contains("\"type\":\"filter_quarantined\"")));

    // What was written on the events, and between them, is not fed again.
    let replay = pipe(&hub, &["replay", "--events"], b"");
    assert_eq!(replay.status.code(), Some(0));
    same(&replay.stdout, &cat("normalized"));
    let words = lines(&cat("events")).iter().filter(|l| l.contains("\"type\":\"filter_")).count();
    assert_eq!(lines(&replay.stdout).len() + words, events);

    same(&pipe(&hub, &["filter"], &replay.stdout).stdout, &matches);
    same(&pipe(&hub, &["filter", "--trusted"], &replay.stdout).stdout, &matches);

    let raw = pipe(&hub, &["replay", "--raw"], b"").stdout;
    assert_eq!(raw, std::fs::read(hub.path("raw.ndjson")).unwrap());
    let normalized = pipe(&hub, &["normalize"], &raw);
    assert_eq!(normalized.status.code(), Some(3));
    same(&pipe(&hub, &["filter"], &normalized.stdout).stdout, &matches);
}

#[test]
fn a_window_says_which_filters_were_off_in_it() {
    let hub = ran();
    // From a moment after the quarantine on: whoever runs the filter again gets what the live run did not.
    let after = pipe(&hub, &["replay", "--events", "--since", "2026-01-06T09:00:12Z"], b"");
    let said = String::from_utf8_lossy(&after.stderr).into_owned();
    let whole = pipe(&hub, &["replay", "--events"], b"");
    let want = ["probe spin (", "was off from event "];
    for said in [&said, &String::from_utf8_lossy(&whole.stderr).into_owned()] {
        assert!(want.iter().all(|part| said.contains(part)), "{said}");
        assert_eq!(said.matches("was off from").count(), 1, "{said}");
    }
    let tenth: Value = serde_json::from_str(lines(&whole.stdout)[9]).unwrap();
    assert!(said.contains(tenth["id"].as_str().unwrap()), "{said}: {tenth}");
    assert!(String::from_utf8(pipe(&hub, &["filter", "spin"], &after.stdout).stdout).unwrap().lines().count() >= 30);

    let count = |words: &[&str]| lines(&pipe(&hub, words, b"").stdout).len();
    let window = ["replay", "--since", "2026-01-06T09:00:12Z", "--until", "2026-01-06T09:00:41Z"];
    assert_eq!(count(&window), 30);
    assert_eq!(count(&[&window[..], &["--events"]].concat()), 30);
    assert_eq!(count(&["replay", "--since", "2026-01-07"]), 0);
    for (words, code) in
        [(&["replay", "--since", "soon"][..], 2), (&["replay", "--refused", "filter", "--until", "1h"], 2)]
    {
        assert_eq!(pipe(&hub, words, b"").status.code(), Some(code), "{words:?}");
    }
    assert_eq!(pipe(&hub, &["replay", "--refused", "filter"], b"").status.code(), Some(0), "it has refused nothing");
    let unknown = pipe(&hub, &["replay", "--refused", "fliter"], b"");
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(unknown.status.code() == Some(2) && said.contains("did you mean `filter`?; there are: "), "{said}");
    // Without a run there is nothing to print, and that is said.
    let none = hub.run(&["replay"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("there is no topic `raw` yet"));
}

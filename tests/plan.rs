//! `zentral plan`: what is gained, lost and changed between two configurations, over a recorded file and over what a hub
//! has kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::agent::Agent;
use support::hub::{Hub, wait_for};

/// An event of a machine, a minute after the one before it.
fn event(n: usize, host: &str, name: &str, columns: Value) -> Value {
    let time = format!("2026-11-{:02}T10:{:02}:00.000Z", 20 + n / 60, n % 60);
    json!({"v": 1, "id": format!("e{n}"), "type": "osquery_result", "time": time, "received": time, "source": "osquery",
        "tags": ["osquery"], "machine": {"serial_number": format!("S-{host}"), "hostname": host, "platform": "macos"},
        "payload": {"name": name, "action": "added", "counter": 3, "columns": columns}})
}

fn day() -> String {
    let mut text = String::new();
    for n in 0..100 {
        let vendor = if n % 2 == 0 { "C-Media" } else { "SanDisk" };
        let host = if n % 10 == 0 { "eve|`@all`<b>" } else { "ada" };
        let line = event(n, host, "usb", json!({"vendor": vendor, "n": n.to_string()}));
        text.push_str(&format!("{line}\n"));
    }
    text
}

const ACTIONS: &str =
    "version = 1\n[action.slack]\nkind = \"file\"\npath = \"slack\"\n[action.mail]\nkind = \"file\"\npath = \"mail\"\n";

/// A folder with an old configuration, a new one and a day of events.
struct Case(tempfile::TempDir);

impl Case {
    fn new(old: &str, new: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("base")).unwrap();
        std::fs::write(dir.path().join("base/pipeline.toml"), format!("{ACTIONS}{old}")).unwrap();
        std::fs::write(dir.path().join("pipeline.toml"), format!("{ACTIONS}{new}")).unwrap();
        std::fs::write(dir.path().join("day.ndjson"), day()).unwrap();
        Self(dir)
    }

    fn run(&self, words: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
        command
            .current_dir(self.0.path())
            .arg("plan")
            .args(words)
            .env_remove("ZENTRAL_CONFIG")
            .env_remove("ZENTRAL_DATA");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// Exit code and records of a run over the day.
    #[track_caller]
    fn plan(&self, words: &[&str], code: i32) -> (Vec<Value>, Value) {
        let out = self.run(&[&["base", "--from", "day.ndjson"], words].concat(), b"");
        read(&out, code)
    }
}

/// The records of probes, and the summary.
#[track_caller]
fn read(out: &Output, code: i32) -> (Vec<Value>, Value) {
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{}{said}", String::from_utf8_lossy(&out.stdout));
    let text = std::str::from_utf8(&out.stdout).unwrap();
    let mut records: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let summary = records.pop().unwrap();
    assert_eq!(summary["what"], "summary");
    assert!(records.iter().all(|r| r["what"] == "probe"));
    (records, summary)
}

fn figures(record: &Value) -> [i64; 5] {
    ["old", "new", "gained", "lost", "changed"].map(|key| record[key].as_i64().unwrap_or(-1))
}

const OLD: &str = r#"
[probe.gone]
filter = '.payload.columns.n == "7"'
act = ["mail"]
[probe.same]
filter = '.payload.columns.n | endswith("5")'
act = ["mail"]
[probe.usb]
filter = 'select(.payload.columns.vendor == "C-Media") | {title: "old \(.payload.columns.n)"}'
act = ["slack"]
[probe.broken]
filter = '.payload.name | tonumber'
[probe.untouched]
filter = '.type == "x"'
"#;

const NEW: &str = r#"
[probe.same]
filter = '.payload.columns.n | endswith("5")'
act = ["mail"]
[probe.usb]
filter = '.payload.columns | select((.n | tonumber) < 41) | {title: (if .n == "40" then "new" else "old \(.n)" end)}'
act = ["slack"]
severity = "info"
[probe.broken]
filter = 'false'
[probe.added]
filter = '.machine.hostname != "ada"'
act = ["slack", "mail"]
[probe.untouched]
filter = '.type == "y"'
"#;

#[test]
fn what_is_gained_lost_and_changed() {
    let case = Case::new(OLD, NEW);
    let (probes, summary) = case.plan(&[], 1);
    let names: Vec<&str> = probes.iter().map(|p| p["probe"].as_str().unwrap()).collect();
    assert_eq!(names, ["added", "broken", "gone", "untouched", "usb"]);
    let kinds: Vec<&str> = probes.iter().map(|p| p["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["new", "changed", "removed", "changed", "changed"]);
    // usb: 50 even ones before, 0..=40 now: 20 odd ones gained, 29 lost, and e40 says something else.
    assert_eq!(figures(&probes[4]), [50, 41, 20, 29, 1]);
    assert_eq!(figures(&probes[0]), [-1, 10, 10, 0, 0]);
    assert_eq!(figures(&probes[2]), [1, -1, 0, 1, 0]);
    assert_eq!(figures(&probes[3]), [0, 0, 0, 0, 0]);
    let differ: Vec<bool> = probes.iter().map(|p| p["differs"].as_bool().unwrap()).collect();
    assert_eq!(differ, [true, true, true, false, true]);
    assert_eq!(probes[1]["failures"], json!({"old": {"errors": 100, "limits": 0}, "new": {"errors": 0, "limits": 0}}));
    let usb = &probes[4]["samples"];
    let gained = json!({"event": "e1", "time": "2026-11-20T10:01:00.000Z", "machine": "ada", "title": "old 1"});
    assert_eq!(usb["gained"][0], gained);
    assert_eq!(["gained", "lost", "changed"].map(|k| usb[k].as_array().unwrap().len()), [3, 3, 1]);
    assert_eq!((&usb["changed"][0]["was"], &usb["changed"][0]["title"]), (&json!("old 40"), &json!("new")));
    assert_eq!(probes[4]["keys"], json!(["filter"]));

    assert_eq!(summary["events"], 100);
    assert_eq!(summary["probes"], json!({"same": 1, "touched": 5, "differ": 4}));
    assert_eq!(summary["matches"], json!({"gained": 30, "lost": 30, "changed": 1, "of_same_probes": 10}));
    let actions = json!([
        {"action": "mail", "old": 11, "new": 20, "days": [
            {"day": "2026-11-20", "old": 7, "new": 12}, {"day": "2026-11-21", "old": 4, "new": 8}]},
        {"action": "slack", "old": 50, "new": 51, "days": [
            {"day": "2026-11-20", "old": 30, "new": 47}, {"day": "2026-11-21", "old": 20, "new": 4}]},
    ]);
    let mut told = summary["actions"].as_array().unwrap().clone();
    told.sort_by_key(|a| a["action"].as_str().unwrap().to_owned());
    assert_eq!(Value::from(told), actions);

    let (probes, _) = case.plan(&["--samples", "0"], 1);
    assert_eq!(probes[4]["samples"]["gained"], json!([]));
    let (probes, summary) = case.plan(&["--since", "2026-11-21T10:10", "--until", "2026-11-21T10:19"], 1);
    assert_eq!((figures(&probes[4]), &summary["events"]), ([5, 0, 0, 5, 0], &json!(10)));
}

#[test]
fn the_same_is_zero() {
    let case = Case::new(OLD, &format!("{OLD}# nothing but words\n"));
    // No probe was touched: there is nothing to read, not even a file that is not there.
    let out = case.run(&["base/pipeline.toml", "--from", "nosuch"], b"");
    let (probes, summary) = read(&out, 0);
    assert_eq!((probes.len(), &summary["same"], &summary["events"]), (0, &json!(true), &json!(0)));
    // Another text of the same meaning.
    let case = Case::new(OLD, &OLD.replace(".payload.columns.n == \"7\"", "\"7\" == .payload.columns.n"));
    let (probes, summary) = case.plan(&[], 0);
    assert_eq!((probes.len(), &summary["same"]), (1, &json!(true)));
    assert_eq!((figures(&probes[0]), &probes[0]["differs"]), ([1, 1, 0, 0, 0], &json!(false)));
    // Without an event nothing is known of it, and that is said.
    let out = case.run(&["base", "--from", "-"], b"");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(0) && said.contains("was touched, and there is no event to judge by"), "{said}");
}

#[test]
fn what_is_done_about_a_match_is_part_of_it() {
    let old = "[probe.p]\nfilter = '.payload.columns.n == \"1\"'\n";
    for (more, keys) in [
        ("act = [\"mail\"]\n", json!(["act"])),
        ("severity = \"major\"\n", json!(["severity"])),
        ("by = '.payload.columns.n'\n", json!(["by"])),
        ("scope = { platforms = [\"macos\"] }\n", json!(["scope"])),
    ] {
        let case = Case::new(old, &format!("{old}{more}"));
        let changed = i64::from(keys != json!(["scope"]));
        let (probes, _) = case.plan(&[], changed as i32);
        assert_eq!((&probes[0]["keys"], figures(&probes[0])), (&keys, [1, 1, 0, 0, changed]), "{more}");
    }
    let case = Case::new(old, &format!("{old}scope = {{ platforms = [\"linux\"] }}\n"));
    assert_eq!(figures(&case.plan(&[], 1).0[0]), [1, 0, 0, 1, 0]);
}

#[test]
fn a_query_that_has_never_run_is_stood_for_by_the_old_one() {
    let probe =
        |sql: &str| format!("[probe.q]\nquery = {{ sql = \"{sql}\" }}\nfilter = '.payload.columns.n == \"1\"'\n");
    let case = Case::new(&probe("select 1"), &probe("select 2"));
    let out = case.run(&["base", "--from", "-", "--markdown"], b"");
    assert!(
        String::from_utf8_lossy(&out.stdout).contains("its query is another: judged by the results of the old one")
    );
    let rev = String::from_utf8(case.run(&["base", "--from", "-"], b"").stdout).unwrap();
    assert!(rev.contains("\"differs\":false"), "{rev}");
    // The results are told apart by the REV of the SQL that was asked.
    let out = Command::new("sh").args(["-c", "printf 'select 1' | sha256sum | cut -c1-8"]).output().unwrap();
    let rev = String::from_utf8(out.stdout).unwrap();
    let line = event(1, "ada", &format!("zentral/q/{}", rev.trim()), json!({"n": "1"}));
    let (probes, _) = read(&case.run(&["base", "--from", "-"], format!("{line}\n").as_bytes()), 0);
    assert_eq!(figures(&probes[0]), [1, 1, 0, 0, 0]);
}

#[test]
fn a_comment_for_a_pull_request() {
    let case = Case::new(OLD, NEW);
    let out = case.run(&["base", "--from", "day.ndjson", "--markdown"], b"");
    assert_eq!(out.status.code(), Some(1));
    let text = String::from_utf8(out.stdout).unwrap();
    for part in [
        "<!-- zentral plan -->\n### zentral plan: 4 of 6 probes decide otherwise: 30 matches gained, 30 lost, 1 changed\n",
        "| probe | what | old | new | gained | lost | changed | failures |\n| --- | ---: |",
        "| usb | filter | 50 | 41 | 20 | 29 | 1 |  |\n",
        "| gone | removed | 1 | - | 0 | 1 | 0 |  |\n",
        "| broken | filter | 0 | 0 | 0 | 0 | 0 | errors 100 → 0 |\n",
        "| slack | 50 | 51 | ",
        "<details><summary>usb</summary>\n",
        "- changed: `2026-11-20T10:40:00.000Z` `eve\\|'@all'<b>` `old 40 → new` `e40`\n",
    ] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
    // What machines say is nowhere outside of a code span.
    let outside: String = text.split('`').step_by(2).collect();
    assert!(!outside.contains('@') && !outside.contains("<b>"), "{outside}");
    assert_eq!(case.run(&["base", "--markdown", "--json"], b"").status.code(), Some(2));
}

#[test]
fn a_comment_has_a_bound() {
    let probe = |i: usize| format!("[probe.{}{i}]\nfilter = 'true'\n", "p".repeat(50));
    let case = Case::new("", &(0..900).map(probe).collect::<String>());
    let out = case.run(&["base", "--from", "day.ndjson", "--markdown"], b"");
    assert_eq!(out.status.code(), Some(1));
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.len() < 65_536 && text.contains("No room for "), "{}", text.len());
    assert!(text.contains("900 of 900 probes decide otherwise: 90000 matches gained"));
}

#[test]
fn what_is_wrong_is_two_and_has_its_place() {
    let case = Case::new(OLD, "[probe.p]\nfilter = '.a | nosuch'\n");
    let out = case.run(&["base", "--from", "day.ndjson"], b"");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!((out.status.code(), out.stdout.len()), (Some(2), 0));
    assert!(
        said.contains("pipeline.toml:9:16: ")
            && said.contains("    9 | filter = '.a | nosuch'\n      |                ^"),
        "{said}"
    );
    // The old one needs no secrets and no certificates, but it must be read and compile.
    let case = Case::new("[probe.p]\nfilter = '.a | nosuch'\n", OLD);
    let out = case.run(&["base", "--from", "day.ndjson"], b"");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2));
    assert!(said.contains("base/pipeline.toml:9:16: "), "{said}");
    for words in [&["nosuch"][..], &["base", "--from", "nosuch"], &["base"], &[], &["base", "--since", "soon"]] {
        assert_eq!(Case::new(OLD, NEW).run(words, b"").status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn lines_that_are_no_events_are_named_and_three() {
    let case = Case::new(OLD, NEW);
    let long = "x".repeat((4 << 20) + 1);
    let raw = json!({"v": 1, "id": "r", "source": "osquery", "kind": "result", "body": {}});
    let input = format!("{}torn\n{long}\n[1]\n\n{raw}\n{{\"n\":1,\"n\":2}}\n", day());
    let out = case.run(&["base", "--from", "-"], input.as_bytes());
    let (_, summary) = read(&out, 3);
    assert_eq!((&summary["events"], &summary["refused"]), (&json!(101), &json!(4)));
    let said = String::from_utf8_lossy(&out.stderr);
    for part in [
        "- line 101: expected a value",
        "- line 102: the line is too long",
        "- line 103: no JSON object",
        "- line 105: a raw line, not an event; `zentral normalize < FILE`",
    ] {
        assert!(said.contains(part), "{part:?} is missing: {said}");
    }
}

#[test]
fn a_file_of_something_else_is_two() {
    let case = Case::new(OLD, NEW);
    let log = json!({"name": "usb", "hostIdentifier": "C02", "unixTime": 1, "columns": {}});
    let example = json!({"match": true, "event": {"payload": {}}});
    for (line, says) in [
        (log, "log line 1: a line of osquery's log, not an event; `zentral normalize osquery < log`"),
        (example, "log line 1: an example of a filter, not an event; `zentral test log`"),
    ] {
        std::fs::write(case.0.path().join("log"), format!("{line}\n{line}\n")).unwrap();
        let out = case.run(&["base", "--from", "log"], b"");
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!((out.status.code(), out.stdout.len(), said.lines().count()), (Some(2), 0, 1), "{said}");
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn zeros_have_their_reason() {
    let probe = |more: &str| format!("[probe.q]\nquery = {{ sql = \"select 2\" }}\n{more}filter = 'true'\n");
    let rev = "3cf988cc";
    let out = Command::new("sh").args(["-c", "printf 'select 2' | sha256sum | cut -c1-8"]).output().unwrap();
    assert_eq!(String::from_utf8(out.stdout).unwrap().trim(), rev);
    let own = format!("zentral/q/{rev}");
    let mut first = event(1, "ada", &own, json!({}));
    first["payload"]["counter"] = json!(0);
    let (other, older) = (event(2, "ada", "usb", json!({})), event(3, "ada", "zentral/q/00000000", json!({})));
    let linux = "scope = { platforms = [\"linux\"] }\n";
    for (old, new, events, notes) in [
        ("", probe(""), vec![&other], json!(["none of 1 event is a result of its query, which may not have run yet"])),
        (
            "",
            probe(""),
            vec![&other, &first],
            json!([
                "2 events, none reached the filter: 1 not its query's result, 1 of the first run of its query (`first_run`)"
            ]),
        ),
        ("", probe(linux), vec![&first], json!(["1 event, none reached the filter: 1 out of scope"])),
        (
            "",
            probe(""),
            vec![&other, &older],
            json!([
                "2 events, none reached the filter: 2 not its query's results; its query has changed: 1 result recorded as zentral/q/00000000 is not given to it"
            ]),
        ),
        (
            "[probe.q]\nfilter = 'true'\n",
            probe(""),
            vec![&other],
            json!(["new: none of 1 event is a result of its query, which may not have run yet"]),
        ),
        ("", probe("first_run = true\n"), vec![&other, &first], Value::Null),
        // jq never runs: the index knows that it cannot match.
        (
            "[probe.q]\nfilter = '.type == \"osquery_result\"'\n",
            "[probe.q]\nfilter = '.type == \"osquery_result\" and (.nope | startswith(\"x\"))'\n".to_owned(),
            vec![&first, &other],
            json!(["new: its filter failed at 2 of 2 events that reached it: cannot use null as string"]),
        ),
    ] {
        let case = Case::new(old, &new);
        let input: String = events.iter().map(|event| format!("{event}\n")).collect();
        let out = case.run(&["base", "--from", "-"], input.as_bytes());
        let (probes, _) = read(&out, out.status.code().unwrap());
        assert_eq!(probes[0]["notes"], notes, "{new}");
    }
    // Both sides, for the same reason: said once, beside the word about the query.
    let case = Case::new(&probe("").replace("select 2", "select 1"), &probe(""));
    let (probes, _) = read(&case.run(&["base", "--from", "-"], format!("{older}\n").as_bytes()), 0);
    assert_eq!(probes[0]["notes"].as_array().unwrap().len(), 2, "{}", probes[0]);
}

/// Messages old and new, in all and day by day.
fn messages(summary: &Value, action: &str) -> Value {
    let all = summary["actions"].as_array().unwrap();
    let own = all.iter().find(|a| a["action"] == action).unwrap_or_else(|| panic!("{summary}"));
    let days = own["days"].as_array().unwrap().iter().map(|day| json!([day["old"], day["new"]]));
    json!([[own["old"], own["new"]], days.collect::<Vec<_>>()])
}

#[test]
fn messages_are_counted_with_conditions() {
    let old = "[probe.usb]\nfilter = '.payload.columns.vendor == \"C-Media\"'\nact = [\"slack\"]\n\
               [probe.same]\nfilter = '.payload.columns.n == \"7\"'\nact = [\"slack\"]\n";
    let with = |more: &str| old.replacen("act =", &format!("{more}\nact ="), 1);
    let (one, all) = (json!([[51, 51], [[31, 31], [20, 20]]]), 50);
    assert_eq!(messages(&Case::new(old, &with("severity = \"major\"")).plan(&[], 1).1, "slack"), one);
    for (more, keys, acted, days) in [
        // Of either machine the first on each day.
        ("throttle = \"1h\"", json!(["throttle"]), 4, json!([[31, 3], [20, 2]])),
        // Five in eight minutes, again and again.
        (
            "window = { count = 5, within = \"10m\" }\nby = '.source'",
            json!(["by", "window"]),
            10,
            json!([[31, 7], [20, 4]]),
        ),
        (
            "by = '.source'\nuntil = '.payload.columns.n == \"51\"'",
            json!(["until", "by"]),
            3,
            json!([[31, 4], [20, 0]]),
        ),
        ("shadow = true", json!(["shadow"]), 0, json!([[31, 1], [20, 0]])),
    ] {
        let (probes, summary) = Case::new(old, &with(more)).plan(&[], 1);
        assert_eq!((&probes[0]["keys"], &probes[0]["acted"]), (&keys, &json!({"old": all, "new": acted})), "{more}");
        assert_eq!(messages(&summary, "slack"), json!([[51, acted + 1], days]), "{more}");
        let note = probes[0]["notes"][0].as_str();
        assert_eq!(note, (acted > 0).then_some(format!("acted upon: 50 → {acted}")).as_deref(), "{more}");
    }
    // The matches are the same, and still it differs.
    let case = Case::new(&with("throttle = \"1h\""), &with("throttle = \"30m\""));
    let (probes, summary) = case.plan(&[], 1);
    assert_eq!((figures(&probes[0]), &probes[0]["differs"]), ([50, 50, 0, 0, 0], &json!(true)));
    assert_eq!((&probes[0]["acted"], &summary["same"]), (&json!({"old": 4, "new": 8}), &json!(false)));
    let text = case.run(&["base", "--from", "day.ndjson", "--markdown"], b"").stdout;
    let text = String::from_utf8(text).unwrap();
    let said = "1 of 2 probes decides otherwise: 0 matches gained, 0 lost, 0 changed; acted upon: 4 → 8\n";
    assert!(text.contains(said) && text.contains("- `acted upon: 4 → 8`\n"), "{text}");
}

#[test]
fn a_digest_is_one_message_over_all_probes() {
    let probes = "[probe.even]\nfilter = '.payload.columns.vendor == \"C-Media\"'\nact = [\"slack\", \"mail\"]\n\
                  [probe.odd]\nfilter = '.payload.columns.vendor == \"SanDisk\"'\nact = [\"slack\"]\n";
    let case = Case::new(probes, probes);
    let file = case.0.path().join("pipeline.toml");
    let gathering = |text: &str| {
        text.replace(
            "path = \"slack\"",
            "path = \"slack\"\ndigest = \"30m\"\nquiet = { from = \"01:00\", to = \"02:00\" }",
        )
    };
    std::fs::write(&file, gathering(&std::fs::read_to_string(&file).unwrap())).unwrap();
    // Half an hour from the first one on: two on either day.
    let (records, summary) = case.plan(&[], 1);
    assert_eq!(
        (records.len(), &summary["same"], &summary["matches"]["of_same_probes"]),
        (0, &json!(false), &json!(100))
    );
    assert_eq!(messages(&summary, "slack"), json!([[100, 4], [[60, 2], [40, 2]]]));
    assert_eq!(messages(&summary, "mail"), json!([[50, 50], [[30, 30], [20, 20]]]));
    let text = String::from_utf8(case.run(&["base", "--from", "day.ndjson", "--markdown"], b"").stdout).unwrap();
    assert!(
        text.contains("other messages: none of 2 probes was touched, an action gathers for another time\n"),
        "{text}"
    );
    // With both sides gathering, and one probe that is gone: what is left in the digest still goes out.
    let (base, without) = (case.0.path().join("base/pipeline.toml"), probes.split("[probe.odd]").next().unwrap());
    std::fs::write(&base, gathering(&std::fs::read_to_string(&base).unwrap())).unwrap();
    std::fs::write(&file, gathering(&format!("{ACTIONS}{without}"))).unwrap();
    let (records, summary) = case.plan(&[], 1);
    assert_eq!(
        (figures(&records[0]), messages(&summary, "slack")),
        ([50, -1, 0, 50, 0], json!([[4, 4], [[2, 2], [2, 2]]]))
    );
}

#[test]
fn a_repeat_is_told_of_once() {
    let probe = "[probe.p]\nfilter = '.payload.columns.n == \"1\"'\nact = [\"slack\"]\n";
    let case = Case::new("", probe);
    let line = event(1, "ada", "usb", json!({"n": "1"}));
    let other = event(2, "ada", "usb", json!({"n": "1"}));
    let out = case.run(&["base", "--from", "-"], format!("{line}\n{line}\n{other}\n{line}\n").as_bytes());
    let (probes, summary) = read(&out, 1);
    assert_eq!((figures(&probes[0]), &probes[0]["acted"]), ([-1, 4, 4, 0, 0], &json!({"old": null, "new": 2})));
    assert_eq!(messages(&summary, "slack"), json!([[0, 2], [[0, 2]]]));
}

const SPIN: &str = r#"
[probe.spin]
filter = '''if .payload.columns.spin == "1" then last(range(1000000000)) > 0 else .payload.columns.hit == "1" end'''
"#;

/// Raw lines of 12 events that a filter loops on, and 30 that it would match.
fn spinning(path: &Path) {
    let line = |n: usize, columns: Value| {
        let body = json!({"name": "x", "unixTime": 1_767_690_000 + n, "columns": columns, "action": "added"});
        json!({"v": 1, "id": format!("r{n}"), "source": "osquery", "kind": "result", "machine": {"serial_number": "S"},
            "received": format!("2026-01-06T09:00:{n:02}.000Z"), "body": body})
    };
    let spins = (0..12).map(|n| line(n, json!({"spin": "1"})));
    let all = spins.chain((12..42).map(|n| line(n, json!({"hit": "1"}))));
    std::fs::write(path, all.map(|l| format!("{l}\n")).collect::<String>()).unwrap();
}

#[test]
fn what_the_hub_had_quarantined_is_off_on_the_old_side() {
    let hub = Hub::new(SPIN);
    spinning(&hub.path("raw.ndjson"));
    hub.ok(&["up", "--test", "raw.ndjson", "--data", "data2"]);
    let file = hub.path("pipeline.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::create_dir(hub.path("base")).unwrap();
    std::fs::write(hub.path("base/pipeline.toml"), &text).unwrap();
    std::os::unix::fs::symlink(hub.path("probes"), hub.path("base/probes")).unwrap();
    let plan = |more: &[&str], code| read(&hub.run(&[&["plan", "base", "--data", "data2"], more].concat()), code);

    // Nothing but a comment was written into the filter: its text is another, and gets its chance.
    std::fs::write(
        &file,
        text.replace("filter = '''if", "filter = '''# mended\nif .payload.columns.spin then false elif"),
    )
    .unwrap();
    let (probes, summary) = plan(&["--since", "2026-01-06"], 1);
    assert_eq!(figures(&probes[0]), [0, 30, 30, 0, 0]);
    // A recorded run leaves behind what it ran, as a hub does.
    let own = hub.run(&["plan", "--data", "data2", "--since", "2026-01-06"]);
    assert_eq!(read(&own, 1).0, probes);
    let failures = json!({"old": {"errors": 0, "limits": 10}, "new": {"errors": 0, "limits": 0}});
    assert_eq!((&probes[0]["failures"], &summary["from"]), (&failures, &json!("topic:events")));
    assert_eq!((&probes[0]["off_old"]["recorded"], &probes[0]["off_new"]), (&json!(true), &Value::Null));
    let (at, events) =
        (probes[0]["off_old"]["event"].as_str().unwrap().to_owned(), hub.ok(&["cat", "events", "--data", "data2"]));
    let tenth: Value =
        serde_json::from_str(events.lines().filter(|l| !l.contains("\"filter_")).nth(9).unwrap()).unwrap();
    assert_eq!(tenth["id"], at);
    // A window in which nobody says so, because it was so before.
    let (probes, _) = plan(&["--since", "2026-01-06T09:00:12Z"], 1);
    assert_eq!((figures(&probes[0]), &probes[0]["off_old"]["event"]), ([0, 30, 30, 0, 0], &json!(at)));

    // A new text that goes on exceeding its limit ends as it would in the hub.
    std::fs::write(&file, text.replace("filter = '''if", "filter = '''# not mended\nif")).unwrap();
    let (probes, _) = plan(&["--since", "2026-01-06"], 0);
    assert_eq!((figures(&probes[0]), &probes[0]["off_new"]["recorded"]), ([0, 0, 0, 0, 0], &json!(false)));
    // So does a file of events without a hub, and one that was recorded with its words.
    std::fs::write(hub.path("events.ndjson"), events).unwrap();
    let (probes, _) = read(&hub.run(&["plan", "base", "--from", "events.ndjson"]), 0);
    assert_eq!(probes[0]["off_old"]["recorded"], true);
    std::fs::write(hub.path("events.ndjson"), hub.ok(&["replay", "--events", "--data", "data2"])).unwrap();
    let (probes, _) = read(&hub.run(&["plan", "base", "--from", "events.ndjson"]), 0);
    assert_eq!(probes[0]["off_old"]["recorded"], false);

    // Untouched, it is still said; and where another probe changed, the shared ones run once and are honoured as well.
    std::fs::write(&file, format!("{text}\n[probe.other]\nfilter = 'false'\n")).unwrap();
    let (probes, summary) = plan(&["--since", "2026-01-06"], 0);
    assert_eq!((probes.len(), &summary["matches"]["of_same_probes"]), (1, &json!(0)));
    assert_eq!(summary["off"], json!([{"probe": "spin", "event": at, "recorded": true}]));
}

#[test]
fn what_runs_is_the_old_one() {
    let mut hub = Hub::new("\n[probe.apps]\nfilter = '.payload.columns.n == \"1\"'\n");
    let (ca, secret) = (hub.ca(), hub.secret());
    let none = hub.run(&["plan"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&none.stderr)
            .contains("so there is no old configuration. Name one: `zentral plan FOLDER`")
    );
    hub.start();
    let mut agent = Agent::new(&ca, hub.port, &secret, "PLAN1");
    wait_for("the hub to answer", Duration::from_secs(30), || hub.log(), || agent.enrol().is_ok());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let lines: Vec<Value> = (0..10)
        .map(|n| json!({"name": "x", "hostIdentifier": "PLAN1", "unixTime": now, "columns": {"n": n.to_string()}, "action": "added"}))
        .collect();
    assert!(agent.log(&lines).unwrap());
    let stored = || hub.ok(&["cat", "events"]).lines().filter(|l| l.contains("\"osquery_result\"")).count() == 10;
    wait_for("the events", Duration::from_secs(30), || hub.log(), stored);
    read(&hub.run(&["plan"]), 0);
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());

    let file = hub.path("pipeline.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("== \"1\"'", "| IN(\"1\", \"2\", \"3\")'")).unwrap();
    let (probes, summary) = read(&hub.run(&["plan"]), 1);
    assert_eq!((figures(&probes[0]), probes.len()), ([1, 3, 2, 0, 0], 1));
    assert!(summary["old"].as_str().unwrap().contains("/data/config/"), "{summary}");
    // From elsewhere, where there are neither keys nor a data folder.
    std::fs::create_dir(hub.path("copy")).unwrap();
    std::os::unix::fs::symlink(hub.path("probes"), hub.path("copy/probes")).unwrap();
    std::fs::copy(&file, hub.path("copy/pipeline.toml")).unwrap();
    let data = hub.path("data");
    let (probes, _) = read(&hub.run(&["-c", "copy/pipeline.toml", "--data", data.to_str().unwrap(), "plan"]), 1);
    assert_eq!(figures(&probes[0]), [1, 3, 2, 0, 0]);
    // By the name of the copy that ran.
    let copy = std::fs::read_link(hub.path("data/config/current")).unwrap();
    let copy = hub.path("data/config").join(copy);
    read(&hub.run(&["plan", copy.to_str().unwrap()]), 1);
    let out = hub.run(&["plan", "--since", "1h", "--until", "30m"]);
    assert_eq!(read(&out, 0).1["events"], 0);
}

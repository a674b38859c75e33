//! `zentral check`: what it prints, and what it finds beyond the tables themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::process::Command;

/// Exit code and records of `check`, and what it says for people.
fn run(dir: &std::path::Path, words: &[&str]) -> (Option<i32>, Vec<serde_json::Value>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
    command.current_dir(dir).arg("check").args(words).env_remove("ZENTRAL_CONFIG").env_remove("ZENTRAL_DATA");
    let out = command.output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let records = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (out.status.code(), records, String::from_utf8(out.stderr).unwrap())
}

/// What `check` finds wrong, one record each: (line, column, key, text); and what it says for people.
fn check(dir: &std::path::Path) -> (Vec<(u64, u64, String, String)>, String) {
    let (code, records, said) = run(dir, &[]);
    assert_eq!(code, Some(i32::from(!records.is_empty())), "{records:?}");
    let record = |r: &serde_json::Value| {
        assert_eq!(r["level"], "error");
        let word = |key: &str| r[key].as_str().unwrap().to_owned();
        (r["line"].as_u64().unwrap(), r["column"].as_u64().unwrap(), word("key"), word("text"))
    };
    (records.iter().map(record).collect(), said)
}

fn hub(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pipeline.toml"), text).unwrap();
    dir
}

#[test]
fn each_mistake_of_a_filter_comes_once_and_where_it_stands() {
    let dir = hub(r#"version = 1
[stage.normalize]
from = "topic:outcomes"
to = "topic:normalized"
[stage.one]
run = "filter"
from = "topic:normalized"
to = "topic:a"
[stage.two]
run = "filter"
from = "topic:normalized"
to = "topic:b"
matches = "topic:matches"
[stage.act]
from = "topic:matches"
to = "topic:outcomes"
[probe.p]
filter = '.a | nosuch'
[probe.q]
filter = '''
.a
| nosuch(.b)
'''
by = ".x | other"
[probe.r]
filter = "r.jq"
"#);
    std::fs::write(dir.path().join("r.jq"), "# r\n.a | missing\n").unwrap();
    let (found, drawn) = check(dir.path());
    let places: Vec<(u64, u64, &str)> = found.iter().map(|(l, c, k, _)| (*l, *c, k.as_str())).collect();
    let want = [(18, 16, "probe.p.filter"), (22, 3, "probe.q.filter"), (24, 12, "probe.q.by"), (2, 6, "")];
    assert!(want.iter().all(|w| places.contains(w)) && places.len() == want.len(), "{found:?}\n{drawn}");
    assert!(drawn.contains("   18 | filter = '.a | nosuch'\n      |                ^"), "{drawn}");
}

#[test]
fn certificates_and_index_folders_are_looked_at() {
    let dir = hub(r#"version = 1
[stage.receive]
listen = "127.0.0.1:0"
tls = { cert = "tls/hub.pem", key = "tls/hub.key" }
to = "topic:raw"
[stage.one]
run = "store"
from = "topic:raw"
search = true
[stage.two]
run = "store"
from = "topic:raw"
path = "./data/index"
"#);
    let (found, _) = check(dir.path());
    let (line, column, key, text) = &found[0];
    assert_eq!((*line, *column, key.as_str(), found.len()), (13, 8, "stage.two.path", 1), "{found:?}");
    assert!(text.contains("store `one` keeps its index in the same folder"), "{text}");

    let file = dir.path().join("pipeline.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("./data/index", "other")).unwrap();
    let (found, drawn) = check(dir.path());
    let (line, column, key, text) = &found[0];
    assert_eq!((*line, *column, key.as_str(), found.len()), (4, 37, "stage.receive.tls", 1), "{found:?}");
    assert!(text.contains("tls/hub.key: ") && drawn.contains("cert = ***, key = \"tls/hub.key\""), "{text}\n{drawn}");
}

#[test]
fn a_filter_that_the_index_does_not_know_is_a_note() {
    let dir = hub(r#"version = 1
[probe.quick]
filter = '.type == "osquery_result" and .payload.name == "usb"'
[probe.both]
filter = '.type == "osquery_result" and (.payload.columns.path | ltrimstr("/") == "x")'
[probe.calculated]
filter = '''
# counts
.payload.counter + 1 > 3
'''
[probe.either]
filter = '(.n | sqrt) > 2 or (.m + 1) > 2'
[probe.by-query]
query = { sql = "select 1" }
filter = '(.n | sqrt) > 2'
[probe.own]
filter = "own.jq"
[probe.hostile]
filter = 'def f: f; f'
"#);
    std::fs::write(dir.path().join("own.jq"), "# own\n.payload\n| tojson | contains(\"x\")\n").unwrap();
    std::fs::write(dir.path().join("own.ndjson"), "{\"match\": true, \"event\": {\"payload\": \"x\"}}\n").unwrap();
    let (code, records, said) = run(dir.path(), &[]);
    assert_eq!(code, Some(0), "a slow filter is not wrong: {said}");
    let places: Vec<String> = records
        .iter()
        .map(|r| format!("{} {}:{} {}", r["level"].as_str().unwrap(), r["line"], r["column"], r["key"]))
        .collect();
    let want = [
        "note 9:1 \"probe.calculated.filter\"",
        "note 12:17 \"probe.either.filter\"",
        "note 12:31 \"probe.either.filter\"",
        "note 19:18 \"probe.hostile.filter\"",
        "note 3:3 \"\"",
    ];
    assert_eq!(places, want, "{said}");
    let text = |i: usize| records[i]["text"].as_str().unwrap();
    assert!(text(0).starts_with("jq runs this filter at every event, about ") && text(0).contains("s each ("));
    assert!(text(0).contains(" the other 3 take together): `+` makes a value that is not followed; "), "{}", text(0));
    assert!(text(2).starts_with("in the way of the same filter: `+` makes"), "{}", text(2));
    assert!(text(3).contains("and it exceeds its limit of "), "{}", text(3));
    assert!(text(4).contains(": `tojson` makes a value"), "{}", text(4));
    assert!(said.contains("own.jq:3:3: note: jq runs this filter") && said.contains("3 | | tojson"), "{said}");
    assert!(
        said.ends_with("7 probes: 1 decided by the index alone, 2 by the index and jq, 4 by jq at every event\n"),
        "{said}"
    );

    let (code, records, said) = run(dir.path(), &["--json", "--strict"]);
    assert_eq!((code, said.as_str()), (Some(1), ""));
    let summary = records.last().unwrap();
    assert_eq!((&summary["level"], &summary["probes"], &summary["jq"]), (&"summary".into(), &7.into(), &4.into()));
    assert_eq!((&summary["index"], &summary["index_and_jq"]), (&1.into(), &2.into()));
}

#[test]
fn refused_lines_have_no_time_to_ask_for() {
    let dir = hub("version = 1\n");
    let refused = dir.path().join("data/refused");
    std::fs::create_dir_all(&refused).unwrap();
    std::fs::write(refused.join("act.ndjson.1"), "{\"line\":\"one\"}\n").unwrap();
    std::fs::write(refused.join("act.ndjson"), "{\"line\":\"two\"}\n{\"base64\":\"dGhyZWU=\"}\ntorn").unwrap();
    let replay = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
        command.current_dir(dir.path()).args(["replay", "--refused", "act"]).args(args);
        let out = command.env_remove("ZENTRAL_CONFIG").env_remove("ZENTRAL_DATA").output().unwrap();
        (out.status.code(), String::from_utf8(out.stdout).unwrap())
    };
    assert_eq!(replay(&[]), (Some(0), "one\ntwo\nthree\n".to_owned()));
    assert_eq!(replay(&["--since", "1h"]), (Some(2), String::new()));
}

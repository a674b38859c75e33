//! `zentral check`: what it prints, and what it finds beyond the tables themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::process::Command;

/// What `check` finds, one record each: (line, column, key, text); and what it says for people.
fn check(dir: &std::path::Path) -> (Vec<(u64, u64, String, String)>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
    command.current_dir(dir).arg("check").env_remove("ZENTRAL_CONFIG").env_remove("ZENTRAL_DATA");
    let out = command.output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(i32::from(!text.is_empty())), "{text}");
    let record = |line: &str| {
        let r: serde_json::Value = serde_json::from_str(line).unwrap();
        let word = |key: &str| r[key].as_str().unwrap().to_owned();
        (r["line"].as_u64().unwrap(), r["column"].as_u64().unwrap(), word("key"), word("text"))
    };
    (text.lines().map(record).collect(), String::from_utf8(out.stderr).unwrap())
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

//! `zentral check`: what it prints, and what it finds beyond the tables themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::io::{Read as _, Write as _};
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
    let want =
        [(18, 16, "probe.p.filter"), (22, 3, "probe.q.filter"), (24, 12, "probe.q.by"), (2, 6, "probe.r.filter")];
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
        "note 3:3 \"probe.own.filter\"",
    ];
    assert_eq!(places, want, "{said}");
    let text = |i: usize| records[i]["text"].as_str().unwrap();
    assert!(text(0).starts_with("jq runs this filter at every event, about ") && text(0).contains("s each ("));
    assert!(text(0).contains(" the other 3 take together): `+` makes a value that is not followed; "), "{}", text(0));
    assert!(text(2).starts_with("in the way of the same filter: `+` makes"), "{}", text(2));
    assert!(text(3).contains("and it exceeds its limit of "), "{}", text(3));
    assert!(text(4).contains(": `tojson` makes a value"), "{}", text(4));
    assert!(
        said.contains("own.jq:3:3: note: `probe.own.filter`: jq runs this filter") && said.contains("3 | | tojson"),
        "{said}"
    );
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
fn what_is_most_likely_not_meant_is_a_warning() {
    let dir = hub(r#"version = 1
[probe.assigned]
filter = '.payload.action = "added" and .type == "x"'
[probe.always]
filter = '''
.payload.columns
| {title: "\(.path) on \(.host)"}
'''
[probe.of-query]
query = { sql = "select path from suid_bin" }
filter = '{title: .payload.columns.path}'
[probe.snapshot]
query = { sql = "select path from suid_bin", snapshot = true }
filter = '{title: "one row of \(machine_name)"}'
[probe.wild]
filter = '.type == "x" and (.path | under("/Users/%/Downloads"))'
[probe.meant]
filter = 'select(.type == "x" and (.path | under("/Users/*/Downloads"))) | {title: "x"}'
"#);
    let (code, records, said) = run(dir.path(), &[]);
    assert_eq!(code, Some(0), "{said}");
    let warnings = records.iter().filter(|r| r["level"] == "warning");
    let places: Vec<String> = warnings.map(|r| format!("{}:{} {}", r["line"], r["column"], r["key"])).collect();
    let want = [
        "3:27 \"probe.assigned.filter\"",
        "7:3 \"probe.always.filter\"",
        "11:11 \"probe.of-query.filter\"",
        "16:44 \"probe.wild.filter\"",
    ];
    assert_eq!(places, want, "{said}");
    for text in [
        ":7:3: warning: `probe.always.filter`: nothing here says no: this is always true, or fails, so every event",
        "`=` changes a value and is always true; did you mean `==`?",
        "so rows match that went away too; put `select(is_new)` before it, or `removed = false` into the query",
        "   11 | filter = '{title: .payload.columns.path}'\n      |           ^",
        "`%` is a plain character here; `*` stands for any characters of one name",
        "\nok: 6 probes: ",
    ] {
        assert!(said.contains(text), "`{text}` is not in:\n{said}");
    }
    let (code, _, said) = run(dir.path(), &["--strict"]);
    assert!(code == Some(1) && !said.contains("ok: "), "{said}");
    let (code, records, said) = run(hub("version = 1\n").path(), &[]);
    assert_eq!((code, records.len(), said.as_str()), (Some(0), 0, "ok: no probes\n"));
}

#[test]
fn what_a_probe_says_in_vain_is_a_warning() {
    let dir = hub(r#"version = 1
[probe.dropped]
filter = 'select(is_new) | column("path") | startswith("/tmp") | {title: "in tmp"}'
[probe.number]
filter = '.type == "osquery_result" and column("port") > 1000'
[probe.column]
query = { sql = "select port, path from listening_ports" }
filter = 'is_new and (column("pth") | under("/tmp"))'
[probe.removed]
query = { sql = "select path from suid_bin", removed = false }
filter = 'select(is_removed) | {titel: "x"}'
[probe.nobody]
scope = { platforms = ["macos"], not_platforms = ["macos", "linux"], tags = [] }
filter = 'is_new'
first_run = true
[probe.list]
filter = """
import "ok" as $ok;
column("vendor_id") | IN($ok[])
"""
[probe.shared]
query = { sql = "select path from suid_bin" }
filter = "shared.jq"
[probe.shared-too]
query = { sql = "select directory from suid_bin" }
filter = "shared.jq"
"#);
    std::fs::write(dir.path().join("shared.jq"), "# s\nis_new and column(\"directory\") == column(\"path\")\n")
        .unwrap();
    std::fs::create_dir(dir.path().join("filters")).unwrap();
    std::fs::write(dir.path().join("filters/ok.json"), "[\"05ac\", \"046d\"]\n").unwrap();
    let (code, records, said) = run(dir.path(), &[]);
    assert_eq!(code, Some(0), "{said}");
    let warnings = records.iter().filter(|r| r["level"] == "warning");
    let places: Vec<String> = warnings.map(|r| format!("{}:{} {}", r["line"], r["column"], r["key"])).collect();
    let want = [
        "3:45 \"probe.dropped.filter\"",
        "5:41 \"probe.number.filter\"",
        "8:31 \"probe.column.filter\"",
        "11:18 \"probe.removed.filter\"",
        "11:33 \"probe.removed.filter\"",
        "13:23 \"probe.nobody.scope.platforms\"",
        "13:77 \"probe.nobody.scope.tags\"",
        "15:13 \"probe.nobody.first_run\"",
        "19:26 \"probe.list.filter\"",
    ];
    assert_eq!(places, want, "{said}");
    for text in [
        "`probe.nobody.first_run`: says nothing without a query",
        "`probe.nobody.scope.platforms`: no machine is in scope: `not_platforms` leaves out all that `platforms` names",
        "`probe.nobody.scope.tags`: an empty list leaves nobody out",
        "this condition decides nothing",
        "the query gives no column `pth`; did you mean `path`?",
        "the query has `removed = false`, so this never matches",
        "`ok.json` holds one array, so nothing is ever among it; one value a line is wanted",
        "people read `title` and `body`; did you mean `title`?",
        "which is greater than any number; write `tonumber > 1000`",
    ] {
        assert!(said.contains(text), "`{text}` is not in:\n{said}");
    }
    // Agents that log numbers have columns that are numbers.
    let numerics = hub("version = 1\n[source.osquery]\noptions = { logger_numerics = true }\n[probe.number]\n\
                        filter = 'is_new and column(\"port\") > 1000'\n");
    assert_eq!(run(numerics.path(), &["--strict"]).0, Some(0));
}

#[test]
fn probes_that_ship_and_those_of_the_guide_are_beyond_doubt() {
    for folder in ["filters", "tests/data/guide/filters"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut text = "version = 1\ninclude = [\"filters/*.toml\"]\n".to_owned();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let alone = path.with_extension("ndjson").exists() && !path.with_extension("toml").exists();
            if alone && path.extension().is_some_and(|e| e == "jq") {
                text.push_str(&format!("[probe.{name}]\nfilter = \"filters/{name}.jq\"\n"));
            }
        }
        let dir = hub(&text);
        std::os::unix::fs::symlink(&folder, dir.path().join("filters")).unwrap();
        let (code, records, said) = run(dir.path(), &[]);
        let warnings: Vec<_> = records.iter().filter(|r| r["level"] == "warning").collect();
        assert!(code == Some(0) && warnings.is_empty() && !said.contains("ok: no probes"), "{said}");
    }
}

#[test]
fn sql_and_arguments_that_cannot_be_are_found_where_they_stand() {
    let dir = hub(r#"version = 1
[probe.form]
query = { sql = "select vendor form usb_devices where x = 1", interval = "30s" }
filter = ".payload.columns.vendor"
[probe.open]
filter = ".payload.columns.vendor"
[probe.open.query]
sql = """
select path
from users where (uid = 0
"""
[probe.two]
query.sql = "select 1; select 2"
filter = ".payload.columns.vendor"
[probe.agents-own]
query.sql = "select no_such(x) from any_table where y regexp '^a'"
filter = '.payload.columns.ip | in_cidr("10.0.0.0/8", "10.0.0.0/33")'
[probe.old]
filter = 'column("version") | version_lt("latest")'
"#);
    let (found, said) = check(dir.path());
    let mut places: Vec<(u64, u64, &str)> = found.iter().map(|(l, c, k, _)| (*l, *c, k.as_str())).collect();
    places.sort_unstable();
    let want = [
        (3, 37, "probe.form.query.sql"),
        (10, 25, "probe.open.query.sql"),
        (13, 24, "probe.two.query.sql"),
        (17, 56, "probe.agents-own.filter"),
        (19, 43, "probe.old.filter"),
    ];
    assert_eq!(places, want, "{said}");
    for text in [
        "the SQL is wrong: near \"usb_devices\": syntax error",
        "the SQL is wrong: incomplete input",
        "the SQL is wrong: a second statement begins here; a query is one",
        "\"10.0.0.0/33\" is no network such as \"10.0.0.0/8\"",
        "\"latest\" is no version: it has no number",
    ] {
        assert!(said.contains(text), "`{text}` is not in:\n{said}");
    }
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

#[test]
fn a_secret_for_brokers_that_is_not_there_is_a_finding_and_stops_no_filter() {
    let dir = hub(r#"version = 1
[kafka]
brokers = ["127.0.0.1:9"]
sasl = { mechanism = "PLAIN", user = "zentral", password = { env = "ZENTRAL_NOT_THERE" } }
[probe.p]
filter = '.type == "x"'
"#);
    let (found, _) = check(dir.path());
    assert!(
        found.len() == 1 && found[0].3 == "kafka: the environment variable ZENTRAL_NOT_THERE is not set",
        "{found:?}"
    );
    let zentral = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
        command.args(words).current_dir(dir.path()).env_remove("ZENTRAL_CONFIG").env_remove("ZENTRAL_DATA");
        command.stdin(std::process::Stdio::null()).output().unwrap()
    };
    // There is no line, so none matches: that is what it says of it.
    let out = zentral(&["filter", "-e", "true"]);
    assert!(out.status.code() == Some(1) && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    let out = zentral(&["filter", "-e", "true", "--from", "kafka:a", "--once"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(2) && said.contains("ZENTRAL_NOT_THERE is not set"), "{said}");
}

/// A cluster that answers every request alike; its address.
fn cluster(status: &'static str, body: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut got, mut part) = (Vec::new(), [0; 4096]);
            // The last of a search for everything, which has no other such end.
            while !got.ends_with(b"}") {
                let Some(n) = stream.read(&mut part).ok().filter(|n| *n > 0) else { break };
                got.extend_from_slice(&part[..n]);
            }
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n");
            let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes());
        }
    });
    address
}

#[test]
fn online_the_clusters_behind_stores_are_asked() {
    let good =
        cluster("200 OK", r#"{"timed_out":false,"_shards":{"failed":0},"hits":{"total":{"value":0},"hits":[]}}"#);
    let closed =
        r#"{"error":{"type":"security_exception","reason":"missing authentication credentials"},"status":401}"#;
    let closed = cluster("401 Unauthorized", closed);
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let store = |name: &str, kind: &str, at: &str| {
        format!("[stage.{name}]\nrun = \"store\"\nkind = \"{kind}\"\nfrom = \"topic:told\"\n{at}\n")
    };
    let hosts = |at: &str| format!("hosts = [\"{at}\"]");
    let dir = hub(&[
        "version = 1\n[stage.told]\nrun = [\"true\"]\nto = \"topic:told\"\n".to_owned(),
        store("index", "embedded", ""),
        store("good", "elasticsearch", &format!("{}\nsearch = true", hosts(&good))),
        store("closed", "opensearch", &hosts(&closed)),
        store("nobody", "elasticsearch", &hosts(&nobody)),
        store("sent", "http", &format!("url = \"{nobody}/in\"")),
    ]
    .concat());
    let (code, found, _) = run(dir.path(), &[]);
    assert_eq!(code, Some(0), "nobody is asked: {found:?}");
    let (code, found, said) = run(dir.path(), &["--online"]);
    let found: Vec<String> = found.iter().map(|r| format!("{} {}", r["key"], r["text"])).collect();
    assert_eq!((code, found.len()), (Some(1), 2), "{found:?}");
    assert!(found[0].contains("closed") && found[0].contains("missing authentication credentials"), "{found:?}");
    assert!(found[1].contains("nobody") && found[1].contains("refused"), "{found:?}");
    for line in ["store good: the cluster answers and lets us in", "store sent: there is nothing to try"] {
        assert!(said.contains(line), "{said}");
    }
}

#[test]
fn online_brokers_that_do_not_answer_are_waited_for_once() {
    if cfg!(not(feature = "kafka")) {
        return;
    }
    let dir = hub(r#"version = 1
[kafka]
brokers = ["127.0.0.1:1"]
[stage.told]
run = ["true"]
to = "kafka:told"
[stage.one]
run = "filter"
from = "kafka:told"
to = "kafka:one"
"#);
    let (code, found, _) = run(dir.path(), &["--online"]);
    let found: Vec<String> = found.iter().map(|r| format!("{} {}", r["key"], r["text"])).collect();
    assert!(code == Some(1) && found.len() == 1 && found[0].contains("no broker answers"), "{found:?}");
}

#[test]
fn a_secret_that_cannot_be_read_is_found_where_it_stands() {
    let dir = hub(r#"version = 1
[action.slack-secops]
kind = "slack"
url = { file = "slack.url" }
[action.ticket]
kind = "http"
url = "https://tickets.example.com/hunter2"
headers = { x-plain = "hunter2", x-key = { env = "ZENTRAL_TEST_NOT_SET" } }
[action.mail]
kind = "email"
from = "hub@example.com"
to = ["ada@example.com"]
smtp = { url = "smtps://mail.example.com", user = "hub", password = { file = "mail.password" } }
[contact.ada]
push = { file = "push.key" }
[action.push]
kind = "pushover"
token = "azGDORePK8gMaC0QOYAMyEEuzJnyUi"
to = "ada"
"#);
    let (found, drawn) = check(dir.path());
    let places: Vec<(u64, u64, &str)> = found.iter().map(|(l, c, k, _)| (*l, *c, k.as_str())).collect();
    let want = [
        (4, 7, "action.slack-secops.url"),
        (8, 42, "action.ticket.headers.x-key"),
        (13, 69, "action.mail.smtp.password"),
        (17, 8, "action.push.kind"),
    ];
    assert!(want.iter().all(|w| places.contains(w)) && places.len() == want.len(), "{found:?}\n{drawn}");
    let said: Vec<&str> = found.iter().map(|(_, _, _, text)| text.as_str()).collect();
    assert!(
        said.iter().any(|text| text.starts_with("cannot read ") && text.contains("slack.url: No such file")),
        "{said:?}"
    );
    assert!(drawn.contains("    4 | url = { file = *** }\n      |       ^^^"), "{drawn}");
    assert!(!drawn.contains("hunter2"), "{drawn}");
}

/// The notes of `check`, and its exit code with `--strict`.
fn notes(text: &str) -> (Vec<String>, Option<i32>) {
    let dir = hub(text);
    let (code, records, said) = run(dir.path(), &[]);
    assert_eq!(code, Some(0), "{said}");
    let notes = records.iter().filter(|r| r["level"] == "note").map(|r| r["text"].as_str().unwrap().to_owned());
    (notes.collect(), run(dir.path(), &["--strict"]).0)
}

#[test]
fn probes_that_tell_nobody_are_one_note() {
    let stages = "version = 1\n[action.file]\nkind = \"file\"\npath = \"out\"\n[stage.normalize]\nfrom = \"registry:changes\"\n\
        to = \"topic:normalized\"\n[stage.filter]\nfrom = \"topic:normalized\"\nto = \"topic:events\"\nmatches = \"topic:matches\"\n";
    let act = "[stage.act]\nfrom = \"topic:matches\"\n";
    let probe = |name: &str, more: &str| format!("[probe.{name}]\nfilter = '.type == \"t\"'\n{more}\n");
    let query = "query = { sql = \"select 1 as a from time\", interval = \"1h\", ";
    // What is meant so: said, in the shadow, or for something else than telling.
    let meant = [
        probe("said", "act = []"),
        probe("told", "act = [\"file\"]"),
        probe("shadow", "shadow = true"),
        probe("mark", "severity = \"info\""),
        probe("incident", "until = '.type == \"u\"'"),
        probe("tag", &format!("{query}snapshot = true, tag = \"old\" }}")),
        "[probe.only-asked]\nfilter = 'false'\n".to_owned(),
    ]
    .concat();
    assert_eq!(notes(&format!("{stages}{act}{meant}")), (Vec::new(), Some(0)));

    let one = probe("usb", "severity = \"major\"");
    let (said, strict) = notes(&format!("{stages}{act}{meant}{one}"));
    assert!(said.len() == 1 && said[0].starts_with("probe usb tells nobody; name actions in `act`"), "{said:?}");
    assert_eq!(strict, Some(1));
    let many: String = (1..=7).map(|n| probe(&format!("p{n}"), "")).collect();
    let (said, _) = notes(&format!("{stages}{act}{many}"));
    assert!(
        said.len() == 1 && said[0].starts_with("7 probes tell nobody: p1, p2, p3, p4, p5 and 2 more; "),
        "{said:?}"
    );
    // Told after all, or nobody acts here.
    let whole = format!("{stages}{act}[probes]\nact = [\"file\"]\n{one}{many}");
    assert_eq!(notes(&whole), (Vec::new(), Some(0)));
    assert_eq!(notes(&format!("{stages}{one}{many}")), (Vec::new(), Some(0)));
}

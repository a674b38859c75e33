//! Between pipes: what `normalize | filter` chooses is what jq chooses, twice the same bytes, and broken lines harm
//! nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const LOGS: [(&str, &str); 7] = [
    ("filebeat/darwin_homebrew.log", "pack_it-compliance_homebrew_packages"),
    ("filebeat/sample_head.log", "pack_it-compliance_kernel_modules"),
    ("filebeat/darwin_head.log", "pack_it-compliance_firefox_addons"),
    ("filebeat/darwin_tail.log", "pack_it-compliance_chrome_extensions"),
    ("osquery-tests/kafka_producer.ndjson", "pack_sample_running_processes"),
    ("streamalert/osquery.ndjson", "pack_incident-response_last"),
    ("authored-osquery/edge_results.ndjson", "apps"),
];

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/osquery").join(name)
}

/// A program with this input; its whole output.
fn feed(program: &str, words: &[&str], input: &[u8]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(program)
        .args(words)
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap();
    out
}

fn zentral(words: &[&str], input: &[u8]) -> Output {
    feed(env!("CARGO_BIN_EXE_zentral"), words, input)
}

fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|b| **b == b'\n').count()
}

/// What jq counts, counted here: not every machine has it. A batch record counts by its rows.
fn rows(log: &[u8], name: &str) -> usize {
    let records = String::from_utf8_lossy(log);
    let records = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let rows = |record: Value| match &record["diffResults"] {
        Value::Null => 1,
        batch => ["added", "removed"].iter().filter_map(|key| batch[key].as_array()).map(Vec::len).sum(),
    };
    records.filter(|record| record["name"] == name).map(rows).sum()
}

#[test]
fn counts_what_jq_counts_and_twice_the_same_bytes() {
    let has_jq = Command::new("jq").arg("--version").output().is_ok();
    if !has_jq {
        eprintln!("there is no jq here: only this test's own count is compared");
    }
    for (file, name) in LOGS {
        let log = std::fs::read(data(file)).unwrap();
        let want = rows(&log, name);
        assert!(want > 1, "{file} tests nothing");
        if has_jq {
            // A batch record counts by its rows.
            let rows =
                "select(.name == $n) | if .diffResults then .diffResults | (.added, .removed) | arrays[] else 1 end";
            let jq = feed("jq", &["-c", "--arg", "n", name, rows], &log);
            assert!(jq.status.success());
            assert_eq!(lines(&jq.stdout), want, "{file}: jq counts otherwise");
        }
        let events = zentral(&["normalize", "osquery"], &log);
        assert_eq!(events.status.code(), Some(0), "{file}: {}", String::from_utf8_lossy(&events.stderr));
        let expr = format!(".payload.name == \"{name}\"");
        let found = zentral(&["filter", "-e", &expr], &events.stdout);
        assert_eq!((lines(&found.stdout), found.status.code()), (want, Some(0)), "{file}");
        assert_eq!(zentral(&["normalize", "osquery"], &log).stdout, events.stdout, "{file}: two runs differ");
        let count = zentral(&["filter", "--count", "-e", &expr], &events.stdout);
        assert_eq!(String::from_utf8_lossy(&count.stdout).trim(), want.to_string());
        let others = zentral(&["filter", "-v", "-e", &expr], &events.stdout);
        assert_eq!(lines(&others.stdout) + lines(&found.stdout), lines(&events.stdout), "{file}");
    }
}

#[test]
fn a_broken_line_is_reported_once_and_everything_else_is_intact() {
    for (file, _) in LOGS {
        let log = std::fs::read_to_string(data(file)).unwrap();
        let whole = zentral(&["normalize", "osquery"], log.as_bytes());
        let middle = log.lines().count() / 2;
        let mut broken: Vec<&str> = log.lines().collect();
        broken.insert(middle, "{\"name\":\"cut off in the mid");
        let out = zentral(&["normalize", "osquery"], (broken.join("\n") + "\n").as_bytes());
        assert_eq!(out.status.code(), Some(3), "{file}");
        assert_eq!(out.stdout, whole.stdout, "{file}");
        let said = String::from_utf8(out.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(&format!("line {}", middle + 1)), "{said}");
    }
}

#[test]
fn a_reader_that_leaves_ends_every_stage_quietly() {
    let log = std::fs::read(data("filebeat/darwin_homebrew.log")).unwrap().repeat(400);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("log"), log).unwrap();
    let z = env!("CARGO_BIN_EXE_zentral");
    let line = format!(
        "'{z}' normalize osquery < log | '{z}' filter -e '.payload.name' | head -1; echo \"${{PIPESTATUS[*]}}\""
    );
    let out = Command::new("bash").args(["-c", &line]).current_dir(dir.path()).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let (first, codes) = text.trim_end().split_once('\n').unwrap();
    assert!(first.starts_with("{\"v\":1,"), "{first}");
    assert_eq!(codes, "0 0 0");
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
}

#[test]
fn filter_is_grep() {
    let input = b"{\"a\":1, \"b\" : \"x\"}\n{\"a\":2}\n[]\n{\"a\":{\"b\":[]}}\n";
    let check = |words: &[&str], code: i32, want: &str| {
        let out = zentral(&[&["filter"], words].concat(), input);
        assert_eq!(String::from_utf8_lossy(&out.stdout), want, "{words:?}");
        assert_eq!(out.status.code(), Some(code), "{words:?} {}", String::from_utf8_lossy(&out.stderr));
    };
    check(&["-e", ".a == 1"], 3, "{\"a\":1, \"b\" : \"x\"}\n");
    check(&["-e", ".a == 1", "-e", ".a == 2"], 3, "{\"a\":1, \"b\" : \"x\"}\n{\"a\":2}\n");
    check(&["-m", "1", "-e", ".a"], 0, "{\"a\":1, \"b\" : \"x\"}\n");
    check(&["-e", ".a.b.c | error"], 3, "");
    check(&["-e", "("], 2, "");
    check(&["-e", "env"], 2, "");
    check(&["nosuch"], 2, "");
    check(&["--count", "-e", ".a == 1"], 3, "1\n");
    check(&["--count", "-m", "1", "-e", ".a"], 0, "1\n");
    let refused = zentral(&["filter", "-m", "1", "-e", ".a"], b"[]\n{\"a\":1}\n{\"a\":2}\n");
    assert_eq!((refused.stdout.as_slice(), refused.status.code()), (&b"{\"a\":1}\n"[..], Some(3)));
    let none = zentral(&["filter", "-e", ".a == 3"], b"{\"a\":1}\n");
    assert_eq!((none.stdout.len(), none.status.code()), (0, Some(1)));
}

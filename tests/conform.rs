//! The black-box suite against the real programs, over TLS; and against a server that understands nothing.
//!
//! Cases that are not met stand in tests/data/cases/open.tsv with the reason. One that is met all of a sudden must leave
//! the list, and one that is not on it must be met.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const OPEN: &str = "tests/data/cases/open.tsv";
/// The cases that are given: 195 direct ones and 44 that are translated.
const GIVEN: (usize, usize) = (195, 44);
/// Own cases, beside the given ones.
const OWN: &str = "own-";
/// So many of them there must be.
const OWN_LEAST: usize = 100;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(root().join("tests/data/cases")).unwrap();
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "json"));
    files.sort();
    files
}

/// Runs the program, from a folder of its own: no small binary of an older build lies beside it.
fn conform(words: &[&str], files: &[PathBuf]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("zentral");
    let built = env!("CARGO_BIN_EXE_zentral");
    std::fs::hard_link(built, &own).or_else(|_| std::fs::copy(built, &own).map(|_| ())).unwrap();
    Command::new(own).arg("conform").args(words).args(files).current_dir(root()).output().unwrap()
}

/// The verdicts by the names of the cases.
fn verdicts(out: &Output) -> BTreeMap<String, Value> {
    let text = String::from_utf8(out.stdout.clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (line["name"].as_str().unwrap().to_owned(), line)).collect()
}

#[test]
fn every_case_is_met_or_named() {
    let text = std::fs::read_to_string(root().join(OPEN)).unwrap();
    let open: BTreeMap<&str, &str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once('\t').unwrap_or_else(|| panic!("{OPEN}: no reason: {line}")))
        .collect();
    let out = conform(&["--json"], &files());
    assert!(matches!(out.status.code(), Some(0 | 1)), "{out:?}");
    let verdicts = verdicts(&out);
    let mut wrong = Vec::new();
    for (name, verdict) in &verdicts {
        match (verdict["ok"].as_bool().unwrap(), open.get(name.as_str())) {
            (true, Some(why)) => wrong.push(format!("{name} is met: strike it from {OPEN} (`{why}`)")),
            (false, None) => wrong.push(format!("{name}: {}: {}", verdict["error"], verdict["got"])),
            _ => {}
        }
    }
    wrong.extend(open.keys().filter(|name| !verdicts.contains_key(**name)).map(|name| format!("{name} is no case")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let secret = String::from_utf8_lossy(&out.stdout).contains("zs1.");
    assert!(!secret, "an enrolment's secret is in the report");
}

#[test]
fn the_suite_is_whole() {
    let all: Vec<Value> = files()
        .iter()
        .flat_map(|f| serde_json::from_slice::<Vec<Value>>(&std::fs::read(f).unwrap()).unwrap())
        .collect();
    let area = |case: &Value| case["area"].as_str().unwrap().to_owned();
    let (own, given): (Vec<&Value>, Vec<&Value>) = all.iter().partition(|case| area(case).starts_with(OWN));
    let translated = given.iter().filter(|case| area(case).ends_with("-api")).count();
    assert_eq!((given.len() - translated, translated), GIVEN);
    assert!(own.len() >= OWN_LEAST, "{} own cases", own.len());
    let mut said = BTreeSet::new();
    for case in own {
        for key in ["proves", "source"] {
            assert!(case[key].as_str().is_some_and(|text| text.len() > 9), "{}: says no `{key}`", case["name"]);
        }
        let words = format!("{}: {}", area(case), case["proves"]);
        assert!(said.insert(words), "{}: another case proves the same", case["name"]);
    }
}

/// A server that takes everything for success, and whoever prepares it makes up every value.
#[test]
fn a_server_that_understands_nothing_fails_most() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while stream.read_line(&mut line).is_ok_and(|n| n > 2) {
                let lower = line.to_ascii_lowercase();
                length = lower.strip_prefix("content-length:").map_or(length, |l| l.trim().parse::<u64>().unwrap());
                line.clear();
            }
            let _ = std::io::copy(&mut stream.by_ref().take(length), &mut std::io::sink());
            let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
        }
    });
    let driver = r#"while read -r line; do case $line in '{"events"'*) echo '{"error":"there are no events"}' ;;
        *) echo "{\"values\":{$(printf %s "$line" | sed 's/.*"placeholders":\[\(.*\)\]}/\1/; s/"\([A-Z0-9_]*\)"/"\1":"made-up-\1"/g')}}" ;;
        esac; done"#;
    let out = conform(&["--json", "--url", &url, "--driver", driver], &files());
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let verdicts = verdicts(&out);
    let direct: Vec<&Value> = verdicts.values().filter(|v| v["translated"] == false).collect();
    let (met, unsaid): (Vec<&Value>, Vec<&Value>) = direct.iter().partition(|v| v["ok"] == true);
    assert!(met.len() * 4 < direct.len(), "{} of {} are met", met.len(), direct.len());
    assert!(met.len() > 20, "what `{{}}` is the answer to is met");
    let driven = |v: &&&Value| v["error"].as_str().unwrap().contains("nobody");
    assert_eq!(unsaid.iter().filter(driven).count(), 0, "the driver filled everything in");

    let nobody = conform(&["--url", &url, "--only", "osquery-log-result-std"], &files());
    let text = String::from_utf8(nobody.stdout).unwrap();
    assert!(
        text.contains("nobody prepares `osquery_enrolled_machine`") && text.ends_with("# 0 passed, 1 failed\n"),
        "{text}"
    );
}

#[test]
fn an_unknown_word_or_path_is_not_ok() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cases.json");
    std::fs::write(
        &path,
        r#"[{"name":"word","area":"x","source":"s","needs":["no_such_word"],"request":{"method":"GET","path":"/healthz"},
            "expect":{"status":200}},
            {"name":"path","area":"x","source":"s","request":{"method":"GET","path":"/no/such/path"},"expect":{"status":200}},
            {"name":"value","area":"x","source":"s","request":{"method":"GET","path":"/{{NO_SUCH}}"},"expect":{"status":200}},
            {"name":"before","area":"x","source":"s","needs":["previous:nothing"],"request":{"method":"GET","path":"/healthz"},
            "expect":{"status":200}},
            {"name":"api","area":"x-api","source":"s","request":{"method":"GET","path":"/api/nothing/"},"expect":{"status":200}},
            {"name":"fine","area":"x","source":"s","request":{"method":"GET","path":"/healthz"},"expect":{"status":200}}]"#,
    )
    .unwrap();
    let out = conform(&["--json"], std::slice::from_ref(&path));
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let verdicts = verdicts(&out);
    let says = |name: &str| verdicts[name]["error"].as_str().unwrap_or("fine").to_owned();
    assert_eq!(says("word"), "this driver does not know the word `no_such_word`");
    assert_eq!(says("path"), "status 200 was expected, 404 came");
    assert_eq!(says("value"), "nobody fills in {{NO_SUCH}}");
    assert_eq!(says("before"), "there is no case `nothing` that could run before");
    assert!(says("api").contains("neither a file nor a command"), "{}", says("api"));
    assert_eq!(says("fine"), "fine");
    for (words, text) in [
        (&["--url", "ftp://x"][..], "begins with neither"),
        (&["--url", "https://localhost"], "needs --ca"),
        (&["--only", "nosuch"], "no case `nosuch`"),
    ] {
        let out = conform(words, std::slice::from_ref(&path));
        assert_eq!(out.status.code(), Some(2), "{words:?}");
        assert!(String::from_utf8_lossy(&out.stderr).contains(text), "{out:?}");
    }
}

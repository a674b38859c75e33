//! 200 means that the lines are on disk; no room means "busy" until there is some.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::{Hub, log_body, post_bytes, record, wait};
use pipe::state::{self, Position};
use registry::db::Db;
use rustix::process::Signal;
use serde_json::json;

#[test]
fn what_was_answered_survives_every_kill() {
    let mut hub = Hub::new("", "");
    let key = hub.node_key("C02");
    let next = AtomicU64::new(0);
    let taken = Mutex::new(BTreeSet::new());
    for round in 0..8 {
        let stop = AtomicBool::new(false);
        let address = hub.address();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut conn = common::Conn::new(&address, &hub.client);
                    while !stop.load(Ordering::Relaxed) {
                        let n = next.fetch_add(2, Ordering::Relaxed);
                        let body = log_body(&key, [record(n), record(n + 1)]).to_string();
                        let sent = conn.0.write_all(&post_bytes("log", body.as_bytes(), ""));
                        let Ok(answer) = sent.and_then(|()| conn.try_answer()) else { return };
                        assert_eq!(answer.body, json!({}));
                        taken.lock().unwrap().extend([n, n + 1]);
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(100 + round * 37));
            hub.signal(Signal::KILL);
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(hub.ended(), None);
        hub.start();
    }
    let kept: BTreeSet<u64> = hub.records().iter().map(number).collect();
    let taken = taken.into_inner().unwrap();
    assert!(taken.len() > 100, "{}", taken.len());
    let lost: Vec<&u64> = taken.difference(&kept).collect();
    assert!(lost.is_empty(), "answered 200 and not there: {lost:?}");
    assert_eq!(hub.ask("", "log", &log_body(&key, [record(1)])).body, json!({}), "the node key is known still");
}

fn number(raw: &event::Raw) -> u64 {
    common::body(raw)["columns"]["n"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_full_topic_is_busy_until_there_is_room() {
    let reader = "[topics]\nlimit = \"20 KiB\"\nreserve = \"1 B\"\nkeep = { age = \"1ms\" }\n\
                  [stage.normalize]\nfrom = \"topic:raw\"\nto = \"topic:events\"\n";
    let hub = Hub::new("", reader);
    let key = hub.node_key("C02");
    let mut agent = hub.connect();
    let mut n = 0;
    let mut post = || {
        n += 1;
        agent.post("log", log_body(&key, [record(n)]).to_string().as_bytes(), "")
    };
    let full = wait("a full topic", || Some(post()).filter(|a| a.status != 200));
    assert_eq!((full.status, &full.body), (503, &json!({"error": "busy"})));
    let mut health = hub.connect();
    health.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(health.answer().status, 503);
    assert_eq!(post().status, 503);
    assert!(hub.refused("busy") >= 2.0);
    let config = hub.ask("", "config", &json!({"node_key": key}));
    assert_eq!(config.status, 200, "a configuration needs no room, and does without the line about it");
    let about = || hub.lines().iter().filter(|l| common::body(l)["request_type"] == "config").count();
    assert_eq!(about(), 0);
    let kept = hub.records().len();

    // The reader has read all there is, so what it read may go.
    let file = hub.path("data/state/normalize.db");
    let mut db = Db::open(&file, &[state::SCHEMA]).unwrap();
    let mut tx = db.begin().unwrap();
    let dir = hub.path("data/topics/raw/x");
    let bytes: u64 = common::folder_bytes(dir.parent().unwrap());
    let lines = hub.lines().len() as u64;
    let end = std::fs::metadata(dir.with_file_name("00000000000000000000.ndjson")).unwrap().len();
    assert!(bytes >= end);
    let mark = pipe::topic::Mark { offset: end, line: lines };
    state::set_position(&mut tx, "topic:raw", &Position { mark, read: lines, ..Position::default() }).unwrap();
    tx.commit().unwrap();
    wait("room", || (post().status == 200).then_some(()));
    assert!(hub.records().len() < kept, "what was read is gone");
    assert_eq!(hub.ask("", "config", &json!({"node_key": key})).status, 200);
    assert_eq!(about(), 1, "the line that found no room was not said");
    health.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(health.answer().body, json!({"ok": true}));
}

#[test]
fn at_a_shell_it_prints_lines() {
    let hub = Hub::new("", "");
    let run = |args: &[&str]| {
        let mut command = hub.command();
        command.args(["--data", hub.path("data/x").parent().unwrap().to_str().unwrap()]);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    for (args, says) in [
        (&["--plain", "--listen", "0.0.0.0:0"][..], "loopback"),
        (&["--plain", "--listen", "[::]:0"], "loopback"),
        (&["--listen", "127.0.0.1:0"], "--tls-cert"),
        (&["--plain"], "--listen"),
        (&["--plain", "--listen", "127.0.0.1:0", "--from", "topic:x"], "--from"),
        (&["--listen", "127.0.0.1:0", "--tls-cert", "none.pem", "--tls-key", "none.key"], "none.key"),
        (&["--listen", "localhost"], "invalid"),
    ] {
        let done = run(args).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(2) && said.contains(says), "{args:?}: {:?} {said}", done.status);
    }

    let (_, secret) = hub.enrolment("berlin", "osquery", None, None);
    let mut child = run(&["--plain", "--listen", "127.0.0.1:0"]).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listens on http://") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0);
    }
    let address = line.trim().rsplit("http://").next().unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    let mut ask = |call: &str, body: &serde_json::Value| {
        stream.write_all(&post_bytes(call, body.to_string().as_bytes(), "")).unwrap();
        common::answer(&mut stream).unwrap()
    };
    let key = ask("enroll", &common::enrol_body(&secret, "C02", "U")).body["node_key"].as_str().unwrap().to_owned();
    assert_eq!(ask("log", &log_body(&key, [record(1), record(2)])).body, json!({}));
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let kinds: Vec<String> =
        (0..4).map(|_| event::Raw::parse(out.next().unwrap().unwrap().as_bytes()).unwrap().kind).collect();
    assert_eq!(kinds, ["enroll", "request", "result", "result"]);
    // Whoever read has gone: a polite end.
    drop(out);
    let _ = ask("log", &log_body(&key, [record(3)]));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!hub.path("data/state/x").with_file_name("receive-tool.db").exists());
}

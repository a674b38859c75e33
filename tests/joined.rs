//! `run = "normalize | filter"`: the same bytes as the two programs with a topic between them, whatever kills it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use pipe::fs::RealFs;
use pipe::topic::{Kept, Options, Start, TopicReader, TopicWriter};
use registry::db::Db;
use rustix::process::Signal;
use serde_json::{Value, json};
use support::agent::{Agent, record};
use support::hub::{Hub, signal};
use support::recorded::logs;

const APART: &str = r#"
[stage.normalize]
from = "topic:raw"
to = "topic:normalized"
[stage.filter]
from = "topic:normalized"
to = "topic:events"
matches = "topic:matches"
"#;

const JOINED: &str = r#"
[stage.sift]
run = "normalize | filter"
from = "topic:raw"
to = "topic:events"
matches = "topic:matches"
"#;

/// The last one exceeds its limit: what is told of it, and that it is quarantined, are the same too.
const PROBES: &str = r#"
[unit.berlin]
tags = ["office"]
[probe.apps]
severity = "minor"
filter = '.payload.columns.name? | strings | {title: .}'
[probe.snapshots]
filter = '.payload.snapshot | arrays | length > 0'
by = '.payload.name'
[probe.office]
scope = { units = ["berlin"] }
filter = '.machine.tags | any(. == "office")'
[probe.endless]
filter = 'select(.payload.columns.marker == "m7") | repeat(false)'
"#;

/// Bytes that wait for the joined stage when it is started, to be killed.
const LAG: u64 = 10 << 20;
/// Rows of a record whose events take more than 4 MiB.
const MANY: usize = 14_000;

/// A folder with a pipeline.
struct Place(tempfile::TempDir);

impl Place {
    fn new(stages: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "version = 1\n[stage.receive]\nlisten = \"127.0.0.1:0\"\ntls = {{ cert = \"a\", key = \"b\" }}\n\
             to = \"topic:raw\"\n{stages}{PROBES}"
        );
        std::fs::write(dir.path().join("pipeline.toml"), text).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
        command.current_dir(self.0.path()).args(words).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::piped());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn text(&self, words: &[&str]) -> String {
        let out = self.run(words);
        assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// What `status` says of the stages' own sums, without their names.
    fn sums(&self) -> Vec<Value> {
        let text = String::from_utf8(self.run(&["status"]).stdout).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut sums: Vec<Value> = records.filter(|record| record["what"] == "sum").collect();
        sums.iter_mut().for_each(|sum| drop(sum.as_object_mut().unwrap().remove("stage")));
        sums
    }

    /// Bytes of raw lines that the joined stage has not read.
    fn lag(&self) -> u64 {
        let mut reader = match TopicReader::open(RealFs::shared(), &self.path("data/topics/raw"), Start::First) {
            Ok(reader) => reader,
            Err(_) => return 0,
        };
        let end = reader.head().unwrap().map_or(0, |head| head.end.offset);
        let db = Db::open_read_only(&self.path("data/state/normalize.db")).ok().flatten();
        let at = db.and_then(|db| pipe::state::position(&db, "topic:raw").ok().flatten());
        end - at.map_or(0, |at| at.mark.offset)
    }

    /// Puts raw lines where `receive` would.
    fn feed(&self, lines: &[String]) {
        let dir = self.path("data/topics/raw");
        std::fs::create_dir_all(&dir).unwrap();
        let mut writer = TopicWriter::open(RealFs::shared(), &dir, Kept::WholeLines, Options::default()).unwrap();
        lines.iter().for_each(|line| writer.append(format!("{line}\n").as_bytes(), 1).unwrap());
        writer.sync().unwrap();
        writer.publish().unwrap();
    }
}

fn raw(n: usize, kind: &str, body: &Value) -> Value {
    let minute = n / 60 % 60;
    let machine = if n.is_multiple_of(3) {
        json!({"serial_number": format!("J{}", n % 5), "unit": "berlin"})
    } else {
        json!({"hostname": "h"})
    };
    json!({"v": 1, "id": format!("01a1ff7a-cbfb-8000-8000-{n:012}"), "source": "osquery", "kind": kind,
        "received": format!("2026-01-06T08:{minute:02}:{:02}.000Z", n % 60), "machine": machine,
        "request": {"ip": "203.0.113.9", "user_agent": "osquery/5.23.0"}, "body": body})
}

/// Records of agents as they were recorded, and whatever else may come: enrolments, batches, broken lines, events.
fn lines() -> Vec<String> {
    let mut all = vec![raw(0, "enroll", &json!({"host_identifier": "mac", "platform_type": "21"})).to_string()];
    for line in logs().iter().flatten() {
        all.push(raw(all.len(), "result", line).to_string());
    }
    let record = |n: usize| {
        json!({"name": "t", "hostIdentifier": "h", "unixTime": 1_767_686_400, "counter": 3,
        "action": "added", "columns": {"marker": format!("m{}", n % 9), "name": "x"}})
    };
    for n in 0..120 {
        all.push(raw(all.len(), "result", &record(n)).to_string());
    }
    all.push(rows(30));
    for broken in ["", "no JSON", "{\"body\":{}}", "{\"v\":1}", "[]"] {
        all.push(broken.to_owned());
    }
    let other =
        raw(all.len(), "result", &json!({})).to_string().replace("\"source\":\"osquery\"", "\"source\":\"nobody\"");
    all.push(other);
    all.push(raw(all.len(), "result", &json!("not a record")).to_string());
    let event = json!({"v": 1, "id": "01a1ff7a-cbfb-8000-8000-00000000000e", "type": "action_done",
        "time": "2026-01-06T08:00:00.000Z", "received": "2026-01-06T08:00:00.000Z", "source": "zentral", "tags": [],
        "probes": [{"name": "old", "rev": "0", "severity": "minor"}], "payload": {"b": 1, "a": 2}});
    all.push(event.to_string());
    all
}

/// A record of so many rows.
fn rows(n: usize) -> String {
    let rows: Vec<Value> = (0..n).map(|n| json!({"n": n.to_string()})).collect();
    let batch = json!({"name": "b", "hostIdentifier": "h", "unixTime": 1_767_686_400, "counter": 3,
        "diffResults": {"added": rows, "removed": [{"n": "gone"}]}});
    raw(n, "result", &batch).to_string()
}

/// The lines that a stage refused, as they came.
fn refused(place: &Place, stages: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for stage in stages {
        all.extend(place.text(&["replay", "--refused", stage]).lines().map(str::to_owned));
    }
    all.sort();
    all
}

fn same(joined: &Place, apart: &Place) {
    for topic in ["events", "matches"] {
        let (one, other) = (joined.text(&["cat", topic]), apart.text(&["cat", topic]));
        assert!(one == other, "{topic}: {} and {} lines", one.lines().count(), other.lines().count());
        assert!(one.lines().count() > 50, "{topic}: {one}");
    }
    assert_eq!(refused(joined, &["sift"]), refused(apart, &["normalize"]));
    assert_eq!(joined.sums(), apart.sums());
}

#[test]
fn joined_and_apart_give_the_same() {
    let (apart, joined) = (Place::new(APART), Place::new(JOINED));
    let lines = lines();
    for place in [&apart, &joined] {
        std::fs::write(place.path("raw.ndjson"), lines.iter().map(|l| format!("{l}\n")).collect::<String>()).unwrap();
        let out = place.run(&["--data", "data", "up", "--test", "raw.ndjson"]);
        assert_eq!(out.status.code(), Some(3), "some are refused: {}", String::from_utf8_lossy(&out.stderr));
    }
    same(&joined, &apart);
    let sums = joined.sums();
    assert_eq!(
        (sums.len(), &sums[0]["in"], &sums[0]["ok"], &sums[1]["ok"]),
        (2, &json!(lines.len()), &json!(true), &json!(true))
    );
    let events = joined.text(&["cat", "events"]);
    for told in ["filter_failed", "filter_quarantined", "action_done"] {
        assert!(events.contains(&format!("\"type\":\"{told}\"")), "{told}");
    }
    // Whoever joins stages that ran apart is told what to do, and that is right.
    let again = |stages: &str| {
        let file = apart.path("pipeline.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let (before, rest) = text.split_once("\n[stage.").unwrap();
        let (receive, _) = rest.split_once("\n[stage.").unwrap();
        std::fs::write(&file, format!("{before}\n[stage.{receive}{stages}{PROBES}")).unwrap();
        apart.feed(&lines);
        apart.run(&["run", "sift", "--once"])
    };
    let out = again(JOINED);
    let told = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(5) && told.contains("an output of a new name"), "{told}");
    assert!(told.contains("lag 0"), "{told}");
    let out = again(&JOINED.replace("topic:events", "topic:events2").replace("topic:matches", "topic:matches2"));
    assert_eq!(out.status.code(), Some(3), "{}", String::from_utf8_lossy(&out.stderr));
    let events = |topic: &str| apart.text(&["cat", topic]).matches("\"source\":\"osquery\"").count();
    assert_eq!(events("events2"), 2 * events("events"), "it was fed twice since");
    // Its state file is that of normalize, its refused lines lie under its own name.
    assert!(joined.path("data/state/normalize.db").exists() && joined.path("data/refused/sift.ndjson").exists());
    let check = String::from_utf8(joined.run(&["check"]).stdout).unwrap();
    assert!(!check.contains("sift"), "{check}");
}

/// Splitmix64.
fn chance(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % below
}

#[test]
fn no_kill_loses_or_doubles_a_line() {
    let from_env = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (kills, from) = (from_env("ZENTRAL_JOINED_KILLS", 12), from_env("ZENTRAL_SEED", 20_261_122));
    let mut seed = from;
    let (apart, joined) = (Place::new(APART), Place::new(JOINED));
    // Now and then a line that gives more than is held for an output.
    let (lines, many) = (lines(), rows(MANY));
    let more: Vec<String> = std::iter::repeat_n(lines.clone(), 10).flatten().chain([many]).collect();
    let mut hit = 0;
    let begun = Instant::now();
    while hit < kills {
        assert!(begun.elapsed() < Duration::from_secs(60 + kills * 20), "kills take too long: {hit} of {kills}");
        // Always so much that batches share commits.
        while joined.lag() < LAG {
            for place in [&apart, &joined] {
                place.feed(&more);
            }
        }
        let mut stage = joined.command(&["run", "sift"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Half of them when it has committed: however slow this machine is, it gets on, and is hit in later commits too.
        let (before, started) = (joined.lag(), Instant::now());
        if chance(&mut seed, 2) == 0 {
            while joined.lag() == before && started.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        std::thread::sleep(Duration::from_millis(20 + chance(&mut seed, 400)));
        // It runs on for ever, so the kill hits, at whatever place.
        assert_eq!(stage.try_wait().unwrap(), None, "it ended by itself");
        stage.kill().unwrap();
        stage.wait().unwrap();
        hit += 1;
    }
    let raw = std::fs::read_dir(joined.path("data/topics/raw")).unwrap();
    let fed: u64 = raw.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    eprintln!("{kills} kills, seed {from}: {} of {fed} bytes read by then", fed - joined.lag());
    // The last run may have read everything: these lines are left for the end.
    for place in [&apart, &joined] {
        place.feed(&lines);
    }
    // What normalize lets pass no filter refuses; that a refusal of either is told is tested where the chain is.
    for (place, stage, code) in [(&joined, "sift", 3), (&apart, "normalize", 3), (&apart, "filter", 0)] {
        let end = place.run(&["run", stage, "--once"]);
        assert_eq!(end.status.code(), Some(code), "{stage}: {}", String::from_utf8_lossy(&end.stderr));
    }
    same(&joined, &apart);
    assert!(joined.run(&["state", "verify"]).status.success());
}

#[test]
fn it_runs_under_up_and_takes_new_filters() {
    let mut hub = Hub::new("\n[probe.old]\nfilter = '.payload.columns.n >= 0'\n");
    hub.edit(|text| {
        let (before, rest) = text.split_once("[stage.normalize]").unwrap();
        let (_, after) = rest.split_once("[stage.act]").unwrap();
        let stages = JOINED.replace("\"topic:raw\"", "[\"topic:raw\", \"topic:outcomes\"]");
        format!("{before}{stages}\n[stage.act]{after}")
    });
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret(), "JOINED1");
    hub.start();
    hub.wait("the hub to answer", 30, || agent.enrol().is_ok());
    assert!(agent.log(&[record(0)]).unwrap());
    hub.wait("a match", 20, || hub.matched("old") == 1);
    let sift = |hub: &Hub| hub.stages().into_iter().find(|(name, _)| name == "sift").expect("it runs").1;
    let pid = sift(&hub);

    hub.edit(|text| text + "\n[probe.broken]\nfilter = '.payload | nosuch('\n");
    hub.wait("the mistake to be told", 20, || hub.log().contains("nosuch"));
    assert!(agent.log(&[record(1)]).unwrap());
    hub.wait("the old filters to go on", 20, || hub.matched("old") == 2);
    hub.edit(|text| {
        text.split("\n[probe.broken]").next().unwrap().to_owned()
            + "\n[probe.new]\nfilter = '.payload.columns.n == 2'\n"
    });
    hub.wait("the new filter", 20, || {
        let _ = agent.log(&[record(2)]);
        hub.matched("new") > 0
    });
    assert_eq!(sift(&hub), pid, "a reload is no restart");
    assert!(signal(pid, Signal::KILL));
    hub.wait("it to come back", 20, || hub.stages().iter().any(|(name, now)| name == "sift" && *now != pid));
    hub.wait("both sums to hold", 30, || hub.run(&["status"]).status.success());
    let status = String::from_utf8(hub.run(&["status"]).stdout).unwrap();
    assert!(
        status.contains("\"kind\":\"normalize | filter\"") && status.contains("\"stage\":\"sift: filter\""),
        "{status}"
    );
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
}

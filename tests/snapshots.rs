//! Four sources tell of machines by chance while the real `normalize` is killed and started again: its events are those of a
//! run that nobody disturbed, each once; and what they say, carried out one after the other, is what it knows in the end.
//!
//! `ZENTRAL_KILLS` (20) and `ZENTRAL_SEED` are read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use event::inventory::{Action, Change, Snapshot, Things, apply, things};
use event::{Event, Machine, Time};
use pipe::fs::RealFs;
use pipe::topic::{Kept, Options, TopicWriter};
use registry::db::Db;
use registry::inventory;
use serde_json::{Map, Value, json};
use support::chance::{Chance, from_env};

const TABLES: &str = r#"version = 1
[unit.berlin]
tags = ["office"]
[source.jamf]
url = "https://jss.example.com"
client = { id = "6b1c", secret = "of-the-api-client" }
[stage.receive]
listen = "127.0.0.1:0"
tls = { cert = "a", key = "b" }
to = "topic:raw"
[stage.normalize]
from = "topic:raw"
to = "topic:events"
"#;
const MACHINES: [&str; 4] = ["C02XL0AAJGH0", "C02XL0AAJGH1", "C02XL0AAJGH2", "C02XL0AAJGH3"];
/// Lines that lie in the topic before the next kill is thought of.
const CHUNK: usize = 60;

/// The raw lines: whom they are of, what they tell and when is a matter of chance.
fn lines(chance: &mut Chance, count: usize) -> Vec<String> {
    let mut at = "2026-01-05T23:00:00Z".parse::<Time>().unwrap().ms();
    (0..count)
        .map(|n| {
            at += match chance.below(20) {
                0 => 1_000_000 + chance.below(3_000_000) as i64,
                _ => chance.below(60_000) as i64,
            };
            line(chance, n, at)
        })
        .collect()
}

fn line(chance: &mut Chance, n: usize, at: i64) -> String {
    let serial = MACHINES[chance.below(4) as usize];
    // A name of its own for each source, and some that change.
    let name = |of: &str, chance: &mut Chance| format!("{of}-{}", chance.below(2));
    let late = if chance.below(10) == 0 { chance.below(7_200_000) as i64 } else { 0 };
    let mut machine = json!({"serial_number": serial, "unit": "berlin"});
    let (source, kind, body) = match chance.below(9) {
        0 | 1 => {
            machine["platform"] = "macos".into();
            machine["hostname"] = "osquery-0".into();
            let name = name("osquery", chance);
            let mut rows = vec![json!({"table_name": "system_info", "hostname": name, "computer_name": name})];
            rows.push(json!({"table_name": "os_version", "version": format!("15.{}", chance.below(3)), "major": "15"}));
            rows.extend(some(
                chance,
                |n, v| json!({"table_name": "apps", "bundle_id": n, "bundle_path": format!("/{n}"), "version": v}),
            ));
            rows.extend(some(chance, |n, v| json!({"table_name": "users", "username": n, "shell": v})));
            let time = (at - late) / 1000;
            ("osquery", "result", json!({"name": "ztl-inv", "action": "snapshot", "unixTime": time, "snapshot": rows}))
        }
        2 | 3 => {
            let apps = some(
                chance,
                |n, v| json!({"app": {"bundle_id": n, "bundle_version_str": v}, "bundle_path": format!("/{n}")}),
            );
            let mut body = json!({"system_info": {"computer_name": name("munki", chance)}, "osx_app_instances": apps});
            if chance.below(2) == 0 {
                body["profiles"] = some(chance, |n, v| json!({"identifier": n, "display_name": v})).into();
            }
            ("munki", "snapshot", body)
        }
        4 | 5 => {
            let user = ["", "ada", "eve"][chance.below(3) as usize];
            let os = format!("15.{}", chance.below(3));
            (
                "santa",
                "preflight",
                json!({"serial_num": serial, "hostname": name("santa", chance), "os_version": os, "primary_user": user}),
            )
        }
        6 | 7 => {
            let name = name("jamf", chance);
            machine = json!({"serial_number": serial, "hostname": name, "os_version": "15.0"});
            let groups: Vec<String> = (0..3).filter(|_| chance.below(2) == 0).map(|n| format!("group {n}")).collect();
            let mut computer = json!({"general": {"id": 7, "name": name, "serial_number": serial, "report_date_epoch": at - late},
                "hardware": {"os_version": "15.0", "storage": []}, "groups_accounts": {"computer_group_memberships": groups}});
            if chance.below(3) > 0 {
                computer["software"]["applications"] =
                    some(chance, |n, v| json!({"name": n, "bundle_id": n, "path": format!("/{n}"), "version": v}))
                        .into();
            }
            ("jamf", "computer", json!({"url": "https://jss.example.com", "computer": computer}))
        }
        _ => (
            "osquery",
            "result",
            json!({"name": "t", "action": "added", "unixTime": at / 1000, "columns": {"n": n.to_string()}}),
        ),
    };
    let id = event::id::event_id(at, source, serial, body.to_string().as_bytes(), n as u32);
    let line = json!({"v": 1, "id": id, "source": source, "kind": kind, "received": Time::from_ms(at), "machine": machine, "body": body});
    format!("{line}\n")
}

fn some(chance: &mut Chance, thing: impl Fn(&str, &str) -> Value) -> Vec<Value> {
    let (names, versions) = (["a", "b", "c", "d"], ["1", "2"]);
    (0..chance.below(6)).map(|_| thing(names[chance.below(4) as usize], versions[chance.below(2) as usize])).collect()
}

struct Hub(tempfile::TempDir);

impl Hub {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("pipeline.toml"), TABLES).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn normalize(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
        command
            .current_dir(self.0.path())
            .arg("-c")
            .arg(self.path("pipeline.toml"))
            .arg("--data")
            .arg(self.path("data"));
        command.arg("normalize").args(args);
        command
    }

    fn start(&self) -> Child {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        self.normalize(&["--stage", "normalize"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// Everything that lies in the topic of events.
    fn events(&self) -> String {
        let Ok(folder) = fs::read_dir(self.path("data/topics/events")) else { return String::new() };
        let mut segments: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
        segments.retain(|path| path.extension().is_some_and(|e| e == "ndjson"));
        segments.sort();
        segments.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    }
}

/// The events of a run that nobody disturbs.
fn undisturbed(lines: &[String]) -> String {
    let hub = Hub::new();
    fs::write(hub.path("raw.ndjson"), lines.concat()).unwrap();
    let raw = fs::File::open(hub.path("raw.ndjson")).unwrap();
    let out = hub.normalize(&[]).stdin(raw).output().unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn wait(what: &str, log: &Path, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}\n{}", fs::read_to_string(log).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn kills_lose_and_repeat_nothing_and_changes_add_up() {
    let (kills, seed) = (from_env("ZENTRAL_KILLS", 20), from_env("ZENTRAL_SEED", 20_261_122));
    eprintln!("snapshots: ZENTRAL_KILLS={kills} ZENTRAL_SEED={seed}");
    let mut chance = Chance(seed);
    let lines = lines(&mut chance, kills as usize * CHUNK);
    let want = undisturbed(&lines);

    let hub = Hub::new();
    let topic = hub.path("data/topics/raw");
    let mut raw = TopicWriter::open(RealFs::shared(), &topic, Kept::WholeLines, Options::default()).unwrap();
    let mut add = |lines: &[String]| {
        raw.append(lines.concat().as_bytes(), lines.len() as u64).unwrap();
        raw.sync().unwrap();
        raw.publish().unwrap();
    };
    let (mut child, mut before, mut in_the_middle) = (hub.start(), 0, 0);
    for chunk in lines.chunks(CHUNK) {
        let quarters: Vec<&[String]> = chunk.chunks(CHUNK / 4).collect();
        add(quarters[0]);
        // One in four is killed whenever it is, perhaps before it does anything; the others amid their work.
        let whenever = chance.below(4) == 0;
        if !whenever {
            wait("some event", &hub.path("log"), || hub.events().len() > before);
        }
        for quarter in &quarters[1..3] {
            add(quarter);
            std::thread::sleep(Duration::from_millis(chance.below(40)));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let now = hub.events().len();
        in_the_middle += usize::from(before < now && now < want.len());
        before = now;
        add(quarters[3]);
        child = hub.start();
    }
    wait("all events", &hub.path("log"), || hub.events().len() >= want.len());
    std::thread::sleep(Duration::from_millis(300));
    child.kill().unwrap();
    child.wait().unwrap();
    let events = hub.events();
    if events != want {
        let (n, (have, want)) = events
            .lines()
            .zip(want.lines())
            .enumerate()
            .find(|(_, (have, want))| have != want)
            .unwrap_or((0, ("", "")));
        panic!("{} events in place of {}; line {n}:\n{have}\n{want}", events.lines().count(), want.lines().count());
    }
    assert!(in_the_middle as u64 > kills / 2, "only {in_the_middle} kills left something done and something to do");
    add_up(&events, &hub.path("data/state/normalize.db"));
}

/// What the events say, carried out, is what is kept; and nobody is believed before whom he comes after.
fn add_up(events: &str, state: &Path) {
    let mut known: BTreeMap<(String, String), Things> = BTreeMap::new();
    let (mut ids, mut changes, mut last) = (BTreeSet::new(), 0, BTreeMap::new());
    for line in events.lines() {
        let event = Event::parse(line.as_bytes()).unwrap();
        assert!(ids.insert(event.id.clone()), "twice: {line}");
        let payload: Value = serde_json::from_str(event.payload.get()).unwrap();
        let machine = event.machine.as_ref().and_then(Machine::key).unwrap().to_owned();
        if event.type_ == "inventory_machine" {
            last.insert(machine, payload);
        } else if event.type_ == "inventory_machine_added" {
            let told: Snapshot = serde_json::from_value(payload).unwrap();
            assert!(known.insert((machine, event.source), things(&told)).is_none(), "added twice: {line}");
        } else if event.type_.starts_with("inventory_") {
            changes += 1;
            let change: Change = serde_json::from_value(payload).unwrap();
            assert_eq!(event.type_, format!("inventory_{}_update", change.kind));
            assert!(apply(known.get_mut(&(machine, event.source)).unwrap(), &change), "does not fit: {line}");
        }
    }
    assert!(changes > 500, "only {changes} changes");
    let mut db = Db::open(state, &[inventory::SCHEMA]).unwrap();
    let mut tx = db.begin().unwrap();
    for key in MACHINES {
        let merged = inventory::merged(&mut tx, key).unwrap();
        assert!(merged.fields.get("hostname").is_some_and(|source| source == "osquery"), "{:?}", merged.fields);
        assert_eq!(merged.parts["osx_app"].sources, ["osquery"]);
        assert!(last.contains_key(key));
        for kept in inventory::snapshots(&mut tx, key).unwrap() {
            let mut have = things(&kept.snapshot);
            let mut told = known.remove(&(key.to_owned(), kept.snapshot.source.clone())).unwrap();
            for all in [&mut have, &mut told] {
                all.retain(|_, of: &mut BTreeMap<String, Map<String, Value>>| !of.is_empty());
            }
            assert_eq!(told, have, "{key} of {}", kept.snapshot.source);
        }
    }
    assert!(known.is_empty(), "{:?}", known.keys());
    let actions: BTreeSet<&str> = [Action::Added, Action::Removed, Action::Changed].map(Action::word).into();
    assert!(actions.iter().all(|word| events.contains(&format!("\"action\":\"{word}\""))));
}

//! The same raw lines and the same stages, between shell pipes, over topics on disk and over topics of Kafka, with one
//! instance or several: the same matches, the same events stored, and of each machine the same order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use support::database::{Database, server};
use support::hub::signal;
use support::lines::{LINES, MACHINES, STAGES, by_id, command, events, raw, settings, zentral, zentral_any};
use support::services::address;

/// Of each machine the numbers of its lines, each where it came first.
fn orders(lines: &[u8]) -> BTreeMap<String, Vec<usize>> {
    let mut orders: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (event, _) in events(lines) {
        let n = event["payload"]["columns"]["n"].as_str().unwrap().parse().unwrap();
        let order = orders.entry(event["machine"]["serial_number"].as_str().unwrap().to_owned()).or_default();
        if !order.contains(&n) {
            order.push(n);
        }
    }
    orders
}

/// What came of the lines.
#[derive(Debug, PartialEq)]
struct Came {
    matches: BTreeMap<String, String>,
    stored: BTreeMap<String, String>,
    orders: BTreeMap<String, Vec<usize>>,
}

/// A folder with the pipeline whose topics are such places.
fn folder(place: &str, more: &str, change: impl Fn(String) -> String) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("version = 1\n{more}{}", change(STAGES.replace("PLACE", place)));
    std::fs::write(dir.path().join("pipeline.toml"), text).unwrap();
    dir
}

/// What lies in its topics and its store; every sum holds, and everything was read.
fn came(dir: &Path, place: &str) -> Came {
    let status = zentral_any(dir, &["status", "--json"]);
    assert!(!status.contains("\"ok\":false,\"why\":\"") && all_read(&status), "{status}");
    let read = |topic: &str| {
        let from = format!("{place}:{topic}");
        zentral(dir, &["filter", "-e", "true", "--once", "--from", &from], b"")
    };
    let stored = by_id(&zentral(dir, &["search", "*", "-n", "0"], b""));
    Came { matches: by_id(&read("matches")), stored, orders: orders(&read("annotated")) }
}

fn records(status: &str) -> impl Iterator<Item = Value> {
    status.lines().map(|line| serde_json::from_str(line).unwrap())
}

/// Whether every reader has read all that was written, and nothing is missing.
fn all_read(status: &str) -> bool {
    let readers: Vec<Value> = records(status).filter(|record| record["what"] == "reader").collect();
    let read = |reader: &Value| reader["lag"] == 0 && reader["read"].as_u64().is_some_and(|n| n >= LINES as u64);
    readers.len() == 3 && readers.iter().all(read)
}

/// Each stage once over what is there.
fn through(place: &str, kafka: &str) -> Came {
    let dir = folder(place, kafka, |text| text);
    zentral(dir.path(), &["filter", "-e", "true", "--to", &format!("{place}:raw")], &raw(0..LINES));
    for stage in ["normalize", "filter", "index"] {
        zentral(dir.path(), &["run", stage, "--once"], b"");
    }
    came(dir.path(), place)
}

/// A running `up`; killed with the test.
struct Up {
    child: Child,
    dir: tempfile::TempDir,
}

impl Up {
    /// The pipeline on Kafka and a database, with so many instances of normalize and filter, and these inputs of the first.
    fn start(kafka: &str, database: &str, replicas: usize, from: &str) -> Self {
        let more = format!("{kafka}[registry]\npostgres = \"{database}\"\n");
        let several = |text: String| {
            let to = |name: &str| format!("[stage.{name}]\nreplicas = {replicas}\n");
            let text = text.replace("from = \"kafka:raw\"", &format!("from = {from}"));
            text.replace("[stage.normalize]\n", &to("normalize")).replace("[stage.filter]\n", &to("filter"))
        };
        let dir = folder("kafka", &more, several);
        let log = std::fs::File::create(dir.path().join("up.log")).unwrap();
        let child = command(dir.path(), &["up", "--only", "normalize", "filter", "index"])
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, dir }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("up.log")).unwrap()
    }

    fn give(&self, lines: &[u8]) {
        zentral(self.dir.path(), &["filter", "-e", "true", "--to", "kafka:raw"], lines);
    }

    /// What lies in a topic that fulfils this.
    fn topic(&self, name: &str, jq: &str) -> Vec<u8> {
        let from = format!("kafka:{name}");
        command(self.dir.path(), &["filter", "-e", jq, "--once", "--from", &from]).output().unwrap().stdout
    }

    fn status(&self) -> String {
        zentral_any(self.dir.path(), &["status", "--json"])
    }

    /// The process of this name, once it runs.
    fn pid(&self, name: &str) -> Option<i32> {
        let status = self.status();
        let found = records(&status).find(|record| record["name"] == name && record["state"] == "running")?;
        found["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok())
    }

    fn wait(&self, what: &str, seconds: u64, mut done: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < Duration::from_secs(seconds), "{what}\n{}\n{}", self.status(), self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Stops it; what came of the lines.
    fn stop(mut self) -> Came {
        signal(i32::try_from(self.child.id()).unwrap(), Signal::TERM);
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{}", self.log());
        came(self.dir.path(), "kafka")
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn pipes_disk_and_kafka_give_the_same() {
    let Some(broker) = address("ZENTRAL_TEST_KAFKA") else { return };
    let dir = tempfile::tempdir().unwrap();
    let text = format!("version = 1\n{}", &STAGES[STAGES.find("[probe").unwrap()..]);
    std::fs::write(dir.path().join("pipeline.toml"), text).unwrap();
    let events = zentral(dir.path(), &["normalize", "--no-state"], &raw(0..LINES));
    let pipe = by_id(&zentral(dir.path(), &["filter"], &events));
    assert_eq!(pipe.len(), 667);

    let disk = through("topic", "");
    assert_eq!(disk.matches, pipe);
    assert_eq!((disk.stored.len(), disk.orders.len()), (LINES, MACHINES));
    assert!(disk.orders.values().all(|order| order.is_sorted()));
    assert!(through("kafka", &settings(&broker, "same", "")) == disk, "Kafka gives something else");

    let Some(server) = server() else { return };
    let database = Database::new(&server, "same");
    let up = Up::start(&settings(&broker, "three", ""), &database.url("zentral"), 3, "\"kafka:raw\"");
    // Partitions are shared out while lines come.
    for part in 0..4 {
        up.give(&raw(part * LINES / 4..(part + 1) * LINES / 4));
    }
    let names: Vec<String> = (1..=3).flat_map(|n| [format!("normalize-{n}"), format!("filter-{n}")]).collect();
    up.wait("a share for every instance", 60, || {
        let log = up.log();
        names.iter().all(|name| has_share(&log, name))
    });
    up.wait("all lines", 120, || all_read(&up.status()));
    assert!(names.iter().all(|name| up.pid(name).is_some()), "{}", up.status());
    assert!(up.stop() == disk, "three instances give something else");
}

/// Whether an instance says that it reads partitions.
fn has_share(log: &str, name: &str) -> bool {
    log.lines().any(|line| line.contains(&format!("zentral {name}:")) && line.contains("reads partitions ["))
}

#[test]
fn a_replica_that_slept_through_a_rebalance_changes_nothing() {
    let (Some(broker), Some(server)) = (address("ZENTRAL_TEST_KAFKA"), server()) else {
        return;
    };
    let database = Database::new(&server, "slept");
    let patience = "properties = { \"session.timeout.ms\" = \"6000\" }\n";
    let up = Up::start(&settings(&broker, "slept", patience), &database.url("zentral"), 2, "\"kafka:raw\"");
    up.give(&raw(0..LINES / 2));
    let names = ["normalize-1", "normalize-2", "filter-1", "filter-2"];
    up.wait("a share for every instance", 60, || names.iter().all(|name| has_share(&up.log(), name)));
    let sleepers = ["normalize-1", "filter-1"].map(|name| up.pid(name).unwrap());
    // Some of this lies in their memory when they stop, or in their hands.
    up.give(&raw(LINES / 2..LINES));
    let stopped = up.log().len();
    sleepers.iter().for_each(|pid| assert!(signal(*pid, Signal::STOP)));
    let took_over = |name: &str| has_share(&up.log().split_off(stopped), name);
    up.wait("the others to take over", 120, || took_over("normalize-2") && took_over("filter-2"));
    // If one sleeps in the middle of its turn, the server ends that after a minute.
    up.wait("the others to read everything", 150, || all_read(&up.status()));
    let before = up.status();
    let read = |status: &str| {
        let is_raw = |record: &Value| record["what"] == "reader" && record["topic"] == "raw";
        records(status).find(is_raw).unwrap()["read"].clone()
    };
    // Either it hears first that it has lost its partitions, or its commit is refused and it is started again.
    let asleep = up.log().len();
    let heard = |name: &str| {
        let log = up.log().split_off(asleep);
        let gave = |line: &str| line.contains(&format!("zentral {name}:")) && line.contains("gave away partitions");
        log.lines().any(|line| gave(line) || line.contains(&format!("stage {name}: exit 4")))
    };
    sleepers.iter().for_each(|pid| assert!(signal(*pid, Signal::CONT)));
    up.wait("both to hear of it", 60, || heard("normalize-1") && heard("filter-1"));
    up.wait("both to have a share again", 90, || names.iter().all(|name| up.pid(name).is_some()));
    up.wait("what their late lines gave is read", 60, || all_read(&up.status()));
    assert_eq!(read(&up.status()), read(&before), "no raw line was read twice");
    let came = up.stop();
    let disk = through("topic", "");
    assert_eq!(came.matches.len(), disk.matches.len());
    assert!(came == disk, "something else came of it");
}

/// One instance reads what was changed; the others remember the machine, and must not go on to.
#[test]
fn what_people_do_by_hand_reaches_every_instance() {
    let (Some(broker), Some(server)) = (address("ZENTRAL_TEST_KAFKA"), server()) else {
        return;
    };
    let database = Database::new(&server, "hand");
    let from = "[\"kafka:raw\", \"registry:changes\"]";
    let up = Up::start(&settings(&broker, "hand", ""), &database.url("zentral"), 3, from);
    up.wait("a share for every instance", 60, || (1..=3).all(|n| has_share(&up.log(), &format!("normalize-{n}"))));
    let enrol = |n: usize| {
        let machine = serde_json::json!({"serial_number": format!("C{n}"), "unit": "default"});
        let body = serde_json::json!({"host_identifier": format!("mac-{n}")});
        let line = serde_json::json!({"v": 1, "id": format!("01a1ff7a-cbfb-8000-8001-{n:012x}"), "source": "osquery",
            "kind": "enroll", "received": "2026-11-23T00:59:00.000Z", "machine": machine, "body": body});
        format!("{line}\n")
    };
    up.give((0..MACHINES).map(enrol).collect::<String>().as_bytes());
    let results = |and: &str| by_id(&up.topic("events", &format!(".type == \"osquery_result\" and {and}"))).len();
    let named = || results("(.machine | has(\"hostname\"))");
    up.give(&raw(0..300));
    up.wait("results of machines with a name", 60, || named() == 300);
    for n in 0..MACHINES {
        let words = ["machine", "forget", &format!("C{n}")];
        assert!(command(up.dir.path(), &words).status().unwrap().success(), "{words:?}");
    }
    let forgotten = || by_id(&up.topic("events", ".type == \"machine_forgotten\"")).len();
    up.wait("all of them to be forgotten", 60, || forgotten() == MACHINES);
    up.give(&raw(300..600));
    up.wait("results of machines without one", 60, || results("true") == 600);
    assert_eq!(named(), 300, "somebody remembers a machine that was forgotten");
}

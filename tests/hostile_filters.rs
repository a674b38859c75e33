//! Filters that loop, grow, recurse, fail or are no filters at all: bounded, named and taken out, while twenty good ones
//! say what they would say alone.
//!
//! `cargo test --test hostile_filters -- --ignored --nocapture` prints what each of them takes from the stream;
//! `ZENTRAL_PROGRAM` names another build of `zentral` for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;

/// Twenty filters that do no harm: decided by the index alone, by the index and jq, and by jq at every event.
fn good() -> String {
    let mut all = String::new();
    for i in 0..20 {
        let filter = match i % 4 {
            0 => format!(".payload.n == {i}"),
            1 => format!(".payload.name == \"name{i}\""),
            2 => format!("select(.payload.name | endswith(\"{i}\")) | {{title: \"n \\(.payload.n + 1)\"}}"),
            _ => format!(".payload.n % 50 == {i}"),
        };
        all.push_str(&format!("[probe.good{i}]\nfilter = '{filter}'\n"));
    }
    all
}

/// What becomes of a hostile filter.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// It exceeds one of these limits (which one comes first depends on the build) at every event, and is quarantined.
    Quarantined(&'static [&'static str]),
    /// It exceeds one now and then: said, and that is all.
    Failed(&'static [&'static str]),
    /// It stays within its limits, and does no harm but for the time it takes.
    Harmless,
}

use Fate::{Failed, Harmless, Quarantined};

const HOSTILE: [(&str, &str, Fate); 13] = [
    ("loop", "def f: f; f", Quarantined(&["steps", "cpu"])),
    ("fold", "reduce range(1e12) as $i (0; . + 1)", Quarantined(&["steps", "cpu"])),
    ("hidden", "try (def f: f; f) catch true", Quarantined(&["steps", "cpu"])),
    ("memory", r#"reduce range(60) as $i ("a"; . + .) | length"#, Quarantined(&["bytes"])),
    ("list", "[range(1e9)] | length", Quarantined(&["steps", "bytes", "cpu"])),
    ("recursion", "def f: 1 + f; f", Quarantined(&["depth", "steps", "cpu"])),
    ("outputs", "range(1e9) | . < 0", Quarantined(&["outputs"])),
    ("rarely", "if .payload.n % 1000 == 7 then (def f: f; f) else .payload.n == 3 end", Failed(&["steps", "cpu"])),
    ("backtracking", r#".payload.text | test("^(a+)+$")"#, Harmless),
    ("classes", r#".payload.text | test("[ab][^z]{0,90}[ab][^z]{0,90}z")"#, Harmless),
    ("errors", r#"error("x")"#, Harmless),
    ("heavy", "[range(8000)] | length < 0", Harmless),
    ("context", r#"{title: ("x" * 1e6), body: ("y" * 1e6)}"#, Harmless),
];

fn events(n: usize) -> String {
    let text = "a".repeat(2000) + "b";
    let line = |i: usize| {
        // Ten a second: more than a minute, less than an hour.
        let received = format!("2026-11-21T19:{:02}:{:02}.{}00Z", i / 600 % 60, i / 10 % 60, i % 10);
        let payload = format!("{{\"n\":{i},\"name\":\"name{}\",\"text\":\"{text}\"}}", i % 40);
        format!("{{\"v\":1,\"id\":\"e{i}\",\"type\":\"t\",\"received\":\"{received}\",\"payload\":{payload}}}\n")
    };
    (0..n).map(line).collect()
}

struct Place {
    dir: tempfile::TempDir,
    program: PathBuf,
}

impl Place {
    fn new(probes: &str) -> Self {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_zentral"));
        let place = Self { dir: tempfile::tempdir().unwrap(), program };
        std::fs::create_dir(place.path("filters")).unwrap();
        place.probes(probes);
        place
    }

    fn probes(&self, probes: &str) {
        let stages = "[stage.receive]\nto = \"topic:in\"\n\
                      [stage.sift]\nrun = \"filter\"\nfrom = \"topic:in\"\nto = \"topic:out\"\n";
        std::fs::write(self.path("pipeline.toml"), format!("version = 1\n{stages}{probes}")).unwrap();
        // For whoever feeds and looks, however broken the other is.
        std::fs::write(self.path("plain.toml"), format!("version = 1\n{stages}")).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(self.dir.path()).arg("filter").args(words);
        command.env_remove("ZENTRAL_CONFIG").env_remove("ZENTRAL_DATA");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, words: &[&str], input: &str) -> Output {
        let mut child = self.command(words).spawn().unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
        let feeder = std::thread::spawn(move || stdin.write_all(input.as_bytes()).is_ok());
        let out = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        out
    }

    fn feed(&self, lines: &str) {
        let out = self.run(&["-c", "plain.toml", "-e", ".", "--as", "feeder", "--to", "topic:in"], lines);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    fn sift(&self) -> Output {
        self.run(&["--stage", "sift", "--once"], "")
    }

    /// Everything that the stage wrote.
    fn out(&self) -> Vec<Value> {
        let out = self.run(&["-c", "plain.toml", "-e", ".", "--from", "topic:out", "--once"], "");
        out.stdout
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect()
    }
}

/// What the good probes said of each event, contexts included.
fn matches(out: &[Value]) -> BTreeMap<String, Vec<Value>> {
    let mut all = BTreeMap::new();
    for event in out.iter().filter(|e| e["source"] != "zentral") {
        let probes = event["probes"].as_array().cloned().unwrap_or_default();
        let good = probes.into_iter().filter(|p| p["name"].as_str().unwrap().starts_with("good")).collect();
        assert!(all.insert(event["id"].as_str().unwrap().to_owned(), good).is_none());
    }
    all
}

/// What was said of filters: (type, probe, event, reason).
fn told(out: &[Value]) -> Vec<[String; 4]> {
    let word = |v: &Value| v.as_str().unwrap().to_owned();
    let about = out.iter().filter(|e| e["source"] == "zentral");
    about
        .map(|e| [&e["type"], &e["payload"]["probe"], &e["payload"]["event"], &e["payload"]["reason"]].map(word))
        .collect()
}

fn probe(name: &str, filter: &str) -> String {
    format!("[probe.{name}]\nfilter = '''{filter}'''\n")
}

#[test]
fn the_good_ones_say_what_they_would_say_alone() {
    let events = events(1500);
    let run = |probes: &str| {
        let place = Place::new(probes);
        place.feed(&events);
        let out = place.sift();
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
        (place.out(), place)
    };
    let alone = matches(&run(&good()).0);
    assert_eq!((alone.len(), alone.values().flatten().count()), (1500, 759));
    for (name, filter, fate) in HOSTILE {
        let (out, place) = run(&format!("{}{}", good(), probe(name, filter)));
        assert!(matches(&out) == alone, "{name} changes what others say");
        let told = told(&out);
        let kinds: Vec<&str> = told.iter().map(|t| t[0].as_str()).collect();
        match fate {
            Quarantined(limits) => {
                assert_eq!(kinds, ["filter_failed", "filter_quarantined"], "{name}: {told:?}");
                assert_eq!((told[0][2].as_str(), told[1][2].as_str()), ("e0", "e9"), "{name}");
                assert!(told.iter().all(|t| t[1] == name && limits.contains(&t[3].as_str())), "{told:?}");
            }
            Failed(limits) => {
                assert_eq!(kinds, ["filter_failed", "filter_failed"], "{name}: {told:?}");
                assert_eq!((told[0][2].as_str(), told[1][2].as_str()), ("e7", "e1007"), "{name}");
                assert!(told.iter().all(|t| limits.contains(&t[3].as_str())), "{told:?}");
            }
            Harmless => assert_eq!(told, Vec::<[String; 4]>::new(), "{name}"),
        }
        let status = Command::new(env!("CARGO_BIN_EXE_zentral"))
            .current_dir(place.dir.path())
            .args(["status", "--probes"])
            .output()
            .unwrap();
        let records: Vec<Value> =
            String::from_utf8(status.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let one = records.iter().find(|r| r["what"] == "probe" && r["probe"] == name).unwrap();
        let off = matches!(fate, Quarantined(_));
        assert_eq!(one["state"], if off { "quarantined" } else { "on" }, "{one}");
        let health = records.iter().find(|r| r["what"] == "health").unwrap();
        let said = health["why"].to_string().contains(&format!("the filter of probe {name} is off: quarantined"));
        assert_eq!((said, status.status.code()), (off, Some(1)), "no stage runs: {health}");
    }
}

/// Files that are no filters: (name, bytes, what is said of it, where).
fn broken() -> Vec<(&'static str, Vec<u8>, &'static str, &'static str)> {
    let long = format!("# long\n{}", ".a or ".repeat(1_750_000)).into_bytes();
    vec![
        ("syntax", b"# t\n.a ==\n".to_vec(), "filters/syntax.jq:2:6: `probe.syntax.filter`: expected ", "2 | .a =="),
        (
            "unknown",
            b"# t\n.a | nosuch(1)\n".to_vec(),
            "filters/unknown.jq:2:6: `probe.unknown.filter`: unknown function `nosuch/1`",
            "|      ^^^^^^",
        ),
        ("outside", b"import \"../../secret\" as s; .a\n".to_vec(), "filters/outside.jq:1:9: ", "|         ^^^^^^^"),
        ("absolute", b"include \"/etc/passwd\"; .a\n".to_vec(), "filters/absolute.jq:1:10: ", "|          ^^^^^^^"),
        (
            "missing",
            b"import \"nowhere\" as s; .a\n".to_vec(),
            "filters/missing.jq:1:9: `probe.missing.filter`: no file `nowhere.jq`",
            "^^^^^^^",
        ),
        ("long", long, "filters/long.jq:1:1: `probe.long.filter`: text is longer than 1048576 bytes", "1 | # long"),
        (
            "bytes",
            b"# t\n.a == \"\xff\"\n".to_vec(),
            "filters/bytes.jq: line 2 is not UTF-8",
            "filter = \"filters/bytes.jq\"",
        ),
        ("pattern", b".a | test(\"(\")\n".to_vec(), "filters/pattern.jq:1:", "^"),
    ]
}

fn wait(what: &str, text: &dyn Fn() -> String, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "{what}: {}", text());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A stage that runs on, and what it says.
struct Running {
    child: Child,
    said: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Running {
    fn start(place: &Place) -> Self {
        let mut child = place.command(&["--stage", "sift"]).spawn().unwrap();
        let said = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let (mut stderr, into) = (child.stderr.take().unwrap(), said.clone());
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut part) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&part[..n]));
            }
        });
        Self { child, said }
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_is_no_filter_is_refused_with_its_place_and_the_old_ones_go_on() {
    let place = Place::new(&good());
    std::fs::write(place.path("secret.jq"), "def x: 1;").unwrap();
    for (name, bytes, ..) in broken() {
        std::fs::write(place.path(&format!("filters/{name}.jq")), bytes).unwrap();
    }
    let running = Running::start(&place);
    let say = || running.said();
    let seen = |id: &str| place.out().iter().find(|e| e["id"] == id).cloned();
    place.feed(&events(1));
    wait("the first event", &say, || seen("e0").is_some());
    for (n, (name, _, text, drawn)) in (1..).zip(broken()) {
        place.probes(&format!("{}[probe.{name}]\nfilter = \"filters/{name}.jq\"\n", good()));
        let before = running.said().len();
        running.signal(Signal::HUP);
        wait(name, &say, || running.said()[before..].contains("not reloaded"));
        wait(name, &say, || running.said()[before..].contains(text) && running.said()[before..].contains(drawn));
        assert!(running.said().len() - before < 5_000, "{}", running.said());
        place.feed(events(20).lines().nth(n).unwrap());
        wait(name, &say, || seen(&format!("e{n}")).is_some());
        // A start says the same.
        let check =
            Command::new(env!("CARGO_BIN_EXE_zentral")).current_dir(place.dir.path()).arg("check").output().unwrap();
        let said = String::from_utf8(check.stderr).unwrap();
        assert!(check.status.code() == Some(1) && said.contains(text) && said.contains(drawn), "{said}");
    }
    let event = seen("e4").unwrap();
    assert_eq!(event["probes"][0]["name"], "good4", "{event}");
    // Mended, the new set is in force.
    place.probes(&probe("new", ".payload.n == 15"));
    running.signal(Signal::HUP);
    wait("the new set", &say, || running.said().contains(" reloaded"));
    place.feed(events(20).lines().nth(15).unwrap());
    wait("its match", &say, || seen("e15").is_some());
    assert_eq!(seen("e15").unwrap()["probes"][0]["name"], "new");
}

#[test]
fn status_shows_what_a_running_filter_does() {
    let place = Place::new(&format!("{}{}", good(), probe("loop", "def f: f; f")));
    let running = Running::start(&place);
    let say = || running.said();
    place.feed(&events(30));
    wait("the last event", &say, || place.out().iter().any(|e| e["id"] == "e29"));
    let status = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
        let out = command.current_dir(place.dir.path()).args(["status", "--probes"]).output().unwrap();
        let lines = String::from_utf8(out.stdout).unwrap();
        lines.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).collect::<Vec<_>>()
    };
    wait("its figures", &say, || status().iter().any(|r| r["what"] == "probes" && r["events"] == 30));
    let records = status();
    let probes: Vec<&Value> = records.iter().filter(|r| r["what"] == "probe").collect();
    assert_eq!((probes.len(), &probes[0]["probe"]), (21, &"loop".into()), "the dearest first");
    let [hostile, index, both, jq] =
        ["loop", "good4", "good2", "good3"].map(|name| probes.iter().find(|p| p["probe"] == name).unwrap());
    let figures = |p: &Value| ["runs", "matches", "failures"].map(|key| p[key].as_u64().unwrap());
    assert_eq!((figures(hostile), &hostile["state"]), ([10, 0, 10], &"quarantined".into()));
    assert_eq!(hostile["failed"].as_object().unwrap().values().filter_map(Value::as_u64).sum::<u64>(), 10);
    assert!(hostile["seconds"].as_f64().unwrap() > 0.0 && hostile["failures_per_run"] == 1.0);
    assert_eq!((figures(index), &index["decided"], &index["state"]), ([0, 1, 0], &"index".into(), &"on".into()));
    assert_eq!((figures(both), &both["decided"]), ([3, 3, 0], &"index_and_jq".into()), "n2, n12, n22");
    assert_eq!((figures(jq), &jq["decided"], &jq["runs_per_event"]), ([30, 1, 0], &"jq".into(), &1.0.into()));
}

#[test]
fn a_filter_that_dies_with_the_process_is_switched_off() {
    // Slow enough to be met at work: who kills it stands for what no bound has caught.
    let deadly = probe("deadly", "[range(40000)] | length < 0");
    let place = Place::new(&format!("{}{deadly}", good()));
    place.feed(&events(60));
    let note = place.path("data/run/sift.note");
    let noted = || std::fs::read_to_string(&note).unwrap_or_default();
    let mut kills = 0;
    while !noted().starts_with('2') {
        let running = Running::start(&place);
        let say = || running.said();
        let wanted = |text: &str| (text.starts_with('1') || text.starts_with('2')) && text.contains(" deadly e");
        // What the last one left stands until this one has read it.
        let mut left = noted();
        wait("its start", &say, || noted() != left);
        let end = Instant::now() + Duration::from_secs(60);
        while !wanted(&left) {
            assert!(Instant::now() < end && kills < 50, "{kills}: {left} {}", say());
            left = noted();
        }
        running.signal(Signal::KILL);
        kills += 1;
        drop(running);
    }
    let out = place.sift();
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let out = place.out();
    let told = told(&out);
    assert_eq!(
        (told.len(), told[0][0].as_str(), told[0][1].as_str()),
        (1, "filter_switched_off", "deadly"),
        "{told:?}"
    );
    assert_eq!(told[0][3], "crash");
    let events = matches(&out);
    assert_eq!(
        (events.len(), events["e4"][0]["name"].as_str()),
        (60, Some("good4")),
        "every event once, with its matches"
    );
}

/// CPU seconds of a process that has ended, before it is reaped.
fn cpu(child: &mut Child) -> f64 {
    let pid = Pid::from_child(child);
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    child.wait().unwrap();
    // utime and stime, in hundredths.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

#[test]
#[ignore = "a measurement, for people to read"]
#[allow(clippy::print_stdout, reason = "that is what it is for")]
fn what_each_takes_from_the_stream() {
    let n = 20_000;
    let events = events(n);
    let run = |probes: &str| {
        let mut place = Place::new(probes);
        place.feed(&events);
        if let Some(program) = std::env::var_os("ZENTRAL_PROGRAM") {
            place.program = program.into();
        }
        let begun = Instant::now();
        let mut child = place.command(&["--stage", "sift", "--once"]).stderr(Stdio::null()).spawn().unwrap();
        let took = cpu(&mut child);
        (took, begun.elapsed().as_secs_f64(), told(&place.out()))
    };
    let (alone, wall, _) = run(&good());
    eprintln!("{n} events, 20 good probes alone: {alone:.2} s CPU, {wall:.2} s");
    eprintln!("{:<14}{:>8}{:>10}{:>14}  said", "hostile", "CPU s", "more s", "µs an event");
    for (name, filter, _) in HOSTILE {
        let (took, _, told) = run(&format!("{}{}", good(), probe(name, filter)));
        let more = took - alone;
        let said: Vec<String> = told.iter().map(|t| format!("{} {} {}", &t[0][7..], t[2], t[3])).collect();
        let last = said.iter().skip(said.len().saturating_sub(1)).cloned().collect::<String>();
        eprintln!("{name:<14}{took:>8.2}{more:>10.2}{:>14.1}  {} ({last})", more / n as f64 * 1e6, said.len());
    }
}

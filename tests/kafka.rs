//! The same raw lines and the same stages, between shell pipes, over topics on disk and over topics of Kafka: the same
//! matches, the same events stored.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

const STAGES: &str = r#"
[stage.receive]
listen = "127.0.0.1:0"
tls = { cert = "a.pem", key = "b.pem" }
to = "PLACE:raw"
[stage.normalize]
from = "PLACE:raw"
to = "PLACE:events"
[stage.filter]
from = "PLACE:events"
to = "PLACE:annotated"
matches = "PLACE:matches"
[stage.index]
run = "store"
kind = "embedded"
from = "PLACE:annotated"
[probe.usb]
filter = '.type == "osquery_result" and .payload.name == "usb_devices"'
"#;

fn zentral(dir: &Path, words: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_zentral"))
        .args(words)
        .args(["--log", "warn"])
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let out = child.wait_with_output().unwrap();
    let _ = feeder.join();
    assert!(out.status.success(), "{words:?}: {}", out.status);
    out.stdout
}

/// By id, so that neither order nor what came twice matters.
fn by_id(lines: &[u8]) -> BTreeMap<String, String> {
    let lines = String::from_utf8(lines.to_vec()).unwrap();
    let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    lines.lines().map(|line| (id(line), line.to_owned())).collect()
}

fn raw() -> Vec<u8> {
    let line = |n: usize| {
        let name = if n.is_multiple_of(3) { "usb_devices" } else { "users" };
        let body = serde_json::json!({"name": name, "hostIdentifier": "x", "unixTime": 1_795_395_600 + n, "epoch": 0,
            "counter": 5, "columns": {"n": n.to_string()}, "action": "added"});
        let machine = serde_json::json!({"serial_number": format!("C{}", n % 17), "unit": "default"});
        let line = serde_json::json!({"v": 1, "id": format!("01a1ff7a-cbfb-8000-8000-{n:012x}"), "source": "osquery",
            "kind": "result", "received": format!("2026-11-23T01:{:02}:{:02}.000Z", n / 60, n % 60),
            "machine": machine, "body": body});
        format!("{line}\n")
    };
    (0..2000).map(line).collect::<String>().into_bytes()
}

/// A pipeline whose topics are such places, after these stages.
fn ran(place: &str, kafka: &str, stages: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("version = 1\n{kafka}{}", STAGES.replace("PLACE", place));
    std::fs::write(dir.path().join("pipeline.toml"), text).unwrap();
    zentral(dir.path(), &["filter", "-e", "true", "--to", &format!("{place}:raw")], &raw());
    for stage in stages {
        zentral(dir.path(), &["run", stage, "--once"], b"");
    }
    dir
}

/// Matches and stored events of a pipeline whose topics are such places.
fn through(place: &str, kafka: &str) -> [BTreeMap<String, String>; 2] {
    let dir = ran(place, kafka, &["normalize", "filter", "index"]);
    // Every sum holds, and everything was read.
    let status = String::from_utf8(zentral_any(dir.path(), &["status", "--json"])).unwrap();
    assert!(!status.contains("\"ok\":false,\"why\":\"") && status.contains("\"read\":2000"), "{status}");
    let from = format!("{place}:matches");
    let matches = zentral(dir.path(), &["filter", "-e", "true", "--once", "--from", &from], b"");
    [by_id(&matches), by_id(&zentral(dir.path(), &["search", "*", "-n", "0"], b""))]
}

/// The same where the exit code is another's matter: nothing runs here.
fn zentral_any(dir: &Path, words: &[&str]) -> Vec<u8> {
    Command::new(env!("CARGO_BIN_EXE_zentral")).args(words).current_dir(dir).output().unwrap().stdout
}

/// The table of the broker, with topics of this test's own; none: it is skipped, but never in CI.
fn settings(test: &str) -> Option<String> {
    let Ok(broker) = std::env::var("ZENTRAL_TEST_KAFKA") else {
        assert!(std::env::var_os("CI").is_none(), "ZENTRAL_TEST_KAFKA is not set");
        eprintln!("skipped: no Kafka (scripts/services start kafka)");
        return None;
    };
    let prefix = format!("{test}{}.", std::process::id());
    Some(format!("[kafka]\nbrokers = [\"{broker}\"]\nprefix = \"{prefix}\"\npartitions = 3\n"))
}

#[test]
fn pipes_disk_and_kafka_give_the_same() {
    let Some(kafka) = settings("same") else { return };
    let dir = tempfile::tempdir().unwrap();
    let text = format!("version = 1\n{}", &STAGES[STAGES.find("[probe").unwrap()..]);
    std::fs::write(dir.path().join("pipeline.toml"), text).unwrap();
    let events = zentral(dir.path(), &["normalize", "--no-state"], &raw());
    let pipe = by_id(&zentral(dir.path(), &["filter"], &events));
    assert_eq!(pipe.len(), 667);

    let disk = through("topic", "");
    assert_eq!(disk[0], pipe);
    assert_eq!(disk[1].len(), 2000);
    assert!(through("kafka", &kafka) == disk, "Kafka gives something else");
}

#[test]
fn a_pipeline_is_tried_without_its_brokers() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens there, and nobody is asked.
    let kafka = "[kafka]\nbrokers = [\"127.0.0.1:9\"]\n";
    let text = format!("version = 1\n{kafka}{}", STAGES.replace("PLACE", "kafka"));
    std::fs::write(dir.path().join("pipeline.toml"), &text).unwrap();
    std::fs::write(dir.path().join("raw.ndjson"), raw()).unwrap();
    let said = zentral(dir.path(), &["up", "--test", "raw.ndjson", "--data", "tried"], b"");
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("\"probe\":\"usb\",\"matches\":667"), "{said}");
    // Two topics would be one.
    std::fs::write(dir.path().join("pipeline.toml"), text.replace("kafka:matches", "topic:annotated")).unwrap();
    let words = ["up", "--test", "raw.ndjson", "--data", "again"];
    let out = Command::new(env!("CARGO_BIN_EXE_zentral")).args(words).current_dir(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(2) && said.contains("`kafka:annotated` would lie on disk here"), "{said}");
}

/// What is said of a hub whose topics are such places, by all who only look; places and folders have the same names.
fn looks(place: &str, kafka: &str) -> Vec<(String, String)> {
    let dir = ran(place, kafka, &["normalize", "filter"]);
    let old = dir.path().join("old.toml");
    let before = format!(
        "version = 1\n[probe.usb]\nfilter = '.payload.name == \"usb_devices\" and .payload.columns.n > \"5\"'\n"
    );
    std::fs::write(old, before).unwrap();
    let [raw_topic, events, annotated] = ["raw", "events", "annotated"].map(|name| format!("{place}:{name}"));
    let id = by_id(&zentral(dir.path(), &["cat", &annotated], b"")).into_keys().nth(700).unwrap();
    let window = ["--since", "2026-11-23T01:10:00Z", "--until", "2026-11-23T01:19:59Z"];
    let all: [&[&str]; 13] = [
        &["cat", &raw_topic],
        &["cat", &events, "--count"],
        &["cat", "annotated", "--count"],
        &[&["cat", raw_topic.as_str(), "--count"], &window[..]].concat(),
        &["cat", &annotated, "--where", ".probes and .payload.columns.n == \"33\""],
        &["replay"],
        &[&["replay", "--raw"], &window[..]].concat(),
        &["replay", "--events"],
        &[&["replay", "--events"], &window[..]].concat(),
        &["plan", "old.toml", "--since", "2026-11-23", "--json", "--samples", "0"],
        &[&["plan", "old.toml", "--json", "--samples", "0"], &window[..]].concat(),
        &["explain", &id, "usb", "--json"],
        &["explain", &id],
    ];
    let said = |words: &[&str]| {
        let text = String::from_utf8(zentral_any(dir.path(), words)).unwrap();
        assert!(!text.is_empty(), "{words:?}");
        // Across partitions there is no order.
        let mut lines: Vec<&str> = text.lines().collect();
        if words[0] == "cat" || words[0] == "replay" {
            lines.sort_unstable();
        }
        let text = lines.join("\n").replace(&format!("{place}:"), "PLACE:");
        // Where a raw line lies is said of each in its own way.
        let text = [("\"offset\":", ","), ("\"partition\":", ","), ("PLACE:raw ", "{")].iter().fold(
            text,
            |text, (from, to)| {
                let Some(at) = text.find(from) else { return text };
                let end = at + text[at..].find(to).unwrap();
                format!("{}{}", &text[..at], text[end..].trim_start_matches(','))
            },
        );
        (words.join(" ").replace(place, "PLACE"), text)
    };
    let mut all: Vec<_> = all.into_iter().map(said).collect();
    // Lines of one machine come in their order.
    let machine = zentral(dir.path(), &["cat", &raw_topic, "--where", ".machine.serial_number == \"C3\""], b"");
    all.push(("one machine".into(), String::from_utf8(machine).unwrap()));
    let last = zentral(dir.path(), &["cat", &raw_topic, "-n", "5"], b"");
    all.push(("last".into(), last.iter().filter(|b| **b == b'\n').count().to_string()));
    all
}

#[test]
fn who_looks_sees_the_same_on_disk_and_in_kafka() {
    let Some(kafka) = settings("looks") else { return };
    let (disk, kafka) = (looks("topic", ""), looks("kafka", &kafka));
    let of = |words: &str| disk.iter().find(|(said, _)| said == words).map(|(_, text)| text.as_str()).unwrap();
    assert_eq!(of("cat PLACE:raw").lines().count(), 2000);
    assert_eq!(of("cat PLACE:raw --count --since 2026-11-23T01:10:00Z --until 2026-11-23T01:19:59Z"), "600");
    assert_eq!(of("one machine").lines().count(), 118);
    assert_eq!(of("last"), "5");
    for (disk, kafka) in disk.iter().zip(&kafka) {
        assert!(disk == kafka, "{}: {:.3000}\nis in Kafka\n{:.3000}", disk.0, disk.1, kafka.1);
    }
}

#[test]
fn a_topic_is_followed_and_one_that_is_not_there_is_said() {
    let Some(kafka) = settings("follow") else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pipeline.toml"), format!("version = 1\n{kafka}")).unwrap();
    let run = |words: &[&str]| Command::new(env!("CARGO_BIN_EXE_zentral")).args(words).current_dir(dir.path()).output();
    let none = run(&["cat", "kafka:lines"]).unwrap();
    let said = String::from_utf8_lossy(&none.stderr);
    assert!(none.status.code() == Some(2) && said.contains("there is no topic `kafka:lines` yet"), "{said}");
    let put = |n: usize| {
        let line = format!("{{\"source\":\"s\",\"n\":{n}}}\n");
        zentral(dir.path(), &["filter", "-e", "true", "--to", "kafka:lines"], line.as_bytes());
    };
    put(1);
    let mut follower = Command::new(env!("CARGO_BIN_EXE_zentral"))
        .args(["cat", "kafka:lines", "-f", "-n", "1"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "{\"source\":\"s\",\"n\":1}");
    for n in 2..5 {
        put(n);
        assert_eq!(lines.next().unwrap().unwrap(), format!("{{\"source\":\"s\",\"n\":{n}}}"));
    }
    follower.kill().unwrap();
    follower.wait().unwrap();
    // Where nobody answers that is said, in time.
    std::fs::write(dir.path().join("pipeline.toml"), "version = 1\n[kafka]\nbrokers = [\"127.0.0.1:9\"]\n").unwrap();
    let begun = std::time::Instant::now();
    let nobody = run(&["cat", "kafka:lines"]).unwrap();
    assert!(nobody.status.code() == Some(4) && begun.elapsed().as_secs() < 10, "{nobody:?}");
}

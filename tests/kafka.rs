//! The same raw lines and the same stages, between shell pipes, over topics on disk and over topics of Kafka: the same
//! matches, the same events stored.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::io::Write as _;
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
            "kind": "result", "received": "2026-11-23T01:00:00.000Z", "machine": machine, "body": body});
        format!("{line}\n")
    };
    (0..2000).map(line).collect::<String>().into_bytes()
}

/// Matches and stored events of a pipeline whose topics are such places.
fn through(place: &str, kafka: &str) -> [BTreeMap<String, String>; 2] {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("version = 1\n{kafka}{}", STAGES.replace("PLACE", place));
    std::fs::write(dir.path().join("pipeline.toml"), text).unwrap();
    zentral(dir.path(), &["filter", "-e", "true", "--to", &format!("{place}:raw")], &raw());
    for stage in ["normalize", "filter", "index"] {
        zentral(dir.path(), &["run", stage, "--once"], b"");
    }
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

#[test]
fn pipes_disk_and_kafka_give_the_same() {
    let Ok(broker) = std::env::var("ZENTRAL_TEST_KAFKA") else {
        assert!(std::env::var_os("CI").is_none(), "ZENTRAL_TEST_KAFKA is not set");
        eprintln!("skipped: no Kafka (scripts/services start kafka)");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let text = format!("version = 1\n{}", &STAGES[STAGES.find("[probe").unwrap()..]);
    std::fs::write(dir.path().join("pipeline.toml"), text).unwrap();
    let events = zentral(dir.path(), &["normalize", "--no-state"], &raw());
    let pipe = by_id(&zentral(dir.path(), &["filter"], &events));
    assert_eq!(pipe.len(), 667);

    let disk = through("topic", "");
    assert_eq!(disk[0], pipe);
    assert_eq!(disk[1].len(), 2000);
    let prefix = format!("same{}.", std::process::id());
    let settings = format!("[kafka]\nbrokers = [\"{broker}\"]\nprefix = \"{prefix}\"\npartitions = 3\n");
    assert!(through("kafka", &settings) == disk, "Kafka gives something else");
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
    assert!(said.contains("{\"probe\":\"usb\",\"matches\":667"), "{said}");
    // Two topics would be one.
    std::fs::write(dir.path().join("pipeline.toml"), text.replace("kafka:matches", "topic:annotated")).unwrap();
    let words = ["up", "--test", "raw.ndjson", "--data", "again"];
    let out = Command::new(env!("CARGO_BIN_EXE_zentral")).args(words).current_dir(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(2) && said.contains("`kafka:annotated` would lie on disk here"), "{said}");
}

//! Two thousand raw lines of seventeen machines, and a pipeline for them whose topics lie where one wants.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

pub const STAGES: &str = r#"
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

pub const LINES: usize = 2000;
pub const MACHINES: usize = 17;

pub fn command(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
    command.args(words).current_dir(dir);
    command
}

pub fn zentral(dir: &Path, words: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child =
        command(dir, words).args(["--log", "warn"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let out = child.wait_with_output().unwrap();
    let _ = feeder.join();
    assert!(out.status.success(), "{words:?}: {}", out.status);
    out.stdout
}

/// The same where the exit code is another's matter.
pub fn zentral_any(dir: &Path, words: &[&str]) -> String {
    String::from_utf8(command(dir, words).output().unwrap().stdout).unwrap()
}

pub fn events(lines: &[u8]) -> impl Iterator<Item = (Value, &str)> {
    let lines = std::str::from_utf8(lines).unwrap().lines();
    lines.map(|line| (serde_json::from_str(line).unwrap(), line))
}

/// By id, so that neither order nor what came twice matters.
pub fn by_id(lines: &[u8]) -> BTreeMap<String, String> {
    events(lines).map(|(event, line)| (event["id"].as_str().unwrap().to_owned(), line.to_owned())).collect()
}

/// Lines of these numbers, a second apart.
pub fn raw(numbers: Range<usize>) -> Vec<u8> {
    let line = |n: usize| {
        let name = if n.is_multiple_of(3) { "usb_devices" } else { "users" };
        let body = serde_json::json!({"name": name, "hostIdentifier": "x", "unixTime": 1_795_395_600 + n, "epoch": 0,
            "counter": 5, "columns": {"n": n.to_string()}, "action": "added"});
        let machine = serde_json::json!({"serial_number": format!("C{}", n % MACHINES), "unit": "default"});
        let line = serde_json::json!({"v": 1, "id": format!("01a1ff7a-cbfb-8000-8000-{n:012x}"), "source": "osquery",
            "kind": "result", "received": format!("2026-11-23T01:{:02}:{:02}.000Z", n / 60, n % 60), "machine": machine, "body": body});
        format!("{line}\n")
    };
    numbers.map(line).collect::<String>().into_bytes()
}

/// `[kafka]` with a prefix that no other test has.
pub fn settings(broker: &str, word: &str, more: &str) -> String {
    let prefix = format!("{word}{}.", std::process::id());
    format!("[kafka]\nbrokers = [\"{broker}\"]\nprefix = \"{prefix}\"\npartitions = 3\n{more}")
}

//! A data folder as a hub leaves it, made of recorded raw lines by `zentral up --test`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// The stages, an action, and the folder `filters`.
const PIPELINE: &str = r#"version = 1
[stage.receive]
listen = "127.0.0.1:0"
tls = { cert = "tls/hub.pem", key = "tls/hub.key" }
to = "topic:raw"
[stage.normalize]
from = ["topic:raw", "topic:outcomes"]
to = "topic:normalized"
[stage.filter]
from = "topic:normalized"
to = "topic:events"
matches = "topic:matches"
[stage.act]
from = "topic:matches"
to = "topic:outcomes"
[stage.store]
kind = "embedded"
from = "topic:events"
keep = "30d"
search = true
[unit.berlin]
[action.note]
kind = "file"
path = "note.ndjson"
"#;

/// The query of a probe `usb` with the SQL `select vendor, model from usb_devices`.
pub const QUERY: &str = "zentral/usb/b2a32581";

pub struct Recorded {
    pub dir: tempfile::TempDir,
}

impl Recorded {
    /// `probes` are TOML; `files` are names and texts in the folder `filters`.
    pub fn new(probes: &str, files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("filters")).unwrap();
        std::fs::write(dir.path().join("pipeline.toml"), format!("{PIPELINE}{probes}")).unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join("filters").join(name), text).unwrap();
        }
        Self { dir }
    }

    /// Runs the pipeline over these lines.
    pub fn record(&self, raw: &[Value]) {
        let lines: String = raw.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(self.path("raw.ndjson"), lines).unwrap();
        let out = self.run(&["up", "--test", "raw.ndjson", "--data", "data"], "");
        assert!(out.status.success(), "{out:?}");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn run(&self, words: &[&str], stdin: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
        command.current_dir(self.dir.path()).args(words).env_remove("ZENTRAL_CONFIG").env_remove("ZENTRAL_DATA");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that looks at its words first may be gone by now.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Exit code, stdout, stderr.
    pub fn says(&self, words: &[&str], stdin: &str) -> (i32, String, String) {
        let out = self.run(words, stdin);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    }

    /// The events of the topic, in order.
    pub fn events(&self) -> Vec<Value> {
        let (_, out, _) = self.says(&["cat", "events"], "");
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// What three agents have logged, recorded: results, snapshots, batches.
pub fn logs() -> [Vec<Value>; 3] {
    let files =
        ["filebeat/darwin_head.log", "osquery-tests/kafka_producer.ndjson", "authored-osquery/edge_results.ndjson"];
    files.map(|file| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/osquery").join(file);
        std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    })
}

/// A raw line of osquery's, the `n`-th: what of `body` is not given is as agents have it.
pub fn raw(n: u32, name: &str, body: &Value) -> Value {
    let mut whole = json!({"name": name, "hostIdentifier": "C02", "unixTime": 1_795_000_000 + n, "counter": 3});
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    let machine = json!({"serial_number": "C02", "hostname": "ada-mbp", "platform": "macos", "unit": "berlin"});
    json!({
        "v": 1, "id": id(n), "source": "osquery", "kind": "result", "received": format!("2026-11-18T11:06:{:02}.001Z", 40 + n),
        "machine": machine, "request": {"ip": "203.0.113.9", "user_agent": "osquery/5.23.0"}, "body": whole,
    })
}

/// The id of the `n`-th raw line, and of its event if that is one.
pub fn id(n: u32) -> String {
    format!("019f0000-0000-8000-8000-{n:012}")
}

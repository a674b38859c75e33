//! What Jamf servers and webhooks say, through the whole pipeline; and what is found wrong with their tables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::path::Path;
use std::process::{Command, Output};

mod support;

use serde_json::{Value, json};
use support::hub::Hub;

const TABLES: &str = r#"version = 1
[unit.berlin]
[source.jamf-prod]
kind = "jamf"
url = "https://jss.invalid"
client = { id = "6b1c", secret = "of-the-api-client" }
webhook = { secret = "of-the-webhooks" }
[source.door]
kind = "webhook"
type = "door_opened"
bearer = "of-the-door"
machine = '.host'
payload = 'select(.who != "nobody") | {who, door: .where.door}'
time = '.at'
[stage.receive]
listen = "127.0.0.1:0"
tls = { cert = "a", key = "b" }
to = "topic:raw"
[stage.jamf]
run = "pull jamf-prod"
from = "topic:raw"
to = "topic:pulled"
[stage.sift]
run = "normalize | filter"
from = ["topic:raw", "topic:pulled"]
to = "topic:events"
matches = "topic:matches"
[probe.checkins]
filter = '.type == "jamf_computer_checkin" and .machine.serial_number == "C07NEWKFJHEWL"'
[probe.doors]
filter = '.type == "door_opened" and .payload.door == "north"'
"#;

fn zentral(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
    command.arg("-c").arg(dir.join("pipeline.toml")).args(args).output().unwrap()
}

fn raw(source: &str, kind: &str, machine: Value, body: &Value) -> String {
    let id = format!("01a1ff7a-cbfb-8000-8000-{:012x}", body.to_string().len());
    let line = json!({"v": 1, "id": id, "source": source, "kind": kind, "received": "2026-01-06T08:00:00Z",
        "machine": machine, "body": body});
    format!("{line}\n")
}

#[test]
fn webhooks_become_events_of_their_tables() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pipeline.toml"), TABLES).unwrap();
    let recorded = include_str!("data/jamf/zentral/jamf_webhook_checkin.ndjson").trim();
    let checkin: Value = serde_json::from_str(recorded).unwrap();
    let lines = [
        raw("jamf-prod", "webhook", json!({"serial_number": "C07NEWKFJHEWL"}), &checkin),
        raw(
            "door",
            "door_opened",
            json!({}),
            &json!({"host": "C02", "who": "ada", "at": "2026-01-06T07:59:00Z", "where": {"door": "north"}}),
        ),
        raw("door", "door_opened", json!({}), &json!({"host": "C02", "who": "nobody"})),
        raw("door", "door_opened", json!({}), &json!({"host": ["C02"], "who": "broken"})),
    ];
    std::fs::write(dir.path().join("raw.ndjson"), lines.concat()).unwrap();
    let data = dir.path().join("data");
    let file = dir.path().join("raw.ndjson");
    let out = zentral(dir.path(), &["--data", data.to_str().unwrap(), "up", "--test", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(3), "one was refused: {said}");
    let out = zentral(dir.path(), &["--data", data.to_str().unwrap(), "cat", "events"]);
    let events: Vec<Value> =
        String::from_utf8(out.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 2, "{events:?}\n{said}");
    assert_eq!((&events[0]["type"], &events[0]["source"]), (&json!("jamf_computer_checkin"), &json!("jamf-prod")));
    assert_eq!(events[0]["payload"], checkin["event"], "unchanged");
    assert_eq!(events[0]["probes"][0]["name"], "checkins");
    assert_eq!((&events[1]["type"], &events[1]["time"]), (&json!("door_opened"), &json!("2026-01-06T07:59:00.000Z")));
    assert_eq!(
        (&events[1]["machine"], &events[1]["payload"]),
        (&json!({"serial_number": "C02"}), &json!({"who": "ada", "door": "north"}))
    );
    assert_eq!(events[1]["probes"][0]["name"], "doors");
    let refused = std::fs::read_to_string(data.join("refused/sift.ndjson")).unwrap();
    assert!(refused.contains("\"program\"") && refused.contains("machine: no machine"), "{refused}");
}

#[test]
fn check_says_what_is_wrong_with_their_tables() {
    let dir = tempfile::tempdir().unwrap();
    let check = |from: &str, to: &str| {
        assert!(TABLES.contains(from), "{from}");
        std::fs::write(dir.path().join("pipeline.toml"), TABLES.replace(from, to)).unwrap();
        let out = zentral(dir.path(), &["check"]);
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    for (from, to, says) in [
        ("machine = '.host'", "machine = '.host | {'", "source.door.machine"),
        ("time = '.at'", "time = 'when.jq'", "when.jq"),
        ("time = '.at'", "tme = '.at'", "did you mean `time`"),
        ("url = \"https://jss.invalid\"\n", "", "needs the key `url`"),
        ("url = \"https://jss.invalid\"\n", "url = \"https://jss.invalid\"\nevry = \"1h\"\n", "did you mean `every`"),
        ("secret = \"of-the-webhooks\"", "secret = { env = \"NO_SUCH_VARIABLE_1\" }", "NO_SUCH_VARIABLE_1 is not set"),
        (
            "secret = \"of-the-api-client\"",
            "secret = { env = \"NO_SUCH_VARIABLE_2\" }",
            "NO_SUCH_VARIABLE_2 is not set",
        ),
        ("run = \"pull jamf-prod\"", "run = \"pull door\"", "cannot be asked"),
        ("kind = \"jamf\"", "kind = \"fax\"", "the source `fax` is not supported by this version"),
    ] {
        let (code, said) = check(from, to);
        assert!(code == Some(1) && said.contains(says), "{to}: {code:?}\n{said}");
        assert!(!said.contains("of-the-"), "{said}");
    }
}

#[test]
fn nobody_enrols_with_them() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pipeline.toml"), TABLES).unwrap();
    for source in ["jamf", "webhook", "jamf-prod"] {
        let out = zentral(dir.path(), &["enrol", "new", "--source", source]);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(2) && said.contains("no source that machines enrol with"), "{said}");
    }
}

/// The first example of docs/webhooks.md, word for word, at a running hub.
#[test]
fn the_shortest_webhook_of_the_manual() {
    let page = include_str!("../docs/webhooks.md");
    let block = |kind: &str| page.split_once(&format!("```{kind}\n")).unwrap().1.split_once("```").unwrap().0;
    let (_, shortest) = page.split_once("## The shortest one").unwrap();
    let table = shortest.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0;
    let mut hub = Hub::new(&format!("\n{table}"));
    std::fs::write(hub.path("hello.secret"), "0123456789abcdef\n").unwrap();
    hub.start();
    hub.wait("the hub", 60, || std::net::TcpStream::connect(("127.0.0.1", hub.port)).is_ok());
    let script = block("sh").lines().next().unwrap().replace(":8443", &format!(":{}", hub.port));
    let said = Command::new("sh").args(["-ec", &script]).current_dir(hub.path("")).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    hub.wait("the event", 60, || hub.events("type:hello").len() == 1);
    assert_eq!(hub.events("type:hello")[0]["machine"]["hostname"], "bastion-1");
}

//! A machine with osquery: enrolment, configuration, results, a live query, a carve; its inventory.

use std::io::Read as _;
use std::process::Stdio;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::agent::{Agent, Client};
use crate::support::hub::Hub;
use crate::{end, event, start};

const PROBE: &str = "\n[probe.usb]\nscope = { platforms = [\"linux\"] }\n\
    query = { sql = \"select vendor, model from usb_devices\", interval = \"30s\" }\nfilter = '.payload.action == \"added\"'\n";

fn post(client: &mut Client, call: &str, body: &Value) -> Value {
    let (status, answer) = client.post(&format!("/public/osquery/{call}"), body).unwrap();
    assert_eq!(status, 200, "{call}: {answer}");
    answer
}

#[test]
fn from_enrolment_to_a_carve() {
    let mut hub = Hub::new(PROBE);
    start(&mut hub);
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret(), "C02OSQ1");
    agent.enrol().unwrap();
    let key = json!(agent.node_key);
    let config = post(&mut agent.client, "config", &json!({"node_key": key}));
    let schedule = config["schedule"].as_object().unwrap();
    let (query, told) = schedule.iter().find(|(name, _)| name.starts_with("zentral/usb/")).unwrap();
    assert_eq!((&told["query"], &told["interval"]), (&json!("select vendor, model from usb_devices"), &json!(30)));
    assert!(schedule["ztl-inv"]["query"].as_str().unwrap().contains("deb_packages"), "its platform is known");
    assert_eq!(post(&mut agent.client, "config", &json!({"node_key": "no"}))["node_invalid"], true);

    let now = jiff::Timestamp::now().as_second();
    let row = |counter: u64, model: &str| {
        json!({"name": query, "hostIdentifier": "h", "unixTime": now, "epoch": 0, "counter": counter,
        "action": "added", "columns": {"vendor": "SanDisk", "model": model}})
    };
    let inventory = |at: i64, version: &str| {
        json!({"name": "ztl-inv", "hostIdentifier": "h", "unixTime": at, "action": "snapshot", "snapshot": [
        {"table_name": "os_version", "name": "Ubuntu", "version": version, "major": "24", "minor": "4"},
        {"table_name": "deb_packages", "name": "xz-utils", "version": "5.2.4-1", "arch": "amd64"}]})
    };
    assert!(agent.log(&[row(0, "first run"), row(1, "Ultra"), inventory(now - 60, "24.04.1")]).unwrap());
    assert!(agent.log(&[inventory(now + 5, "24.04.2")]).unwrap());
    let result = event(&hub, "the result", |event| event["payload"]["columns"]["model"] == "Ultra");
    assert_eq!((&result["type"], &result["probes"][0]["name"]), (&json!("osquery_result"), &json!("usb")));
    let first = event(&hub, "the first run", |event| event["payload"]["columns"]["model"] == "first run");
    assert_eq!(first.get("probes"), None, "what was there before is no match");
    let version = event(&hub, "a new version", |event| event["type"] == "inventory_os_version_update");
    assert_eq!(
        (&version["payload"]["action"], &version["machine"]["os_version"]),
        (&json!("changed"), &json!("24.04.2"))
    );

    // A live query that carves: its row announces the carve.
    let sql = "select * from carves where path = '/etc/hosts' and carve = 1";
    let mut command = hub.command(&["query", sql, "--wait", "60s"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut asked = Value::Null;
    hub.wait("the query", 30, || {
        asked = post(&mut agent.client, "distributed/read", &json!({"node_key": key}));
        asked["queries"].as_object().is_some_and(|all| !all.is_empty())
    });
    let name = asked["queries"].as_object().unwrap().keys().next().unwrap().clone();
    assert_eq!(asked["queries"][&name], sql);
    let carve =
        json!({"carve": "1", "status": "SCHEDULED", "carve_guid": "g-1", "path": "/etc/hosts", "request_id": name});
    let answer = json!({"node_key": key, "queries": {&name: [carve]}, "statuses": {&name: 0}});
    assert_eq!(post(&mut agent.client, "distributed/write", &answer), json!({}));
    let mut rows = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rows).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rows}");
    let row: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    assert_eq!((&row["machine"], &row["columns"]["carve_guid"]), (&json!("C02OSQ1"), &json!("g-1")));

    let data: Vec<u8> = (0..5000u32).flat_map(u32::to_le_bytes).collect();
    let announced = json!({"node_key": key, "carve_id": "g-1", "request_id": name, "block_count": 2, "block_size": 16_384, "carve_size": data.len()});
    let session = post(&mut agent.client, "carver/start", &announced)["session_id"].clone();
    for (n, block) in data.chunks(16_384).enumerate().collect::<Vec<_>>().into_iter().rev() {
        let data = base64::engine::general_purpose::STANDARD.encode(block);
        let block = json!({"session_id": session, "block_id": n, "request_id": name, "data": data});
        assert_eq!(post(&mut agent.client, "carver/continue", &block), json!({}));
    }
    let done = event(&hub, "the carve", |event| {
        event["type"] == "osquery_file_carving" && event["payload"]["action"] == "finish"
    });
    assert_eq!(
        (&done["payload"]["path"], &done["machine"]["serial_number"]),
        (&json!("/etc/hosts"), &json!("C02OSQ1"))
    );
    let file = hub.path("data/carves").join(done["payload"]["file"].as_str().unwrap());
    assert_eq!(std::fs::read(file).unwrap(), data);
    assert!(!hub.ok(&["cat", "raw"]).contains(session.as_str().unwrap()), "a session is a credential");
    end(hub);
}

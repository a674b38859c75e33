//! What results mean, with the real programs: a tag that a query gives changes what an agent is told next; checks stand as
//! they were told, once, whatever is killed meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::agent::Agent;
use support::hub::{Hub, signal};

const PROBES: &str = r#"
[probe.disk]
filter = '.payload.snapshot | any(.ztl_status == "FAILED")'
query  = { sql = "select 'OK' as ztl_status", interval = "1h", snapshot = true, compliance = true }

[probe.admins]
filter = "true"
query  = { sql = "select username from users where gid = 80", interval = "1h", snapshot = true, tag = "has-admins" }

[probe.who]
scope  = { tags = ["has-admins"] }
filter = "true"
query  = { sql = "select user from logged_in_users", interval = "1h" }
"#;
/// Snapshots sent while stages are killed.
const SNAPSHOTS: i64 = 60;

/// The payloads of the events of a type, in their order.
fn payloads(hub: &Hub, type_: &str) -> Vec<Value> {
    let chosen = format!(".type == \"{type_}\"");
    let text = hub.ok(&["cat", "events", "--where", &chosen]);
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["payload"].clone()).collect()
}

/// The names of the queries that the agent is told to run.
fn schedule(agent: &mut Agent) -> Vec<String> {
    let (_, config) = agent.client.post("/public/osquery/config", &json!({"node_key": agent.node_key})).unwrap();
    config["schedule"].as_object().unwrap().keys().cloned().collect()
}

fn told(agent: &mut Agent, probe: &str) -> Option<String> {
    schedule(agent).into_iter().find(|name| name.starts_with(&format!("zentral/{probe}/")))
}

fn snapshot(name: &str, at: i64, rows: Value) -> Value {
    json!({"name": name, "action": "snapshot", "unixTime": at, "counter": 0, "epoch": 0, "snapshot": rows})
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

#[test]
fn tags_reach_scopes_and_checks_are_told_once() {
    let mut hub = Hub::new(PROBES);
    let secret = hub.secret();
    let mut agent = Agent::new(&hub.ca(), hub.port, &secret, "RESULTS1");
    hub.start();
    hub.wait("the hub to answer", 60, || agent.enrol().is_ok());
    let (disk, admins) = (told(&mut agent, "disk").unwrap(), told(&mut agent, "admins").unwrap());
    assert_eq!(told(&mut agent, "who"), None, "it has no such tag yet");
    assert!(agent.log(&[snapshot(&admins, now() - 100, json!([{"username": "ada"}]))]).unwrap());
    hub.wait("the tag to reach the scope", 30, || told(&mut agent, "who").is_some());
    let machine: Value = serde_json::from_str(&hub.ok(&["machine", "show", "RESULTS1"])).unwrap();
    assert_eq!(machine["tags"], json!(["has-admins"]));
    let who = told(&mut agent, "who").unwrap();
    let row =
        json!({"name": who, "action": "added", "unixTime": now(), "epoch": 0, "counter": 1, "columns": {"user": "a"}});
    assert!(agent.log(&[row]).unwrap());
    hub.wait("the probe of that scope to match", 30, || hub.matched("who") == 1);
    assert!(agent.log(&[snapshot(&admins, now(), json!([]))]).unwrap());
    hub.wait("the tag to go", 30, || told(&mut agent, "who").is_none());
    let by = |action: &str| json!({"action": action, "tag": "has-admins", "by": "zentral/admins"});
    assert_eq!(payloads(&hub, "machine_tag"), [by("added"), by("removed")]);

    // Three times OK, three times FAILED, and so on: a change every third time, and a batch in four comes twice.
    let begun = now() - SNAPSHOTS;
    let (mut batch, mut kills) = (Vec::new(), 0);
    for n in 0..SNAPSHOTS {
        let status = if n / 3 % 2 == 0 { "OK" } else { "FAILED" };
        batch.push(snapshot(&disk, begun + n, json!([{"ztl_status": status}])));
        hub.wait("the hub to take it", 60, || agent.log(&batch).is_ok_and(|taken| taken));
        if n % 4 != 0 {
            batch.clear();
        }
        if n % 7 == 3 {
            let stages = hub.stages();
            let normalize = stages.iter().find(|(name, _)| name == "normalize");
            kills += normalize.map_or(0, |(_, pid)| usize::from(signal(*pid, Signal::KILL)));
        }
    }
    assert!(kills > 1, "{kills} kills");
    let times = usize::try_from(SNAPSHOTS / 3).unwrap();
    hub.wait("all checks to be told", 60, || payloads(&hub, "osquery_check_status_updated").len() >= times);
    hub.wait("both sums to hold", 60, || hub.run(&["status"]).status.success());
    let (checks, machines) =
        (payloads(&hub, "osquery_check_status_updated"), payloads(&hub, "machine_compliance_change"));
    let mut before = Value::Null;
    for (n, (check, machine)) in checks.iter().zip(&machines).enumerate() {
        let status = json!(if n % 2 == 0 { "OK" } else { "FAILED" });
        assert_eq!(check["check"], "disk");
        for said in [check, machine] {
            assert_eq!((&said["status"], &said["previous_status"]), (&status, &before), "{n}");
        }
        before = status;
    }
    assert_eq!((checks.len(), machines.len()), (times, times), "each change once");
    let machine: Value = serde_json::from_str(&hub.ok(&["machine", "show", "RESULTS1"])).unwrap();
    assert_eq!((&machine["compliance"], &machine["tags"]), (&json!("FAILED"), &json!([])));
    assert_eq!((&machine["checks"][0]["check"], &machine["checks"][0]["status"]), (&json!("disk"), &json!("FAILED")));
    assert_eq!(hub.stop(), Some(0));
}

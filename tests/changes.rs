//! What actions do about machines, from the agent's request to the effect: it is asked, tagged, and something is put into
//! its manifest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use serde_json::{Value, json};
use support::agent::Agent;
use support::hub::Hub;

const PIPELINE: &str = r#"
[action.look]
kind   = "osquery"
sql    = "select sha256 from hash where path = :path"
values = '{path: .event.payload.columns.path}'

[action.mark]
kind = "tag"
add  = ["rogue"]

[action.slate]
kind = "munki"
repo = "munki"
item = '.probe.context.item'
max  = "50/h"

[probe.seen]
filter = '.type == "osquery_result" and .payload.columns.path'
act    = ["look"]

[probe.bad]
filter = '.type == "osquery_distributed_query_result" and (.payload.rows | any(.sha256 == "bad")) | if . then {item: "Foo"} else false end'
act    = ["mark", "slate"]

[probe.again]
filter = '.type == "machine_tag"'
act    = ["look"]
"#;

const MANIFEST: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\">\n<dict>\n\t<!-- ada -->\n\
    \t<key>catalogs</key>\n\t<array>\n\t\t<string>production</string>\n\t</array>\n</dict>\n</plist>\n";

/// Queries that the agent is given now, by name.
fn given(agent: &mut Agent) -> serde_json::Map<String, Value> {
    let body = json!({"node_key": agent.node_key});
    let (_, answer) = agent.client.post("/public/osquery/distributed/read", &body).unwrap();
    answer["queries"].as_object().unwrap().clone()
}

fn events(hub: &Hub, filter: &str) -> Vec<Value> {
    let lines = hub.ok(&["cat", "events", "--where", filter]);
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_an_agent_says_changes_what_it_is_asked_and_told() {
    let mut hub = Hub::new(PIPELINE);
    std::fs::create_dir_all(hub.path("munki/manifests")).unwrap();
    std::fs::write(hub.path("munki/manifests/C02AA"), MANIFEST).unwrap();
    assert!(hub.run(&["check"]).status.success());
    hub.start();
    let (secret, port) = (hub.secret(), hub.port);
    hub.wait("receive", 30, || hub.path("data/run/receive.addr").exists());
    let mut agents = ["C02AA", "C02BB"].map(|serial| Agent::new(&hub.ca(), port, &secret, serial));
    agents.iter_mut().for_each(|agent| agent.enrol().unwrap());
    let [agent, other] = &mut agents;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let seen = json!({"name": "t", "hostIdentifier": "h", "unixTime": now, "counter": 3, "action": "added",
        "columns": {"path": "/tmp/it's' or 1=1; --"}});
    assert!(agent.log(&[seen]).unwrap());
    let mut queries = serde_json::Map::new();
    hub.wait("a query", 30, || {
        queries = given(agent);
        !queries.is_empty()
    });
    assert!(given(other).is_empty(), "the machine of the match and no other");
    let (name, sql) = queries.iter().next().unwrap();
    assert_eq!(sql, "select sha256 from hash where path = '/tmp/it''s'' or 1=1; --'");
    let answer = json!({"node_key": agent.node_key, "queries": {name: [{"sha256": "bad"}]}, "statuses": {name: 0}});
    assert_eq!(agent.client.post("/public/osquery/distributed/write", &answer).unwrap().0, 200);

    let manifest = hub.path("munki/manifests/C02AA");
    hub.wait("the manifest", 30, || std::fs::read_to_string(&manifest).unwrap().contains("Foo"));
    let list = "\t<key>managed_uninstalls</key>\n\t<array>\n\t\t<string>Foo</string>\n\t</array>\n</dict>";
    assert_eq!(std::fs::read_to_string(&manifest).unwrap(), MANIFEST.replace("</dict>", list));
    hub.wait("the tag", 30, || {
        let machine: Value = serde_json::from_str(&hub.ok(&["machine", "show", "C02AA"])).unwrap();
        machine["tags"].as_array().is_some_and(|tags| tags.contains(&json!("rogue")))
    });
    let first = &events(&hub, ".type == \"osquery_result\"")[0];
    let answer = &events(&hub, ".type == \"osquery_distributed_query_result\"")[0];
    let cause = |event: &Value| event["cause"].as_object().map(|cause| cause["action"].clone());
    assert_eq!(answer["cause"], json!({"event": first["id"], "probe": "seen", "action": "look"}));
    assert!(answer["payload"].get("cause").is_none());
    hub.wait("the change", 30, || !events(&hub, ".type == \"machine_tag\"").is_empty());
    assert_eq!(cause(&events(&hub, ".type == \"machine_tag\"")[0]), Some(json!("mark")));
    // The tag was matched as well; but a chain ends after one turn.
    hub.wait("the end of it", 30, || hub.ok(&["act", "dead"]).contains("every chain ends after one turn"));
    assert!(given(agent).is_empty());
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
}

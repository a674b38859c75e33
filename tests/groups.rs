//! Scopes by groups and by machine, from an inventory to what an agent is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use serde_json::Value;
use support::agent::{Agent, record};
use support::hub::Hub;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The events of this type.
fn of(hub: &Hub, topic: &str, word: &str) -> Vec<Value> {
    lines(&hub.ok(&["cat", topic])).into_iter().filter(|line| line["type"] == word).collect()
}

/// Groups come from the inventory, here of a source that is a program; scopes by groups and by key hold in the agent's
/// configuration, in live queries and in filters.
#[test]
fn an_agent_is_told_what_its_groups_are_told() {
    let mut hub = Hub::new(
        r#"
[contact.ada]
email = "ada@example.com"
groups = ["secops"]
[stage.sal]
run = ["cat", "sal.ndjson"]
every = "1s"
to = "topic:sal"
[probe.dev]
scope = { groups = ["dev"] }
query = { sql = "select 1" }
filter = "true"
[probe.sec]
scope = { groups = ["secops", "x"], not_machines = ["GROUPED2"] }
query = { sql = "select 2" }
filter = "true"
[probe.rest]
scope = { not_groups = ["dev"], machines = ["GROUPED1"] }
query = { sql = "select 3" }
filter = "true"
[probe.seen]
scope = { groups = ["dev"], machines = ["GROUPED1"] }
filter = '.type == "osquery_result"'
"#,
    );
    hub.edit(|text| text.replacen("from = [\"topic:raw\"", "from = [\"topic:raw\", \"topic:sal\"", 1));
    std::fs::write(hub.path("sal.ndjson"), "").unwrap();
    let secret = hub.secret();
    let agents = ["GROUPED1", "GROUPED2"].map(|serial| Agent::new(&hub.ca(), hub.port, &secret, serial));
    let [mut one, mut two] = agents;
    hub.start();
    hub.wait("the hub to answer", 30, || one.enrol().is_ok() && two.enrol().is_ok());
    let told = |agent: &mut Agent| {
        let body = serde_json::json!({"node_key": agent.node_key});
        let schedule = agent.client.post("/public/osquery/config", &body).unwrap().1["schedule"].clone();
        let names = schedule.as_object().unwrap().keys().filter_map(|name| name.split('/').nth(1).map(str::to_owned));
        names.filter(|name| ["dev", "sec", "rest"].contains(&name.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(told(&mut one), ["rest"]);
    let sal = |group: &str| {
        let machine = |serial: &str| {
            let body = serde_json::json!({"machine": {"serial": serial, "hostname": "h", "console_user": "ada@example.com",
                "last_checkin": event::Time::now().to_string()}, "machine_group": {"id": 1, "name": group}});
            let line = serde_json::json!({"source": "sal", "kind": "machine", "body": body,
                "machine": {"serial_number": serial, "groups": [group], "user": "ada@example.com"}});
            format!("{line}\n")
        };
        let badge = "{\"type\":\"badge\",\"machine\":{\"serial_number\":\"GROUPED1\"},\"payload\":{}}\n";
        std::fs::write(hub.path("sal.new"), machine("GROUPED1") + &machine("GROUPED2") + badge).unwrap();
        std::fs::rename(hub.path("sal.new"), hub.path("sal.ndjson")).unwrap();
    };
    sal("dev");
    hub.wait("its next configuration to be another", 30, || told(&mut one) == ["dev", "sec"]);
    hub.wait("the other's too", 30, || told(&mut two) == ["dev"]);
    assert!(one.log(&[record(0)]).unwrap() && two.log(&[record(0)]).unwrap());
    hub.wait("both results", 20, || of(&hub, "events", "osquery_result").len() == 2);
    hub.wait("one of them to match", 20, || hub.matched("seen") == 1);
    assert_eq!(of(&hub, "events", "osquery_result")[0]["machine"]["groups"], serde_json::json!(["dev", "secops"]));
    // What a program says of a machine carries it as well.
    let badges = || of(&hub, "events", "badge").pop().map(|event| event["machine"].clone()).unwrap_or_default();
    hub.wait("a badge", 20, || badges()["groups"] == serde_json::json!(["dev", "secops"]));
    assert_eq!((&badges()["platform"], &badges()["unit"]), (&"linux".into(), &"default".into()));
    let nobody = hub.run(&["query", "select 1", "--scope", "groups=ops", "--wait", "1s"]);
    assert_eq!(nobody.status.code(), Some(1));
    let asked = hub.run(&[
        "query",
        "select 1",
        "--scope",
        "groups=dev",
        "--scope",
        "not_machines=GROUPED1",
        "--wait",
        "1s",
        "--json",
    ]);
    let asked = lines(&String::from_utf8(asked.stdout).unwrap());
    assert_eq!((asked.len(), &asked[0]["machine"]), (1, &"GROUPED2".into()), "{asked:?}");
    sal("ops");
    hub.wait("it to change again", 30, || told(&mut one) == ["sec", "rest"] || told(&mut one) == ["rest", "sec"]);
}

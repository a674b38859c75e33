//! `zentral machine` against a running hub: what an agent is given changes with its next request.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use serde_json::{Value, json};
use support::agent::{Agent, Client, record};
use support::hub::Hub;

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of a topic of which the type or kind is this.
fn of(hub: &Hub, topic: &str, word: &str) -> Vec<Value> {
    let all = lines(&hub.ok(&["cat", topic]));
    all.into_iter().filter(|line| line["type"] == word || line["kind"] == word).collect()
}

#[test]
fn machines_are_listed_tagged_and_forgotten() {
    let vip = "\n[probe.vip]\nscope = { tags = [\"vip\"] }\nfilter = '.type == \"osquery_result\"'\n";
    let mut hub = Hub::new(vip);
    assert_eq!(hub.run(&["machine", "list"]).status.code(), Some(1), "there are none");
    let secret = hub.secret();
    let mut agent = Agent::new(&hub.ca(), hub.port, &secret, "TAGGED1");
    hub.start();
    hub.wait("the hub to answer", 30, || agent.enrol().is_ok());
    let listed = lines(&hub.ok(&["machine", "list"]));
    assert_eq!((listed.len(), &listed[0]["key"], &listed[0]["sources"][0]), (1, &"TAGGED1".into(), &"osquery".into()));
    assert!(agent.log(&[record(0)]).unwrap());
    assert_eq!(hub.run(&["machine", "tag", "NOBODY", "vip"]).status.code(), Some(1));
    assert_eq!(hub.run(&["machine", "tag", "TAGGED1", "No!"]).status.code(), Some(2));
    let told = lines(&hub.ok(&["machine", "tag", "tagged1", "+vip", "lab"]));
    assert_eq!(told[0]["tags"], serde_json::json!(["lab", "vip"]));
    assert!(agent.log(&[record(1)]).unwrap());
    hub.wait("the next line to have it", 20, || hub.matched("vip") == 1);
    let tags: Vec<Value> = of(&hub, "raw", "result").iter().map(|line| line["machine"]["tags"].clone()).collect();
    assert_eq!(tags, [Value::Null, serde_json::json!(["lab", "vip"])]);
    hub.wait("the changes to be events", 20, || of(&hub, "events", "machine_tag").len() == 2);
    assert_eq!(of(&hub, "events", "machine_tag")[0]["payload"], serde_json::json!({"action": "added", "tag": "vip"}));
    hub.ok(&["machine", "tag", "TAGGED1", "--remove", "vip"]);
    assert!(agent.log(&[record(2)]).unwrap());
    hub.wait("all lines to be through", 20, || of(&hub, "events", "osquery_result").len() == 3);
    assert_eq!(hub.matched("vip"), 1);
    assert_eq!(lines(&hub.ok(&["machine", "list", "--where", ".tags | index(\"lab\")"])).len(), 1);
    assert_eq!(hub.run(&["machine", "list", "--where", ".platform == \"amiga\""]).status.code(), Some(1));
    assert_eq!(hub.run(&["machine", "list", "--where", ".tags |"]).status.code(), Some(2));
    let csv = hub.ok(&["machine", "list", "--csv"]);
    assert!(
        csv.starts_with("key,serial_number,") && csv.lines().nth(1).unwrap().starts_with("TAGGED1,TAGGED1,"),
        "{csv}"
    );
    let shown = lines(&hub.ok(&["machine", "show", "TAGGED1"]));
    assert!(shown[0]["seen"]["osquery"]["last_seen"].is_string() && shown[0]["history"].is_array(), "{shown:?}");

    let stored = |query: &str| lines(&String::from_utf8(hub.run(&["search", query]).stdout).unwrap()).len();
    hub.wait("its results to be stored", 20, || stored("machine.serial_number:TAGGED1 AND type:osquery_result") == 3);
    hub.ok(&["machine", "forget", "TAGGED1"]);
    assert!(!agent.log(&[record(3)]).unwrap(), "its key opens nothing any more");
    hub.wait("the inventory to forget it", 20, || hub.run(&["machine", "list"]).status.code() == Some(1));
    hub.wait("the store to forget it", 20, || stored("machine.serial_number:TAGGED1") == 1);
    assert_eq!(stored("machine.serial_number:TAGGED1 AND type:machine_forgotten"), 1);
    hub.wait("the event about it", 20, || of(&hub, "events", "machine_forgotten").len() == 1);
    agent.enrol().unwrap();
    assert!(agent.log(&[record(4)]).unwrap());
    hub.wait("it to be known anew", 20, || hub.run(&["machine", "list"]).status.code() == Some(0));
    assert_eq!(lines(&hub.ok(&["machine", "list"]))[0]["tags"], serde_json::json!([]), "and nothing is left of before");
    hub.wait("both sums to hold", 30, || hub.run(&["status"]).status.success());
}

#[test]
fn whoever_is_held_is_named_and_let_in() {
    let mut hub = Hub::new("");
    hub.edit(|text| text.replace("[source.osquery]\n", "[source.osquery]\nreenrol = \"approve\"\n"));
    let secret = hub.secret();
    hub.start();
    let enrol = |uuid: &str| {
        let body = json!({"enroll_secret": secret, "host_identifier": "mac", "platform_type": "21",
            "host_details": {"system_info": {"hardware_serial": "HELD1", "uuid": uuid}}});
        let mut client = Client::new(&hub.ca(), hub.port);
        let (_, answer) = client.request("POST", "/public/osquery/enroll", "", body.to_string().as_bytes())?;
        Ok::<bool, std::io::Error>(serde_json::from_slice::<Value>(&answer).unwrap()["node_key"].is_string())
    };
    let [old, new, newer] = [1, 2, 3].map(|n| format!("4C4C4544-0031-4A10-8052-00000000000{n}"));
    hub.wait("the hub to answer", 30, || enrol(&old).unwrap_or(false));
    let approve = |words: &[&str]| hub.run(&[&["machine", "approve", "HELD1"], words].concat());
    assert_eq!(approve(&[]).status.code(), Some(1), "nothing waits");
    assert!(!enrol(&new).unwrap() && !enrol(&newer).unwrap());
    let shown = &lines(&hub.ok(&["machine", "show", "HELD1"]))[0]["pending"];
    let name = shown[0]["hardware"].as_str().unwrap();
    assert_eq!((name, shown[1]["why"].as_str()), (format!("HELD1/{new}@default").as_str(), Some("hardware")));
    assert_eq!(approve(&[]).status.code(), Some(2), "which of them?");
    assert!(approve(&["--hardware", name]).status.success());
    assert!(!enrol(&newer).unwrap() && enrol(&new).unwrap());
    hub.wait("the event about it", 20, || of(&hub, "events", "enrolment_approved").len() == 1);
    assert_eq!(of(&hub, "events", "enrolment_conflict")[0]["payload"]["pending"], true);
    assert_eq!(hub.run(&["machine", "sync", "HELD1", "clean"]).status.code(), Some(1), "it has no Santa");
}

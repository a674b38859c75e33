//! `zentral query` beside a running hub: rows as they come, who has not answered, and that nobody is asked any more once
//! nobody waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use serde_json::{Value, json};
use support::agent::Agent;
use support::hub::{Hub, signal};

/// What the agent is asked; waits until there is something.
fn asked(hub: &Hub, agent: &mut Agent) -> (String, String) {
    let mut found = None;
    hub.wait("a query", 30, || {
        let (_, answer) =
            agent.client.post("/public/osquery/distributed/read", &json!({"node_key": agent.node_key})).unwrap();
        let first = answer["queries"].as_object().and_then(|all| all.iter().next());
        found = first.map(|(name, sql)| (name.clone(), sql.as_str().unwrap().to_owned()));
        found.is_some()
    });
    found.unwrap()
}

fn answer(agent: &mut Agent, body: Value) {
    let mut body = body;
    body["node_key"] = json!(agent.node_key);
    let (status, answer) = agent.client.post("/public/osquery/distributed/write", &body).unwrap();
    assert_eq!((status, answer), (200, json!({})));
}

#[test]
fn rows_come_and_each_machine_has_a_status() {
    let mut hub = Hub::new("");
    hub.start();
    let (secret, port) = (hub.secret(), hub.port);
    hub.wait("receive", 30, || hub.path("data/run/receive.addr").exists());
    let mut agents = ["C02AA", "C02BB"].map(|serial| Agent::new(&hub.ca(), port, &secret, serial));
    let none = hub.run(&["query", "select 1"]);
    assert_eq!(none.status.code(), Some(1), "nobody has enrolled");
    agents.iter_mut().for_each(|agent| agent.enrol().unwrap());

    let mut command = hub.command(&["query", "select 1 as a", "--wait", "60s"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut rows = BufReader::new(child.stdout.take().unwrap());
    let (name, sql) = asked(&hub, &mut agents[0]);
    assert_eq!(sql, "select 1 as a");
    answer(&mut agents[0], json!({"queries": {&name: [{"a": "1"}]}, "statuses": {&name: 0}}));
    let mut line = String::new();
    rows.read_line(&mut line).unwrap();
    let row: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&row["what"], &row["machine"], &row["columns"]), (&json!("row"), &json!("C02AA"), &json!({"a": "1"})));
    let (name, _) = asked(&hub, &mut agents[1]);
    answer(
        &mut agents[1],
        json!({"queries": {&name: []}, "statuses": {&name: 1}, "messages": {&name: "no such table"}}),
    );
    let mut rest = String::new();
    rows.read_to_string(&mut rest).unwrap();
    let rest: Vec<Value> = rest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rest.iter().map(|line| line["status"].as_str().unwrap()).collect::<Vec<_>>(), ["answered", "failed"]);
    assert_eq!(rest[1]["message"], "no such table");
    assert_eq!(child.wait().unwrap().code(), Some(1), "one could not");

    let mut command = hub.command(&["query", "select 2", "--scope", "machines=C02AA", "--wait", "60s"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    asked(&hub, &mut agents[0]);
    assert!(signal(child.id() as i32, rustix::process::Signal::INT));
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let silent: Value = serde_json::from_str(out.trim()).unwrap();
    assert_eq!((&silent["what"], &silent["machine"]), (&json!("machine"), &json!("C02AA")));
    assert_eq!(child.wait().unwrap().code(), Some(1));

    for (words, says) in [
        (&["query", "drop table x"][..], "the SQL is wrong"),
        (&["query", "select 1", "--scope", "tag=a"], "did you mean `tags`"),
        (&["query", "select 1", "--wait", "soon"], "no time"),
        (&["query", "select 1", "--max", "0"], "asks nobody"),
    ] {
        let out = hub.run(words);
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!((out.status.code(), text.contains(says)), (Some(2), true), "{words:?}: {text}");
    }
    hub.stop();
}

//! What a running pipeline does when its files change, and when its disk is full.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::time::Duration;

use serde_json::json;
use support::agent::Agent;
use support::hub::{Hub, signal, wait_for};

fn edit(hub: &Hub, change: impl Fn(String) -> String) {
    let file = hub.path("pipeline.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, change(text)).unwrap();
}

fn record(n: usize) -> serde_json::Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    json!({"name": "t", "hostIdentifier": "h", "unixTime": now, "counter": 3, "action": "added", "columns": {"n": n}})
}

#[test]
fn a_typo_changes_nothing_and_a_killed_stage_comes_back_with_the_last_good_configuration() {
    let mut hub = Hub::new("\n[probe.old]\nfilter = '.payload.columns.n >= 0'\n");
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret(), "RELOAD1");
    hub.start();
    wait_for("the hub to answer", Duration::from_secs(30), || hub.log(), || agent.enrol().is_ok());
    let matched = |hub: &Hub, probe: &str| {
        let expr = format!("any(.probes[]; .name == \"{probe}\")");
        // The file may be broken at this moment; the copy in force is not.
        let copy = hub.path("data/config/current");
        let words = ["--config", copy.to_str().unwrap(), "cat", "matches", "--where", &expr, "--count"];
        hub.ok(&words).trim().parse::<usize>().unwrap()
    };
    assert!(agent.log(&[record(0)]).unwrap());
    wait_for("a match", Duration::from_secs(20), || hub.log(), || matched(&hub, "old") == 1);

    edit(&hub, |text| text + "\n[probe.broken]\nfilter = '.payload | nosuch('\n[stage.filter2]\nrnu = \"filter\"\n");
    wait_for(
        "the typo to be told",
        Duration::from_secs(20),
        || hub.log(),
        || {
            let log = hub.log();
            log.contains("unknown key; did you mean `run`?") || log.contains("needs the key `run`")
        },
    );
    for (name, pid) in hub.stages() {
        if name == "filter" || name == "normalize" {
            signal(pid, "KILL");
        }
    }
    assert!(agent.log(&[record(1)]).unwrap());
    wait_for("the last good configuration", Duration::from_secs(20), || hub.log(), || matched(&hub, "old") == 2);

    edit(&hub, |text| {
        text.split("\n[probe.broken]").next().unwrap().to_owned()
            + "\n[probe.new]\nfilter = '.payload.columns.n == 2'\n"
    });
    wait_for(
        "the mended file",
        Duration::from_secs(20),
        || hub.log(),
        || {
            let _ = agent.log(&[record(2)]);
            matched(&hub, "new") > 0
        },
    );
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
}

#[test]
fn a_full_disk_stops_taking_and_goes_on_by_itself() {
    let mut hub = Hub::new("");
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret(), "FULL1");
    hub.start();
    wait_for("the hub to answer", Duration::from_secs(30), || hub.log(), || agent.enrol().is_ok());
    assert!(agent.log(&[record(0)]).unwrap());
    // No disk has as much room as this reserve asks for: to the hub it is full from now on.
    edit(&hub, |text| text.replace("reserve = \"2 GiB\"", "reserve = \"9000 TiB\""));
    wait_for("busy", Duration::from_secs(30), || hub.log(), || matches!(agent.log(&[record(1)]), Ok(false)));
    let status = hub.run(&["status"]);
    assert_eq!(status.status.code(), Some(1), "a topic at its limit is not healthy");
    edit(&hub, |text| text.replace("reserve = \"9000 TiB\"", "reserve = \"2 GiB\""));
    wait_for("room", Duration::from_secs(30), || hub.log(), || matches!(agent.log(&[record(1)]), Ok(true)));
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
}

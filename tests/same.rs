//! The shell pipe and `zentral up` with disk topics give byte-identical matches for the same raw lines and the same
//! pipeline.toml.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use support::agent::Agent;
use support::hub::{Hub, wait_for};
use support::recorded::logs;

#[test]
fn shell_and_up_give_the_same_bytes() {
    let mut hub = Hub::new(
        "\n[probe.apps]\nseverity = \"minor\"\nfilter = '.payload.columns.name? | strings | {title: .}'\n\
         \n[probe.snapshots]\nfilter = '.payload.snapshot | arrays | length > 0'\nby = '.payload.name'\n\
         \n[probe.linux]\nscope = { platforms = [\"linux\"] }\nfilter = '.payload.action == \"removed\"'\n",
    );
    let (ca, secret) = (hub.ca(), hub.secret());
    hub.start();
    let mut sent = 0;
    for (n, lines) in logs().iter().enumerate() {
        let mut agent = Agent::new(&ca, hub.port, &secret, &format!("SAME{n}"));
        wait_for("the hub to answer", Duration::from_secs(30), || hub.log(), || agent.enrol().is_ok());
        sent += lines.len();
        assert!(agent.log(lines).unwrap());
        assert!(agent.log(&[json!("not a record"), json!({"neither": "this"})]).unwrap());
    }
    let drained = || {
        let status = String::from_utf8(hub.run(&["status"]).stdout).unwrap();
        let raw = status
            .lines()
            .map(|l| serde_json::from_str::<Value>(l).unwrap())
            .all(|l| l["lag"].as_u64().unwrap_or(0) == 0);
        raw && hub.ok(&["cat", "raw", "--count"]).trim().parse::<usize>().unwrap() >= sent
    };
    wait_for("everything to be read", Duration::from_secs(30), || hub.log(), drained);
    wait_for("it to stay so", Duration::from_secs(30), || hub.log(), drained);
    let matches = hub.ok(&["cat", "matches"]);
    assert!(matches.lines().count() > 30, "only {} matches", matches.lines().count());

    let raw = hub.ok(&["cat", "raw"]);
    let mut normalize = hub.command(&["normalize"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let filter = hub
        .command(&["filter", "--trusted"])
        .stdin(normalize.stdout.take().unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = normalize.stdin.take().unwrap();
    std::thread::spawn(move || stdin.write_all(raw.as_bytes()).unwrap());
    let shell = String::from_utf8(filter.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(normalize.wait().unwrap().code(), Some(3), "the lines that are no records are refused");
    assert_eq!(shell, matches);
    let refused = hub.ok(&["replay", "--refused", "normalize"]);
    assert_eq!(refused.lines().count(), 6, "{refused}");
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
}

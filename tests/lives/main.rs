//! Lives of agents and servers against the whole hub: what they are told, and what becomes of what they say.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

#[path = "../../bins/pull/tests/support/mod.rs"]
mod fake_jamf;
#[path = "../support/mod.rs"]
mod support;

mod jamf;
mod moved;
mod munki;
mod osquery;
mod santa;

use serde_json::Value;
use support::hub::Hub;

/// The events that have become of everything so far.
fn events(hub: &Hub) -> Vec<Value> {
    hub.ok(&["cat", "events"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits for an event.
fn event(hub: &Hub, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut found = None;
    hub.wait(what, 30, || {
        found = events(hub).into_iter().find(&is);
        found.is_some()
    });
    found.unwrap()
}

/// A new enrolment's secret for agents of this source.
fn secret(hub: &Hub, source: &str) -> String {
    let made: Value = serde_json::from_str(&hub.ok(&["enrol", "new", "--source", source])).unwrap();
    made["secret"].as_str().unwrap().to_owned()
}

/// Started, and it answers.
fn start(hub: &mut Hub) {
    hub.start();
    hub.wait("receive", 30, || hub.path("data/run/receive.addr").exists());
    hub.wait("the stages", 30, || hub.run(&["cat", "events", "--count"]).status.success());
}

/// Everything was read by everybody, nothing was lost or doubled, and it ends when it is told to.
fn end(mut hub: Hub) {
    hub.wait("both sums to hold", 30, || hub.run(&["status"]).status.success());
    let all = events(&hub);
    let ids: std::collections::BTreeSet<&str> = all.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), all.len(), "an event twice");
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
}

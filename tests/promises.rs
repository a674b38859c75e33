//! The three promises, from the agent's HTTPS request to the effect: the configuration is the one that their pages show.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

#[path = "../bins/act/tests/fakes/mod.rs"]
mod fakes;
#[path = "promises/filevault.rs"]
mod filevault;
#[path = "promises/mac.rs"]
mod mac;
#[path = "promises/page.rs"]
mod page;
#[path = "promises/rogue_usb.rs"]
mod rogue_usb;
#[path = "promises/script.rs"]
mod script;
mod support;
#[path = "promises/unused.rs"]
mod unused;

use serde_json::Value;
use support::hub::Hub;

/// The token that the page calls `SLACK_TOKEN`.
const SLACK_TOKEN: &str = fakes::slack::TOKEN;

/// The filters that ship, where the pages look for them.
fn with_filters(hub: &Hub) {
    std::fs::create_dir_all(hub.path("filters")).unwrap();
    for entry in std::fs::read_dir("filters").unwrap().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|end| end == "jq") {
            std::fs::copy(entry.path(), hub.path("filters").join(entry.file_name())).unwrap();
        }
    }
}

/// Started, and it answers. The configuration has no findings.
fn start(hub: &mut Hub) {
    hub.ok(&["check"]);
    hub.start();
    hub.wait("receive", 60, || hub.path("data/run/receive.addr").exists());
    hub.wait("the stages", 60, || hub.run(&["cat", "events", "--count"]).status.success());
}

/// What became of the deliveries of an action, in order.
fn outcomes(hub: &Hub, action: &str) -> Vec<Value> {
    let all = hub.ok(&["cat", "outcomes"]);
    let all = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|event| event["payload"]["action"] == action).collect()
}

/// What messages to Slack say, oldest first: channel, thread, text.
fn messages(slack: &fakes::Fake) -> Vec<(String, bool, String)> {
    let posts = slack.got().into_iter().filter(|request| request.raw_path.ends_with("chat.postMessage"));
    let text = |body: &Value, key: &str| body[key].as_str().unwrap_or_default().to_owned();
    posts.map(|p| p.json()).map(|b| (text(&b, "channel"), b["thread_ts"].is_string(), text(&b, "text"))).collect()
}

//! Actions and stores that misbehave: nobody delays anybody else, and a message is delivered once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::agent::Agent;
use support::hub::{Hub, signal, wait_for};
use support::receiver::{Receiver, Reply};

fn record(marker: &str) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    json!({"name": "t", "hostIdentifier": "h", "unixTime": now, "counter": 3, "action": "added",
        "columns": {"marker": marker}})
}

fn wait_ready(hub: &Hub, agent: &mut Agent) {
    wait_for("the hub to answer", Duration::from_secs(30), || hub.log(), || agent.enrol().is_ok());
}

fn taken(receiver: &Receiver) -> Vec<String> {
    let mut all: Vec<String> = receiver.seen.lock().unwrap().taken.values().cloned().collect();
    all.sort();
    all
}

#[test]
fn a_slow_action_and_a_stopped_store_delay_nobody() {
    let slow = Receiver::start(|_, _| Reply::Hang(30_000));
    let fast = Receiver::start(|_, _| Reply::Answer(200, "", "ok"));
    let mut hub = Hub::new(&format!(
        "\n[action.slow]\nkind = \"http\"\nurl = \"http://127.0.0.1:{}/\"\n\
         \n[action.fast]\nkind = \"http\"\nurl = \"http://127.0.0.1:{}/\"\nbody = '.event.payload.columns.marker'\n\
         \n[probe.all]\nfilter = '.payload.columns.marker'\nact = [\"slow\", \"fast\"]\n",
        slow.port, fast.port
    ));
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret(), "SLOW1");
    hub.start();
    wait_ready(&hub, &mut agent);
    let (_, store) = hub.stages().into_iter().find(|(name, _)| name == "store").unwrap();
    assert!(signal(store, Signal::STOP));
    let begun = Instant::now();
    for n in 0..40 {
        assert!(agent.log(&[record(&format!("m{n:02}"))]).unwrap(), "receive said no while others were slow");
    }
    let posts = begun.elapsed();
    assert!(posts < Duration::from_secs(10), "40 POSTs took {posts:?}");
    wait_for("the fast action", Duration::from_secs(20), || hub.log(), || taken(&fast).len() == 40);
    assert!(!slow.seen.lock().unwrap().requests.is_empty());
    assert!(signal(store, Signal::CONT));
    wait_for(
        "the store to catch up",
        Duration::from_secs(30),
        || hub.log(),
        || {
            hub.ok(&["cat", "matches", "--count"]).trim() == "40"
                && hub
                    .run(&["search", "_exists_:payload.columns.marker", "-n", "0"])
                    .stdout
                    .split(|b| *b == b'\n')
                    .count()
                    == 41
        },
    );
    // What the slow action has under way is cut off and is in the ledger, to be tried again.
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
}

#[test]
fn a_slack_in_trouble_gets_each_message_once() {
    // 429 with Retry-After, then 500, then it hangs, then all is well.
    let slack = Receiver::start(|n, _| match n {
        0 => Reply::Answer(429, "Retry-After: 1\r\n", "rate_limited"),
        1 => Reply::Answer(500, "", ""),
        2 => Reply::Hang(60_000),
        _ => Reply::Answer(200, "", "ok"),
    });
    let mut hub = Hub::new(
        "\n[action.slack]\nkind = \"slack\"\ntimeout = \"1s\"\nurl = { env = \"SLACK_URL\" }\n\
         \n[probe.all]\nfilter = '.payload.columns.marker | strings | {title: (\"<!here> & \" + .)}'\nact = [\"slack\"]\n",
    );
    hub.env("SLACK_URL", &format!("http://127.0.0.1:{}/services/T0/B0/hunter2", slack.port));
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret(), "SLACK1");
    hub.start();
    wait_ready(&hub, &mut agent);
    let began = Instant::now();
    assert!(agent.log(&[record("one"), record("two"), record("three")]).unwrap());
    wait_for("three messages", Duration::from_secs(60), || hub.log(), || taken(&slack).len() == 3);
    assert!(began.elapsed() > Duration::from_secs(1), "Retry-After was not honoured");
    let requests = slack.seen.lock().unwrap().requests.clone();
    assert!(requests.len() > 4, "the trouble was not met: {requests:?}");
    let keys: std::collections::HashSet<&(String, String)> = requests.iter().collect();
    assert_eq!(keys.len(), 3, "another key for another try of the same message: {requests:?}");
    let texts = taken(&slack);
    for (text, word) in texts.iter().zip(["one", "three", "two"]) {
        let body: Value = serde_json::from_str(text).unwrap();
        let said = body["text"].as_str().unwrap();
        assert!(said.contains(&format!("&lt;!here&gt; &amp; {word}")), "{said}");
    }
    wait_for(
        "the outcomes to be events",
        Duration::from_secs(20),
        || hub.log(),
        || hub.run(&["search", "type:action_done", "--json"]).stdout.split(|b| *b == b'\n').count() == 4,
    );
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
    assert!(!hub.log().contains("hunter2"), "the secret URL is in the log");
}

//! What is seen of a hub while something that it needs is away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::agent::{self, Agent, record};
use support::hub::{Hub, free_port};
use support::lines::{STAGES, command};
use support::plain::ask;
use support::receiver::{Receiver, Reply};

/// A service that takes every batch, an event a line.
fn service(port: u16) -> Arc<Mutex<Vec<serde_json::Value>>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let all = taken.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let all = all.clone();
            std::thread::spawn(move || while take(&stream, &all).is_some() {});
        }
    });
    taken
}

fn take(stream: &TcpStream, all: &Mutex<Vec<serde_json::Value>>) -> Option<()> {
    let (mut reader, mut length) = (BufReader::new(stream), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        let line = line.trim_end().to_lowercase();
        if let Some(n) = line.strip_prefix("content-length: ") {
            length = n.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let events = String::from_utf8(body).unwrap();
    all.lock().unwrap().extend(events.lines().map(|line| serde_json::from_str(line).unwrap()));
    (&mut &*stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()
}

/// The value of a series of `reader="sent"`.
fn gauge(metrics: u16, name: &str) -> Option<u64> {
    let (_, text) = ask(&format!("127.0.0.1:{metrics}"), "GET", "/metrics", b"").ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")) && line.contains("reader=\"sent\""))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_store_that_waits_is_seen_to() {
    let (away, metrics) = (free_port(), free_port());
    let mut hub = Hub::new(&format!(
        "\n[stage.sent]\nrun = \"store\"\nkind = \"http\"\nfrom = \"topic:events\"\nurl = \"http://127.0.0.1:{away}/in\"\n\
         body = '.events[]'\ninclude = '.payload.name == \"t\"'\ngzip = false\n"
    ));
    hub.edit(|text| text.replace("127.0.0.1:9473", &format!("127.0.0.1:{metrics}")));
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret(), "WAITS1");
    hub.start();
    hub.wait("the agent to enrol", 60, || agent.enrol().is_ok());
    let status = |part: &str| String::from_utf8(hub.run(&["status", "--json"]).stdout).unwrap().contains(part);
    assert!(agent.log(&[record(0)]).unwrap());
    hub.wait("status to say that it waits", 60, || status(r#""what":"waiting","stage":"sent""#));
    // What comes while it is busy with the first batch counts, and its age grows.
    (1..=20).for_each(|n| assert!(agent.log(&[record(n)]).unwrap()));
    let lag = || gauge(metrics, "zentral_topic_lag_lines");
    hub.wait("the lag to be told", 60, || lag().is_some_and(|lines| lines >= 20));
    let old = gauge(metrics, "zentral_topic_lag_seconds").unwrap();
    hub.wait("it to be older", 60, || gauge(metrics, "zentral_topic_lag_seconds").is_some_and(|now| now > old + 1));

    let taken = service(away);
    hub.wait("all to be sent", 60, || agent::numbers(&*taken.lock().unwrap()).len() > 20);
    assert_eq!(agent::numbers(&*taken.lock().unwrap()), (0..=20).collect::<Vec<_>>(), "each once");
    hub.wait("all to be well", 60, || lag() == Some(0) && !status(r#""what":"waiting""#));
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
}

#[test]
fn brokers_that_are_away_are_said_to_be_once() {
    if cfg!(not(feature = "kafka")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let kafka = "[kafka]\nbrokers = [\"127.0.0.1:9\"]\n";
    let text = format!("version = 1\n{kafka}{}", STAGES.replace("PLACE", "kafka"));
    std::fs::write(dir.path().join("pipeline.toml"), text).unwrap();
    let begun = Instant::now();
    let out = command(dir.path(), &["status", "--json"]).output().unwrap();
    // They are waited for once, not for each of four topics.
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    let said = String::from_utf8(out.stdout).unwrap();
    let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["what"] == kind).collect::<Vec<_>>();
    let topics = of("topic");
    assert!(topics.len() == 4 && topics.iter().all(|topic| topic["written"].is_null()), "{said}");
    assert!(of("reader").is_empty(), "{said}");
    let why = of("health")[0]["why"].to_string();
    assert!(out.status.code() == Some(1) && why.matches("no broker answers").count() == 1, "{said}");
}

/// The texts that a receiver took, each once.
fn took(receiver: &Receiver) -> Vec<String> {
    let seen = receiver.seen.lock().unwrap();
    assert_eq!(seen.taken.len(), seen.requests.len(), "something was sent twice: {:?}", seen.requests);
    seen.taken.values().cloned().collect()
}

/// As who follows the README meets it: the action is there before the file with its secret is.
#[test]
fn an_action_without_its_secret_waits_alone_and_is_seen_to() {
    let ok = |_: usize, _: &str| Reply::Answer(200, "", "ok");
    let (good, slack, other) = (Receiver::start(ok), Receiver::start(ok), Receiver::start(ok));
    let metrics = free_port();
    let mut hub = Hub::new(&format!("\n[action.good]\nkind = \"http\"\nurl = \"http://127.0.0.1:{}/\"\n", good.port));
    hub.edit(|text| text.replace("127.0.0.1:9473", &format!("127.0.0.1:{metrics}")));
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret(), "SECRET1");
    hub.start();
    hub.wait("the agent to enrol", 60, || agent.enrol().is_ok());
    hub.wait("all to be well", 60, || hub.run(&["status"]).status.success());
    let health = || {
        let out = hub.run(&["status", "--json"]);
        let text = String::from_utf8(out.stdout).unwrap();
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        (out.status.code(), last["why"].to_string())
    };
    let waits = |words: &[&str]| {
        let (code, why) = health();
        code == Some(1) && words.iter().all(|word| why.contains(word)) && !why.contains("is not running")
    };

    hub.edit(|text| {
        text + "\n[action.slack]\nkind = \"slack\"\nurl = { file = \"slack.url\" }\n\
            [action.other]\nkind = \"http\"\nurl = { env = \"OTHER_URL\" }\n\
            [probe.alarm]\nfilter = '.payload.columns.n >= 0'\nact = [\"slack\", \"good\", \"other\"]\n"
    });
    let file = hub.path("slack.url");
    let words = [format!("action slack waits: cannot read {}", file.display()), "OTHER_URL is not set".to_owned()];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    hub.wait("status to say what waits", 60, || waits(&words));
    hub.wait("the filter to have it", 60, || hub.log().contains("zentral filter: reloaded"));
    assert!(agent.log(&[record(0)]).unwrap());
    hub.wait("the good one to work", 60, || took(&good).len() == 1);
    let told = ask(&format!("127.0.0.1:{metrics}"), "GET", "/metrics", b"").unwrap().1;
    let told = String::from_utf8_lossy(&told).into_owned();
    let gauge = |name: &str| {
        told.lines().any(|l| l.starts_with("zentral_action_waiting{") && l.contains(name) && l.ends_with(" 1"))
    };
    assert!(gauge("action=\"slack\"") && gauge("action=\"other\"") && !gauge("action=\"good\""), "{told}");

    // It starts with the others as well.
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
    hub.env("OTHER_URL", &format!("http://127.0.0.1:{}/hunter3", other.port));
    hub.start();
    hub.wait("the hub to answer", 60, || agent.log(&[record(1)]).unwrap_or(false));
    hub.wait("the good one to work again", 60, || took(&good).len() == 2);
    hub.wait("what has its secret now", 60, || took(&other).len() == 2);
    let slack_waits = || {
        let out = String::from_utf8(hub.run(&["status", "--json"]).stdout).unwrap();
        out.contains("\"action\":\"slack\"") && !out.contains("OTHER_URL")
    };
    hub.wait("status to say it again", 60, slack_waits);
    assert!(took(&slack).is_empty());

    // Nobody tells the hub that the file is there.
    std::fs::write(&file, format!("http://127.0.0.1:{}/services/hunter2\n", slack.port)).unwrap();
    hub.wait("what waited to be sent", 60, || took(&slack).len() == 2);
    hub.wait("all to be well again", 60, || hub.run(&["status"]).status.success());
    assert!(hub.ok(&["act", "dead"]).trim().is_empty());
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
    assert!(!hub.log().contains("hunter"), "a secret is in the log");
}

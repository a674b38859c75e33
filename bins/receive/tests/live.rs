//! Live queries, against the real program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

mod common;

use common::{Hub, body, wait};
use event::Time;
use registry::db::Db;
use registry::{enrolments, live};
use serde_json::{Value, json};

fn ask(hub: &Hub, sql: &str, scope: &str, max: Option<u64>) -> String {
    let mut db = Db::open(&hub.path("data/registry.db"), &[enrolments::SCHEMA, live::QUERIES]).unwrap();
    let now = Time::now().ms();
    live::ask(&mut db, sql, scope, now + 600_000, max, now).unwrap()
}

fn read(hub: &Hub, key: &str) -> Value {
    let answer = hub.ask("", "distributed/read", &json!({"node_key": key}));
    assert_eq!(answer.status, 200);
    answer.body
}

/// Until what is asked was looked at.
fn given(hub: &Hub, key: &str) -> Vec<(String, String)> {
    wait("queries", || {
        let queries = read(hub, key)["queries"].as_object().unwrap().clone();
        let all: Vec<_> = queries.into_iter().map(|(name, sql)| (name, sql.as_str().unwrap().to_owned())).collect();
        (!all.is_empty()).then_some(all)
    })
}

#[test]
fn a_query_is_given_once_and_its_answer_is_a_line() {
    let mut hub = Hub::new("", "");
    let (one, two) = (hub.node_key("C02"), hub.node_key("C03"));
    assert_eq!(read(&hub, &one), json!({"queries": {}}));
    let run = ask(&hub, "select 1 as a", r#"{"platforms":["macos"]}"#, None);
    ask(&hub, "select 2", r#"{"platforms":["linux"]}"#, None);
    ask(&hub, "select 3", r#"{"machines":["C03"]}"#, None);
    let [(name, sql)] = given(&hub, &one).try_into().unwrap();
    assert_eq!(sql, "select 1 as a");
    assert_eq!(read(&hub, &one), json!({"queries": {}}), "given once");
    let theirs = given(&hub, &two);
    assert_eq!(theirs.iter().map(|(_, sql)| sql.as_str()).collect::<Vec<_>>(), ["select 1 as a", "select 3"]);

    let foreign = &theirs[0].0;
    let write = json!({"node_key": one, "queries": {&name: [{"a": "1"}], foreign: [{"b": "2"}], "999999": [{"carve": "1"}]},
        "statuses": {&name: 0, foreign: 1, "7": "x"}, "messages": {&name: ""},
        "stats": {&name: {"wall_time_ms": 3, "memory": "lots", "user_time": 2.7}}});
    for _ in 0..2 {
        let answer = hub.ask("", "distributed/write", &write);
        assert_eq!((answer.status, answer.body), (200, json!({})));
    }
    let answers: Vec<_> = hub.lines().into_iter().filter(|line| line.kind == "answer").collect();
    let [first, again] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(first.id, again.id, "a copy has the same id");
    assert_eq!(
        body(first),
        json!({"query": run, "status": 0, "stats": {"wall_time_ms": 3, "user_time": 2}, "rows": [{"a": "1"}]})
    );
    assert_eq!(first.machine.serial_number.as_deref(), Some("C02"));
    let count = |outcome: &str| hub.metric("zentral_live_answers_total", &[&format!("outcome=\"{outcome}\"")]);
    assert_eq!((count("taken"), count("foreign")), (2.0, 6.0));

    hub.signal(rustix::process::Signal::TERM);
    assert_eq!(hub.ended(), Some(0));
    hub.start();
    assert_eq!(read(&hub, &two), json!({"queries": {}}), "a restart gives nothing again");
}

#[test]
fn an_answer_says_what_it_means() {
    let hub = Hub::new("", "");
    let key = hub.node_key("C02");
    let mut db = Db::open(&hub.path("data/registry.db"), &[enrolments::SCHEMA, live::QUERIES]).unwrap();
    let now = Time::now().ms();
    let cause = json!({"event": "e", "probe": "p", "action": "a"});
    let (tag, run_of) = (Some("vip".into()), Some("zentral/a/0123abcd".into()));
    let means = live::Means { tag, run_of, cause: Some(cause.to_string()) };
    let run = live::ask_for(&mut db, "select 1", &means, "{}", now + 600_000, None, now).unwrap();
    let [(name, _)] = given(&hub, &key).try_into().unwrap();
    live::cancel(&mut db, &run, now).unwrap();
    let write = json!({"node_key": key, "queries": {&name: []}, "statuses": {&name: 0}});
    assert_eq!(hub.ask("", "distributed/write", &write).body, json!({}));
    let line = hub.lines().into_iter().find(|line| line.kind == "answer").unwrap();
    let want = json!({"query": run, "of": "zentral/a/0123abcd", "tag": "vip", "cause": cause, "status": 0, "rows": []});
    assert_eq!(body(&line), want, "also when nobody waits any more");
}

#[test]
fn no_more_machines_are_asked_than_were_meant_and_a_large_answer_is_several_lines() {
    let hub = Hub::new("", "");
    let keys = ["C02", "C03", "C04"].map(|serial| hub.node_key(serial));
    ask(&hub, "select 1", "{}", Some(1));
    let [(name, _)] = given(&hub, &keys[0]).try_into().unwrap();
    assert_eq!(read(&hub, &keys[1]), json!({"queries": {}}));
    let rows: Vec<Value> = (0..3000).map(|n| json!({"n": n.to_string(), "text": "x".repeat(1000)})).collect();
    let answer = hub.ask(
        "",
        "distributed/write",
        &json!({"node_key": keys[0], "queries": {&name: rows}, "statuses": {&name: 0}}),
    );
    assert_eq!(answer.body, json!({}));
    let parts: Vec<Value> = hub.lines().iter().filter(|line| line.kind == "answer").map(body).collect();
    assert!(parts.len() > 2 && parts.iter().all(|part| part["parts"] == parts.len()), "{}", parts.len());
    let all: Vec<&Value> = parts.iter().flat_map(|part| part["rows"].as_array().unwrap()).collect();
    assert!(all.into_iter().eq(&rows));
    // Old agents say neither status nor rows.
    let old = hub.ask("", "distributed/write", &json!({"node_key": keys[0], "queries": {&name: ""}}));
    assert_eq!(old.body, json!({}));
}

//! An agent's whole conversation with the real program over TLS: who may enrol, what it is told, what is kept.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{Conn, Hub, body, enrol_body, gzip, log_body, record, wait};
use registry::db::Db;
use registry::{changes, enrolments, pending};
use rustix::process::Signal;
use serde_json::{Value, json};

const PROBES: &str = "[unit.berlin]\ntags = [\"office\"]\n[unit.paris]\n\
    [source.osquery]\ninventory = \"off\"\noptions = { logger_tls_period = 3 }\ndecorators = [\"select 9\"]\n\
    [probe.mac]\nfilter = \".\"\nscope = { platforms = [\"macos\"], units = [\"berlin\"] }\nquery = { sql = \"select 1\", interval = \"30s\" }\n\
    [probe.linux]\nfilter = \".\"\nscope = { platforms = [\"linux\"] }\nquery = { sql = \"select 2\" }\n\
    [probe.paris]\nfilter = \".\"\nscope = { units = [\"paris\"] }\nquery = { sql = \"select 3\" }\n";

#[test]
fn an_agent_enrols_is_told_what_to_do_and_is_heard() {
    let hub = Hub::new("", PROBES);
    let (_, secret) = hub.enrolment("berlin", "osquery", None, None);
    let key = hub.enrol(&secret, "C02");
    let mut agent = hub.connect();
    let config = agent.post("config", json!({"node_key": key}).to_string().as_bytes(), "");
    assert_eq!(config.status, 200);
    let schedule = config.body["schedule"].as_object().unwrap();
    assert_eq!(schedule.len(), 1, "{schedule:?}");
    let (name, query) = schedule.iter().next().unwrap();
    assert!(name.starts_with("zentral/mac/"), "{name}");
    assert_eq!(query["interval"], 30);
    assert_eq!(config.body["options"]["logger_tls_period"], 3);
    assert_eq!(config.body["decorators"]["load"][0], "select 9");

    let results = log_body(&key, (0..50).map(record)).to_string();
    let answer = agent.post("log", &gzip(results.as_bytes()), "Content-Encoding: gzip\r\nX-Forwarded-For: 6.6.6.6\r\n");
    assert_eq!((answer.status, &answer.body), (200, &json!({})));
    let status = json!({"node_key": key, "log_type": "status", "data": [{"severity": "0", "message": "m"}]});
    assert_eq!(agent.post("log", status.to_string().as_bytes(), "").status, 200);
    let read = agent.post("distributed/read", json!({"node_key": key}).to_string().as_bytes(), "");
    assert_eq!(read.body, json!({"queries": {}}));

    let lines = hub.lines();
    let kinds: Vec<&str> = lines.iter().map(|l| l.kind.as_str()).collect();
    let count = |kind| kinds.iter().filter(|k| **k == kind).count();
    assert_eq!([count("enroll"), count("result"), count("status"), count("request")], [1, 50, 1, 3], "{kinds:?}");
    for line in &lines {
        assert_eq!(line.machine.serial_number.as_deref(), Some("C02"));
        assert_eq!(line.machine.unit.as_deref(), Some("berlin"));
        assert_eq!(line.machine.platform.as_deref(), Some("macos"));
        assert_eq!(line.machine.tags, ["tagged", "office"]);
        let request = line.request.as_ref().unwrap();
        assert_eq!(request.ip.as_deref(), Some("127.0.0.1"), "nobody is trusted to say otherwise");
    }
    assert_eq!(hub.metric("zentral_requests_total", &["kind=\"log\"", "source=\"osquery\"", "status=\"200\""]), 2.0);
    assert_eq!(hub.metric("zentral_request_seconds_count", &[]), 5.0);
    assert_eq!(hub.metric("zentral_records_total", &["source=\"osquery\""]), 52.0);
    assert_eq!(hub.metric("zentral_lines_out_total", &[]), lines.len() as f64);
    assert_eq!(hub.metric("zentral_connections", &[]), 1.0);
    let log = hub.log();
    assert!(!log.contains(&secret) && !log.contains(&key), "{log}");
}

#[test]
fn a_trusted_proxy_names_its_client() {
    let hub = Hub::new("trusted_proxies = [\"127.0.0.0/8\"]", "");
    let key = hub.node_key("C02");
    let body = log_body(&key, [record(1)]).to_string();
    hub.connect().post("log", body.as_bytes(), "X-Forwarded-For: 6.6.6.6, 203.0.113.9\r\n");
    let lines = hub.records();
    assert_eq!(lines[0].request.as_ref().unwrap().ip.as_deref(), Some("203.0.113.9"));
}

#[test]
fn secrets_open_only_what_they_should() {
    let hub = Hub::new("", "");
    let (one, secret) = hub.enrolment("berlin", "osquery", Some(2), None);
    let (_, expired) = hub.enrolment("berlin", "osquery", None, Some(1));
    let (_, santa) = hub.enrolment("berlin", "santa", None, None);
    let try_it = |secret: &str, serial: &str| hub.ask("", "enroll", &enrol_body(secret, serial, serial)).body;
    let refused = json!({"node_invalid": true});
    for (secret, reason) in [
        (&expired[..], "secret_expired"),
        (&santa, "secret_wrong_source"),
        ("zs1.aa.1.AAAA", "secret_bad"),
        ("x", "secret_bad"),
    ] {
        let before = hub.refused(reason);
        assert_eq!(try_it(secret, "A"), refused, "{reason}");
        assert_eq!(hub.refused(reason), before + 1.0, "{reason}");
    }
    for serial in ["A", "B", "A"] {
        assert!(try_it(&secret, serial)["node_key"].is_string());
    }
    assert_eq!(try_it(&secret, "C"), refused);
    assert_eq!(hub.refused("secret_used_up"), 1.0);
    assert!(try_it(&secret, "A")["node_key"].is_string(), "a known machine takes no more of the quota");
    assert!(enrolments::revoke(&mut hub.registry(), &one.id).unwrap());
    assert_eq!(try_it(&secret, "A"), refused);
    assert_eq!(hub.refused("secret_revoked"), 1.0);

    // A registry that can't be read is "busy", never "unknown": the fleet would throw its keys away.
    let (_, good) = hub.enrolment("berlin", "osquery", None, None);
    registry::db::drop(&(&hub.path("data/registry.db")).into()).unwrap();
    let answer = hub.ask("", "enroll", &enrol_body(&good, "A", "A"));
    assert_eq!((answer.status, &answer.body), (503, &json!({"error": "busy"})));
    std::fs::write(hub.path("data/registry.db"), b"this is no database, however long one looks at it").unwrap();
    assert_eq!(hub.ask("", "enroll", &enrol_body(&good, "A", "A")).status, 503);
}

#[test]
fn a_machine_enrols_again_but_not_as_another() {
    let mut hub = Hub::new("", "");
    let (_, berlin) = hub.enrolment("berlin", "osquery", None, None);
    let (_, paris) = hub.enrolment("paris", "osquery", None, None);
    let first = hub.enrol(&berlin, "C02");
    let speak = |hub: &Hub, key: &str| hub.ask("", "log", &log_body(key, [record(1)])).body;
    assert_eq!(speak(&hub, &first), json!({}));
    let second = hub.enrol(&berlin, "C02");
    assert_ne!(first, second);
    let unknown = json!({"node_invalid": true});
    assert_eq!((speak(&hub, &first), speak(&hub, &second)), (unknown.clone(), json!({})), "the old key is retired");

    assert_eq!(hub.ask("", "enroll", &enrol_body(&berlin, "C02", "U-2")).body, unknown);
    assert_eq!(hub.ask("", "enroll", &enrol_body(&paris, "C02", "U-1")).body, unknown);
    assert_eq!(speak(&hub, &second), json!({}), "who was refused takes nobody's key away");
    let conflicts: Vec<Value> = hub.lines().iter().filter(|l| l.kind == "conflict").map(body).collect();
    let why: Vec<&str> = conflicts.iter().map(|c| c["why"].as_str().unwrap()).collect();
    assert_eq!(why, ["hardware", "unit"]);
    assert_eq!(hub.refused("conflict"), 2.0);

    hub.configure("", "[source.osquery]\nreenrol = \"always\"\n");
    hub.signal(Signal::HUP);
    wait("the reload", || hub.log().contains("reloaded").then_some(()));
    assert!(hub.ask("", "enroll", &enrol_body(&paris, "C02", "U-2")).body["node_key"].is_string());
    let enrolled: Vec<Value> = hub.lines().iter().filter(|l| l.kind == "enroll").map(body).collect();
    let actions: Vec<&str> = enrolled.iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["enrollment", "re-enrollment", "re-enrollment"]);
    assert!(enrolled.iter().all(|e| e.get("enroll_secret").is_none()));
    hub.signal(Signal::TERM);
    assert_eq!(hub.ended(), Some(0));
}

#[test]
fn who_is_held_comes_in_once_somebody_approves() {
    let mut hub = Hub::new("", "[source.osquery]\nreenrol = \"approve\"\n");
    let (_, berlin) = hub.enrolment("berlin", "osquery", None, None);
    let first = hub.enrol(&berlin, "C02");
    let come = |hub: &Hub, uuid: &str| hub.ask("", "enroll", &enrol_body(&berlin, "C02", uuid)).body;
    let held = json!({"node_invalid": true});
    assert_eq!((come(&hub, "U-2"), come(&hub, "U-3"), come(&hub, "U-2")), (held.clone(), held.clone(), held.clone()));
    let conflicts: Vec<Value> = hub.lines().iter().filter(|l| l.kind == "conflict").map(body).collect();
    assert_eq!(conflicts.iter().filter(|c| c["pending"] == true && c["why"] == "hardware").count(), 3);
    let waits = |hub: &Hub| {
        let state = Db::open_read_only(&hub.path("data/state/receive.db")).unwrap().unwrap();
        pending::of(&state, "C02").unwrap()
    };
    assert_eq!(waits(&hub).len(), 2);
    let claimed = &conflicts[0]["claimed"];
    let hardware = format!("C02/{}@berlin", claimed["hardware_uuid"].as_str().unwrap());
    let mut registry = Db::open(&hub.path("data/registry.db"), &[changes::SCHEMA]).unwrap();
    let mut tx = registry.begin().unwrap();
    let machine = event::Machine { serial_number: Some("C02".into()), ..event::Machine::default() };
    let what = json!({"source": "osquery", "hardware": hardware});
    changes::say(&mut tx, changes::APPROVED, machine, &what, event::Time::now()).unwrap();
    tx.commit().unwrap();
    hub.kill();
    hub.start();
    assert_eq!(come(&hub, "U-3"), held, "that was not approved of");
    let second = come(&hub, "U-2")["node_key"].as_str().unwrap().to_owned();
    let speak = |key: &str| hub.ask("", "log", &log_body(key, [record(1)])).body;
    assert_eq!((speak(&first), speak(&second)), (held.clone(), json!({})));
    assert_eq!(come(&hub, "U-1"), held, "it is the old one that is another now");
    let again = come(&hub, "U-2");
    assert!(again["node_key"].is_string(), "the same hardware as ever: {again}");
    assert_eq!(come(&hub, "U-3"), held);
}

#[test]
fn the_same_records_framed_anew_have_the_same_ids() {
    let hub = Hub::new("", "");
    let key = hub.node_key("C02");
    for numbers in [&[1, 2, 2][..], &[0, 2, 1, 3], &[2, 2, 1]] {
        hub.ask("", "log", &log_body(&key, numbers.iter().map(|n| record(*n))));
    }
    let records = hub.records();
    let ids: BTreeSet<&str> = records.iter().map(|r| r.id.as_str()).collect();
    assert_eq!((records.len(), ids.len()), (10, 5), "0, 1, 2, the second 2, 3");
}

#[test]
fn a_reload_is_all_new_or_all_old() {
    let mut hub = Hub::new("", PROBES);
    let key = hub.node_key("C02");
    let told = |hub: &Hub| hub.ask("", "config", &json!({"node_key": key})).body;
    let before = told(&hub);
    let reload = |hub: &Hub, says: &str| {
        let seen = hub.log().len();
        hub.signal(Signal::HUP);
        wait(says, || hub.log()[seen..].contains(says).then_some(()));
    };
    for (stage, more) in [
        ("", "[probe.x]\nfiltre = \".\"\n"),
        ("conections = 5", PROBES),
        ("", "[source.osquery]\noptions = { x = [] }\n"),
        ("", "[probe.mac]\nfilter = \".\"\nquery = { sql = \"select 1\", version = \"new\" }\n"),
    ] {
        hub.configure(stage, more);
        reload(&hub, "not reloaded");
        assert_eq!(told(&hub), before, "{stage} {more}");
    }
    std::fs::write(hub.path("hub.key"), "no key").unwrap();
    hub.configure("", &PROBES.replace("select 1", "select 111"));
    reload(&hub, "not reloaded");
    assert_eq!(told(&hub), before, "a new query with a certificate that is none");
    hub.certificate("localhost");
    reload(&hub, "receive: reloaded");
    let after = told(&hub);
    assert_ne!(after, before);
    assert!(after.to_string().contains("select 111"));

    hub.certificate("somewhere.else");
    reload(&hub, "receive: reloaded");
    let mut conn = Conn::new(&hub.address(), &hub.forgetful());
    let refused = std::io::Write::write_all(&mut conn.0, b"x").unwrap_err();
    assert!(refused.to_string().contains("certificate"), "the new certificate is shown: {refused}");
    hub.signal(Signal::TERM);
    assert_eq!(hub.ended(), Some(0));
}

#[test]
fn a_restart_keeps_node_keys_and_sessions() {
    let mut hub = Hub::new("", "");
    let key = hub.node_key("C02");
    let speak = |hub: &Hub| {
        let mut conn = hub.connect();
        let answer = conn.post("log", log_body(&key, [record(1)]).to_string().as_bytes(), "");
        assert_eq!(answer.body, json!({}));
        conn.0.conn.handshake_kind().unwrap()
    };
    speak(&hub);
    assert_eq!(speak(&hub), rustls::HandshakeKind::Resumed);
    for stop in [Signal::TERM, Signal::KILL] {
        hub.signal(stop);
        hub.ended();
        hub.start();
        assert_eq!(speak(&hub), rustls::HandshakeKind::Resumed, "after {stop:?}");
    }
    let requests = hub.lines().iter().filter(|l| l.kind == "request").count();
    // Once before the first end, which wrote it down; a kill may forget what the last ten seconds brought.
    assert!(requests <= 2, "{requests}");
}

#[test]
fn a_stop_finishes_what_has_begun() {
    let mut hub = Hub::new("", "");
    let key = hub.node_key("C02");
    let request = common::post_bytes("log", log_body(&key, [record(1)]).to_string().as_bytes(), "");
    let (mut under_way, mut idle) = (hub.connect(), hub.connect());
    let answer = idle.post("log", log_body(&key, [record(2)]).to_string().as_bytes(), "");
    assert_eq!(answer.status, 200);
    under_way.send(&request[..request.len() - 5]);
    std::thread::sleep(Duration::from_millis(200));
    hub.signal(Signal::TERM);
    assert!(idle.closed());
    under_way.send(&request[request.len() - 5..]);
    let answer = under_way.answer();
    assert_eq!((answer.status, answer.body), (200, json!({})));
    assert!(answer.head.contains("connection: close"), "{}", answer.head);
    assert_eq!(hub.ended(), Some(0));
    assert_eq!(hub.records().len(), 2);
    assert!(!hub.path("data/run/receive.addr").exists());
}

#[test]
fn a_taken_address_is_waited_for() {
    let mut first = Hub::new("", "");
    let address = first.address();
    let mut second = Hub::new("", "");
    second.signal(Signal::TERM);
    assert_eq!(second.ended(), Some(0));
    second.configure(&format!("listen = \"{address}\""), "");
    second.spawn();
    wait("the complaint", || second.log().contains("trying again every second").then_some(()));
    first.signal(Signal::TERM);
    assert_eq!(first.ended(), Some(0));
    wait("the address", || second.path("data/run/receive.addr").exists().then_some(()));
    let mut conn = Conn::new(&address, &second.client);
    conn.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(conn.answer().body, json!({"ok": true}));
}

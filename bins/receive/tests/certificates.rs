//! Certificates of agents: they are asked for, and must be shown by the machines of an enrolment that says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

mod common;

use std::sync::Arc;

use common::santad::Santad;
use common::{Conn, Hub, enrol_body, wait};
use registry::db::Db;
use registry::enrolments::{self, Enrolment};
use registry::server_key;
use rustix::process::Signal;
use rustls::ClientConfig;
use serde_json::{Value, json};

const ASKED: &str = "tls.client_ca = \"ca.pem\"\n";
const UNIT: &str = "[unit.berlin]\n";

/// The secret of an enrolment whose machines must show a certificate.
fn certified(hub: &Hub, source: &str) -> String {
    let schemas = [enrolments::SCHEMA, enrolments::CERTIFICATES];
    let mut db = Db::open(&hub.path("data/registry.db"), &schemas).unwrap();
    let wanted =
        Enrolment { unit: "berlin".into(), source: source.into(), client_certificate: true, ..Enrolment::default() };
    let made = enrolments::make(&mut db, wanted, 0).unwrap();
    server_key::read(&hub.path("data")).unwrap().unwrap().secret(&made.id, made.generation)
}

fn with(hub: &Hub, client: &Arc<ClientConfig>) -> Conn {
    Conn::new(&hub.address(), client)
}

fn config(conn: &mut Conn, node_key: &Value) -> Value {
    conn.post("config", json!({ "node_key": node_key }).to_string().as_bytes(), "").body
}

#[test]
fn santa_without_its_certificate_is_nobody() {
    let hub = Hub::new(ASKED, UNIT);
    let (secret, (_, open)) = (certified(&hub, "santa"), hub.enrolment("berlin", "santa", None, None));
    let (client, bare) = (hub.certified("mac"), &mut hub.connect());
    let mut ada = Santad::new(&secret, 1, "2025.6");
    assert_eq!(ada.ask(bare, "preflight", &ada.said()).status, 403);
    assert_eq!(hub.refused("no_certificate"), 1.0);
    assert_eq!(ada.sync(&mut with(&hub, &client)), 1);
    for stage in ["preflight", "ruledownload", "eventupload", "postflight"] {
        assert_eq!(ada.ask(bare, stage, &ada.said()).status, 403, "{stage}");
    }
    // A session that is resumed has its certificate still.
    assert_eq!(ada.sync(&mut with(&hub, &client)), 0);
    assert_eq!(Santad::new(&open, 2, "2025.6").sync(bare), 1, "another enrolment asks for none");
    assert_eq!(Santad::new(&open, 3, "2025.6").sync(&mut with(&hub, &client)), 1, "and takes one");
}

#[test]
fn a_node_key_alone_opens_nothing() {
    let mut hub = Hub::new(ASKED, UNIT);
    let secret = certified(&hub, "osquery");
    let client = hub.certified("mac");
    let body = enrol_body(&secret, "ZTST00000001", "U-1").to_string();
    let refused = hub.connect().post("enroll", body.as_bytes(), "").body;
    assert_eq!((&refused["node_invalid"], refused.get("node_key")), (&true.into(), None));
    let taken = with(&hub, &client).post("enroll", body.as_bytes(), "").body;
    let key = &taken["node_key"];
    // Sessions outlive the process.
    for _ in 0..2 {
        assert!(config(&mut with(&hub, &client), key).get("schedule").is_some());
        let bare = hub.connect().post("config", json!({ "node_key": key }).to_string().as_bytes(), "");
        assert_eq!(bare.status, 403);
        assert!(bare.body["error"].is_string() && bare.body.get("node_invalid").is_none(), "it keeps its key");
        hub.kill();
        hub.start();
    }
}

#[test]
fn munki_of_2017_shows_it_with_its_secret() {
    let hub = Hub::new(&format!("{ASKED}legacy_paths = true\n"), &format!("{UNIT}[source.munki]\n"));
    let header = format!("Zentral-API-Secret: {}$SERIAL$C02MUNKI\r\n", certified(&hub, "munki"));
    // What is refused here is told as text, so only the status is read.
    let job = |conn: &mut Conn| {
        let who = json!({"machine_serial_number": "C02MUNKI"}).to_string();
        let head =
            format!("POST /munki/job_details/ HTTP/1.1\r\nHost: h\r\n{header}Content-Length: {}\r\n\r\n", who.len());
        conn.send(&[head.as_bytes(), who.as_bytes()].concat());
        let mut status = [0; 12];
        std::io::Read::read_exact(&mut conn.0, &mut status).unwrap();
        String::from_utf8_lossy(&status)[9..].parse::<u16>().unwrap()
    };
    let client = hub.certified("mac");
    assert_eq!(job(&mut hub.connect()), 403);
    assert_eq!(job(&mut with(&hub, &client)), 200);
    assert_eq!(job(&mut hub.connect()), 403, "though it is in");
    assert_eq!(job(&mut with(&hub, &client)), 200);
}

/// A request of Munki's or of 2017: the answer as it stands, for not all of them are JSON.
fn ask(conn: &mut Conn, path: &str, header: &str, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\n{header}\r\nContent-Length: {length}\r\n\r\n{body}");
    conn.send(head.as_bytes());
    let mut answer = vec![0; 4096];
    let n = std::io::Read::read(&mut conn.0, &mut answer).unwrap();
    String::from_utf8(answer[..n].to_vec()).unwrap()
}

#[test]
fn a_secret_that_asks_for_none_takes_no_machine_over() {
    let hub = Hub::new(&format!("{ASKED}legacy_paths = true\n"), &format!("{UNIT}[source.munki]\n"));
    let (own, bare) = (certified(&hub, "munki"), hub.enrolment("berlin", "munki", None, None).1);
    let client = hub.certified("mac");
    let enrol = |conn: &mut Conn, secret: &str| {
        let body =
            json!({"secret": secret, "serial_number": "C02MUNKI", "uuid": "4C4C4544-0031-4A10-8052-B7C04F4E4B32"});
        ask(conn, "/public/munki/enroll/", "Accept: */*", &body)
    };
    let taken = enrol(&mut with(&hub, &client), &own);
    let token = taken.split("\"token\":\"").nth(1).unwrap().split('"').next().unwrap();
    let who = json!({"machine_serial_number": "C02MUNKI"});
    let by_token = |conn: &mut Conn| {
        ask(conn, "/public/munki/job_details/", &format!("Authorization: MunkiEnrolledMachine {token}"), &who)
    };
    assert!(enrol(&mut hub.connect(), &bare).contains("known as another"));
    let old = ask(&mut hub.connect(), "/munki/job_details/", &format!("Zentral-API-Secret: {bare}"), &who);
    assert!(old.starts_with("HTTP/1.1 403") && old.ends_with("Missing client certificate"), "{old}");
    assert!(by_token(&mut hub.connect()).starts_with("HTTP/1.1 403"));
    assert!(by_token(&mut with(&hub, &client)).starts_with("HTTP/1.1 200"), "its token is good still");
    // To osquery a token of Munki's is none, though it has just been looked up.
    assert_eq!(config(&mut with(&hub, &client), &token.into())["node_invalid"], true);
    let why: Vec<Value> =
        hub.lines().iter().filter(|raw| raw.kind == "conflict").map(|raw| common::body(raw)["why"].clone()).collect();
    assert_eq!(why, ["certificate"]);
}

#[test]
fn osquery_of_2017_is_refused_by_status() {
    let hub = Hub::new(&format!("{ASKED}legacy_paths = true\n"), UNIT);
    let body = json!({"enroll_secret": format!("{}$SERIAL$C02OLD", certified(&hub, "osquery"))});
    let said = ask(&mut hub.connect(), "/osquery/enroll", "Accept: */*", &body);
    assert!(said.starts_with("HTTP/1.1 403") && said.ends_with("Missing client certificate"), "{said}");
    assert_eq!(hub.refused("no_certificate"), 1.0);
}

#[test]
fn whose_certificate_is_of_another_authority_is_sent_away() {
    let hub = Hub::new(ASKED, UNIT);
    let other = Hub::new("", UNIT);
    let mut conn = with(&hub, &hub.foreign(&other));
    let asked = std::io::Write::write_all(&mut conn.0, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(asked.is_err() || conn.try_answer().is_err());
    wait("the refusal to be counted", || (hub.closed("tls") > 0.0).then_some(()));
}

#[test]
fn a_session_of_before_is_not_resumed_under_another_authority() {
    let hub = Hub::new("", UNIT);
    let client = hub.certified("mac");
    let mut reloads = 0;
    let mut reload = |stage: &str| {
        hub.configure(stage, UNIT);
        hub.signal(Signal::HUP);
        reloads += 1;
        wait("a reload", || (hub.log().matches("zentral receive: reloaded").count() >= reloads).then_some(()));
    };
    // Nobody asks for its certificate; then somebody does, and the session that it has must not keep it from being shown.
    let mut ada = Santad::new(&hub.enrolment("berlin", "santa", None, None).1, 1, "2025.6");
    ada.sync(&mut with(&hub, &client));
    reload(ASKED);
    let mut bob = Santad::new(&certified(&hub, "santa"), 2, "2025.6");
    bob.sync(&mut with(&hub, &client));
    // And a certificate of an authority that is none any more is worth nothing, on a connection of before neither.
    let mut kept = with(&hub, &client);
    assert_eq!(bob.ask(&mut kept, "preflight", &bob.said()).status, 200);
    reload("");
    let said = bob.ask(&mut kept, "preflight", &bob.said());
    assert_eq!(said.status, 403);
    assert!(said.head.to_lowercase().contains("connection: close"), "{}", said.head);
    assert_eq!(bob.ask(&mut with(&hub, &client), "preflight", &bob.said()).status, 403);
}

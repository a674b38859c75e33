//! What Santa's agents, or others in their place, may send: each is answered, and nothing is half done.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

mod common;

use std::io::{Read, Write};

use common::santad::{Santad, send, zlib};
use common::{Conn, Hub, gzip};
use serde_json::{Value, json};

const JSON: &str = "Content-Type: application/json\r\n";

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    flate2::read::DeflateEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
    packed
}

fn hub() -> (Hub, Santad) {
    let hub = Hub::new("", "[unit.berlin]\n");
    let (_, secret) = hub.enrolment("berlin", "santa", None, None);
    let mut santad = Santad::new(&secret, 1, "2025.6");
    santad.sync(&mut hub.connect());
    (hub, santad)
}

#[test]
fn every_encoding_is_understood_and_no_body_that_is_cut() {
    let (hub, santad) = hub();
    let conn = &mut hub.connect();
    let body = json!({"machine_id": santad.id, "rules_received": "0"}).to_string().into_bytes();
    for (packed, label) in [
        (zlib(&body), "deflate"),
        (zlib(&body), "zlib"),
        (deflate(&body), "deflate"),
        (gzip(&body), "gzip"),
        (zlib(&body), "gzip"),
        (body.clone(), "none"),
        (body.clone(), "identity"),
        (body.clone(), ""),
    ] {
        let named = if label.is_empty() { String::new() } else { format!("Content-Encoding: {label}\r\n") };
        let answer = santad.send(conn, "postflight", &packed, &named);
        assert_eq!((answer.status, answer.body), (200, json!({})), "{label}");
        for end in 0..packed.len() {
            let answer = santad.send(conn, "postflight", &packed[..end], &named);
            assert_eq!(answer.status, 400, "{label} cut at {end}: {}", answer.body);
        }
    }
    let answer = santad.send(conn, "postflight", &body, "Content-Encoding: br\r\n");
    assert_eq!(answer.status, 415);
}

#[test]
fn what_is_odd_is_answered() {
    let (hub, santad) = hub();
    let conn = &mut hub.connect();
    let before = hub.lines().len();
    let deep = format!("{{\"events\":[{}{}]}}", "[".repeat(200), "]".repeat(200));
    for (stage, body, status) in [
        ("eventupload", r#"{"events":{"a":1}}"#, 400),
        ("eventupload", r#"{"file_access_events":"x"}"#, 400),
        ("eventupload", r#"{"events":[1,2}"#, 400),
        ("eventupload", deep.as_str(), 400),
        ("eventupload", r#"{"events":[{"file_name":"\ud800"}]}"#, 400),
        ("eventupload", "{\"events\":[{\"file_name\":\"\u{0}\"}]}", 400),
        ("eventupload", r#"{"events":null,"file_access_events":[]}"#, 200),
        ("ruledownload", r#"{"cursor":7}"#, 200),
        ("ruledownload", r#"{"cursor":"'; DROP TABLE machines; --.5"}"#, 200),
        ("postflight", r#"{"rules_received":-1,"rulesProcessed":1e99,"syncType":"ODD"}"#, 200),
        ("preflight", r#"{"serial_num":["x"],"os_build":"1","os_version":"1","hostname":"h"}"#, 400),
        ("preflight", r#"{"serial_num":"x","os_build":"1","os_version":"1","hostname":"h","hostname":""}"#, 400),
        ("xsrf", "{}", 404),
        ("metrics", "{}", 404),
    ] {
        let answer = santad.send(conn, stage, body.as_bytes(), JSON);
        assert_eq!(answer.status, status, "{stage} {body}: {}", answer.body);
    }
    assert_eq!(hub.lines().len(), before, "nothing of that is a line");
    let bearer = format!("Zentral-Authorization: Bearer {}\r\n", santad.secret);
    let long = "x".repeat(10_000);
    assert_eq!(send(conn, "POST", &format!("/public/santa/sync/preflight/{long}"), b"{}", &bearer).status, 400);
    assert_eq!(send(conn, "GET", &format!("/public/santa/sync/preflight/{}", santad.id), b"", &bearer).status, 405);
    let doctor = "/public/santa/sync/preflight/santactl-doctor-test";
    assert_eq!(send(conn, "POST", doctor, b"", &bearer).status, 200, "a probe without a body");
    let other = format!("Hub-Authorization: bearer {}\r\n", santad.secret);
    assert_eq!(send(conn, "POST", doctor, b"", &other).status, 200);
    assert_eq!(send(conn, "POST", doctor, b"", "Zentral-Authorization: Bearer \r\n").status, 401);
}

#[test]
fn a_long_upload_is_taken_and_a_bomb_is_not() {
    let (hub, santad) = hub();
    let conn = &mut hub.connect();
    let event = |n: u32| json!({"file_sha256": format!("{n:064x}"), "execution_time": 1_767_686_405 + n, "file_path": "x".repeat(600)});
    let body = json!({"events": (0..5000).map(event).collect::<Vec<_>>()});
    let answer = santad.ask(conn, "eventupload", &body);
    assert_eq!((answer.status, answer.body), (200, json!({})));
    assert_eq!(hub.lines().iter().filter(|line| line.kind == "event").count(), 5000);
    let many = format!("{{\"events\":[{}{{}}]}}", "{},".repeat(70_000));
    assert_eq!(santad.send(conn, "eventupload", &zlib(many.as_bytes()), "Content-Encoding: deflate\r\n").status, 413);
    let mut bomb = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    let spaces = vec![b' '; 1 << 20];
    (0..100).for_each(|_| bomb.write_all(&spaces).unwrap());
    let bomb = bomb.finish().unwrap();
    for stage in ["preflight", "eventupload", "ruledownload", "postflight"] {
        let answer = santad.send(&mut hub.connect(), stage, &bomb, "Content-Encoding: deflate\r\n");
        assert_eq!(answer.status, 413, "{stage}");
    }
}

/// A field of protobuf: bytes.
fn bytes(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut length = value.len();
    let mut head = if tag < 16 { vec![tag << 3 | 2] } else { vec![(tag << 3 | 2) | 0x80, tag >> 4] };
    while length >= 128 {
        head.push(u8::try_from(length & 127).unwrap() | 128);
        length >>= 7;
    }
    head.push(u8::try_from(length).unwrap());
    [head.as_slice(), value].concat()
}

/// The status, the type and the body of a reply to a message.
fn message(hub: &Hub, santad: &Santad, stage: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let packed = zlib(body);
    let head = format!(
        "POST /public/santa/sync/{stage}/{} HTTP/1.1\r\nHost: localhost\r\nZentral-Authorization: Bearer {}\r\n\
         Content-Type: application/x-protobuf\r\nContent-Encoding: deflate\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        santad.id,
        santad.secret,
        packed.len()
    );
    let mut conn: Conn = hub.connect();
    conn.send(&[head.as_bytes(), &packed].concat());
    let mut all = Vec::new();
    let _ = conn.0.read_to_end(&mut all);
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(all[..end].to_vec()).unwrap().to_ascii_lowercase();
    let kind = head.split("content-type: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
    (head[9..12].parse().unwrap(), kind, all[end + 4..].to_vec())
}

#[test]
fn a_whole_sync_in_protobuf() {
    let id = "ab".repeat(32);
    let rule = format!("[rules.r]\nrules = [ {{ type = \"BINARY\", id = \"{id}\", policy = \"BLOCKLIST\" }} ]\n");
    let hub = Hub::new("", &format!("[unit.berlin]\n{rule}"));
    let (_, secret) = hub.enrolment("berlin", "santa", None, None);
    let santad = Santad::new(&secret, 1, "2025.6");
    let machine = santad.id.as_bytes();
    let fields = [
        bytes(1, santad.serial.as_bytes()),
        bytes(2, b"mac.local"),
        bytes(3, b"15.5"),
        bytes(4, b"24F74"),
        bytes(6, b"2025.6"),
        bytes(18, machine),
    ];
    let preflight = fields.concat();
    // A preflight that is cut behind a field is one that leaves out the others; four of them it must have.
    let whole: Vec<usize> = (4..fields.len()).map(|n| fields[..n].concat().len()).collect();
    for end in 0..preflight.len() {
        let (status, kind, _) = message(&hub, &santad, "preflight", &preflight[..end]);
        let want = if whole.contains(&end) { (200, "application/x-protobuf") } else { (400, "application/json") };
        assert_eq!((status, kind.as_str()), want, "cut at {end}");
    }
    let (status, kind, told) = message(&hub, &santad, "preflight", &preflight);
    assert_eq!((status, kind.as_str()), (200, "application/x-protobuf"));
    assert!(told.starts_with(&[8, 1, 16, 2, 24, 50]), "MONITOR, CLEAN, 50: {told:?}");
    let event =
        [bytes(1, id.as_bytes()), vec![5 << 3 | 1], 1_767_686_405.25f64.to_le_bytes().to_vec(), vec![8 << 3, 9]]
            .concat();
    let upload = [bytes(1, &event), bytes(2, machine)].concat();
    for end in 0..upload.len() {
        assert_eq!(message(&hub, &santad, "eventupload", &upload[..end]).0, 400, "cut at {end}");
    }
    assert_eq!(message(&hub, &santad, "eventupload", &upload).0, 200);
    let (status, _, rules) = message(&hub, &santad, "ruledownload", b"");
    let want = bytes(1, &[bytes(1, id.as_bytes()), vec![2 << 3, 3, 3 << 3, 1]].concat());
    assert_eq!((status, rules), (200, want));
    let (status, kind, done) = message(&hub, &santad, "postflight", &[vec![8, 1, 16, 1], bytes(3, machine)].concat());
    assert_eq!((status, kind.as_str(), done.is_empty()), (200, "application/x-protobuf", false));
    let (_, _, told) = message(&hub, &santad, "preflight", &[preflight, vec![11 << 3, 1]].concat());
    assert!(told.starts_with(&[8, 1, 16, 1, 24, 50]), "NORMAL: it has confirmed: {told:?}");
    let lines = hub.lines();
    let events: Vec<Value> = lines.iter().filter(|line| line.kind == "event").map(common::body).collect();
    assert_eq!(events, [json!({"file_sha256": id, "execution_time": 1_767_686_405.25, "decision": "BLOCK_BINARY"})]);
}

#[test]
fn a_registry_that_is_away_is_no_reason_to_turn_anybody_away() {
    let (mut hub, mut santad) = hub();
    registry::db::drop(&(&hub.path("data/registry.db")).into()).unwrap();
    hub.kill();
    hub.start();
    let conn = &mut hub.connect();
    assert_eq!(santad.sync(conn), 0, "whoever is in stays in");
    let new = Santad::new(&santad.secret, 2, "2025.6");
    assert_eq!(new.ask(conn, "preflight", &new.said()).status, 503, "and comes again");
    let unknown = Santad::new("not-a-secret", 3, "2025.6");
    assert_eq!(unknown.ask(conn, "preflight", &unknown.said()).status, 403);
}

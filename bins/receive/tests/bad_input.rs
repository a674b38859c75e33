//! Bad input: each kind gets a clear answer, is counted by reason, and harms nobody else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

mod common;

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use common::{Hub, enrol_body, gzip, log_body, post_bytes, record, wait};
use serde_json::{Value, json};

const GZIP: &str = "Content-Encoding: gzip\r\n";

struct Case {
    name: &'static str,
    request: Vec<u8>,
    status: u16,
    reason: &'static str,
}

fn case(name: &'static str, request: Vec<u8>, status: u16, reason: &'static str) -> Case {
    Case { name, request, status, reason }
}

fn bare(head: &str) -> Vec<u8> {
    format!("{head}\r\nHost: localhost\r\n\r\n").into_bytes()
}

fn cases(key: &str) -> Vec<Case> {
    let log = |body: &[u8]| post_bytes("log", body, "");
    let packed = |body: &[u8]| post_bytes("log", body, GZIP);
    let text = |value: Value| value.to_string().into_bytes();
    let good = log_body(key, [record(1)]).to_string();
    let broken = gzip(good.as_bytes());
    let mut zeros = format!("{{\"node_key\":\"{key}\",\"log_type\":\"result\",\"data\":[\"").into_bytes();
    zeros.resize(100 << 20, b'0');
    let mut other_bomb = vec![b' '; 80 << 20];
    other_bomb.extend_from_slice(good.as_bytes());
    vec![
        case("not JSON", log(b"hello"), 400, "not_json"),
        case("half of it", log(&good.as_bytes()[..good.len() / 2]), 400, "not_json"),
        case("a list", log(b"[]"), 400, "not_object"),
        case("enrolment not JSON", post_bytes("enroll", b"{]", ""), 400, "not_json"),
        case("wrong type", log(&text(json!({"node_key": 5, "log_type": "result", "data": []}))), 400, "wrong_type"),
        case("data no list", log(&text(json!({"node_key": key, "log_type": "result", "data": {}}))), 400, "wrong_type"),
        case("missing key", log(&text(json!({"log_type": "result", "data": []}))), 400, "missing_key"),
        case("missing data", log(&text(json!({"node_key": key, "log_type": "result"}))), 400, "missing_key"),
        case("missing secret", post_bytes("enroll", b"{}", ""), 400, "missing_key"),
        case("empty body", log(b""), 400, "empty_body"),
        case("no length", bare("POST /public/osquery/log HTTP/1.1"), 400, "empty_body"),
        case("gzip cut short", packed(&broken[..broken.len() / 2]), 400, "bad_encoding"),
        case("no gzip", packed(b"hello"), 400, "bad_encoding"),
        case("an encoding of tomorrow", post_bytes("log", b"x", "Content-Encoding: br\r\n"), 415, "bad_encoding"),
        case("a bomb", packed(&tight(&zeros)), 413, "bomb"),
        case("a bomb without a key", packed(&tight(&other_bomb)), 413, "bomb"),
        case("too many records", packed(&gzip(many(key, sources::RECORDS_MAX + 1).as_bytes())), 413, "too_many"),
        case("a key too long", log(&text(json!({"x".repeat(5 << 20): 1}))), 413, "too_long"),
        case("a long enrolment", post_bytes("enroll", &text(long_enrolment()), ""), 413, "too_large"),
        case("packed", post_bytes("enroll", &gzip(&text(long_enrolment())), GZIP), 413, "too_large"),
        case("a long question", post_bytes("config", &vec![b' '; 100 << 10], ""), 413, "too_large"),
        case("packed", post_bytes("config", &gzip(&vec![b' '; 100 << 10]), GZIP), 413, "too_large"),
        case("unknown node key", log(&text(log_body("nobody", []))), 200, "node_invalid"),
        case("a node key of the right length", log(&text(log_body(&"A".repeat(43), []))), 200, "node_invalid"),
        case(
            "secret of nobody",
            post_bytes("enroll", enrol_body("x", "S", "U").to_string().as_bytes(), ""),
            200,
            "secret_bad",
        ),
        case("wrong method", bare("GET /public/osquery/log HTTP/1.1"), 405, "method"),
        case("method of nobody", bare("BREW /public/osquery/log HTTP/1.1"), 405, "method"),
        case("wrong method elsewhere", bare("DELETE /healthz HTTP/1.1"), 405, "method"),
        case("unknown path", bare("GET /zs1.secret HTTP/1.1"), 404, "path"),
        case("root", bare("GET / HTTP/1.1"), 404, "path"),
        case("a path with dots", bare("POST /public/osquery/../../x HTTP/1.1"), 404, "path"),
        case(
            "header too long",
            bare(&format!("GET /healthz HTTP/1.1\r\nX: {}", "x".repeat(20 << 10))),
            431,
            "header_too_large",
        ),
        case("100 MB", log(&vec![b' '; 100 << 20]), 413, "too_large"),
        case("100 MB in chunks", chunked(&vec![b' '; 100 << 20]), 413, "too_large"),
    ]
}

/// A log of so many records of one byte.
fn many(key: &str, records: usize) -> String {
    format!("{{\"node_key\":\"{key}\",\"log_type\":\"result\",\"data\":[{}1]}}", "1,".repeat(records - 1))
}

/// Longer than a line may be.
fn long_enrolment() -> Value {
    let mut body = enrol_body("x", "S", "U");
    body["host_details"]["system_info"]["x"] = "x".repeat(5 << 20).into();
    body
}

fn tight(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    flate2::read::GzEncoder::new(bytes, flate2::Compression::best()).read_to_end(&mut packed).unwrap();
    packed
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let mut all = b"POST /public/osquery/log HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(100_000) {
        all.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        all.extend_from_slice(piece);
        all.extend_from_slice(b"\r\n");
    }
    all.extend_from_slice(b"0\r\n\r\n");
    all
}

#[test]
fn each_gets_a_clear_answer_and_harms_nobody() {
    let hub = Hub::new("", "");
    let key = hub.node_key("C02");
    let mut good = hub.connect();
    let mut taken = 0;
    for Case { name, request, status, reason } in cases(&key) {
        let before = hub.refused(reason);
        let mut conn = hub.connect();
        conn.send(&request);
        let answer = conn.answer();
        assert_eq!((answer.status, hub.refused(reason)), (status, before + 1.0), "{name}: {}", answer.body);
        if status == 200 {
            assert_eq!(answer.body, json!({"node_invalid": true}), "{name}");
        } else {
            assert!(answer.body["error"].as_str().is_some_and(|text| !text.is_empty()), "{name}: {}", answer.body);
        }
        assert_eq!(answer.head.contains("allow: "), status == 405, "{name}: {}", answer.head);
        taken += 1;
        let fine = good.post("log", log_body(&key, [record(taken)]).to_string().as_bytes(), "");
        assert_eq!((fine.status, fine.body), (200, json!({})), "after: {name}");
        // The other connection goes on as well, unless HTTP itself was at odds.
        if conn.0.conn.wants_read() && !answer.head.contains("connection: close") {
            let fine = conn.post("config", json!({"node_key": key}).to_string().as_bytes(), "");
            assert_eq!(fine.status, 200, "on the same connection, after: {name}");
        }
    }
    assert_eq!(hub.records().len() as u64, taken, "nothing of the bad ones was kept");
    let bombs = hub.lines().iter().filter(|l| l.kind == "refused").count();
    assert_eq!(bombs, 1, "the machine of a bomb is named once");
    assert!(!hub.log().contains("zs1.secret") && !hub.log().contains(&key), "{}", hub.log());
}

/// What is odd about a record is the record's, and the request is fine.
#[test]
fn odd_records_are_taken() {
    let hub = Hub::new("", "");
    let key = hub.node_key("C02");
    let odd: [(&str, &[u8], Form); 9] = [
        ("invalid UTF-8", b"{\"a\":\"\xff\xfe\"}", Form::Base64),
        ("NUL", b"{\"a\":\"\\u0000\x7f\"}", Form::Json),
        ("a bare NUL", b"{\"a\":\"\x00\"}", Form::Base64),
        ("overflow", b"{\"unixTime\":18446744073709551616,\"n\":1e400,\"m\":-9223372036854775809}", Form::Json),
        ("1970", b"{\"unixTime\":0}", Form::Json),
        ("2040", b"{\"unixTime\":\"2208988800\"}", Form::Json),
        ("a key twice", b"{\"a\":1,\"a\":2}", Form::Json),
        ("lone surrogate", b"{\"a\":\"\\ud800\"}", Form::Json),
        ("no object", b"[1,null,\"x\"]", Form::Json),
    ];
    let deep = [&b"{\"a\":"[..], &vec![b'['; 10_000], &vec![b']'; 10_000], b"}"].concat();
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(5 << 20)).into_bytes();
    let more = [("deep", &deep[..], Form::Base64), ("too long for a line", &long, Form::Cut)];
    for (name, record, form) in odd.into_iter().chain(more) {
        let head = format!("{{\"node_key\":\"{key}\",\"log_type\":\"result\",\"data\":[");
        let body = [head.as_bytes(), record, b"]}"].concat();
        let before = hub.records().len();
        let mut conn = hub.connect();
        let answer = conn.post("log", &body, "");
        assert_eq!((answer.status, answer.body), (200, json!({})), "{name}");
        let records = hub.records();
        assert_eq!(records.len(), before + 1, "{name}");
        // Byte for byte what came, in the form that holds it.
        match (&records[before].body, form) {
            (event::Body::Json(text), Form::Json) => assert_eq!(text.get().as_bytes(), record, "{name}"),
            (event::Body::Base64 { base64 }, Form::Base64) => assert_eq!(base64, record, "{name}"),
            (event::Body::Cut { cut }, Form::Cut) => {
                assert_eq!(cut.bytes, record.len() as u64, "{name}");
                assert!(record.starts_with(cut.head.as_bytes()), "{name}");
            }
            (other, _) => panic!("{name}: {other:?}"),
        }
    }
}

enum Form {
    Json,
    Base64,
    Cut,
}

#[test]
fn more_than_is_held_is_split_while_it_streams() {
    let hub = Hub::new("body = { inflated = \"1 MiB\" }", "");
    let key = hub.node_key("C02");
    let records = (0..20_000).map(record);
    let body = gzip(log_body(&key, records).to_string().as_bytes());
    assert!(body.len() > 64 << 10);
    let answer = hub.connect().post("log", &body, GZIP);
    assert_eq!((answer.status, answer.body), (200, json!({})));
    assert_eq!(hub.records().len(), 20_000);
}

/// protocols.md § 1.4: at least 32 MiB decoded, in whatever form it comes.
#[test]
fn what_is_long_and_not_packed_is_taken() {
    let hub = Hub::new("", "");
    let key = hub.node_key("C02");
    let long = |n: u64| json!({"name": "q", "unixTime": n, "columns": {"x": "x".repeat(1 << 20)}});
    let plain = log_body(&key, (0..32).map(long)).to_string();
    assert!(plain.len() > 32 << 20);
    let taken = || hub.metric("zentral_records_total", &[]);
    let before = taken();
    for headers in ["", "Content-Encoding: identity\r\n"] {
        let answer = hub.connect().post("log", plain.as_bytes(), headers);
        assert_eq!((answer.status, answer.body), (200, json!({})), "{headers}");
    }
    assert_eq!(taken(), before + 64.0);
    // A few bytes on the wire have the same limit as many.
    let spaces = [" ".repeat(12 << 20).as_bytes(), log_body(&key, [record(1)]).to_string().as_bytes()].concat();
    let packed = tight(&spaces);
    assert!(packed.len() < 64 << 10);
    let answer = hub.connect().post("log", &packed, GZIP);
    assert_eq!((answer.status, answer.body), (200, json!({})));
    assert_eq!(taken(), before + 65.0);
}

/// A few hundred bytes become many lines: written piece by piece, with the line about the request, and not held.
#[test]
#[cfg(target_os = "linux")]
fn many_lines_of_a_short_body_are_not_held() {
    let hub = Hub::new("", "");
    let key = hub.node_key("C02");
    let peak = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", hub.child.as_ref().unwrap().id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    };
    let packed = tight(many(&key, sources::RECORDS_MAX).as_bytes());
    assert!(packed.len() < 1000);
    let before = peak();
    let answer = hub.connect().post("log", &packed, GZIP);
    assert_eq!((answer.status, answer.body), (200, json!({})));
    assert_eq!(hub.records().len(), sources::RECORDS_MAX);
    assert_eq!(hub.lines().iter().filter(|l| l.kind == "request").count(), 1);
    let bytes = common::folder_bytes(&hub.dir.path().join("data/topics/raw")) >> 20;
    assert!(bytes > 20 && peak() - before < bytes * 3 / 4, "{} MiB more for {bytes} MiB of lines", peak() - before);
}

#[test]
fn who_is_slow_is_cut_off() {
    let hub = Hub::new("body = { timeout = \"300ms\" }\nidle = \"700ms\"\nconnections = 3", "");
    let key = hub.node_key("C02");
    let request = post_bytes("log", log_body(&key, [record(1)]).to_string().as_bytes(), "");
    let mut slow = hub.connect();
    slow.send(&request[..request.len() - 5]);
    let answer = slow.answer();
    assert_eq!((answer.status, hub.refused("slow")), (408, 1.0), "{}", answer.body);

    let begun = Instant::now();
    let mut idle = hub.connect();
    idle.send(&request);
    assert_eq!(idle.answer().status, 200);
    assert!(idle.closed());
    assert!(begun.elapsed() > Duration::from_millis(500), "{:?}", begun.elapsed());

    // Three connections are let in, the fourth waits until one of them has been idle for too long.
    wait("the ends", || (hub.metric("zentral_connections", &[]) == 0.0).then_some(()));
    let idle = hub.closed("idle");
    let mut silent = [(); 3].map(|()| hub.connect());
    for conn in &mut silent {
        conn.0.conn.complete_io(&mut conn.0.sock).unwrap();
    }
    let mut more = hub.connect();
    assert_eq!(more.post("log", log_body(&key, [record(2)]).to_string().as_bytes(), "").status, 200);
    assert!(hub.closed("idle") > idle, "it was let in because another was silent");
}

/// Who begins and does not go on: with TLS, and with a header.
#[test]
fn who_does_not_go_on_is_cut_off() {
    let hub = Hub::new("", "");
    let mut mute = std::net::TcpStream::connect(hub.address()).unwrap();
    let mut half = hub.connect();
    half.send(b"POST /public/osquery/log HTTP/1.1\r\nHost:");
    wait("both", || (hub.closed("tls_slow") == 1.0 && hub.closed("broken") == 1.0).then_some(()));
    assert!(half.closed());
    assert_eq!(mute.read(&mut [0]).unwrap(), 0);
}

#[test]
fn http_as_others_speak_it() {
    let hub = Hub::new("", "");
    let key = hub.node_key("C02");
    let log = |n| log_body(&key, [record(n)]).to_string().into_bytes();
    // Who asks first whether to send the body is told to.
    let mut conn = hub.connect();
    let request = post_bytes("log", &log(1), "Expect: 100-continue\r\n");
    let head = request.len() - log(1).len();
    conn.send(&request[..head]);
    let mut told = [0; 25];
    conn.0.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    conn.send(&request[head..]);
    assert_eq!(conn.answer().status, 200);
    // The answer to HEAD has a head only; two requests at once are answered in their order.
    conn.send(&bare("HEAD /healthz HTTP/1.1"));
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        conn.0.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    let ask = json!({"node_key": key}).to_string();
    let both = [post_bytes("log", &log(2), ""), post_bytes("distributed/read", ask.as_bytes(), "")].concat();
    conn.send(&both);
    assert_eq!([conn.answer().body, conn.answer().body], [json!({}), json!({"queries": {}})]);
    assert_eq!(hub.records().len(), 2);
}

#[test]
fn what_is_no_http_and_no_tls_is_answered_or_dropped() {
    let hub = Hub::new("", "");
    let key = hub.node_key("C02");
    // What is too long ends where the parser's buffer does: more would be cut off together with the answer.
    let full = |head: &str| format!("{head}{}", "x".repeat((64 << 10) - head.len())).into_bytes();
    let cases = [
        (&b"hello\r\n\r\n"[..], 400),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"POST /public/osquery/log HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /public/osquery/log HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (&bare(&format!("GET /healthz HTTP/1.1\r\n{}X: y", "A: b\r\n".repeat(200))), 431),
        (&full("GET /"), 431),
        (&full("GET / HTTP/1.1\r\nX: "), 431),
    ];
    for (bytes, status) in cases {
        let mut conn = hub.connect();
        conn.send(bytes);
        let answer = conn.answer();
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.body["error"].is_string());
        assert!(conn.closed());
    }
    wait("the count", || (hub.closed("not_http") == cases.len() as f64).then_some(()));
    let mut plain = std::net::TcpStream::connect(hub.address()).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    wait("the count", || (hub.closed("tls") == 1.0).then_some(()));
    assert!(!hub.log().contains("PROXY"));
    let behind = Hub::new("trusted_proxies = [\"127.0.0.1\"]", "");
    let mut proxy = std::net::TcpStream::connect(behind.address()).unwrap();
    proxy.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n").unwrap();
    wait("a hint", || behind.log().contains("the PROXY protocol is not supported by this version").then_some(()));
    assert_eq!(hub.ask("", "log", &log_body(&key, [record(1)])).status, 200);
}

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
    let mut other_bomb = vec![b' '; 40 << 20];
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
    let odd: [(&str, &[u8]); 9] = [
        ("invalid UTF-8", b"{\"a\":\"\xff\xfe\"}"),
        ("NUL", b"{\"a\":\"\\u0000\x7f\"}"),
        ("a bare NUL", b"{\"a\":\"\x00\"}"),
        ("overflow", b"{\"unixTime\":18446744073709551616,\"n\":1e400,\"m\":-9223372036854775809}"),
        ("1970", b"{\"unixTime\":0}"),
        ("2040", b"{\"unixTime\":\"2208988800\"}"),
        ("a key twice", b"{\"a\":1,\"a\":2}"),
        ("lone surrogate", b"{\"a\":\"\\ud800\"}"),
        ("no object", b"[1,null,\"x\"]"),
    ];
    let deep = [&b"{\"a\":"[..], &vec![b'['; 10_000], &vec![b']'; 10_000], b"}"].concat();
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(5 << 20)).into_bytes();
    for (name, record) in odd.into_iter().chain([("deep", &deep[..]), ("too long for a line", &long)]) {
        let head = format!("{{\"node_key\":\"{key}\",\"log_type\":\"result\",\"data\":[");
        let body = [head.as_bytes(), record, b"]}"].concat();
        let before = hub.records().len();
        let mut conn = hub.connect();
        let answer = conn.post("log", &body, "");
        assert_eq!((answer.status, answer.body), (200, json!({})), "{name}");
        assert_eq!(hub.records().len(), before + 1, "{name}");
    }
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
    let silent: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(hub.address()).unwrap()).collect();
    wait("three connections", || (hub.metric("zentral_connections", &[]) == 3.0).then_some(()));
    let mut more = hub.connect();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(hub.metric("zentral_connections", &[]), 3.0);
    drop(silent);
    assert_eq!(more.post("log", log_body(&key, [record(2)]).to_string().as_bytes(), "").status, 200);
}

#[test]
fn what_is_no_http_and_no_tls_is_answered_or_dropped() {
    let hub = Hub::new("", "");
    let key = hub.node_key("C02");
    for (bytes, status) in [
        (&b"hello\r\n\r\n"[..], 400),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"POST /public/osquery/log HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /public/osquery/log HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (&bare(&format!("GET /healthz HTTP/1.1\r\n{}X: y", "A: b\r\n".repeat(200))), 431),
        (&bare(&format!("GET /{} HTTP/1.1", "x".repeat(100_000))), 431),
        (&bare(&format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(100_000))), 431),
    ] {
        let mut conn = hub.connect();
        // It may hang up before it has heard all of it.
        let _ = conn.0.write_all(bytes).and_then(|()| conn.0.flush());
        let answer = conn.try_answer();
        match answer {
            Ok(answer) => {
                // A path beyond the parser's buffer is one or the other, as it happens to come in.
                let got = if answer.status == 414 { 431 } else { answer.status };
                assert_eq!(got, status, "{}", answer.body);
                assert!(answer.body["error"].is_string());
            }
            Err(e) => assert!(bytes.len() > 64 << 10, "{e}: {}", String::from_utf8_lossy(bytes)),
        }
    }
    let mut plain = std::net::TcpStream::connect(hub.address()).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    wait("the count", || (hub.metric("zentral_connections_refused_total", &["reason=\"tls\""]) == 1.0).then_some(()));
    assert_eq!(hub.ask("", "log", &log_body(&key, [record(1)])).status, 200);
}

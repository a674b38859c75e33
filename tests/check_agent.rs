//! `zentral check --agent`: what an agent would hear from the hub, and from proxies that spoil it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use support::hub::Hub;

/// A proxy with the hub's certificate that answers everything alike; its port.
fn proxy(hub: &Hub, answer: &'static str) -> u16 {
    let chain = CertificateDer::pem_file_iter(hub.path("tls/hub.pem")).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(hub.path("tls/hub.key")).unwrap();
    let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (tls, listener) = (Arc::new(tls), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = StreamOwned::new(ServerConnection::new(tls.clone()).unwrap(), stream.unwrap());
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            let _ = stream.read_exact(&mut body);
            let _ = stream.write_all(answer.as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    port
}

fn check(hub: &Hub, url: &str) -> (Option<i32>, Vec<Value>) {
    let out = hub.run(&["check", "--json", "--agent", url]);
    let lines = String::from_utf8(out.stdout).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    (out.status.code(), lines.filter(|line| line["file"] == url).collect())
}

#[test]
fn a_hub_is_heard_and_a_proxy_that_says_nothing_is_told() {
    let mut hub = Hub::new("");
    hub.start();
    hub.wait("receive", 30, || hub.path("data/run/receive.addr").exists());
    let (code, found) = check(&hub, &format!("https://localhost:{}", hub.port));
    assert_eq!((code, found), (Some(0), Vec::new()));
    // That it got in is said, to people and to programs.
    let url = format!("https://localhost:{}", hub.port);
    let out = hub.run(&["check", "--agent", &url]);
    let said = String::from_utf8(out.stderr).unwrap();
    let came = format!(
        "ok: an osquery agent that nobody knows came in at {url}: 7 requests over 1 connection, each answered by the hub (enrolment; "
    );
    assert!(said.contains(&came), "{said}");
    let records = String::from_utf8(hub.run(&["check", "--json", "--agent", &url]).stdout).unwrap();
    let mut records = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let played = records.find(|record| record["agent"] == url.as_str()).expect("a record of what was played");
    assert_eq!((played["level"].as_str(), played["asked"].as_array().map(Vec::len)), (Some("summary"), Some(7)));

    // A port without TLS is one thing that is wrong, said once.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", plain.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in plain.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    let (code, found) = check(&hub, &url);
    let texts: Vec<&str> = found.iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert!(code == Some(1) && texts.len() == 1 && texts[0].contains("this is no TLS"), "{texts:?}");
    let out = hub.run(&["check", "--agent", &url]);
    assert!(!String::from_utf8(out.stderr).unwrap().contains("came in"));

    let empty = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let url = format!("https://localhost:{}", proxy(&hub, empty));
    let (code, found) = check(&hub, &url);
    assert_eq!(code, Some(1));
    let texts: Vec<&str> = found.iter().map(|line| line["text"].as_str().unwrap()).collect();
    let errors = texts.iter().filter(|text| text.contains("502 with an empty body, which osquery takes for success"));
    assert_eq!(errors.count(), 7, "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("7 connections for 7 requests")), "{texts:?}");

    let html = "HTTP/1.1 413 Too Large\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>";
    let (code, found) = check(&hub, &format!("https://localhost:{}", proxy(&hub, html)));
    assert_eq!(code, Some(1));
    assert!(found.iter().any(|line| line["text"].as_str().unwrap().contains("no JSON")), "{found:?}");
    hub.stop();
}

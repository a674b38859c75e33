//! A server whose answers a function makes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, dead_code, missing_docs, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use serde_json::Value;

pub type Headers = BTreeMap<String, String>;

/// Its address. `answer` is given the address, path and query, and the headers.
pub fn start(answer: impl Fn(&str, &str, &Headers) -> (u16, Value) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (own, answer) = (url.clone(), Arc::new(answer));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (own, answer) = (own.clone(), answer.clone());
            std::thread::spawn(move || speak(stream, |path, headers| answer(&own, path, headers)));
        }
    });
    url
}

fn speak(mut to: TcpStream, answer: impl Fn(&str, &Headers) -> (u16, Value)) {
    let mut from = BufReader::new(to.try_clone().unwrap());
    loop {
        let (mut line, mut headers) = (String::new(), BTreeMap::new());
        if from.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut header = String::new();
            from.read_line(&mut header).unwrap();
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let path = line.split(' ').nth(1).unwrap().to_owned();
        assert!(line.starts_with("GET "), "{line}");
        let (status, body) = answer(&path, &headers);
        let body = body.to_string();
        let head =
            format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        if to.write_all(&[head.as_bytes(), body.as_bytes()].concat()).is_err() {
            return;
        }
    }
}

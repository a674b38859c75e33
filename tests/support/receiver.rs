//! A receiver of actions that honours the idempotency key, and is as unreliable as it is told to be.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What to answer to a request: its number (from 0) and body come in.
pub type Script = dyn Fn(usize, &str) -> Reply + Send + Sync;

pub enum Reply {
    /// Status, extra headers, body.
    Answer(u16, &'static str, &'static str),
    /// Take it, then hang up without a word.
    TakeAndDie,
    /// Hang up without taking it.
    Die,
    /// Say nothing for so many milliseconds, then hang up.
    Hang(u64),
}

#[derive(Default)]
pub struct Seen {
    /// Bodies taken, by idempotency key: each key counts once.
    pub taken: HashMap<String, String>,
    /// Every request as (idempotency key, body).
    pub requests: Vec<(String, String)>,
}

pub struct Receiver {
    pub port: u16,
    pub seen: Arc<Mutex<Seen>>,
}

/// The number in each of these bodies, `{"n": n}`, sorted.
pub fn numbers<'a>(bodies: impl IntoIterator<Item = &'a String>) -> Vec<u64> {
    let number = |body: &String| serde_json::from_str::<serde_json::Value>(body).unwrap()["n"].as_u64().unwrap();
    let mut all: Vec<u64> = bodies.into_iter().map(number).collect();
    all.sort_unstable();
    all
}

impl Receiver {
    pub fn start(script: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (shared, script): (_, Arc<Script>) = (seen.clone(), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let (shared, script) = (shared.clone(), script.clone());
                std::thread::spawn(move || while serve(&stream, &shared, &*script).is_some() {});
            }
        });
        Self { port, seen }
    }
}

fn serve(mut stream: &TcpStream, seen: &Mutex<Seen>, script: &Script) -> Option<()> {
    let (mut got, mut buffer) = (Vec::new(), [0; 65536]);
    let (head, body) = loop {
        if let Some(end) = got.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&got[..end]).into_owned();
            let length = header(&head, "content-length").and_then(|l| l.parse::<usize>().ok()).unwrap_or(0);
            if got.len() >= end + 4 + length {
                break (head, String::from_utf8_lossy(&got[end + 4..end + 4 + length]).into_owned());
            }
        }
        let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
        got.extend_from_slice(&buffer[..n]);
    };
    let key = header(&head, "idempotency-key").expect("every HTTP action sends Idempotency-Key");
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.requests.push((key.clone(), body.clone()));
        seen.requests.len() - 1
    };
    let take = || {
        let mut seen = seen.lock().unwrap();
        let held = seen.taken.insert(key.clone(), body.clone());
        assert!(held.is_none_or(|held| held == body), "one key, two bodies");
    };
    match script(number, &body) {
        Reply::Die => None,
        Reply::TakeAndDie => {
            take();
            None
        }
        Reply::Hang(ms) => {
            std::thread::sleep(std::time::Duration::from_millis(ms));
            None
        }
        Reply::Answer(status, headers, text) => {
            if (200..300).contains(&status) {
                take();
            }
            let length = text.len();
            write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n{text}").ok()
        }
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

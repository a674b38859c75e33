//! A local HTTP server, strict about what it is sent.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Got {
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    pub at: Instant,
}

impl Got {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn key(&self) -> &str {
        &self.headers["idempotency-key"]
    }
}

/// What to answer; the last of a script goes on for ever.
#[derive(Debug, Clone)]
pub enum Say {
    Http(u16, &'static str, String),
    Hang,
    Close,
}

pub fn say(status: u16, body: &str) -> Say {
    Say::Http(status, "", body.to_owned())
}

type Decide = Box<dyn Fn(&Got) -> Say + Send>;

#[derive(Clone)]
pub struct Http {
    pub url: String,
    pub got: Arc<Mutex<Vec<Got>>>,
    script: Arc<Mutex<Vec<Say>>>,
    decide: Arc<Mutex<Option<Decide>>>,
}

impl Http {
    pub fn start(script: Vec<Say>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self { url, got: Arc::default(), script: Arc::new(Mutex::new(script)), decide: Arc::default() };
        let server = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        fake
    }

    pub fn script(&self, script: Vec<Say>) {
        *self.script.lock().unwrap() = script;
    }

    /// What a request says decides, no longer the script.
    pub fn decide(&self, decide: impl Fn(&Got) -> Say + Send + 'static) {
        *self.decide.lock().unwrap() = Some(Box::new(decide));
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    pub fn wait_for(&self, n: usize) {
        wait(&format!("{n} requests"), || self.got.lock().unwrap().len() >= n);
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                text => lines.push(text.to_owned()),
            }
        }
        let header = |l: &String| l.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned()));
        let headers: BTreeMap<String, String> = lines[1..].iter().filter_map(header).collect();
        let mut body = vec![0; headers.get("content-length").map_or(0, |n| n.parse().unwrap())];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).unwrap();
        let got = Got { line: lines[0].clone(), headers, body, at: Instant::now() };
        let decided = self.decide.lock().unwrap().as_ref().map(|decide| decide(&got));
        let say = decided.unwrap_or_else(|| {
            let mut script = self.script.lock().unwrap();
            if script.len() > 1 { script.remove(0) } else { script[0].clone() }
        });
        self.got.lock().unwrap().push(got);
        let mut stream = stream;
        match say {
            Say::Http(status, extra, body) => {
                let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{extra}Content-Length: {}", body.len());
                write!(stream, "{head}\r\n\r\n{body}").ok()?;
            }
            Say::Hang => std::thread::sleep(Duration::from_secs(60)),
            Say::Close => {}
        }
        Some(())
    }
}

/// Waits at most 20 s.
pub fn wait(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

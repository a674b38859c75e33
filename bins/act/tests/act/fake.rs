//! Local servers: HTTP and SMTP, strict about what they are sent.

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

#[derive(Clone)]
pub struct Http {
    pub url: String,
    pub got: Arc<Mutex<Vec<Got>>>,
    script: Arc<Mutex<Vec<Say>>>,
}

impl Http {
    pub fn start(script: Vec<Say>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self { url, got: Arc::default(), script: Arc::new(Mutex::new(script)) };
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
        let say = {
            let mut script = self.script.lock().unwrap();
            if script.len() > 1 { script.remove(0) } else { script[0].clone() }
        };
        let body = String::from_utf8(body).unwrap();
        self.got.lock().unwrap().push(Got { line: lines[0].clone(), headers, body, at: Instant::now() });
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

/// One mail as it came.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    pub login: Option<String>,
    pub data: String,
}

impl Mail {
    pub fn header(&self, name: &str) -> Vec<String> {
        let (head, _) = self.data.split_once("\r\n\r\n").unwrap();
        let unfolded = head.replace("\r\n ", " ");
        let prefix = format!("{name}: ");
        unfolded.split("\r\n").filter_map(|l| l.strip_prefix(&prefix)).map(str::to_owned).collect()
    }
}

#[derive(Clone)]
pub struct Smtp {
    pub url: String,
    pub got: Arc<Mutex<Vec<Mail>>>,
    /// Answers to RCPT TO, in order; then 250.
    rcpt: Arc<Mutex<Vec<&'static str>>>,
}

impl Smtp {
    pub fn start(rcpt: Vec<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let fake = Self { url, got: Arc::default(), rcpt: Arc::new(Mutex::new(rcpt)) };
        let server = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        fake
    }

    pub fn got(&self) -> Vec<Mail> {
        self.got.lock().unwrap().clone()
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut mail = Mail::default();
        write!(stream, "220 fake ESMTP\r\n").ok()?;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.strip_suffix("\r\n").expect("lines end in CRLF").to_owned();
            let answer = match line.split_once([' ', ':']).map_or(line.as_str(), |(verb, _)| verb) {
                "EHLO" => "250-fake\r\n250-8BITMIME\r\n250 AUTH PLAIN",
                "AUTH" => {
                    mail.login = Some(line);
                    "235 ok"
                }
                "MAIL" => {
                    mail.from = line;
                    "250 ok"
                }
                "RCPT" => {
                    let mut rcpt = self.rcpt.lock().unwrap();
                    let answer = if rcpt.is_empty() { "250 ok" } else { rcpt.remove(0) };
                    if answer.starts_with("250") {
                        mail.to.push(line);
                    }
                    answer
                }
                "DATA" => {
                    write!(stream, "354 go\r\n").ok()?;
                    while !mail.data.ends_with("\r\n.\r\n") {
                        let mut text = String::new();
                        if reader.read_line(&mut text).ok()? == 0 {
                            return None;
                        }
                        mail.data.push_str(&text);
                    }
                    self.got.lock().unwrap().push(std::mem::take(&mut mail));
                    "250 taken"
                }
                "QUIT" => {
                    write!(stream, "221 bye\r\n").ok()?;
                    return None;
                }
                "RSET" | "NOOP" => "250 ok",
                _ => "500 what?",
            };
            write!(stream, "{answer}\r\n").ok()?;
        }
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

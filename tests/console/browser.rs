//! A browser without a screen: it keeps cookies, fills in forms, and looks at every reply for what must stand on all.
#![allow(dead_code, reason = "each test uses what it needs of it")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::hub::{Hub, free_port};

/// Of everybody.
pub const PASSWORD: &str = "correct-horse-battery";
use std::time::Duration;

pub struct Browser {
    pub port: u16,
    pub cookies: BTreeMap<String, String>,
    /// The pages hold texts of hostile machines, in which anything may stand as text; a real browser judges them.
    pub hostile: bool,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// What the forms of this page carry.
    pub fn csrf(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"csrf\" value=\"").expect("a form");
        rest.split('"').next().unwrap().to_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.head, self.body))
    }
}

impl Browser {
    pub fn new(port: u16) -> Self {
        Self { port, cookies: BTreeMap::new(), hostile: false }
    }

    pub fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, "Accept: text/html\r\n", "")
    }

    /// A form with the word that it must carry, as a browser sends it.
    pub fn post(&mut self, path: &str, csrf: &str, form: &str) -> Reply {
        let origin = format!("Origin: http://127.0.0.1:{}\r\nSec-Fetch-Site: same-origin\r\n", self.port);
        self.form(path, &origin, &format!("csrf={csrf}&{form}"))
    }

    pub fn form(&mut self, path: &str, headers: &str, form: &str) -> Reply {
        let kind = "Content-Type: application/x-www-form-urlencoded\r\nAccept: text/html\r\n";
        self.send("POST", path, &format!("{kind}{headers}"), form)
    }

    /// One request on a connection of its own.
    pub fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = if cookies.is_empty() { String::new() } else { format!("Cookie: {}\r\n", cookies.join("; ")) };
        let host = if headers.contains("Host:") { String::new() } else { format!("Host: 127.0.0.1:{}\r\n", self.port) };
        let length = body.len();
        let text = format!(
            "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{cookies}{headers}\r\n{body}"
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // A server that has read enough may close before all is written.
        let _ = stream.write_all(text.as_bytes());
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let all = String::from_utf8_lossy(&all).into_owned();
        let (head, body) = all.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {path}: no answer: {all:?}"));
        let reply = Reply { status: head[9..12].parse().unwrap(), head: head.to_owned(), body: body.to_owned() };
        self.look(method, path, &reply);
        reply
    }

    /// What every reply has, whatever was asked.
    fn look(&mut self, method: &str, path: &str, reply: &Reply) {
        let place = format!("{method} {path}: {}", reply.head);
        let policy = reply.header("content-security-policy").unwrap_or_else(|| panic!("no policy: {place}"));
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{place}");
        assert!(!policy.contains("unsafe"), "{place}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{place}");
        assert_eq!(reply.header("referrer-policy"), Some("same-origin"), "{place}");
        assert!(reply.header("cache-control").is_some(), "{place}");
        if reply.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
            let inline = ["<script>", " style=", " onclick=", " onload=", "<style", "javascript:"];
            let found = !self.hostile && inline.iter().any(|word| reply.body.contains(word));
            assert!(!found, "something inline: {place}\n{}", reply.body);
            if method == "GET" {
                assert!(reply.body.contains("<h1>") && reply.body.contains("class=\"skip\""), "{place}");
            }
        }
        for line in reply.head.lines() {
            let Some(cookie) = line.strip_prefix("set-cookie: ") else { continue };
            assert!(
                cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Lax") && cookie.contains("; Path=/"),
                "{place}"
            );
            assert_eq!(cookie.starts_with("__Host-"), cookie.ends_with("; Secure"), "{place}");
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Chooses a password by a link; signed in afterwards.
    pub fn take(&mut self, link: &str, password: &str) {
        let path = &link[link.find("/link/").unwrap()..];
        let page = self.get(path);
        assert_eq!(page.status, 200, "{}", page.body);
        let form = format!("password={password}&again={password}");
        let done = self.post(path, &page.csrf(), &form);
        assert_eq!((done.status, done.header("location")), (303, Some("/")), "{}", done.body);
    }

    pub fn login(&mut self, name: &str, password: &str) -> Reply {
        let page = self.get("/login");
        self.post("/login", &page.csrf(), &format!("name={name}&password={password}&next=/machines"))
    }
}

/// A hub with these tables, and the port of its console, whose own table goes on with `more`; not started.
pub fn hub(tables: &str, more: &str) -> (Hub, u16) {
    let port = free_port();
    (Hub::new(&format!("{tables}\n[stage.console]\nlisten = \"127.0.0.1:{port}\"\n{more}")), port)
}

/// Starts it, and waits for people and for agents.
pub fn start((mut hub, port): (Hub, u16)) -> (Hub, u16) {
    hub.start();
    for port in [port, hub.port] {
        hub.wait("the console and the agents' port", 60, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }
    (hub, port)
}

/// Somebody who was added with these words and has signed in.
pub fn person(hub: &Hub, port: u16, name: &str, words: &[&str]) -> Browser {
    let link = hub.ok(&[&["user", "add", name], words].concat());
    assert!(link.starts_with(&format!("http://127.0.0.1:{port}/link/")), "{link}");
    let mut browser = Browser::new(port);
    browser.take(link.trim(), PASSWORD);
    browser
}

/// A token that was made with these words.
pub fn token(hub: &Hub, words: &[&str]) -> String {
    let made: Value = serde_json::from_str(&hub.ok(&[&["token", "new", "ci"], words].concat())).unwrap();
    made["token"].as_str().unwrap().to_owned()
}

/// What a program hears.
pub fn api(port: u16, token: &str, path: &str) -> Reply {
    Browser::new(port).send("GET", path, &format!("Authorization: Bearer {token}\r\nAccept: application/json\r\n"), "")
}

//! The browser's other half: what it asks of the provider, with cookies of its own.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

#[derive(Default)]
pub struct Elsewhere {
    cookies: BTreeMap<String, String>,
}

pub struct Said {
    pub status: u16,
    pub location: Option<String>,
    pub body: String,
}

impl Elsewhere {
    /// One request to an address of this machine; redirects are not followed.
    pub fn ask(&mut self, method: &str, url: &str, form: &str) -> Said {
        let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url}"));
        let (host, path) = rest.split_once('/').unwrap();
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let text = format!(
            "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAccept: text/html\r\n{kind}\r\nCookie: {}\r\nContent-Length: {}\r\n\r\n{form}",
            cookies.join("; "),
            form.len()
        );
        let mut stream = TcpStream::connect(host).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut all = Vec::new();
        // Who has said all may end the connection whatever was not read.
        let _ = stream.read_to_end(&mut all);
        let all = String::from_utf8_lossy(&all).into_owned();
        let (head, body) = all.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {url}: {all:?}"));
        let mut location = None;
        for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
            if name.eq_ignore_ascii_case("set-cookie") {
                let (name, rest) = value.split_once('=').unwrap();
                self.cookies.insert(name.to_owned(), rest.split(';').next().unwrap().to_owned());
            } else if name.eq_ignore_ascii_case("location") {
                let whole = value.starts_with("http");
                location = Some(if whole { value.to_owned() } else { format!("http://{host}{value}") });
            }
        }
        Said { status: head[9..12].parse().unwrap(), location, body: body.to_owned() }
    }
}

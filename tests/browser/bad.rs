//! A page on which everything is wrong that a look may find, and a server that stands for the console.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const STYLE: &str = ".broad { width: 400px } .pale { color: #ccc; background: #fff }";

/// Serves it, with the policy of the console or without; its address.
pub fn serve(policy: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| _ = answer(stream, policy)));
    base
}

/// Pages and files that stand for those of the console.
pub struct Pages {
    pub base: String,
    held: Arc<Mutex<BTreeMap<String, (String, String)>>>,
}

impl Pages {
    /// Serves these files: by path the type and the text.
    pub fn serve(files: BTreeMap<String, (String, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (base, held) = (format!("http://{}", listener.local_addr().unwrap()), Arc::new(Mutex::new(files)));
        let all = held.clone();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| _ = file(stream, &all)));
        Self { base, held }
    }

    /// From now on this is the page of this path, with this policy.
    pub fn show(&self, path: &str, page: String, policy: &str) {
        let kind = format!("text/html; charset=utf-8\r\nContent-Security-Policy: {policy}");
        self.held.lock().unwrap().insert(path.to_owned(), (kind, page));
    }
}

fn file(mut stream: TcpStream, all: &Mutex<BTreeMap<String, (String, String)>>) -> std::io::Result<()> {
    let mut head = [0; 8192];
    let n = stream.read(&mut head)?;
    let head = String::from_utf8_lossy(head.get(..n).unwrap_or_default()).into_owned();
    let path = head.split([' ', '?']).nth(1).unwrap_or_default();
    let (status, kind, body) = match all.lock().unwrap().get(path) {
        Some((kind, body)) => ("200 OK", kind.clone(), body.clone()),
        None => ("404 Not Found", "text/plain".to_owned(), String::new()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn answer(mut stream: TcpStream, policy: bool) -> std::io::Result<()> {
    let mut head = [0; 4096];
    let n = stream.read(&mut head)?;
    let (kind, body) = match head.get(..n).is_some_and(|head| head.starts_with(b"GET /style.css")) {
        true => ("text/css", STYLE.to_owned()),
        false => ("text/html", page()),
    };
    let policy = if policy { "Content-Security-Policy: default-src 'self'\r\n" } else { "" };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}; charset=utf-8\r\nConnection: close\r\nContent-Length: {length}\r\n{policy}\r\n{body}"
    )
}

fn page() -> String {
    let turn = '\u{202e}';
    let many = "<!-- many -->".repeat(20_000);
    format!(
        "<!doctype html><html><head><title>bad</title><meta name=viewport content='width=device-width'><link rel=stylesheet href=/style.css></head>\
         <body onload='window.owned=1'><h1>One</h1><h1>Two</h1><h4 id=a>Deep</h4><p id=a class=pale>pale {turn}turned</p>\
         <script>window.owned=1</script><img src=http://evil.example.com/x alt=''><a href='javascript:window.owned=1'></a>\
         <input><div class=broad>broad</div>{many}</body></html>"
    )
}

//! The server under every fake: HTTP/1.1, one request a connection, strict about the form.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest head and body that are read.
const HEAD_MAX: usize = 64 << 10;
const BODY_MAX: usize = 16 << 20;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// The segments of the path, decoded.
    pub path: Vec<String>,
    /// The path as it came, without the query.
    pub raw_path: String,
    pub query: BTreeMap<String, String>,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    pub at: Instant,
}

/// What is answered.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// Behaves as a service documents.
pub trait Service: Send {
    fn answer(&mut self, request: &Request) -> Reply;
}

impl Service for Box<dyn Service> {
    fn answer(&mut self, request: &Request) -> Reply {
        (**self).answer(request)
    }
}

/// What happens instead of an answer of the service; it hears nothing of it.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// Somebody on the way answers.
    Say(Reply),
    /// Nobody does.
    Hang,
    /// The connection breaks.
    Reset,
    /// 503 with a body that has no end.
    Flood,
    /// The service does as it is asked, and its answer is lost with the connection.
    Lost,
    /// The service does as it is asked, and does not answer.
    Mute,
    /// All is well; for the requests before one in trouble.
    Pass,
}

/// A service on a port of this machine.
#[derive(Clone)]
pub struct Fake {
    pub url: String,
    state: Arc<Mutex<State>>,
}

struct State {
    service: Box<dyn Service>,
    /// What happens to the next requests, the first one first.
    troubles: Vec<Trouble>,
    /// Every request with what the service answered; none: it was in trouble.
    seen: Vec<(Request, Option<Reply>)>,
    /// Says each on stderr.
    loud: bool,
}

impl Request {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The body as a form.
    pub fn form(&self) -> Option<BTreeMap<String, String>> {
        pairs(std::str::from_utf8(&self.body).ok()?)
    }

    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// What is the same for every try of a delivery.
    pub fn key(&self) -> &str {
        self.header("idempotency-key")
    }

    /// `POST /a/b`, of decoded segments.
    pub fn line(&self) -> String {
        format!("{} /{}", self.method, self.path.join("/"))
    }

    /// What somebody sends in a test of the service: `POST /a/b?c=d`.
    pub fn new(line: &str, headers: &[(&str, &str)], body: impl ToString) -> Self {
        let (method, target) = line.split_once(' ').unwrap_or((line, "/"));
        let headers = headers.iter().map(|(k, v)| (k.to_lowercase(), (*v).to_owned())).collect();
        parsed(method, target, headers, body.to_string().into_bytes()).unwrap_or_else(|why| panic!("{line}: {why}"))
    }
}

impl Fake {
    /// On a free port.
    pub fn start(service: impl Service + 'static, troubles: Vec<Trouble>) -> Self {
        Self::serve("127.0.0.1:0", service, troubles, false).unwrap_or_else(|e| panic!("no port: {e}"))
    }

    /// On this address; `loud`: each request is said on stderr.
    pub fn serve(
        listen: &str,
        service: impl Service + 'static,
        troubles: Vec<Trouble>,
        loud: bool,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = State { service: Box::new(service), troubles, seen: Vec::new(), loud };
        let fake = Self { url, state: Arc::new(Mutex::new(state)) };
        let server = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = server.clone();
                std::thread::spawn(move || server.connection(stream));
            }
        });
        Ok(fake)
    }

    /// Every request so far, those in trouble included.
    pub fn got(&self) -> Vec<Request> {
        self.state().seen.iter().map(|(request, _)| request.clone()).collect()
    }

    /// The requests that came to the service, with what it answered.
    pub fn answered(&self) -> Vec<(Request, Reply)> {
        self.state().seen.iter().filter_map(|(request, reply)| Some((request.clone(), reply.clone()?))).collect()
    }

    /// Troubles for the next requests.
    pub fn trouble(&self, troubles: Vec<Trouble>) {
        self.state().troubles.extend(troubles);
    }

    /// Waits until so many requests came, at most 20 s.
    pub fn wait_for(&self, n: usize) {
        let begun = Instant::now();
        while self.state().seen.len() < n {
            assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain for {n} requests");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A service that panicked in one test thread still tells the others what it got.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, mut stream: TcpStream) -> Option<()> {
        let (method, target, headers) = head(&mut stream)?;
        let trouble = {
            let mut state = self.state();
            let next = (!state.troubles.is_empty()).then(|| state.troubles.remove(0));
            next.filter(|trouble| !matches!(trouble, Trouble::Pass))
        };
        let length = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0usize).min(BODY_MAX);
        // What is left unread makes the kernel break the connection instead of closing it.
        let left = usize::from(matches!(trouble, Some(Trouble::Reset)) && length > 0);
        let mut body = vec![0; length - left];
        stream.read_exact(&mut body).ok()?;
        let request = match parsed(&method, &target, headers, body) {
            Ok(request) => request,
            Err(why) => return write(&mut stream, &Reply::text(400, &why)),
        };
        let reply = {
            let mut state = self.state();
            let heard = matches!(trouble, None | Some(Trouble::Lost | Trouble::Mute | Trouble::Pass));
            let reply = heard.then(|| state.service.answer(&request));
            if state.loud {
                let said = reply.as_ref().map_or("-".to_owned(), |r| format!("{} {}", r.status, r.body));
                eprintln!("{} {}\n  -> {said}", request.line(), String::from_utf8_lossy(&request.body));
            }
            state.seen.push((request, reply.clone()));
            reply
        };
        match (trouble, reply) {
            (None | Some(Trouble::Pass), Some(reply)) | (Some(Trouble::Say(reply)), _) => write(&mut stream, &reply),
            (Some(Trouble::Flood), _) => flood(&mut stream),
            (Some(Trouble::Hang | Trouble::Mute), _) => {
                std::thread::sleep(Duration::from_secs(60));
                None
            }
            _ => None,
        }
    }
}

type Head = (String, String, BTreeMap<String, String>);

/// Line and headers, byte by byte, so that the body stays in the kernel.
fn head(stream: &mut TcpStream) -> Option<Head> {
    let mut reader = BufReader::with_capacity(1, stream);
    let (mut lines, mut size) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        size += reader.read_line(&mut line).ok()?;
        let line = line.strip_suffix("\r\n")?;
        if line.is_empty() {
            break;
        }
        if size > HEAD_MAX {
            return None;
        }
        lines.push(line.to_owned());
    }
    let mut lines = lines.into_iter();
    let first = lines.next()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    Some((method, target, headers))
}

fn parsed(method: &str, target: &str, headers: BTreeMap<String, String>, body: Vec<u8>) -> Result<Request, String> {
    let (raw_path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = raw_path.strip_prefix('/').ok_or("the path does not begin with /")?;
    let segments = path.split('/').map(|segment| decoded(segment, false)).collect::<Option<Vec<_>>>();
    Ok(Request {
        method: method.to_owned(),
        path: segments.ok_or("the path is no UTF-8")?,
        raw_path: raw_path.to_owned(),
        query: pairs(query).ok_or("the query is no UTF-8")?,
        headers,
        body,
        at: Instant::now(),
    })
}

fn pairs(text: &str) -> Option<BTreeMap<String, String>> {
    let one = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decoded(key, true)?, decoded(value, true)?))
    };
    text.split('&').filter(|pair| !pair.is_empty()).map(one).collect()
}

/// Percent-decoded; in a form `+` is a space.
fn decoded(text: &str, form: bool) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let hex = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?
            }
            b'+' if form => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

fn write(stream: &mut TcpStream, reply: &Reply) -> Option<()> {
    let headers: String = reply.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let (status, length) = (reply.status, reply.body.len());
    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(reply.body.as_bytes()).ok()
}

/// Until the other side has had enough.
fn flood(stream: &mut TcpStream) -> Option<()> {
    stream.write_all(b"HTTP/1.1 503 X\r\nConnection: close\r\n\r\n").ok()?;
    loop {
        stream.write_all(&[b'x'; 64 << 10]).ok()?;
    }
}

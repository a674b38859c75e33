//! A hub in a scratch folder: the real program, and a client that speaks to it byte by byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    missing_docs,
    reason = "tests may panic, and each uses a part of this"
)]

pub mod santad;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use event::Raw;
use registry::db::Db;
use registry::enrolments::{self, Enrolment};
use registry::server_key;
use rustix::process::{Pid, Signal, kill_process};
use rustls::client::WantsClientCert;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Hub {
    pub dir: TempDir,
    pub child: Option<Child>,
    pub client: Arc<ClientConfig>,
    log: Arc<Mutex<String>>,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    roots: RootCertStore,
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

impl Hub {
    /// `more` is added to `pipeline.toml`; in it `{stage}` stands for keys of `[stage.receive]`.
    pub fn new(stage: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
        ca.distinguished_name.push(rcgen::DnType::CommonName, "a test's CA");
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut roots = RootCertStore::empty();
        let authority = ca.self_signed(&key).unwrap();
        roots.add(authority.der().clone()).unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        let client = client_of(&roots).with_no_client_auth();
        let (issuer, log) = (rcgen::Issuer::new(ca, key), Arc::default());
        let mut hub = Self { dir, child: None, client: client.into(), log, issuer, roots };
        hub.certificate("localhost");
        hub.configure(stage, more);
        Db::open(&hub.path("data/x").with_file_name("registry.db"), &[enrolments::SCHEMA]).unwrap();
        hub.start();
        hub
    }

    pub fn path(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub fn certificate(&self, name: &str) {
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        std::fs::write(self.path("hub.pem"), leaf.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(self.path("hub.key"), key.serialize_pem()).unwrap();
    }

    /// A client with a certificate of the hub's authority.
    pub fn certified(&self, name: &str) -> Arc<ClientConfig> {
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        client_of(&self.roots).with_client_auth_cert(vec![leaf.der().clone()], key).unwrap().into()
    }

    /// A client that trusts this hub and shows this one's certificate.
    pub fn foreign(&self, other: &Hub) -> Arc<ClientConfig> {
        let mut client = ClientConfig::clone(&self.client);
        client.client_auth_cert_resolver = other.certified("mac").client_auth_cert_resolver.clone();
        client.into()
    }

    pub fn configure(&self, stage: &str, more: &str) {
        let listen = if stage.contains("listen") { "" } else { "listen = \"127.0.0.1:0\"\n" };
        let text = format!(
            "version = 1\n[stage.receive]\n{listen}tls.cert = \"hub.pem\"\ntls.key = \"hub.key\"\n\
             to = \"topic:raw\"\n{stage}\n{more}\n"
        );
        std::fs::write(self.path("pipeline.toml"), text).unwrap();
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_receive"));
        command.arg("--config").arg(self.path("pipeline.toml")).args(["--log", "debug", "--color", "never"]);
        command
    }

    pub fn start(&mut self) {
        self.spawn();
        wait("an address", || self.path("data/run/receive.addr").exists().then_some(()));
    }

    pub fn spawn(&mut self) {
        let _ = std::fs::remove_file(self.path("data/run/receive.addr"));
        let mut child = self
            .command()
            .args(["--stage", "receive"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = self.log.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                log.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        self.child = Some(child);
    }

    /// A system call: not every machine has the program `kill`.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// The exit code; none if it was killed.
    pub fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill().and_then(|()| child.wait());
        panic!("does not end\n{}", self.log());
    }

    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        assert_eq!(self.ended(), None);
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn address(&self) -> String {
        std::fs::read_to_string(self.path("data/run/receive.addr")).unwrap()
    }

    /// A new enrolment and its secret.
    pub fn enrolment(&self, unit: &str, source: &str, quota: Option<u64>, expires: Option<i64>) -> (Enrolment, String) {
        let mut db = self.registry();
        let made = enrolments::create(&mut db, unit, source, quota, expires, &["tagged".to_owned()], 0).unwrap();
        let key = server_key::read(&self.dir.path().join("data")).unwrap().unwrap();
        let secret = key.secret(&made.id, made.generation);
        (made, secret)
    }

    pub fn registry(&self) -> Db {
        Db::open(&self.path("data/registry.db"), &[enrolments::SCHEMA]).unwrap()
    }

    /// A machine enrols; its node key.
    pub fn enrol(&self, secret: &str, serial: &str) -> String {
        let answer = self.ask(serial, "enroll", &enrol_body(secret, serial, "U-1"));
        answer.body["node_key"].as_str().unwrap_or_else(|| panic!("{}\n{}", answer.body, self.log())).to_owned()
    }

    pub fn node_key(&self, serial: &str) -> String {
        self.enrol(&self.enrolment("berlin", "osquery", None, None).1, serial)
    }

    /// A client that keeps no sessions, so that it looks at the certificate each time.
    pub fn forgetful(&self) -> Arc<ClientConfig> {
        let mut client = ClientConfig::clone(&self.client);
        client.resumption = rustls::client::Resumption::disabled();
        client.into()
    }

    pub fn connect(&self) -> Conn {
        Conn::new(&self.address(), &self.client)
    }

    /// On a connection of its own; `_who` only reads well.
    pub fn ask(&self, _who: &str, call: &str, body: &Value) -> Answer {
        self.connect().post(call, body.to_string().as_bytes(), "")
    }

    /// What lies in the topic, whether a reader may see it yet or not.
    pub fn lines(&self) -> Vec<Raw> {
        let dir = self.dir.path().join("data/topics/raw");
        let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
        names.retain(|p| p.extension().is_some_and(|e| e == "ndjson"));
        names.sort();
        let bytes: Vec<u8> = names.iter().flat_map(|p| std::fs::read(p).unwrap()).collect();
        let parse = |line| Raw::parse(line).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(line)));
        bytes
            .split_inclusive(|b| *b == b'\n')
            .filter(|l| l.ends_with(b"\n"))
            .map(|l| parse(l.trim_ascii_end()))
            .collect()
    }

    pub fn records(&self) -> Vec<Raw> {
        self.lines().into_iter().filter(|raw| raw.kind == "result").collect()
    }

    /// The sum of a metric over the series that have these labels (`kind="log"`).
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let socket = self.dir.path().join("data/run/receive.sock");
        let (status, text) = pipe::ops::get(&socket, "/metrics", PATIENCE).unwrap();
        assert_eq!(status, 200);
        let text = String::from_utf8(text).unwrap();
        let lines = text.lines().filter(|l| l.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        let values =
            lines.filter(|l| labels.iter().all(|label| l.contains(label))).map(|l| l.rsplit(' ').next().unwrap());
        values.map(|v| v.parse::<f64>().unwrap()).sum()
    }

    pub fn refused(&self, reason: &str) -> f64 {
        self.metric("zentral_requests_refused_total", &[&format!("reason=\"{reason}\"")])
    }
}

impl Hub {
    /// Connections that were cut for this reason.
    pub fn closed(&self, reason: &str) -> f64 {
        self.metric("zentral_connections_refused_total", &[&format!("reason=\"{reason}\"")])
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of receive\n{}", self.log());
        }
    }
}

fn client_of(roots: &RootCertStore) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
}

pub fn wait<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(done) = done() {
            return done;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("waited in vain for {what}");
}

pub fn enrol_body(secret: &str, serial: &str, uuid: &str) -> Value {
    json!({"enroll_secret": secret, "host_identifier": format!("{serial}.local"), "platform_type": "21",
        "host_details": {"system_info": {"hardware_serial": serial, "uuid": uuid_of(uuid)},
            "os_version": {"version": "15.1"}, "osquery_info": {"version": "5.23.0"}}})
}

/// A real UUID for a short name.
fn uuid_of(name: &str) -> String {
    let n = name.bytes().fold(7u64, |n, b| n.wrapping_mul(31).wrapping_add(b.into()));
    format!("4C4C4544-0031-4A10-8052-{:012X}", n & 0xffff_ffff_ffff)
}

pub fn record(n: u64) -> Value {
    json!({"name": "zentral/a/00000000", "hostIdentifier": "h", "unixTime": 1_767_686_410 + n, "epoch": 0,
        "counter": 1, "action": "added", "columns": {"n": n.to_string()}})
}

pub fn log_body(node_key: &str, records: impl IntoIterator<Item = Value>) -> Value {
    json!({"node_key": node_key, "log_type": "result", "data": records.into_iter().collect::<Vec<_>>()})
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    flate2::read::GzEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
    packed
}

/// A connection over TLS.
pub struct Conn(pub StreamOwned<ClientConnection, TcpStream>);

impl Conn {
    pub fn new(address: &str, client: &Arc<ClientConfig>) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let tls = ClientConnection::new(client.clone(), ServerName::try_from("localhost").unwrap()).unwrap();
        Self(StreamOwned::new(tls, stream))
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
        self.0.flush().unwrap();
    }

    pub fn post(&mut self, call: &str, body: &[u8], headers: &str) -> Answer {
        self.send(&post_bytes(call, body, headers));
        self.answer()
    }

    pub fn answer(&mut self) -> Answer {
        self.try_answer().unwrap()
    }

    /// Every answer has a body, and it is a JSON object.
    pub fn try_answer(&mut self) -> std::io::Result<Answer> {
        answer(&mut self.0)
    }

    /// The server has closed the connection.
    pub fn closed(&mut self) -> bool {
        let mut byte = [0];
        matches!(self.0.read(&mut byte), Ok(0)) || self.0.sock.peek(&mut byte).is_ok_and(|n| n == 0)
    }
}

pub fn post_bytes(call: &str, body: &[u8], headers: &str) -> Vec<u8> {
    let head = format!(
        "POST /public/osquery/{call} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: osquery/5.23.0\r\n{headers}\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

pub fn answer(from: &mut dyn Read) -> std::io::Result<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let status = head[9..12].parse().unwrap();
    if status == 100 {
        return answer(from);
    }
    let length = head.split("content-length: ").nth(1).expect(&head).split("\r\n").next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    from.read_exact(&mut body)?;
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    let body: Value = serde_json::from_slice(&body).unwrap_or_else(|e| panic!("{e}: {body:?}"));
    assert!(body.is_object(), "{body}");
    Ok(Answer { status, head, body })
}

pub fn folder_bytes(dir: &Path) -> u64 {
    std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum()
}

/// The record of a line.
pub fn body(raw: &event::Raw) -> Value {
    match &raw.body {
        event::Body::Json(text) => serde_json::from_str(text.get()).unwrap(),
        other => panic!("{other:?}"),
    }
}

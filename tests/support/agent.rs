//! An agent that speaks as osquery does: over verified TLS, one body a POST, and again when the answer did not come.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

pub struct Client {
    config: Arc<ClientConfig>,
    port: u16,
    stream: Option<StreamOwned<ClientConnection, TcpStream>>,
}

impl Client {
    pub fn new(ca: &[u8], port: u16) -> Self {
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_slice_iter(ca) {
            roots.add(cert.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { config: Arc::new(config), port, stream: None }
    }

    fn connect(&mut self) -> std::io::Result<()> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port))?;
        tcp.set_read_timeout(Some(Duration::from_secs(16)))?;
        tcp.set_write_timeout(Some(Duration::from_secs(16)))?;
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(self.config.clone(), name).map_err(std::io::Error::other)?;
        self.stream = Some(StreamOwned::new(tls, tcp));
        Ok(())
    }

    /// One request on a kept connection: the status and the body.
    pub fn request(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
        let sent = self.try_request(method, path, headers, body);
        if sent.is_err() {
            self.stream = None;
        }
        sent
    }

    fn try_request(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
        if self.stream.is_none() {
            self.connect()?;
        }
        let stream = self.stream.as_mut().unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: osquery/5.23.0\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        stream.flush()?;
        let (mut got, mut buffer) = (Vec::new(), [0; 16384]);
        loop {
            if let Some(end) = got.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&got[..end]).to_ascii_lowercase();
                let length =
                    head.lines().find_map(|l| l.strip_prefix("content-length:")).map(|l| l.trim().parse::<usize>());
                let length = length.and_then(Result::ok).unwrap_or(0);
                if got.len() >= end + 4 + length {
                    let status = head[9..12].parse().unwrap_or(0);
                    if head.contains("connection: close") {
                        self.stream = None;
                    }
                    return Ok((status, got[end + 4..end + 4 + length].to_vec()));
                }
            }
            let n = stream.read(&mut buffer)?;
            if n == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            got.extend_from_slice(&buffer[..n]);
        }
    }

    /// Sends and hangs up without reading the answer.
    pub fn post_and_leave(&mut self, path: &str, body: &Value) {
        let text = body.to_string();
        if self.stream.is_none() && self.connect().is_err() {
            return;
        }
        if let Some(mut stream) = self.stream.take() {
            let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", text.len());
            let _ = stream.write_all(&[head.as_bytes(), text.as_bytes()].concat());
            let _ = stream.flush();
        }
    }

    pub fn post(&mut self, path: &str, body: &Value) -> std::io::Result<(u16, Value)> {
        let (status, body) = self.request("POST", path, "", body.to_string().as_bytes())?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }
}

/// A result of this moment, whose row is `{"n": n}`.
pub fn record(n: usize) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    json!({"name": "t", "hostIdentifier": "h", "unixTime": now, "counter": 3, "action": "added", "columns": {"n": n}})
}

/// The numbers of the records among these events, sorted, each as often as it is there.
pub fn numbers<'a>(events: impl IntoIterator<Item = &'a Value>) -> Vec<u64> {
    let mut all: Vec<u64> = events.into_iter().filter_map(|event| event["payload"]["columns"]["n"].as_u64()).collect();
    all.sort_unstable();
    all
}

/// An enrolled machine.
pub struct Agent {
    pub client: Client,
    pub serial: String,
    pub node_key: Option<String>,
    secret: String,
}

impl Agent {
    pub fn new(ca: &[u8], port: u16, secret: &str, serial: &str) -> Self {
        Self { client: Client::new(ca, port), serial: serial.to_owned(), node_key: None, secret: secret.to_owned() }
    }

    pub fn enrol(&mut self) -> std::io::Result<()> {
        let body = json!({"enroll_secret": self.secret, "host_identifier": self.serial, "platform_type": "9",
            "host_details": {"system_info": {"hardware_serial": self.serial,
                "uuid": format!("4C4C4544-0000-4000-8000-{:0>12}", self.serial.trim_start_matches(|c: char| !c.is_ascii_digit())),
                "hostname": format!("{}.example.com", self.serial.to_lowercase())},
                "os_version": {"platform": "ubuntu", "version": "24.04"}}});
        let (_, answer) = self.client.post("/public/osquery/enroll", &body)?;
        self.node_key = answer["node_key"].as_str().map(str::to_owned);
        if self.node_key.is_none() {
            return Err(std::io::Error::other(format!("not enrolled: {answer}")));
        }
        Ok(())
    }

    /// Posts result lines; true if the hub has taken them (osquery looks at the body only).
    pub fn log(&mut self, lines: &[Value]) -> std::io::Result<bool> {
        if self.node_key.is_none() {
            self.enrol()?;
        }
        let body = json!({"node_key": self.node_key, "log_type": "result", "data": lines});
        let (status, answer) = self.client.post("/public/osquery/log", &body)?;
        if answer["node_invalid"] == true {
            self.node_key = None;
        }
        assert!(!answer.is_null(), "an empty or broken body means success to osquery (status {status})");
        Ok(answer["error"].is_null() && answer["node_invalid"] != true)
    }
}

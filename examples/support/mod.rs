//! What the tools for measuring share: connections that verify certificates, and bodies as a fleet sends them.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A kept connection.
pub type Connection = SendRequest<Full<Bytes>>;

/// Of so many records one is a USB device that was plugged in.
const ONE_IN: u64 = 100;

/// Believes this CA alone.
pub fn tls(ca: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_file_iter(ca).expect("the CA") {
        roots.add(cert.expect("PEM")).expect("a CA");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// A connection to `localhost` at this address.
pub async fn connect(address: &str, tls: &TlsConnector) -> std::io::Result<Connection> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
    let stream = tls.connect(name, stream).await?;
    let (send, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    tokio::task::spawn_local(connection);
    Ok(send)
}

/// Status and JSON of the reply; an error if the server hung up.
pub async fn post(to: &mut Connection, path: &str, body: Bytes, gzip: bool) -> Result<(u16, Value), hyper::Error> {
    post_as(to, path, body, gzip.then_some("gzip"), "osquery/5.23.0").await
}

/// As [`post`], of another agent.
pub async fn post_as(
    to: &mut Connection,
    path: &str,
    body: Bytes,
    encoding: Option<&str>,
    agent: &str,
) -> Result<(u16, Value), hyper::Error> {
    to.ready().await?;
    let mut request = Request::post(path)
        .header("host", "localhost")
        .header("user-agent", agent)
        .header("content-type", "application/json");
    if let Some(encoding) = encoding {
        request = request.header("content-encoding", encoding);
    }
    let reply = to.send_request(request.body(Full::new(body)).expect("a request")).await?;
    let status = reply.status().as_u16();
    let bytes = reply.into_body().collect().await?.to_bytes();
    Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

/// The n-th body: about 700 bytes a result, as a fleet's process listing looks: numbers and hashes differ, names repeat.
pub fn body(n: u64, time: u64, node_key: &str, results: u64) -> Vec<u8> {
    let mut seed = 0x9e37_79b9_7f4a_7c15 ^ (n + 1).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut out = format!(r#"{{"node_key":"{}","log_type":"result","data":["#, node_key).into_bytes();
    for i in 0..results {
        let count = n * results + i;
        let (name, more) = if count.is_multiple_of(ONE_IN) {
            ("usb_devices", format!(r#""vendor":"C-Media","model":"USB Audio {}","removable":"1","#, random() % 100))
        } else {
            ("pack_incident-response_process_events", String::new())
        };
        if i > 0 {
            out.push(b',');
        }
        write!(
            out,
            r#"{{"name":"{name}","hostIdentifier":"bench-1","calendarTime":"Tue Jan  6 08:00:05 2026 UTC","unixTime":{time},"epoch":0,"counter":{},"numerics":false,"decorations":{{"host_uuid":"4C4C4544-0031-4A10-8052-B5C04F4E3132","username":"ada"}},"columns":{{{more}"auid":"501","cmdline":"/usr/bin/ssh -o ServerAliveInterval={} -i /Users/ada/.ssh/{:x} {:016x}.example.com","cwd":"\"/Users/ada/src\"","parent":"{}","path":"/usr/bin/ssh","pid":"{}","sha256":"{:016x}{:016x}{:016x}{:016x}","md5":"{:016x}{:016x}","cdhash":"{:016x}{:016x}{:08x}","uid":"501","uptime":"{}"}},"action":"added"}}"#,
            count + 1,
            random() % 1000,
            random(),
            random(),
            random() % 100_000,
            random() % 100_000,
            random(),
            random(),
            random(),
            random(),
            random(),
            random(),
            random(),
            random(),
            random() >> 32,
            random() % 10_000_000,
        )
        .expect("memory");
    }
    out.extend_from_slice(b"]}");
    out
}

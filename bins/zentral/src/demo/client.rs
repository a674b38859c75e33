//! What the simulated agents speak: HTTP/1.1 over TLS on one connection that is kept, as osquery does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long osquery waits for an answer (protocols § 1.1).
const ANSWER_WAIT: Duration = Duration::from_secs(16);
/// Bytes of an answer that osquery takes.
const ANSWER_MAX: usize = 8 << 20;
/// The name that the hub's certificate must bear.
const NAME: &str = "localhost";

/// How to reach the hub: its address, and the one authority that is trusted.
#[derive(Clone)]
pub struct Way {
    /// Where it listens.
    pub address: SocketAddr,
    tls: TlsConnector,
}

impl Way {
    /// `ca` is PEM.
    pub fn new(address: SocketAddr, ca: &str) -> Result<Self, String> {
        let bad = |what: &dyn std::fmt::Display| format!("TLS: {what}");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| bad(&e))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { address, tls: TlsConnector::from(Arc::new(tls)) })
    }
}

/// One agent's connection.
pub struct Client {
    way: Way,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// Connects when it has something to say.
    pub fn new(way: &Way) -> Self {
        Self { way: way.clone(), connection: None }
    }

    /// Sends one request; status and body of the answer.
    pub async fn send(&mut self, method: Method, path: &str, gzip: bool, body: Bytes) -> Result<(u16, Bytes), String> {
        let answer = tokio::time::timeout(ANSWER_WAIT, self.exchange(method, path, gzip, body)).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_WAIT.as_secs())));
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    async fn exchange(&mut self, method: Method, path: &str, gzip: bool, body: Bytes) -> Result<(u16, Bytes), String> {
        let mut connection = match self.connection.take() {
            Some(kept) if !kept.is_closed() => kept,
            _ => self.connect().await?,
        };
        connection.ready().await.map_err(|e| format!("the connection broke: {e}"))?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, format!("{NAME}:{}", self.way.address.port()))
            .header(USER_AGENT, concat!("osquery/", "5.23.0"))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json");
        if gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let request = request.body(Full::new(body)).map_err(|e| e.to_string())?;
        let answer = connection.send_request(request).await.map_err(|e| format!("the connection broke: {e}"))?;
        let status = answer.status().as_u16();
        let body =
            Limited::new(answer.into_body(), ANSWER_MAX).collect().await.map_err(|e| format!("broken answer: {e}"))?;
        self.connection = Some(connection);
        Ok((status, body.to_bytes()))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let fail = |e: std::io::Error| format!("{}: {e}", self.way.address);
        let stream = TcpStream::connect(self.way.address).await.map_err(fail)?;
        let name = ServerName::try_from(NAME).map_err(|e| e.to_string())?;
        let stream = self.way.tls.connect(name, stream).await.map_err(fail)?;
        let (send, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        tokio::spawn(connection);
        Ok(send)
    }
}

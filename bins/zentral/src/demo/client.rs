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

/// How to reach a hub: where, under which name, and the authorities that are trusted.
#[derive(Clone)]
pub struct Way {
    /// Host and port to connect to.
    address: String,
    /// The name that its certificate must bear.
    name: String,
    /// `Host`.
    host: String,
    tls: TlsConnector,
}

impl Way {
    /// `ca` is PEM.
    pub fn new(address: SocketAddr, ca: &str) -> Result<Self, String> {
        let host = format!("{NAME}:{}", address.port());
        Ok(Self { address: address.to_string(), ..Self::to(&host, ca)? })
    }

    /// To `HOST` or `HOST:PORT`; `ca` is PEM, of one authority or many.
    pub fn to(host: &str, ca: &str) -> Result<Self, String> {
        let bad = |what: &dyn std::fmt::Display| format!("TLS: {what}");
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            // Bundles of systems hold some that are no authority to rustls.
            let _ = roots.add(certificate.map_err(|e| bad(&e))?);
        }
        if roots.is_empty() {
            return Err(bad(&"no authority to trust"));
        }
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port),
            _ => (host, "443"),
        };
        let (address, name) = (format!("{name}:{port}"), name.trim_matches(['[', ']']).to_owned());
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| bad(&e))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { address, name, host: host.to_owned(), tls: TlsConnector::from(Arc::new(tls)) })
    }
}

impl Way {
    /// Host and port, as a URL has them.
    pub fn host(&self) -> &str {
        &self.host
    }
}

/// One agent's connection.
pub struct Client {
    way: Way,
    connection: Option<SendRequest<Full<Bytes>>>,
    connections: usize,
}

impl Client {
    /// Connects when it has something to say.
    pub fn new(way: &Way) -> Self {
        Self { way: way.clone(), connection: None, connections: 0 }
    }

    /// How often it connected.
    pub fn connections(&self) -> usize {
        self.connections
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
            .header(HOST, &self.way.host)
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

    async fn connect(&mut self) -> Result<SendRequest<Full<Bytes>>, String> {
        let fail = |e: std::io::Error| format!("{}: {e}", self.way.address);
        self.connections += 1;
        let stream = TcpStream::connect(&self.way.address).await.map_err(fail)?;
        let name = ServerName::try_from(self.way.name.clone()).map_err(|e| e.to_string())?;
        let stream = self.way.tls.connect(name, stream).await.map_err(|e| self.refused(e))?;
        let (send, connection) = handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        tokio::spawn(connection);
        Ok(send)
    }

    /// Why TLS did not come about.
    fn refused(&self, error: std::io::Error) -> String {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidMessage(_)) => {
                format!(
                    "{}: this is no TLS; what listens there speaks something else, such as plain HTTP",
                    self.way.address
                )
            }
            _ => format!("{}: {error}", self.way.address),
        }
    }
}

//! Requests as agents send them: one connection each, over TLS by an authority that was named, or plain.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::body;
use super::case::Request;
use super::fill::{self, Values};

/// How long an answer is waited for.
const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read.
const ANSWER_MAX: usize = 16 << 20;
/// Who asks, unless a case says something else.
const AGENT: &str = concat!("zentral-conform/", env!("CARGO_PKG_VERSION"));

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The bytes.
    pub body: Vec<u8>,
    /// The same as JSON, if it is that.
    pub json: Option<Value>,
}

impl Answer {
    /// Of its parts.
    pub fn of(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        let json = serde_json::from_slice(&body).ok();
        Self { status, headers, body, json }
    }

    /// The value of a header; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

/// The way to a server.
pub struct Client {
    runtime: tokio::runtime::Runtime,
    tls: Option<TlsConnector>,
    host: String,
    port: u16,
    /// Path in front of the server's own.
    prefix: String,
}

impl Client {
    /// To this URL. `ca` is PEM: the authorities that are trusted.
    pub fn new(url: &str, ca: Option<&[u8]>) -> Result<Self, String> {
        let bad = |why: &str| format!("--url: `{url}` {why}");
        let uri: Uri = url.parse().map_err(|_| bad("is no URL"))?;
        let (tls, port) = match uri.scheme_str() {
            Some("https") => (Some(connector(ca.ok_or_else(|| bad("needs --ca"))?)?), 443),
            Some("http") => (None, 80),
            _ => return Err(bad("begins with neither https:// nor http://")),
        };
        let host = uri.host().ok_or_else(|| bad("names no host"))?.trim_matches(['[', ']']).to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| format!("cannot start: {e}"))?;
        let prefix = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { runtime, tls, host, port: uri.port_u16().unwrap_or(port), prefix })
    }

    /// Sends a request, filled with these values.
    pub fn send(&self, request: &Request, values: &Values) -> Result<Answer, String> {
        let path = fill::text(&request.path, values)?;
        let uri: Uri =
            format!("{}{path}", self.prefix).parse().map_err(|_| format!("`{}` is no path", request.path))?;
        let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| "the method is none".to_owned())?;
        let bytes = body::bytes(request, values)?;
        let mut sent = hyper::Request::builder().method(method.clone()).uri(uri);
        sent = sent.header(HOST, format!("{}:{}", self.host, self.port));
        if !request.headers.keys().any(|name| name.eq_ignore_ascii_case("user-agent")) {
            sent = sent.header(USER_AGENT, AGENT);
        }
        for (name, value) in &request.headers {
            let value = fill::text(value, values)?;
            let (key, held) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()));
            sent = sent.header(
                key.map_err(|_| format!("`{name}` is no name of a header"))?,
                held.map_err(|_| format!("header {name} holds what none can"))?,
            );
        }
        if method == Method::POST && bytes.is_empty() {
            sent = sent.header(CONTENT_LENGTH, 0);
        }
        let sent = sent.body(Full::new(Bytes::from(bytes))).map_err(|e| e.to_string())?;
        self.runtime.block_on(async {
            let answer = tokio::time::timeout(ANSWER_WAIT, self.exchange(sent)).await;
            answer.unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_WAIT.as_secs())))
        })
    }

    async fn exchange(&self, request: hyper::Request<Full<Bytes>>) -> Result<Answer, String> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|e| format!("{}:{}: {e}", self.host, self.port))?;
        match &self.tls {
            None => speak(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone()).map_err(|e| e.to_string())?;
                let stream = tls.connect(name, stream).await.map_err(|e| format!("TLS: {e}"))?;
                speak(stream, request).await
            }
        }
    }
}

fn connector(ca: &[u8]) -> Result<TlsConnector, String> {
    let bad = |e: &dyn std::fmt::Display| format!("--ca: {e}");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca) {
        roots.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
    }
    if roots.is_empty() {
        return Err(bad(&"holds no certificate"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(&e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn speak<S>(stream: S, request: hyper::Request<Full<Bytes>>) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broke = |e: hyper::Error| format!("the connection broke: {e}");
    let (mut send, connection) = handshake(TokioIo::new(stream)).await.map_err(broke)?;
    let driven = tokio::spawn(connection);
    let answer = send.send_request(request).await.map_err(broke)?;
    let status = answer.status().as_u16();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = answer.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
    let body = body.map_err(|e| format!("broken answer: {e}"))?.to_bytes();
    driven.abort();
    Ok(Answer::of(status, headers, body.into()))
}

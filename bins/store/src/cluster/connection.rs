//! How a cluster is asked: who asks, over what, and what an answer is. Elasticsearch and OpenSearch agree in all of it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use elasticsearch::Elasticsearch;
use elasticsearch::auth::{ClientCertificate, Credentials};
use elasticsearch::cert::{Certificate, CertificateValidation};
use elasticsearch::http::headers::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::transport::{MultiNodeConnectionPool, TransportBuilder};
use elasticsearch::http::{Method, Url};
use pipe::StageError;
use pipe::config::Secret;
use serde_json::Value;
use tokio::runtime::Runtime;

/// How long one request may take, unless it says less.
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// Characters of a reason that a cluster gives, at most, as people see it.
const REASON_MAX: usize = 400;

/// Where a cluster is and who asks it, as configured; nothing is looked up before [`Connection::get`].
#[derive(Clone)]
pub struct Target {
    /// Addresses of nodes, asked in turn.
    pub hosts: Vec<String>,
    /// Who asks.
    pub login: Login,
    /// Authorities to trust besides the well-known ones.
    pub ca: Option<PathBuf>,
    /// A certificate and its key, to be shown.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// How the cluster knows who asks.
#[derive(Clone)]
pub enum Login {
    /// Not at all, or by the certificate.
    Nobody,
    /// `Authorization: ApiKey …`, as the cluster gave it (encoded).
    ApiKey(Secret),
    /// Name and password.
    Basic(String, Secret),
    /// `Authorization: Bearer …`
    Bearer(Secret),
}

/// A cluster that can be asked, from any thread that may block.
#[derive(Clone)]
pub struct Connection {
    target: Arc<Target>,
    open: Arc<OnceLock<Result<Open, StageError>>>,
}

/// The client and what runs it.
pub type Open = (Elasticsearch, Arc<Runtime>);

/// What was answered, whatever it is.
pub struct Reply {
    /// Status of HTTP.
    pub status: u16,
    /// The body.
    pub body: bytes::Bytes,
}

/// Why there is no answer that helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody answered, or the answer broke off.
    Lost(String),
    /// The cluster says no: status, the type of its error, its reason.
    Refused(u16, String, String),
}

impl Trouble {
    /// How it is counted and shown.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Lost(_) => "lost",
            Self::Refused(status, ..) => super::bulk::label(*status),
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost(why) => f.write_str(why),
            Self::Refused(status, kind, reason) => write!(f, "status {status}, {kind}: {reason}"),
        }
    }
}

impl Reply {
    /// The body as JSON if all is well, else why not.
    pub fn json(&self) -> Result<Value, Trouble> {
        let body = serde_json::from_slice::<Value>(&self.body);
        match (self.status, body) {
            (200..=299, Ok(body)) => Ok(body),
            (200..=299, Err(e)) => Err(Trouble::Lost(format!("the answer broke off or is no JSON: {e}"))),
            (status, body) => {
                let error = body.ok().and_then(|mut b| b.get_mut("error").map(Value::take)).unwrap_or_default();
                let (kind, reason) = reason(&error);
                Err(Trouble::Refused(status, kind, reason))
            }
        }
    }
}

/// Type and reason of an error as clusters write it, the innermost cause included where it says more.
pub fn reason(error: &Value) -> (String, String) {
    let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    if let Some(said) = error.as_str() {
        return ("error".into(), cut(said));
    }
    let mut said = text(error, "reason");
    let root = error.get("root_cause").and_then(|r| r.get(0)).unwrap_or(error);
    for cause in [root, error.get("caused_by").unwrap_or(&Value::Null)] {
        let more = text(cause, "reason");
        if !more.is_empty() && !said.contains(&more) {
            said = format!("{said}: {more}");
        }
    }
    let kind = match text(root, "type") {
        kind if kind.is_empty() => text(error, "type"),
        kind => kind,
    };
    (if kind.is_empty() { "error".into() } else { kind }, cut(&said))
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(REASON_MAX).collect()
}

impl Connection {
    /// Of this cluster. Reaches out, and looks up secrets, when it is first asked.
    pub fn new(target: Target) -> Self {
        Self { target: Arc::new(target), open: Arc::default() }
    }

    /// Where it is and who asks.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The client and what runs it. The error is about the configuration: a secret that is missing, a bad certificate.
    pub fn get(&self) -> Result<&Open, StageError> {
        self.open.get_or_init(|| open(&self.target)).as_ref().map_err(Clone::clone)
    }

    /// Asks, and waits for the answer.
    pub fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Reply, Trouble> {
        let (client, runtime) = self.get().map_err(|e| Trouble::Lost(e.text))?;
        let body = body.map(|b| b.to_string().into());
        runtime.block_on(send(client, method, path, body, TIMEOUT))
    }

    /// The same, for JSON and success alone.
    pub fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Trouble> {
        self.ask(method, path, body)?.json()
    }
}

/// One request and its answer.
pub async fn send(
    client: &Elasticsearch,
    method: Method,
    path: &str,
    body: Option<bytes::Bytes>,
    timeout: Duration,
) -> Result<Reply, Trouble> {
    let mut headers = HeaderMap::new();
    if path.contains("_bulk") {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    }
    send_with(client, method, path, headers, body, timeout).await
}

/// The same with these headers.
pub async fn send_with(
    client: &Elasticsearch,
    method: Method,
    path: &str,
    headers: HeaderMap,
    body: Option<bytes::Bytes>,
    timeout: Duration,
) -> Result<Reply, Trouble> {
    let sent = client.send(method, path, headers, None::<&()>, body, Some(timeout)).await;
    let response = sent.map_err(|e| Trouble::Lost(plain(&e)))?;
    let status = response.status_code().as_u16();
    let body = response.bytes().await.map_err(|e| Trouble::Lost(plain(&e)))?;
    Ok(Reply { status, body })
}

/// What went wrong, to its root. Addresses hold no secrets here.
fn plain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

fn open(target: &Target) -> Result<Open, StageError> {
    let wrong = |what: String| StageError::usage(what);
    let urls: Result<Vec<Url>, _> = target.hosts.iter().map(|h| Url::parse(&format!("{h}/"))).collect();
    let pool = MultiNodeConnectionPool::round_robin(urls.map_err(|e| wrong(format!("hosts: {e}")))?, None);
    let mut transport = TransportBuilder::new(pool).disable_proxy().timeout(TIMEOUT).enable_meta_header(false);
    let mut authorities = Vec::new();
    for pem in remote::roots::extra(target.ca.as_deref()).map_err(wrong)? {
        authorities.extend(pem.bytes);
        authorities.push(b'\n');
    }
    if !authorities.is_empty() {
        let chain = Certificate::from_pem(&authorities).map_err(|e| wrong(format!("certificates: {}", plain(&e))))?;
        transport = transport.cert_validation(CertificateValidation::Full(chain));
    }
    if let Some((certificate, key)) = &target.client {
        let both = [pem(key)?, b"\n".to_vec(), pem(certificate)?].concat();
        transport = transport.auth(Credentials::Certificate(ClientCertificate::Pem(both)));
    }
    // As a header, so that a certificate can be shown as well.
    if let Some(mut value) = authorization(&target.login)? {
        value.set_sensitive(true);
        transport = transport.header(AUTHORIZATION, value);
    }
    let transport = transport.build().map_err(|e| wrong(format!("no HTTP client: {}", plain(&e))))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("cluster")
        .enable_all()
        .build()
        .map_err(|e| StageError::state(format!("cannot start a thread: {e}")))?;
    Ok((Elasticsearch::new(transport), Arc::new(runtime)))
}

fn authorization(login: &Login) -> Result<Option<HeaderValue>, StageError> {
    use base64::Engine as _;
    let resolve = |secret: &Secret| secret.resolve().map_err(|e| StageError::usage(format!("login: {e}")));
    let text = match login {
        Login::Nobody => return Ok(None),
        Login::ApiKey(key) => format!("ApiKey {}", resolve(key)?),
        Login::Bearer(token) => format!("Bearer {}", resolve(token)?),
        Login::Basic(user, password) => {
            let both = format!("{user}:{}", resolve(password)?);
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both))
        }
    };
    HeaderValue::from_str(&text).map(Some).map_err(|_| StageError::usage("login: it cannot stand in a header"))
}

fn pem(path: &Path) -> Result<Vec<u8>, StageError> {
    Ok(remote::roots::read(path.to_owned()).map_err(StageError::usage)?.bytes)
}

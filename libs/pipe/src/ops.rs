//! The side door of a process: `/ready`, `/metrics`, `/wrong` and what else it answers, over a Unix socket or a TCP address.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

/// How long a client may take to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections served at a time; more wait.
const CONNECTIONS_MAX: usize = 64;

/// An answer: status, content type, body.
pub type Answer = (u16, &'static str, Vec<u8>);

/// What is asked: method, path, query, and the bearer that was shown.
#[derive(Debug, Clone)]
pub struct Ask {
    /// `GET`, …
    pub method: String,
    /// Path of the URL.
    pub path: String,
    /// Query of the URL, still encoded; empty if there is none.
    pub query: String,
    /// From `Authorization: Bearer …`.
    pub bearer: Option<String>,
}

/// Answers questions, on a thread that may block; `None` is 404.
pub type Handler = Arc<dyn Fn(&Ask) -> Option<Answer> + Send + Sync>;

/// Where to listen.
#[derive(Debug, Clone)]
pub enum At {
    /// A socket in the file system, for this user only; a stale one is replaced.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(String),
}

/// Serves until the process ends, on a thread of its own. The address that it listens on comes back (a TCP port 0 has
/// become a real one).
pub fn serve(at: &At, handler: Handler) -> io::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
    let (listener, name) = {
        let _inside = runtime.enter();
        match at {
            At::Unix(path) => (Listener::Unix(bind_unix(path)?), path.display().to_string()),
            At::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let name = listener.local_addr()?.to_string();
                (Listener::Tcp(TcpListener::from_std(listener)?), name)
            }
        }
    };
    std::thread::Builder::new().name("ops".into()).spawn(move || runtime.block_on(accept(listener, handler)))?;
    Ok(name)
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

async fn accept(listener: Listener, handler: Handler) {
    let slots = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let accepted = match &listener {
            Listener::Unix(l) => l.accept().await.map(|(s, _)| Box::new(s) as Box<dyn Stream>),
            Listener::Tcp(l) => l.accept().await.map(|(s, _)| Box::new(s) as Box<dyn Stream>),
        };
        match accepted {
            Ok(stream) => {
                let handler = handler.clone();
                tokio::spawn(async move {
                    let _slot = slot;
                    let service = service_fn(move |request| answer(request, handler.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEADER_TIMEOUT)
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: a pause lets others close theirs.
                tracing::warn!("side door: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn answer(request: Request<Incoming>, handler: Handler) -> Result<Response<Full<Bytes>>, Infallible> {
    let bearer = request.headers().get(hyper::header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let ask = Ask {
        method: request.method().as_str().to_owned(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or("").to_owned(),
        bearer: bearer.and_then(|v| v.strip_prefix("Bearer ")).map(str::to_owned),
    };
    let reading = request.method() == Method::GET || request.method() == Method::HEAD;
    let made = match reading {
        true => tokio::task::spawn_blocking(move || handler(&ask)).await.unwrap_or(None),
        false => Some((405, "application/json", b"{\"error\":\"only GET is answered here\"}".to_vec())),
    };
    let missing = || (404, "application/json", b"{\"error\":\"no such path\"}".to_vec());
    let (status, kind, body) = made.unwrap_or_else(missing);
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    Ok(response)
}

/// The longest answer that [`get`] takes, in bytes.
const ANSWER_MAX: u64 = 256 << 20;

/// Asks the side door of a stage; the status and the body. An error means that nobody answers there.
pub fn get(socket: &Path, path_and_query: &str, timeout: Duration) -> io::Result<(u16, Vec<u8>)> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    // HTTP/1.0: the answer ends with the connection, so there is no framing to undo.
    write!(stream, "GET {path_and_query} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut all = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut all)?;
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP answer");
    let end = memchr::memmem::find(&all, b"\r\n\r\n").ok_or_else(bad)?;
    let status = all.get(9..12).and_then(|s| std::str::from_utf8(s).ok()).and_then(|s| s.parse().ok());
    Ok((status.ok_or_else(bad)?, all.split_off(end + 4)))
}

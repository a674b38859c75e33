//! A Slack that is none: an incoming webhook on the loopback that prints what it gets. The first message is put off
//! once with 429, as the real one does when it hears too much.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::screen::{BLUE, DIM, RED, Screen};

/// Bytes of a message.
const MESSAGE_MAX: usize = 1 << 20;
/// The header that names a delivery.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// What came to one of the demo's receivers.
#[derive(Debug, Default)]
pub struct Got {
    /// How often each delivery was taken, by its key.
    pub taken: HashMap<String, u32>,
    /// Tries that were put off.
    pub put_off: u32,
    /// What was not as it should be.
    pub wrong: Vec<String>,
}

impl Got {
    /// Notes a delivery; `true`: it is new.
    pub fn take(&mut self, key: &str) -> bool {
        let times = self.taken.entry(key.to_owned()).or_default();
        *times += 1;
        *times == 1
    }

    /// Deliveries that were taken more than once.
    pub fn doubled(&self) -> usize {
        self.taken.values().filter(|times| **times > 1).count()
    }
}

/// Shared between a receiver and the demo.
pub type Shared = Arc<Mutex<Got>>;

/// Looks at it.
pub fn with<T>(got: &Shared, look: impl FnOnce(&mut Got) -> T) -> T {
    look(&mut got.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Listens until the runtime ends.
pub async fn serve(listener: TcpListener, path: String, got: Shared, screen: Screen) {
    let path: Arc<str> = path.into();
    while let Ok((stream, _)) = listener.accept().await {
        let (path, got, screen) = (path.clone(), got.clone(), screen.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &path, &got, &screen));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    path: &str,
    got: &Shared,
    screen: &Screen,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let reply = |status, text: &'static str| {
        let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        Ok(response)
    };
    let message = match read(request, path).await {
        Ok(message) => message,
        Err(why) => {
            screen.line(&format!("  {} {why}", screen.paint(RED, "slack")));
            with(got, |got| got.wrong.push(format!("slack: {why}")));
            return reply(StatusCode::BAD_REQUEST, "invalid_payload");
        }
    };
    let first = with(got, |got| {
        let first = got.put_off == 0;
        got.put_off += u32::from(first);
        first
    });
    if first {
        let text = "429, Retry-After: 1 (once, to see that the message comes again)";
        screen.line(&format!("  {} {}", screen.paint(BLUE, "slack"), screen.paint(DIM, text)));
        let response = reply(StatusCode::TOO_MANY_REQUESTS, "rate_limited");
        return response.map(|mut response| {
            response.headers_mut().insert(RETRY_AFTER, hyper::header::HeaderValue::from_static("1"));
            response
        });
    }
    if with(got, |got| got.take(&message.key)) {
        let title = message.text.lines().next().unwrap_or_default();
        screen.line(&format!("  {} {title}", screen.paint(BLUE, "slack")));
    }
    reply(StatusCode::OK, "ok")
}

struct Message {
    key: String,
    text: String,
}

async fn read(request: Request<Incoming>, path: &str) -> Result<Message, String> {
    if request.method() != Method::POST {
        return Err(format!("{} in place of POST", request.method()));
    }
    if request.uri().path() != path {
        return Err("a path that is not the webhook's".into());
    }
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    if !header(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("application/json")) {
        return Err("a body that does not call itself JSON".into());
    }
    let key = header(IDEMPOTENCY_KEY).filter(|key| !key.is_empty()).ok_or("no Idempotency-Key")?;
    let body =
        Limited::new(request.into_body(), MESSAGE_MAX).collect().await.map_err(|e| format!("a broken body: {e}"))?;
    let body: serde_json::Value = serde_json::from_slice(&body.to_bytes()).map_err(|e| format!("not JSON: {e}"))?;
    let text = body.get("text").and_then(|t| t.as_str()).filter(|t| !t.is_empty()).ok_or("no text")?;
    Ok(Message { key, text: text.to_owned() })
}

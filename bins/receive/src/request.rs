//! One request: who is asked, what is answered, and never before the lines it gave are durable.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::BufRead;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use event::Time;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode};
use pipe::topic::Class;
use sources::{NoRoom, Reply, ReplyBody, Sink, Source};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::body::{self, Packed};
use crate::desk::Desk;
use crate::hub::{Hub, Live};

/// A longer body is worked on beside the other requests, on a thread of its own.
const INLINE_MAX: usize = 64 << 10;
/// A short body that inflates beyond this is split while it streams; only a bomb does.
const INLINE_INFLATED_MAX: usize = 8 << 20;
/// How long a request waits to be worked on beside the others.
const BESIDE_TIMEOUT: Duration = Duration::from_secs(10);
/// Headers that are longer together get an answer in place of an ear.
pub const HEADER_MAX: usize = 16 << 10;

/// Answers. The body of the answer is JSON and never empty, whatever happens.
pub async fn serve(
    hub: &Arc<Hub>,
    peer: IpAddr,
    request: hyper::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let route = ROUTES.get(head.uri.path());
    let (name, kind) = route.map_or(("none", "none"), |route| (route.source.name(), &route.kind));
    let reply = sheltered(answer(hub, peer, route, &head, body)).await;
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    hub.meters.answered(name, kind, status.as_str(), reply.reason, begun.elapsed());
    hub.meters.records.with_label_values(&[name]).inc_by(reply.records as u64);
    // Of the path only what is one of ours, and nothing of the query: both may hold secrets.
    tracing::debug!(source = name, kind, status = status.as_u16(), reason = reply.reason, %peer, "request");
    Ok(response(status, reply))
}

/// Who answers a path.
struct Route {
    source: &'static dyn Source,
    kind: String,
    /// It writes to the state and waits for the disk.
    enrols: bool,
}

static ROUTES: LazyLock<HashMap<&'static str, Route>> = LazyLock::new(|| {
    let paths = sources::ALL.iter().flat_map(|source| source.paths().iter().map(move |path| (*source, *path)));
    let route = |source, path| Route { source, kind: kind(source, path), enrols: path.ends_with("/enroll") };
    paths.map(|(source, path)| (path, route(source, path))).collect()
});

/// What a path of a source is called in metrics: `log`, `distributed_read`.
fn kind(source: &dyn Source, path: &str) -> String {
    let tail = path.trim_matches('/').trim_start_matches("public/").trim_start_matches(source.name());
    tail.trim_matches('/').replace('/', "_")
}

/// A panic is an answer, too: an empty one would be taken for success.
async fn sheltered(answering: impl Future<Output = Reply>) -> Reply {
    let mut answering = pin!(answering);
    std::future::poll_fn(|cx| {
        // What a panic leaves behind is this request's own, or behind a lock that nobody takes for poisoned.
        catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(cx))).unwrap_or_else(|_| Poll::Ready(panicked()))
    })
    .await
}

fn panicked() -> Reply {
    Reply::error(500, "panic", "internal error")
}

fn response(status: StatusCode, reply: Reply) -> Response<Full<Bytes>> {
    let body = match reply.body {
        ReplyBody::Fixed(text) => Bytes::from_static(text.as_bytes()),
        ReplyBody::Own(bytes) => bytes.into(),
        ReplyBody::Shared(bytes) => Bytes::from_owner(bytes),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in reply.headers {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn answer(
    hub: &Arc<Hub>,
    peer: IpAddr,
    route: Option<&'static Route>,
    head: &hyper::http::request::Parts,
    body: Incoming,
) -> Reply {
    let length = |(name, value): (&header::HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    if head.headers.iter().map(length).sum::<usize>() + head.uri.path().len() > HEADER_MAX {
        body::see_off(body);
        return Reply::error(431, "header_too_large", &format!("header is longer than {HEADER_MAX} bytes"));
    }
    let Some(Route { source, enrols, .. }) = route else {
        body::see_off(body);
        return elsewhere(hub, &head.method, head.uri.path());
    };
    let live = hub.live();
    let packed = if head.method == Method::POST {
        match body::read(body, &live.conf.limits, &hub.held).await {
            Ok(packed) if packed.len() == 0 => return Reply::error(400, "empty_body", "body is empty"),
            Ok(packed) => packed,
            Err(reply) => return reply,
        }
    } else {
        body::see_off(body);
        Packed::default()
    };
    let asked = Asked::new(hub, &live, peer, head);
    let desk = Desk { hub: hub.clone(), live };
    if *enrols {
        beside(hub.enrolments.clone(), *source, asked, packed, desk).await
    } else if packed.len() > INLINE_MAX {
        beside(hub.long.clone(), *source, asked, packed, desk).await
    } else {
        inline(*source, &asked, packed, &desk).await
    }
}

fn elsewhere(hub: &Hub, method: &Method, path: &str) -> Reply {
    if path != "/healthz" {
        return Reply::error(404, "path", "no such path");
    }
    match *method {
        Method::GET | Method::HEAD if hub.sink.has_room(Class::Source) => Reply::ok(ReplyBody::Fixed("{\"ok\":true}")),
        Method::GET | Method::HEAD => Reply::busy(),
        _ => Reply::error(405, "method", "only GET is answered here").with("Allow", "GET, HEAD"),
    }
}

/// A request without its body, in its own memory.
struct Asked {
    id: String,
    received: Time,
    method: Method,
    path: String,
    encoding: Option<String>,
    ip: String,
    user_agent: Option<String>,
    inflated_max: usize,
}

impl Asked {
    fn new(hub: &Hub, live: &Live, peer: IpAddr, head: &hyper::http::request::Parts) -> Self {
        let text = |headers: &HeaderMap, name| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let forwarded = head.headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok());
        let forwarded: Vec<&str> = forwarded.collect();
        Self {
            id: hub.request_id(),
            received: Time::now(),
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            encoding: text(&head.headers, header::CONTENT_ENCODING),
            ip: live.conf.proxies.client(peer, forwarded.into_iter()).to_string(),
            user_agent: text(&head.headers, header::USER_AGENT),
            inflated_max: live.conf.limits.inflated,
        }
    }

    fn request(&self, inflated_max: usize) -> sources::Request<'_> {
        sources::Request {
            id: &self.id,
            received: self.received,
            method: self.method.as_str(),
            path: &self.path,
            encoding: self.encoding.as_deref(),
            ip: Some(&self.ip),
            user_agent: self.user_agent.as_deref(),
            inflated_max,
        }
    }
}

/// The lines of a short body, all at once.
struct Collect<'a> {
    to: &'a pipe::Sink,
    lines: Vec<u8>,
    count: u64,
}

impl Sink for Collect<'_> {
    fn lines(&mut self, lines: Vec<u8>, count: usize) -> Result<(), NoRoom> {
        if !self.to.has_room(Class::Source) {
            return Err(NoRoom);
        }
        self.count += count as u64;
        if self.lines.is_empty() {
            self.lines = lines;
        } else {
            self.lines.extend_from_slice(&lines);
        }
        Ok(())
    }
}

async fn inline(source: &dyn Source, asked: &Asked, mut packed: Packed, desk: &Desk) -> Reply {
    let mut sink = Collect { to: &desk.hub.sink, lines: Vec::new(), count: 0 };
    let request = asked.request(asked.inflated_max.min(INLINE_INFLATED_MAX));
    let reply = source.answer(&request, &mut packed, desk, &mut sink);
    drop(packed);
    let (lines, count) = (sink.lines, sink.count);
    if count > 0 && desk.hub.sink.write(lines, count, Class::Source).await.is_err() {
        return Reply::busy();
    }
    reply
}

/// The lines of a long body, each piece durable before the next is made.
struct Stream<'a> {
    to: &'a pipe::Sink,
    runtime: Handle,
}

impl Sink for Stream<'_> {
    fn lines(&mut self, lines: Vec<u8>, count: usize) -> Result<(), NoRoom> {
        self.runtime.block_on(self.to.write(lines, count as u64, Class::Source)).map_err(|_| NoRoom)
    }
}

async fn beside(
    turns: Arc<Semaphore>,
    source: &'static dyn Source,
    asked: Asked,
    mut packed: Packed,
    desk: Desk,
) -> Reply {
    let turn = tokio::time::timeout(BESIDE_TIMEOUT, turns.acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Reply::busy() };
    let runtime = Handle::current();
    let work = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let mut sink = Stream { to: &desk.hub.sink, runtime };
        source.answer(&asked.request(asked.inflated_max), &mut packed as &mut dyn BufRead, &desk, &mut sink)
    });
    work.await.unwrap_or_else(|_| panicked())
}

#[cfg(test)]
#[allow(clippy::panic, reason = "tests may panic")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_with_a_body() {
        let reply = sheltered(async { panic!("on purpose") }).await;
        assert_eq!((reply.status, reply.body.as_bytes()), (500, &b"{\"error\":\"internal error\"}"[..]));
        assert_eq!(sheltered(async { Reply::busy() }).await, Reply::busy());
    }

    #[test]
    fn kinds_are_tails_of_paths() {
        for source in sources::ALL {
            let kinds: Vec<String> = source.paths().iter().map(|path| kind(*source, path)).collect();
            assert!(
                kinds.iter().all(|k| !k.is_empty() && k.chars().all(|c| c.is_ascii_alphabetic() || c == '_')),
                "{kinds:?}"
            );
        }
        assert_eq!(kind(&sources::osquery::SOURCE, "/public/osquery/distributed/read"), "distributed_read");
    }
}

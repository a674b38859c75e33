//! One request: who is asked, what is answered, and never before the lines it gave are durable.

use std::collections::HashMap;
use std::convert::Infallible;
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
use sources::{Inflate, NoRoom, Reply, ReplyBody, Sink, Source};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::body::{self, Bounds, Packed};
use crate::conf::Limits;
use crate::desk::Desk;
use crate::hub::{Hub, Live};
use crate::store::{self, Held};

/// A longer body is worked on beside the other requests, on a thread of its own.
const INLINE_MAX: usize = 64 << 10;
/// So is one that inflates beyond this …
const INLINE_INFLATED_MAX: usize = 1 << 20;
/// … and one that becomes more lines: beside the others each piece is written before the next is made.
const INLINE_LINES_MAX: usize = 2 << 20;
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
    /// Bytes of a body.
    body_max: usize,
}

static ROUTES: LazyLock<HashMap<&'static str, Route>> = LazyLock::new(|| {
    let paths = sources::ALL.iter().flat_map(|source| source.paths().iter().map(move |path| (*source, *path)));
    let route = |source: &'static dyn Source, path: &str| Route {
        source,
        kind: kind(source, path),
        enrols: path.ends_with("/enroll"),
        body_max: source.body_max(path).unwrap_or(usize::MAX),
    };
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
    let Some(Route { source, enrols, body_max, .. }) = route else {
        body::see_off(body);
        return elsewhere(hub, &head.method, head.uri.path());
    };
    let live = hub.live();
    let asked = Asked::new(hub, &live, peer, head);
    let mut held = hub.store.held(asked.ip);
    let packed = if head.method == Method::POST {
        let bounds = bounds(&live.conf.limits, asked.encoding.as_deref(), *body_max);
        match body::read(body, bounds, &mut held).await {
            Ok(packed) if packed.len() == 0 => return Reply::error(400, "empty_body", "body is empty"),
            Ok(packed) => packed,
            Err(reply) => return reply,
        }
    } else {
        body::see_off(body);
        Packed::default()
    };
    let work = Work { source: *source, asked, packed, desk: Desk::new(hub.clone(), live), held };
    if *enrols {
        work.beside(&hub.enrolments).await
    } else if work.packed.len() > INLINE_MAX {
        work.beside(&hub.long).await
    } else {
        work.inline().await
    }
}

/// A body that is not compressed comes over the wire as long as it is.
fn bounds(limits: &Limits, encoding: Option<&str>, body_max: usize) -> Bounds {
    let bytes = if Inflate::is_plain(encoding) { limits.inflated } else { limits.compressed };
    Bounds { bytes: bytes.min(body_max).min(store::SHARE), time: limits.body_timeout, stall: body::STALL_TIMEOUT }
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
    ip: IpAddr,
    client: String,
    user_agent: Option<String>,
    inflated_max: usize,
}

impl Asked {
    fn new(hub: &Hub, live: &Live, peer: IpAddr, head: &hyper::http::request::Parts) -> Self {
        let text = |headers: &HeaderMap, name| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let forwarded = head.headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok());
        let forwarded: Vec<&str> = forwarded.collect();
        let ip = live.conf.proxies.client(peer, forwarded.into_iter());
        Self {
            id: hub.request_id(),
            received: Time::now(),
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            encoding: text(&head.headers, header::CONTENT_ENCODING),
            ip,
            client: ip.to_string(),
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
            ip: Some(&self.client),
            user_agent: self.user_agent.as_deref(),
            inflated_max,
        }
    }
}

/// The lines of a short body, all at once.
struct Collect<'a> {
    to: &'a pipe::Sink,
    held: &'a mut Held,
    lines: Vec<u8>,
    count: u64,
    /// They were not taken.
    failed: bool,
    /// There is more to it than is done in passing.
    long: bool,
}

impl Sink for Collect<'_> {
    fn lines(&mut self, lines: Vec<u8>, count: usize) -> Result<(), NoRoom> {
        if !self.to.has_room(Class::Source) {
            self.failed = true;
            return Err(NoRoom);
        }
        // What they take is given back when they are durable and the request is answered.
        if self.lines.len() + lines.len() > INLINE_LINES_MAX || self.held.try_take(lines.len()).is_err() {
            return self.long();
        }
        self.count += count as u64;
        if self.lines.is_empty() {
            self.lines = lines;
        } else {
            self.lines.extend_from_slice(&lines);
        }
        Ok(())
    }

    fn long(&mut self) -> Result<(), NoRoom> {
        self.long = true;
        Err(NoRoom)
    }
}

/// The lines of a long body, each piece durable before the next is made.
struct Stream<'a> {
    to: &'a pipe::Sink,
    runtime: Handle,
    /// Not even the first of them were taken.
    failed: bool,
    begun: bool,
}

impl Sink for Stream<'_> {
    fn lines(&mut self, lines: Vec<u8>, count: usize) -> Result<(), NoRoom> {
        let written = self.runtime.block_on(self.to.write(lines, count as u64, Class::Source));
        self.failed |= written.is_err() && !self.begun;
        self.begun = true;
        written.map_err(|_| NoRoom)
    }
}

/// A request whose body is there.
struct Work {
    source: &'static dyn Source,
    asked: Asked,
    packed: Packed,
    desk: Desk,
    held: Held,
}

impl Work {
    /// Here and now, unless there turns out to be much of it: then all of it again, beside the others.
    async fn inline(mut self) -> Reply {
        let to = self.desk.hub.sink.clone();
        let mut sink =
            Collect { to: &to, held: &mut self.held, lines: Vec::new(), count: 0, failed: false, long: false };
        let request = self.asked.request(self.asked.inflated_max.min(INLINE_INFLATED_MAX));
        let reply = self.source.answer(&request, &mut self.packed, &self.desk, &mut sink);
        let Collect { lines, count, failed, long, .. } = sink;
        if long {
            drop(lines);
            self.desk.unsay();
            self.packed.rewind();
            let turns = self.desk.hub.long.clone();
            return self.beside(&turns).await;
        }
        drop(self.packed);
        let lost = count > 0 && to.write(lines, count, Class::Source).await.is_err();
        if failed || lost {
            self.desk.unsay();
        }
        // Of a request that brought nothing only the line about it is lost.
        if lost && (reply.reason != "ok" || reply.records > 0) { Reply::busy() } else { reply }
    }

    /// On a thread of its own, when it is its turn.
    async fn beside(mut self, turns: &Arc<Semaphore>) -> Reply {
        let turn = tokio::time::timeout(BESIDE_TIMEOUT, turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Reply::busy() };
        let runtime = Handle::current();
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut sink = Stream { to: &self.desk.hub.sink, runtime, failed: false, begun: false };
            let request = self.asked.request(self.asked.inflated_max);
            let reply = self.source.answer(&request, &mut self.packed, &self.desk, &mut sink);
            if sink.failed {
                self.desk.unsay();
            }
            reply
        });
        work.await.unwrap_or_else(|_| panicked())
    }
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

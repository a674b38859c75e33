//! One request: who is asked, what is answered, and never before the lines it gave are durable.

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use event::Time;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode};
use pipe::topic::Class;
use sources::{Inflate, NoRoom, Reply, ReplyBody, Route, Sink, Source};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::body::{self, Bounds, Packed};
use crate::conf::Limits;
use crate::desk::Desk;
use crate::gauges::{self, Part};
use crate::hub::{Hub, Live};
use crate::store::{self, Held};
use pipe::tls::Authority;

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

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its address.
    pub ip: IpAddr,
    /// It has shown a certificate of this authority.
    pub certified: Option<Authority>,
}

impl Peer {
    /// Whether its certificate is of the authority that agents' are of now: a connection outlives a reload.
    fn is_certified(&self, live: &Live) -> bool {
        self.certified.is_some() && self.certified == live.tls.as_ref().map(|tls| tls.authority)
    }
}

/// Answers. The body of the answer is never empty, whatever happens, and JSON but for who knows none.
pub async fn serve(
    hub: &Arc<Hub>,
    peer: Peer,
    request: hyper::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let found = sources::route(head.uri.path()).filter(|(_, route)| !route.legacy || hub.live().conf.legacy_paths);
    let (name, kind) = found.map_or(("none", "none"), |(source, route)| (source.name(), route.kind));
    let reply = sheltered(answer(hub, peer, found, head, body)).await;
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    hub.meters.answered(name, kind, status.as_str(), reply.reason, begun.elapsed());
    hub.meters.records.with_label_values(&[name]).inc_by(reply.records as u64);
    // Of the path only what is one of ours, and nothing of the query: both may hold secrets.
    tracing::debug!(source = name, kind, status = status.as_u16(), reason = reply.reason, peer = %peer.ip, "request");
    let mut response = response(status, reply);
    if peer.certified.is_some() && !peer.is_certified(&hub.live()) {
        // On a new connection it may show one that counts.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
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
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    for (name, value) in reply.headers {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn answer(
    hub: &Arc<Hub>,
    peer: Peer,
    found: Option<(&'static dyn Source, &'static Route)>,
    head: hyper::http::request::Parts,
    body: Incoming,
) -> Reply {
    let length = |(name, value): (&header::HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    if head.headers.iter().map(length).sum::<usize>() + head.uri.path().len() > HEADER_MAX {
        body::see_off(body);
        return Reply::error(431, "header_too_large", &format!("header is longer than {HEADER_MAX} bytes"));
    }
    let Some((source, route)) = found else {
        body::see_off(body);
        let (path, legacy) = (head.uri.path(), hub.live().conf.legacy_paths);
        return match Part::of(path).or_else(|| legacy.then(|| Part::legacy(path)).flatten()) {
            Some(part) => metrics(hub, part, head).await,
            None => elsewhere(hub, &head.method, path, legacy),
        };
    };
    let live = hub.live();
    let asked = Asked::new(hub, &live, peer.ip, route, head);
    let mut held = hub.store.held(asked.ip);
    let packed = if asked.head.method == Method::POST {
        let bounds = bounds(&live.conf.limits, asked.encoding(), route.body_max.unwrap_or(usize::MAX));
        match body::read(body, bounds, &mut held).await {
            Ok(packed) => packed,
            Err(reply) => return reply,
        }
    } else {
        body::see_off(body);
        Packed::default()
    };
    let certified = peer.is_certified(&live);
    let class = if source.comes_again() { Class::Source } else { Class::NoRetry };
    let work = Work { source, class, asked, packed, desk: Desk::new(hub.clone(), live, certified), held };
    if route.waits {
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

fn elsewhere(hub: &Hub, method: &Method, path: &str, legacy: bool) -> Reply {
    let well = match path {
        "/healthz" => Reply::ok(ReplyBody::Fixed("{\"ok\":true}")),
        "/health_check/" if legacy => Reply::text(200, "ok", "OK"),
        _ => return Reply::error(404, "path", "no such path"),
    };
    match *method {
        Method::GET | Method::HEAD if hub.sink.has_room(Class::Source) => well,
        Method::GET | Method::HEAD => Reply::busy(),
        _ => Reply::error(405, "method", "only GET is answered here").with("Allow", "GET, HEAD"),
    }
}

/// Some of the pipeline's metrics, asked for on a thread that may wait for them.
async fn metrics(hub: &Hub, part: Part, head: hyper::http::request::Parts) -> Reply {
    let turn = tokio::time::timeout(BESIDE_TIMEOUT, hub.long.clone().acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Reply::busy() };
    let live = hub.live();
    let work = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let shown = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        gauges::answer(&live.config, part, head.method.as_str(), shown)
    });
    work.await.unwrap_or_else(|_| panicked())
}

/// A request without its body, in its own memory.
struct Asked {
    id: String,
    received: Time,
    route: &'static Route,
    head: hyper::http::request::Parts,
    ip: IpAddr,
    client: String,
    inflated_max: usize,
}

/// The headers as a source asks for them.
struct Named<'a>(&'a HeaderMap);

impl sources::Headers for Named<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok()
    }
}

impl Asked {
    fn new(hub: &Hub, live: &Live, peer: IpAddr, route: &'static Route, head: hyper::http::request::Parts) -> Self {
        let forwarded = head.headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok());
        let forwarded: Vec<&str> = forwarded.collect();
        let ip = live.conf.proxies.client(peer, forwarded.into_iter());
        Self {
            id: hub.request_id(),
            received: Time::now(),
            route,
            head,
            ip,
            client: ip.to_string(),
            inflated_max: live.conf.limits.inflated,
        }
    }

    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    fn encoding(&self) -> Option<&str> {
        self.header(header::CONTENT_ENCODING)
    }

    /// What `ask` does with it.
    fn asking<T>(&self, inflated_max: usize, ask: impl FnOnce(&sources::Request<'_>) -> T) -> T {
        ask(&sources::Request {
            id: &self.id,
            received: self.received,
            method: self.head.method.as_str(),
            route: self.route,
            parts: &self.route.parts(self.head.uri.path()).unwrap_or_default(),
            query: self.head.uri.query(),
            headers: &Named(&self.head.headers),
            encoding: self.encoding(),
            ip: Some(&self.client),
            user_agent: self.header(header::USER_AGENT),
            inflated_max,
        })
    }
}

/// The lines of a short body, all at once.
struct Collect<'a> {
    to: &'a pipe::Sink,
    class: Class,
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
        if !self.to.has_room(self.class) {
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
    class: Class,
    runtime: Handle,
    /// Not even the first of them were taken.
    failed: bool,
    begun: bool,
}

impl Sink for Stream<'_> {
    fn lines(&mut self, lines: Vec<u8>, count: usize) -> Result<(), NoRoom> {
        let written = self.runtime.block_on(self.to.write(lines, count as u64, self.class));
        self.failed |= written.is_err() && !self.begun;
        self.begun = true;
        written.map_err(|_| NoRoom)
    }
}

/// A request whose body is there.
struct Work {
    source: &'static dyn Source,
    class: Class,
    asked: Asked,
    packed: Packed,
    desk: Desk,
    held: Held,
}

impl Work {
    /// Here and now, unless there turns out to be much of it: then all of it again, beside the others.
    async fn inline(mut self) -> Reply {
        let to = self.desk.hub.sink.clone();
        let (class, held, lines) = (self.class, &mut self.held, Vec::new());
        let mut sink = Collect { to: &to, class, held, lines, count: 0, failed: false, long: false };
        let max = self.asked.inflated_max.min(INLINE_INFLATED_MAX);
        let reply =
            self.asked.asking(max, |request| self.source.answer(request, &mut self.packed, &self.desk, &mut sink));
        let Collect { lines, count, failed, long, .. } = sink;
        if long {
            drop(lines);
            self.desk.unsay();
            self.packed.rewind();
            let turns = self.desk.hub.long.clone();
            return self.beside(&turns).await;
        }
        drop(self.packed);
        let lost = count > 0 && to.write(lines, count, class).await.is_err();
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
            let (to, class) = (&self.desk.hub.sink, self.class);
            let mut sink = Stream { to, class, runtime, failed: false, begun: false };
            let reply = self.asked.asking(self.asked.inflated_max, |request| {
                self.source.answer(request, &mut self.packed, &self.desk, &mut sink)
            });
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
}

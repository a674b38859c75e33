//! Documents to the cluster, many at a time, each by its id, so that the same again changes nothing.
//!
//! A part of a request may fail alone. What may pass (429, 5xx, a block on an index, no room for more shards) is sent
//! again with growing pauses, for ever: the store waits, the topic holds what comes. What never will (a value at odds with
//! a mapping that somebody changed) is refused with its reason. A reply that breaks off says nothing: all is sent again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use elasticsearch::Elasticsearch;
use elasticsearch::http::Method;
use prometheus::{IntCounterVec, IntGaugeVec};
use serde_json::Value;

use super::connection::{Trouble, reason, send};
use crate::stores::Around;

/// Bytes of one request; a document that is longer goes alone.
pub const REQUEST: usize = 5 << 20;
/// Most documents end so soon after that.
const ROOM: usize = 64 << 10;
/// The first pause.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A pause is slept in pieces of this length: the end may be asked for meanwhile.
const NAP: Duration = Duration::from_millis(100);
/// How long the cluster may take over one request. It gives itself less, so that its own word comes back.
const TIMEOUT: Duration = Duration::from_secs(90);
/// Waiting is said again so often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Documents that are sent together: each the line that says what to do with it, and itself, both with their newlines.
#[derive(Debug, Default)]
pub struct Request {
    bytes: Vec<u8>,
    /// The place of each among the lines of the batch, and where it ends; it begins where the one before ends.
    items: Vec<(usize, usize)>,
}

impl Request {
    /// One document more, of the line at this place of the batch.
    pub fn add(&mut self, place: usize, write: impl FnOnce(&mut Vec<u8>)) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(REQUEST + ROOM);
        }
        write(&mut self.bytes);
        self.items.push((place, self.bytes.len()));
    }

    /// How long it is.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// What is sent of a request: all of it, or what has to be sent again.
struct Sent {
    body: Bytes,
    /// Pieces of the body, one a document, with its place.
    items: Vec<(usize, Bytes)>,
}

impl From<Request> for Sent {
    fn from(request: Request) -> Self {
        let (body, mut from) = (Bytes::from(request.bytes), 0);
        let piece = |(place, end)| (place, body.slice(std::mem::replace(&mut from, end)..end));
        Self { items: request.items.into_iter().map(piece).collect(), body }
    }
}

impl From<Vec<(usize, Bytes)>> for Sent {
    fn from(items: Vec<(usize, Bytes)>) -> Self {
        Self { body: items.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect(), items }
    }
}

/// What became of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It is stored.
    Stored,
    /// It never will be: why.
    Refused(String),
}

/// Whether the end was asked for.
pub type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

/// What shows how it goes.
#[derive(Clone)]
pub struct Watch {
    /// Whether the end was asked for.
    pub stop: Stop,
    /// `zentral_store_waiting`: 1 while nothing can be stored.
    pub waiting: Option<IntGaugeVec>,
    /// `zentral_store_retries_total`, by reason.
    pub retries: Option<IntCounterVec>,
    /// `zentral_store_requests_total`.
    pub requests: Option<IntCounterVec>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { stop: Arc::new(|| false), waiting: None, retries: None, requests: None }
    }
}

impl Watch {
    /// What a stage gives its store.
    pub fn of(around: &Around) -> Self {
        let metrics = &around.metrics;
        Self {
            stop: around.stop.clone(),
            waiting: Some(metrics.gauges("zentral_store_waiting", "Whether the store takes no events now.", &[])),
            retries: Some(metrics.counters(
                "zentral_store_retries_total",
                "Requests, or parts of them, that were sent again.",
                &["reason"],
            )),
            requests: Some(metrics.counters(
                "zentral_store_requests_total",
                "Requests with events, by the status of the answer.",
                &["status"],
            )),
        }
    }
}

/// Growing pauses, said in the log and shown as a metric.
pub struct Patience {
    watch: Watch,
    pause: Duration,
    since: Instant,
    said: Option<Instant>,
}

/// The end was asked for during a pause.
#[derive(Debug, PartialEq, Eq)]
pub struct Stopped;

impl Patience {
    /// Nothing went wrong yet.
    pub fn new(watch: &Watch) -> Self {
        Self { watch: watch.clone(), pause: PAUSE_MIN, since: Instant::now(), said: None }
    }

    /// Waits for the next try; `label` is what the metric calls it.
    pub async fn wait(&mut self, label: &str, why: &str) -> Result<(), Stopped> {
        if let Some(retries) = &self.watch.retries {
            retries.with_label_values(&[label]).inc();
        }
        if let Some(waiting) = &self.watch.waiting {
            waiting.with_label_values(&[] as &[&str]).set(1);
        }
        // The first pauses are short and common: a busy cluster is no news.
        if self.pause >= Duration::from_secs(1) && self.said.is_none_or(|at| at.elapsed() > SAY_EVERY) {
            tracing::warn!("waits for the other side since {} s: {why}", self.since.elapsed().as_secs());
            self.said = Some(Instant::now());
        }
        // Between half and all of the pause, so that several writers do not come back together.
        let mut random = [0; 2];
        let _ = getrandom::fill(&mut random);
        let half = self.pause / 2;
        let until = Instant::now() + half + half.mul_f64(f64::from(u16::from_ne_bytes(random)) / f64::from(u16::MAX));
        loop {
            if (self.watch.stop)() {
                return Err(Stopped);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left.min(NAP)).await;
        }
        self.pause = self.pause.saturating_mul(2).min(PAUSE_MAX);
        Ok(())
    }

    /// It goes on.
    pub fn over(&mut self) {
        if self.said.take().is_some() {
            tracing::info!("the other side answers as it should again, after {} s", self.since.elapsed().as_secs());
        }
        if let Some(waiting) = &self.watch.waiting {
            waiting.with_label_values(&[] as &[&str]).set(0);
        }
        self.pause = PAUSE_MIN;
        self.since = Instant::now();
    }
}

/// Sends documents until each is stored or refused; what became of each by its place.
pub async fn store(client: &Elasticsearch, watch: &Watch, request: Request) -> Result<Vec<(usize, Done)>, Stopped> {
    let mut done = Vec::with_capacity(request.items.len());
    let mut patience = Patience::new(watch);
    // A stack of requests: one that is too large is cut in two.
    let mut requests = vec![Sent::from(request)];
    while let Some(Sent { body, items }) = requests.pop() {
        if items.is_empty() {
            continue;
        }
        let sent = match (watch.stop)() && patience.said.is_some() {
            true => return Err(Stopped),
            false => send(client, Method::Post, PATH, Some(body.clone()), TIMEOUT).await,
        };
        if let Some(requests) = &watch.requests {
            let status = sent.as_ref().map_or_else(|_| "none".into(), |reply| reply.status.to_string());
            requests.with_label_values(&[&status]).inc();
        }
        match sent.and_then(|reply| reply.json()) {
            Ok(reply) => {
                let Some(verdicts) = verdicts(&reply, items.len()) else {
                    patience.wait("lost", "its answer is not about what was sent").await?;
                    requests.push(Sent { body, items });
                    continue;
                };
                let (mut again, mut why) = (Vec::new(), None);
                for ((place, bytes), verdict) in items.into_iter().zip(verdicts) {
                    match verdict {
                        Verdict::Done(it) => done.push((place, it)),
                        Verdict::Again(label, reason) => {
                            why.get_or_insert((label, reason));
                            again.push((place, bytes));
                        }
                    }
                }
                match why {
                    None => patience.over(),
                    Some((label, reason)) => patience.wait(label, &reason).await?,
                }
                requests.push(again.into());
            }
            Err(Trouble::Refused(413, ..)) if items.len() > 1 => {
                let mut items = items;
                let second = items.split_off(items.len() / 2);
                requests.extend([second.into(), items.into()]);
                patience.over();
            }
            Err(Trouble::Refused(413, _, reason)) => {
                let why = format!("longer than the cluster takes: {reason}");
                done.extend(items.iter().map(|(place, _)| (*place, Done::Refused(why.clone()))));
                patience.over();
            }
            Err(trouble) => {
                let label = trouble.label();
                patience.wait(label, &trouble.to_string()).await?;
                requests.push(Sent { body, items });
            }
        }
    }
    Ok(done)
}

/// Only what is needed comes back. `timeout` is how long it waits for shards.
const PATH: &str = "/_bulk?timeout=30s&filter_path=items.*.status,items.*.error.type,items.*.error.reason,\
                    items.*.error.caused_by.type,items.*.error.caused_by.reason,error,status";

enum Verdict {
    Done(Done),
    Again(&'static str, String),
}

/// What a status says of the other side, as it is counted and shown.
pub fn label(status: u16) -> &'static str {
    match status {
        429 => "busy",
        401 | 403 => "denied",
        _ => "failed",
    }
}

/// A verdict for each document, in order; none if the reply is about another number of them.
fn verdicts(reply: &Value, sent: usize) -> Option<Vec<Verdict>> {
    let items = reply.get("items")?.as_array()?;
    let of = |item: &Value| {
        let one = item.as_object()?.values().next()?;
        let status = one.get("status")?.as_u64()?;
        Some(judge(status, one.get("error").unwrap_or(&Value::Null)))
    };
    let all: Option<Vec<Verdict>> = items.iter().map(of).collect();
    all.filter(|all| all.len() == sent)
}

fn judge(status: u64, error: &Value) -> Verdict {
    let (kind, why) = reason(error);
    let why = format!("{kind}: {why}");
    match (status, kind.as_str()) {
        (200..=299, _) => Verdict::Done(Done::Stored),
        // A data stream only takes what is new: this event is there already.
        (409, "version_conflict_engine_exception") => Verdict::Done(Done::Stored),
        (429, _) => Verdict::Again("busy", why),
        // A disk above its watermark makes indices read-only until there is room again.
        (_, "cluster_block_exception") => Verdict::Again("blocked", why),
        // No more shards, a name that is an alias, an index that is being closed: somebody has to do something about the cluster,
        // and the event is not at fault.
        (400, "validation_exception" | "index_closed_exception" | "invalid_index_name_exception") => {
            Verdict::Again("failed", why)
        }
        (400 | 413, _) => Verdict::Done(Done::Refused(why)),
        (401 | 403, _) => Verdict::Again("denied", why),
        _ => Verdict::Again("failed", why),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_item_has_its_own_verdict() {
        let told = |status: u64, kind: &str| match judge(status, &json!({"type": kind, "reason": "r"})) {
            Verdict::Done(Done::Stored) => "stored",
            Verdict::Done(Done::Refused(_)) => "refused",
            Verdict::Again(label, _) => label,
        };
        for (status, kind, expected) in [
            (201, "", "stored"),
            (200, "", "stored"),
            (429, "es_rejected_execution_exception", "busy"),
            (429, "cluster_block_exception", "busy"),
            (409, "version_conflict_engine_exception", "stored"),
            (403, "cluster_block_exception", "blocked"),
            (403, "security_exception", "denied"),
            (400, "document_parsing_exception", "refused"),
            (400, "mapper_parsing_exception", "refused"),
            (400, "validation_exception", "failed"),
            (503, "unavailable_shards_exception", "failed"),
            (404, "index_not_found_exception", "failed"),
            (500, "", "failed"),
        ] {
            assert_eq!(told(status, kind), expected, "{status} {kind}");
        }
    }

    #[test]
    fn a_reply_about_something_else_says_nothing() {
        let reply = json!({"items": [{"index": {"status": 201}}, {"index": {"status": 429}}]});
        assert_eq!(verdicts(&reply, 2).unwrap().len(), 2);
        assert!(verdicts(&reply, 3).is_none() && verdicts(&json!({}), 0).is_none());
        assert!(verdicts(&json!({"items": [{"index": {}}]}), 1).is_none());
    }
}

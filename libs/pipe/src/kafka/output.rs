//! Writing: every line a message, durable on all replicas before anybody is told.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use registry::db::Tx;

use super::client::{self, Link};
use super::{MESSAGE_MAX, admin, key};
use crate::config::Config;
use crate::topic::Mark;
use crate::{Exit, Lasting, Metrics, Signals, StageError, state};

/// Bytes that wait in memory for the brokers, at most (KiB).
const QUEUE_KIB: &str = "65536";
/// So long nobody is told that the brokers are slow.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a batch is still waited for when the end was asked for.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// How long a source waits before it says "busy": agents wait about half a minute.
const ANSWER_MS: &str = "8000";
/// Between two looks at what was waited for.
const LOOK: Duration = Duration::from_millis(100);
/// Messages that must be gone before a full queue is tried again.
const QUEUE_STEP: u64 = 1000;
/// Between two tries with what was not taken.
const AGAIN: Duration = Duration::from_millis(500);

/// What became of what was sent. The number that travels with a message is that of its order.
pub(super) struct Reports {
    link: Link,
    /// Messages of which we know what became of them.
    done: AtomicU64,
    /// At so many somebody wants to know.
    wanted: AtomicU64,
    failed: Mutex<Vec<Failed>>,
    bell: Condvar,
}

struct Failed {
    order: usize,
    key: Option<Vec<u8>>,
    line: Vec<u8>,
    code: RDKafkaErrorCode,
}

impl ClientContext for Reports {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, fac: &str, text: &str) {
        ClientContext::log(&self.link, level, fac, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        ClientContext::error(&self.link, error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.link.generate_oauth_token(config)
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, order: usize) {
        match result {
            Ok(_) => self.link.up(),
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                self.link.error(code, "of a message");
                let (key, line) = (message.key().map(<[u8]>::to_vec), message.payload().unwrap_or_default().to_vec());
                let failed = Failed { order, key, line, code };
                self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(failed);
            }
        }
        if self.done.fetch_add(1, Ordering::AcqRel) + 1 >= self.wanted.load(Ordering::Acquire) {
            // Whoever looks holds the lock between its look and its wait.
            drop(self.failed.lock().unwrap_or_else(PoisonError::into_inner));
            self.bell.notify_all();
        }
    }
}

impl Reports {
    /// Waits until it is known what became of so many messages, but no longer than that; whether it is.
    fn wait(&self, sent: u64, most: Duration) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        self.wanted.store(sent, Ordering::Release);
        let waiting = |_: &mut Vec<Failed>| self.done.load(Ordering::Acquire) < sent;
        let waited = self.bell.wait_timeout_while(failed, most, waiting).unwrap_or_else(PoisonError::into_inner);
        self.wanted.store(u64::MAX, Ordering::Release);
        !waited.1.timed_out()
    }

    fn take(&self) -> Vec<Failed> {
        std::mem::take(&mut *self.failed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put_back(&self, failed: Vec<Failed>) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).extend(failed);
    }
}

/// A topic as its writer sees it.
pub(crate) struct KafkaOutput {
    /// As in `to`, without `kafka:`.
    name: String,
    topic: String,
    config: Arc<Config>,
    producer: ThreadedProducer<Reports>,
    signals: Option<Signals>,
    metrics: Metrics,
    /// Messages handed to the client, the same one again counted again.
    sent: u64,
    /// Lines taken since the last record.
    lines: u64,
    /// What the brokers will never take, and why.
    refused: Vec<(Vec<u8>, String)>,
    /// The topic was made anew: what was written to the old one is gone with it.
    anew: bool,
    /// The topic takes nothing now, and that has been said.
    waiting: bool,
    /// Lines are not taken at the first try.
    failing: Lasting,
    /// The topic cannot be made.
    making: Lasting,
}

impl KafkaOutput {
    /// Of a stage: waits for the brokers as long as it takes, or until the end is asked for.
    pub(crate) fn open(
        config: &Arc<Config>,
        name: &str,
        signals: Signals,
        metrics: Metrics,
    ) -> Result<Self, StageError> {
        let found = admin::ensure(config, name)?;
        Ok(Self { anew: found.made, ..Self::new(config, name, Some(signals), metrics)? })
    }

    /// Of a source, which says "busy" when they do not answer in time. The topic is made later if it must be.
    pub(crate) fn of_source(config: &Arc<Config>, name: &str, metrics: Metrics) -> Result<Self, StageError> {
        Self::new(config, name, None, metrics)
    }

    fn new(config: &Arc<Config>, name: &str, signals: Option<Signals>, metrics: Metrics) -> Result<Self, StageError> {
        let producer = producer(config, name, if signals.is_some() { "0" } else { ANSWER_MS })?;
        let (topic, config) = (super::settings(config)?.topic(name), config.clone());
        let (name, refused) = (name.to_owned(), Vec::new());
        Ok(Self {
            name,
            topic,
            config,
            producer,
            signals,
            metrics,
            sent: 0,
            lines: 0,
            refused,
            anew: false,
            waiting: false,
            failing: Lasting::new(),
            making: Lasting::new(),
        })
    }

    fn reports(&self) -> &Reports {
        self.producer.client().context()
    }

    /// Hands in whole lines of the order of this number; not durable yet.
    pub(crate) fn append(&mut self, lines: &[u8], order: usize) -> Result<(), StageError> {
        for line in lines.split_inclusive(|b| *b == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let key = key::key(line);
            self.lines += u64::from(self.send(key.as_deref().map(str::as_bytes), line, order)?);
        }
        Ok(())
    }

    /// Whether the client took it; else it never will, and it is refused.
    fn send(&mut self, key: Option<&[u8]>, line: &[u8], order: usize) -> Result<bool, StageError> {
        let begun = Instant::now();
        loop {
            let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&self.topic, order).payload(line);
            record.key = key;
            let error = match self.producer.send(record) {
                Ok(()) => {
                    self.sent += 1;
                    return Ok(true);
                }
                Err((error, _)) => error,
            };
            match error.rdkafka_error_code() {
                // As much as may wait waits already.
                Some(RDKafkaErrorCode::QueueFull) => {
                    self.stay(begun)?;
                    let some = self.reports().done.load(Ordering::Acquire) + QUEUE_STEP;
                    self.reports().wait(some.min(self.sent), LOOK);
                }
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    self.refuse(line.to_vec(), RDKafkaErrorCode::MessageSizeTooLarge);
                    return Ok(false);
                }
                // It was deleted. Whoever may not wait says "busy" until it is there again.
                Some(code) if is_missing(code) && self.signals.is_some() => {
                    self.stay(begun)?;
                    self.make_again();
                }
                _ => return Err(StageError::unreachable(format!("kafka:{}: {error}", self.name))),
            }
        }
    }

    /// Whether something was handed in of which nobody knows whether it is durable.
    pub(crate) fn is_dirty(&self) -> bool {
        self.lines > 0
    }

    /// Waits until every line is on all replicas. What the brokers do not take now is tried again, what they never will
    /// is refused.
    pub(crate) fn sync(&mut self) -> Result<(), StageError> {
        let begun = Instant::now();
        loop {
            self.stay(begun)?;
            if !self.reports().wait(self.sent, LOOK) {
                continue;
            }
            let failed = self.reports().take();
            if failed.is_empty() {
                self.tell(None);
                if self.failing.is_over() {
                    tracing::info!("kafka:{}: lines are taken again", self.name);
                }
                return Ok(());
            }
            self.again(failed)?;
        }
    }

    /// Waits as long as a source may; the orders that did not become durable. "Busy" is never said for what a line holds.
    pub(crate) fn settle(&mut self) -> BTreeSet<usize> {
        while !self.reports().wait(self.sent, LOOK) {}
        let (large, mut late): (Vec<_>, Vec<_>) = self.reports().take().into_iter().partition(|f| will_never(f.code));
        // Where one line is not answered, the others are not waited for one by one.
        let mut gone = false;
        for failed in large {
            match if gone { None } else { self.alone(&failed).ok() } {
                Some(others) => {
                    gone = !others.is_empty();
                    late.extend(others);
                }
                None => {
                    gone = true;
                    late.push(failed);
                }
            }
        }
        let why = late.last().map(|failed| failed.code.to_string());
        self.lines = self.lines.saturating_sub(late.len() as u64);
        self.tell(why.as_deref());
        late.into_iter().map(|failed| failed.order).collect()
    }

    /// As in `to`.
    pub(crate) fn place(&self) -> String {
        format!("kafka:{}", self.name)
    }

    /// Whether the brokers answer now; makes the topic if it is not there, and the client anew if it has given up for
    /// ever.
    pub(crate) fn ask(&mut self) -> Result<(), StageError> {
        let asked = admin::ensure(&self.config, &self.name);
        self.tell(asked.as_ref().err().map(|e| e.text.as_str()));
        self.anew |= asked?.made;
        if let Some((code, why)) = self.producer.client().fatal_error() {
            tracing::warn!("kafka:{}: the client has given up and is made anew: {code}: {why}", self.name);
            // Nobody waits any more for what it still had; but it is not durable, and must not be counted.
            self.settle();
            self.producer = producer(&self.config, &self.name, ANSWER_MS)?;
            self.sent = 0;
        }
        self.reports().link.forgive();
        Ok(())
    }

    /// Adds what became durable since the last time to the state.
    pub(crate) fn record(&mut self, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let lines = std::mem::take(&mut self.lines);
        if std::mem::take(&mut self.anew) {
            state::set_output(tx, &self.place(), Mark::START)?;
        }
        Ok(state::add_output(tx, &self.place(), lines)?)
    }

    /// What the brokers will never take, and why; no longer ours.
    pub(crate) fn take_refused(&mut self) -> Vec<(Vec<u8>, String)> {
        std::mem::take(&mut self.refused)
    }

    /// Whether to go on waiting for the brokers.
    fn stay(&mut self, begun: Instant) -> Result<(), StageError> {
        if let Some(refused) = self.reports().link.refused() {
            return Err(refused);
        }
        let fatal = self.producer.client().fatal_error();
        if let Some((code, why)) = fatal {
            return Err(StageError::unreachable(format!("kafka:{}: {code}: {why}", self.name)));
        }
        if self.signals.as_ref().is_some_and(Signals::stopping) && begun.elapsed() >= STOP_GRACE {
            let text = format!("kafka:{}: stopped while no broker answered; the batch will come again", self.name);
            return Err(StageError { exit: Exit::Done, text });
        }
        if begun.elapsed() >= PATIENCE {
            self.tell(Some("the brokers do not answer"));
        }
        Ok(())
    }

    /// Sends again what was not taken.
    fn again(&mut self, failed: Vec<Failed>) -> Result<(), StageError> {
        if self.failing.goes_on() {
            let codes: BTreeSet<String> = failed.iter().map(|f| f.code.to_string()).collect();
            let codes = codes.into_iter().collect::<Vec<_>>().join(", ");
            tracing::warn!("kafka:{}: {} lines were not taken: {codes}", self.name, failed.len());
        }
        if failed.iter().any(|f| is_missing(f.code)) {
            self.make_again();
        } else if failed.iter().any(|f| !will_never(f.code)) {
            std::thread::sleep(AGAIN);
        }
        let (large, others): (Vec<_>, Vec<_>) = failed.into_iter().partition(|f| will_never(f.code));
        for failed in large {
            let others = self.alone(&failed)?;
            self.reports().put_back(others);
        }
        for Failed { order, key, line, .. } in others {
            self.send(key.as_deref(), &line, order)?;
        }
        Ok(())
    }

    /// Sends a line again that was refused for its size, while nothing else is on its way: it may have been its company
    /// that was too large. Refused again it is given up; what was not taken for another reason comes back.
    fn alone(&mut self, failed: &Failed) -> Result<Vec<Failed>, StageError> {
        let begun = Instant::now();
        self.send(failed.key.as_deref(), &failed.line, failed.order)?;
        while !self.reports().wait(self.sent, LOOK) {
            // A source waits no longer than the client does, and that is told by a report.
            if self.signals.is_some() {
                self.stay(begun)?;
            }
        }
        let (never, others): (Vec<_>, Vec<_>) = self.reports().take().into_iter().partition(|f| will_never(f.code));
        self.lines = self.lines.saturating_sub(never.len() as u64);
        never.into_iter().for_each(|f| self.refuse(f.line, f.code));
        Ok(others)
    }

    /// The topic is not there: makes it, and lets the brokers tell one another.
    fn make_again(&mut self) {
        let made = admin::ensure(&self.config, &self.name);
        self.anew |= self.making.tell(&self.place(), made).is_some_and(|found| found.made);
        std::thread::sleep(AGAIN);
    }

    fn refuse(&mut self, line: Vec<u8>, code: RDKafkaErrorCode) {
        let text = format!("{} does not take the line of {} bytes: {code}", self.topic, line.len());
        self.refused.push((line, text));
    }

    /// Says once that the topic takes nothing, and once that it does again.
    fn tell(&mut self, why: Option<&str>) {
        if why.is_some() == self.waiting {
            return;
        }
        self.waiting = why.is_some();
        self.metrics.topic_full.with_label_values(&[&self.name]).set(i64::from(self.waiting));
        match why {
            Some(why) => tracing::warn!("kafka:{} takes nothing: {why}", self.name),
            None => tracing::info!("kafka:{} takes lines again", self.name),
        }
    }
}

/// A client that writes; `timeout_ms` is how long it tries with a line, 0: for ever.
fn producer(config: &Config, name: &str, timeout_ms: &str) -> Result<ThreadedProducer<Reports>, StageError> {
    let kafka = super::settings(config)?;
    let mut common = client::common(kafka)?;
    common
        .set("compression.type", "zstd")
        .set("linger.ms", "2")
        // As the clients in Java do it: the same key is in the same partition, whoever wrote it.
        .set("partitioner", "murmur2_random")
        .set("queue.buffering.max.kbytes", QUEUE_KIB)
        // A topic that is not there is made, and need not be waited for.
        .set("topic.metadata.propagation.max.ms", "5000");
    let most = MESSAGE_MAX.to_string();
    let own = [
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("message.max.bytes", most.as_str()),
        ("message.timeout.ms", timeout_ms),
    ];
    let reports = Reports {
        link: Link::new(&format!("kafka:{name}"), kafka),
        done: AtomicU64::new(0),
        wanted: AtomicU64::new(u64::MAX),
        failed: Mutex::new(Vec::new()),
        bell: Condvar::new(),
    };
    client::finish(common, kafka, &own)?.create_with_context(reports).map_err(|e| StageError::usage(client::wrong(&e)))
}

/// Whether no later try can help, alone or in company.
fn will_never(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize | RDKafkaErrorCode::InvalidRecord
    )
}

/// Whether the topic, or a partition of it, is not there.
fn is_missing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownPartition
    )
}

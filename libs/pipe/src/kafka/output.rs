//! Writing: every line a message, durable on all replicas before anybody is told.

mod again;
mod reports;
mod source;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use registry::db::Tx;

use super::{admin, key};
use crate::config::Config;
use crate::topic::Mark;
use crate::{Exit, Lasting, Metrics, Signals, StageError, state};
use again::is_missing;
use reports::{Reports, producer};

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

    /// As in `to`.
    pub(crate) fn place(&self) -> String {
        format!("kafka:{}", self.name)
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

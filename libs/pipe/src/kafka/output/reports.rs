//! A client that writes, and what it tells of each message.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{ProducerContext, ThreadedProducer};

use crate::StageError;
use crate::config::Config;
use crate::kafka::client::{self, Link};
use crate::kafka::{MESSAGE_MAX, settings};

/// Bytes that wait in memory for the brokers, at most (KiB).
const QUEUE_KIB: &str = "65536";

/// A client that writes; `timeout_ms` is how long it tries with a line, 0: for ever.
pub(super) fn producer(config: &Config, name: &str, timeout_ms: &str) -> Result<ThreadedProducer<Reports>, StageError> {
    let kafka = settings(config)?;
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

/// What became of what was sent. The number that travels with a message is that of its order.
pub(super) struct Reports {
    pub(super) link: Link,
    /// Messages of which we know what became of them.
    pub(super) done: AtomicU64,
    /// At so many somebody wants to know.
    wanted: AtomicU64,
    failed: Mutex<Vec<Failed>>,
    bell: Condvar,
}

/// A message that was not taken, and why.
pub(super) struct Failed {
    pub(super) order: usize,
    pub(super) key: Option<Vec<u8>>,
    pub(super) line: Vec<u8>,
    pub(super) code: RDKafkaErrorCode,
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
    pub(super) fn wait(&self, sent: u64, most: Duration) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        self.wanted.store(sent, Ordering::Release);
        let waiting = |_: &mut Vec<Failed>| self.done.load(Ordering::Acquire) < sent;
        let waited = self.bell.wait_timeout_while(failed, most, waiting).unwrap_or_else(PoisonError::into_inner);
        self.wanted.store(u64::MAX, Ordering::Release);
        !waited.1.timed_out()
    }

    pub(super) fn take(&self) -> Vec<Failed> {
        std::mem::take(&mut *self.failed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn put_back(&self, failed: Vec<Failed>) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).extend(failed);
    }
}

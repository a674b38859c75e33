//! What the group of a reader decides, noted where librdkafka tells it and carried out between two batches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::Statistics;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use crate::config::Kafka;
use crate::kafka::client::Link;

/// A decision that is not carried out yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// These are ours from now on, too.
    Assigned(Vec<i32>),
    /// These are no longer.
    Revoked(Vec<i32>),
    /// There is nothing where we stand.
    Astray,
}

/// The name by which the group knows a member again (KIP-345). Whoever was started again, or cut off for longer than its
/// session, then has its partitions at once, where a stranger waits until the session of the one before it has ended. The
/// lock of the state lets nobody else take the name.
pub(super) fn seat(topic: &str, instance: Option<u32>) -> String {
    format!("{topic}-{}", instance.unwrap_or(1))
}

/// A member's view of its group.
pub(super) struct Group {
    pub(super) link: Link,
    changes: Mutex<VecDeque<Change>>,
    /// Nobody carries out anything any more.
    closing: AtomicBool,
    ends: Mutex<BTreeMap<i32, u64>>,
}

impl Group {
    pub(super) fn new(place: &str, kafka: &Kafka) -> Self {
        let (changes, ends) = (Mutex::default(), Mutex::default());
        Self { link: Link::new(place, kafka), changes, closing: AtomicBool::new(false), ends }
    }

    fn changes(&self) -> MutexGuard<'_, VecDeque<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next decision.
    pub(super) fn next(&self) -> Option<Change> {
        self.changes().front().cloned()
    }

    /// Whether one waits.
    pub(super) fn waits(&self) -> bool {
        !self.changes().is_empty()
    }

    /// It was carried out.
    pub(super) fn done(&self) {
        self.changes().pop_front();
    }

    pub(super) fn push(&self, change: Change) {
        let mut changes = self.changes();
        if changes.back() != Some(&change) {
            changes.push_back(change);
        }
    }

    /// From now on partitions are given away at once.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Where each partition ended when the brokers last said so.
    pub(super) fn ends(&self) -> BTreeMap<i32, u64> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Group {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, fac: &str, text: &str) {
        ClientContext::log(&self.link, level, fac, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        ClientContext::error(&self.link, error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let all = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let known = all.filter_map(|p| u64::try_from(p.hi_offset).ok().map(|end| (p.partition, end)));
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = known.collect();
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.link.generate_oauth_token(config)
    }
}

impl ConsumerContext for Group {
    /// librdkafka waits until the assignment is changed, and that may be later than here.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Acquire) {
            // There is nobody left to tell if it fails.
            let _ = match consumer.rebalance_protocol() {
                RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
                _ => consumer.unassign(),
            };
            return;
        }
        let mut partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        // Rows are always written in this order: of two that write the same ones, one waits for the other, never both.
        partitions.sort_unstable();
        self.push(match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Change::Assigned(partitions),
            _ => Change::Revoked(partitions),
        });
    }
}

//! Looking at a topic from the side: nobody's member, nothing committed, no trace left.
//!
//! The partitions are read side by side, and their messages given in the order in which they were written, as far as the
//! clocks of those who wrote them agree; within a partition the order is always its own.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::admin::Asker;
use super::client::{self, Link};
use super::reading::{self, Kept, still_kept};
use crate::StageError;
use crate::config::Config;
use crate::topic::Start;

/// How long one look for messages may take.
const POLL: Duration = Duration::from_millis(100);
/// After so long without one that must come the brokers do not answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of one partition that wait for the others, about; then it is not read on.
const AHEAD: usize = 4 << 20;

/// A message that waits for its turn.
pub(crate) struct Message {
    /// When it was written, in ms since 1970; as its writer or the broker says.
    written: i64,
    pub(crate) offset: u64,
    /// With its newline.
    pub(crate) line: Vec<u8>,
}

/// The messages between a start and the ends that there were at the start.
pub(crate) struct View {
    name: String,
    topic: String,
    consumer: BaseConsumer<Link>,
    parts: BTreeMap<i32, Part>,
    /// What comes behind the ends is given, too.
    follows: bool,
    /// Messages between starts and ends.
    total: u64,
}

#[derive(Default)]
struct Part {
    next: u64,
    end: u64,
    ended: bool,
    /// Told so to the client, which keeps to it whatever it is assigned.
    paused: bool,
    waiting: VecDeque<Message>,
    /// Bytes that wait.
    bytes: usize,
}

impl View {
    /// None: there is no such topic.
    pub(crate) fn open(config: &Config, name: &str, start: Start, follows: bool) -> Result<Option<Self>, StageError> {
        let kafka = super::settings(config)?;
        let asker = Asker::new(config, name)?;
        let Some(partitions) = asker.partitions()? else { return Ok(None) };
        let (topic, name) = (kafka.topic(name), format!("kafka:{name}"));
        let mut parts = BTreeMap::new();
        for partition in partitions {
            let (low, end) = asker.ends(partition)?;
            let next = asker.start(partition, (low, end), start)?.clamp(low, end);
            parts.insert(partition, Part { next, end, ended: next >= end, ..Part::default() });
        }
        let consumer = reading::settings(kafka, &kafka.group(reading::SHELL), "zentral", true)?
            .create_with_context(Link::new(&name, kafka))
            .map_err(|e| StageError::usage(client::wrong(&e)))?;
        let total = parts.values().map(|part| part.end - part.next).sum();
        let view = Self { name, topic, consumer, parts, follows, total };
        view.assign()?;
        Ok(Some(view))
    }

    /// Messages between the starts and the ends.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// How many of them were given or passed over.
    pub(crate) fn done(&self) -> u64 {
        self.total.saturating_sub(self.parts.values().map(Part::left).sum())
    }

    /// What is left is not asked for: the ends are where we are.
    pub(crate) fn end_here(&mut self) {
        self.total = self.done();
        self.parts.values_mut().for_each(Part::end_here);
    }

    /// The next message and its partition; none: the ends are reached, or nothing is behind them now.
    pub(crate) fn next(&mut self) -> Result<Option<(i32, Message)>, StageError> {
        let mut heard = Instant::now();
        loop {
            let whole = self.parts.values().all(|part| part.ended || !part.waiting.is_empty());
            if whole && let Some(first) = self.earliest() {
                return Ok(Some(first));
            }
            if whole && !self.follows {
                return Ok(None);
            }
            match self.consumer.poll(if whole { Duration::ZERO } else { POLL }) {
                None if whole => return Ok(None),
                None if heard.elapsed() > PATIENCE => return Err(self.fail("no broker answers")),
                None => {}
                Some(Ok(message)) => {
                    heard = Instant::now();
                    if let Some(part) = self.parts.get_mut(&message.partition()) {
                        part.take(&message, self.follows);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.parts.entry(partition).and_modify(|part| part.ended = true);
                }
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => self.find_again()?,
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => return Err(self.fail(&error.to_string())),
                // The others are told by the connection.
                Some(Err(error)) => tracing::debug!("{}: {error}", self.name),
            }
            if let Some(refused) = self.consumer.context().refused() {
                return Err(refused);
            }
            self.pause()?;
        }
    }

    /// Of the messages that wait, the one that was written first.
    fn earliest(&mut self) -> Option<(i32, Message)> {
        let waiting =
            self.parts.iter().filter_map(|(partition, part)| Some((part.waiting.front()?.written, *partition)));
        let (_, partition) = waiting.min()?;
        let part = self.parts.get_mut(&partition)?;
        let message = part.waiting.pop_front()?;
        part.bytes = part.bytes.saturating_sub(message.line.len());
        Some((partition, message))
    }

    /// Who is far ahead of the others is not read on until they have caught up.
    fn pause(&mut self) -> Result<(), StageError> {
        for (partition, part) in &mut self.parts {
            let pause = part.bytes > if part.paused { AHEAD / 2 } else { AHEAD };
            if pause == part.paused {
                continue;
            }
            let mut list = TopicPartitionList::new();
            list.add_partition(&self.topic, *partition);
            let done = if pause { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
            done.map_err(|e| StageError::unreachable(format!("{}: {e}", self.name)))?;
            part.paused = pause;
        }
        Ok(())
    }

    /// The brokers have nothing where we stand: lines went, for they were old enough, before they were read, or all of
    /// them with their topic. Who was paused is paused still.
    fn find_again(&mut self) -> Result<(), StageError> {
        let name = &self.name;
        for (partition, part) in &mut self.parts {
            let ends = self.consumer.fetch_watermarks(&self.topic, *partition, super::ASK);
            let (low, high) = ends.map_err(|e| StageError::unreachable(format!("{name}: {e}")))?;
            let (low, high) = (u64::try_from(low).unwrap_or(0), u64::try_from(high).unwrap_or(0));
            match still_kept(part.next, low, high) {
                Kept::Next => continue,
                Kept::Gone(lines) => {
                    tracing::warn!(
                        "{name} partition {partition}: {lines} lines were passed over, they are no longer kept"
                    );
                }
                Kept::Anew => {
                    tracing::error!(
                        "{name} partition {partition}: it ends at {high}, before line {}: the topic was made anew, and \
                         is read from its first line on",
                        part.next
                    );
                    part.end = high;
                }
            }
            part.next = low;
            part.ended = low >= part.end;
        }
        self.assign()
    }

    fn assign(&self) -> Result<(), StageError> {
        let mut list = TopicPartitionList::new();
        for (partition, part) in self.parts.iter().filter(|(_, part)| self.follows || !part.ended) {
            let offset = Offset::Offset(i64::try_from(part.next).unwrap_or(i64::MAX));
            let added = list.add_partition_offset(&self.topic, *partition, offset);
            added.map_err(|e| self.fail(&e.to_string()))?;
        }
        self.consumer.assign(&list).map_err(|e| self.fail(&e.to_string()))
    }

    fn fail(&self, why: &str) -> StageError {
        StageError::unreachable(format!("{}: {why}", self.name))
    }
}

impl Part {
    /// Messages before the end that were neither given nor passed over.
    fn left(&self) -> u64 {
        let to_come = if self.ended { 0 } else { self.end.saturating_sub(self.next) };
        to_come + self.waiting.len() as u64
    }

    fn end_here(&mut self) {
        self.waiting.clear();
        self.bytes = 0;
        self.ended = true;
    }

    fn take(&mut self, message: &BorrowedMessage<'_>, follows: bool) {
        let offset = u64::try_from(message.offset()).unwrap_or(0);
        self.ended |= offset + 1 >= self.end;
        // Fetched before a pause, and after it again; or behind the end.
        if offset < self.next || (offset >= self.end && !follows) {
            return;
        }
        self.next = offset + 1;
        let written = message.timestamp().to_millis().unwrap_or(0);
        let (mut line, mut too_long) = (Vec::new(), Vec::new());
        reading::put(message.payload().unwrap_or_default(), &mut line, &mut too_long);
        if let Some(length) = too_long.first() {
            let (topic, partition) = (message.topic(), message.partition());
            tracing::error!("{topic} partition {partition} at {offset}: a line of {length} bytes was passed over");
            return;
        }
        self.bytes += line.len();
        self.waiting.push_back(Message { written, offset, line });
    }
}

//! Messages become lines.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;

use super::KafkaInput;
use super::group::Change;
use crate::StageError;
use crate::input::Read;
use crate::kafka::reading::put;

impl KafkaInput {
    /// Lines of messages that are here, about `max` bytes.
    pub(crate) fn read(&mut self, max: usize) -> Result<Read<'_>, StageError> {
        self.chunk.clear();
        self.too_long.clear();
        let (mut lines, first) = (0, self.given + 1);
        let Some(consumer) = &self.consumer else { return Ok(Read::End) };
        // What the group decides waits until this is committed, and nothing is read after it.
        while self.chunk.len() < max && !self.group.waits() {
            match consumer.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    let offset = u64::try_from(message.offset()).unwrap_or(0);
                    let Some(part) = self.parts.get_mut(&message.partition()) else { continue };
                    if offset < part.next() || offset >= part.stop_at {
                        part.ended |= offset >= part.stop_at;
                        continue;
                    }
                    // Offsets without a line: marks of transactions, what was compacted away.
                    part.position.skipped += offset - part.next();
                    part.position.read += 1;
                    part.move_to(offset + 1);
                    part.ended |= offset + 1 >= part.stop_at;
                    lines += 1;
                    put(message.payload().unwrap_or_default(), &mut self.chunk, &mut self.too_long);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    if let Some(part) = self.parts.get_mut(&partition) {
                        part.ended = true;
                    }
                }
                Some(Err(error)) => self.trouble(&error)?,
            }
        }
        if lines > 0 {
            self.group.link.up();
            if self.missing.is_over() {
                tracing::info!("{}: the topic is there again", self.name);
            }
            self.given += lines;
            return Ok(Read::Lines { bytes: &self.chunk, first, too_long: &self.too_long });
        }
        self.tell_now_and_then();
        let ended = self.once && self.parts.values().all(|part| part.ended);
        Ok(if ended { Read::End } else { Read::Nothing })
    }

    fn trouble(&self, error: &KafkaError) -> Result<(), StageError> {
        match error {
            KafkaError::MessageConsumptionFatal(_) => return Err(self.fail(error)),
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset) => {
                self.group.push(Change::Astray);
            }
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic,
            ) => {
                if self.missing.goes_on() {
                    tracing::warn!("{}: the brokers have no topic {}; it is waited for", self.name, self.topic);
                }
            }
            // The others are told by the connection.
            _ => tracing::debug!("{}: {error}", self.name),
        }
        match self.group.link.refused() {
            Some(refused) => Err(refused),
            None => Ok(()),
        }
    }
}

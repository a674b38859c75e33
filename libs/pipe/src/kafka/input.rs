//! Reading: positions are the stage's own, kept in its state; the group only says who reads which partition.

mod group;
mod lines;
mod part;
mod place;
mod record;
mod takeover;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use registry::db::Db;

use super::admin::Asker;
use super::{client, reading};
use crate::config::Config;
use crate::input::Reader;
use crate::topic::Start;
use crate::{Lasting, StageError, state};
use group::{Change, Group};
use part::Part;
pub(crate) use record::record_start;

/// One topic as a stage reads it.
pub(crate) struct KafkaInput {
    /// As in `from`: `kafka:raw`.
    name: String,
    topic: String,
    config: Arc<Config>,
    /// Gone only at the end.
    consumer: Option<BaseConsumer<Group>>,
    group: Arc<Group>,
    start: Start,
    parts: BTreeMap<i32, Part>,
    /// Partitions that the topic had at the start, ours and others.
    many: usize,
    /// The partitions are those of a group, which changes.
    member: bool,
    /// They are those of another input.
    follows: bool,
    once: bool,
    /// Lines given since the start: their numbers.
    given: u64,
    /// Lines that went before they were read, and were not counted yet.
    passed_over: u64,
    /// When the group was last told where we are, and whether it has moved since.
    told: Option<Instant>,
    untold: bool,
    /// What was decided cannot be carried out yet.
    late: Lasting,
    /// The topic is not there.
    missing: Lasting,
    /// There is nothing for us to read.
    idle: Lasting,
    chunk: Vec<u8>,
    too_long: Vec<usize>,
}

impl KafkaInput {
    pub(crate) fn open(config: &Arc<Config>, name: &str, db: &mut Db, reader: &Reader<'_>) -> Result<Self, StageError> {
        let kafka = super::settings(config)?;
        let place = format!("kafka:{name}");
        let many = if reader.keeps { record_start(config, name, db, reader.start)? } else { 0 };
        let group = kafka.group(if reader.keeps { reader.stage } else { reading::SHELL });
        let client = reader.instance.map_or_else(|| "zentral".to_owned(), |instance| format!("{group}-{instance}"));
        let mut settings = reading::settings(kafka, &group, &client, reader.once)?;
        let member = reader.keeps && !reader.once && !reader.follows;
        if member {
            settings.set("group.instance.id", group::seat(name, reader.instance));
        }
        let mut consumer: BaseConsumer<Group> = settings
            .create_with_context(Group::new(&place, kafka))
            .map_err(|e| StageError::usage(client::wrong(&e)))?;
        let waker = reader.waker.clone();
        consumer.set_nonempty_callback(move || waker.ring());
        let mut input = Self {
            name: place,
            topic: kafka.topic(name),
            config: config.clone(),
            group: consumer.context().clone(),
            consumer: Some(consumer),
            start: reader.start,
            parts: BTreeMap::new(),
            many,
            member,
            follows: reader.follows,
            once: reader.once,
            given: 0,
            passed_over: 0,
            told: None,
            untold: false,
            late: Lasting::new(),
            missing: Lasting::new(),
            idle: Lasting::new(),
            chunk: Vec::new(),
            too_long: Vec::new(),
        };
        if input.member {
            input.client()?.subscribe(&[&input.topic]).map_err(|e| input.fail(&e))?;
        } else if !input.follows {
            input.take_all(db)?;
        }
        Ok(input)
    }

    fn fail(&self, error: &KafkaError) -> StageError {
        StageError::unreachable(format!("{}: {error}", self.name))
    }

    fn client(&self) -> Result<&BaseConsumer<Group>, StageError> {
        self.consumer.as_ref().ok_or_else(|| StageError::state(format!("{}: is closed", self.name)))
    }

    fn asker(&self) -> Result<Asker, StageError> {
        Asker::new(&self.config, self.name.trim_start_matches("kafka:"))
    }

    /// Without a group: all partitions that there are.
    fn take_all(&mut self, db: &Db) -> Result<(), StageError> {
        let Some(partitions) = self.asker()?.partitions()? else {
            return Err(StageError::usage(format!("{}: the brokers have no topic {}", self.name, self.topic)));
        };
        self.many = partitions.len();
        let recorded = state::held(db, &self.name)?;
        self.passed_over += self.place(&partitions, &recorded, 0)?;
        self.client()?.assign(&self.list(&partitions)?).map_err(|e| self.fail(&e))
    }

    fn list(&self, partitions: &[i32]) -> Result<TopicPartitionList, StageError> {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            let Some(part) = self.parts.get(partition) else { continue };
            let offset = Offset::Offset(i64::try_from(part.next()).unwrap_or(i64::MAX));
            list.add_partition_offset(&self.topic, *partition, offset).map_err(|e| self.fail(&e))?;
        }
        Ok(list)
    }

    /// As in `from`.
    pub(crate) fn name(&self) -> String {
        self.name.clone()
    }

    /// How many lines went before they were read, since the last time that this was asked.
    pub(crate) fn take_passed_over(&mut self) -> u64 {
        std::mem::take(&mut self.passed_over)
    }

    /// Whether its partitions are those of another input.
    pub(crate) fn follows(&self) -> bool {
        self.follows
    }

    /// How many partitions the topic has; whoever shares them out has as many of each.
    pub(crate) fn partitions(&self) -> usize {
        self.many
    }

    /// Lines behind the positions of our partitions; none: not known yet.
    pub(crate) fn lag(&self) -> Option<u64> {
        let ends = self.group.ends();
        let behind = |(partition, part): (&i32, &Part)| ends.get(partition).map(|end| end.saturating_sub(part.next()));
        let known: Vec<u64> = self.parts.iter().filter_map(behind).collect();
        (!known.is_empty() || self.member).then(|| known.iter().sum())
    }

    /// Lines before the positions of our partitions: it grows as we read.
    pub(crate) fn line(&self) -> u64 {
        self.parts.values().map(Part::next).sum()
    }
}

impl Drop for KafkaInput {
    /// Tells the group where we are. Its place there is kept for as long as a session lasts.
    fn drop(&mut self) {
        if self.member && self.parts.values().all(|part| part.recorded == Some(part.held())) {
            self.tell();
        }
        self.group.close();
        let (Some(consumer), group) = (self.consumer.take(), self.group.clone()) else { return };
        let (topic, (ended, end)) = (self.topic.clone(), channel());
        let close = move || {
            // librdkafka waits for what it was not answered yet.
            while let Some(change) = group.next() {
                let mut list = TopicPartitionList::new();
                let (Change::Assigned(all) | Change::Revoked(all)) = &change else {
                    group.done();
                    continue;
                };
                for partition in all {
                    list.add_partition(&topic, *partition);
                }
                let _ = match change {
                    Change::Assigned(_) => consumer.incremental_assign(&list),
                    _ => consumer.incremental_unassign(&list),
                };
                group.done();
            }
            drop(consumer);
            let _ = ended.send(());
        };
        if std::thread::Builder::new().name("close".into()).spawn(close).is_ok() {
            let _ = end.recv_timeout(super::ASK);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests;

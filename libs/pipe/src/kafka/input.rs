//! Reading: positions are the stage's own, kept in its state; the group only says who reads which partition.

mod group;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use event::LINE_MAX;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use registry::db::{Db, Tx};

use super::admin::Asker;
use super::reading::{Kept, still_kept};
use super::{admin, client};
use crate::config::{Config, Kafka};
use crate::input::{Read, Reader};
use crate::state::{self, Held, Position};
use crate::topic::{Mark, Start};
use crate::{Lasting, StageError};
use group::{Change, Group};

/// Bytes that are fetched ahead, at most (KiB).
const AHEAD_KIB: &str = "16384";
/// Bytes of one answer of a broker; a longer line comes alone.
const FETCH_MAX: &str = "8388608";
/// Of one partition in it.
const FETCH_PARTITION_MAX: &str = "2097152";
/// A member that has not been heard of for so long has lost its partitions.
const SESSION_MS: &str = "30000";
/// And one that has not asked for lines for so long: a batch may take its time.
const POLL_MAX_MS: &str = "300000";
/// In place of a stage, of whoever is nobody's member: a client needs a group.
pub(super) const SHELL: &str = "shell";
/// How often the group is told where we are: only people and their tools want to know.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How often a takeover is tried before others have their turn.
const TRIES: usize = 5;
/// How often lags are counted, in ms.
const LAG_MS: &str = "1000";

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

/// Records where a new reader starts in each partition; whoever has started already stands where it stands. Makes the
/// topic if it is not there. Comes back: how many partitions it has.
pub(crate) fn record_start(config: &Config, name: &str, db: &mut Db, start: Start) -> Result<usize, StageError> {
    let partitions = admin::ensure(config, name)?.partitions;
    let (place, many) = (format!("kafka:{name}"), partitions.len());
    if !state::positions(db, &place)?.is_empty() {
        return Ok(many);
    }
    let asker = Asker::new(config, name)?;
    let mut tx = db.begin()?;
    for partition in partitions {
        let at = asker.start(partition, asker.ends(partition)?, start)?;
        // If somebody else was faster, theirs holds.
        state::move_position(&mut tx, &place, partition, None, &position(at), 0)?;
    }
    tx.commit()?;
    Ok(many)
}

/// How a client reads that says itself what is taken; with `ends` it is told where the partitions end.
pub(super) fn settings(kafka: &Kafka, group: &str, client: &str, ends: bool) -> Result<ClientConfig, StageError> {
    let mut common = client::common(kafka)?;
    common
        .set("client.id", client)
        .set("queued.max.messages.kbytes", AHEAD_KIB)
        .set("fetch.max.bytes", FETCH_MAX)
        .set("fetch.message.max.bytes", FETCH_PARTITION_MAX)
        .set("fetch.wait.max.ms", "100")
        .set("session.timeout.ms", SESSION_MS)
        .set("max.poll.interval.ms", POLL_MAX_MS)
        .set("statistics.interval.ms", LAG_MS);
    let own = [
        ("group.id", group),
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        // A position that is not there is for us to judge.
        ("auto.offset.reset", "error"),
        ("enable.partition.eof", if ends { "true" } else { "false" }),
    ];
    client::finish(common, kafka, &own)
}

/// The name by which the group knows a member again (KIP-345). Whoever was started again, or cut off for longer than its
/// session, then has its partitions at once, where a stranger waits until the session of the one before it has ended. The
/// lock of the state lets nobody else take the name.
fn seat(topic: &str, instance: Option<u32>) -> String {
    format!("{topic}-{}", instance.unwrap_or(1))
}

/// Of a reader that starts at this message.
fn position(at: u64) -> Position {
    Position { mark: Mark { offset: at, line: at }, start_line: at, ..Position::default() }
}

/// A partition that is ours to read.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    /// Its mark counts messages: the next one's offset.
    position: Position,
    /// Where the state says that we stand; none: it says nothing yet.
    recorded: Option<Held>,
    /// How often it was taken over, the last time by us.
    taken: u64,
    /// With `--once`: what lies at or behind this is not read.
    stop_at: u64,
    ended: bool,
}

impl Part {
    fn next(&self) -> u64 {
        self.position.mark.offset
    }

    fn held(&self) -> Held {
        Held { pos: self.next(), taken: self.taken }
    }

    fn move_to(&mut self, offset: u64) {
        self.position.mark = Mark { offset, line: offset };
    }
}

impl KafkaInput {
    pub(crate) fn open(config: &Arc<Config>, name: &str, db: &mut Db, reader: &Reader<'_>) -> Result<Self, StageError> {
        let kafka = super::settings(config)?;
        let place = format!("kafka:{name}");
        let many = if reader.keeps { record_start(config, name, db, reader.start)? } else { 0 };
        let group = kafka.group(if reader.keeps { reader.stage } else { SHELL });
        let client = reader.instance.map_or_else(|| "zentral".to_owned(), |instance| format!("{group}-{instance}"));
        let member = reader.keeps && !reader.once && !reader.follows;
        let mut client = settings(kafka, &group, &client, reader.once)?;
        if member {
            client.set("group.instance.id", seat(name, reader.instance));
        }
        let mut consumer: BaseConsumer<Group> =
            client.create_with_context(Group::new(&place, kafka)).map_err(|e| StageError::usage(client::wrong(&e)))?;
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

    /// Takes over what the group has decided since the last time; whether partitions came. Between two batches only: what
    /// was read of a partition is committed before it is given away.
    ///
    /// Of several instances one that has a partition of this topic has those of the same number of the topics that follow,
    /// so that all lines of a machine are one instance's, wherever they come from.
    pub(crate) fn settle(&mut self, following: &mut [&mut Self], db: &mut Db) -> Result<bool, StageError> {
        if let Some(refused) = self.group.link.refused() {
            return Err(refused);
        }
        let mut came = false;
        while let Some(change) = self.group.next() {
            match self.change(&change, following, db) {
                Ok(()) => {
                    came |= matches!(&change, Change::Assigned(partitions) if !partitions.is_empty());
                    self.group.done();
                    if self.late.is_over() {
                        tracing::info!("{}: its partitions are taken over", self.name);
                    }
                }
                // It is taken up again at the next turn: meanwhile the end may be asked for. A state that was ours and is
                // lost does not come back to this process.
                Err(e)
                    if self.group.link.refused().is_none() && e.exit == crate::Exit::Unreachable && !db.is_lost() =>
                {
                    if self.late.goes_on() {
                        tracing::warn!("{}: its partitions cannot be taken over yet: {e}", self.name);
                    }
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(came)
    }

    fn change(&mut self, change: &Change, following: &mut [&mut Self], db: &mut Db) -> Result<(), StageError> {
        match change {
            Change::Assigned(partitions) => {
                self.take_over(partitions, db)?;
                for other in &mut *following {
                    other.take_over(partitions, db)?;
                }
                for other in following {
                    other.follow()?;
                }
                let list = self.list(partitions)?;
                self.client()?.incremental_assign(&list).map_err(|e| self.fail(&e))?;
                // Each member that comes or goes is a new turn for all.
                tracing::debug!("{}: a new turn of the group: {partitions:?}", self.name);
                if !partitions.is_empty() {
                    tracing::info!("{}: reads partitions {partitions:?}", self.name);
                } else if self.parts.is_empty() && self.idle.goes_on() {
                    tracing::info!("{}: others have all partitions", self.name);
                }
            }
            Change::Revoked(partitions) => {
                for other in following {
                    partitions.iter().for_each(|partition| _ = other.parts.remove(partition));
                    other.follow()?;
                }
                let mut list = TopicPartitionList::new();
                for partition in partitions {
                    self.parts.remove(partition);
                    list.add_partition(&self.topic, *partition);
                }
                self.client()?.incremental_unassign(&list).map_err(|e| self.fail(&e))?;
                tracing::info!("{}: gave away partitions {partitions:?}", self.name);
            }
            Change::Astray => self.find_again()?,
        }
        Ok(())
    }

    /// Reads what it has now, from where it stands.
    fn follow(&self) -> Result<(), StageError> {
        let all: Vec<i32> = self.parts.keys().copied().collect();
        self.client()?.assign(&self.list(&all)?).map_err(|e| self.fail(&e))
    }

    /// Writes down that these are ours, and where they stand: from now on whoever had them can commit nothing more, and
    /// whoever is killed before its first batch begins here again.
    fn take_over(&mut self, partitions: &[i32], db: &mut Db) -> Result<(), StageError> {
        for _ in 0..TRIES {
            let recorded = state::held(db, &self.name)?;
            let passed_over = self.place(partitions, &recorded, 1)?;
            let mut tx = db.begin_beside()?;
            if self.record_of(partitions, &mut tx)? {
                tx.commit()?;
                // Of these alone: where another stands that was found again is not written yet.
                for partition in partitions {
                    self.parts.entry(*partition).and_modify(|part| part.recorded = Some(part.held()));
                }
                self.passed_over += passed_over;
                return Ok(());
            }
            // Whoever had one has committed a last batch of it meanwhile.
        }
        Err(StageError::unreachable(format!("{}: partitions {partitions:?} change hands all the time", self.name)))
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

    /// Where we stand in these partitions: as recorded, else at the start. So many times `more` are they taken over by that.
    /// Comes back: how many lines went before they were read.
    fn place(
        &mut self,
        partitions: &[i32],
        recorded: &BTreeMap<i32, (Position, Held)>,
        more: u64,
    ) -> Result<u64, StageError> {
        let mut passed_over = 0;
        // A partition that came later is new from its first line, whatever the start was.
        let start = if recorded.is_empty() { self.start } else { Start::First };
        let asker = self.asker()?;
        for &partition in partitions {
            let (low, high) = asker.ends(partition)?;
            let recorded = recorded.get(&partition).copied();
            let start_at = match recorded {
                Some((position, _)) => position,
                None => position(asker.start(partition, (low, high), start)?),
            };
            let mut part = Part {
                position: start_at,
                recorded: recorded.map(|(_, held)| held),
                taken: recorded.map_or(0, |(_, held)| held.taken) + more,
                stop_at: if self.once { high } else { u64::MAX },
                ended: false,
            };
            passed_over += self.hold(partition, &mut part, low, high);
            part.ended = part.next() >= part.stop_at;
            self.parts.insert(partition, part);
        }
        Ok(passed_over)
    }

    /// A recorded position that the topic no longer has, or does not have yet; how many lines are passed over by that.
    fn hold(&self, partition: i32, part: &mut Part, low: u64, high: u64) -> u64 {
        let (name, at) = (&self.name, part.next());
        match still_kept(at, low, high) {
            Kept::Next => 0,
            Kept::Gone(lines) => {
                tracing::warn!("{name} partition {partition}: {lines} lines were passed over, they are no longer kept");
                part.position.skipped += lines;
                part.move_to(low);
                lines
            }
            Kept::Anew => {
                tracing::error!(
                    "{name} partition {partition}: the position {at} lies beyond the end {high}: the topic was made \
                     anew, and is read from its first line on"
                );
                part.position = position(low);
                0
            }
        }
    }

    /// As in `from`.
    pub(crate) fn name(&self) -> String {
        self.name.clone()
    }

    /// How many lines went before they were read, since the last time that this was asked.
    pub(crate) fn take_passed_over(&mut self) -> u64 {
        std::mem::take(&mut self.passed_over)
    }

    /// The brokers have nothing where we stand.
    fn find_again(&mut self) -> Result<(), StageError> {
        let partitions: Vec<i32> = self.parts.keys().copied().collect();
        let asker = self.asker()?;
        for partition in &partitions {
            let (low, high) = asker.ends(*partition)?;
            let Some(mut part) = self.parts.get(partition).copied() else { continue };
            self.passed_over += self.hold(*partition, &mut part, low, high);
            self.parts.insert(*partition, part);
        }
        let list = self.list(&partitions)?;
        if self.member {
            self.client()?.incremental_unassign(&list).map_err(|e| self.fail(&e))?;
            self.client()?.incremental_assign(&list).map_err(|e| self.fail(&e))
        } else {
            self.client()?.assign(&list).map_err(|e| self.fail(&e))
        }
    }

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

    /// Writes down where we stand, in the transaction of what came of it. False: a partition is another's by now, and
    /// nothing of this transaction may hold.
    pub(crate) fn record(&self, tx: &mut Tx<'_>) -> Result<bool, StageError> {
        let moved = self.parts.iter().filter(|(_, part)| part.recorded != Some(part.held()));
        self.record_of(&moved.map(|(partition, _)| *partition).collect::<Vec<_>>(), tx)
    }

    fn record_of(&self, partitions: &[i32], tx: &mut Tx<'_>) -> Result<bool, StageError> {
        for partition in partitions {
            let Some(Part { position, recorded, taken, .. }) = self.parts.get(partition) else { continue };
            if !state::move_position(tx, &self.name, *partition, *recorded, position, *taken)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What was recorded is committed; now and then the group is told, for those who look at lags.
    pub(crate) fn committed(&mut self) {
        for part in self.parts.values_mut() {
            part.recorded = Some(part.held());
        }
        self.untold = self.member;
        self.tell_now_and_then();
    }

    fn tell_now_and_then(&mut self) {
        // What was read and is not committed yet is not told.
        let settled = self.parts.values().all(|part| part.recorded == Some(part.held()));
        if self.untold && settled && self.told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            (self.told, self.untold) = (Some(Instant::now()), false);
            self.tell();
        }
    }

    fn tell(&self) {
        let partitions: Vec<i32> = self.parts.keys().copied().collect();
        let tell = || {
            let list = self.list(&partitions)?;
            if list.count() == 0 {
                return Ok(());
            }
            self.client()?.commit(&list, CommitMode::Async).map_err(|e| self.fail(&e))
        };
        if tell().is_err() {
            tracing::debug!("{}: the group was not told where we are", self.name);
        }
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

/// A message as a line. One that a stranger wrote over several lines is one all the same: outside of strings JSON does not
/// mind, and within them it would not be JSON.
pub(super) fn put(payload: &[u8], chunk: &mut Vec<u8>, too_long: &mut Vec<usize>) {
    let payload = payload.strip_suffix(b"\n").unwrap_or(payload);
    if payload.len() > LINE_MAX {
        too_long.push(payload.len());
        return;
    }
    let begin = chunk.len();
    chunk.extend_from_slice(payload);
    if memchr::memchr(b'\n', payload).is_some() {
        chunk.iter_mut().skip(begin).filter(|b| **b == b'\n').for_each(|b| *b = b' ');
    }
    chunk.push(b'\n');
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests;

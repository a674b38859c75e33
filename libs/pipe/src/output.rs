//! Outputs of a loop: stdout, or the writer of a topic.

mod lent;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use registry::db::{Db, Home, Tx};

use crate::config::{Config, Lag, StageConf, TopicConf};
use crate::fs::Fs;
use crate::kafka::KafkaOutput;
use crate::out::HELD_MAX;
use crate::topic::{Class, Error, Kept, Mark, Options, Policy, Room, Sealed, TopicWriter};
use crate::{Exit, Metrics, StageError, state, stdio};
use lent::{Back, Lent};

/// How often a writer looks after its topic: deletes, compresses, counts.
const MAINTAIN_EVERY: Duration = Duration::from_secs(1);

/// How long a topic's other writer is waited for in silence: at an upgrade one stage ends as the next begins.
const SAID_AFTER: Duration = Duration::from_secs(1);

/// As [`HELD_MAX`], for a topic of Kafka: about what its client puts into one request.
const HELD_FOR_BROKERS: usize = 256 << 10;

/// Where an output goes.
pub(crate) enum Output {
    /// Thrown away: the stage has it, nobody wants it.
    None,
    Stdout,
    Topic(Box<TopicOutput>),
    Kafka(Box<KafkaOutput>),
    /// Between the parts of a batch that gives much; whatever is asked of it waits for it first ([`Output::settle`]).
    Lent(Lent),
}

/// A topic as its one writer sees it.
pub struct TopicOutput {
    name: String,
    dir: PathBuf,
    fs: Arc<dyn Fs>,
    writer: TopicWriter,
    conf: TopicConf,
    class: Class,
    claims: Vec<Claim>,
    /// Sealed, and not recorded yet.
    sealed: Vec<Sealed>,
    looked: Option<Instant>,
    full: bool,
}

/// The claim of a reader on the lines it has not read.
struct Claim {
    input: String,
    home: Home,
    db: Option<Db>,
    lag: Lag,
}

impl Claim {
    /// The offset up to which it has read and committed; one that has not started holds the first line kept.
    fn offset(&mut self) -> u64 {
        if self.db.is_none() {
            self.db = Db::open_read_only(&self.home).ok().flatten();
        }
        let position = self.db.as_ref().and_then(|db| state::position(db, &self.input).ok().flatten());
        position.map_or(0, |p| p.mark.offset)
    }
}

fn claims(config: &Config, topic: &str) -> Vec<Claim> {
    let claim = |stage: &StageConf| Claim {
        input: format!("topic:{topic}"),
        home: config.state(stage),
        db: None,
        lag: stage.lag,
    };
    config.readers(topic).map(claim).collect()
}

pub(crate) fn topic_error(name: &str, error: &Error) -> StageError {
    match error {
        // A full disk passes: the supervisor starts the stage again, with growing pauses.
        Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
            StageError::unreachable(format!("topic:{name}: {error}"))
        }
        _ => StageError::state(format!("topic:{name}: {error}")),
    }
}

impl TopicOutput {
    /// Opens the topic for writing and recovers it. `kept` is what the writer's state holds of its end, or whole lines
    /// for `receive`, whose fsync is its commit; `sealed` is what it holds of the segments.
    pub fn open(
        fs: &Arc<dyn Fs>,
        config: &Config,
        name: &str,
        class: Class,
        kept: Kept,
        sealed: Vec<Sealed>,
    ) -> Result<Self, StageError> {
        let dir = config.topic_dir(name);
        fs.create_dir(&dir).map_err(|e| StageError::state(format!("{}: {e}", dir.display())))?;
        let options = Options { sealed, pack_beside: true, ..Options::default() };
        let (begun, mut said) = (Instant::now(), false);
        let writer = loop {
            match TopicWriter::open(fs.clone(), &dir, kept, options.clone()) {
                Err(Error::Locked(_)) if begun.elapsed() < state::LOCK_WAIT => {
                    if !said && begun.elapsed() > SAID_AFTER {
                        let wait = state::LOCK_WAIT.as_secs();
                        tracing::warn!(
                            "topic:{name} is written by another process, such as a stage of a running `zentral up`; waiting for its end, {wait} s at most"
                        );
                        said = true;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                other => break other.map_err(|e| topic_error(name, &e))?,
            }
        };
        let (conf, claims) = (config.topics.of(name).clone(), claims(config, name));
        let (name, fs, sealed) = (name.to_owned(), fs.clone(), Vec::new());
        Ok(Self { name, dir, fs, writer, conf, class, claims, sealed, looked: None, full: false })
    }

    /// Other readers, other bounds.
    pub fn reload(&mut self, config: &Config) {
        (self.conf, self.claims) = (config.topics.of(&self.name).clone(), claims(config, &self.name));
        self.looked = None;
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its lines end.
    pub fn end(&self) -> Mark {
        self.writer.end()
    }

    /// Puts what was sealed in the writer's state. Only what is recorded and published may go.
    pub fn record_sealed(&mut self, db: &mut Db) -> Result<(), StageError> {
        self.sealed.extend(self.writer.sealed());
        if self.sealed.is_empty() {
            return Ok(());
        }
        let mut tx = db.begin()?;
        state::add_segments(&mut tx, &self.name, &self.sealed)?;
        tx.commit()?;
        self.sealed.clear();
        self.publish()
    }

    /// Appends whole lines; not durable yet.
    pub fn append(&mut self, lines: &[u8], count: u64) -> Result<(), StageError> {
        self.writer.append(lines, count).map_err(|e| topic_error(&self.name, &e))
    }

    /// Makes what was appended durable. A failed fsync ends the process.
    pub fn sync(&mut self) -> Result<Mark, StageError> {
        self.writer.sync().map_err(|e| StageError::state(format!("topic:{}: {e}", self.name)))
    }

    /// Shows readers what is durable and recorded.
    pub fn publish(&mut self) -> Result<(), StageError> {
        self.writer.publish().map_err(|e| topic_error(&self.name, &e))
    }

    /// How much room there is now.
    pub fn room(&self) -> Room {
        Room {
            bytes: self.writer.bytes(),
            limit: self.conf.limit,
            free: self.fs.free_space(&self.dir).unwrap_or(u64::MAX),
            reserve: self.conf.reserve,
        }
    }

    /// Whether the stage may append now; says once when it may not and once when it may again.
    pub fn has_room(&mut self, metrics: &Metrics) -> bool {
        let room = self.room();
        let full = !room.allows(self.class);
        if full != self.full {
            self.full = full;
            metrics.topic_full.with_label_values(&[&self.name]).set(i64::from(full));
            if full {
                tracing::warn!(
                    "topic:{} takes nothing more: {} bytes of {}, {} bytes free on the disk",
                    self.name,
                    room.bytes,
                    room.limit,
                    room.free
                );
            } else {
                tracing::info!("topic:{} takes lines again", self.name);
            }
        }
        !full
    }

    /// Looks after the topic, at most once a second: what all readers have read and need not be kept goes.
    pub fn maintain(&mut self, metrics: &Metrics) -> Result<(), StageError> {
        if self.looked.is_some_and(|at| at.elapsed() < MAINTAIN_EVERY) {
            return Ok(());
        }
        let room = self.room();
        let tight = room.bytes >= room.limit || room.free < room.reserve;
        // Whoever may be passed over holds no claim when there is no room.
        let claims: Vec<u64> =
            self.claims.iter_mut().filter(|c| !(tight && c.lag == Lag::Skip)).map(Claim::offset).collect();
        let policy = Policy {
            keep_age_ms: i64::try_from(self.conf.keep_age.as_millis()).unwrap_or(i64::MAX),
            keep_size: self.conf.keep_size,
            limit: self.conf.limit,
            reserve: self.conf.reserve,
            free_space: room.free,
            now_ms: self.fs.now_ms(),
        };
        let done = self.writer.maintain(&claims, &policy).map_err(|e| topic_error(&self.name, &e))?;
        metrics.topic_bytes.with_label_values(&[&self.name]).set(i64::try_from(done.bytes).unwrap_or(i64::MAX));
        self.looked = (!done.more).then(Instant::now);
        Ok(())
    }
}

impl Output {
    pub(crate) fn topic(
        fs: &Arc<dyn Fs>,
        config: &Config,
        db: &Db,
        name: &str,
        class: Class,
    ) -> Result<Self, StageError> {
        let recorded = state::output(db, name)?;
        let dir = config.topic_dir(name);
        if recorded.is_none() && crate::topic::topic_bytes(&**fs, &dir).is_ok_and(|bytes| bytes > 0) {
            let text = format!("topic `{name}` holds lines that this stage's state knows nothing of");
            return Err(StageError::state(format!("{text}. {}", other_writer(&dir))));
        }
        let (kept, sealed) = (Kept::Recorded(recorded.unwrap_or(Mark::START)), state::segments(db, name)?);
        Ok(Self::Topic(Box::new(TopicOutput::open(fs, config, name, class, kept, sealed)?)))
    }

    /// Appends lines, not durable yet.
    pub(crate) fn append(&mut self, lines: &[u8], count: u64) -> Result<(), StageError> {
        self.settle()?;
        match self {
            _ if count == 0 => Ok(()),
            Self::Stdout => stdio::write(lines).map_err(|e| closed(&e)),
            Self::Topic(topic) => topic.append(lines, count),
            Self::Kafka(kafka) => kafka.append(lines, 0),
            Self::None => Ok(()),
            Self::Lent(_) => Err(still_lent()),
        }
    }

    /// Bytes that are worth being appended while others come.
    pub(crate) fn held_max(&self) -> usize {
        match self {
            // The client sends while the stage works on: what it has at the commit is what the commit waits for.
            Self::Kafka(_) => HELD_FOR_BROKERS,
            _ => HELD_MAX,
        }
    }

    /// Takes many lines, to be appended while others come; memory for these comes back.
    pub(crate) fn lend(&mut self, lines: Vec<u8>, count: u64) -> Result<Vec<u8>, StageError> {
        let memory = self.settle()?;
        match std::mem::replace(self, Self::None) {
            Self::Topic(topic) => {
                *self = Self::Lent(Lent::new(topic, lines, count)?);
                Ok(memory)
            }
            other => {
                *self = other;
                self.append(&lines, count)?;
                Ok(lines)
            }
        }
    }

    /// Waits for what was lent; memory comes back.
    fn settle(&mut self) -> Result<Vec<u8>, StageError> {
        match std::mem::replace(self, Self::None) {
            Self::Lent(lent) => {
                let Back { topic, memory, done } = lent.back()?;
                *self = Self::Topic(topic);
                done.map(|()| memory)
            }
            other => {
                *self = other;
                Ok(Vec::new())
            }
        }
    }

    /// Whether brokers keep it.
    pub(crate) fn is_kafka(&self) -> bool {
        matches!(self, Self::Kafka(_))
    }

    /// Whether somebody reads it at the other end.
    pub(crate) fn is_pipe(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    /// Whether something was appended that is not durable yet.
    pub(crate) fn is_dirty(&self) -> bool {
        match self {
            Self::Topic(topic) => topic.end() != topic.writer.synced(),
            Self::Kafka(kafka) => kafka.is_dirty(),
            Self::Lent(_) => true,
            Self::None | Self::Stdout => false,
        }
    }

    /// Makes what was appended durable.
    pub(crate) fn sync(&mut self) -> Result<(), StageError> {
        self.settle()?;
        match self {
            Self::Topic(topic) => topic.sync().map(|_| ()),
            Self::Kafka(kafka) => kafka.sync(),
            Self::None | Self::Stdout => Ok(()),
            Self::Lent(_) => Err(still_lent()),
        }
    }

    /// Its name, as in `to`.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Topic(topic) => format!("topic:{}", topic.name),
            Self::Kafka(kafka) => kafka.place(),
            Self::None | Self::Stdout | Self::Lent(_) => "-".to_owned(),
        }
    }

    /// Records what is durable of it, and its sealed segments, in the transaction. What comes back it will never take.
    pub(crate) fn record(&mut self, tx: &mut Tx<'_>) -> Result<Vec<(Vec<u8>, String)>, StageError> {
        self.settle()?;
        if let Self::Kafka(kafka) = self {
            kafka.record(tx)?;
            return Ok(kafka.take_refused());
        }
        if let Self::Topic(topic) = self {
            state::set_output(tx, &topic.name, topic.writer.synced())?;
            topic.sealed.extend(topic.writer.sealed());
            state::add_segments(tx, &topic.name, &topic.sealed)?;
            // Should this transaction fail the process ends.
            topic.sealed.clear();
        }
        Ok(Vec::new())
    }
}

/// What to do about a topic that another state wrote; nobody should be led to lose lines.
fn other_writer(dir: &Path) -> String {
    format!(
        "If the state file was lost, put it back. If another stage wrote the topic (before stages were joined or renamed), \
         take the old configuration again, let the topic's readers come to its end (`zentral status`: lag 0), and give \
         this stage an output of a new name. Moving {} away loses what nobody has read yet",
        dir.display()
    )
}

/// Nothing that was given may be passed over in silence.
fn still_lent() -> StageError {
    StageError::state("a topic was not given back: a fault of the loop")
}

fn closed(e: &io::Error) -> StageError {
    match e.kind() {
        io::ErrorKind::BrokenPipe => StageError { exit: Exit::Done, text: "stdout was closed".into() },
        _ => StageError::unreachable(format!("stdout: {e}")),
    }
}

/// Whether a folder lies on a network file system, where locks and fsync promise little.
pub fn is_network(dir: &Path) -> bool {
    const NETWORK: [i64; 6] =
        [0x6969, 0x517b, 0xff53_4d42_u32 as i64, 0xfe53_4d42_u32 as i64, 0x0102_1997, 0x5346_414f];
    #[allow(clippy::unnecessary_cast, reason = "the type of f_type differs between systems")]
    rustix::fs::statfs(dir).is_ok_and(|fs| NETWORK.contains(&(fs.f_type as i64)))
}

//! The output of a program without input: one thread appends what many wait for and syncs once for all of them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use registry::db::{Db, Home};
use tokio::sync::oneshot;

use crate::config::{Config, Place};
use crate::fs::RealFs;
use crate::kafka::KafkaOutput;
use crate::output::TopicOutput;
use crate::run::told::Complaints;
use crate::topic::{Class, Kept};
use crate::{Lasting, Metrics, StageError, state, stdio};

/// Requests that may wait for the next sync; more wait to be let in.
const WAITING_MAX: usize = 4096;
/// The most bytes that one sync covers; more go with the next.
const GROUP_MAX: usize = 8 << 20;
/// How often the topic is looked after when nobody writes.
const QUIET: Duration = Duration::from_millis(200);

/// Lines to be made durable together.
struct Order {
    lines: Vec<u8>,
    count: u64,
    done: oneshot::Sender<bool>,
}

/// Takes lines from many and answers each when its lines are durable. Clones share it.
#[derive(Clone)]
pub struct Sink {
    orders: SyncSender<Order>,
    room: Arc<Rooms>,
    changed: Changed,
}

/// A configuration that the writer has not looked at yet.
type Changed = Arc<Mutex<Option<Arc<Config>>>>;

/// Which classes of writer may append now.
#[derive(Default)]
struct Rooms {
    source: AtomicBool,
    no_retry: AtomicBool,
}

/// The lines were not taken: there is no room, or the writer has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

impl Sink {
    /// Opens the output of this stage: stdout, or a topic whose end is recorded in `state` (which is open already).
    ///
    /// `failed` is called once if the output cannot go on (a failed fsync, a closed stdout); the process must end then.
    pub fn open(
        stage: &str,
        to: &Place,
        config: &Arc<Config>,
        state: Option<Home>,
        metrics: Metrics,
        failed: impl FnOnce(StageError) + Send + 'static,
    ) -> Result<Self, StageError> {
        let room = Arc::new(Rooms::default());
        let (orders, waiting) = sync_channel(WAITING_MAX);
        let target = match to {
            Place::Standard => Target::Stdout,
            Place::Changes => return Err(StageError::usage(format!("{to} is an input"))),
            Place::Topic(name) => {
                let db = match &state {
                    Some(home) => Db::open(home, &[state::SCHEMA]),
                    None => Db::memory(&[state::SCHEMA]),
                }?;
                let (fs, sealed) = (RealFs::shared(), state::segments(&db, name)?);
                let topic = TopicOutput::open(&fs, config, name, Class::Source, Kept::WholeLines, sealed)?;
                Target::Topic(Box::new(topic), db)
            }
            Place::Kafka(name) => {
                let (db, complaints) = match &state {
                    Some(home) => {
                        let db = Db::open(home, &[state::SCHEMA])?;
                        let complaints = Complaints::open(&RealFs::shared(), config, &db, stage, None)?;
                        (db, complaints)
                    }
                    None => (Db::memory(&[state::SCHEMA])?, Complaints::logged()),
                };
                let kafka = Box::new(KafkaOutput::of_source(config, name, metrics.clone())?);
                Target::Kafka { kafka, db, complaints }
            }
        };
        let changed = Changed::default();
        let lines = Vec::new();
        let mut writer =
            Writer { target, room: room.clone(), changed: changed.clone(), metrics, lines, trouble: Lasting::new() };
        writer.look_after()?;
        let thread = std::thread::Builder::new().name("sink".into());
        thread
            .spawn(move || {
                if let Err(e) = writer.run(&waiting) {
                    writer.close();
                    failed(e);
                }
            })
            .map_err(|e| StageError::state(format!("cannot start a thread: {e}")))?;
        Ok(Self { orders, room, changed })
    }

    /// Other readers of the topic, other bounds: in force within [`QUIET`].
    pub fn reload(&self, config: Arc<Config>) {
        *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some(config);
    }

    /// Whether a writer of this class may append now.
    pub fn has_room(&self, class: Class) -> bool {
        match class {
            Class::Source => self.room.source.load(Ordering::Relaxed),
            _ => self.room.no_retry.load(Ordering::Relaxed),
        }
    }

    /// Hands in `count` whole lines; the answer comes when they are durable. Waits (without blocking the thread) while
    /// too many wait already.
    pub async fn write(&self, lines: Vec<u8>, count: u64, class: Class) -> Result<(), NoRoom> {
        if !self.has_room(class) {
            return Err(NoRoom);
        }
        let (done, answer) = oneshot::channel();
        let mut order = Order { lines, count, done };
        loop {
            match self.orders.try_send(order) {
                Ok(()) => break,
                Err(std::sync::mpsc::TrySendError::Full(back)) => {
                    order = back;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Err(std::sync::mpsc::TrySendError::Disconnected(_)) => return Err(NoRoom),
            }
        }
        match answer.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(NoRoom),
        }
    }
}

enum Target {
    Stdout,
    Topic(Box<TopicOutput>, Db),
    Kafka {
        kafka: Box<KafkaOutput>,
        db: Db,
        /// Where that goes which the brokers never take: it was answered 200 all the same.
        complaints: Complaints,
    },
}

struct Writer {
    target: Target,
    room: Arc<Rooms>,
    changed: Changed,
    metrics: Metrics,
    lines: Vec<u8>,
    /// There is no room, or nobody to ask.
    trouble: Lasting,
}

impl Writer {
    fn run(&mut self, waiting: &Receiver<Order>) -> Result<(), StageError> {
        let mut group: Vec<Order> = Vec::new();
        loop {
            match waiting.recv_timeout(QUIET) {
                Ok(order) => group.push(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            let mut bytes: usize = group.iter().map(|o| o.lines.len()).sum();
            while bytes < GROUP_MAX {
                let Ok(order) = waiting.try_recv() else { break };
                bytes += order.lines.len();
                group.push(order);
            }
            let done = match self.look_after() {
                Ok(()) if group.is_empty() => continue,
                Ok(()) => self.commit(&group),
                Err(e) => Err(e),
            };
            match done {
                Ok(failed) => {
                    if failed.len() < group.len() && self.trouble.is_over() {
                        tracing::info!("lines are taken again");
                    }
                    if !failed.is_empty() {
                        self.close();
                    }
                    for (number, order) in group.drain(..).enumerate() {
                        let _ = order.done.send(!failed.contains(&number));
                    }
                }
                // A full disk: these are told to come again, and room is looked for until there is some.
                Err(e) if e.exit == crate::Exit::Unreachable => {
                    if self.trouble.goes_on() {
                        tracing::warn!("{e}");
                    }
                    self.close();
                    group.drain(..).for_each(|order| {
                        let _ = order.done.send(false);
                    });
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Append, sync, head: only then is anybody told. Comes back: the orders that the brokers did not take in time.
    fn commit(&mut self, group: &[Order]) -> Result<BTreeSet<usize>, StageError> {
        let mut count = group.iter().map(|o| o.count).sum();
        let mut failed = BTreeSet::new();
        match &mut self.target {
            Target::Stdout => {
                self.lines.clear();
                group.iter().for_each(|o| self.lines.extend_from_slice(&o.lines));
                stdio::write(&self.lines).map_err(|e| match e.kind() {
                    std::io::ErrorKind::BrokenPipe => {
                        StageError { exit: crate::Exit::Done, text: "stdout was closed".into() }
                    }
                    _ => StageError::state(format!("stdout: {e}")),
                })?;
            }
            Target::Topic(topic, db) => {
                match group {
                    [one] => topic.append(&one.lines, one.count)?,
                    // One write for all of them.
                    many => {
                        self.lines.clear();
                        many.iter().for_each(|o| self.lines.extend_from_slice(&o.lines));
                        topic.append(&self.lines, count)?;
                    }
                }
                topic.sync()?;
                topic.record_sealed(db)?;
                topic.publish()?;
            }
            Target::Kafka { kafka, db, complaints } => {
                if !self.room.source.load(Ordering::Relaxed) {
                    return Ok((0..group.len()).collect());
                }
                for (number, order) in group.iter().enumerate() {
                    if let Err(e) = kafka.append(&order.lines, number) {
                        // All of them are told to come again. What is reported of these must not come when others have
                        // their numbers.
                        kafka.settle();
                        return Err(e);
                    }
                }
                failed = kafka.settle();
                let taken = group.iter().enumerate().filter(|(number, _)| !failed.contains(number));
                count = taken.map(|(_, order)| order.count).sum();
                let not_taken = kafka.take_refused();
                let mut tx = db.begin()?;
                complaints.not_taken(&kafka.place(), not_taken, &mut tx)?;
                kafka.record(&mut tx)?;
                tx.commit()?;
            }
        }
        self.lines.clear();
        self.lines.shrink_to(GROUP_MAX);
        self.metrics.lines_out.with_label_values(&["to"]).inc_by(count);
        Ok(failed)
    }

    fn look_after(&mut self) -> Result<(), StageError> {
        let (mut source, mut no_retry) = (true, true);
        if let Target::Topic(topic, db) = &mut self.target {
            if let Some(config) = self.changed.lock().unwrap_or_else(PoisonError::into_inner).take() {
                topic.reload(&config);
            }
            topic.maintain(&self.metrics)?;
            topic.record_sealed(db)?;
            source = topic.has_room(&self.metrics);
            no_retry = topic.room().allows(Class::NoRetry);
        }
        if let Target::Kafka { kafka, db, complaints } = &mut self.target {
            complaints.look_after(db)?;
            // Whoever did not answer in time is asked until it does; until then everybody is told to come again.
            let open = self.room.source.load(Ordering::Relaxed) || kafka.ask().is_ok();
            (source, no_retry) = (open, open);
        }
        self.room.source.store(source, Ordering::Relaxed);
        self.room.no_retry.store(no_retry, Ordering::Relaxed);
        Ok(())
    }

    fn close(&self) {
        self.room.source.store(false, Ordering::Relaxed);
        self.room.no_retry.store(false, Ordering::Relaxed);
    }
}

//! All cores ask, and the answers come in the order of the lines.
//!
//! Threads are kept: what jq has compiled and parsed for a thread is worth more than the thread.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use pipe::Line;
use probe::FilterSet;

use crate::ask::{Answer, Asker, Manner, Tally};
use crate::note::CrashNote;

/// The most threads beside the caller's.
const WORKERS_MAX: usize = 15;
/// Bytes of lines below which nobody else is asked.
const SHARED_MIN: usize = 64 << 10;
/// Time for a line from which on it pays to hand half of them to somebody else.
const DEAR: Duration = Duration::from_nanos(1200);

/// The caller's thread and others.
pub(crate) struct Pool {
    own: Asker,
    workers: Vec<Worker>,
    /// What a line took of late.
    took: Duration,
    off: Arc<[bool]>,
}

struct Worker {
    jobs: Sender<Job>,
    done: Receiver<Job>,
    spare: Option<Job>,
}

/// Lines for another thread, and what it says.
#[derive(Default)]
struct Job {
    set: Option<Arc<FilterSet>>,
    off: Arc<[bool]>,
    manner: Option<Manner>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    answers: Vec<Answer>,
    tally: Tally,
}

impl Pool {
    /// A thread for each note; the caller is one of them.
    pub(crate) fn new(mut notes: Vec<CrashNote>) -> std::io::Result<Self> {
        let own = Asker::new(if notes.is_empty() { CrashNote::default() } else { notes.remove(0) });
        let workers = notes.into_iter().map(Worker::start).collect::<Result<_, _>>()?;
        Ok(Self { own, workers, took: Duration::ZERO, off: Arc::default() })
    }

    /// How many threads are worth having here.
    pub(crate) fn threads() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX + 1)
    }

    /// Filters that are not to run, by their place in the set.
    pub(crate) fn set_off(&mut self, off: Vec<bool>) {
        self.off = off.into();
    }

    /// Asks about all lines. An open answer is one that nobody was asked for: ask again, one line at a time.
    pub(crate) fn ask(&mut self, set: &Arc<FilterSet>, manner: Manner, lines: &[Line<'_>], answers: &mut Vec<Answer>) {
        answers.clear();
        let bytes: usize = lines.iter().map(|l| l.bytes.len()).sum();
        let begun = Instant::now();
        let alone = self.workers.is_empty() || bytes < SHARED_MIN || self.took < DEAR;
        let shares = if alone { 1 } else { self.workers.len() + 1 };
        let mut parts = lines.chunks(lines.len().div_ceil(shares).max(1));
        let first = parts.next().unwrap_or_default();
        let mut asked = Vec::new();
        for (worker, part) in self.workers.iter_mut().zip(parts) {
            worker.send(set, &self.off, manner, part);
            asked.push((worker, part.len()));
        }
        self.own.ask_all(set, &self.off, manner, first.iter().map(|l| l.bytes), answers);
        for (worker, lines) in asked {
            match worker.done.recv() {
                Ok(mut job) => {
                    answers.append(&mut job.answers);
                    self.own.tally.take_over(&mut job.tally);
                    worker.spare = Some(job);
                }
                // It ended by a fault; its lines are asked for one by one.
                Err(_) => answers.extend((0..lines).map(|_| Answer::Open)),
            }
        }
        if !lines.is_empty() {
            let each = begun.elapsed() * u32::try_from(shares).unwrap_or(1) / u32::try_from(lines.len()).unwrap_or(1);
            self.took = (self.took * 7 + each) / 8;
        }
    }

    /// One line, here and now.
    pub(crate) fn ask_one(&mut self, set: &FilterSet, manner: Manner, line: &[u8]) -> Answer {
        let mut answers = Vec::with_capacity(1);
        self.own.ask_all(set, &self.off, manner, std::iter::once(line), &mut answers);
        answers.pop().unwrap_or(Answer::Open)
    }

    /// Between two batches: what ran came back.
    pub(crate) fn rest(&mut self) -> &mut Tally {
        self.own.note.clear();
        &mut self.own.tally
    }
}

impl Worker {
    fn start(note: CrashNote) -> std::io::Result<Self> {
        let (jobs, todo) = channel::<Job>();
        let (finished, done) = channel();
        std::thread::Builder::new().name("filter-pool".into()).spawn(move || {
            // Without the big stack nothing is asked here, and the lines come back open.
            let _ = probe::with_stack(move || {
                let mut asker = Asker::new(note);
                while let Ok(mut job) = todo.recv() {
                    job.work(&mut asker);
                    if finished.send(job).is_err() {
                        return;
                    }
                }
            });
        })?;
        Ok(Self { jobs, done, spare: None })
    }

    fn send(&mut self, set: &Arc<FilterSet>, off: &Arc<[bool]>, manner: Manner, lines: &[Line<'_>]) {
        let mut job = self.spare.take().unwrap_or_default();
        (job.set, job.off, job.manner) = (Some(Arc::clone(set)), Arc::clone(off), Some(manner));
        job.bytes.clear();
        job.ends.clear();
        for line in lines {
            job.bytes.extend_from_slice(line.bytes);
            job.ends.push(job.bytes.len());
        }
        // A worker that is gone is seen when its answer does not come.
        let _ = self.jobs.send(job);
    }
}

impl Job {
    fn work(&mut self, asker: &mut Asker) {
        let (Some(set), Some(manner)) = (self.set.take(), self.manner) else { return };
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let lines = starts.zip(&self.ends).map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default());
        self.answers.clear();
        asker.ask_all(&set, &self.off, manner, lines, &mut self.answers);
        asker.note.clear();
        self.tally.take_over(&mut asker.tally);
    }
}

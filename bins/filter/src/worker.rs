//! Another thread that asks.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use pipe::Line;
use probe::FilterSet;

use crate::ask::{Answer, Asker, Manner};
use crate::metrics::Tally;
use crate::note::CrashNote;

/// A thread and the ways to and from it.
pub(crate) struct Worker {
    jobs: Sender<Job>,
    done: Receiver<Job>,
    spare: Option<Job>,
}

/// Lines for a thread, and what it says.
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

impl Worker {
    pub(crate) fn start(note: CrashNote) -> std::io::Result<Self> {
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

    /// Lines to ask about; [`Worker::receive`] must follow.
    pub(crate) fn send(&mut self, set: &Arc<FilterSet>, off: &Arc<[bool]>, manner: Manner, lines: &[Line<'_>]) {
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

    /// The answers, of which some may be missing at the end, and what was counted. Of a worker that ended by a fault all
    /// are missing.
    pub(crate) fn receive(&mut self, answers: &mut impl Extend<Answer>, tally: &mut Tally) {
        if let Ok(mut job) = self.done.recv() {
            answers.extend(job.answers.drain(..));
            tally.take_over(&mut job.tally);
            self.spare = Some(job);
        }
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

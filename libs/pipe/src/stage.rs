//! What a stage is: a function from a batch of lines to lines for named outputs, its state in the same transaction.
//!
//! A stage knows neither files nor topics nor processes, so the same stage runs between pipes, on disk topics, joined with
//! others and, later, on Kafka.

use std::sync::Arc;

use registry::db::{Schema, Tx};

use crate::config::Config;
use crate::{Exit, Metrics, Out, StageError, Waker};

/// One line of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The line without its newline.
    pub bytes: &'a [u8],
    /// Which input it came from, in the order of `from`.
    pub input: usize,
    /// Its number: on stdin from 1; in a topic the lines before it plus one.
    pub number: u64,
}

/// Whole lines, each with the input and the number that it has after so many before it.
pub(crate) fn lines(bytes: &[u8], mut origin: impl FnMut(usize) -> (usize, u64)) -> Vec<Line<'_>> {
    let mut lines = Vec::with_capacity(bytes.len() / 512);
    let mut at = 0;
    for end in memchr::memchr_iter(b'\n', bytes) {
        let (input, number) = origin(lines.len());
        lines.push(Line { bytes: bytes.get(at..end).unwrap_or_default(), input, number });
        at = end + 1;
    }
    lines
}

/// What a stage is given at its start.
#[derive(Debug, Clone)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// Ring it from a worker, and the loop asks [`Stage::due`] at once.
    pub waker: Waker,
    /// For metrics of its own.
    pub metrics: Metrics,
    /// The configuration.
    pub config: Arc<Config>,
}

/// See [`Stage::preparation`].
pub type Preparation = Box<dyn FnOnce(&Arc<Config>) -> Result<(), StageError> + Send>;

/// A stage. The loop calls it from one thread and guarantees: what `batch` and `idle` did to state and outputs is
/// committed together or not at all, and after an error the process ends, so memory need not be rolled back.
pub trait Stage {
    /// Names of the outputs; [`Out::line`] takes their place in this list.
    fn outputs(&self) -> &'static [&'static str] {
        &["to"]
    }

    /// The stage's own tables.
    fn schema(&self) -> Option<Schema> {
        None
    }

    /// The tables of all that it is made of.
    fn schemas(&self) -> Vec<Schema> {
        self.schema().into_iter().collect()
    }

    /// Once, before the first batch; what is written to `state` is committed.
    fn start(&mut self, context: &Context, state: &mut Tx<'_>) -> Result<(), StageError> {
        let _ = (context, state);
        Ok(())
    }

    /// A batch. Each line gets exactly one verdict: [`Out::done`], [`Out::ignored`] or [`Out::refused`].
    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, state: &mut Tx<'_>) -> Result<(), StageError>;

    /// Whether [`Stage::idle`] has something to do now.
    fn due(&self) -> bool {
        false
    }

    /// Work that came without input: an action finished, a time came. Committed like a batch.
    fn idle(&mut self, out: &mut Out, state: &mut Tx<'_>) -> Result<(), StageError> {
        let _ = (out, state);
        Ok(())
    }

    /// After each commit: outward effects that must not happen before it.
    fn committed(&mut self) -> Result<(), StageError> {
        Ok(())
    }

    /// The part of a reload that takes its time. It runs on a thread beside the stream; then [`Stage::reload`] is called
    /// with the same configuration, if it gave no error.
    fn preparation(&self) -> Option<Preparation> {
        None
    }

    /// A new configuration. An error leaves the old one in force.
    fn reload(&mut self, config: &Arc<Config>) -> Result<(), StageError> {
        let _ = config;
        Ok(())
    }

    /// Whether work is under way that `--once` must wait for.
    fn busy(&self) -> bool {
        false
    }

    /// The end was asked for: begin nothing more. True while work is under way whose end [`Stage::idle`] should still
    /// write; the process's deadline holds all the same.
    fn drain(&mut self) -> bool {
        false
    }

    /// Partitions were taken over from another instance of the stage: what is remembered of the state may have been
    /// written by it since, and is to be read again. Between two batches.
    fn others_wrote(&mut self) {}

    /// Whether its tables hold rows that are of no one partition, so that instances write one at a time. Each then hears
    /// [`Stage::turn`] before it writes.
    fn takes_turns(&self) -> bool {
        true
    }

    /// It is this instance's turn: another may have written what is of no one partition.
    fn turn(&mut self) {}

    /// How many bytes a batch should have: larger where a commit is dear.
    fn batch_bytes(&self) -> usize {
        1 << 20
    }

    /// How many bytes of batches that are there already may share a commit; none: each has its own. A commit costs two or
    /// three fsyncs, whatever is in it.
    fn commit_bytes(&self) -> usize {
        0
    }

    /// The exit code when the input has ended and nothing was refused.
    fn exit(&self) -> Exit {
        Exit::Done
    }
}

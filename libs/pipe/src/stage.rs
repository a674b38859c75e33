//! What a stage is: a function from a batch of lines to lines for named outputs, its state in the same transaction.
//!
//! A stage knows neither files nor topics nor processes, so the same stage runs between pipes, on disk topics and,
//! later, joined with others or on Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::LINE_MAX;
use registry::db::{Schema, Tx};

use crate::config::Config;
use crate::output::Output;
use crate::{Exit, Metrics, StageError, Waker};

/// Bytes for one output that are held before they are appended to it, not durable and not recorded yet: what a batch
/// gives has no bound of its own (a short line may carry thousands of rows).
const HELD_MAX: usize = 4 << 20;

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

    /// How many bytes a batch should have: larger where a commit is dear.
    fn batch_bytes(&self) -> usize {
        1 << 20
    }

    /// The exit code when the input has ended and nothing was refused.
    fn exit(&self) -> Exit {
        Exit::Done
    }
}

/// What a batch gave: lines for the outputs and a verdict on each line read.
#[derive(Default)]
pub struct Out {
    pub(crate) outputs: Vec<Output>,
    buffers: Vec<Buffer>,
    failed: Option<StageError>,
    pub(crate) done: u64,
    pub(crate) ignored: BTreeMap<&'static str, u64>,
    pub(crate) refused: BTreeMap<&'static str, u64>,
    pub(crate) complaints: Vec<Complaint>,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// Lines in `bytes`.
    held: u64,
    /// Lines since the last commit.
    lines: u64,
}

/// A refused line.
#[derive(Debug)]
pub(crate) struct Complaint {
    pub(crate) number: u64,
    pub(crate) reason: &'static str,
    pub(crate) text: String,
    pub(crate) line: Vec<u8>,
}

/// A line for an output is longer than a line may be; it was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl Out {
    pub(crate) fn new(outputs: Vec<Output>) -> Self {
        Self { buffers: outputs.iter().map(|_| Buffer::default()).collect(), outputs, ..Self::default() }
    }

    /// Appends what is held and makes all of it durable.
    pub(crate) fn write(&mut self) -> Result<(), StageError> {
        for index in 0..self.buffers.len() {
            self.hand_on(index)?;
        }
        if let Some(e) = self.failed.take() {
            return Err(e);
        }
        self.outputs.iter_mut().try_for_each(Output::sync)
    }

    fn hand_on(&mut self, index: usize) -> Result<(), StageError> {
        let (Some(buffer), Some(output)) = (self.buffers.get_mut(index), self.outputs.get_mut(index)) else {
            return Ok(());
        };
        output.append(&buffer.bytes, buffer.held)?;
        buffer.bytes.clear();
        buffer.bytes.shrink_to(HELD_MAX);
        buffer.held = 0;
        Ok(())
    }

    /// Lines for an output since the last commit.
    pub(crate) fn lines(&self, output: usize) -> u64 {
        self.buffers.get(output).map_or(0, |b| b.lines)
    }

    pub(crate) fn clear(&mut self) {
        for buffer in &mut self.buffers {
            buffer.lines = 0;
        }
        self.done = 0;
        self.ignored.clear();
        self.refused.clear();
        self.complaints.clear();
    }

    /// A line (without newline) for an output. An output that cannot take it is told of at the commit.
    pub fn line(&mut self, output: usize, bytes: &[u8]) -> Result<(), TooLong> {
        if bytes.len() > LINE_MAX {
            return Err(TooLong);
        }
        let Some(buffer) = self.buffers.get_mut(output) else { return Ok(()) };
        buffer.bytes.extend_from_slice(bytes);
        buffer.bytes.push(b'\n');
        buffer.held += 1;
        buffer.lines += 1;
        if buffer.bytes.len() >= HELD_MAX {
            if self.failed.is_some() {
                // The process ends at the commit; until then nothing more is held.
                buffer.bytes.clear();
            } else if let Err(e) = self.hand_on(output) {
                self.failed = Some(e);
            }
        }
        Ok(())
    }

    /// A line read has given what it had to give.
    pub fn done(&mut self) {
        self.done += 1;
    }

    /// A line read was understood and gives nothing.
    pub fn ignored(&mut self, reason: &'static str) {
        *self.ignored.entry(reason).or_default() += 1;
    }

    /// A line read was not understood: reported, counted, kept in `refused/`.
    pub fn refused(&mut self, line: &Line<'_>, reason: &'static str, text: impl Into<String>) {
        *self.refused.entry(reason).or_default() += 1;
        let (number, text) = (line.number, text.into());
        self.complaints.push(Complaint { number, reason, text, line: line.bytes.to_vec() });
    }

    pub(crate) fn verdicts(&self) -> u64 {
        self.done + self.ignored.values().sum::<u64>() + self.refused.values().sum::<u64>()
    }
}

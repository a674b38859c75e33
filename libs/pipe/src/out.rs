//! What a batch gave: lines for the outputs and a verdict on each line read.

use std::collections::BTreeMap;

use event::LINE_MAX;
use registry::db::Tx;

use crate::chain::Link;
use crate::output::Output;
use crate::{Line, StageError};

/// Bytes for one output that are held before they are appended to it, not durable and not recorded yet, or handed to the
/// next stage: what a batch gives has no bound of its own (a short line may carry thousands of rows).
pub(crate) const HELD_MAX: usize = 4 << 20;

/// What a batch gave.
#[derive(Default)]
pub struct Out {
    pub(crate) outputs: Vec<Output>,
    pub(crate) buffers: Vec<Buffer>,
    failed: Option<StageError>,
    /// Verdicts given in this batch.
    given: usize,
    pub(crate) verdicts: Verdicts,
    pub(crate) complaints: Vec<Complaint>,
    /// What was handed to the later stages of a chain, and what they thought of it.
    pub(crate) later: BTreeMap<&'static str, Later>,
    /// In a chain: who takes the lines of the first output.
    pub(crate) next: Option<Box<Link>>,
}

#[derive(Default)]
pub(crate) struct Buffer {
    pub(crate) bytes: Vec<u8>,
    /// Lines in `bytes`.
    pub(crate) held: u64,
    /// Lines since the last commit.
    pub(crate) lines: u64,
}

/// What became of lines read.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    pub(crate) done: u64,
    pub(crate) ignored: BTreeMap<&'static str, u64>,
    pub(crate) refused: BTreeMap<&'static str, u64>,
}

impl Verdicts {
    /// How many lines they are about.
    pub(crate) fn lines(&self) -> u64 {
        self.done + self.ignored.values().sum::<u64>() + self.refused.values().sum::<u64>()
    }

    pub(crate) fn add(&mut self, more: &Self) {
        self.done += more.done;
        for (all, more) in [(&mut self.ignored, &more.ignored), (&mut self.refused, &more.refused)] {
            for (reason, n) in more {
                *all.entry(reason).or_default() += n;
            }
        }
    }
}

/// Of a later stage of a chain, since the last commit.
#[derive(Debug, Default)]
pub(crate) struct Later {
    /// Lines that the stage before it gave.
    pub(crate) given: u64,
    pub(crate) verdicts: Verdicts,
}

/// A refused line.
#[derive(Debug)]
pub(crate) struct Complaint {
    /// The stage of a chain that refused it.
    pub(crate) stage: Option<&'static str>,
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

    /// Of a stage whose lines go to the next one.
    pub(crate) fn to_next(next: Box<Link>) -> Self {
        Self { buffers: vec![Buffer::default()], next: Some(next), ..Self::default() }
    }

    /// Appends what is held and makes all of it durable.
    pub(crate) fn write(&mut self) -> Result<(), StageError> {
        if let Some(e) = self.failed.take() {
            return Err(e);
        }
        for (buffer, output) in self.buffers.iter_mut().zip(&mut self.outputs) {
            output.append(&buffer.bytes, buffer.held)?;
            buffer.bytes.clear();
            buffer.bytes.shrink_to(HELD_MAX);
            buffer.held = 0;
        }
        sync(&mut self.outputs)
    }

    /// Hands on what is held for brokers, whose clients send it meanwhile; whether there are any.
    pub(crate) fn send_on(&mut self) -> bool {
        let brokers = |(index, output): (usize, &Output)| output.is_kafka().then_some(index);
        let brokers: Vec<usize> = self.outputs.iter().enumerate().filter_map(brokers).collect();
        for index in &brokers {
            if self.failed.is_none() {
                self.failed = self.hand_on(*index).err();
            }
        }
        !brokers.is_empty()
    }

    fn hand_on(&mut self, index: usize) -> Result<(), StageError> {
        let (Some(buffer), Some(output)) = (self.buffers.get_mut(index), self.outputs.get_mut(index)) else {
            return Ok(());
        };
        let lines = std::mem::take(&mut buffer.bytes);
        buffer.bytes = output.lend(lines, std::mem::take(&mut buffer.held))?;
        buffer.bytes.clear();
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
        self.verdicts = Verdicts::default();
        self.later.clear();
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
        match &mut self.next {
            Some(next) => next.hold(self.given, 1),
            None if buffer.bytes.len() < self.outputs.get(output).map_or(HELD_MAX, Output::held_max) => {}
            // The process ends at the commit; until then nothing more is held.
            None if self.failed.is_some() => buffer.bytes.clear(),
            None => self.failed = self.hand_on(output).err(),
        }
        Ok(())
    }

    /// In a chain: lets the next stage work when much is held for it. A stage that makes many lines of one calls it on the
    /// way, so that what is held stays bounded; after each batch the chain does it.
    pub fn relieve(&mut self, state: &mut Tx<'_>) -> Result<(), StageError> {
        let much = self.next.is_some() && self.buffers.first().is_some_and(|buffer| buffer.bytes.len() >= HELD_MAX);
        if much { self.hand_over(state) } else { Ok(()) }
    }

    /// The batch is through: what is held for the next stage goes there.
    pub(crate) fn pass(&mut self, state: &mut Tx<'_>) -> Result<(), StageError> {
        self.given = 0;
        self.hand_over(state)
    }

    fn hand_over(&mut self, state: &mut Tx<'_>) -> Result<(), StageError> {
        let (Some(next), Some(buffer)) = (&mut self.next, self.buffers.first_mut()) else { return Ok(()) };
        if !buffer.bytes.is_empty() {
            next.take(&buffer.bytes, state)?;
            buffer.bytes.clear();
            buffer.bytes.shrink_to(HELD_MAX);
        }
        Ok(())
    }

    /// A line read has given what it had to give.
    pub fn done(&mut self) {
        self.given += 1;
        self.verdicts.done += 1;
    }

    /// A line read was understood and gives nothing.
    pub fn ignored(&mut self, reason: &'static str) {
        self.given += 1;
        *self.verdicts.ignored.entry(reason).or_default() += 1;
    }

    /// A line read was not understood: reported, counted, kept in `refused/`.
    pub fn refused(&mut self, line: &Line<'_>, reason: &'static str, text: impl Into<String>) {
        self.given += 1;
        *self.verdicts.refused.entry(reason).or_default() += 1;
        let (number, text) = (line.number, text.into());
        self.complaints.push(Complaint { stage: None, number, reason, text, line: line.bytes.to_vec() });
    }
}

/// Makes outputs durable, at the same time if there are several: the disk does more at once.
fn sync(outputs: &mut [Output]) -> Result<(), StageError> {
    let mut dirty: Vec<&mut Output> = outputs.iter_mut().filter(|output| output.is_dirty()).collect();
    let Some(last) = dirty.pop() else { return Ok(()) };
    std::thread::scope(|threads| {
        let others: Vec<_> = dirty.into_iter().map(|output| threads.spawn(|| output.sync())).collect();
        let mut done = last.sync();
        for other in others {
            // A thread that panicked has not synced.
            done = done.and(other.join().unwrap_or_else(|_| Err(StageError::state("an output could not be synced"))));
        }
        done
    })
}

//! Inputs of a loop: stdin, a reader of a topic with its position, or what was changed in the registry.

mod changes;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event::received;
use registry::db::{Home, Tx};

use self::changes::Changes;
use crate::config::Place;
use crate::fs::Fs;
use crate::kafka::KafkaInput;
use crate::state::{self, Position};
use crate::stdio::{Block, Stdin};
use crate::topic::{self, CHUNK_MAX, Mark, Start, TopicReader};
use crate::{StageError, Waker};

/// Bytes looked through at a time for the first line that is young enough.
const PASSED_AT_ONCE: usize = 1 << 20;

/// One input.
pub(crate) struct Input {
    /// Its key in `positions`, as in `from`: `-`, `topic:raw`.
    pub(crate) name: String,
    pub(crate) position: Position,
    kind: Kind,
    /// With `--once`: nothing at or beyond this offset is read.
    pub(crate) stop_at: Option<u64>,
}

enum Kind {
    Stdin {
        stdin: Stdin,
        block: Option<Block>,
        taken: usize,
        /// Lines before the block.
        lines: u64,
    },
    /// The chunk is copied out, so that the reader is free to be moved when it stumbles.
    Topic {
        reader: Box<TopicReader>,
        chunk: Vec<u8>,
    },
    Changes {
        changes: Changes,
        chunk: Vec<u8>,
    },
    /// Its positions are its own: one of each partition.
    Kafka(Box<KafkaInput>),
}

/// Who reads a topic of Kafka.
#[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "nothing is read"))]
pub(crate) struct Reader<'a> {
    /// Its group is called after it.
    pub(crate) stage: &'a str,
    /// Which of several instances it is.
    pub(crate) instance: Option<u32>,
    /// Where a partition without a position begins.
    pub(crate) start: Start,
    /// It ends where the partitions end now.
    pub(crate) once: bool,
    /// It keeps its positions. Else it is nobody's member and leaves no trace.
    pub(crate) keeps: bool,
    /// It has the partitions of the same numbers as another input of the stage, see [`KafkaInput::settle`].
    pub(crate) follows: bool,
    /// Rung when there is something to read.
    pub(crate) waker: Waker,
}

/// What an input gave.
pub(crate) enum Read<'a> {
    /// Nothing now.
    Nothing,
    /// Nothing any more.
    End,
    /// Whole lines with their newlines, after lines of stdin that were too long: these one's lengths. The number of the first
    /// of all.
    Lines { bytes: &'a [u8], first: u64, too_long: &'a [usize] },
    /// So many lines were passed over, because they are no longer kept.
    Skipped(u64),
}

impl Input {
    /// Lines that are there already are read `most` bytes at a time; 0: as they come.
    pub(crate) fn stdin(waker: Waker, most: usize) -> Result<Self, StageError> {
        Ok(Self::of(Stdin::open(waker, most).map_err(|e| StageError::state(format!("stdin: {e}")))?))
    }

    pub(crate) fn of(stdin: Stdin) -> Self {
        let kind = Kind::Stdin { stdin, block: None, taken: 0, lines: 0 };
        Self { name: "-".into(), position: Position::default(), kind, stop_at: None }
    }

    /// A reader at its recorded position, or at its start.
    pub(crate) fn topic(
        fs: &Arc<dyn Fs>,
        dir: &Path,
        name: String,
        recorded: Option<Position>,
        start: Start,
    ) -> Result<Self, StageError> {
        let fail = |e: topic::Error| StageError::state(format!("{name}: {e}"));
        let from = recorded.map_or(start, |p| Start::At(p.mark));
        let begun = Instant::now();
        let mut reader = loop {
            match TopicReader::open(fs.clone(), dir, from) {
                // After a power cut the head may be garbage until the topic's writer has put it right.
                Err(topic::Error::NotReady(_)) if begun.elapsed() < crate::state::LOCK_WAIT => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                other => break other.map_err(fail)?,
            }
        };
        if let (None, Start::Age(age)) = (recorded, start) {
            pass_over(&mut reader, fs.now_ms().saturating_sub(age)).map_err(fail)?;
        }
        let position = recorded.unwrap_or_else(|| Position {
            mark: reader.mark(),
            start_line: reader.mark().line,
            ..Position::default()
        });
        Ok(Self { name, position, kind: Kind::Topic { reader: Box::new(reader), chunk: Vec::new() }, stop_at: None })
    }

    /// What was changed in the registry, from the recorded number on.
    pub(crate) fn changes(home: Home, name: String, recorded: Option<Position>) -> Self {
        let kind = Kind::Changes { changes: Changes::new(home), chunk: Vec::new() };
        Self { name, position: recorded.unwrap_or_default(), kind, stop_at: None }
    }

    /// A topic of Kafka.
    pub(crate) fn kafka(place: &Place, input: KafkaInput) -> Self {
        let kind = Kind::Kafka(Box::new(input));
        Self { name: place.to_string(), position: Position::default(), kind, stop_at: None }
    }

    /// As a topic of Kafka.
    pub(crate) fn as_kafka(&mut self) -> Option<&mut KafkaInput> {
        match &mut self.kind {
            Kind::Kafka(kafka) => Some(kafka),
            Kind::Stdin { .. } | Kind::Topic { .. } | Kind::Changes { .. } => None,
        }
    }

    /// What was changed in the registry: goes to where the state says that it stands, for another instance may have read on.
    pub(crate) fn catch_up(&mut self, tx: &mut Tx<'_>) -> Result<(), StageError> {
        if matches!(self.kind, Kind::Changes { .. }) {
            self.position = state::position_within(tx, &self.name)?.unwrap_or_default();
        }
        Ok(())
    }

    /// Writes down where it stands, in the transaction of what came of it.
    pub(crate) fn record(&self, tx: &mut Tx<'_>) -> Result<(), StageError> {
        match &self.kind {
            Kind::Stdin { .. } => Ok(()),
            Kind::Topic { .. } | Kind::Changes { .. } => Ok(state::set_position(tx, &self.name, &self.position)?),
            Kind::Kafka(kafka) if kafka.record(tx)? => Ok(()),
            Kind::Kafka(_) => Err(StageError::unreachable(format!(
                "{}: a partition is read by another instance now; nothing of this batch is committed, and the stage \
                 starts again",
                self.name
            ))),
        }
    }

    /// What was recorded is committed.
    pub(crate) fn committed(&mut self) {
        if let Kind::Kafka(kafka) = &mut self.kind {
            kafka.committed();
        }
    }

    /// Lines before where it stands.
    pub(crate) fn line(&self) -> u64 {
        match &self.kind {
            Kind::Kafka(kafka) => kafka.line(),
            Kind::Stdin { .. } | Kind::Topic { .. } | Kind::Changes { .. } => self.position.mark.line,
        }
    }

    /// With `--once`: what is there now is the end.
    pub(crate) fn stop_at_end(&mut self) -> Result<(), StageError> {
        if let Kind::Changes { changes, .. } = &mut self.kind {
            self.stop_at = Some(changes.last()?);
        }
        if let Kind::Topic { reader, .. } = &mut self.kind {
            let head = reader.head().map_err(|e| StageError::state(format!("{}: {e}", self.name)))?;
            self.stop_at = Some(head.map_or(0, |h| h.end.offset));
        }
        Ok(())
    }

    /// Lines not read yet.
    pub(crate) fn lag(&mut self) -> Option<u64> {
        match &mut self.kind {
            Kind::Topic { reader, .. } => reader.lag().ok().map(|(_, lines)| lines),
            Kind::Kafka(kafka) => kafka.lag(),
            Kind::Stdin { .. } | Kind::Changes { .. } => None,
        }
    }

    /// So many lines were in what was read last. A topic knows.
    pub(crate) fn count(&mut self, taken: u64) {
        if let Kind::Stdin { lines, .. } = &mut self.kind {
            *lines += taken;
        }
    }

    /// The next lines, at most about `max` bytes. The position moves behind them, to be recorded with what they gave.
    pub(crate) fn read(&mut self, max: usize) -> Result<Read<'_>, StageError> {
        match &mut self.kind {
            Kind::Stdin { stdin, block, taken, lines } => {
                if block.as_ref().is_none_or(|b| *taken >= b.lines().len()) {
                    *block = stdin.next(block.take()).map_err(|e| StageError::state(format!("stdin: {e}")))?;
                    *taken = 0;
                }
                let Some(block) = block else {
                    return Ok(if stdin.ended() { Read::End } else { Read::Nothing });
                };
                *taken = block.lines().len().max(1);
                Ok(Read::Lines { bytes: block.lines(), first: *lines + 1, too_long: &block.too_long })
            }
            Kind::Changes { changes, chunk } => {
                let after = self.position.mark.line;
                if self.stop_at.is_some_and(|end| after >= end) {
                    return Ok(Read::End);
                }
                let lines = changes.read(after, self.stop_at.unwrap_or(u64::MAX), chunk)?;
                if lines == 0 {
                    return Ok(Read::Nothing);
                }
                let line = after + lines;
                self.position.mark = Mark { offset: line, line };
                self.position.read += lines;
                Ok(Read::Lines { bytes: chunk, first: after + 1, too_long: &[] })
            }
            Kind::Kafka(kafka) => kafka.read(max),
            Kind::Topic { reader, chunk: buffer } => {
                if self.stop_at.is_some_and(|end| self.position.mark.offset >= end) {
                    return Ok(Read::End);
                }
                let (max, name) =
                    (self.stop_at.map_or(max, |end| bound(max, end - self.position.mark.offset)), &self.name);
                match reader.read(max) {
                    Ok(None) => Ok(Read::Nothing),
                    Ok(Some(chunk)) => {
                        let first = chunk.from.line + 1;
                        self.position.mark = chunk.to;
                        self.position.read += chunk.lines;
                        buffer.clear();
                        buffer.extend_from_slice(chunk.bytes);
                        // A chunk is no longer than a line may be. What is wrong with the next one is told when it is read alone.
                        while max.saturating_sub(buffer.len()) >= CHUNK_MAX
                            && let Ok(Some(chunk)) = reader.read(CHUNK_MAX)
                        {
                            self.position.mark = chunk.to;
                            self.position.read += chunk.lines;
                            buffer.extend_from_slice(chunk.bytes);
                        }
                        Ok(Read::Lines { bytes: buffer, first, too_long: &[] })
                    }
                    Err(topic::Error::NotReady(_) | topic::Error::Beyond { recovered: false, .. }) => Ok(Read::Nothing),
                    Err(topic::Error::Gone { first }) => {
                        let lines = first.line.saturating_sub(self.position.mark.line);
                        tracing::warn!("{name}: {lines} lines were passed over, they are no longer kept");
                        reader.seek(first);
                        self.position.mark = first;
                        self.position.skipped += lines;
                        Ok(Read::Skipped(lines))
                    }
                    Err(topic::Error::CorruptAt { offset, what, .. }) => {
                        let before = reader.mark();
                        reader.skip_line().map_err(|e| StageError::state(format!("{name}: {e}")))?;
                        tracing::error!("{name} at {offset}: {what}; one line was passed over");
                        self.position.mark = reader.mark();
                        let lines = reader.mark().line.saturating_sub(before.line);
                        self.position.skipped += lines;
                        Ok(Read::Skipped(lines))
                    }
                    Err(e) => Err(StageError::state(format!("{name}: {e}"))),
                }
            }
        }
    }
}

/// Passes over lines received earlier: a reader begins at a segment, which begins with older ones.
fn pass_over(reader: &mut TopicReader, since_ms: i64) -> Result<(), topic::Error> {
    let mut at = reader.mark();
    while let Some(chunk) = reader.read(PASSED_AT_ONCE)? {
        let mut young = false;
        for line in chunk.bytes.split_inclusive(|b| *b == b'\n') {
            young = received(line).is_none_or(|t| t.ms() >= since_ms);
            if young {
                break;
            }
            at = Mark { offset: at.offset + line.len() as u64, line: at.line + 1 };
        }
        if young {
            reader.seek(at);
            break;
        }
    }
    Ok(())
}

fn bound(max: usize, left: u64) -> usize {
    usize::try_from(left).map_or(max, |left| max.min(left))
}

/// The words of `start`: `first`, `last`, an age such as `7d`.
pub fn parse_start(text: &str) -> Option<Start> {
    match text {
        "first" => Some(Start::First),
        "last" => Some(Start::Last),
        age => {
            let age = crate::config::parse_duration(age)?;
            Some(Start::Age(i64::try_from(age.as_millis()).ok()?))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]
mod tests {
    use event::{Time, json};

    use super::*;
    use crate::fs::RealFs;
    use crate::topic::{Kept, Options, TopicWriter};

    #[test]
    fn a_start_by_age_begins_at_the_first_young_line() {
        let dir = tempfile::tempdir().unwrap();
        let fs = RealFs::shared();
        let mut writer = TopicWriter::open(fs.clone(), dir.path(), Kept::WholeLines, Options::default()).unwrap();
        for minutes in [90, 61, 30, 45, 1] {
            let received = Time::from_ms(fs.now_ms() - minutes * 60_000);
            writer.append(format!("{{\"received\":\"{received}\",\"n\":{minutes}}}\n").as_bytes(), 1).unwrap();
        }
        writer.sync().unwrap();
        writer.publish().unwrap();
        for (age, want) in [("1h", Some(30)), ("40m", Some(30)), ("2h", Some(90)), ("10s", None)] {
            let start = parse_start(age).unwrap();
            let mut input = Input::topic(&fs, dir.path(), "topic:x".into(), None, start).unwrap();
            let before = input.position.start_line;
            match input.read(1 << 20).unwrap() {
                Read::Lines { bytes, first, .. } => {
                    let n = json::get(bytes.split(|b| *b == b'\n').next().unwrap(), "n").unwrap();
                    assert_eq!(want, std::str::from_utf8(n).unwrap().parse().ok(), "{age}");
                    assert_eq!(first, before + 1);
                }
                _ => assert_eq!(want, None, "{age}"),
            }
        }
    }
}

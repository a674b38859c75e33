//! The two sums (design § 9). Topic: lines written = lines before the reader's start + read + skipped + lag. Stage: lines
//! in = done + ignored + refused.

mod kafka;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pipe::StageError;
use pipe::config::{Config, Lag, StageConf, StageKind};
use pipe::fs::{Fs, RealFs};
use pipe::metrics::joined;
use pipe::state;
use pipe::topic::{self, Error, Head, Mark, Room, Start, TopicReader};
use registry::db::{Db, Home, has_schema};
use serde::Serialize;

/// A lag of at most so many bytes is counted line by line, a longer one taken from the line numbers.
const COUNT_MAX: u64 = 256 << 20;
/// How often a picture is taken again that does not fit together: all of it moves while we look.
const TRIES: usize = 5;
/// Bytes of a topic read at a time.
const READ_BYTES: usize = 1 << 20;
/// The pause between two pictures.
const PAUSE: Duration = Duration::from_millis(50);

/// A topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TopicSum {
    /// Its name.
    pub topic: String,
    /// Lines ever written; none: its brokers do not tell.
    pub written: Option<u64>,
    /// Bytes ever written.
    pub bytes: u64,
    /// Lines before the first one kept; none: its brokers do not tell.
    pub gone: Option<u64>,
    /// Bytes on disk.
    pub disk: u64,
    /// Bytes at which it is full.
    pub limit: u64,
    /// It takes nothing more.
    pub full: bool,
    /// The reader that is furthest behind: nothing that it has not read goes.
    pub held_by: Option<String>,
    /// Its readers, where it is known what there is to read.
    pub readers: Vec<ReaderSum>,
    /// Why what its writer says was written is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A reader of a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReaderSum {
    /// The stage.
    pub reader: String,
    /// Lines before its start.
    pub start: u64,
    /// Lines it has read.
    pub read: u64,
    /// Lines it has passed over.
    pub skipped: u64,
    /// Lines it has not read.
    pub lag: u64,
    /// Bytes it has not read.
    pub lag_bytes: u64,
    /// The sum holds.
    pub ok: bool,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A stage with input, or one of several that are joined.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StageSum {
    /// Its name; of the later ones of joined stages `NAME: KIND`, whose lines in are those that the one before gave.
    pub stage: String,
    /// Lines in.
    #[serde(rename = "in")]
    pub taken: u64,
    /// Lines that gave what they had to give.
    pub done: u64,
    /// Lines that give nothing, by reason.
    pub ignored: BTreeMap<String, u64>,
    /// Lines that were not understood, by reason.
    pub refused: BTreeMap<String, u64>,
    /// The sum holds.
    pub ok: bool,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// Topics, in the order of their writers.
    pub topics: Vec<TopicSum>,
    /// Stages with input, in the order of the file; of joined stages each has its own.
    pub stages: Vec<StageSum>,
    /// Why the brokers of Kafka tell nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brokers: Option<String>,
}

impl Sums {
    /// Whether every sum holds.
    pub fn ok(&self) -> bool {
        self.brokers.is_none()
            && self.topics.iter().all(|t| t.why.is_none() && t.readers.iter().all(|r| r.ok))
            && self.stages.iter().all(|s| s.ok)
    }

    /// Lines that no reader has read yet.
    pub fn lag(&self) -> u64 {
        self.topics.iter().flat_map(|t| &t.readers).map(|r| r.lag).sum()
    }

    /// Lines that were refused.
    pub fn refused(&self) -> u64 {
        self.stages.iter().flat_map(|s| s.refused.values()).sum()
    }

    /// What is off, for people.
    pub fn off(&self) -> Vec<String> {
        let readers = self.topics.iter().flat_map(|t| t.readers.iter().map(move |r| (t, r)));
        let readers =
            readers.filter_map(|(t, r)| Some(format!("topic {}, reader {}: {}", t.topic, r.reader, r.why.as_ref()?)));
        let stages = self.stages.iter().filter_map(|s| Some(format!("stage {}: {}", s.stage, s.why.as_ref()?)));
        let topics = self.topics.iter().filter_map(|t| Some(format!("topic {}: {}", t.topic, t.why.as_ref()?)));
        self.brokers.iter().cloned().chain(topics).chain(readers).chain(stages).collect()
    }
}

/// Takes both sums of the pipeline, whether it runs or not. Reads only.
pub fn sums(config: &Config) -> Result<Sums, StageError> {
    let fs = RealFs::shared();
    let mut sums = Sums::default();
    for writer in &config.stages {
        for place in writer.outputs() {
            if let Some(name) = place.topic() {
                sums.topics.push(topic_sum(&fs, config, writer, name)?);
            }
            if let Some(name) = place.kafka() {
                sums.topics.push(kafka::sum(config, Some(writer), name, &mut sums.brokers)?);
            }
        }
    }
    sums.topics.extend(kafka::foreign(config, &mut sums.brokers)?);
    for stage in config.stages.iter().filter(|s| !s.runs(StageKind::Receive)) {
        let mut all = stage_sums(config, stage)?;
        for _ in 1..TRIES {
            if all.iter().all(|sum| sum.ok) {
                break;
            }
            std::thread::sleep(PAUSE);
            all = stage_sums(config, stage)?;
        }
        sums.stages.append(&mut all);
    }
    Ok(sums)
}

fn topic_sum(fs: &Arc<dyn Fs>, config: &Config, writer: &StageConf, name: &str) -> Result<TopicSum, StageError> {
    let fail = |e: Error| StageError::state(format!("topic:{name}: {e}"));
    let (dir, conf) = (config.topic_dir(name), config.topics.of(name));
    let mut readers = Vec::new();
    for reader in config.readers(name) {
        let mut sum = reader_sum(fs, config, reader, name)?;
        for _ in 1..TRIES {
            if sum.1.ok {
                break;
            }
            std::thread::sleep(PAUSE);
            sum = reader_sum(fs, config, reader, name)?;
        }
        readers.push(sum);
    }
    let head = TopicReader::open(fs.clone(), &dir, Start::At(Mark::START)).and_then(|mut r| Ok(r.head()?.cloned()));
    let head = head.map_err(fail)?;
    let head = head.unwrap_or(Head { end: Mark::START, first: Mark::START, writer: String::new() });
    let disk = topic::topic_bytes(&**fs, &dir).map_err(fail)?;
    let room = Room {
        bytes: disk,
        limit: conf.limit,
        free: fs.free_space(if dir.exists() { &dir } else { &config.data }).unwrap_or(u64::MAX),
        reserve: conf.reserve,
    };
    Ok(TopicSum {
        topic: name.to_owned(),
        written: Some(head.end.line),
        bytes: head.end.offset,
        gone: Some(head.first.line),
        disk,
        limit: conf.limit,
        full: !room.allows(writer.class()),
        held_by: readers.iter().min_by_key(|(at, _)| *at).map(|(_, r)| r.reader.clone()),
        readers: readers.into_iter().map(|(_, r)| r).collect(),
        why: None,
    })
}

/// The sum of one reader, and the offset that it holds. The position is looked at before the head, so the head can only
/// be further on, and what lies between does not change.
fn reader_sum(
    fs: &Arc<dyn Fs>,
    config: &Config,
    stage: &StageConf,
    name: &str,
) -> Result<(u64, ReaderSum), StageError> {
    let reader = stage.name.clone();
    let position = db(&config.state(stage))?.map_or(Ok(None), |db| state::position(&db, &format!("topic:{name}")))?;
    let recorded = position.is_some();
    let position = position.unwrap_or_default();
    let mut sum = ReaderSum {
        reader,
        start: position.start_line,
        read: position.read,
        skipped: position.skipped,
        ..ReaderSum::default()
    };
    let off = |mut sum: ReaderSum, why: String| {
        sum.why = Some(why);
        Ok((position.mark.offset, sum))
    };
    let mut topic = match TopicReader::open(fs.clone(), &config.topic_dir(name), Start::At(position.mark)) {
        Ok(topic) => topic,
        Err(e) => return off(sum, e.to_string()),
    };
    let head = match topic.head() {
        Ok(Some(head)) => head.clone(),
        Ok(None) if position.mark == Mark::START => {
            sum.ok = true;
            return Ok((0, sum));
        }
        Ok(None) => return off(sum, "the topic has no readable head".into()),
        Err(e) => return off(sum, e.to_string()),
    };
    if !recorded {
        // It begins at the first line kept, or where `up` will record it.
        topic.seek(head.first);
        sum.start = head.first.line;
    } else if position.mark.offset < head.first.offset {
        let lost = head.first.line.saturating_sub(position.mark.line);
        if stage.lag == Lag::Block {
            return off(sum, format!("{lost} lines that it has not read are no longer kept"));
        }
        // It will pass over them as soon as it looks.
        sum.skipped += lost;
        topic.seek(head.first);
    }
    let from = topic.mark();
    if from.offset > head.end.offset {
        return off(sum, format!("its position {} lies beyond the end {}", from.offset, head.end.offset));
    }
    sum.lag_bytes = head.end.offset - from.offset;
    sum.lag = match lag(&mut topic, from, head.end) {
        Ok(lines) => lines,
        Err(e) => return off(sum, e.to_string()),
    };
    let known = sum.start + sum.read + sum.skipped + sum.lag;
    sum.ok = known == head.end.line;
    if !sum.ok {
        let (written, ReaderSum { start, read, skipped, lag, .. }) = (head.end.line, &sum);
        sum.why =
            Some(format!("{written} written, but {start} before it + {read} read + {skipped} skipped + {lag} lag"));
    }
    Ok((from.offset, sum))
}

/// Lines between two marks, counted where that is not too dear.
fn lag(topic: &mut TopicReader, from: Mark, to: Mark) -> Result<u64, Error> {
    if to.offset - from.offset > COUNT_MAX {
        return Ok(to.line.saturating_sub(from.line));
    }
    let mut lines = 0;
    while topic.mark().offset < to.offset {
        let left = usize::try_from(to.offset - topic.mark().offset).unwrap_or(usize::MAX);
        match topic.read(left.min(READ_BYTES)) {
            Ok(Some(chunk)) => lines += chunk.lines,
            Ok(None) => break,
            Err(Error::CorruptAt { .. }) => {
                // What the reader itself does at such a place.
                if topic.skip_line()? == 0 {
                    break;
                }
                lines += 1;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(lines)
}

fn stage_sums(config: &Config, stage: &StageConf) -> Result<Vec<StageSum>, StageError> {
    let sum = |stage: String| StageSum { stage, ok: true, ..StageSum::default() };
    let later = stage.kinds.iter().skip(1).map(|kind| sum(joined(&stage.name, kind.word())));
    let mut sums: Vec<StageSum> = std::iter::once(sum(stage.name.clone())).chain(later).collect();
    let Some(db) = db(&config.state(stage))? else { return Ok(sums) };
    let before = db.version()?;
    // Of the later ones of joined stages: lines that the one before gave. What they read has no position.
    let mut given = vec![0; sums.len()];
    for (name, reason, n) in state::counters(&db)? {
        let (kind, name) = name.split_once('/').unwrap_or(("", &name));
        let place = if kind.is_empty() { Some(0) } else { stage.kinds.iter().position(|k| k.word() == kind) };
        let Some((sum, given)) = place.and_then(|at| sums.get_mut(at).zip(given.get_mut(at))) else { continue };
        match name {
            "given" => *given = n,
            "in" => sum.taken = n,
            "done" => sum.done = n,
            "ignored" => _ = sum.ignored.insert(reason, n),
            "refused" => _ = sum.refused.insert(reason, n),
            _ => {}
        }
    }
    // The counters come from one look; positions from another, so they count only if nothing moved between.
    let mut read = Some(0);
    for row in db.query("SELECT read_lines FROM positions", &[])? {
        read = read.map(|sum| sum + row.uint(0));
    }
    // Nor has what a program prints, which nobody but the stage counts.
    let read = read.filter(|_| !stage.runs(StageKind::Foreign) && db.version().is_ok_and(|after| after == before));
    for (place, (sum, given)) in sums.iter_mut().zip(given).enumerate() {
        let verdicts = sum.done + sum.ignored.values().sum::<u64>() + sum.refused.values().sum::<u64>();
        if sum.taken != verdicts {
            sum.why = Some(format!("{} lines in, {verdicts} verdicts", sum.taken));
        } else if place > 0 && given != sum.taken {
            sum.why = Some(format!("{given} lines given to it, {} counted", sum.taken));
        } else if let Some(read) = read.filter(|read| place == 0 && *read != sum.taken) {
            sum.why = Some(format!("{read} lines read, {} counted", sum.taken));
        }
        sum.ok = sum.why.is_none();
    }
    Ok(sums)
}

/// A state file to look at; none if there is none yet, or if nothing of the loop is in it.
pub(super) fn db(home: &Home) -> Result<Option<Db>, StageError> {
    let fail = |e| StageError::of(home, e);
    let Some(db) = Db::open_read_only(home).map_err(fail)? else { return Ok(None) };
    Ok(has_schema(&db, &state::SCHEMA).map_err(fail)?.then_some(db))
}

/// The position of a stage in a topic, for tests.
#[cfg(test)]
pub(super) fn put_position(
    file: &std::path::Path,
    topic: &str,
    position: &state::Position,
    counters: &[(&str, &str, u64)],
) {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    let mut db = Db::open(file, &[state::SCHEMA]).unwrap();
    let mut tx = db.begin().unwrap();
    state::set_position(&mut tx, &format!("topic:{topic}"), position).unwrap();
    for (name, reason, n) in counters {
        state::count(&mut tx, name, reason, *n).unwrap();
    }
    tx.commit().unwrap();
}

#[cfg(test)]
mod tests;

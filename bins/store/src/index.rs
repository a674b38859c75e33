//! The embedded index, written: a Tantivy index per UTC day of `time`, upserts by id, retention by deleting days.

pub mod day;
pub(crate) mod document;
pub(crate) mod forget;
mod known;
pub(crate) mod scan;
pub mod schema;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use event::{Time, json};
use tantivy::directory::error::LockError;
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::{IndexWriter, TantivyError, Term};

use day::{DAY_MS, Day};
use document::{Builder, Names};
pub use document::{Head, KEYS_MAX, NAMES_MAX, VALUE_MAX, id_order};
pub use forget::Gone;
use known::Known;
use schema::{COLUMNS, SCHEMA};

use crate::query::Query;
use crate::search::compile::compile;

/// Days open for writing at once; the one that was not written for longest is closed for another.
const DAYS_OPEN: usize = 3;
/// Bytes of events in memory before a day's writer flushes them to disk; the least that Tantivy takes.
const HEAP: usize = 15_000_000;
/// Parts of an index of about one size that are merged into one.
const MERGE_PARTS: usize = 8;
/// Parts with fewer events count as one size, so that small batches do not pile up.
const MERGE_SMALL: u32 = 1000;
/// Events in a part beyond which it is never merged again: bounds how long one merge takes, and the memory that it
/// takes (one of two million events took two gigabytes).
const MERGE_MAX: usize = 200_000;
/// How far ahead of now an event may lie.
const FUTURE: Duration = Duration::from_secs(86_400);

/// What became of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the index, in place of an older one with its id.
    Stored,
    /// Its day is past retention.
    TooOld,
    /// Its time is more than a day ahead.
    TooNew,
    /// It is no event.
    Bad(String),
    /// Where events are kept it is not taken, and never will be: why.
    NotTaken(String),
}

/// Why nothing can be stored now.
#[derive(Debug)]
pub enum IndexError {
    /// Another process writes this index.
    Locked(PathBuf),
    /// The disk, or a bound of the system: where and why.
    Io(PathBuf, String),
}

impl std::fmt::Display for IndexError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Locked(path) => write!(f, "{}: another process writes this index", path.display()),
            Self::Io(path, why) => write!(f, "{}: {why}", path.display()),
        }
    }
}

impl std::error::Error for IndexError {}

/// The index under one folder, for its one writer.
pub struct Index {
    dir: PathBuf,
    keep: Duration,
    /// Most recently written last.
    open: Vec<DayWriter>,
    builder: Builder,
}

struct DayWriter {
    day: Day,
    writer: IndexWriter,
    names: Names,
    /// It was said that there is no room for more names.
    told: bool,
    known: Known,
}

impl Index {
    /// The index under `dir`, which is made when the first event comes; days older than `keep` are not kept.
    pub fn new(dir: impl Into<PathBuf>, keep: Duration) -> Self {
        Self { dir: dir.into(), keep, open: Vec::new(), builder: Builder::default() }
    }

    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Changes how long days are kept.
    pub fn keep(&mut self, keep: Duration) {
        self.keep = keep;
    }

    /// Stores a batch, durably: when it returns, every line with [`Verdict::Stored`] survives a crash.
    ///
    /// The same batch again changes nothing. A day whose files are damaged is moved aside and begun anew.
    pub fn store(&mut self, lines: &[&[u8]], now: Time) -> Result<Vec<Verdict>, IndexError> {
        let mut verdicts = Vec::with_capacity(lines.len());
        let mut days: BTreeMap<Day, Vec<(Head, Cow<'_, [u8]>)>> = BTreeMap::new();
        for line in lines {
            verdicts.push(match judge(line, self.oldest(now), now) {
                Ok((head, text)) => {
                    days.entry(Day::of(head.time)).or_default().push((head, text));
                    Verdict::Stored
                }
                Err(verdict) => verdict,
            });
        }
        for (day, events) in days {
            self.store_day(day, &events, now)?;
        }
        Ok(verdicts)
    }

    /// Deletes the days that are past retention; which they were.
    pub fn expire(&mut self, now: Time) -> Result<Vec<Day>, IndexError> {
        let oldest = self.oldest(now);
        self.open.retain(|d| d.day.end() > oldest);
        day::delete_before(&self.dir, oldest).map_err(|e| IndexError::Io(self.dir.clone(), e.to_string()))
    }

    fn oldest(&self, now: Time) -> i64 {
        oldest(self.keep, now)
    }

    fn store_day(&mut self, day: Day, events: &[(Head, Cow<'_, [u8]>)], now: Time) -> Result<(), IndexError> {
        let path = day.path(&self.dir);
        let Err(first) = self.try_day(day, events) else { return Ok(()) };
        self.open.retain(|d| d.day != day);
        if matches!(first, TantivyError::LockFailure(LockError::LockBusy, _)) {
            return Err(IndexError::Locked(path));
        }
        if !day::is_damage(&first) && !has_damaged_files(&self.dir, day) {
            return Err(IndexError::Io(path, first.to_string()));
        }
        let aside = day::set_aside(&self.dir, day, now).map_err(|e| IndexError::Io(path.clone(), e.to_string()))?;
        tracing::error!("{}: damaged ({first}); moved to {} and begun anew", path.display(), aside.display());
        self.try_day(day, events).map_err(|e| IndexError::Io(path, e.to_string()))
    }

    /// Deletes what is about these machines and was received until they were forgotten, durably. A day whose files are damaged is passed over: nothing in it is found,
    /// and the next event of it moves it aside.
    pub fn forget(&mut self, gone: &[Gone]) -> Result<(), IndexError> {
        let Some(query) = forget::query(gone) else { return Ok(()) };
        let days = day::list(&self.dir).map_err(|e| IndexError::Io(self.dir.clone(), e.to_string()))?;
        for day in days {
            let path = day.path(&self.dir);
            let held = catch(|| forget::holds(&day::open(&self.dir, day)?, &query));
            let gone =
                held.and_then(|held| if held { self.with_day(day, |writer, _| writer.delete(&query)) } else { Ok(()) });
            match gone {
                Ok(()) => {}
                Err(TantivyError::LockFailure(LockError::LockBusy, _)) => return Err(IndexError::Locked(path)),
                Err(e) if day::is_damage(&e) || has_damaged_files(&self.dir, day) => {
                    tracing::error!("{}: damaged ({e}); no machine can be forgotten in it", path.display());
                }
                Err(e) => return Err(IndexError::Io(path, e.to_string())),
            }
        }
        Ok(())
    }

    fn try_day(&mut self, day: Day, events: &[(Head, Cow<'_, [u8]>)]) -> tantivy::Result<()> {
        self.with_day(day, |writer, builder| writer.store(builder, events))
    }

    fn with_day(
        &mut self,
        day: Day,
        work: impl FnOnce(&mut DayWriter, &mut Builder) -> tantivy::Result<()>,
    ) -> tantivy::Result<()> {
        let at = match self.open.iter().position(|d| d.day == day) {
            Some(at) => at,
            None => {
                while self.open.len() >= DAYS_OPEN {
                    self.open.remove(0).close();
                }
                let opened = catch(|| DayWriter::open(&self.dir, day))?;
                self.open.push(opened);
                self.open.len() - 1
            }
        };
        let mut writer = self.open.remove(at);
        // A writer that failed is not put back: what it had not committed goes with it.
        work(&mut writer, &mut self.builder)?;
        self.open.push(writer);
        Ok(())
    }
}

/// Days that end at or before this moment are past retention.
pub(crate) fn oldest(keep: Duration, now: Time) -> i64 {
    now.ms().saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX))
}

/// What a store must know of a line, whose canonical form is appended to `text`; or why it is not stored.
pub(crate) fn judge(line: &[u8], oldest: i64, now: Time) -> Result<(Head, Cow<'_, [u8]>), Verdict> {
    if line.len() > event::LINE_MAX {
        return Err(Verdict::Bad(format!("line of {} bytes", line.len())));
    }
    let text = match json::is_canonical(line) {
        true => Cow::Borrowed(line),
        false => {
            let mut text = Vec::with_capacity(line.len());
            json::canonical(line, &mut text).map_err(|e| Verdict::Bad(e.to_string()))?;
            Cow::Owned(text)
        }
    };
    let head = Head::read(&text).map_err(Verdict::Bad)?;
    if Day::of(head.time).end() <= oldest {
        return Err(Verdict::TooOld);
    }
    let future = i64::try_from(FUTURE.as_millis()).unwrap_or(DAY_MS);
    if head.time.ms() > now.ms().saturating_add(future) {
        return Err(Verdict::TooNew);
    }
    Ok((head, text))
}

impl DayWriter {
    fn open(dir: &Path, day: Day) -> tantivy::Result<Self> {
        let index = day::open(dir, day)?;
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(HEAP)
            .build();
        let writer: IndexWriter = index.writer_with_options(options)?;
        let mut merge = LogMergePolicy::default();
        merge.set_min_num_segments(MERGE_PARTS);
        merge.set_min_layer_size(MERGE_SMALL);
        merge.set_max_docs_before_merge(MERGE_MAX);
        writer.set_merge_policy(Box::new(merge));
        // A deletion with the stamp of the last commit is passed over by a merge that begins before the next commit, and
        // that stamp would be the first one.
        writer.run(Vec::new())?;
        // Files of a commit that was cut off have names that the next one wants.
        writer.garbage_collect_files().wait()?;
        let mut names = Names::default();
        for field in index.fields_metadata()? {
            if let Some(name) = field.field_name.strip_prefix(COLUMNS).and_then(|n| n.strip_prefix('.')) {
                names.number(name);
            }
        }
        Ok(Self { day, writer, names, told: false, known: known_ids(&index)? })
    }

    fn store(&mut self, builder: &mut Builder, events: &[(Head, Cow<'_, [u8]>)]) -> tantivy::Result<()> {
        let fields = &SCHEMA.1;
        for (head, line) in events {
            if self.known.add(id_order(&head.id)) {
                self.writer.delete_term(Term::from_field_text(fields.id, &head.id));
            }
            self.writer.add_document(builder.document(fields, &mut self.names, head, line))?;
        }
        if self.names.full && !self.told {
            self.told = true;
            tracing::warn!(
                "{}: more than {NAMES_MAX} names of fields (or {KEYS_MAX} of the envelope); values of any more are found \
                 by bare words only",
                self.day
            );
        }
        self.writer.commit()?;
        Ok(())
    }

    fn delete(&mut self, query: &Query) -> tantivy::Result<()> {
        self.writer.delete_query(compile(query, &SCHEMA.1))?;
        self.writer.commit()?;
        Ok(())
    }

    /// Waits for merges under way: a day that is opened for a few late events at a time would otherwise never be
    /// merged.
    fn close(self) {
        let day = self.day;
        if let Err(e) = self.writer.wait_merging_threads() {
            tracing::warn!("{day}: merging its index: {e}");
        }
    }
}

/// The ids that an index holds already.
fn known_ids(index: &tantivy::Index) -> tantivy::Result<Known> {
    let mut known = Known::default();
    let reader = index.reader_builder().reload_policy(tantivy::ReloadPolicy::Manual).try_into()?;
    for segment in reader.searcher().segment_readers() {
        let (hi, lo) = (segment.fast_fields().u64("hi")?, segment.fast_fields().u64("lo")?);
        for doc in 0..segment.max_doc() {
            known.add((hi.first(doc).unwrap_or(0), lo.first(doc).unwrap_or(0)));
        }
    }
    Ok(known)
}

/// After an error that may be the disk's or the files': reads every file of the day against its checksum.
fn has_damaged_files(dir: &Path, day: Day) -> bool {
    catch(|| tantivy::Index::open_in_dir(day.path(dir))?.validate_checksum()).map_or_else(
        |e| day::is_damage(&e) || matches!(e, TantivyError::InternalError(_)),
        |damaged| !damaged.is_empty(),
    )
}

/// Tantivy panics on some damaged files; here that is one more error.
fn catch<T>(work: impl FnOnce() -> tantivy::Result<T>) -> tantivy::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(TantivyError::InternalError(text.unwrap_or("panic").to_owned()))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;

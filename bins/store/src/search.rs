//! The embedded index, searched: newest first, page by page, counted by field or over time.
//!
//! Nothing here writes, so any process may search while another stores. Days are asked newest first and only as far
//! as the answer needs them.

pub(crate) mod column;
pub(crate) mod compile;
pub(crate) mod count;
mod cursor;
mod reader;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use event::Time;
use tantivy::query::{BooleanQuery, EnableScoring, Query as Run};
use tantivy::schema::{IndexRecordOption, TantivyDocument, Value as _};
use tantivy::{DocAddress, DocSet, Searcher, SegmentReader, TERMINATED, TantivyError, Term};

use crate::index::day::Day;
use crate::index::id_order;
use crate::index::schema::Fields;
use crate::query::Query;
pub use count::{BUCKETS_MAX, Buckets, VALUES_MAX, Values};
pub use cursor::{Cursor, Place};

/// Events on one page at most.
pub const PAGE_MAX: usize = 10_000;
/// Bytes of events on one page; one more event may reach over it.
pub const PAGE_BYTES: usize = 32 << 20;
/// Events looked at between two looks at the clock.
const CLOCK_EVERY: usize = 4096;

/// What is searched.
#[derive(Debug, Clone)]
pub struct Scope {
    /// What the events must be.
    pub query: Query,
    /// Not before this time.
    pub since: Option<Time>,
    /// Not after this time.
    pub until: Option<Time>,
    /// When to give up.
    pub deadline: Option<Instant>,
}

/// A page of events, newest first.
#[derive(Debug, Default)]
pub struct Page {
    /// Lines as they were stored.
    pub events: Vec<Vec<u8>>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
    /// Days that could not be read.
    pub skipped: Vec<Skipped>,
}

/// A day that could not be read; the answer is what the others gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Which one: `2026-11-21`, or the name of an index.
    pub day: String,
    /// Why.
    pub why: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchError {
    /// The question asks for too much: how to ask for less.
    TooMuch(String),
    /// It was not done in time.
    Deadline,
    /// The folder cannot be read, or the cluster not be asked.
    Io(String),
}

impl std::fmt::Display for SearchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooMuch(what) | Self::Io(what) => f.write_str(what),
            Self::Deadline => f.write_str("the search took too long; narrow it by time or by field"),
        }
    }
}

impl std::error::Error for SearchError {}

/// What finds events, wherever they are kept: the same questions get the same answers.
pub trait Finder: Send + Sync {
    /// At most `n` events (and [`PAGE_MAX`]) after `after`, newest first.
    fn page(&self, scope: &Scope, n: usize, after: Option<Cursor>) -> Result<Page, SearchError>;

    /// How many events match, and the days that could not be read.
    fn count(&self, scope: &Scope) -> Result<(u64, Vec<Skipped>), SearchError>;

    /// The line of one event.
    fn event(&self, id: &str) -> Result<Option<Vec<u8>>, SearchError>;

    /// Counts by the values of `field`.
    fn count_by(&self, scope: &Scope, field: &str) -> Result<Values, SearchError>;

    /// Counts by steps of time, which begin at whole multiples of `step` since 1970.
    fn every(&self, scope: &Scope, step: Duration) -> Result<Buckets, SearchError>;
}

/// The index under one folder, for any number of readers.
pub struct Search {
    dir: PathBuf,
    days: reader::Days,
}

impl Search {
    /// The index under `dir`; nothing is opened before it is asked for.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self { days: reader::Days::new(&dir), dir }
    }

    fn list(&self) -> Result<Vec<Day>, SearchError> {
        self.days.list().map_err(|e| SearchError::Io(format!("{}: {e}", self.dir.display())))
    }

    /// Asks the days of `scope`, newest first, until `ask` says false.
    fn each_day(
        &self,
        scope: &Scope,
        newest: Option<Day>,
        skipped: &mut Vec<Skipped>,
        ask: impl FnMut(&Part) -> Result<bool, Stop>,
    ) -> Result<(), SearchError> {
        let inside = |day: &Day| {
            newest.is_none_or(|n| *day <= n)
                && scope.until.is_none_or(|t| day.start() <= t.ms())
                && scope.since.is_none_or(|t| day.end() > t.ms())
        };
        let days = self.list()?.into_iter().filter(inside).collect();
        self.ask_days(scope, days, skipped, ask)
    }

    fn ask_days(
        &self,
        scope: &Scope,
        days: Vec<Day>,
        skipped: &mut Vec<Skipped>,
        mut ask: impl FnMut(&Part) -> Result<bool, Stop>,
    ) -> Result<(), SearchError> {
        for day in days {
            // Tantivy panics on some damaged files: that day is skipped, the others answer.
            let answer = catch_unwind(AssertUnwindSafe(|| match self.days.get(day)? {
                None => Ok(true),
                Some((searcher, fields)) => ask(&Part::new(day, searcher, fields, scope)),
            }));
            match answer {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Ok(()),
                Ok(Err(Stop::Deadline)) => return Err(SearchError::Deadline),
                Ok(Err(Stop::TooMuch(what))) => return Err(SearchError::TooMuch(what)),
                Ok(Err(Stop::Tantivy(TantivyError::InvalidArgument(why)))) if why.contains("max expansions") => {
                    return Err(SearchError::TooMuch("too many words match `*`: write more letters".into()));
                }
                Ok(Err(Stop::Tantivy(error))) => skip(skipped, day, error.to_string()),
                Err(_) => skip(skipped, day, "its files are damaged".into()),
            }
        }
        Ok(())
    }
}

impl Finder for Search {
    fn page(&self, scope: &Scope, n: usize, after: Option<Cursor>) -> Result<Page, SearchError> {
        let n = n.min(PAGE_MAX);
        let mut page = Page::default();
        let (mut bytes, mut last) = (0, None);
        let newest = after.map(|c| Day::of(c.time()));
        self.each_day(scope, newest, &mut page.skipped, |part| {
            let missing = n - page.events.len();
            // One more than wanted tells whether there is a next page.
            let found = part.newest(missing + 1, after.map(|c| c.0))?;
            for (place, address) in found {
                if page.events.len() == n || bytes >= PAGE_BYTES {
                    page.next = last.map(Cursor);
                    return Ok(false);
                }
                let line = part.line(address)?;
                bytes += line.len();
                page.events.push(line);
                last = Some(place);
            }
            Ok(true)
        })?;
        Ok(page)
    }

    fn count(&self, scope: &Scope) -> Result<(u64, Vec<Skipped>), SearchError> {
        let (mut total, mut skipped) = (0, Vec::new());
        self.each_day(scope, None, &mut skipped, |part| {
            let mut n = 0;
            part.each(|_, _| {
                n += 1;
                Ok(())
            })?;
            total += n;
            Ok(true)
        })?;
        Ok((total, skipped))
    }

    fn event(&self, id: &str) -> Result<Option<Vec<u8>>, SearchError> {
        let scope = Scope {
            query: Query::Match { field: Some("id".into()), text: id.into() },
            since: None,
            until: None,
            deadline: None,
        };
        // The id of an event begins with its time, which mostly is the time of its day as well.
        let ms = i64::try_from(id_order(id).0 >> 16).unwrap_or(i64::MAX);
        let likely = Day::of(Time::from_ms(ms));
        let mut days = self.list()?;
        days.sort_by_key(|day| *day != likely);
        let (mut line, mut skipped) = (None, Vec::new());
        self.ask_days(&scope, days, &mut skipped, |part| {
            let term = Term::from_field_text(part.fields.id, id);
            for (ord, segment) in part.searcher.segment_readers().iter().enumerate() {
                let inverted = segment.inverted_index(part.fields.id)?;
                let Some(mut docs) = inverted.read_postings(&term, IndexRecordOption::Basic)? else { continue };
                while docs.doc() != TERMINATED {
                    if is_alive(segment, docs.doc()) {
                        line = Some(part.line(DocAddress::new(u32::try_from(ord).unwrap_or(u32::MAX), docs.doc()))?);
                        return Ok(false);
                    }
                    docs.advance();
                }
            }
            Ok(true)
        })?;
        Ok(line)
    }

    fn count_by(&self, scope: &Scope, field: &str) -> Result<Values, SearchError> {
        count::by(self, scope, field)
    }

    fn every(&self, scope: &Scope, step: Duration) -> Result<Buckets, SearchError> {
        count::every(self, scope, step)
    }
}

fn skip(skipped: &mut Vec<Skipped>, day: Day, why: String) {
    tracing::warn!("index {day}: {why}");
    skipped.push(Skipped { day: day.to_string(), why });
}

fn is_alive(segment: &SegmentReader, doc: u32) -> bool {
    segment.alive_bitset().is_none_or(|alive| alive.is_alive(doc))
}

/// Why a day stopped answering.
enum Stop {
    Tantivy(TantivyError),
    Deadline,
    TooMuch(String),
}

impl<E: Into<TantivyError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Tantivy(error.into())
    }
}

/// One day and the search in it.
struct Part {
    searcher: Searcher,
    fields: Fields,
    query: Box<dyn Run>,
    deadline: Option<Instant>,
}

impl Part {
    fn new(day: Day, searcher: Searcher, fields: Fields, scope: &Scope) -> Self {
        let mut query = compile::compile(&scope.query, &fields);
        let since = scope.since.map_or(i64::MIN, Time::ms);
        let until = scope.until.map_or(i64::MAX, Time::ms);
        if since > day.start() || until < day.end() - 1 {
            query = Box::new(BooleanQuery::intersection(vec![query, compile::time_range(fields.time, since, until)]));
        }
        Self { searcher, fields, query, deadline: scope.deadline }
    }

    /// Calls `visit` with each event that matches.
    fn each(&self, mut visit: impl FnMut(&Segment, u32) -> Result<(), Stop>) -> Result<(), Stop> {
        let weight = self.query.weight(EnableScoring::disabled_from_searcher(&self.searcher))?;
        for (ord, reader) in self.searcher.segment_readers().iter().enumerate() {
            self.check_clock()?;
            let segment = Segment { ord: u32::try_from(ord).unwrap_or(u32::MAX), reader };
            let mut docs = weight.scorer(reader, 1.0)?;
            let mut seen = 0;
            let mut doc = docs.doc();
            while doc != TERMINATED {
                if is_alive(reader, doc) {
                    visit(&segment, doc)?;
                }
                seen += 1;
                if seen % CLOCK_EVERY == 0 {
                    self.check_clock()?;
                }
                doc = docs.advance();
            }
        }
        Ok(())
    }

    fn check_clock(&self) -> Result<(), Stop> {
        match self.deadline {
            Some(end) if Instant::now() > end => Err(Stop::Deadline),
            _ => Ok(()),
        }
    }

    /// The newest `n` events before `before`.
    fn newest(&self, n: usize, before: Option<Place>) -> Result<Vec<(Place, DocAddress)>, Stop> {
        let mut heap: BinaryHeap<Reverse<(Place, DocAddress)>> = BinaryHeap::new();
        let mut columns = None;
        self.each(|segment, doc| {
            let columns = match &mut columns {
                Some((ord, columns)) if *ord == segment.ord => columns,
                stale => &mut stale.insert((segment.ord, Places::open(segment.reader)?)).1,
            };
            let place = columns.of(doc);
            if before.is_none_or(|b| place < b) {
                heap.push(Reverse((place, DocAddress::new(segment.ord, doc))));
                if heap.len() > n {
                    heap.pop();
                }
            }
            Ok(())
        })?;
        Ok(heap.into_sorted_vec().into_iter().map(|Reverse(found)| found).collect())
    }

    fn line(&self, address: DocAddress) -> Result<Vec<u8>, Stop> {
        let doc: TantivyDocument = self.searcher.doc(address)?;
        let line = doc.get_first(self.fields.line).and_then(|v| v.as_bytes());
        line.map(<[u8]>::to_vec)
            .ok_or_else(|| Stop::Tantivy(TantivyError::InternalError("an event without its line".into())))
    }
}

/// One part of a day's index.
struct Segment<'a> {
    ord: u32,
    reader: &'a SegmentReader,
}

/// The columns that give the order.
struct Places {
    time: tantivy::columnar::Column<i64>,
    hi: tantivy::columnar::Column<u64>,
    lo: tantivy::columnar::Column<u64>,
}

impl Places {
    fn open(reader: &SegmentReader) -> tantivy::Result<Self> {
        let columns = reader.fast_fields();
        Ok(Self { time: columns.i64("time")?, hi: columns.u64("hi")?, lo: columns.u64("lo")? })
    }

    fn of(&self, doc: u32) -> Place {
        Place {
            time: self.time.first(doc).unwrap_or(0),
            hi: self.hi.first(doc).unwrap_or(0),
            lo: self.lo.first(doc).unwrap_or(0),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]
pub(crate) mod suite;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;

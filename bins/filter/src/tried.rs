//! Whether a filter fails of which nothing came. Where the index knows that there is no match jq does not run, and nobody
//! learns of the error that it would have ended in; for whoever asks why it runs over the first events after all.

use std::fmt;
use std::sync::Arc;

use event::{json, printable};
use probe::{Decision, FilterSet, Limits, clauses};

/// Events that a filter is tried on.
const EVENTS: usize = 16;
/// Bytes of the longest of them; and of all that one who looks at many probes keeps.
const EVENT_MAX: usize = 64 << 10;
const ROOM: usize = 16 << 20;

/// How much may still be kept.
#[derive(Debug)]
pub(crate) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(ROOM)
    }
}

/// A line that several samples may keep: once.
pub(crate) struct Shared<'l> {
    line: &'l [u8],
    kept: Option<Arc<[u8]>>,
}

impl<'l> Shared<'l> {
    pub(crate) fn new(line: &'l [u8]) -> Self {
        Self { line, kept: None }
    }

    fn keep(&mut self, Room(room): &mut Room) -> Option<Arc<[u8]>> {
        if self.kept.is_none() && self.line.len() <= EVENT_MAX {
            *room = room.checked_sub(self.line.len())?;
            self.kept = Some(self.line.into());
        }
        self.kept.clone()
    }
}

/// The first events that reached a filter.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    events: Vec<Arc<[u8]>>,
    reached: usize,
}

impl Sample {
    /// Whether more events are wanted.
    pub(crate) fn is_full(&self) -> bool {
        self.reached >= EVENTS
    }

    /// Whether no event has reached the filter.
    pub(crate) fn is_empty(&self) -> bool {
        self.reached == 0
    }

    pub(crate) fn add(&mut self, line: &mut Shared<'_>, room: &mut Room) {
        if !self.is_full() {
            self.reached += 1;
            self.events.extend(line.keep(room));
        }
    }

    /// Runs jq over them; nothing if it never fails.
    pub(crate) fn failing(&self, set: &FilterSet, probe: usize) -> Option<Failing> {
        let (mut tried, mut failed) = (0, Vec::new());
        for line in &self.events {
            let Ok(event) = probe::parse(line) else { continue };
            let Some(decision) = set.decide(probe, &event, clauses::now(&event, 0)) else { continue };
            tried += 1;
            match decision {
                Decision::Failed(why) => failed.push((why, line)),
                Decision::Exceeded(limit) => failed.push((Limits::default().exceeded(limit), line)),
                Decision::Yes(_) | Decision::No => {}
            }
        }
        let count = failed.len();
        let (why, line) = failed.into_iter().next()?;
        let event = json::get(line, "id").and_then(json::parse_str).filter(|id| is_plain(id)).map(String::from);
        Some(Failing { tried, limited: self.is_full(), failed: count, why, event })
    }
}

/// An id that may stand in a command as it is.
pub(crate) fn is_plain(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    id.starts_with(|c: char| c.is_ascii_alphanumeric()) && id.len() <= 64 && id.bytes().all(plain)
}

/// How a filter fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// Events that it was tried on.
    pub tried: usize,
    /// More may have reached it.
    pub limited: bool,
    /// Events at which it failed.
    pub failed: usize,
    /// Why, at the first of them.
    pub why: String,
    /// Id of that event.
    event: Option<String>,
}

impl Failing {
    /// What shows where; `what` is the name of the probe, or the file.
    pub fn advice(&self, what: &str) -> String {
        match &self.event {
            Some(id) => format!("`grep {id} FILE | zentral explain {what}`"),
            None => format!("`zentral explain {what} < FILE`"),
        }
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tried, limited, failed, why, .. } = self;
        let (first, s) = (if *limited { "the first " } else { "" }, if *tried == 1 { "" } else { "s" });
        write!(f, "its filter failed at {failed} of {first}{tried} event{s} that reached it: {}", printable(why))
    }
}

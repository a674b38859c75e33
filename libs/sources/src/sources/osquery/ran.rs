//! What a raw line says of the run of a query beyond its rows: which query it was, and how often it has run.

use std::borrow::Cow;

use event::{Body, Raw, Time, json};

use super::inventory::{SCHEDULE, TABLE};
use super::translate::{believed, canonical};
use super::{facts, time};
use crate::{Run, scan};

/// The column by which a query says how a check stands.
pub const STATUS_COLUMN: &str = "ztl_status";

/// One run of a query on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// When it was, as far as the agent's clock is believed.
    pub time: Time,
    /// When it was by the agent's clock, in ms since 1970.
    pub said: Option<i64>,
    /// The live query that this answers.
    pub live: Option<Live>,
    /// The record, in canonical form.
    record: Vec<u8>,
}

/// What is asked beside the schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Its id.
    pub id: String,
    /// The tag that it gives.
    pub tag: Option<String>,
    /// Rows of a long answer come in parts; the number of this one, from 1.
    pub part: i64,
    /// How many there are.
    pub parts: i64,
}

impl Ran {
    /// What the line says, if it is of a query for which `wanted` is true: the name as JSON text, and none for a live query
    /// that is of no other. An answer that failed says nothing.
    pub fn of(raw: &Raw, wanted: impl FnOnce(Option<&[u8]>) -> bool) -> Option<Self> {
        let Body::Json(body) = &raw.body else { return None };
        let text = body.get().as_bytes();
        let answer = match raw.kind.as_str() {
            "result" => false,
            "answer" => true,
            _ => return None,
        };
        let name = name(text, answer);
        if (name.is_none() && !answer) || !wanted(name.as_deref()) {
            return None;
        }
        let record = canonical(text).ok().filter(|record| record.starts_with(b"{"))?;
        let of = |key| json::get(&record, key);
        let number = |key| of(key).and_then(facts::text).and_then(|text| text.trim().parse::<i64>().ok());
        let live = if answer {
            if number("status") != Some(0) {
                return None;
            }
            let word = |key| of(key).and_then(json::parse_str).map(Cow::into_owned);
            let of_parts = |key| number(key).unwrap_or(1);
            Some(Live { id: word("query")?, tag: word("tag"), part: of_parts("part"), parts: of_parts("parts") })
        } else {
            None
        };
        let said = if answer { None } else { time::ms(of("unixTime"), of("calendarTime")) };
        let time = believed(said, raw.received).0;
        Some(Self { time, said, live, record })
    }

    /// All rows, if these are all: of a snapshot, or of an answer.
    pub fn rows(&self) -> Option<Rows<'_>> {
        let key = if self.live.is_some() { "rows" } else { "snapshot" };
        let rows = json::get(&self.record, key)?;
        match rows {
            // An empty list of old versions.
            b"\"\"" => Some(Rows(b"[]")),
            _ => rows.starts_with(b"[").then_some(Rows(rows)),
        }
    }

    /// Epoch and number of the run, if it tells what has changed.
    pub fn count(&self) -> Option<(i64, i64)> {
        let of = |key| json::get(&self.record, key).unwrap_or_default();
        let run = Run { query: b"", snapshot: self.rows().is_some(), epoch: of("epoch"), counter: of("counter") };
        if self.live.is_some() { None } else { run.count() }
    }
}

/// The name of the query as JSON text, as it would stand in canonical form.
fn name(text: &[u8], answer: bool) -> Option<Vec<u8>> {
    let name = json::get(text, if answer { "of" } else { "name" }).and_then(json::parse_str)?;
    let mut out = Vec::with_capacity(name.len() + 2);
    json::write_str(&name, &mut out);
    Some(out)
}

/// Rows of a query.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a>(&'a [u8]);

impl<'a> Rows<'a> {
    /// There are none.
    pub fn is_empty(self) -> bool {
        self.0 == b"[]"
    }

    /// What rows of the inventory say of the runs of queries.
    pub fn executed(self) -> impl Iterator<Item = Executed<'a>> {
        // Most inventories are long, and old ones have none of these.
        let any = memchr::memmem::find(self.0, SCHEDULE.as_bytes()).is_some();
        scan::items(if any { self.0 } else { b"[]" }).filter_map(|row| {
            let of = |key| json::get(row, key).filter(|_| row.starts_with(b"{"));
            json::parse_str(of(TABLE)?).filter(|table| table == SCHEDULE)?;
            let seconds: i64 = facts::text(of("last_executed")?)?.trim().parse().ok()?;
            let last = Some(seconds.checked_mul(1000)?).filter(|at| *at > 0);
            Some(Executed { name: json::parse_str(of("name")?)?, last, cost: Cost::of(of) })
        })
    }

    /// What each row says in a column; none: nothing that is a text.
    pub fn column(self, name: &'static str) -> impl Iterator<Item = Option<Cow<'a, str>>> {
        scan::items(self.0).map(move |row| {
            let row = Some(row).filter(|row| row.starts_with(b"{"))?;
            json::get(row, name).and_then(json::parse_str)
        })
    }
}

/// The runs of a query, as `osquery_schedule` tells them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed<'a> {
    /// Its name in the schedule.
    pub name: Cow<'a, str>,
    /// When it was last run to its end, in ms since 1970; none: never.
    pub last: Option<i64>,
    /// What it cost; none: an older hub's query did not ask, or what is told is none.
    pub cost: Option<Cost>,
}

/// What one run of a query cost, on average since the agent was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Microseconds of processor time, a day's at most; none: it was never run to its end.
    pub cpu_us: Option<u64>,
    /// Bytes that the agent holds more after a run.
    pub memory: u64,
    /// Bytes of rows.
    pub output: u64,
    /// The watchdog has stopped it, and the agent does not run it for a day.
    pub denied: bool,
}

/// The longest run that is believed, in microseconds: a day.
const RUN_MAX_US: u64 = 86_400_000_000;
/// The most bytes that are believed: a tebibyte.
const BYTES_MAX: u64 = 1 << 40;

impl Cost {
    /// `user_time` and `system_time` are sums of milliseconds, `output_size` is a sum of bytes, `average_memory` is not.
    /// Nothing but digits is a number; what cannot be is cut to what can.
    fn of<'a>(of: impl Fn(&'static str) -> Option<&'a [u8]>) -> Option<Self> {
        let number = |key| facts::text(of(key)?).and_then(|text| text.trim().parse::<u64>().ok());
        let (user, system) = (number("user_time")?, number("system_time")?);
        let runs = number("executions")?;
        let each = |sum: u64| sum.checked_div(runs);
        let cpu = each(user.saturating_add(system).saturating_mul(1000));
        Some(Self {
            cpu_us: cpu.map(|cpu| cpu.min(RUN_MAX_US)),
            memory: number("average_memory").unwrap_or(0).min(BYTES_MAX),
            output: number("output_size").and_then(each).unwrap_or(0).min(BYTES_MAX),
            denied: number("denylisted").is_some_and(|denied| denied > 0),
        })
    }
}

impl Run<'_> {
    /// Epoch and number of a run that tells what has changed; a snapshot is not counted.
    pub fn count(&self) -> Option<(i64, i64)> {
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.trim_matches('"').parse::<i64>().ok();
        if self.snapshot { None } else { Some((number(self.epoch)?, number(self.counter)?)) }
    }
}

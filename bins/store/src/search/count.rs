//! Counts: by the values of a field, and over time.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use event::Time;
use tantivy::columnar::DynamicColumn;

use super::column::column_name;
use super::{Part, Scope, Search, SearchError, Segment, Skipped, Stop};

/// Values of a field that are named, the most frequent ones.
pub const VALUES_MAX: usize = 1000;
/// Distinct values counted at a time; what comes after these many is counted together.
pub(crate) const DISTINCT_MAX: usize = 200_000;
/// Bars of a histogram.
pub const BUCKETS_MAX: usize = 10_000;

/// How often each value of a field occurs; an event counts once for each distinct value it has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Values {
    /// Events that match.
    pub total: u64,
    /// At most [`VALUES_MAX`], most frequent first, then by value.
    pub values: Vec<(String, u64)>,
    /// Sum over the values that are not named.
    pub other: u64,
    /// Events without this field.
    pub missing: u64,
    /// Days that could not be read.
    pub skipped: Vec<Skipped>,
}

/// How many events fall into each step of time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    /// Events that match.
    pub total: u64,
    /// Start of the step and events in it, oldest first, without gaps between the first and the last.
    pub buckets: Vec<(Time, u64)>,
    /// Days that could not be read.
    pub skipped: Vec<Skipped>,
}

/// Whether events can be counted by this field.
pub(crate) fn check_field(field: &str) -> Result<(), SearchError> {
    match field {
        "id" | "time" | "received" => {
            Err(SearchError::TooMuch(format!("every event has its own `{field}`: count over time instead")))
        }
        _ => Ok(()),
    }
}

/// Counts by the values of `field`.
pub(super) fn by(search: &Search, scope: &Scope, field: &str) -> Result<Values, SearchError> {
    check_field(field)?;
    let mut counts: HashMap<String, u64> = HashMap::new();
    let mut sums = Values::default();
    let mut skipped = Vec::new();
    search.each_day(scope, None, &mut skipped, |part| {
        let day = count_day(part, field)?;
        sums.total += day.total;
        sums.missing += day.missing;
        for (value, n) in day.values {
            if counts.len() < DISTINCT_MAX || counts.contains_key(&value) {
                *counts.entry(value).or_default() += n;
            } else {
                sums.other += n;
            }
        }
        Ok(true)
    })?;
    let mut values: Vec<_> = counts.into_iter().collect();
    values.sort_unstable_by(|(v, n), (w, m)| m.cmp(n).then_with(|| v.cmp(w)));
    sums.other += values.iter().skip(VALUES_MAX).map(|(_, n)| n).sum::<u64>();
    values.truncate(VALUES_MAX);
    Ok(Values { values, skipped, ..sums })
}

/// Counts by steps of time, which begin at whole multiples of `step` since 1970.
pub(super) fn every(search: &Search, scope: &Scope, step: Duration) -> Result<Buckets, SearchError> {
    let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX).max(1);
    let mut buckets: BTreeMap<i64, u64> = BTreeMap::new();
    let mut skipped = Vec::new();
    search.each_day(scope, None, &mut skipped, |part| {
        // Apart from the sums, so that a day that breaks off halfway counts not at all.
        let mut day: HashMap<i64, u64> = HashMap::new();
        let mut column = None;
        part.each(|segment, doc| {
            let time = match &column {
                Some((ord, column)) if *ord == segment.ord => column,
                _ => &column.insert((segment.ord, segment.reader.fast_fields().i64("time")?)).1,
            };
            *day.entry(time.first(doc).unwrap_or(0).div_euclid(step)).or_default() += 1;
            if day.len() > BUCKETS_MAX { Err(too_many()) } else { Ok(()) }
        })?;
        for (at, n) in day {
            *buckets.entry(at).or_default() += n;
        }
        if span(&buckets) > BUCKETS_MAX { Err(too_many()) } else { Ok(true) }
    })?;
    let range = match (buckets.first_key_value(), buckets.last_key_value()) {
        (Some((&first, _)), Some((&last, _))) => first..=last,
        _ => return Ok(Buckets { skipped, ..Buckets::default() }),
    };
    let filled = range.map(|at| (Time::from_ms(at.saturating_mul(step)), buckets.get(&at).copied().unwrap_or(0)));
    Ok(Buckets { total: buckets.values().sum(), buckets: filled.collect(), skipped })
}

fn too_many() -> Stop {
    Stop::TooMuch(too_many_steps())
}

pub(crate) fn too_many_steps() -> String {
    format!("more than {BUCKETS_MAX} steps of time: take longer ones, or a shorter time")
}

fn span(buckets: &BTreeMap<i64, u64>) -> usize {
    match (buckets.first_key_value(), buckets.last_key_value()) {
        (Some((first, _)), Some((last, _))) => usize::try_from(last - first + 1).unwrap_or(usize::MAX),
        _ => 0,
    }
}

#[derive(Default)]
struct DayCounts {
    total: u64,
    missing: u64,
    values: HashMap<String, u64>,
}

fn count_day(part: &Part, field: &str) -> Result<DayCounts, Stop> {
    let mut sums = DayCounts::default();
    let mut open: Option<(u32, Counting)> = None;
    let flush = |sums: &mut DayCounts, counting: Counting| counting.add_to(&mut sums.values);
    part.each(|segment, doc| {
        if open.as_ref().is_none_or(|(ord, _)| *ord != segment.ord)
            && let Some((_, done)) = open.replace((segment.ord, Counting::open(segment, field)?))
        {
            flush(&mut sums, done)?;
        }
        sums.total += 1;
        if let Some((_, counting)) = &mut open
            && !counting.count(doc)
        {
            sums.missing += 1;
        }
        Ok(())
    })?;
    if let Some((_, done)) = open {
        flush(&mut sums, done)?;
    }
    Ok(sums)
}

/// The columns of the field in one part of an index, and the counts so far. Strings are counted by their place in
/// the dictionary and looked up at the end.
struct Counting {
    columns: Vec<(DynamicColumn, Vec<u64>)>,
    others: HashMap<String, u64>,
}

impl Counting {
    fn open(segment: &Segment<'_>, field: &str) -> Result<Self, Stop> {
        let mut columns = Vec::new();
        for handle in segment.reader.fast_fields().dynamic_column_handles(&column_name(field))? {
            let column = handle.open()?;
            let places = match &column {
                DynamicColumn::Str(column) => column.num_terms(),
                _ => 0,
            };
            columns.push((column, vec![0; places]));
        }
        Ok(Self { columns, others: HashMap::new() })
    }

    /// Whether the event has the field.
    fn count(&mut self, doc: u32) -> bool {
        let mut found = false;
        for (column, counts) in &mut self.columns {
            let mut texts: Vec<String> = match column {
                DynamicColumn::Str(column) => {
                    let mut ords: Vec<u64> = column.term_ords(doc).collect();
                    ords.sort_unstable();
                    ords.dedup();
                    for ord in ords {
                        found = true;
                        if let Some(n) = usize::try_from(ord).ok().and_then(|o| counts.get_mut(o)) {
                            *n += 1;
                        }
                    }
                    continue;
                }
                DynamicColumn::I64(column) => column.values_for_doc(doc).map(|n| n.to_string()).collect(),
                DynamicColumn::U64(column) => column.values_for_doc(doc).map(|n| n.to_string()).collect(),
                DynamicColumn::F64(column) => column.values_for_doc(doc).map(|n| n.to_string()).collect(),
                DynamicColumn::Bool(column) => column.values_for_doc(doc).map(|n| n.to_string()).collect(),
                _ => continue,
            };
            texts.sort_unstable();
            texts.dedup();
            for text in texts {
                found = true;
                // Beyond the bound the rest shares one entry, the empty text, which no number is.
                let text = if self.others.len() < DISTINCT_MAX || self.others.contains_key(&text) {
                    text
                } else {
                    String::new()
                };
                *self.others.entry(text).or_default() += 1;
            }
        }
        found
    }

    fn add_to(self, values: &mut HashMap<String, u64>) -> Result<(), Stop> {
        for (column, counts) in self.columns {
            let DynamicColumn::Str(column) = column else { continue };
            let mut terms = column.dictionary().stream()?;
            for n in counts {
                if !terms.advance() {
                    break;
                }
                if n > 0 {
                    *values.entry(String::from_utf8_lossy(terms.key()).into_owned()).or_default() += n;
                }
            }
        }
        for (text, n) in self.others {
            *values.entry(text).or_default() += n;
        }
        Ok(())
    }
}

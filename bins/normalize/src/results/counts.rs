//! Runs that are missing. osquery counts the runs of a query that found something to tell; all rows of one bear its number.
//! The count begins anew with each epoch, and when an agent has lost its database.

use std::collections::HashMap;

use event::{Event, Raw, Time};
use registry::db::{DbError, Tx};
use registry::results::{self as state, Count};
use serde_json::json;

use super::queries::{Queries, Query};
use crate::inventory::of_line;

/// Counts in memory; beyond it they are read from the state again.
const KEPT_MAX: usize = 400_000;
/// Agents before this counted every run, also those that found nothing to tell.
const MAJOR_MIN: u32 = 4;

/// The counts, by machine and number of the query; a cache over the table.
#[derive(Debug, Default)]
pub(super) struct Counts {
    known: HashMap<Box<str>, Vec<Kept>>,
    kept: usize,
    /// What is not in the table yet.
    moved: Vec<(Box<str>, usize)>,
}

#[derive(Debug)]
struct Kept {
    query: usize,
    count: Count,
    moved: bool,
}

/// What a run makes of a count.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It is known already.
    Known,
    /// It is the next, or one from which it is counted anew.
    Next(Count),
    /// It is the next after these.
    After(i64, i64, Count),
}

impl Counts {
    /// Takes a run if it is known, or the next after one that is known. False: it has to be looked at.
    pub(super) fn follows(&mut self, machine: &str, query: usize, epoch: i64, counter: i64, at: Time) -> bool {
        let known = self.known.get_mut(machine).and_then(|all| all.iter_mut().find(|kept| kept.query == query));
        let Some(kept) = known else { return false };
        match step(Some(kept.count), epoch, counter, at) {
            Step::Known => true,
            Step::After(..) => false,
            Step::Next(count) => {
                kept.count = count;
                if !std::mem::replace(&mut kept.moved, true) {
                    self.moved.push((machine.into(), query));
                }
                true
            }
        }
    }

    /// Takes a run; the first and the last number of those that are missing before it.
    pub(super) fn take(
        &mut self,
        tx: &mut Tx<'_>,
        machine: &str,
        (number, query): (usize, &str),
        epoch: i64,
        counter: i64,
        at: Time,
    ) -> Result<Option<(i64, i64)>, DbError> {
        let known = self.known.get(machine).and_then(|all| all.iter().find(|kept| kept.query == number));
        let before = match known {
            Some(kept) => Some(kept.count),
            None => state::count(tx, machine, query)?,
        };
        let (count, missing) = match (step(before, epoch, counter, at), before) {
            (Step::Next(count), _) => (count, None),
            (Step::After(from, to, count), _) => (count, Some((from, to))),
            (Step::Known, Some(before)) => (before, None),
            (Step::Known, None) => return Ok(None),
        };
        if self.kept >= KEPT_MAX && self.moved.is_empty() {
            *self = Self::default();
        }
        let all = self.known.entry(machine.into()).or_default();
        let moved = before != Some(count);
        match all.iter_mut().find(|kept| kept.query == number) {
            Some(kept) => {
                if moved && !std::mem::replace(&mut kept.moved, true) {
                    self.moved.push((machine.into(), number));
                }
                kept.count = count;
            }
            None => {
                all.push(Kept { query: number, count, moved });
                self.kept += 1;
                if moved {
                    self.moved.push((machine.into(), number));
                }
            }
        }
        Ok(missing)
    }

    /// Nothing is known of the machine any more.
    pub(super) fn forget(&mut self, machine: &str) {
        self.kept -= self.known.remove(machine).map_or(0, |all| all.len());
    }

    /// Writes down what has moved.
    pub(super) fn flush(&mut self, tx: &mut Tx<'_>, queries: &Queries) -> Result<(), DbError> {
        for (machine, number) in self.moved.drain(..) {
            let known = self.known.get_mut(&machine).and_then(|all| all.iter_mut().find(|kept| kept.query == number));
            if let (Some(kept), Some(query)) = (known, queries.get(number)) {
                kept.moved = false;
                state::put_count(tx, &machine, &query.query, kept.count)?;
            }
        }
        Ok(())
    }
}

/// A batch may come again, whole or in part, and is then as old as it was.
fn step(before: Option<Count>, epoch: i64, counter: i64, at: Time) -> Step {
    let anew = Step::Next(Count { epoch, counter, at });
    let Some(before) = before else { return anew };
    if epoch != before.epoch {
        return if at >= before.at { anew } else { Step::Known };
    }
    if counter == before.counter {
        return Step::Known;
    }
    if counter < before.counter {
        // An agent that has lost its database counts from the beginning.
        return if at > before.at { anew } else { Step::Known };
    }
    let count = Count { epoch, counter, at: at.max(before.at) };
    let next = before.counter.saturating_add(1);
    // What is older than the last one, and has a higher number, was counted before the count began anew.
    if counter == next || at < before.at { Step::Next(count) } else { Step::After(next, counter - 1, count) }
}

/// Whether the agent counts as this expects.
pub(super) fn are_counted(raw: &Raw) -> bool {
    let agent = raw.request.as_ref().and_then(|request| request.user_agent.as_deref());
    let major = agent.and_then(|agent| agent.split_once("osquery/")?.1.split('.').next()?.parse::<u32>().ok());
    major.is_some_and(|major| major >= MAJOR_MIN)
}

/// Runs that never came.
pub(super) fn missing(raw: &Raw, query: &Query, epoch: i64, (from, to): (i64, i64)) -> Option<Event> {
    let runs = to.saturating_sub(from).saturating_add(1);
    let payload = json!({"query": query.name, "epoch": epoch, "from": from, "to": to, "runs": runs});
    let event = of_line(raw, "results_missing", &payload, Vec::new())?;
    Some(Event { tags: vec!["osquery".to_owned()], ..event })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_each_other() {
        let count = |epoch, counter, at| Count { epoch, counter, at: Time::from_ms(at) };
        let last = Some(count(1, 5, 100));
        for (epoch, counter, at, want) in [
            (1, 5, 100, Step::Known),
            (1, 6, 100, Step::Next(count(1, 6, 100))),
            (1, 6, 90, Step::Next(count(1, 6, 100))),
            (1, 8, 110, Step::After(6, 7, count(1, 8, 110))),
            (1, 8, 90, Step::Next(count(1, 8, 100))),
            // A batch that comes again.
            (1, 4, 80, Step::Known),
            (1, 4, 100, Step::Known),
            (0, 9, 80, Step::Known),
            // The count begins anew.
            (1, 0, 110, Step::Next(count(1, 0, 110))),
            (2, 0, 100, Step::Next(count(2, 0, 100))),
            (2, 7, 110, Step::Next(count(2, 7, 110))),
            (1, i64::MAX, 110, Step::After(6, i64::MAX - 1, count(1, i64::MAX, 110))),
        ] {
            assert_eq!(step(last, epoch, counter, Time::from_ms(at)), want, "{epoch} {counter} {at}");
        }
        assert_eq!(step(None, 3, 7, Time::from_ms(1)), Step::Next(count(3, 7, 1)));
    }
}

//! The clauses of a filter: its atomic conditions with their place in the source, and what comes of each over an event.
//!
//! A filter is cut along `and`, `or`, `not`, `select(…)`, `any`, `all`, `|`, `,`, `if`, `//`, `?`, `try` and `as $x`;
//! what is left are comparisons, tests and other terms, one clause each. A call of a function that the filter or a
//! module defines is one clause. To see what comes of them the filter runs a second time with every clause wrapped:
//! what it decides is always what the unchanged program says.

mod coverage;
mod cut;
pub mod draw;
mod known;
pub(crate) mod place;
mod record;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]
mod tests;
pub(crate) mod tree;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jaq_core::load::Arena;
use jaq_core::load::lex::Token;
use jaq_core::load::parse::Term;

pub use coverage::{Coverage, Gap, Missing};
use cut::{Cutter, Slot};
use place::Places;
use record::{Came, Record};
pub(crate) use record::{SEEN, seen};

use crate::budget::Limits;
use crate::compile::{Text, compile, edited};
use crate::error::CompileError;
use crate::link::{Edit, Modules};
use crate::program::{Bundle, Decision, Program, on_big_stack};
use crate::value::Val;

/// The wrapped filter may use so many times more than the filter itself.
const MORE: u32 = 8;

/// What a clause is to the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// True or not.
    Condition,
    /// A function that lets its input pass or not: `objects`, `strings`, …
    Guard,
    /// What it gives goes on through the pipe.
    Step,
    /// What the filter gives in the end, where that is always true: an object, a string, …
    Result,
}

impl Kind {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Condition => "condition",
            Self::Guard => "guard",
            Self::Step => "step",
            Self::Result => "result",
        }
    }
}

/// A clause and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// What it is to the filter.
    pub kind: Kind,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Bytes of the source.
    pub range: Range<usize>,
    /// The source there.
    pub text: String,
    /// Source of what it judges: both sides of a comparison (without those written out), or the input of a test.
    pub operands: Vec<String>,
    /// Whether it takes part in the decision; `false` where only a value is made that something else judges or shows.
    pub decides: bool,
    /// An odd number of `not` stands behind it: where it is true it is against a match.
    pub negated: bool,
}

/// What came of a clause over one event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// How often it was evaluated; 0: never reached.
    pub runs: u64,
    /// Outputs that are neither `false` nor `null`.
    pub truthy: u64,
    /// Outputs that are.
    pub falsy: u64,
    /// Evaluations that ended without an output.
    pub empty: u64,
    /// Evaluations that ended in an error, or within which the run was stopped at a limit.
    pub errors: u64,
    /// The first error's text, or which limit it was.
    pub error: Option<String>,
    /// The first distinct outputs, as JSON, cut if they are long.
    pub values: Vec<String>,
    /// The same for each of [`Clause::operands`].
    pub operands: Vec<Vec<String>>,
}

/// What a filter says of an event, clause by clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// What the filter says.
    pub decision: Decision,
    /// In order of the clauses.
    pub seen: Vec<Seen>,
    /// Place of the clause after which it was decided.
    pub decided: Option<usize>,
}

/// What a filter calls `now` at an event, in milliseconds since 1970: its `received`, if it has one.
pub fn now(event: &Val, otherwise_ms: i64) -> i64 {
    let received = event.get("received").and_then(Val::as_str).and_then(|t| t.parse::<event::Time>().ok());
    received.map_or(otherwise_ms, event::Time::ms)
}

/// A filter, cut into its clauses.
pub struct Clauses {
    plain: Program,
    wrapped: Bundle,
    clauses: Vec<Clause>,
    slots: Vec<Slot>,
}

impl Clauses {
    /// Compiles a filter and cuts it; `name` is its file's name or `probe NAME`.
    ///
    /// # Errors
    /// Everything that is wrong with it and the modules it imports.
    pub fn new(source: &str, name: &str, modules: &dyn Modules) -> Result<Self, CompileError> {
        let plain = compile(source, name, modules)?;
        let cut = Cut::default();
        let wrapped = edited(&[Text { name, text: source }], modules, Some(&cut)).map_err(|mut errors| {
            // It compiled a moment ago.
            errors.pop().map_or(CompileError { problems: Vec::new() }, |(_, error)| error)
        })?;
        let (clauses, slots) = cut.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Self { plain, wrapped, clauses, slots })
    }

    /// In the order of the source; one that holds others comes before them.
    pub fn clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// Decides about `event`, and tells what came of each clause.
    pub fn explain(&self, event: &Val, now_ms: i64, limits: &Limits) -> Explained {
        let decision = self.plain.decide(event, now_ms, limits);
        let exceeded = if let Decision::Exceeded(limit) = decision { Some(limits.exceeded(limit)) } else { None };
        let more = match exceeded {
            // So that it is stopped as well, and about where the filter was.
            Some(_) => limits.clone(),
            None => Limits {
                steps: limits.steps.saturating_mul(MORE.into()),
                cpu: limits.cpu.saturating_mul(MORE).saturating_add(Duration::from_millis(200)),
                ..limits.clone()
            },
        };
        let run = |event: &Val| record::record(self.slots.len(), || self.wrapped.decide(0, event, now_ms, &more)).1;
        let records = on_big_stack(event, run).unwrap_or_default();
        let stopped = if exceeded.is_some() { self.stopped(&records) } else { Vec::new() };
        let mut explained = self.explained(decision, records);
        for clause in stopped {
            if let Some(seen) = explained.seen.get_mut(clause) {
                seen.errors += 1;
                seen.error.clone_from(&exceeded);
                explained.decided = Some(clause);
            }
        }
        explained
    }

    /// The clauses within which a run was stopped, the innermost last; between clauses, as in the loop of `any`, the one
    /// of which something came last.
    fn stopped(&self, records: &[Record]) -> Vec<usize> {
        let all = || self.slots.iter().zip(records);
        let mut stopped: Vec<(usize, usize)> =
            all().filter(|(_, r)| r.stopped > 0).map(|(slot, r)| (r.stopped, slot.clause())).collect();
        stopped.sort_unstable();
        stopped.dedup_by_key(|(_, clause)| *clause);
        if stopped.is_empty() {
            let latest = all().filter_map(|(slot, r)| Some((r.last?.0, slot.clause()))).max();
            return latest.into_iter().map(|(_, clause)| clause).collect();
        }
        stopped.into_iter().map(|(_, clause)| clause).collect()
    }

    fn explained(&self, decision: Decision, records: Vec<Record>) -> Explained {
        let mut seen: Vec<Seen> = self.clauses.iter().map(Seen::of).collect();
        let mut last: Option<(u64, usize)> = None;
        for (slot, record) in self.slots.iter().zip(records) {
            match *slot {
                Slot::Operand(clause, operand) => {
                    if let Some(values) = seen.get_mut(clause).and_then(|s| s.operands.get_mut(operand)) {
                        *values = record.values;
                    }
                }
                Slot::Clause(i) => {
                    let (Some(clause), Some(seen)) = (self.clauses.get(i), seen.get_mut(i)) else { continue };
                    if let Some((at, came)) = record.last
                        && (clause.decides || came == Came::Error)
                        && (matches!(clause.kind, Kind::Condition | Kind::Guard)
                            || matches!(came, Came::Error | Came::Nothing))
                    {
                        // An error passes through the clauses around the one that made it.
                        let inner = came == Came::Error && last.is_some_and(|(_, l)| self.holds(i, l));
                        if last.is_none_or(|(before, _)| before < at) && !inner {
                            last = Some((at, i));
                        }
                    }
                    *seen = Seen { operands: std::mem::take(&mut seen.operands), ..Seen::from(record) };
                }
            }
        }
        Explained { decision, seen, decided: last.map(|(_, clause)| clause) }
    }

    /// Does one clause hold the other?
    fn holds(&self, outer: usize, inner: usize) -> bool {
        let range = |i: usize| self.clauses.get(i).map(|c| c.range.clone()).unwrap_or_default();
        let (outer, inner) = (range(outer), range(inner));
        outer != inner && outer.start <= inner.start && inner.end <= outer.end
    }
}

impl Seen {
    fn of(clause: &Clause) -> Self {
        Self { operands: vec![Vec::new(); clause.operands.len()], ..Self::default() }
    }

    fn from(record: Record) -> Self {
        let Record { runs, truthy, falsy, empty, errors, error, values, .. } = record;
        Self { runs, truthy, falsy, empty, errors, error, values, operands: Vec::new() }
    }
}

/// Cuts the one program that is compiled.
#[derive(Default)]
struct Cut {
    done: Mutex<(Vec<Clause>, Vec<Slot>)>,
}

impl Edit for Cut {
    fn words(&self, words: &mut [Token<&str>]) {
        tree::mark(words);
    }

    fn term<'s>(&self, text: &'s str, words: &[Token<&'s str>], arena: &'s Arena, term: &mut Term<&'s str>) {
        let mut cutter = Cutter::new(Places::new(text, words), text, arena);
        cutter.program(term);
        tree::unmark(term);
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = cutter.done();
    }
}

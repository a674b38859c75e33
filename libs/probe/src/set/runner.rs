//! Lines one after the other.

use std::borrow::Cow;
use std::sync::Arc;

use event::Time;

use super::learn::Samples;
use super::{FilterSet, Probe};
use crate::analyse::{TRUE, YES};
use crate::context;
use crate::index::{Eval, Index, Scratch};
use crate::program::{Decision, EvalError};
use crate::spec::{Failure, Found, Note, Outcome, Why};
use crate::value::{ParseError, Val, parse};

/// What is wrong with a line that is JSON but no object.
pub const NO_OBJECT: &str = "line is no JSON object";

/// Asks the probes of a set about many lines.
pub struct Runner<'s> {
    pub(super) set: &'s FilterSet,
    index: Arc<Index>,
    scratch: &'s mut Scratch,
    samples: Samples,
    pub(super) carried: bool,
}

/// What the probes of an event have in common.
pub(super) struct Asked<'e> {
    pub(super) id: &'e str,
    pub(super) now_ms: i64,
    /// Bytes of contexts that the event may still carry.
    pub(super) room: usize,
    /// Whether anybody reads what a match carries.
    pub(super) carried: bool,
}

impl<'s> Runner<'s> {
    pub(super) fn new(set: &'s FilterSet, scratch: &'s mut Scratch) -> Self {
        Self { set, index: set.index(), scratch, samples: set.samples(), carried: true }
    }

    /// Only which probes match is wanted: neither contexts nor keys.
    #[must_use]
    pub fn without_contexts(mut self) -> Self {
        self.carried = false;
        self
    }

    /// Asks every probe about a line in canonical form, as `normalize` writes it. Of a line that is not in that form the
    /// answer means nothing.
    ///
    /// # Errors
    /// The line is no JSON object (or too long or deep, where jq had to run).
    pub fn run(&mut self, line: &[u8], now_ms: i64, note: &mut dyn Note) -> Result<Outcome, ParseError> {
        if line.len() > event::LINE_MAX {
            return Err(ParseError { at: event::LINE_MAX, what: "text is longer than a line may be" });
        }
        if line.first() != Some(&b'{') {
            return Err(ParseError { at: 0, what: NO_OBJECT });
        }
        self.samples.see(line);
        if self.index.rules_out(line, self.scratch) {
            return Ok(Outcome::default());
        }
        let set = &*self.set.inner;
        let found = self.index.look(line, &set.paths, set.probes.len(), self.scratch);
        self.samples.asked += found.asked;
        if found.candidates.is_empty() {
            return Ok(Outcome::default());
        }
        let mut eval = found.eval(line, &set.paths);
        let received = eval.string_at(set.seen.received);
        let received = received.and_then(|t| std::str::from_utf8(&t).ok()?.parse::<Time>().ok());
        let id = eval.string_at(set.seen.id).unwrap_or(Cow::Borrowed(b""));
        let mut event = Event { line, parsed: None };
        let mut asked = Asked {
            id: std::str::from_utf8(&id).unwrap_or_default(),
            now_ms: received.map_or(now_ms, Time::ms),
            room: context::CONTEXTS_MAX,
            carried: self.carried,
        };
        let mut outcome = Outcome::default();
        for i in found.candidates {
            let i = *i as usize;
            if let Some(probe) = set.probes.get(i) {
                self.set.ask(i, probe, &mut eval, &mut event, &mut asked, note, &mut outcome)?;
            }
        }
        Ok(outcome)
    }
}

impl Drop for Runner<'_> {
    fn drop(&mut self) {
        self.set.learn(std::mem::take(&mut self.samples));
    }
}

/// A line that is parsed when jq first has to see it.
struct Event<'e> {
    line: &'e [u8],
    parsed: Option<Val>,
}

impl Event<'_> {
    fn value(&mut self) -> Result<&Val, ParseError> {
        let value = match self.parsed.take() {
            Some(value) => value,
            None => parse(self.line)?,
        };
        Ok(self.parsed.insert(value))
    }
}

impl FilterSet {
    #[expect(clippy::too_many_arguments, reason = "the parts of one question")]
    fn ask<'e>(
        &self,
        i: usize,
        probe: &'e Probe,
        eval: &mut Eval<'e>,
        event: &mut Event<'_>,
        asked: &mut Asked<'_>,
        note: &mut dyn Note,
        outcome: &mut Outcome,
    ) -> Result<(), ParseError> {
        let passes = match &probe.gate {
            None => true,
            Some(gate) => match eval.holds(gate) {
                Some(holds) => holds,
                // More tags than are gone through in the line.
                None => super::naive::passes(&probe.spec, event.value()?),
            },
        };
        if !passes {
            return Ok(());
        }
        let may = eval.decide(&probe.read.node, probe.read.terms);
        if may & TRUE == 0 && probe.code.until.is_none() {
            return Ok(());
        }
        let certain = may == YES || (!asked.carried && may & !TRUE == 0);
        let native = certain && (!asked.carried || probe.code.by.is_none());
        if native && !note.is_off(i) {
            let key = if asked.carried { self.machine_key(eval) } else { None };
            outcome.found.push(Found { probe: i, key, context: None, closes: false });
        } else if !native && note.before(i, asked.id) {
            outcome.runs += 1;
            let result = event.value().map(|event| self.ask_jq(i, probe, event, asked, outcome));
            note.after(i);
            result?;
        }
        Ok(())
    }

    fn machine_key(&self, eval: &Eval<'_>) -> Option<String> {
        let key = self.inner.seen.machine.iter().find_map(|path| eval.string_at(*path))?;
        Some(context::key(std::str::from_utf8(&key).unwrap_or_default()))
    }

    /// What jq says of a probe, whose gate holds.
    pub(super) fn ask_jq(&self, i: usize, probe: &Probe, event: &Val, asked: &mut Asked<'_>, outcome: &mut Outcome) {
        let Some(bundle) = probe.code.segment.bundle() else {
            let why = Why::Failed("cannot be compiled: a fault of the engine".into());
            return outcome.failures.push(Failure { probe: i, why });
        };
        let mut decide = |filter| match bundle.decide(filter, event, asked.now_ms, &self.limits) {
            Decision::Yes(context) => Some(context),
            Decision::No => None,
            Decision::Failed(text) => {
                outcome.failures.push(Failure { probe: i, why: Why::Failed(text) });
                None
            }
            Decision::Exceeded(limit) => {
                outcome.failures.push(Failure { probe: i, why: Why::Exceeded(limit) });
                None
            }
        };
        let (context, closes) = match decide(probe.code.filter) {
            Some(context) => (context, false),
            None => match probe.code.until.and_then(&mut decide) {
                Some(context) => (context, true),
                None => return,
            },
        };
        let key = match probe.code.by {
            None => super::naive::machine_key(event).map(context::key),
            Some(by) => bundle
                .word(by, event, asked.now_ms, &self.limits)
                .map(|word| word.as_deref().map(context::key))
                .unwrap_or_else(|e| {
                    let why = match e {
                        EvalError::Failed(text) => Why::Failed(format!("by: {text}")),
                        EvalError::Exceeded(limit) => Why::Exceeded(limit),
                    };
                    outcome.failures.push(Failure { probe: i, why });
                    None
                }),
        };
        let context = context.map(|text| match asked.room.checked_sub(text.len()) {
            Some(left) => {
                asked.room = left;
                text
            }
            None => context::without(text.len()),
        });
        outcome.found.push(Found { probe: i, key, context, closes });
    }
}

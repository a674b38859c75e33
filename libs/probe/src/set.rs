//! All probes over one event: which may match, what their filters say, and what to write beside a match.

mod build;
mod learn;
mod naive;
mod needs;
mod runner;

use std::sync::{Arc, PoisonError, RwLock};

use event::ProbeMatch;
use serde_json::value::RawValue;

use crate::advice::{Advice, advice};
use crate::analyse::{PathRef, Paths, Patterns};
use crate::budget::Limits;
use crate::error::CompileError;
use crate::index::{Clause, Index, Scratch};
use crate::link::Modules;
use crate::program::Decision;
use crate::read::Read;
use crate::segment::Segment;
use crate::spec::{Found, Note, Outcome, Spec};
use crate::stack;
use crate::value::{ParseError, Val};

use learn::Learner;
pub use needs::Need;
pub use runner::{NO_OBJECT, Runner};

/// The probes of a configuration, analysed and filed. May be used by any thread.
pub struct FilterSet {
    inner: Arc<Inner>,
    /// Replaced as a whole when what passes shows which keys are rare.
    index: Arc<RwLock<Arc<Index>>>,
    learner: Learner,
    limits: Limits,
}

struct Inner {
    probes: Vec<Arc<Probe>>,
    paths: Paths,
    patterns: Patterns,
    seen: Seen,
}

/// A probe, ready to be asked.
struct Probe {
    spec: Spec,
    gate: Option<crate::analyse::Node>,
    read: Read,
    clauses: Vec<Clause>,
    code: Code,
}

/// Where a probe's programs are among those of a segment.
#[derive(Clone)]
struct Code {
    segment: Arc<Segment>,
    filter: usize,
    until: Option<usize>,
    by: Option<usize>,
}

/// Paths that are looked at for every match.
#[derive(Clone, Copy)]
struct Seen {
    id: PathRef,
    received: PathRef,
    machine: [PathRef; 3],
}

/// How a probe's filter is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// By the index and the values it saw; jq runs only for what a match carries.
    Native,
    /// jq runs where its condition holds.
    Indexed,
    /// jq runs at every event that its other conditions do not rule out: the index cannot be asked about it. See
    /// [`FilterSet::advice`].
    Always,
}

impl FilterSet {
    /// Reads all probes.
    ///
    /// # Errors
    /// One error for each filter (or `by`, `until`) with something wrong in it or in a module that it imports.
    pub fn build(specs: Vec<Spec>, modules: &dyn Modules) -> Result<Self, Vec<CompileError>> {
        build::build(None, specs, modules)
    }

    /// As [`FilterSet::build`]; probes that `old` has in just this form are taken over as they are, compiled or not.
    ///
    /// # Errors
    /// As [`FilterSet::build`]. `old` stays as it is.
    pub fn rebuild(old: &Self, specs: Vec<Spec>, modules: &dyn Modules) -> Result<Self, Vec<CompileError>> {
        build::build(Some(old), specs, modules)
    }

    /// Other limits than the defaults.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Compiles every program now, not when it is first needed.
    ///
    /// # Errors
    /// A fault of the engine: a program that was found right does not compile.
    pub fn compile(&self) -> Result<(), String> {
        for probe in &self.inner.probes {
            if probe.code.segment.bundle().is_none() {
                return Err(format!("probe {}: cannot be compiled: a fault of the engine", probe.spec.name));
            }
        }
        Ok(())
    }

    /// How many probes there are.
    pub fn len(&self) -> usize {
        self.inner.probes.len()
    }

    /// No probe at all?
    pub fn is_empty(&self) -> bool {
        self.inner.probes.is_empty()
    }

    /// The probe at a place.
    pub fn spec(&self, probe: usize) -> Option<&Spec> {
        self.inner.probes.get(probe).map(|p| &p.spec)
    }

    /// How the probe at a place is decided.
    pub fn standing(&self, probe: usize) -> Option<Standing> {
        let probe = self.inner.probes.get(probe)?;
        Some(if !probe.read.node.is_unclear() {
            Standing::Native
        } else if probe.clauses.is_empty() {
            Standing::Always
        } else {
            Standing::Indexed
        })
    }

    /// Why the probe at a place is asked at every event, and what would change that; none if it is not.
    pub fn advice(&self, probe: usize) -> Option<Advice> {
        let advised = self.inner.probes.get(probe).filter(|_| self.standing(probe) == Some(Standing::Always))?;
        let mut advice = advice(&advised.spec.filter, advised.code.segment.modules())?;
        advice.everywhere &= advised.gate.is_none();
        Some(advice)
    }

    /// Programs that jq has compiled so far, in segments.
    pub fn compiled(&self) -> usize {
        let mut segments: Vec<*const Segment> = Vec::new();
        for probe in &self.inner.probes {
            let segment = Arc::as_ptr(&probe.code.segment);
            if probe.code.segment.is_compiled() && !segments.contains(&segment) {
                segments.push(segment);
            }
        }
        segments.len()
    }

    /// What is written on the event for a match.
    pub fn annotation(&self, found: &Found) -> Option<ProbeMatch> {
        let spec = self.spec(found.probe)?;
        let mut extra = serde_json::Map::new();
        if found.closes {
            extra.insert("closes".into(), true.into());
        }
        Some(ProbeMatch {
            name: spec.name.clone(),
            rev: spec.rev.clone(),
            severity: spec.severity.clone(),
            act: spec.act.clone(),
            key: found.key.clone(),
            // The text was written by us as JSON.
            context: found.context.clone().and_then(|text| RawValue::from_string(text).ok()),
            extra,
        })
    }

    /// For many lines one after the other on this thread, which [`crate::with_stack`] started.
    pub fn runner<'s>(&'s self, scratch: &'s mut Scratch) -> Runner<'s> {
        Runner::new(self, scratch)
    }

    /// Asks every probe about one line, canonical or not. `now` of the filters is the event's `received`, or `now_ms`
    /// (milliseconds since 1970) where it has none.
    ///
    /// # Errors
    /// The line is no JSON object, or too long or deep: no filter ran.
    pub fn run(&self, line: &[u8], now_ms: i64, note: &mut (dyn Note + Send)) -> Result<Outcome, ParseError> {
        if !stack::is_big() {
            // Slow, a thread each; a caller with many lines is inside `with_stack` itself.
            let run = stack::with_stack(|| self.run(line, now_ms, note));
            return run.unwrap_or(Err(ParseError { at: 0, what: "cannot start a thread to run filters" }));
        }
        let mut scratch = Scratch::default();
        let mut runner = self.runner(&mut scratch);
        if event::json::is_canonical(line) { runner.run(line, now_ms, note) } else { runner.naive(line, now_ms, note) }
    }

    /// What jq says of an event for a probe, whether or not the index would have asked.
    pub fn decide(&self, probe: usize, event: &Val, now_ms: i64) -> Option<Decision> {
        let code = &self.inner.probes.get(probe)?.code;
        Some(code.segment.bundle()?.decide(code.filter, event, now_ms, &self.limits))
    }

    fn index(&self) -> Arc<Index> {
        Arc::clone(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;

//! All probes over one event: which may match, what their filters say, and what to write beside a match.

use std::collections::HashMap;

use event::{ProbeMatch, Time};
use serde_json::value::RawValue;

use crate::budget::Limits;
use crate::compile::{Text, bundle};
use crate::error::CompileError;
use crate::link::Modules;
use crate::program::{Bundle, Decision, EvalError};
use crate::scope::Scope;
use crate::spec::{Failure, Found, Note, Outcome, Spec, Why};
use crate::value::{ParseError, Val, parse};
use crate::{context, stack};

struct Probe {
    spec: Spec,
    filter: usize,
    until: Option<usize>,
    by: Option<usize>,
    /// Place of its scope among the distinct ones.
    scope: usize,
}

/// The probes of a configuration, compiled. May be used by any thread.
pub struct FilterSet {
    bundle: Bundle,
    probes: Vec<Probe>,
    scopes: Vec<Scope>,
    /// Probes that see every event, and those that see the results of one query.
    always: Vec<usize>,
    by_query: HashMap<String, Vec<usize>>,
    limits: Limits,
}

impl FilterSet {
    /// Compiles all probes into one program.
    ///
    /// # Errors
    /// One error for each filter (or `by`, `until`) with something wrong in it or in a module that it imports.
    pub fn build(specs: Vec<Spec>, modules: &dyn Modules) -> Result<Self, Vec<CompileError>> {
        let by_names: Vec<String> = specs.iter().map(|s| format!("probe {}, by", s.name)).collect();
        let mut texts: Vec<Text<'_>> = Vec::new();
        let mut add = |name, text| {
            texts.push(Text { name, text });
            texts.len() - 1
        };
        let mut places = Vec::with_capacity(specs.len());
        for (spec, by_name) in specs.iter().zip(&by_names) {
            let filter = add(&spec.filter.name, &spec.filter.text);
            let until = spec.until.as_ref().map(|until| add(&until.name, &until.text));
            let own = spec.by.as_deref().filter(|by| by.trim() != "machine_key");
            places.push((filter, until, own.map(|by| add(by_name, by))));
        }
        let bundle =
            bundle(&texts, modules).map_err(|errors| errors.into_iter().map(|(_, e)| e).collect::<Vec<_>>())?;

        let mut set = Self {
            bundle,
            probes: Vec::with_capacity(specs.len()),
            scopes: Vec::new(),
            always: Vec::new(),
            by_query: HashMap::new(),
            limits: Limits::default(),
        };
        let mut scopes: HashMap<Scope, usize> = HashMap::new();
        for (i, (spec, (filter, until, by))) in specs.into_iter().zip(places).enumerate() {
            let scope = *scopes.entry(spec.scope.clone()).or_insert_with(|| {
                set.scopes.push(spec.scope.clone());
                set.scopes.len() - 1
            });
            match &spec.query_name {
                Some(name) => set.by_query.entry(name.clone()).or_default().push(i),
                None => set.always.push(i),
            }
            set.probes.push(Probe { spec, filter, until, by, scope });
        }
        Ok(set)
    }

    /// Other limits than the defaults.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How many probes there are.
    pub fn len(&self) -> usize {
        self.probes.len()
    }

    /// No probe at all?
    pub fn is_empty(&self) -> bool {
        self.probes.is_empty()
    }

    /// The probe at a place.
    pub fn spec(&self, probe: usize) -> Option<&Spec> {
        self.probes.get(probe).map(|p| &p.spec)
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

    /// Runs every probe that may match over one line. `now` of the filters is the event's `received`, or `now_ms`
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
        let event = parse(line)?;
        match event {
            Val::Obj(_) => Ok(self.over(&event, now_ms, note)),
            _ => Err(ParseError { at: 0, what: "line is no JSON object" }),
        }
    }

    fn over(&self, event: &Val, now_ms: i64, note: &mut dyn Note) -> Outcome {
        let mut outcome = Outcome::default();
        let seen = Seen::new(event, now_ms);
        let own = seen.query.and_then(|name| self.by_query.get(name)).map_or(&[][..], Vec::as_slice);
        let mut room = context::CONTEXTS_MAX;
        let mut in_scope: Vec<Option<bool>> = vec![None; self.scopes.len()];
        for i in merged(&self.always, own) {
            let Some(probe) = self.probes.get(i) else { continue };
            if probe.spec.query_name.is_some() && seen.first_run && !probe.spec.first_run {
                continue;
            }
            let holds = in_scope.get_mut(probe.scope).is_some_and(|known| {
                *known.get_or_insert_with(|| self.scopes.get(probe.scope).is_some_and(|s| s.holds(event)))
            });
            if holds && note.before(i, seen.id) {
                outcome.runs += 1;
                self.probe(i, probe, event, seen.now_ms, &mut room, &mut outcome);
                note.after(i);
            }
        }
        outcome
    }

    /// One probe; `room` is what the event may still carry of contexts, in bytes.
    fn probe(&self, i: usize, probe: &Probe, event: &Val, now_ms: i64, room: &mut usize, outcome: &mut Outcome) {
        let mut decide = |filter| match self.bundle.decide(filter, event, now_ms, &self.limits) {
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
        let (context, closes) = match decide(probe.filter) {
            Some(context) => (context, false),
            None => match probe.until.and_then(&mut decide) {
                Some(context) => (context, true),
                None => return,
            },
        };
        let key = match probe.by {
            None => machine_key(event).map(context::key),
            Some(by) => self
                .bundle
                .word(by, event, now_ms, &self.limits)
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
        let context = context.map(|text| match room.checked_sub(text.len()) {
            Some(left) => {
                *room = left;
                text
            }
            None => context::without(text.len()),
        });
        outcome.found.push(Found { probe: i, key, context, closes });
    }
}

/// What is looked at once for all probes.
struct Seen<'e> {
    id: &'e str,
    now_ms: i64,
    /// Name of the query, if the event is a result of one.
    query: Option<&'e str>,
    /// It comes from the first run of a differential query, when everything is "added".
    first_run: bool,
}

impl<'e> Seen<'e> {
    fn new(event: &'e Val, now_ms: i64) -> Self {
        let text = |key: &str| event.get(key).and_then(Val::as_str);
        let payload = event.get("payload");
        let query = if text("type") == Some("osquery_result") {
            payload.and_then(|p| p.get("name")).and_then(Val::as_str)
        } else {
            None
        };
        let counter = payload.and_then(|p| p.get("counter"));
        let zero = counter.is_some_and(|c| c.as_str() == Some("0") || c.num().is_some_and(|n| n.f64() == 0.0));
        let snapshot = payload
            .is_some_and(|p| p.get("snapshot").is_some() || p.get("action").and_then(Val::as_str) == Some("snapshot"));
        let received = text("received").and_then(|t| t.parse::<Time>().ok()).map(Time::ms);
        Self {
            id: text("id").unwrap_or_default(),
            now_ms: received.unwrap_or(now_ms),
            query,
            first_run: zero && !snapshot,
        }
    }
}

/// The event's machine: serial number, else hardware UUID, else host name.
fn machine_key(event: &Val) -> Option<&str> {
    let machine = event.get("machine")?;
    ["serial_number", "hardware_uuid", "hostname"].iter().find_map(|key| machine.get(key).and_then(Val::as_str))
}

/// Both rising lists as one.
fn merged<'a>(l: &'a [usize], r: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    let (mut l, mut r) = (l.iter().copied().peekable(), r.iter().copied().peekable());
    std::iter::from_fn(move || match (l.peek(), r.peek()) {
        (Some(a), Some(b)) if b < a => r.next(),
        (Some(_), _) => l.next(),
        (None, _) => r.next(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;

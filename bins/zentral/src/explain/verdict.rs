//! What one probe says of an event, and why.

use std::collections::BTreeMap;

use pipe::StageError;
use pipe::config::Config;
use probe::clauses::{Clauses, Explained, now};
use probe::{Decision, FilterSet, Limits, Quiet, Spec, Val};
use serde_json::Value;

use super::deeds::{Deed, Deeds};
use super::gates::{self, Off, Outside};

/// What a probe says, worst news for its author first where several are true.
#[derive(Debug, Clone, PartialEq)]
pub enum Says {
    Matched {
        key: Option<String>,
        context: Option<String>,
    },
    /// In scope, its query, and the filter said no.
    No,
    /// A runtime error of jq, or a limit.
    Failed(String),
    Off(Off),
    FirstRun,
    OtherQuery {
        wanted: String,
        seen: Option<String>,
    },
    OutOfScope(Vec<Outside>),
}

impl Says {
    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Matched { .. } => "matched",
            Self::No => "no",
            Self::Failed(_) => "failed",
            Self::Off(_) => "off",
            Self::FirstRun => "first_run",
            Self::OtherQuery { .. } => "other_query",
            Self::OutOfScope(_) => "out_of_scope",
        }
    }
}

/// A filter, cut, and what came of it.
pub struct Look {
    pub clauses: Clauses,
    pub explained: Explained,
}

impl Look {
    /// How many clauses held: the nearer a miss, the more.
    pub fn nearness(&self) -> usize {
        self.explained.seen.iter().filter(|s| s.truthy > 0).count()
    }
}

/// One probe and the event.
pub struct Verdict {
    pub spec: Spec,
    pub says: Says,
    /// Clause by clause; not for a probe that never ran its filter, unless it was asked for by name.
    pub look: Option<Look>,
    /// The `rev` under which it matched when the event passed, if it did.
    pub then: Option<String>,
    pub deeds: Vec<Deed>,
}

/// The event that is looked at.
pub struct Subject<'a> {
    pub line: &'a str,
    pub event: &'a Value,
    pub val: &'a Val,
    pub now_ms: i64,
}

impl<'a> Subject<'a> {
    pub fn new(line: &'a str, event: &'a Value, val: &'a Val) -> Self {
        let now_ms = now(val, event::Time::now().ms());
        Self { line, event, val, now_ms }
    }

    /// The `rev` of a match that the event already carries.
    fn then(&self, probe: &str) -> Option<String> {
        let matches = self.event.get("probes")?.as_array()?;
        let own = matches.iter().find(|m| m.get("name").and_then(Value::as_str) == Some(probe))?;
        Some(own.get("rev").and_then(Value::as_str).unwrap_or_default().to_owned())
    }
}

/// What each of these probes says. `asked`: they were named, so their filters are looked at in any case.
pub fn all(
    config: &Config,
    specs: Vec<Spec>,
    subject: &Subject<'_>,
    mut deeds: Deeds,
    asked: bool,
) -> Result<Vec<Verdict>, StageError> {
    let modules = |path: &str| config.module(path);
    let wrong = |text: String| StageError::usage(format!("\n{text}"));
    let set = FilterSet::build(specs.clone(), &modules)
        .map_err(|errors| wrong(errors.iter().map(probe::CompileError::render).collect()))?;
    let outcome = set
        .run(subject.line.as_bytes(), subject.now_ms, &mut Quiet)
        .map_err(|e| StageError::usage(format!("the event cannot be read: {e}")))?;
    let mut found: BTreeMap<usize, Says> = BTreeMap::new();
    for hit in outcome.found {
        found.insert(hit.probe, Says::Matched { key: hit.key, context: hit.context });
    }
    let off = gates::switched_off(config)?;
    let limits = Limits::default();
    let mut verdicts = Vec::with_capacity(specs.len());
    for (i, spec) in specs.into_iter().enumerate() {
        let gate = gate(&spec, subject, off.get(&(spec.name.clone(), spec.rev.clone())));
        let look = if gate.is_none() || asked {
            let clauses =
                Clauses::new(&spec.filter.text, &spec.filter.name, &modules).map_err(|e| wrong(e.render()))?;
            let explained = clauses.explain(subject.val, subject.now_ms, &limits);
            Some(Look { clauses, explained })
        } else {
            None
        };
        let says =
            gate.or_else(|| found.remove(&i)).unwrap_or_else(|| match look.as_ref().map(|l| &l.explained.decision) {
                Some(Decision::Failed(text)) => Says::Failed(text.clone()),
                Some(Decision::Exceeded(limit)) => Says::Failed(limits.exceeded(*limit)),
                _ => Says::No,
            });
        let then = subject.then(&spec.name);
        let deeds = deeds.remove(&spec.name).unwrap_or_default();
        verdicts.push(Verdict { spec, says, look, then, deeds });
    }
    Ok(verdicts)
}

/// What keeps the filter from seeing the event, if anything does.
fn gate(spec: &Spec, subject: &Subject<'_>, off: Option<&Off>) -> Option<Says> {
    let seen = gates::query(subject.event);
    if let Some(wanted) = spec.query_name.as_ref().filter(|name| seen != Some(name.as_str())) {
        return Some(Says::OtherQuery { wanted: wanted.clone(), seen: seen.map(str::to_owned) });
    }
    let outside = gates::outside(spec, subject.event);
    if !outside.is_empty() {
        return Some(Says::OutOfScope(outside));
    }
    if spec.query_name.is_some() && !spec.first_run && gates::is_first_run(subject.event) {
        return Some(Says::FirstRun);
    }
    off.map(|off| Says::Off(off.clone()))
}

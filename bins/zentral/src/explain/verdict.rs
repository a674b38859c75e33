//! What one probe says of an event, and why.

use std::collections::BTreeMap;

use event::Time;
use pipe::StageError;
use pipe::config::Config;
use probe::clauses::{Clauses, Explained, now};
use probe::{Decision, FilterSet, Found, Kept, Limits, Quiet, Source, Spec, Val};
use serde_json::Value;

use super::deeds::{Deed, Known};
use super::gates::{self, Off};
use super::outlook::{self, Outlook};

/// What a probe says, worst news for its author first where several are true.
#[derive(Debug, Clone, PartialEq)]
pub enum Says {
    Matched {
        key: Option<String>,
        context: Option<String>,
        /// `until` matched, not the filter.
        closes: bool,
    },
    /// In scope, its query, and the filter said no.
    No,
    /// A runtime error of jq, or a limit.
    Failed(String),
    Off(Off),
    Kept(Kept),
}

impl Says {
    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Matched { .. } => "matched",
            Self::No => "no",
            Self::Failed(_) => "failed",
            Self::Off(_) => "off",
            Self::Kept(Kept::FirstRun) => "first_run",
            Self::Kept(Kept::OtherQuery { .. }) => "other_query",
            Self::Kept(Kept::OutOfScope(_)) => "out_of_scope",
        }
    }
}

/// A filter, cut, and what came of it.
pub struct Look {
    pub clauses: Clauses,
    pub explained: Explained,
}

impl Look {
    pub fn says_yes(&self) -> bool {
        matches!(self.explained.decision, Decision::Yes(_))
    }

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
    /// The same of the program that ends an incident, where it is asked: where the filter does not match.
    pub until: Option<Look>,
    /// The `rev` under which it matched when the event passed, if it did.
    pub then: Option<String>,
    pub deeds: Vec<Deed>,
    /// What held the match back.
    pub held: Option<String>,
    /// The incident that the match is about.
    pub incident: Option<Incident>,
    /// What would become of the match of an event that nobody has acted upon.
    pub outlook: Option<Outlook>,
}

/// An incident, as far as people need it here.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Incident {
    pub id: String,
    /// `open`, `taken` or `closed`.
    pub status: String,
    pub opened: Time,
    pub last: Time,
    pub count: u64,
}

/// The event that is looked at.
pub struct Subject<'a> {
    pub line: &'a str,
    pub event: &'a Value,
    pub val: &'a Val,
    pub now_ms: i64,
    /// It was given, not found: nobody has acted upon it.
    pub is_given: bool,
}

impl<'a> Subject<'a> {
    pub fn new(line: &'a str, event: &'a Value, val: &'a Val, is_given: bool) -> Self {
        let now_ms = now(val, Time::now().ms());
        Self { line, event, val, now_ms, is_given }
    }

    fn id(&self) -> &str {
        self.event.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()).unwrap_or("given")
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
    mut known: Known,
    asked: bool,
) -> Result<Vec<Verdict>, StageError> {
    let modules = |path: &str| config.module(path);
    let wrong = |text: String| StageError::usage(format!("\n{text}"));
    let set = FilterSet::build(specs.clone(), &modules)
        .map_err(|errors| wrong(errors.iter().map(probe::CompileError::render).collect()))?;
    let outcome = set
        .run(subject.line.as_bytes(), subject.now_ms, &mut Quiet)
        .map_err(|e| StageError::usage(format!("the event cannot be read: {e}")))?;
    let mut found: BTreeMap<usize, Found> = outcome.found.into_iter().map(|hit| (hit.probe, hit)).collect();
    let off = gates::switched_off(config)?;
    let limits = Limits::default();
    let mut verdicts = Vec::with_capacity(specs.len());
    for (i, spec) in specs.into_iter().enumerate() {
        let gate = gate(&spec, subject, off.get(&(spec.name.clone(), spec.rev.clone())));
        let look = |program: &Source| -> Result<Look, StageError> {
            let clauses = Clauses::new(&program.text, &program.name, &modules).map_err(|e| wrong(e.render()))?;
            let explained = clauses.explain(subject.val, subject.now_ms, &limits);
            Ok(Look { clauses, explained })
        };
        let own = if gate.is_none() || asked { Some(look(&spec.filter)?) } else { None };
        let ends = spec.until.as_ref().filter(|_| own.as_ref().is_some_and(|look| !look.says_yes()));
        let until = ends.map(look).transpose()?;
        let hit = found.remove(&i).filter(|_| gate.is_none());
        let matched = hit.as_ref().and_then(|hit| set.annotation(hit));
        let hit = hit.map(|Found { key, context, closes, .. }| Says::Matched { key, context, closes });
        let decided = own.as_ref().map(|look| &look.explained.decision);
        let says = gate.or(hit).unwrap_or_else(|| match decided {
            Some(Decision::Failed(text)) => Says::Failed(text.clone()),
            Some(Decision::Exceeded(limit)) => Says::Failed(limits.exceeded(*limit)),
            _ => Says::No,
        });
        let then = subject.then(&spec.name);
        // A file that was named may be called as a probe is.
        let conf = config.probes.get(&spec.name).filter(|conf| filter::spec(config, conf).rev == spec.rev);
        let held = known.taken.get(&spec.name).filter(|why| !why.is_empty()).cloned();
        let deeds = known.of_probe(&spec.name, conf.map_or(&[][..], |conf| &conf.act));
        let received = Time::from_ms(subject.now_ms);
        let about = matched.as_ref().zip(conf);
        let incident = match about.filter(|(_, conf)| conf.until.is_some()) {
            Some((matched, _)) => outlook::incident(config, matched, subject.line.as_bytes(), received)?,
            None => None,
        };
        let is_new = subject.is_given && !known.taken.contains_key(&spec.name);
        let outlook = match about.filter(|_| is_new) {
            Some((matched, conf)) => {
                outlook::of(config, conf, matched, subject.line.as_bytes(), subject.id(), received)?
            }
            None => None,
        };
        verdicts.push(Verdict { spec, says, look: own, until, then, deeds, held, incident, outlook });
    }
    Ok(verdicts)
}

/// What keeps the filter from seeing the event, if anything does.
fn gate(spec: &Spec, subject: &Subject<'_>, off: Option<&Off>) -> Option<Says> {
    probe::kept(spec, subject.event).map(Says::Kept).or_else(|| off.map(|off| Says::Off(off.clone())))
}

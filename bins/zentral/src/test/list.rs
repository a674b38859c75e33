//! Examples that are lists: events one after the other, judged as `act` judges matches, by the conditions of a probe.

use std::collections::BTreeSet;
use std::path::Path;

use act::conditions::{Conditions, Decision, Rules};
use act::ledger::SCHEMA;
use act::told::Kept;
use event::{Time, json};
use pipe::StageError;
use pipe::config::{Config, ProbeConf, parse_duration, probes_in, render};
use probe::examples::{Act, ExampleResult, List, Step};
use probe::{Decision as ProgramSays, FilterSet, Limits, Program, Quiet, Scope, Spec};
use registry::db::Db;
use serde_json::{Value, json};

use crate::judge;

/// What became of a list.
pub struct Listed {
    /// As of any example.
    pub result: ExampleResult,
    /// The probe whose conditions held.
    pub probe: Option<String>,
    /// Place of the first event that is otherwise than asked, from 0, and what became of it.
    pub differs: Option<(usize, Came)>,
    /// The new value of `acts`, if it can be updated.
    pub change: Option<String>,
    /// The events as the filter saw them.
    pub lines: Vec<String>,
}

impl Listed {
    /// Whether what differs is what the filter said, not a condition on acting.
    pub fn is_about_the_filter(&self) -> bool {
        matches!(self.differs, Some((_, Came::No | Came::Failed(_))))
    }
}

/// What became of one event.
pub enum Came {
    /// The filter says no, and so does `until`.
    No,
    /// It failed.
    Failed(String),
    /// A condition held it back.
    Held(String),
    /// Actions are told this.
    Acted(Kept),
}

/// Runs a list by the conditions of the probe that has the filter.
pub fn run(config: &Config, filter: &Path, program: &Program, list: &List) -> Result<Listed, StageError> {
    let want = Value::Array(list.acts.iter().map(said).collect()).to_string();
    let result =
        |ok, got: String| ExampleResult { line: list.line, why: list.why.clone(), ok, got, want: want.clone() };
    let failed = |why: String| Listed {
        result: result(false, format!("error: {why}")),
        probe: None,
        differs: None,
        change: None,
        lines: Vec::new(),
    };
    let conf = match owner(config, filter, list.probe.as_deref()) {
        Ok(conf) => conf,
        Err(why) => return Ok(failed(why)),
    };
    let times = match times(&list.events) {
        Ok(times) => times,
        Err(why) => return Ok(failed(why)),
    };
    let mut lines = Vec::with_capacity(times.len());
    for (n, (step, received)) in list.events.iter().zip(&times).enumerate() {
        match with_received(&step.event, *received) {
            Some(line) => lines.push(line),
            None => return Ok(failed(format!("event {} cannot be read", n + 1))),
        }
    }
    let came = judge(config, &conf, program, &lines, &times)?;
    let got: Vec<Value> = list.acts.iter().zip(&came).map(|(act, came)| came.in_words_of(act)).collect();
    let got = Value::Array(got).to_string();
    let failed = came.iter().any(|came| matches!(came, Came::Failed(_)));
    let differs = list.acts.iter().zip(came).enumerate().find(|(_, (act, came))| !holds(act, came));
    let differs = differs.map(|(n, (_, came))| (n, came));
    // No example can ask for a failure.
    let change = (differs.is_some() && !failed).then(|| got.clone());
    Ok(Listed { result: result(differs.is_none(), got), probe: Some(conf.name), differs, change, lines })
}

/// The probe that has this filter: of the configuration, else of the file NAME.toml beside it.
fn owner(config: &Config, filter: &Path, named: Option<&str>) -> Result<ProbeConf, String> {
    let whole = |path: &Path| std::fs::canonicalize(path).ok();
    let here = whole(filter);
    let has = |conf: &ProbeConf| conf.filter.file.as_deref().and_then(whole) == here && here.is_some();
    let mut found: Vec<ProbeConf> = config.probes.values().filter(|conf| has(conf)).cloned().collect();
    let beside = filter.with_extension("toml");
    if found.is_empty() && beside.exists() {
        let probes = probes_in(&beside).map_err(|findings| render(&findings).trim_end().to_owned())?;
        found.extend(probes.into_iter().filter(has));
    }
    if let Some(name) = named {
        found.retain(|conf| conf.name == name);
    }
    let names: Vec<String> = found.iter().map(|conf| conf.name.clone()).collect();
    match (found.pop(), names.as_slice(), named) {
        (Some(conf), [_], _) => Ok(conf),
        (None, _, Some(name)) => Err(format!("no probe `{name}` with this filter is in the configuration")),
        (None, ..) => Err(format!(
            "a list needs the probe that has this filter, for its conditions: none is in the configuration, nor in {}",
            beside.display()
        )),
        (Some(_), names, _) => {
            Err(format!("several probes have this filter ({}): name one of them with `probe`", names.join(", ")))
        }
    }
}

/// When each event is received: `30s` after the first, `+30s` after the one before, else its own time or that of the one
/// before. Without any the clock begins in 1970.
fn times(steps: &[Step]) -> Result<Vec<Time>, String> {
    let (mut times, mut first, mut before) = (Vec::with_capacity(steps.len()), None, 0);
    for (n, step) in steps.iter().enumerate() {
        let wrong = |what: &str| format!("event {}: {what}", n + 1);
        let own = match json::get(step.event.as_bytes(), "received") {
            None => None,
            Some(text) => {
                let time = json::parse_str(text).and_then(|text| text.parse::<Time>().ok());
                Some(time.ok_or_else(|| wrong("`received` is no time such as 2026-11-21T19:00:00Z"))?.ms())
            }
        };
        let first = *first.get_or_insert(own.unwrap_or(0));
        let at = match step.at.as_deref() {
            None => own.unwrap_or(if n == 0 { first } else { before }),
            Some(text) => {
                let (from, text) = match text.strip_prefix('+') {
                    Some(text) if n > 0 => (before, text),
                    plus => (first, plus.unwrap_or(text)),
                };
                let time = parse_duration(text).and_then(|time| i64::try_from(time.as_millis()).ok());
                let what = "`at` is a time such as 30s or 10m, after the first one, or +30s, after the one before";
                from.saturating_add(time.ok_or_else(|| wrong(what))?)
            }
        };
        times.push(Time::from_ms(at));
        before = at;
    }
    Ok(times)
}

/// The event in canonical form, received then.
fn with_received(event: &str, received: Time) -> Option<String> {
    let mut line = Vec::new();
    json::canonical(event.as_bytes(), &mut line).ok()?;
    let mut out = format!("{{\"received\":\"{received}\"");
    for member in json::members(&line) {
        let (key, value) = member.ok()?;
        if key != b"received" {
            out.push_str(&format!(",\"{}\":{}", std::str::from_utf8(key).ok()?, std::str::from_utf8(value).ok()?));
        }
    }
    out.push('}');
    Some(out)
}

/// What becomes of each. As with other examples the filter sees every event, whatever the probe's scope and query.
fn judge(
    config: &Config,
    conf: &ProbeConf,
    program: &Program,
    lines: &[String],
    times: &[Time],
) -> Result<Vec<Came>, StageError> {
    let own = filter::spec(config, conf);
    let spec = Spec { scope: Scope::default(), query_name: None, first_run: true, ..own };
    let modules = |path: &str| config.module(path);
    let wrong = |errors: Vec<probe::CompileError>| {
        StageError::usage(errors.iter().map(|e| format!("\n{}", e.render())).collect::<String>())
    };
    let set = FilterSet::build(vec![spec], &modules).map_err(wrong)?;
    let conditions: Conditions = [(conf.name.clone(), Rules::of(conf))].into_iter().collect();
    let mut db = Db::memory(&[SCHEMA])?;
    let mut tx = db.begin()?;
    let (mut taken, mut all) = (BTreeSet::new(), Vec::with_capacity(lines.len()));
    for (n, (line, received)) in lines.iter().zip(times).enumerate() {
        let line = line.as_bytes();
        let outcome = set.run(line, received.ms(), &mut Quiet);
        let outcome = outcome.map_err(|e| StageError::usage(format!("event {}: {e}", n + 1)))?;
        let Some(found) = outcome.found.first() else {
            all.push(no_match(program, line, *received));
            continue;
        };
        let id = json::get(line, "id").and_then(json::parse_str).filter(|id| !id.is_empty());
        let id = id.map_or_else(|| format!("event {}", n + 1), |id| id.into_owned());
        if !taken.insert(id.clone()) {
            all.push(Came::Held(format!("the same event again, by its id {id}")));
            continue;
        }
        let event = judge::event(line, id, *received);
        let Some(matched) = set.annotation(found) else { continue };
        let decision = conditions.decide(&event, &matched, &mut conf.act.clone(), &mut Vec::new(), &mut tx)?;
        all.push(match decision {
            Decision::Act(kept) => Came::Acted(kept),
            Decision::Held(_, why) => Came::Held(why),
        });
    }
    Ok(all)
}

/// The engine leaves out what cannot match: whether the filter fails there is asked of itself.
fn no_match(program: &Program, line: &[u8], received: Time) -> Came {
    let limits = Limits::default();
    match probe::parse(line).map(|event| program.decide(&event, received.ms(), &limits)) {
        Ok(ProgramSays::Failed(text)) => Came::Failed(text),
        Ok(ProgramSays::Exceeded(limit)) => Came::Failed(limits.exceeded(limit)),
        _ => Came::No,
    }
}

fn holds(act: &Act, came: &Came) -> bool {
    let state = |kept: &Kept| kept.state.map(|state| state.word());
    match (act, came) {
        (Act::Nothing, Came::No | Came::Held(_)) | (Act::Anything, Came::Acted(_)) => true,
        (Act::Count(n), Came::Acted(kept)) => kept.count == *n,
        (Act::State(word), Came::Acted(kept)) => state(kept) == Some(word.as_str()),
        (Act::Both { state: word, count }, Came::Acted(kept)) => {
            state(kept) == Some(word.as_str()) && kept.count == *count
        }
        _ => false,
    }
}

fn said(act: &Act) -> Value {
    match act {
        Act::Nothing => false.into(),
        Act::Anything => true.into(),
        Act::Count(n) => (*n).into(),
        Act::State(state) => state.as_str().into(),
        Act::Both { state, count } => json!({"state": state, "count": count}),
    }
}

impl Came {
    /// As an example would ask for it; what holds stays as it is asked for.
    fn in_words_of(&self, act: &Act) -> Value {
        match (self, act) {
            (_, act) if holds(act, self) => said(act),
            (Self::No | Self::Held(_), _) => false.into(),
            (Self::Failed(why), _) => format!("error: {why}").into(),
            (Self::Acted(kept), act) => match (kept.state, kept.count, act) {
                (Some(state), count, Act::Both { .. }) => json!({"state": state.word(), "count": count}),
                (Some(_), count, Act::Count(_)) => count.into(),
                (Some(state), ..) => state.word().into(),
                (None, 0 | 1, _) => true.into(),
                (None, count, _) => count.into(),
            },
        }
    }
}

impl std::fmt::Display for Came {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::No => f.write_str("no match"),
            Self::Failed(why) => write!(f, "error: {why}"),
            Self::Held(why) => write!(f, "held back: {why}"),
            Self::Acted(kept) => {
                f.write_str("acted upon")?;
                if let Some(state) = kept.state {
                    write!(f, ", {}", state.word())?;
                }
                if kept.count > 1 { write!(f, ", {} matches", kept.count) } else { Ok(()) }
            }
        }
    }
}

//! Every event through every probe: annotated to `to`, the matches to `matches`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use event::{Time, json};
use pipe::config::{Config, StageConf};
use pipe::{Context, Exit, Line, Out, Stage, StageError};
use probe::{FilterSet, Found, Note, Outcome, ParseError, Why};
use prometheus::{CounterVec, IntCounterVec};
use registry::db::{Schema, Tx};

use crate::failures::{self, Failures, Told};
use crate::note::{CrashNote, Left, Run};
use crate::{Args, specs};

/// The most probes that are written on one event; beyond it `probes_more` says how many there were.
const PROBES_MAX: usize = 100;
/// What is tried in turn until the annotated event is no longer than a line: how many probes, and whether with contexts.
const WAYS: [(usize, bool); 5] = [(PROBES_MAX, true), (PROBES_MAX, false), (10, false), (1, false), (0, false)];

/// The stage with the probes of the configuration.
pub struct Annotate {
    set: FilterSet,
    names: Vec<String>,
    failures: Failures,
    note: CrashNote,
    guilty: Option<Run>,
    /// What happened to filters between two batches; told and written down at once.
    pending: Vec<Told>,
    /// The probes that were named, at a shell; none: all.
    only: Vec<String>,
    metrics: Option<ProbeMetrics>,
    tally: Tally,
    /// In a pipeline every event goes to `to`; at the shell only matches do, unless `--all`.
    shell: Option<Shell>,
    found: u64,
    buffer: Vec<u8>,
    probes: Vec<u8>,
}

struct Shell {
    all: bool,
    invert: bool,
    count: bool,
    trusted: bool,
    max: u64,
}

struct ProbeMetrics {
    runs: IntCounterVec,
    seconds: CounterVec,
    matches: IntCounterVec,
    failures: IntCounterVec,
}

/// What the probes did in one batch, by their place in the set; added to the metrics once.
#[derive(Default)]
struct Tally {
    probes: Vec<Work>,
    begun: Option<Instant>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Work {
    runs: u64,
    matches: u64,
    took: Duration,
}

impl Tally {
    fn of(&mut self, probe: usize) -> Option<&mut Work> {
        if probe >= self.probes.len() {
            self.probes.resize(probe + 1, Work::default());
        }
        self.probes.get_mut(probe)
    }

    /// Adds to the metrics, and begins anew.
    fn flush(&mut self, names: &[String], metrics: &ProbeMetrics) {
        for (work, name) in self.probes.iter_mut().zip(names).filter(|(work, _)| work.runs > 0) {
            metrics.runs.with_label_values(&[name]).inc_by(work.runs);
            metrics.seconds.with_label_values(&[name]).inc_by(work.took.as_secs_f64());
            if work.matches > 0 {
                metrics.matches.with_label_values(&[name]).inc_by(work.matches);
            }
            *work = Work::default();
        }
    }
}

impl Annotate {
    /// As a stage of a pipeline.
    pub fn for_stage(config: &Arc<Config>, conf: &StageConf) -> Result<Self, StageError> {
        let mut made = Self::new(specs::build(config, &[])?, Vec::new(), None);
        let path = config.data.join("run").join(format!("{}.note", conf.name));
        let (note, left) = CrashNote::open(&path).map_err(|e| StageError::state(format!("{}: {e}", path.display())))?;
        made.note = note;
        if let Left::Guilty(run) = left {
            made.guilty = Some(run);
        }
        Ok(made)
    }

    /// Between pipes, with some or all probes of the configuration.
    pub fn for_shell(config: &Arc<Config>, names: Vec<String>, args: &Args) -> Result<Self, StageError> {
        let max = args.max.unwrap_or(u64::MAX);
        let (all, invert, count, trusted) = (args.all, args.invert, args.count, args.trusted);
        let set = specs::build(config, &names)?;
        if set.is_empty() {
            return Err(StageError::usage("no filter: give -e JQ, a FILE.jq, or probes in the configuration"));
        }
        Ok(Self::new(set, names, Some(Shell { all, invert, count, trusted, max })))
    }

    fn new(set: FilterSet, only: Vec<String>, shell: Option<Shell>) -> Self {
        Self {
            names: names(&set),
            set,
            failures: Failures::default(),
            note: CrashNote::default(),
            guilty: None,
            pending: Vec::new(),
            only,
            metrics: None,
            tally: Tally::default(),
            shell,
            found: 0,
            buffer: Vec::new(),
            probes: Vec::new(),
        }
    }

    /// Filters that were off and have another text now.
    fn resume(&mut self) {
        let specs = (0..self.set.len()).filter_map(|i| self.set.spec(i));
        let told = self.failures.resumed(specs.map(|s| (s.name.as_str(), s.rev.as_str())));
        for told in &told {
            tracing::info!("probe {}: runs again, its text has changed", told.probe);
        }
        self.pending.extend(told);
    }

    /// Writes the annotated event into `self.buffer`, and how many of the probes are on it.
    fn annotate(&mut self, line: &[u8], found: &[Found]) -> Result<usize, json::JsonError> {
        for (most, contexts) in WAYS {
            self.write(line, found, most, contexts)?;
            if self.buffer.len() <= event::LINE_MAX || found.is_empty() {
                return Ok(most.min(found.len()));
            }
        }
        Ok(0)
    }

    fn write(&mut self, line: &[u8], found: &[Found], most: usize, contexts: bool) -> Result<(), json::JsonError> {
        self.probes.clear();
        for (i, found) in found.iter().take(most).enumerate() {
            self.probes.push(if i == 0 { b'[' } else { b',' });
            if let Some(mut probe) = self.set.annotation(found) {
                if !contexts {
                    probe.context = None;
                }
                probe.write(&mut self.probes);
            }
        }
        if !self.probes.is_empty() {
            self.probes.push(b']');
            if found.len() > most {
                self.probes.extend_from_slice(format!(",\"probes_more\":{}", found.len() - most).as_bytes());
            }
        }
        self.buffer.clear();
        event::write_annotated(line, &self.probes, &mut self.buffer)
    }

    /// An event as long as a line may be has no room for a single probe: it goes on, its matches are told here.
    fn lost(&self, line: &Line<'_>, found: &[Found]) {
        let names: Vec<&str> = found.iter().filter_map(|f| self.names.get(f.probe)).map(String::as_str).collect();
        tracing::warn!("line {}: the event is too long to carry its matches: {}", line.number, names.join(" "));
        if let Some(metrics) = &self.metrics {
            names.iter().for_each(|name| metrics.failures.with_label_values(&[*name, "too_long"]).inc());
        }
    }

    fn tell(&mut self, line: &Line<'_>, outcome: &Outcome, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        for failure in &outcome.failures {
            let Some(spec) = self.set.spec(failure.probe) else { continue };
            let reason = match &failure.why {
                Why::Failed(_) => "error",
                Why::Exceeded(limit) => limit.as_str(),
            };
            if let Some(metrics) = &self.metrics {
                metrics.failures.with_label_values(&[spec.name.as_str(), reason]).inc();
            }
            match &failure.why {
                Why::Failed(text) => tracing::debug!("probe {}: {text}", spec.name),
                Why::Exceeded(limit) => {
                    let text = |key| json::get(line.bytes, key).and_then(json::parse_str).unwrap_or_default();
                    let received = text("received").parse::<Time>().unwrap_or_default();
                    let (name, rev) = (spec.name.clone(), spec.rev.clone());
                    let id = text("id").into_owned();
                    let Some(kind) = self.failures.exceeded(tx, &name, &rev, &id, received)? else { continue };
                    tracing::warn!("probe {name}: {kind}, exceeded its limit of {limit} at event {id}");
                    let told = Told { kind, probe: name, rev, event: id, reason: limit.to_string() };
                    let said = failures::event(&told, received);
                    if self.shell.as_ref().is_none_or(|s| s.all) {
                        let _ = out.line(0, &said);
                    }
                }
            }
        }
        Ok(())
    }

    /// Runs the probes over one event.
    fn ask(&mut self, line: &[u8]) -> Result<Outcome, ParseError> {
        let (note, tally) = (&mut self.note, &mut self.tally);
        let mut gate = Gate { set: &self.set, names: &self.names, failures: &self.failures, note, tally };
        let outcome = self.set.run(line, 0, &mut gate)?;
        for found in &outcome.found {
            if let Some(work) = self.tally.of(found.probe) {
                work.matches += 1;
            }
        }
        Ok(outcome)
    }

    fn one(&mut self, line: &Line<'_>, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let trusted = self.shell.as_ref().is_none_or(|s| s.trusted);
        let canonical;
        let bytes = if trusted || json::is_canonical(line.bytes) {
            line.bytes
        } else {
            let mut text = Vec::with_capacity(line.bytes.len());
            if let Err(e) = json::canonical(line.bytes, &mut text) {
                out.refused(line, "not_json", e.to_string());
                return Ok(());
            }
            canonical = text;
            &canonical
        };
        let outcome = match self.ask(bytes) {
            Ok(outcome) => outcome,
            Err(e) => {
                out.refused(line, "not_an_event", e.to_string());
                return Ok(());
            }
        };
        if !outcome.failures.is_empty() {
            self.tell(line, &outcome, out, tx)?;
        }
        let hit = outcome.found.is_empty() == self.shell.as_ref().is_some_and(|s| s.invert);
        self.found += u64::from(hit);
        let carried = match self.annotate(bytes, &outcome.found) {
            Ok(carried) => carried,
            Err(e) => {
                out.refused(line, "not_an_event", e.to_string());
                return Ok(());
            }
        };
        let lost = carried == 0 && !outcome.found.is_empty();
        if lost {
            self.lost(line, &outcome.found);
        }
        let (to_main, counted) = match &self.shell {
            None => (true, false),
            Some(shell) => ((hit || shell.all) && !shell.count, shell.count && hit),
        };
        let mut fits = true;
        if to_main {
            fits &= out.line(0, &self.buffer).is_ok();
        }
        if hit && fits && !lost {
            fits &= out.line(1, &self.buffer).is_ok();
        }
        if !fits {
            out.refused(line, "too_long", "the annotated event is longer than a line may be");
        } else if to_main || counted {
            out.done();
        } else {
            out.ignored("no_match");
        }
        Ok(())
    }
}

fn names(set: &FilterSet) -> Vec<String> {
    (0..set.len()).filter_map(|i| set.spec(i)).map(|s| s.name.clone()).collect()
}

/// Keeps quarantined filters from running, notes what runs and takes its time.
struct Gate<'a> {
    set: &'a FilterSet,
    names: &'a [String],
    failures: &'a Failures,
    note: &'a mut CrashNote,
    tally: &'a mut Tally,
}

impl Note for Gate<'_> {
    fn before(&mut self, probe: usize, event_id: &str) -> bool {
        let Some(spec) = self.set.spec(probe) else { return false };
        if self.failures.is_off(&spec.name, &spec.rev) {
            return false;
        }
        self.note.before(&spec.name, &spec.rev, event_id);
        self.tally.begun = Some(Instant::now());
        true
    }

    fn after(&mut self, probe: usize) {
        let took = self.tally.begun.take().map_or(Duration::ZERO, |begun| begun.elapsed());
        if let Some(work) = self.tally.of(probe) {
            work.runs += 1;
            work.took += took;
        }
        if let Some(name) = self.names.get(probe) {
            self.note.after(name);
        }
    }
}

impl Stage for Annotate {
    fn outputs(&self) -> &'static [&'static str] {
        &["to", "matches"]
    }

    fn schema(&self) -> Option<Schema> {
        Some(failures::SCHEMA)
    }

    fn start(&mut self, context: &Context, state: &mut Tx<'_>) -> Result<(), StageError> {
        let metrics = &context.metrics;
        self.metrics = Some(ProbeMetrics {
            runs: metrics.counters("zentral_probe_runs_total", "Filters that jq ran.", &["probe"]),
            seconds: metrics.seconds_counters("zentral_probe_seconds_total", "Time that jq took.", &["probe"]),
            matches: metrics.counters("zentral_probe_matches_total", "Events that a probe chose.", &["probe"]),
            failures: metrics.counters("zentral_probe_failures_total", "Runs that failed.", &["probe", "reason"]),
        });
        self.failures = Failures::load(state)?;
        if let Some(Run { probe, rev, event, .. }) = self.guilty.take() {
            let runs = (0..self.set.len()).filter_map(|i| self.set.spec(i)).any(|s| s.name == probe && s.rev == rev);
            if runs && !self.failures.is_off(&probe, &rev) {
                tracing::error!("probe {probe} killed the process twice at event {event}: switched off");
                self.pending.push(self.failures.switch_off(&probe, &rev, &event));
            }
        }
        self.resume();
        Ok(())
    }

    fn due(&self) -> bool {
        !self.pending.is_empty()
    }

    fn idle(&mut self, out: &mut Out, state: &mut Tx<'_>) -> Result<(), StageError> {
        for told in std::mem::take(&mut self.pending) {
            self.failures.keep(state, &told)?;
            if self.shell.as_ref().is_none_or(|s| s.all) {
                let _ = out.line(0, &failures::event(&told, Time::now()));
            }
        }
        Ok(())
    }

    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, state: &mut Tx<'_>) -> Result<(), StageError> {
        for line in lines {
            if self.shell.as_ref().is_some_and(|s| self.found >= s.max) {
                out.ignored("after_max");
                continue;
            }
            self.one(line, out, state)?;
        }
        self.note.clear();
        if let Some(metrics) = &self.metrics {
            self.tally.flush(&self.names, metrics);
        }
        Ok(())
    }

    fn committed(&mut self) -> Result<(), StageError> {
        match &self.shell {
            Some(shell) if self.found >= shell.max => Err(StageError { exit: Exit::Done, text: "enough".into() }),
            _ => Ok(()),
        }
    }

    fn reload(&mut self, config: &Arc<Config>) -> Result<(), StageError> {
        self.set = specs::build(config, &self.only)?;
        self.names = names(&self.set);
        self.resume();
        Ok(())
    }

    fn exit(&self) -> Exit {
        match &self.shell {
            None => Exit::Done,
            Some(shell) => {
                if shell.count {
                    let _ = pipe::write_stdout(format!("{}\n", self.found).as_bytes());
                }
                if self.found > 0 { Exit::Done } else { Exit::No }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use pipe::{Metrics, Waker};
    use registry::db::Db;

    #[test]
    fn each_probe_has_its_own_figures() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pipeline.toml");
        let text = "version = 1\n[probe.one]\nfilter = '.n == 1'\n[probe.none]\nfilter = 'false'\n";
        std::fs::write(&file, text).unwrap();
        let config = Arc::new(Config::load(&file, None).unwrap().0);
        let mut stage = Annotate::for_shell(&config, vec![], &Args::default()).unwrap();
        let (mut db, metrics) = (Db::memory(&[failures::SCHEMA]).unwrap(), Metrics::new("f"));
        let context = Context { name: "f".into(), waker: Waker::default(), metrics: metrics.clone(), config };
        stage.start(&context, &mut db.begin().unwrap()).unwrap();
        for _ in 0..2 {
            for line in [r#"{"id":"a","n":1}"#, r#"{"id":"b","n":2}"#] {
                stage.ask(line.as_bytes()).unwrap();
            }
            stage.tally.flush(&stage.names, stage.metrics.as_ref().unwrap());
        }
        let text = String::from_utf8(metrics.text()).unwrap();
        for line in [
            r#"zentral_probe_runs_total{probe="one",stage="f"} 4"#,
            r#"zentral_probe_runs_total{probe="none",stage="f"} 4"#,
            r#"zentral_probe_matches_total{probe="one",stage="f"} 2"#,
            r#"zentral_probe_seconds_total{probe="one",stage="f"} "#,
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains(r#"probe="all""#));
    }

    #[test]
    fn a_reload_keeps_to_the_probes_that_were_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pipeline.toml");
        std::fs::write(&file, "version = 1\n[probe.one]\nfilter = '1'\n[probe.two]\nfilter = '2'\n").unwrap();
        let config = Arc::new(Config::load(&file, None).unwrap().0);
        let mut stage = Annotate::for_shell(&config, vec!["two".into()], &Args::default()).unwrap();
        stage.reload(&config).unwrap();
        assert_eq!(stage.names, ["two"]);
    }
}

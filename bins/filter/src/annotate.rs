//! Every event through every probe: annotated to `to`, the matches to `matches`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use event::{Mistaken, Time, json};
use memchr::memmem::Finder;
use pipe::cli::Process;
use pipe::config::Config;
use pipe::{Context, Exit, Line, Out, Preparation, Stage, StageError};
use probe::{FilterSet, Found, Limits, Outcome, Why};
use registry::db::{Schema, Tx};

use crate::ask::{Answer, Manner, Purpose};
use crate::failures::{self, Failures, Told};
use crate::gates::Gates;
use crate::metrics::{ERROR, ProbeMetrics, TOO_LONG};
use crate::note::{CrashNote, Notes, Run};
use crate::pool::Pool;
use crate::write::Writer;
use crate::{Args, mistaken, specs};

/// Bytes of batches that share a commit, if they are there: its fsyncs cost the same for many lines.
const COMMIT: usize = 16 << 20;
/// Events that are looked at to find out why nothing comes of a probe that was named.
const LOOKED_AT: u64 = 100_000;

/// The stage with the probes of the configuration.
pub struct Annotate {
    set: Arc<FilterSet>,
    names: Vec<String>,
    failures: Failures,
    pool: Pool,
    /// The set for a reload, made beside the stream, and the configuration that it is of.
    prepared: Arc<Mutex<Option<Prepared>>>,
    guilty: Vec<Run>,
    /// What happened to filters between two batches; told and written down at once.
    pending: Vec<Told>,
    /// The probes that were named, at a shell; none: all.
    only: Vec<String>,
    metrics: Option<ProbeMetrics>,
    /// In a pipeline every event goes to `to`; at the shell only matches do, unless `--all`.
    shell: Option<Shell>,
    /// Of probes that were named: why nothing came of them.
    gates: Option<Gates>,
    /// What the first line is, if it is no event.
    mistaken: Option<Mistaken>,
    found: u64,
    /// Finds a key of ours on a line that comes in.
    annotated: Finder<'static>,
    writer: Writer,
}

type Prepared = (Arc<Config>, FilterSet);

struct Shell {
    all: bool,
    invert: bool,
    count: bool,
    trusted: bool,
    max: u64,
}

impl Annotate {
    /// As a stage of a pipeline, in this process.
    pub fn for_stage(process: &Process) -> Result<Self, StageError> {
        let set = specs::build(&process.config, &[])?;
        // Of several instances each has died by itself.
        let notes = Notes::open(&process.config.data.join("run"), &process.shown(), Pool::threads());
        let broken = |(path, e): (PathBuf, std::io::Error)| StageError::state(format!("{}: {e}", path.display()));
        let Notes { notes, guilty } = notes.map_err(broken)?;
        let mut made = Self::new(set, notes, Vec::new(), None)?;
        made.guilty = guilty;
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
        let notes = (0..Pool::threads()).map(|_| CrashNote::default()).collect();
        let named = (0..set.len()).filter_map(|i| Some((i, set.spec(i)?))).filter(|_| !names.is_empty());
        let gates = Gates::new(named, LOOKED_AT);
        let mut made = Self::new(set, notes, names, Some(Shell { all, invert, count, trusted, max }))?;
        made.gates = Some(gates);
        Ok(made)
    }

    fn new(set: FilterSet, notes: Vec<CrashNote>, only: Vec<String>, shell: Option<Shell>) -> Result<Self, StageError> {
        Ok(Self {
            names: names(&set),
            set: Arc::new(set),
            failures: Failures::default(),
            pool: Pool::new(notes).map_err(|e| StageError::state(format!("cannot start a thread: {e}")))?,
            prepared: Arc::default(),
            guilty: Vec::new(),
            pending: Vec::new(),
            only,
            metrics: None,
            shell,
            gates: None,
            mistaken: None,
            found: 0,
            annotated: Finder::new("\"probes"),
            writer: Writer::default(),
        })
    }

    fn manner(&self) -> Manner {
        Manner { trusted: self.shell.as_ref().is_none_or(|s| s.trusted), purpose: Purpose::Annotate }
    }

    /// Filters that were off and have another text now.
    fn resume(&mut self) {
        let specs = (0..self.set.len()).filter_map(|i| self.set.spec(i));
        let told = self.failures.resumed(specs.map(|s| (s.name.as_str(), s.rev.as_str())));
        for told in &told {
            tracing::info!("probe {}: runs again, its text has changed", told.probe);
        }
        self.pending.extend(told);
        self.look_who_is_off();
    }

    fn look_who_is_off(&mut self) {
        let off = (0..self.set.len()).map(|i| self.is_off(i)).collect();
        self.pool.set_off(off);
    }

    fn is_off(&self, probe: usize) -> bool {
        self.set.spec(probe).is_some_and(|spec| self.failures.is_off(&spec.name, &spec.rev))
    }

    /// An event as long as a line may be has no room for a single probe: it goes on, its matches are told here.
    fn lost(&self, line: &Line<'_>, found: &[Found]) {
        let names: Vec<&str> = found.iter().filter_map(|f| self.names.get(f.probe)).map(String::as_str).collect();
        tracing::warn!("line {}: the event is too long to carry its matches: {}", line.number, names.join(" "));
        if let Some(metrics) = &self.metrics {
            names.iter().for_each(|name| metrics.failed(name, TOO_LONG));
        }
    }

    /// Tells of the failures; whether a filter is off now that was not.
    fn tell(&mut self, line: &[u8], outcome: &Outcome, out: &mut Out, tx: &mut Tx<'_>) -> Result<bool, StageError> {
        let mut off = false;
        for failure in &outcome.failures {
            let Some(spec) = self.set.spec(failure.probe) else { continue };
            let reason = match &failure.why {
                Why::Failed(_) => ERROR,
                Why::Exceeded(limit) => limit.as_str(),
            };
            if let Some(metrics) = &self.metrics {
                metrics.failed(&spec.name, reason);
            }
            match &failure.why {
                Why::Failed(text) => tracing::debug!("probe {}: {text}", spec.name),
                Why::Exceeded(limit) => {
                    let received = failures::received(line);
                    let (name, rev) = (spec.name.clone(), spec.rev.clone());
                    let id = json::get(line, "id").and_then(json::parse_str).unwrap_or_default().into_owned();
                    let why = Limits::default().exceeded(*limit);
                    let say = self.failures.exceeded(tx, (&name, &rev), &why, &id, received)?;
                    let Some(kind) = say else { continue };
                    off |= self.failures.is_off(&name, &rev);
                    tracing::warn!("probe {name}: {kind}, {why} at event {id}");
                    let told = Told { kind, probe: name, rev, event: id, reason: limit.to_string() };
                    let said = failures::event(&told, received);
                    if self.shell.as_ref().is_none_or(|s| s.all) {
                        let _ = out.line(0, &said);
                    }
                }
            }
        }
        Ok(off)
    }

    /// An event that nobody chose goes on as it came, or not at all.
    fn pass(&mut self, line: &Line<'_>, out: &mut Out) {
        match &self.shell {
            Some(Shell { invert: true, .. }) => return self.give(line, None, &[], out),
            Some(Shell { all: false, .. } | Shell { count: true, .. }) => return out.ignored("no_match"),
            None | Some(_) => {}
        }
        // Only a line with a key of ours has to be written anew.
        if self.annotated.find(line.bytes).is_some() {
            return self.give(line, None, &[], out);
        }
        match out.line(0, line.bytes) {
            Ok(()) => out.done(),
            Err(_) => out.refused(line, "too_long", "the event is longer than a line may be"),
        }
    }

    /// Writes an event with its matches.
    fn give(&mut self, line: &Line<'_>, canonical: Option<&[u8]>, found: &[Found], out: &mut Out) {
        let bytes = canonical.unwrap_or(line.bytes);
        let hit = found.is_empty() == self.shell.as_ref().is_some_and(|s| s.invert);
        self.found += u64::from(hit);
        let carried = match self.writer.annotate(&self.set, bytes, found) {
            Ok(carried) => carried,
            Err(e) => return out.refused(line, "not_an_event", e.to_string()),
        };
        let lost = carried == 0 && !found.is_empty();
        if lost {
            self.lost(line, found);
        }
        let (to_main, counted) = match &self.shell {
            None => (true, false),
            Some(shell) => ((hit || shell.all) && !shell.count, shell.count && hit),
        };
        let mut fits = true;
        if to_main {
            fits &= out.line(0, self.writer.line()).is_ok();
        }
        if hit && fits && !lost {
            fits &= out.line(1, self.writer.line()).is_ok();
        }
        if !fits {
            out.refused(line, "too_long", "the annotated event is longer than a line may be");
        } else if to_main || counted {
            out.done();
        } else {
            out.ignored("no_match");
        }
    }
}

fn names(set: &FilterSet) -> Vec<String> {
    (0..set.len()).filter_map(|i| set.spec(i)).map(|s| s.name.clone()).collect()
}

impl Stage for Annotate {
    fn outputs(&self) -> &'static [&'static str] {
        &["to", "matches"]
    }

    fn schema(&self) -> Option<Schema> {
        Some(failures::SCHEMA)
    }

    fn start(&mut self, context: &Context, state: &mut Tx<'_>) -> Result<(), StageError> {
        self.metrics = Some(ProbeMetrics::new(&context.metrics));
        self.failures = Failures::load(state)?;
        for Run { probe, rev, event, .. } in std::mem::take(&mut self.guilty) {
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
        let mut asked = self.pool.ask(&self.set, self.manner(), lines);
        if let Some(gates) = &mut self.gates {
            gates.see(lines.iter().map(|line| line.bytes));
        }
        if self.shell.as_ref().is_some_and(|shell| !shell.invert) {
            self.mistaken = mistaken(lines).or(self.mistaken);
        }
        let max = self.shell.as_ref().map_or(u64::MAX, |shell| shell.max);
        while self.found < max
            && let Some((line, answer)) = self.pool.next(&mut asked)
        {
            match answer {
                Answer::No => self.pass(line, out),
                Answer::Refused(reason, text) => out.refused(line, reason, text),
                Answer::Line(answered) => {
                    let outcome = &answered.outcome;
                    if let Some(gates) = &mut self.gates {
                        outcome.found.iter().for_each(|found| gates.matched(found.probe));
                    }
                    let bytes = answered.canonical.as_deref().unwrap_or(line.bytes);
                    if !outcome.failures.is_empty() && self.tell(bytes, outcome, out, state)? {
                        self.look_who_is_off();
                    }
                    self.give(line, answered.canonical.as_deref(), &answered.outcome.found, out);
                }
            }
        }
        asked.leave(out);
        let tally = self.pool.rest();
        if let Some(metrics) = &mut self.metrics {
            metrics.add(tally, &self.names);
        }
        Ok(())
    }

    /// Whoever wants only so many matches wants no more read than they need.
    fn commit_bytes(&self) -> usize {
        if self.shell.as_ref().is_some_and(|shell| shell.max < u64::MAX) { 0 } else { COMMIT }
    }

    /// A filter that exceeds its limits is judged by each instance for itself; whoever writes that last is believed at the
    /// next start.
    fn takes_turns(&self) -> bool {
        false
    }

    fn committed(&mut self) -> Result<(), StageError> {
        match &self.shell {
            Some(shell) if self.found >= shell.max => Err(StageError { exit: Exit::Done, text: "enough".into() }),
            _ => Ok(()),
        }
    }

    fn preparation(&self) -> Option<Preparation> {
        let (old, only, prepared) = (Arc::clone(&self.set), self.only.clone(), Arc::clone(&self.prepared));
        Some(Box::new(move |config| {
            let set = specs::rebuild(&old, config, &only)?;
            *prepared.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(config), set));
            Ok(())
        }))
    }

    fn reload(&mut self, config: &Arc<Config>) -> Result<(), StageError> {
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).take();
        let set = match prepared {
            Some((of, set)) if Arc::ptr_eq(&of, config) => Arc::new(set),
            _ => Arc::new(specs::rebuild(&self.set, config, &self.only)?),
        };
        let old = std::mem::replace(&mut self.set, set);
        self.names = names(&self.set);
        if let Some(metrics) = &mut self.metrics {
            metrics.reloaded(&old, &self.set);
        }
        // What was counted is about probes that are no more.
        self.gates = None;
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
                if let Some(what) = self.mistaken.filter(|_| self.found == 0) {
                    tracing::info!("line 1 is {}", what.advice("FILE"));
                }
                let name = |probe: usize| self.names.get(probe).map_or("", String::as_str);
                for (probe, stopped) in self.gates.iter().flat_map(Gates::stopped) {
                    tracing::info!("probe {}: {stopped}", name(probe));
                }
                let events = self.gates.iter().filter(|_| self.mistaken.is_none());
                for (probe, failing) in events.flat_map(|gates| gates.failing(&self.set)) {
                    let name = name(probe);
                    tracing::info!("probe {name}: {failing}; {} shows where", failing.advice(name));
                }
                if self.found > 0 { Exit::Done } else { Exit::No }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use pipe::{Metrics, Waker};
    use registry::db::Db;

    #[test]
    fn each_probe_has_its_own_figures() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pipeline.toml");
        let text_of = "version = 1\n[probe.one]\nfilter = 'if .n == 1 then {n} else empty end'\n[probe.sum]\nfilter = '.n + 1 > 9'\n[probe.none]\nfilter = 'false'\n";
        std::fs::write(&file, text_of).unwrap();
        let config = Arc::new(Config::load(&file, None).unwrap().0);
        let mut stage = Annotate::for_shell(&config, vec![], &Args::default()).unwrap();
        let (mut db, metrics) = (Db::memory(&[failures::SCHEMA]).unwrap(), Metrics::new("f"));
        let context = Context { name: "f".into(), waker: Waker::default(), metrics: metrics.clone(), config };
        stage.start(&context, &mut db.begin().unwrap()).unwrap();
        for _ in 0..2 {
            let lines = [r#"{"id":"a","n":1}"#, r#"{"id":"b","n":2}"#].map(str::as_bytes);
            let lines = [1, 2].map(|number| Line { bytes: lines[number - 1], input: 0, number: number as u64 });
            let mut asked = stage.pool.ask(&stage.set, stage.manner(), &lines);
            while stage.pool.next(&mut asked).is_some() {}
            stage.metrics.as_mut().unwrap().add(stage.pool.rest(), &stage.names);
        }
        let text = String::from_utf8(metrics.text()).unwrap();
        for line in [
            r#"zentral_probe_runs_total{probe="one",stage="f"} 2"#,
            r#"zentral_probe_runs_total{probe="sum",stage="f"} 4"#,
            r#"zentral_probe_matches_total{probe="one",stage="f"} 2"#,
            r#"zentral_probe_seconds_total{probe="one",stage="f"} "#,
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains(r#"probe="none""#), "decided without jq");

        // Another text begins anew; what is as it was goes on.
        stage.metrics.as_ref().unwrap().failed("sum", ERROR);
        std::fs::write(&file, text_of.replace("> 9", "> 8")).unwrap();
        stage.reload(&Arc::new(Config::load(&file, None).unwrap().0)).unwrap();
        let text = String::from_utf8(metrics.text()).unwrap();
        assert!(text.contains(r#"zentral_probe_runs_total{probe="one",stage="f"} 2"#), "{text}");
        let of_sum: Vec<&str> = text.lines().filter(|line| line.contains(r#"probe="sum""#)).collect();
        assert!(of_sum.len() == 1 && of_sum[0].starts_with("zentral_probe_since_seconds{"), "{text}");
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

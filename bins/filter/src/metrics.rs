//! What the probes did, as metrics.

use std::collections::HashMap;
use std::time::Duration;

use event::Time;
use pipe::Metrics;
use probe::{FilterSet, Limit};
use prometheus::{Counter, CounterVec, IntCounter, IntCounterVec, IntGaugeVec};

/// Why runs fail, but for the limits.
pub(crate) const ERROR: &str = "error";
pub(crate) const TOO_LONG: &str = "too_long";

/// What the probes did since it was last asked. Of many probes few do anything in a while.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By their place in the set.
    work: Vec<Work>,
    /// Those that did something.
    busy: Vec<usize>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    pub(crate) runs: u64,
    pub(crate) matches: u64,
    pub(crate) took: Duration,
}

impl Tally {
    /// jq ran once, and took so long.
    pub(crate) fn ran(&mut self, probe: usize, took: Duration) {
        self.add(probe, Work { runs: 1, took, ..Work::default() });
    }

    /// The probe chose an event.
    pub(crate) fn matched(&mut self, probe: usize) {
        self.add(probe, Work { matches: 1, ..Work::default() });
    }

    fn add(&mut self, probe: usize, more: Work) {
        if probe >= self.work.len() {
            self.work.resize(probe + 1, Work::default());
        }
        let Some(work) = self.work.get_mut(probe) else { return };
        if work.runs + work.matches == 0 {
            self.busy.push(probe);
        }
        work.runs += more.runs;
        work.matches += more.matches;
        work.took += more.took;
    }

    /// All that was done, and nothing from now on.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (usize, Work)> {
        let Self { work, busy } = self;
        busy.drain(..).map(|probe| (probe, work.get_mut(probe).map(std::mem::take).unwrap_or_default()))
    }

    /// Takes over what another thread counted.
    pub(crate) fn take_over(&mut self, other: &mut Self) {
        other.take().for_each(|(probe, work)| self.add(probe, work));
    }
}

/// The series of each probe.
pub(crate) struct ProbeMetrics {
    runs: IntCounterVec,
    seconds: CounterVec,
    matches: IntCounterVec,
    failures: IntCounterVec,
    since: IntGaugeVec,
    /// By place in the set: a series is looked up once, when there is first something to count.
    handles: Vec<Handles>,
}

#[derive(Clone, Default)]
struct Handles {
    runs: Option<(IntCounter, Counter)>,
    matches: Option<IntCounter>,
}

impl ProbeMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            runs: metrics.counters("zentral_probe_runs_total", "Filters that jq ran.", &["probe"]),
            seconds: metrics.seconds_counters("zentral_probe_seconds_total", "Time that jq took.", &["probe"]),
            matches: metrics.counters("zentral_probe_matches_total", "Events that a probe chose.", &["probe"]),
            failures: metrics.counters("zentral_probe_failures_total", "Runs that failed.", &["probe", "reason"]),
            since: metrics.gauges("zentral_probe_since_seconds", "When a reload gave it its text.", &["probe"]),
            handles: Vec::new(),
        }
    }

    /// Takes in what was counted; the tally begins anew. `names` are those of the probes by their place.
    pub(crate) fn add(&mut self, tally: &mut Tally, names: &[String]) {
        let Self { runs: all_runs, seconds, matches: all_matches, handles, .. } = self;
        handles.resize_with(names.len(), Handles::default);
        for (probe, Work { runs, matches, took }) in tally.take() {
            let (Some(name), Some(handles)) = (names.get(probe), handles.get_mut(probe)) else { continue };
            let label = &[name.as_str()];
            if runs > 0 {
                let series = || (all_runs.with_label_values(label), seconds.with_label_values(label));
                let (count, time) = handles.runs.get_or_insert_with(series);
                count.inc_by(runs);
                time.inc_by(took.as_secs_f64());
            }
            if matches > 0 {
                handles.matches.get_or_insert_with(|| all_matches.with_label_values(label)).inc_by(matches);
            }
        }
    }

    /// The probe failed, for this reason.
    pub(crate) fn failed(&self, probe: &str, reason: &str) {
        self.failures.with_label_values(&[probe, reason]).inc();
    }

    /// Other probes stand in the places now. What was counted of a text that runs no more goes.
    pub(crate) fn reloaded(&mut self, old: &FilterSet, new: &FilterSet) {
        self.handles.clear();
        let (old, new) = (revs(old), revs(new));
        for (probe, _) in old.iter().filter(|(probe, rev)| new.get(*probe) != Some(*rev)) {
            // What was never counted is not there.
            let _ = self.runs.remove_label_values(&[probe]);
            let _ = self.seconds.remove_label_values(&[probe]);
            let _ = self.matches.remove_label_values(&[probe]);
            let _ = self.since.remove_label_values(&[probe]);
            for reason in [ERROR, TOO_LONG].into_iter().chain(Limit::ALL.map(Limit::as_str)) {
                let _ = self.failures.remove_label_values(&[probe, reason]);
            }
        }
        for (probe, _) in new.iter().filter(|(probe, rev)| old.get(*probe) != Some(*rev)) {
            self.since.with_label_values(&[probe]).set(Time::now().ms() / 1000);
        }
    }
}

/// The text of each probe.
fn revs(set: &FilterSet) -> HashMap<&str, &str> {
    (0..set.len()).filter_map(|i| set.spec(i)).map(|spec| (spec.name.as_str(), spec.rev.as_str())).collect()
}

//! The metrics that every stage has, by one naming pattern (contract § 5).

mod lag;

use prometheus::{
    CounterVec, Encoder as _, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

pub use lag::Lag;

use crate::wrong::Wrong;

/// Buckets for delays, in seconds.
const DELAY_BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0];

const LINES_IN: &str = "zentral_lines_in_total";

/// A stage's metrics; clones share them. Metrics that cannot be registered (a name used twice) still count.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// `zentral_lines_in_total` of the later ones of joined stages: their `stage` is another.
    later: Registry,
    later_in: IntCounterVec,
    name: String,
    /// `zentral_lines_in_total`
    pub lines_in: IntCounter,
    /// `zentral_lines_out_total{output}`
    pub lines_out: IntCounterVec,
    /// `zentral_lines_refused_total{reason}`
    pub refused: IntCounterVec,
    /// `zentral_lines_ignored_total{reason}`
    pub ignored: IntCounterVec,
    /// `zentral_topic_bytes{topic}`
    pub topic_bytes: IntGaugeVec,
    /// How far its readers are behind.
    pub lag: Lag,
    /// `zentral_topic_skipped_lines_total{topic,reader}`
    pub skipped: IntCounterVec,
    /// `zentral_topic_full{topic}`: 1 while a topic takes nothing more.
    pub topic_full: IntGaugeVec,
    /// `zentral_reload_refused`: 1 while an older configuration goes on.
    reload_refused: IntGauge,
    /// What is wrong with the stage now, in words.
    pub wrong: Wrong,
}

impl Metrics {
    /// All metrics carry `stage`.
    pub fn new(stage: &str) -> Self {
        let labels = [("stage".to_owned(), stage.to_owned())].into();
        let registry = Registry::new_custom(None, Some(labels)).unwrap_or_default();
        let later = Registry::new();
        let process = prometheus::process_collector::ProcessCollector::for_self();
        let _ = registry.register(Box::new(process));
        let made = Self {
            lines_in: counter(&registry, LINES_IN, "Lines read."),
            lines_out: counters(&registry, "zentral_lines_out_total", "Lines written.", &["output"]),
            refused: counters(&registry, "zentral_lines_refused_total", "Lines not understood.", &["reason"]),
            ignored: counters(&registry, "zentral_lines_ignored_total", "Lines that gave no output.", &["reason"]),
            topic_bytes: gauges(&registry, "zentral_topic_bytes", "Bytes of a topic on disk.", &["topic"]),
            lag: register(&registry, Lag::new()),
            skipped: counters(&registry, "zentral_topic_skipped_lines_total", "Passed over.", &["topic", "reader"]),
            topic_full: gauges(&registry, "zentral_topic_full", "1: takes nothing more.", &["topic"]),
            reload_refused: register(
                &registry,
                valid(IntGauge::new(
                    "zentral_reload_refused",
                    "1 while the stage goes on with an older configuration.",
                )),
            ),
            wrong: Wrong::default(),
            later_in: counters(&later, LINES_IN, "Lines read.", &["stage"]),
            later,
            name: stage.to_owned(),
            registry,
        };
        register(&made.registry, valid(IntGauge::new("zentral_stage_up", "1 while the stage runs."))).set(1);
        made
    }

    /// The stage has not taken a new configuration over; it goes on with the last good one.
    pub fn reload_refused(&self, why: &str) {
        self.reload_refused.set(1);
        let text = format!("stage {} goes on with an older configuration: {}", self.name, why.trim());
        self.wrong.set(None, &text);
    }

    /// The stage has the configuration that it was told to take.
    pub fn reloaded(&self) {
        self.reload_refused.set(0);
        self.wrong.clear(None);
    }

    /// For metrics of the stage's own.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A counter of the stage's own.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        counters(&self.registry, name, help, labels)
    }

    /// A counter of seconds of the stage's own.
    pub fn seconds_counters(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        register(&self.registry, valid(CounterVec::new(Opts::new(name, help), labels)))
    }

    /// A gauge of the stage's own.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        gauges(&self.registry, name, help, labels)
    }

    /// A histogram of seconds of the stage's own.
    pub fn seconds(&self, name: &str, help: &str) -> Histogram {
        let made = Histogram::with_opts(HistogramOpts::new(name, help).buckets(DELAY_BUCKETS.to_vec()));
        register(&self.registry, valid(made))
    }

    /// This many lines of an input (`topic:raw`) went before their reader had read them.
    pub(crate) fn passed_over(&self, input: &str, reader: &str, lines: u64) {
        if lines > 0 {
            let topic = input.split_once(':').map_or(input, |(_, topic)| topic);
            self.skipped.with_label_values(&[topic, reader]).inc_by(lines);
        }
    }

    /// Lines that a later one of joined stages was given: `zentral_lines_in_total{stage="NAME: KIND"}`.
    pub(crate) fn later_in(&self, kind: &str) -> IntCounter {
        self.later_in.with_label_values(&[&joined(&self.name, kind)])
    }

    /// The text exposition.
    pub fn text(&self) -> Vec<u8> {
        let mut families = self.registry.gather();
        for more in self.later.gather() {
            if let Some(family) = families.iter_mut().find(|family| family.name() == more.name()) {
                family.mut_metric().extend(more.get_metric().iter().cloned());
            }
        }
        let mut out = Vec::new();
        let _ = TextEncoder::new().encode(&families, &mut out);
        out
    }
}

/// The name of a later one of joined stages, in metrics and sums.
pub fn joined(stage: &str, kind: &str) -> String {
    format!("{stage}: {kind}")
}

fn register<T: prometheus::core::Collector + Clone + 'static>(registry: &Registry, metric: T) -> T {
    let _ = registry.register(Box::new(metric.clone()));
    metric
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    register(registry, valid(IntCounter::new(name, help)))
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(registry, valid(IntCounterVec::new(Opts::new(name, help), labels)))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(registry, valid(IntGaugeVec::new(Opts::new(name, help), labels)))
}

#[expect(clippy::expect_used, reason = "names and labels are constants of this program; no outside data gets here")]
fn valid<T>(made: prometheus::Result<T>) -> T {
    made.expect("a metric has a valid name")
}

//! What is counted (contract § 5). Labels come from constants only: nothing that an agent says becomes a series.

use std::time::Duration;

use pipe::Metrics;
use prometheus::{Histogram, IntCounterVec, IntGauge};

/// Counters of `receive`.
#[derive(Clone)]
pub struct Meters {
    requests: IntCounterVec,
    refused: IntCounterVec,
    seconds: Histogram,
    /// `zentral_records_total`
    pub records: IntCounterVec,
    /// `zentral_live_answers_total{outcome}`
    pub answers: IntCounterVec,
    /// `zentral_connections`
    pub connections: IntGauge,
    /// `zentral_connections_refused_total{reason}`
    pub closed: IntCounterVec,
}

impl Meters {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Self {
        let labels = ["source", "kind", "status"];
        Self {
            requests: metrics.counters("zentral_requests_total", "Requests answered.", &labels),
            refused: metrics.counters("zentral_requests_refused_total", "Requests not taken.", &["reason"]),
            seconds: metrics.seconds("zentral_request_seconds", "From the head of a request to its answer."),
            records: metrics.counters("zentral_records_total", "Records of agents taken.", &["source"]),
            answers: metrics.counters("zentral_live_answers_total", "Answers to live queries.", &["outcome"]),
            connections: metrics.gauges("zentral_connections", "Open connections.", &[]).with_label_values(&NONE),
            closed: metrics.counters("zentral_connections_refused_total", "Connections cut.", &["reason"]),
        }
    }

    /// An answer; `reason` is `ok` or why not.
    pub fn answered(&self, source: &str, kind: &str, status: &str, reason: &str, took: Duration) {
        self.requests.with_label_values(&[source, kind, status]).inc();
        self.seconds.observe(took.as_secs_f64());
        if reason != "ok" {
            self.refused.with_label_values(&[reason]).inc();
        }
    }
}

const NONE: [&str; 0] = [];

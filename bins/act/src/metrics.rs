//! What `act` counts (contract § 5).

use pipe::Metrics;
use pipe::wrong::Wrong;
use prometheus::{Histogram, IntCounterVec, IntGaugeVec};

/// The metrics of the stage's own.
#[derive(Debug, Clone)]
pub struct Counts {
    /// `zentral_actions_total{action,outcome}`: done, dead, unknown, stale, dropped, and later for each try that is to
    /// be repeated.
    pub actions: IntCounterVec,
    /// `zentral_actions_pending{action}`: deliveries that wait or are being tried.
    pub pending: IntGaugeVec,
    /// `zentral_action_waiting{action}`: 1 while it cannot be made ready.
    pub waiting: IntGaugeVec,
    /// What waits, in words.
    pub wrong: Wrong,
    /// `zentral_event_delay_seconds`: received → acted.
    pub delay: Histogram,
}

impl Counts {
    /// Registers them with the stage's.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            actions: metrics.counters("zentral_actions_total", "Ends of tries.", &["action", "outcome"]),
            pending: metrics.gauges("zentral_actions_pending", "Deliveries not done yet.", &["action"]),
            waiting: metrics.gauges(
                "zentral_action_waiting",
                "1: it cannot be made ready, a secret is missing.",
                &["action"],
            ),
            wrong: metrics.wrong.clone(),
            delay: metrics.seconds("zentral_event_delay_seconds", "From received to acted."),
        }
    }
}

//! How far the readers of a stage are behind: told to whoever asks as it is then, for a batch may take an hour.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

use super::valid;

const LABELS: [&str; 2] = ["topic", "reader"];

/// `zentral_topic_lag_lines{topic,reader}` and `zentral_topic_lag_seconds{topic,reader}`; clones share them.
#[derive(Debug, Clone)]
pub struct Lag {
    lines: IntGaugeVec,
    seconds: IntGaugeVec,
    since: Arc<Mutex<BTreeMap<[String; 2], Option<Instant>>>>,
}

impl Lag {
    pub(super) fn new() -> Self {
        let gauges = |name: &str, help: &str| valid(IntGaugeVec::new(Opts::new(name, help), &LABELS));
        Self {
            lines: gauges("zentral_topic_lag_lines", "Lines not read yet."),
            seconds: gauges("zentral_topic_lag_seconds", "Age of the lag."),
            since: Arc::default(),
        }
    }

    /// Lines that the reader has not done with, and since when it has not been at the end.
    pub fn set(&self, topic: &str, reader: &str, lines: u64, since: Option<Instant>) {
        self.lines.with_label_values(&[topic, reader]).set(i64::try_from(lines).unwrap_or(i64::MAX));
        let mut all = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert([topic.to_owned(), reader.to_owned()], since);
    }
}

impl Collector for Lag {
    fn desc(&self) -> Vec<&Desc> {
        self.lines.desc().into_iter().chain(self.seconds.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (labels, since) in &*self.since.lock().unwrap_or_else(PoisonError::into_inner) {
            let seconds = since.map_or(0, |since| since.elapsed().as_secs());
            self.seconds.with_label_values(labels).set(i64::try_from(seconds).unwrap_or(i64::MAX));
        }
        self.lines.collect().into_iter().chain(self.seconds.collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use crate::Metrics;

    #[test]
    fn the_age_of_a_lag_grows_by_itself() {
        let metrics = Metrics::new("store");
        let Some(since) = Instant::now().checked_sub(Duration::from_secs(90)) else { return };
        metrics.lag.set("events", "store", 7, Some(since));
        metrics.lag.set("other", "store", 0, None);
        let text = String::from_utf8_lossy(&metrics.text()).into_owned();
        let labels = |topic: &str| format!("{{reader=\"store\",topic=\"{topic}\",stage=\"store\"}}");
        for line in [
            format!("zentral_topic_lag_lines{} 7", labels("events")),
            format!("zentral_topic_lag_seconds{} 9", labels("events")), // 90 or a little more
            format!("zentral_topic_lag_seconds{} 0", labels("other")),
        ] {
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}

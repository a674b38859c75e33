//! The output of a source, which says "busy" in place of waiting.

use std::collections::BTreeSet;
use std::sync::Arc;

use rdkafka::producer::Producer as _;

use super::again::will_never;
use super::reports::producer;
use super::{ANSWER_MS, KafkaOutput, LOOK};
use crate::config::Config;
use crate::kafka::admin;
use crate::{Metrics, StageError};

impl KafkaOutput {
    /// Of a source, which says "busy" when they do not answer in time. The topic is made later if it must be.
    pub(crate) fn of_source(config: &Arc<Config>, name: &str, metrics: Metrics) -> Result<Self, StageError> {
        Self::new(config, name, None, metrics)
    }

    /// Waits as long as a source may; the orders that did not become durable. "Busy" is never said for what a line holds.
    pub(crate) fn settle(&mut self) -> BTreeSet<usize> {
        while !self.reports().wait(self.sent, LOOK) {}
        let (large, mut late): (Vec<_>, Vec<_>) = self.reports().take().into_iter().partition(|f| will_never(f.code));
        // Where one line is not answered, the others are not waited for one by one.
        let mut gone = false;
        for failed in large {
            match if gone { None } else { self.alone(&failed).ok() } {
                Some(others) => {
                    gone = !others.is_empty();
                    late.extend(others);
                }
                None => {
                    gone = true;
                    late.push(failed);
                }
            }
        }
        let why = late.last().map(|failed| failed.code.to_string());
        self.lines = self.lines.saturating_sub(late.len() as u64);
        self.tell(why.as_deref());
        late.into_iter().map(|failed| failed.order).collect()
    }

    /// Whether the brokers answer now; makes the topic if it is not there, and the client anew if it has given up for
    /// ever.
    pub(crate) fn ask(&mut self) -> Result<(), StageError> {
        let asked = admin::ensure(&self.config, &self.name);
        self.tell(asked.as_ref().err().map(|e| e.text.as_str()));
        self.anew |= asked?.made;
        if let Some((code, why)) = self.producer.client().fatal_error() {
            tracing::warn!("kafka:{}: the client has given up and is made anew: {code}: {why}", self.name);
            // Nobody waits any more for what it still had; but it is not durable, and must not be counted.
            self.settle();
            self.producer = producer(&self.config, &self.name, ANSWER_MS)?;
            self.sent = 0;
        }
        self.reports().link.forgive();
        Ok(())
    }
}

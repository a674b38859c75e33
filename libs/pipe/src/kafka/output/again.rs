//! What was not taken: it is sent again, or never will be.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

use super::reports::Failed;
use super::{KafkaOutput, LOOK};
use crate::StageError;
use crate::kafka::admin;

/// Between two tries with what was not taken.
const AGAIN: Duration = Duration::from_millis(500);

impl KafkaOutput {
    /// Sends again what was not taken.
    pub(super) fn again(&mut self, failed: Vec<Failed>) -> Result<(), StageError> {
        if self.failing.goes_on() {
            let codes: BTreeSet<String> = failed.iter().map(|f| f.code.to_string()).collect();
            let codes = codes.into_iter().collect::<Vec<_>>().join(", ");
            tracing::warn!("kafka:{}: {} lines were not taken: {codes}", self.name, failed.len());
        }
        if failed.iter().any(|f| is_missing(f.code)) {
            self.make_again();
        } else if failed.iter().any(|f| !will_never(f.code)) {
            std::thread::sleep(AGAIN);
        }
        let (large, others): (Vec<_>, Vec<_>) = failed.into_iter().partition(|f| will_never(f.code));
        for failed in large {
            let others = self.alone(&failed)?;
            self.reports().put_back(others);
        }
        for Failed { order, key, line, .. } in others {
            self.send(key.as_deref(), &line, order)?;
        }
        Ok(())
    }

    /// Sends a line again that was refused for its size, while nothing else is on its way: it may have been its company
    /// that was too large. Refused again it is given up; what was not taken for another reason comes back.
    pub(super) fn alone(&mut self, failed: &Failed) -> Result<Vec<Failed>, StageError> {
        let begun = Instant::now();
        self.send(failed.key.as_deref(), &failed.line, failed.order)?;
        while !self.reports().wait(self.sent, LOOK) {
            // A source waits no longer than the client does, and that is told by a report.
            if self.signals.is_some() {
                self.stay(begun)?;
            }
        }
        let (never, others): (Vec<_>, Vec<_>) = self.reports().take().into_iter().partition(|f| will_never(f.code));
        self.lines = self.lines.saturating_sub(never.len() as u64);
        never.into_iter().for_each(|f| self.refuse(f.line, f.code));
        Ok(others)
    }

    /// The topic is not there: makes it, and lets the brokers tell one another.
    pub(super) fn make_again(&mut self) {
        let made = admin::ensure(&self.config, &self.name);
        self.anew |= self.making.tell(&self.place(), made).is_some_and(|found| found.made);
        std::thread::sleep(AGAIN);
    }

    pub(super) fn refuse(&mut self, line: Vec<u8>, code: RDKafkaErrorCode) {
        let text = format!("{} does not take the line of {} bytes: {code}", self.topic, line.len());
        self.refused.push((line, text));
    }
}

/// Whether no later try can help, alone or in company.
pub(super) fn will_never(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize | RDKafkaErrorCode::InvalidRecord
    )
}

/// Whether the topic, or a partition of it, is not there.
pub(super) fn is_missing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownPartition
    )
}

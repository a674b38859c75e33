//! Positions in the state, and what the group is told of them.

use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _};
use registry::db::{Db, Tx};

use super::KafkaInput;
use super::part::{Part, position};
use crate::config::Config;
use crate::kafka::admin::{self, Asker};
use crate::topic::Start;
use crate::{StageError, state};

/// How often the group is told where we are: only people and their tools want to know.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Records where a new reader starts in each partition; whoever has started already stands where it stands. Makes the
/// topic if it is not there. Comes back: how many partitions it has.
pub(crate) fn record_start(config: &Config, name: &str, db: &mut Db, start: Start) -> Result<usize, StageError> {
    let partitions = admin::ensure(config, name)?.partitions;
    let (place, many) = (format!("kafka:{name}"), partitions.len());
    if !state::positions(db, &place)?.is_empty() {
        return Ok(many);
    }
    let asker = Asker::new(config, name)?;
    let mut tx = db.begin()?;
    for partition in partitions {
        let at = asker.start(partition, asker.ends(partition)?, start)?;
        // If somebody else was faster, theirs holds.
        state::move_position(&mut tx, &place, partition, None, &position(at), 0)?;
    }
    tx.commit()?;
    Ok(many)
}

impl KafkaInput {
    /// Writes down where we stand, in the transaction of what came of it. False: a partition is another's by now, and
    /// nothing of this transaction may hold.
    pub(crate) fn record(&self, tx: &mut Tx<'_>) -> Result<bool, StageError> {
        let moved = self.parts.iter().filter(|(_, part)| part.recorded != Some(part.held()));
        self.record_of(&moved.map(|(partition, _)| *partition).collect::<Vec<_>>(), tx)
    }

    pub(super) fn record_of(&self, partitions: &[i32], tx: &mut Tx<'_>) -> Result<bool, StageError> {
        for partition in partitions {
            let Some(Part { position, recorded, taken, .. }) = self.parts.get(partition) else { continue };
            if !state::move_position(tx, &self.name, *partition, *recorded, position, *taken)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What was recorded is committed; now and then the group is told, for those who look at lags.
    pub(crate) fn committed(&mut self) {
        for part in self.parts.values_mut() {
            part.recorded = Some(part.held());
        }
        self.untold = self.member;
        self.tell_now_and_then();
    }

    pub(super) fn tell_now_and_then(&mut self) {
        // What was read and is not committed yet is not told.
        let settled = self.parts.values().all(|part| part.recorded == Some(part.held()));
        if self.untold && settled && self.told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            (self.told, self.untold) = (Some(Instant::now()), false);
            self.tell();
        }
    }

    pub(super) fn tell(&self) {
        let partitions: Vec<i32> = self.parts.keys().copied().collect();
        let tell = || {
            let list = self.list(&partitions)?;
            if list.count() == 0 {
                return Ok(());
            }
            self.client()?.commit(&list, CommitMode::Async).map_err(|e| self.fail(&e))
        };
        if tell().is_err() {
            tracing::debug!("{}: the group was not told where we are", self.name);
        }
    }
}

//! What the group has decided, carried out between two batches: partitions come and go.

use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::TopicPartitionList;
use registry::db::Db;

use super::KafkaInput;
use super::group::Change;
use crate::{Exit, StageError, state};

/// How often a takeover is tried before others have their turn.
const TRIES: usize = 5;

impl KafkaInput {
    /// Takes over what the group has decided since the last time; whether partitions came. Between two batches only: what
    /// was read of a partition is committed before it is given away.
    ///
    /// Of several instances one that has a partition of this topic has those of the same number of the topics that follow,
    /// so that all lines of a machine are one instance's, wherever they come from.
    pub(crate) fn settle(&mut self, following: &mut [&mut Self], db: &mut Db) -> Result<bool, StageError> {
        if let Some(refused) = self.group.link.refused() {
            return Err(refused);
        }
        let mut came = false;
        while let Some(change) = self.group.next() {
            match self.change(&change, following, db) {
                Ok(()) => {
                    came |= matches!(&change, Change::Assigned(partitions) if !partitions.is_empty());
                    self.group.done();
                    if self.late.is_over() {
                        tracing::info!("{}: its partitions are taken over", self.name);
                    }
                }
                // It is taken up again at the next turn: meanwhile the end may be asked for. A state that was ours and is
                // lost does not come back to this process.
                Err(e) if self.group.link.refused().is_none() && e.exit == Exit::Unreachable && !db.is_lost() => {
                    if self.late.goes_on() {
                        tracing::warn!("{}: its partitions cannot be taken over yet: {e}", self.name);
                    }
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(came)
    }

    fn change(&mut self, change: &Change, following: &mut [&mut Self], db: &mut Db) -> Result<(), StageError> {
        match change {
            Change::Assigned(partitions) => {
                self.take_over(partitions, db)?;
                for other in &mut *following {
                    other.take_over(partitions, db)?;
                }
                for other in following {
                    other.follow()?;
                }
                let list = self.list(partitions)?;
                self.client()?.incremental_assign(&list).map_err(|e| self.fail(&e))?;
                // Each member that comes or goes is a new turn for all.
                tracing::debug!("{}: a new turn of the group: {partitions:?}", self.name);
                if !partitions.is_empty() {
                    tracing::info!("{}: reads partitions {partitions:?}", self.name);
                } else if self.parts.is_empty() && self.idle.goes_on() {
                    tracing::info!("{}: others have all partitions", self.name);
                }
            }
            Change::Revoked(partitions) => {
                for other in following {
                    partitions.iter().for_each(|partition| _ = other.parts.remove(partition));
                    other.follow()?;
                }
                let mut list = TopicPartitionList::new();
                for partition in partitions {
                    self.parts.remove(partition);
                    list.add_partition(&self.topic, *partition);
                }
                self.client()?.incremental_unassign(&list).map_err(|e| self.fail(&e))?;
                tracing::info!("{}: gave away partitions {partitions:?}", self.name);
            }
            Change::Astray => self.find_again()?,
        }
        Ok(())
    }

    /// Reads what it has now, from where it stands.
    fn follow(&self) -> Result<(), StageError> {
        let all: Vec<i32> = self.parts.keys().copied().collect();
        self.client()?.assign(&self.list(&all)?).map_err(|e| self.fail(&e))
    }

    /// Writes down that these are ours, and where they stand: from now on whoever had them can commit nothing more, and
    /// whoever is killed before its first batch begins here again.
    pub(super) fn take_over(&mut self, partitions: &[i32], db: &mut Db) -> Result<(), StageError> {
        for _ in 0..TRIES {
            let recorded = state::held(db, &self.name)?;
            let passed_over = self.place(partitions, &recorded, 1)?;
            let mut tx = db.begin_beside()?;
            if self.record_of(partitions, &mut tx)? {
                tx.commit()?;
                // Of these alone: where another stands that was found again is not written yet.
                for partition in partitions {
                    self.parts.entry(*partition).and_modify(|part| part.recorded = Some(part.held()));
                }
                self.passed_over += passed_over;
                return Ok(());
            }
            // Whoever had one has committed a last batch of it meanwhile.
        }
        Err(StageError::unreachable(format!("{}: partitions {partitions:?} change hands all the time", self.name)))
    }
}

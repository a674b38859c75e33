//! Where we stand in the partitions that are ours, also if the topic has nothing there.

use std::collections::BTreeMap;

use rdkafka::consumer::Consumer as _;

use super::KafkaInput;
use super::part::{Part, position};
use crate::StageError;
use crate::kafka::reading::{Kept, still_kept};
use crate::state::{Held, Position};
use crate::topic::Start;

impl KafkaInput {
    /// Where we stand in these partitions: as recorded, else at the start. So many times `more` are they taken over by that.
    /// Comes back: how many lines went before they were read.
    pub(super) fn place(
        &mut self,
        partitions: &[i32],
        recorded: &BTreeMap<i32, (Position, Held)>,
        more: u64,
    ) -> Result<u64, StageError> {
        let mut passed_over = 0;
        // A partition that came later is new from its first line, whatever the start was.
        let start = if recorded.is_empty() { self.start } else { Start::First };
        let asker = self.asker()?;
        for &partition in partitions {
            let (low, high) = asker.ends(partition)?;
            let recorded = recorded.get(&partition).copied();
            let start_at = match recorded {
                Some((position, _)) => position,
                None => position(asker.start(partition, (low, high), start)?),
            };
            let mut part = Part {
                position: start_at,
                recorded: recorded.map(|(_, held)| held),
                taken: recorded.map_or(0, |(_, held)| held.taken) + more,
                stop_at: if self.once { high } else { u64::MAX },
                ended: false,
            };
            passed_over += self.hold(partition, &mut part, low, high);
            part.ended = part.next() >= part.stop_at;
            self.parts.insert(partition, part);
        }
        Ok(passed_over)
    }

    /// A recorded position that the topic no longer has, or does not have yet; how many lines are passed over by that.
    fn hold(&self, partition: i32, part: &mut Part, low: u64, high: u64) -> u64 {
        let (name, at) = (&self.name, part.next());
        match still_kept(at, low, high) {
            Kept::Next => 0,
            Kept::Gone(lines) => {
                tracing::warn!("{name} partition {partition}: {lines} lines were passed over, they are no longer kept");
                part.position.skipped += lines;
                part.move_to(low);
                lines
            }
            Kept::Anew => {
                tracing::error!(
                    "{name} partition {partition}: the position {at} lies beyond the end {high}: the topic was made \
                     anew, and is read from its first line on"
                );
                part.position = position(low);
                0
            }
        }
    }

    /// The brokers have nothing where we stand.
    pub(super) fn find_again(&mut self) -> Result<(), StageError> {
        let partitions: Vec<i32> = self.parts.keys().copied().collect();
        let asker = self.asker()?;
        for partition in &partitions {
            let (low, high) = asker.ends(*partition)?;
            let Some(mut part) = self.parts.get(partition).copied() else { continue };
            self.passed_over += self.hold(*partition, &mut part, low, high);
            self.parts.insert(*partition, part);
        }
        let list = self.list(&partitions)?;
        if self.member {
            self.client()?.incremental_unassign(&list).map_err(|e| self.fail(&e))?;
            self.client()?.incremental_assign(&list).map_err(|e| self.fail(&e))
        } else {
            self.client()?.assign(&list).map_err(|e| self.fail(&e))
        }
    }
}

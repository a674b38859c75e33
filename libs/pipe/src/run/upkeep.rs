//! Between batches: topics, refused lines, room, lags, and a new configuration.

use std::path::Path;
use std::time::{Duration, Instant};

use registry::db::Home;

use super::Loop;
use crate::StageError;
use crate::fs::{Fs as _, RealFs};
use crate::output::Output;
use crate::topic::{Class, Room};

/// How often lags and room are measured at least.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

impl Loop {
    /// Looks after topics, refused lines and lags; whether there is room for outputs and state.
    pub(super) fn look_after(&mut self) -> Result<bool, StageError> {
        let mut room = true;
        for output in &mut self.out.outputs {
            if let Output::Topic(topic) = output {
                topic.maintain(&self.job.metrics)?;
                topic.record_sealed(&mut self.db)?;
                room &= topic.has_room(&self.job.metrics);
            }
        }
        self.complaints.look_after(&mut self.db)?;
        if self.measured.is_none_or(|at| at.elapsed() > MEASURE_EVERY) {
            self.measured = Some(Instant::now());
            self.state_room = self.has_state_room();
            (0..self.inputs.len()).for_each(|index| self.tell_lag(index));
        }
        Ok(room && self.state_room)
    }

    /// Whether state may grow: it is the last to stop (design § 3).
    fn has_state_room(&self) -> bool {
        let Some(dir) = self.job.state.as_ref().and_then(Home::file).and_then(Path::parent) else { return true };
        let free = RealFs.free_space(dir).unwrap_or(u64::MAX);
        let reserve = self.job.config.topics.defaults.reserve;
        let room = Room { bytes: 0, limit: u64::MAX, free, reserve }.allows(Class::Outcome);
        if room != self.state_room {
            let what = if room { "goes on" } else { "waits" };
            tracing::warn!("{} bytes are free for {}: the stage {what}", free, dir.display());
        }
        room
    }

    /// How many lines of an input wait, those of a batch that is begun now among them.
    pub(super) fn tell_lag(&mut self, index: usize) {
        let Some((input, behind)) = self.inputs.get_mut(index).zip(self.behind.get_mut(index)) else { return };
        let Some(lines) = input.lag() else { return };
        let at = input.line();
        // The age of the oldest line known to wait: a reader that keeps up passes it within a look or two.
        if behind.is_none_or(|(line, _)| at >= line) {
            *behind = (lines > 0).then(|| (at + lines, Instant::now()));
        }
        let topic = input.name.split_once(':').map_or(input.name.as_str(), |(_, topic)| topic);
        self.job.metrics.lag.set(topic, &self.job.name, lines, behind.map(|(_, since)| since));
    }
}

//! The end of the pipeline, in the order in which lines flow: who comes first is gone before the next is told.

use std::time::{Duration, Instant};

use pipe::config::DRAIN;

use super::plan::FLOW;
use super::worker::Workers;

/// Before the deadline all that are left are told, so that they can finish by themselves.
const LAST_CALL: Duration = Duration::from_secs(5);

/// A drain under way.
#[derive(Debug)]
pub struct Drain {
    deadline: Instant,
    told: usize,
}

impl Drain {
    /// Begins; nothing is started any more.
    pub fn begin(workers: &mut Workers) -> Self {
        for worker in workers.values_mut() {
            worker.ending = true;
            if !worker.alive() {
                worker.finish();
            }
        }
        Self { deadline: Instant::now() + DRAIN, told: 0 }
    }

    /// Ends everything at once.
    pub fn kill(&mut self, workers: &mut Workers) {
        self.told = FLOW;
        self.deadline = Instant::now();
        workers.values_mut().for_each(super::worker::Worker::kill);
    }

    /// Goes on as far as it can; when to look again, or nothing if all have gone.
    pub fn step(&mut self, workers: &mut Workers) -> Option<Instant> {
        let now = Instant::now();
        if !workers.values().any(super::worker::Worker::alive) {
            return None;
        }
        if now >= self.deadline {
            tracing::warn!("not all stages finished within {} s: ending them", DRAIN.as_secs());
            self.kill(workers);
            return Some(now + Duration::from_millis(50));
        }
        let last_call = self.deadline.checked_sub(LAST_CALL).unwrap_or(now);
        while self.told < FLOW {
            let before = workers.values().any(|w| w.alive() && w.conf.flow() < self.told);
            if before && now < last_call {
                return Some(last_call);
            }
            for worker in workers.values_mut().filter(|w| w.conf.flow() == self.told) {
                worker.finish();
            }
            self.told += 1;
        }
        Some(self.deadline)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::up::worker::{State, tests::workers};

    fn told(workers: &Workers) -> Vec<&str> {
        let told = |w: &&crate::up::worker::Worker| !matches!(w.state, State::Running(_));
        workers.values().filter(told).map(|w| w.conf.name.as_str()).collect()
    }

    #[test]
    fn each_goes_when_the_one_before_has_gone() {
        let mut all = workers();
        let mut drain = Drain::begin(&mut all);
        let mut seen = Vec::new();
        while drain.step(&mut all).is_some() {
            let now = told(&all).join(" ");
            if seen.last() != Some(&now) {
                seen.push(now);
            }
            std::thread::sleep(Duration::from_millis(1));
            all.values_mut().for_each(crate::up::worker::Worker::look);
        }
        // The order of the names is that of the map; what counts is who comes in.
        assert_eq!(seen, ["receive", "normalize receive", "act normalize receive", "act index normalize receive"]);
    }

    #[test]
    fn the_second_order_ends_all_at_once() {
        let mut all = workers();
        let mut drain = Drain::begin(&mut all);
        drain.kill(&mut all);
        let begun = Instant::now();
        while drain.step(&mut all).is_some() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", told(&all));
            std::thread::sleep(Duration::from_millis(1));
            all.values_mut().for_each(crate::up::worker::Worker::look);
        }
    }
}

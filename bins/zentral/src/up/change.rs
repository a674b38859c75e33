//! From one configuration to the next: stop what differs, record where new readers start, switch, start, tell the rest.
//! The first start is a change from nothing.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use pipe::StageError;
use pipe::config::{Config, DRAIN, StageConf};
use pipe::state::LOCK_WAIT;

use super::plan::{Plan, start_order};
use super::supervisor::Event;
use super::worker::{Workers, of_stage};

/// After the deadline of a stage itself it is ended.
const PATIENCE: Duration = DRAIN.saturating_add(Duration::from_secs(2));

/// What recording the start of stages gave, by stage.
pub type Recorded = Vec<(String, Result<(), StageError>)>;

/// A change under way.
#[derive(Debug)]
pub struct Change {
    /// The configuration that is to be in force.
    pub config: Arc<Config>,
    /// The name of its copy.
    pub copy: String,
    /// What it does to the stages.
    pub plan: Plan,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Stopping(Instant),
    Recording,
}

impl Change {
    /// Asks the stages that go or differ to finish.
    pub fn begin(config: Arc<Config>, copy: String, plan: Plan, workers: &mut Workers) -> Self {
        for name in &plan.stop {
            of_stage(workers, name).for_each(|worker| _ = worker.finish());
        }
        Self { config, copy, plan, phase: Phase::Stopping(Instant::now() + PATIENCE) }
    }

    /// Goes on as far as it can without waiting; when to look again.
    pub fn step(&mut self, workers: &mut Workers, events: &Sender<Event>) -> Option<Instant> {
        let Phase::Stopping(deadline) = self.phase else { return None };
        let mut alive = false;
        for name in &self.plan.stop {
            for worker in of_stage(workers, name).filter(|w| w.alive()) {
                alive = true;
                if Instant::now() >= deadline {
                    worker.kill();
                }
            }
        }
        if alive {
            return Some(if Instant::now() >= deadline {
                Instant::now() + Duration::from_millis(50)
            } else {
                deadline
            });
        }
        let stages: Vec<StageConf> = self.plan.start.iter().filter_map(|n| self.config.stage(n)).cloned().collect();
        self.phase = Phase::Recording;
        record(self.config.clone(), stages, true, events.clone());
        None
    }
}

/// Records where the readers of these stages start, on a thread: the lock of a dying predecessor is waited for.
pub fn record(config: Arc<Config>, stages: Vec<StageConf>, change: bool, events: Sender<Event>) {
    let work = move || {
        let in_order = start_order(stages.iter());
        let recorded = in_order
            .iter()
            .map(|s| (s.name.clone(), pipe::record_start(&config, s, Some(LOCK_WAIT), &|| false)))
            .collect();
        let _ = events.send(Event::Recorded { change, recorded });
    };
    if let Err(e) = std::thread::Builder::new().name("record".into()).spawn(work) {
        tracing::error!("cannot start a thread: {e}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::up::plan::plan;
    use crate::up::worker::tests::{config, workers};
    use std::sync::mpsc::{TryRecvError, channel};

    #[test]
    fn starts_are_recorded_when_what_differs_has_gone() {
        let dir = tempfile::tempdir().unwrap();
        let old = config(dir.path(), "");
        let new = Arc::new(config(dir.path(), "[stage.new]\nrun = \"act\"\nfrom = \"topic:events\"\n"));
        let new_plan = plan(Some(&old), &new, &[]);
        let mut all = workers();
        let mut change = Change::begin(new.clone(), String::new(), new_plan, &mut all);
        let (to, events) = channel();
        while change.step(&mut all, &to).is_some() {
            assert_eq!(events.try_recv().err(), Some(TryRecvError::Empty), "still stopping");
            std::thread::sleep(Duration::from_millis(1));
            all.values_mut().for_each(crate::up::worker::Worker::look);
        }
        let Event::Recorded { change: true, recorded } = events.recv().unwrap() else { panic!("another event") };
        let names: Vec<&str> = recorded.iter().filter(|(_, r)| r.is_ok()).map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["new", "normalize"], "the new reader, and the writer that has to respect it");
        let gone: Vec<&str> = all.values().filter(|w| !w.alive()).map(|w| w.conf.name.as_str()).collect();
        assert_eq!(gone, ["act", "normalize"]);
        assert!(registry::db::Db::open_read_only(new.state(new.stage("new").unwrap())).unwrap().is_some());
        all.values_mut().for_each(crate::up::worker::Worker::kill);
    }
}

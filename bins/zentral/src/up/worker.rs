//! One process of a stage under supervision, and what follows each end of it. Of a stage with `replicas` there are several,
//! each started again alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use event::Time;
use pipe::Exit;
use pipe::config::StageConf;

use super::child::Child;
use super::restarts::{End, Next, Restarts};
use super::{shown, source};

/// What a stage is doing.
#[derive(Debug)]
pub enum State {
    /// It starts at this moment.
    Due(Instant),
    /// Its start position is being recorded; then it starts.
    Recording,
    /// Its process runs.
    Running(Child),
    /// Its process was asked to finish.
    Leaving(Child),
    /// It has ended as it was asked to.
    Stopped,
    /// It starts with a new configuration.
    NewConfiguration,
    /// It is not started again, unless the configuration changes.
    Failed,
}

/// A stage.
#[derive(Debug)]
pub struct Worker {
    /// The table of its stage.
    pub conf: StageConf,
    /// Which of several instances of the stage it is.
    pub instance: Option<u32>,
    /// See [`State`].
    pub state: State,
    /// Whether its start positions are recorded.
    pub recorded: bool,
    /// How often it was started again after an end nobody asked for.
    pub restarts: u64,
    /// All is ending: it may have been told by a terminal or an init system before we come to it.
    pub ending: bool,
    rules: Restarts,
    since: Time,
    last_exit: Option<End>,
}

impl Worker {
    /// One that is to start now; `restarts` of its namesake before count on.
    pub fn new(conf: StageConf, instance: Option<u32>, restarts: u64) -> Self {
        let (state, rules) = (State::Due(Instant::now()), Restarts::default());
        let (since, last_exit) = (Time::now(), None);
        Self { conf, instance, state, recorded: false, restarts, ending: false, rules, since, last_exit }
    }

    /// What it is called: `sift`, or `sift-2`.
    pub fn name(&self) -> String {
        self.conf.process(self.instance)
    }

    /// Takes its process into care.
    pub fn started(&mut self, child: Child) {
        if self.last_exit.is_some() {
            self.restarts += 1;
        }
        let address = source::listens(&self.conf).map_or(String::new(), |a| format!(", listening on {a}"));
        tracing::info!("stage {}: running (pid {}){address}", self.name(), child.id());
        self.enter(State::Running(child));
    }

    /// Looks whether its process has ended, and decides what follows.
    pub fn look(&mut self) {
        match &mut self.state {
            State::Running(child) if !self.ending => {
                let ran = child.ran();
                if let Some(end) = child.ended() {
                    self.failed(end, ran);
                }
            }
            State::Running(child) | State::Leaving(child) => {
                if let Some(end) = child.ended() {
                    let odd = end != End::from(Exit::Done) && end != End::from(Exit::Refused);
                    let how = if odd { format!(" ({end})") } else { String::new() };
                    tracing::info!("stage {}: stopped{how}", self.name());
                    self.enter(State::Stopped);
                }
            }
            _ => {}
        }
    }

    /// It ended though it should run on, or could not start.
    pub fn failed(&mut self, end: End, ran: Duration) {
        self.last_exit = Some(end);
        let name = self.name();
        let state = match self.rules.next(end, ran) {
            Next::After(pause) => {
                tracing::warn!("stage {name}: {end}; starts again{}", after(pause));
                State::Due(Instant::now() + pause)
            }
            Next::NewConfiguration => {
                tracing::error!("stage {name}: {end}; waits for a new configuration");
                State::NewConfiguration
            }
            Next::GivenUp => {
                tracing::error!("stage {name}: {end} again; GIVEN UP: its lines wait until its trouble is put right");
                State::Failed
            }
        };
        self.enter(state);
    }

    /// Asks it to finish; whether there was a process to ask.
    pub fn finish(&mut self) -> bool {
        match std::mem::replace(&mut self.state, State::Stopped) {
            State::Running(mut child) => {
                child.finish();
                self.enter(State::Leaving(child));
                true
            }
            state @ (State::Leaving(_) | State::Failed | State::Stopped) => {
                self.state = state;
                false
            }
            State::Due(_) | State::Recording | State::NewConfiguration => {
                self.enter(State::Stopped);
                false
            }
        }
    }

    /// Starts it anew as soon as can be, whatever it waits for.
    pub fn try_again(&mut self) {
        if matches!(self.state, State::NewConfiguration | State::Failed | State::Stopped) {
            self.rules = Restarts::default();
            self.enter(State::Due(Instant::now()));
        }
    }

    /// A new configuration is in force.
    pub fn reload(&mut self) {
        match &self.state {
            State::Running(child) => child.reload(),
            _ => self.try_again(),
        }
    }

    /// Ends its process at once.
    pub fn kill(&mut self) {
        if let State::Running(child) | State::Leaving(child) = &self.state {
            child.kill();
        }
    }

    /// Whether it has a process.
    pub fn alive(&self) -> bool {
        matches!(self.state, State::Running(_) | State::Leaving(_))
    }

    /// Changes its state.
    pub fn enter(&mut self, state: State) {
        self.state = state;
        self.since = Time::now();
    }

    /// What is told of it.
    pub fn shown(&self) -> shown::Stage {
        let (state, pid, next) = match &self.state {
            State::Running(child) => (shown::State::Running, Some(child.id()), None),
            State::Leaving(child) => (shown::State::Stopping, Some(child.id()), None),
            State::Stopped => (shown::State::Stopped, None, None),
            State::Due(at) => {
                let left = at.saturating_duration_since(Instant::now()).as_millis();
                let next = Time::now().ms().saturating_add(i64::try_from(left).unwrap_or(0));
                (shown::State::Waiting, None, Some(Time::from_ms(next)))
            }
            State::Recording => (shown::State::Waiting, None, Some(Time::now())),
            State::NewConfiguration => (shown::State::Waiting, None, None),
            State::Failed => (shown::State::Failed, None, None),
        };
        shown::Stage {
            name: self.name(),
            kind: self.conf.words(),
            state,
            pid,
            restarts: self.restarts,
            since: Some(self.since),
            next,
            last_exit: self.last_exit.map(|end| end.to_string()),
        }
    }
}

fn after(pause: Duration) -> String {
    if pause.is_zero() { " at once".into() } else { format!(" in {} s", pause.as_secs_f64()) }
}

/// The processes by name.
pub type Workers = BTreeMap<String, Worker>;

/// Those of one stage.
pub fn of_stage<'a>(workers: &'a mut Workers, stage: &'a str) -> impl Iterator<Item = &'a mut Worker> {
    workers.values_mut().filter(move |worker| worker.conf.name == stage)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]
pub mod tests {
    use super::*;
    use crate::up::child::stand_in;
    use pipe::config::Config;
    use std::path::Path;

    /// A pipeline, with more tables if wanted.
    pub fn config(dir: &Path, more: &str) -> Config {
        let act = if more.contains("\"act\"") { "" } else { "[stage.act]\nfrom = \"topic:events\"\n" };
        let text = format!(
            "version = 1\n[stage.receive]\nto = \"topic:raw\"\n[stage.normalize]\nfrom = \"topic:raw\"\n\
             to = \"topic:events\"\n{act}[stage.index]\nrun = \"store\"\nfrom = \"topic:events\"\n{more}"
        );
        std::fs::write(dir.join("pipeline.toml"), text).unwrap();
        Config::load(&dir.join("pipeline.toml"), None).expect("it is right").0
    }

    /// Its stages as running stand-ins.
    pub fn workers() -> Workers {
        let dir = tempfile::tempdir().unwrap();
        let run = |conf: &StageConf| {
            let mut worker = Worker::new(conf.clone(), None, 0);
            worker.started(stand_in());
            (conf.name.clone(), worker)
        };
        config(dir.path(), "").stages.iter().map(run).collect()
    }

    #[test]
    fn what_follows_an_end() {
        let mut worker = workers().remove("normalize").unwrap();
        let end = |worker: &mut Worker| {
            worker.kill();
            while worker.alive() {
                worker.look();
            }
            worker.shown()
        };
        let shown = end(&mut worker);
        assert_eq!((shown.state, shown.last_exit.as_deref()), (shown::State::Waiting, Some("ended by signal 9")));
        assert!(matches!(worker.state, State::Due(at) if at <= Instant::now()), "at once");
        worker.started(stand_in());
        assert_eq!(worker.shown().restarts, 1);
        // Asked to finish, it is not started again, however it ends.
        worker.finish();
        assert_eq!(end(&mut worker).state, shown::State::Stopped);

        worker.started(stand_in());
        worker.ending = true;
        assert_eq!(end(&mut worker).state, shown::State::Stopped, "somebody else has told it");

        worker.failed(End::from(Exit::Usage), Duration::ZERO);
        assert!(matches!(worker.state, State::NewConfiguration));
        worker.reload();
        assert!(matches!(worker.state, State::Due(_)));
        worker.failed(End::from(Exit::State), Duration::ZERO);
        worker.failed(End::from(Exit::State), Duration::ZERO);
        assert_eq!(worker.shown().state, shown::State::Failed);
        worker.finish();
        assert!(matches!(worker.state, State::Failed), "a drain does not make it well");
    }
}

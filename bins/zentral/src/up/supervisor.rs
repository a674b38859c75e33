//! The loop of the supervisor: one thread, one closed list of events.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use event::Time;
use pipe::config::Config;
use pipe::{Exit, StageError, notify};

use super::change::{Change, Recorded, record};
use super::child::Programs;
use super::copies::Copies;
use super::door::Door;
use super::drain::Drain;
use super::plan::{plan, start_order};
use super::restarts::End;
use super::shown::Up;
use super::source::{Loaded, Source};
use super::worker::{State, Worker, Workers, of_stage};
use super::{signals, watch};

/// The longest sleep of the loop; events end it sooner.
const LOOK: Duration = Duration::from_secs(1);
/// How often systemd is told that the supervisor lives.
const ALIVE: Duration = Duration::from_secs(5);

/// All that can happen to a supervisor.
#[derive(Debug)]
pub enum Event {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
    /// A child has ended, perhaps several.
    ChildEnded,
    /// The files were read and found right.
    Config {
        /// What they say.
        loaded: Box<Loaded>,
        /// Because SIGHUP asked.
        asked: bool,
        /// Because a file looks different.
        changed: bool,
    },
    /// The files were read and found wrong: what was said.
    Refused(String),
    /// Starts were recorded.
    Recorded {
        /// For a change of the configuration; else for one stage that could not before.
        change: bool,
        /// By stage.
        recorded: Recorded,
    },
}

/// The supervisor.
pub struct Supervisor {
    programs: Programs,
    only: Vec<String>,
    data: PathBuf,
    copies: Copies,
    workers: Workers,
    /// In force; none before the first start.
    config: Option<Arc<Config>>,
    change: Option<Change>,
    /// Came while another change was under way.
    next: Option<(Box<Loaded>, bool, bool)>,
    /// Why the files are not in force, if they are not.
    refused: Option<String>,
    drain: Option<Drain>,
    door: Door,
    watch: Sender<()>,
    events: Receiver<Event>,
    to_self: Sender<Event>,
    since: Time,
    ready: bool,
    /// When systemd's watchdog was told last.
    told: Option<Instant>,
}

impl Supervisor {
    /// Makes everything ready to run; `broken` is what is wrong with the files if `loaded` is the last good copy.
    pub fn new(
        source: Source,
        loaded: &Loaded,
        broken: Option<String>,
        programs: Programs,
        only: Vec<String>,
    ) -> Result<Self, StageError> {
        let fail = |what: &'static str| move |e: std::io::Error| StageError::state(format!("{what}: {e}"));
        let (to_self, events) = channel();
        signals::listen(to_self.clone()).map_err(fail("signals"))?;
        let refused = broken.as_deref().map(first_line);
        let watch = watch::start(source, loaded.clone(), broken, to_self.clone()).map_err(fail("watch"))?;
        let door = Door::open(&loaded.config).map_err(fail("run/up.sock"))?;
        let data = loaded.config.data.clone();
        Ok(Self {
            programs,
            only,
            copies: Copies::of(&data),
            data,
            workers: Workers::new(),
            config: None,
            change: None,
            next: None,
            refused,
            drain: None,
            door,
            watch,
            events,
            to_self,
            since: Time::now(),
            ready: false,
            told: None,
        })
    }

    /// Stops when stdin ends, as stages do; whether it has ended.
    pub fn follow_stdin(&self) -> std::io::Result<Arc<AtomicBool>> {
        signals::follow_stdin(self.to_self.clone())
    }

    /// Runs until it is told to stop or nothing is left to run.
    pub fn run(mut self, loaded: Loaded) -> Result<Exit, StageError> {
        self.apply(loaded, false, false).map_err(|e| StageError::state(format!("config: {e}")))?;
        loop {
            self.workers.values_mut().for_each(Worker::look);
            let Some(wake) = self.step() else { break };
            self.show();
            self.alive();
            let wait = wake.saturating_duration_since(Instant::now()).min(LOOK);
            match self.events.recv_timeout(wait) {
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
        let failed = self.workers.values().any(|w| matches!(w.state, State::Failed));
        Ok(if failed { Exit::State } else { Exit::Done })
    }

    /// Tells systemd's watchdog, if there is one, that this loop goes round.
    fn alive(&mut self) {
        if self.told.is_none_or(|at| at.elapsed() >= ALIVE) {
            notify::tell("WATCHDOG=1");
            self.told = Some(Instant::now());
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Stop => match &mut self.drain {
                Some(drain) => {
                    tracing::warn!("told to stop twice: ending at once");
                    drain.kill(&mut self.workers);
                }
                None => {
                    tracing::info!("stopping");
                    notify::stopping();
                    (self.change, self.next) = (None, None);
                    self.drain = Some(Drain::begin(&mut self.workers));
                }
            },
            Event::Reload => {
                let _ = self.watch.send(());
            }
            Event::ChildEnded => {}
            Event::Config { .. } | Event::Recorded { .. } if self.drain.is_some() => {}
            Event::Refused(text) => self.refused = Some(first_line(&text)),
            Event::Config { loaded, asked, changed } => {
                self.refused = None;
                if self.change.is_some() {
                    let (was_asked, was_changed) = self.next.as_ref().map_or((false, false), |n| (n.1, n.2));
                    self.next = Some((loaded, asked || was_asked, changed || was_changed));
                } else {
                    self.reload(*loaded, asked, changed);
                }
            }
            Event::Recorded { change: true, recorded } => self.switch(recorded),
            Event::Recorded { change: false, recorded } => self.note(recorded),
        }
    }

    /// Does what is due; when to look again, or nothing at the end.
    fn step(&mut self) -> Option<Instant> {
        if let Some(drain) = &mut self.drain {
            return drain.step(&mut self.workers);
        }
        if let Some(change) = &mut self.change {
            let wake = change.step(&mut self.workers, &self.to_self);
            // Stages that the change does not touch are looked after meanwhile.
            return earlier(wake, self.start_due());
        }
        if let Some((loaded, asked, changed)) = self.next.take() {
            self.reload(*loaded, asked, changed);
            return Some(Instant::now());
        }
        if !self.workers.is_empty() && self.workers.values().all(|w| matches!(w.state, State::Failed)) {
            tracing::error!("every stage was given up");
            return None;
        }
        let wanted = self.config.as_ref().and_then(|c| c.metrics.clone());
        let wake = self.door.keep(wanted.as_ref());
        let wake = earlier(wake, self.start_due());
        if !self.ready && self.workers.values().all(Worker::alive) {
            self.ready = true;
            notify::tell("READY=1");
        }
        wake
    }

    /// A new configuration, if it is one.
    fn reload(&mut self, loaded: Loaded, asked: bool, changed: bool) {
        if let Err(e) = self.apply(loaded, asked, changed) {
            self.refuse(&e);
        }
    }

    fn refuse(&mut self, e: &std::io::Error) {
        tracing::error!("not reloaded, the last good configuration goes on: {e}");
        self.refused = Some(first_line(&e.to_string()));
    }

    fn apply(&mut self, loaded: Loaded, asked: bool, changed: bool) -> std::io::Result<()> {
        if loaded.config.data != self.data {
            let text = format!("`data` is {} now: that needs a new `up`", loaded.config.data.display());
            return Err(std::io::Error::other(text));
        }
        let copy = self.copies.make(&loaded.files)?;
        let config = Arc::new(loaded.config);
        let plan = plan(self.config.as_deref(), &config, &self.only);
        let same = self.copies.in_force().as_deref() == Some(copy.as_str());
        if self.config.is_some() && same && plan.stop.is_empty() && plan.start.is_empty() {
            if asked {
                tracing::info!("the configuration is the same; every stage reads its keys and secrets again");
            }
            for worker in self.workers.values_mut() {
                match worker.state {
                    State::Running(_) if !asked => {}
                    _ if asked || changed => worker.reload(),
                    _ => {}
                }
            }
            return Ok(());
        }
        if self.config.is_some() {
            tracing::info!("a new configuration: {copy}");
        }
        self.change = Some(Change::begin(config, copy, plan, &mut self.workers));
        Ok(())
    }

    /// The starts of new readers are recorded: the configuration comes into force.
    fn switch(&mut self, recorded: Recorded) {
        let Some(change) = self.change.take() else { return };
        if let Err(e) = self.copies.switch(&change.copy) {
            self.refuse(&e);
            self.workers.values_mut().for_each(Worker::try_again);
            return;
        }
        // A stage that starts anew may have fewer instances than it had.
        let anew = |worker: &Worker| change.plan.start.contains(&worker.conf.name);
        let (old, kept) = std::mem::take(&mut self.workers).into_iter().partition(|(_, worker)| anew(worker));
        let old: Workers = old;
        self.workers = kept;
        self.workers.retain(|_, worker| change.config.stage(&worker.conf.name).is_some());
        self.config = Some(change.config.clone());
        for stage in change.plan.start.iter().filter_map(|name| change.config.stage(name)) {
            for instance in stage.instances() {
                let name = stage.process(instance);
                let restarts = old.get(&name).map_or(0, |w| w.restarts);
                self.workers.insert(name, Worker::new(stage.clone(), instance, restarts));
            }
        }
        for stage in change.plan.keep.iter().filter_map(|name| change.config.stage(name)) {
            for worker in of_stage(&mut self.workers, &stage.name) {
                worker.conf = stage.clone();
                worker.reload();
            }
        }
        self.note(recorded);
    }

    /// What recording gave: a stage whose start is not recorded does not start.
    fn note(&mut self, recorded: Recorded) {
        for (name, result) in recorded {
            if let Err(e) = &result {
                tracing::error!("stage {name}: its start is not recorded: {e}");
            }
            for worker in of_stage(&mut self.workers, &name) {
                match &result {
                    Ok(()) => {
                        worker.recorded = true;
                        if matches!(worker.state, State::Recording) {
                            worker.enter(State::Due(Instant::now()));
                        }
                    }
                    Err(e) if matches!(worker.state, State::Recording | State::Due(_)) => {
                        worker.failed(End::from(e.exit), Duration::ZERO);
                    }
                    Err(_) => {}
                }
            }
        }
    }

    /// Starts what is due; when the next one is.
    fn start_due(&mut self) -> Option<Instant> {
        let mut wake = Instant::now() + LOOK;
        let Some(config) = self.config.clone() else { return Some(wake) };
        for stage in start_order(config.stages.iter()) {
            let mut to_record = None;
            for worker in of_stage(&mut self.workers, &stage.name) {
                let State::Due(at) = worker.state else { continue };
                if at > Instant::now() {
                    wake = wake.min(at);
                } else if worker.recorded {
                    let (name, current) = (worker.name(), self.copies.current());
                    match self.programs.start(&worker.conf, worker.instance, &config, &current, &self.data, &[]) {
                        Ok(child) => worker.started(child),
                        Err(e) => {
                            tracing::error!("stage {name}: cannot start: {e}");
                            worker.failed(End::from(Exit::Unreachable), Duration::ZERO);
                        }
                    }
                } else {
                    worker.enter(State::Recording);
                    to_record = Some(worker.conf.clone());
                }
            }
            // Once for all instances of the stage.
            if let Some(stage) = to_record {
                record(config.clone(), vec![stage], false, self.to_self.clone());
            }
        }
        Some(wake)
    }

    fn show(&self) {
        let Some(config) = &self.config else { return };
        let processes = config.stages.iter().flat_map(|s| s.instances().map(|instance| s.process(instance)));
        let stages = processes.filter_map(|name| self.workers.get(&name)).map(Worker::shown).collect();
        let up = Up {
            pid: std::process::id(),
            since: self.since,
            config: self.copies.in_force().unwrap_or_default(),
            refused: self.refused.clone(),
            metrics: self.door.address(),
            stages,
        };
        self.door.show(up, config);
    }
}

/// The first thing that is wrong, without the picture.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The earlier of two moments that may not be there.
fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

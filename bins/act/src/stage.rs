//! `act` as a stage: which deliveries a line asks for, and the verdict on it. The rest is the queue's.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::{Event, ProbeMatch};
use pipe::config::{Config, render};
use pipe::{Context, Exit, Line, Out, Stage, StageError};
use registry::db::{Home, Schema, Tx};

use crate::actions::{Opening, Texts};
use crate::conditions::{Conditions, Decision};
use crate::conf::{self, Ready};
use crate::jq::Jq;
use crate::ledger;
use crate::metrics::Counts;
use crate::orders::Watch;
use crate::queue::{Clock, Mode, Parts, Queue};
use crate::retry::Chance;
use crate::told::Kept;
use crate::waiting::Waiting;

/// Between pipes there is no disk to queue on: with so many deliveries open nothing more is read.
const OPEN_MAX: u64 = 10_000;

/// What `act` is told at its start.
pub struct Options {
    /// These actions are done for every line, whatever its probes say; none: what the probes say.
    pub names: Vec<String>,
    /// The state is memory: a stage between pipes.
    pub memory: bool,
    /// An action that cannot be made ready waits alone, and the others work; else nothing does: somebody at a shell is to
    /// hear of it.
    pub patient: bool,
    /// How it works.
    pub mode: Mode,
    /// `registry.db`, for orders about dead letters.
    pub registry: Option<Home>,
    /// Its own state, by which the registry is put right: what was made for incidents that are over goes.
    pub state: Option<Home>,
    /// Files beside the configuration.
    pub texts: Texts,
    /// The time.
    pub clock: Clock,
    /// Random numbers for pauses.
    pub chance: Chance,
}

impl Options {
    /// The usual ones: what the probes say is done, at the clock of the wall.
    pub fn new(texts: Texts) -> Self {
        Self {
            names: Vec::new(),
            memory: false,
            patient: false,
            mode: Mode::default(),
            registry: None,
            state: None,
            texts,
            clock: Arc::new(|| event::Time::now().ms()),
            chance: Chance::new(),
        }
    }
}

/// The stage.
pub struct Act {
    options: Options,
    running: Option<(Jq, Queue)>,
    conditions: Conditions,
    waiting: Option<Waiting>,
}

impl Act {
    /// Not started yet.
    pub fn new(options: Options) -> Self {
        Self { options, running: None, conditions: Conditions::default(), waiting: None }
    }

    /// Begins nothing more; whether tries are still under way, whose ends [`Stage::idle`] should write before the
    /// process ends. What is cut off instead is tried again, or is a dead letter if it may not be repeated.
    pub fn stop(&mut self) -> bool {
        self.running.as_mut().is_some_and(|(_, queue)| queue.stop())
    }

    pub(crate) fn queue(&mut self) -> Result<&mut Queue, StageError> {
        self.running.as_mut().map(|(_, queue)| queue).ok_or_else(|| StageError::state("act was not started"))
    }

    /// All actions, and those of them that cannot be made ready.
    fn open(&self, config: &Config, jq: &Jq) -> Result<(BTreeMap<String, Ready>, Waiting), StageError> {
        for name in &self.options.names {
            if !config.actions.contains_key(name) {
                let known: Vec<&str> = config.actions.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(StageError::usage(format!("the configuration has no action `{name}` (it has {known})")));
            }
        }
        let read = conf::read_all(config, &self.options.texts, &self.options.names);
        let configured = read.map_err(|findings| StageError::usage(render(&findings)))?;
        let (mode, registry) = (&self.options.mode, config.registry());
        let dry_run = mode.dry_run || mode.recorded;
        let opening = Opening { jq, registry: &registry, dry_run };
        let (mut all, mut waiting) = (BTreeMap::new(), Vec::new());
        for (name, action) in configured {
            let ready = match self.options.patient {
                true => action.open_or_wait(opening),
                false => action.open(opening).map_err(StageError::usage)?,
            };
            if ready.waits.is_some() {
                waiting.push(action);
            }
            all.insert(name, ready);
        }
        Ok((all, Waiting::new(waiting, registry, dry_run, (self.options.clock)())))
    }

    /// Whether it is time to try again what waits.
    fn may_open(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.due((self.options.clock)()))
    }

    fn line(&mut self, line: &Line<'_>, out: &mut Out, state: &mut Tx<'_>) -> Result<(), StageError> {
        let mut event = match Event::parse(line.bytes) {
            Ok(event) => event,
            Err(why) => {
                out.refused(line, "not_an_event", format!("not an event: {why}"));
                return Ok(());
            }
        };
        let probes = std::mem::take(&mut event.probes);
        let words = probes.iter().flat_map(|p| p.act.iter().chain([&p.name])).chain([&event.id]);
        if event.id.is_empty() || !words.into_iter().all(|word| ledger::is_sound(word)) {
            out.refused(line, "bad_name", "an id or a name is empty, too long or holds control characters");
            return Ok(());
        }
        if probes.is_empty() && self.options.names.is_empty() {
            out.refused(line, "no_probes", "an event without probes: nothing says what to do");
            return Ok(());
        }
        self.queue()?.saw(event.received);
        let asked: Vec<Option<ProbeMatch>> =
            if probes.is_empty() { vec![None] } else { probes.into_iter().map(Some).collect() };
        let (mut rows, mut why) = (false, "no_action");
        for probe in asked {
            match self.probe(&mut event, probe, out, state)? {
                Asked::Nothing => {}
                Asked::Rows => rows = true,
                Asked::Ignored(reason) => why = reason,
            }
        }
        if rows {
            out.done();
        } else {
            out.ignored(why);
        }
        Ok(())
    }

    fn probe(
        &mut self,
        event: &mut Event,
        probe: Option<ProbeMatch>,
        out: &mut Out,
        state: &mut Tx<'_>,
    ) -> Result<Asked, StageError> {
        let shadow = probe.as_ref().is_some_and(|p| p.extra.get("shadow").is_some_and(|s| s == true));
        let mut actions = match &probe {
            Some(probe) if self.options.names.is_empty() => probe.act.clone(),
            _ => self.options.names.clone(),
        };
        let named = !self.options.names.is_empty();
        let remembers = probe.as_ref().is_some_and(|p| !named && self.conditions.remembers(&p.name));
        if shadow || (actions.is_empty() && !remembers) {
            return Ok(Asked::Nothing);
        }
        actions.sort();
        actions.dedup();
        let no_ledger = self.options.mode.no_ledger;
        let now = self.queue()?.now();
        let name = probe.as_ref().map_or("", |p| p.name.as_str());
        if !no_ledger && !ledger::take(state, &event.id, name, now)? {
            return Ok(Asked::Ignored("repeat"));
        }
        let mut kept = Kept::plain();
        // What is asked for by name is done for every line, whatever its probes would say.
        if let Some(probe) = probe.as_ref().filter(|_| !named) {
            match self.judge(event, probe, &mut actions, out, state)? {
                Decision::Act(told) => kept = told,
                Decision::Held(reason, why) => {
                    ledger::held_back(state, &event.id, &probe.name, &why)?;
                    return Ok(Asked::Ignored(reason));
                }
            }
        }
        let line = ledger::KeptLine::new(ledger::line_for(event, probe));
        let mut any = false;
        let queue = self.queue()?;
        for action in &actions {
            any |= queue.add(event, &line, action, &kept, 0, out, state)?;
        }
        Ok(if any { Asked::Rows } else { Asked::Ignored("no_action") })
    }

    /// Judges a match by the conditions of its probe, and tells what happened to them.
    fn judge(
        &mut self,
        event: &Event,
        probe: &ProbeMatch,
        actions: &mut Vec<String>,
        out: &mut Out,
        state: &mut Tx<'_>,
    ) -> Result<Decision, StageError> {
        let asked = actions.clone();
        let queue = self.running.as_mut().map(|(_, queue)| queue);
        let queue = queue.ok_or_else(|| StageError::state("act was not started"))?;
        let mut happened = Vec::new();
        let decision = self.conditions.decide(event, probe, actions, &mut happened, state)?;
        for one in happened {
            queue.tell_happened(event, &probe.name, one, out);
        }
        // What is remembered goes on while it is muted, and so does the end of what was told before.
        if let (Decision::Act(kept), Some(why)) = (&decision, queue.muted(&probe.name, event.received.ms()))
            && !kept.ends()
        {
            return Ok(Decision::Held("muted", why));
        }
        actions.retain(|name| asked.contains(name) || queue.actions.contains_key(name));
        Ok(decision)
    }
}

/// What one probe of a line asks for.
enum Asked {
    Nothing,
    Rows,
    Ignored(&'static str),
}

impl Stage for Act {
    fn schema(&self) -> Option<Schema> {
        Some(ledger::SCHEMA)
    }

    fn start(&mut self, context: &Context, state: &mut Tx<'_>) -> Result<(), StageError> {
        let threads = |e: std::io::Error| StageError::state(format!("cannot start threads: {e}"));
        let jq = Jq::start().map_err(threads)?;
        let (actions, waiting) = self.open(&context.config, &jq)?;
        self.conditions = Conditions::of(&context.config);
        let watch = match &self.options.registry {
            Some(registry) => {
                let clock = self.options.clock.clone();
                let files = (registry.clone(), self.options.state.clone());
                Some(Watch::start(files, move || clock(), context.waker.clone()).map_err(threads)?)
            }
            None => None,
        };
        let parts = Parts {
            actions,
            url: context.config.links(),
            mode: self.options.mode,
            clock: self.options.clock.clone(),
            chance: self.options.chance.clone(),
            alone: self.options.memory,
            counts: Counts::new(&context.metrics),
            watch,
            waker: context.waker.clone(),
        };
        self.running = Some((jq, Queue::start(parts, state)?));
        self.waiting = Some(waiting);
        Ok(())
    }

    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, state: &mut Tx<'_>) -> Result<(), StageError> {
        for line in lines {
            self.line(line, out, state)?;
            while self.options.memory && self.queue()?.open() > OPEN_MAX {
                // Memory has nothing to commit: these may begin at once.
                let queue = self.queue()?;
                queue.turn(out, state)?;
                queue.launch();
                queue.wait();
            }
        }
        self.queue()?.turn(out, state)
    }

    fn due(&self) -> bool {
        self.running.as_ref().is_some_and(|(_, queue)| queue.due()) || self.may_open()
    }

    fn idle(&mut self, out: &mut Out, state: &mut Tx<'_>) -> Result<(), StageError> {
        if self.options.mode.recorded {
            self.queue()?.seal_all(state)?;
        }
        if self.may_open()
            && let (Some((jq, queue)), Some(waiting)) = (&mut self.running, &mut self.waiting)
        {
            queue.update(waiting.again(jq, (self.options.clock)()));
        }
        self.queue()?.turn(out, state)
    }

    fn committed(&mut self) -> Result<(), StageError> {
        self.queue()?.launch();
        Ok(())
    }

    fn reload(&mut self, config: &Arc<Config>) -> Result<(), StageError> {
        let Some((jq, _)) = &self.running else { return Ok(()) };
        let (actions, waiting) = self.open(config, jq)?;
        self.conditions = Conditions::of(config);
        self.waiting = Some(waiting);
        self.queue()?.reload(actions, config.links());
        Ok(())
    }

    fn drain(&mut self) -> bool {
        self.stop()
    }

    fn busy(&self) -> bool {
        self.running.as_ref().is_some_and(|(_, queue)| queue.is_open())
    }

    fn exit(&self) -> Exit {
        let died = self.running.as_ref().map_or(0, |(_, queue)| queue.died);
        // A stage of a pipeline goes on whatever became of single deliveries; they wait in its dead letters.
        if self.options.memory && died > 0 { Exit::No } else { Exit::Done }
    }
}

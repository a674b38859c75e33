//! The stage: when somebody is asked for, and what of it is written and remembered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use event::{Body, Raw, Time, json};
use pipe::config::Config;
use pipe::{Context, Line, Out, Stage, StageError, Waker};
use registry::db::{Schema, Tx};
use registry::pulled as state;
use serde_json::Value;

use crate::conf::Conf;
use crate::worker::{Found, Order, Worker};
use remote::http::Trouble;

/// Machines that are written together.
const TAKE_MAX: usize = 16;
/// Machines of webhooks that are asked for together.
const SOME: i64 = 100;
/// Machines that one webhook may name.
const NAMED_MAX: usize = 5_000;
/// The pause after the first failure.
const PAUSE_MIN: Duration = Duration::from_secs(60);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// What it is there for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// All machines every now and then, and those that webhooks name.
    Forever,
    /// All machines once.
    All,
    /// This one, once.
    One(String),
}

/// The stage.
pub struct Pull {
    conf: Conf,
    errand: Errand,
    running: Option<Running>,
    /// Of a reload; taken over when nothing is under way.
    fresh: Option<Conf>,
}

/// What there is after the start.
struct Running {
    worker: Worker,
    waker: Waker,
    /// The order that is under way, and when it was given.
    under_way: Option<(Order, i64)>,
    /// When all machines are to be asked for, in ms since 1970.
    all_due: i64,
    /// Some are to be asked for.
    wanted: bool,
    /// Nobody is asked before.
    rest_until: Instant,
    failures: u32,
    /// The errand is done.
    ended: bool,
    /// How it failed; what was found before is written first.
    failed: Option<StageError>,
}

impl Pull {
    /// Not started yet.
    pub fn new(conf: Conf, errand: Errand) -> Self {
        Self { conf, errand, running: None, fresh: None }
    }

    /// Asks again what it is to be asked for next.
    fn give(&mut self, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let (name, errand) = (self.conf.name.clone(), self.errand.clone());
        let Some(running) = self.running.as_mut().filter(|running| running.is_free()) else { return Ok(()) };
        let now = Time::now().ms();
        let order = match errand {
            Errand::One(serial) => Order::One(serial),
            _ if running.all_due <= now => Order::All,
            _ => {
                let ids = state::wanted(tx, &name, SOME)?;
                running.wanted = !ids.is_empty();
                let ids: Vec<u64> = ids.into_iter().filter_map(|id| u64::try_from(id).ok()).collect();
                if ids.is_empty() {
                    return Ok(());
                }
                Order::Some(ids)
            }
        };
        running.worker.order(order.clone());
        running.under_way = Some((order, now));
        Ok(())
    }

    fn done(&mut self, done: Result<(), Trouble>, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let (conf, forever) = (&self.conf, self.errand == Errand::Forever);
        let Some(running) = &mut self.running else { return Ok(()) };
        let Some((order, asked)) = running.under_way.take() else { return Ok(()) };
        match done {
            Ok(()) => {
                running.failures = 0;
                running.ended = !forever;
                if order == Order::All {
                    state::set_pulled(tx, &conf.name, asked)?;
                    running.all_due = asked.saturating_add(i64::try_from(conf.every.as_millis()).unwrap_or(i64::MAX));
                }
            }
            Err(trouble) if !forever => {
                running.ended = true;
                running.failed = Some(StageError::unreachable(format!("{}: {trouble}", conf.name)));
            }
            Err(trouble) => {
                running.failures += 1;
                let doubled = PAUSE_MIN.saturating_mul(1 << running.failures.saturating_sub(1).min(10));
                let pause = doubled.min(PAUSE_MAX);
                running.rest_until = Instant::now() + pause;
                tracing::warn!("{}: {trouble}; asked again in {} s", conf.name, pause.as_secs());
            }
        }
        Ok(())
    }

    fn machine(&mut self, found: Found, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let asked = self.running.as_ref().and_then(|running| running.under_way.as_ref()).map_or(0, |(_, at)| *at);
        let id = |id: Option<u64>| id.and_then(|id| i64::try_from(id).ok());
        match found {
            Found::Machine(number, line) => {
                if out.line(0, &line).is_err() {
                    tracing::warn!("{}: the line of a machine is longer than a line may be", self.conf.name);
                }
                if let Some(id) = id(number) {
                    state::told(tx, &self.conf.name, id, asked, true)?;
                }
            }
            Found::Nothing(number, why) => {
                if let Errand::One(serial) = &self.errand {
                    let failed = StageError::usage(format!("{}: {serial}: {why}", self.conf.name));
                    if let Some(running) = &mut self.running {
                        running.failed = Some(failed);
                    }
                } else {
                    tracing::info!("{}: computer {}: {why}", self.conf.name, number.unwrap_or_default());
                }
                if let Some(id) = id(number) {
                    state::told(tx, &self.conf.name, id, asked, false)?;
                }
            }
            Found::Done(done) => self.done(done, tx)?,
            Found::Gone => return Err(StageError::state("the thread that asks has ended: a fault of pull")),
        }
        Ok(())
    }

    /// Takes over another configuration, once nothing is under way.
    fn renew(&mut self) -> Result<(), StageError> {
        if let (Some(running), Some(_)) = (&mut self.running, &self.fresh)
            && running.under_way.is_none()
            && let Some(conf) = self.fresh.take()
        {
            running.worker = Worker::start(conf.clone(), running.waker.clone()).map_err(StageError::usage)?;
            self.conf = conf;
        }
        Ok(())
    }

    /// A line of the source's own: which machines it makes us ask for.
    fn webhook(&mut self, line: &[u8], tx: &mut Tx<'_>) -> Result<&'static str, StageError> {
        let Ok(raw) = Raw::parse(line) else { return Ok("not_raw") };
        let Body::Json(text) = &raw.body else { return Ok("not_json") };
        let body: Value = serde_json::from_str(text.get()).unwrap_or_default();
        let (ids, always) = named(&body);
        for id in ids {
            if always || !state::is_known(tx, &self.conf.name, id)? {
                if !state::want(tx, &self.conf.name, id, Time::now().ms())? {
                    return Ok("too_many");
                }
                if let Some(running) = &mut self.running {
                    running.wanted = true;
                }
            }
        }
        Ok("webhook")
    }
}

/// The computers that a webhook names, and whether something changed for them that the server's record holds. A mere
/// check-in says nothing but that a computer is there.
fn named(body: &Value) -> (Vec<i64>, bool) {
    let what = body.pointer("/webhook/webhookEvent").and_then(Value::as_str).unwrap_or_default();
    let at = |pointer: &str| body.pointer(pointer);
    if what == "SmartGroupComputerMembershipChange" {
        let lists = ["/event/groupAddedDevicesIds", "/event/groupRemovedDevicesIds"];
        let ids = lists.into_iter().filter_map(|list| at(list)?.as_array()).flatten().filter_map(Value::as_i64);
        return (ids.take(NAMED_MAX).collect(), true);
    }
    if !what.starts_with("Computer") {
        return (Vec::new(), false);
    }
    let id = at("/event/computer/jssID").or_else(|| at("/event/jssID")).and_then(Value::as_i64);
    (id.into_iter().collect(), matches!(what, "ComputerAdded" | "ComputerInventoryCompleted"))
}

impl Running {
    fn is_free(&self) -> bool {
        self.under_way.is_none() && !self.ended && self.failed.is_none() && Instant::now() >= self.rest_until
    }
}

/// Whether a raw line is a webhook of this source, as far as what stands before the body says.
fn is_ours(line: &[u8], name: &str) -> bool {
    let (mut source, mut kind) = (false, false);
    for (key, value) in json::members(line).map_while(Result::ok) {
        let is = |word: &str| json::parse_str(value).is_some_and(|text| text == word);
        match key {
            b"source" => source = is(name),
            b"kind" => kind = is(sources::jamf::WEBHOOK),
            b"received" => break,
            _ => {}
        }
    }
    source && kind
}

impl Stage for Pull {
    fn schema(&self) -> Option<Schema> {
        Some(state::SCHEMA)
    }

    fn start(&mut self, context: &Context, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let worker = Worker::start(self.conf.clone(), context.waker.clone());
        let worker = worker.map_err(|why| StageError::usage(format!("source.{}: {why}", self.conf.name)))?;
        let every = i64::try_from(self.conf.every.as_millis()).unwrap_or(i64::MAX);
        let last = match self.errand {
            Errand::Forever => state::pulled(tx, &self.conf.name)?,
            Errand::All | Errand::One(_) => None,
        };
        // A clock that was set back must not silence a source.
        let now = Time::now().ms();
        let all_due = last.map_or(now, |last| last.saturating_add(every).min(now.saturating_add(every)));
        self.running = Some(Running {
            worker,
            waker: context.waker.clone(),
            under_way: None,
            all_due,
            wanted: true,
            rest_until: Instant::now(),
            failures: 0,
            ended: false,
            failed: None,
        });
        Ok(())
    }

    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        for line in lines {
            let reason = if is_ours(line.bytes, &self.conf.name) { self.webhook(line.bytes, tx)? } else { "other" };
            out.ignored(reason);
        }
        Ok(())
    }

    fn due(&self) -> bool {
        let Some(running) = &self.running else { return false };
        let asks = || running.is_free() && (running.wanted || running.all_due <= Time::now().ms());
        running.worker.has_found()
            || running.failed.is_some()
            || (self.fresh.is_some() && running.under_way.is_none())
            || asks()
    }

    fn idle(&mut self, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        if let Some(failed) = self.running.as_mut().and_then(|running| running.failed.take()) {
            return Err(failed);
        }
        for _ in 0..TAKE_MAX {
            let Some(found) = self.running.as_mut().and_then(|running| running.worker.next()) else { break };
            self.machine(found, out, tx)?;
        }
        self.renew()?;
        self.give(tx)
    }

    fn reload(&mut self, config: &Arc<Config>) -> Result<(), StageError> {
        let conf = Conf::of(config, &self.conf.name)?;
        conf.keys.resolve().map_err(|why| StageError::usage(format!("source.{}: {why}", conf.name)))?;
        self.fresh = Some(conf);
        Ok(())
    }

    /// As long as there is an errand; whoever is there for ever has one for ever.
    fn busy(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.ended)
    }
}

//! Orders about dead letters, and the machines that were forgotten: written into `registry.db` by whoever says so, obeyed
//! by `act` in its own file.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use event::Time;
use pipe::{Lasting, Waker};
use registry::db::{Db, DbError, Home, Version, Watched};
use registry::forgotten::{self, Forgotten};
use registry::orders::Order;
use registry::users::By;

/// How often the registry is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// With every so many looks the rules go that hold no longer.
const SWEEP_EVERY: u32 = 10;
/// At the first look, and with every so many after it, the rules go whose incidents are over.
const RECONCILE_EVERY: u32 = 120;
/// Orders older than this are not looked at any more.
pub const ORDER_AGE_MS: i64 = 31 * 24 * 3_600_000;

/// What the registry says.
#[derive(Debug, Default)]
pub struct Told {
    /// Orders; some may have been carried out before.
    pub orders: Vec<Order>,
    /// All machines that were forgotten in the time for which orders are looked at.
    pub forgotten: Vec<Forgotten>,
}

/// A thread that looks for orders and rings when there are any. It ends when this is dropped.
pub struct Watch {
    told: Receiver<Told>,
    waiting: Arc<AtomicBool>,
    /// Who was forgotten before it started.
    before: Vec<Forgotten>,
    _alive: Sender<()>,
}

impl Watch {
    /// Starts looking; the registry may appear later. `files`: the registry, and the state of the stage.
    pub fn start(
        files: (Home, Option<Home>),
        now: impl Fn() -> i64 + Send + 'static,
        waker: Waker,
    ) -> std::io::Result<Self> {
        let (registry, state) = files;
        let (to, told) = channel::<Told>();
        let (alive, ended) = channel::<()>();
        let waiting = Arc::new(AtomicBool::new(false));
        let seen = waiting.clone();
        // Read here: nothing is to be sent about them before the thread has looked.
        let before = known(&registry, now()).unwrap_or_else(|error| {
            tracing::warn!("orders: {error}");
            Vec::new()
        });
        std::thread::Builder::new().name("orders".into()).spawn(move || {
            let mut look = Look { registry: Watched::new(&registry), version: None };
            let (reconciling, sweeping, looking) = (Lasting::new(), Lasting::new(), Lasting::new());
            let mut looks = 0u32;
            while matches!(ended.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout)) {
                if looks.is_multiple_of(RECONCILE_EVERY)
                    && let Some(state) = &state
                {
                    reconciling
                        .tell("rules of incidents that are over", crate::rules::reconcile(&registry, state, now()));
                }
                looks = looks.wrapping_add(1);
                if looks.is_multiple_of(SWEEP_EVERY) {
                    sweeping.tell("rules that have come to their end", crate::rules::sweep(&registry, now()));
                }
                match looking.tell("orders", look.at_new(now())) {
                    Some(told) if told.orders.is_empty() && told.forgotten.is_empty() => {}
                    Some(told) => {
                        if to.send(told).is_err() {
                            return;
                        }
                        seen.store(true, Ordering::Release);
                        waker.ring();
                    }
                    None => look.version = None,
                }
            }
        })?;
        Ok(Self { told, waiting, before, _alive: alive })
    }

    /// Who was forgotten before it started.
    pub fn before(&mut self) -> Vec<Forgotten> {
        std::mem::take(&mut self.before)
    }

    /// What came since the last question, if something did.
    pub fn take(&self) -> Option<Told> {
        self.waiting.store(false, Ordering::Release);
        // The last one holds all that those before it do.
        self.told.try_iter().last()
    }

    /// Whether something came.
    pub fn rang(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }
}

fn known(registry: &Home, now: i64) -> Result<Vec<Forgotten>, DbError> {
    let db = Db::open_read_only(registry)?;
    db.map_or_else(|| Ok(Vec::new()), |db| forgotten::since(&db, now.saturating_sub(ORDER_AGE_MS)))
}

struct Look {
    registry: Watched,
    version: Option<Version>,
}

impl Look {
    fn at_new(&mut self, now: i64) -> Result<Told, DbError> {
        let Some((db, version)) = self.registry.look()? else { return Ok(Told::default()) };
        if Some(version) == self.version {
            return Ok(Told::default());
        }
        let since = now.saturating_sub(ORDER_AGE_MS);
        let told = Told { orders: registry::orders::list(db, since)?, forgotten: forgotten::since(db, since)? };
        self.version = Some(version);
        Ok(told)
    }
}

/// Gives an order about each of these targets, from the command line.
pub fn give(registry: &Home, verb: &str, targets: &[String], now: i64) -> Result<(), DbError> {
    if let Some(dir) = registry.file().and_then(Path::parent) {
        std::fs::create_dir_all(dir).map_err(|e| DbError::Other(format!("{}: {e}", dir.display())))?;
    }
    let mut db = Db::open(registry, registry::orders::SCHEMAS)?;
    let mut tx = db.begin()?;
    registry::orders::give(&mut tx, verb, targets, &By::command_line(), Time::from_ms(now))?;
    tx.commit()
}

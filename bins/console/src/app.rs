//! What every page may ask: the configuration in force, the registry, the machines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use event::Time;
use pipe::config::Config;
use registry::db::{Db, DbError, Schema, Tx};
use registry::known::{Known, Unread};
use registry::users;
use registry::{enrolments, made_rules, tags};
use rustls::ServerConfig;

use crate::ask::Asked;
use crate::beside::Beside;
use crate::conf::Conf;
use crate::edit::Disk;
use crate::hub;
use crate::lately::Lately;
use crate::oidc::{Provider, Waiting};

/// How long a registry that could not be opened is left alone.
const OPEN_AGAIN: Duration = Duration::from_secs(2);

/// The tables of the registry that the console writes; it may be the first to make them.
const TABLES: &[Schema] = &[enrolments::CERTIFICATES, tags::SCHEMA, made_rules::SCHEMA];

/// The connection to the registry, while it holds; else when and why it could not be opened.
#[derive(Default)]
struct Registry {
    db: Option<Db>,
    failed: Option<(Instant, String)>,
}

/// What a reload changes.
#[derive(Debug)]
pub struct Live {
    /// The configuration.
    pub config: Arc<Config>,
    /// The table of the console.
    pub conf: Conf,
    /// Certificate and key, if it speaks TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// Who else says who somebody is.
    pub provider: Option<Arc<Provider>>,
}

impl Live {
    /// Where people reach the console, without a `/` at the end: as the configuration says, else as this one does.
    pub fn base(&self, asked: &Asked) -> String {
        self.conf.url.as_ref().map_or_else(|| asked.us.to_string(), ToString::to_string)
    }
}

/// All of it.
pub struct App {
    live: RwLock<Arc<Live>>,
    registry: Mutex<Registry>,
    fleet: Arc<Beside<Known>>,
    figures: Arc<Beside<BTreeMap<String, hub::Probe>>>,
    disk: Lately,
    hashing: Mutex<()>,
    writing: Mutex<()>,
    playing: Mutex<BTreeSet<String>>,
    waiting: Waiting,
}

/// Filters of people that run at the same time.
const PLAYS_MAX: usize = 2;

/// Leave to run a filter of one's own, until it is dropped.
#[derive(Debug)]
pub struct Playing<'a> {
    all: &'a Mutex<BTreeSet<String>>,
    who: String,
}

impl Drop for Playing<'_> {
    fn drop(&mut self) {
        held(self.all).remove(&self.who);
    }
}

impl App {
    pub fn new(live: Live) -> Self {
        let (registry, fleet, figures, hashing) = (Mutex::default(), Arc::default(), Arc::default(), Mutex::new(()));
        let disk = Lately::default();
        let (writing, playing) = (Mutex::new(()), Mutex::default());
        let waiting = Waiting::default();
        Self { live: RwLock::new(Arc::new(live)), registry, fleet, figures, disk, hashing, writing, playing, waiting }
    }

    /// What holds now.
    pub fn live(&self) -> Arc<Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a new configuration over; what was opened by the old one is opened anew.
    pub fn change(&self, live: Live) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
        *held(&self.registry) = Registry::default();
        self.fleet.forget();
        self.figures.forget();
        self.disk.forget();
    }

    /// Reads the registry, which is made if it is not there: the console may be the first to start.
    pub fn registry<T>(&self, read: impl FnOnce(&Db) -> Result<T, DbError>) -> Result<T, DbError> {
        self.opened(|db| read(db))
    }

    /// Changes the registry: all of it, or nothing.
    pub fn write<T, E: From<DbError>>(&self, change: impl FnOnce(&mut Tx<'_>, Time) -> Result<T, E>) -> Result<T, E> {
        self.opened(|db| {
            let mut tx = db.begin()?;
            let made = change(&mut tx, Time::now())?;
            tx.commit()?;
            Ok(made)
        })
    }

    fn opened<T, E: From<DbError>>(&self, with: impl FnOnce(&mut Db) -> Result<T, E>) -> Result<T, E> {
        let mut kept = held(&self.registry);
        let mut db = match kept.db.take() {
            Some(db) => db,
            None => {
                // Opening waits for a server that does not answer: not all who ask meanwhile wait in turn.
                if let Some((_, why)) = kept.failed.as_ref().filter(|(at, _)| at.elapsed() < OPEN_AGAIN) {
                    return Err(DbError::Unreachable(why.clone()).into());
                }
                self.open().inspect_err(|e| kept.failed = Some((Instant::now(), e.to_string())))?
            }
        };
        // One that failed is not kept: the next request opens another.
        let made = with(&mut db)?;
        kept.db = Some(db);
        Ok(made)
    }

    fn open(&self) -> Result<Db, DbError> {
        let config = self.live().config.clone();
        let fail = |e: std::io::Error| DbError::Other(format!("{}: {e}", config.data.display()));
        registry::folder::make_private(&config.data).map_err(fail)?;
        Db::open(config.registry(), &[users::SCHEMAS, TABLES, &[registry::live::QUERIES]].concat())
    }

    /// Looks at the machines, see [`Beside::known`].
    pub fn machines<T>(&self, look: impl FnOnce(&Known) -> Result<T, Unread>) -> Result<T, Unread> {
        let config = self.live().config.clone();
        look(&*self.fleet.known("machines", move || Known::open(&config.homes(), &|unit| config.unit_tags(unit)))?)
    }

    /// What the filters that run tell of each probe, see [`Beside::known`]. The error is what to tell a person.
    pub fn figures(&self) -> Result<Arc<BTreeMap<String, hub::Probe>>, String> {
        let config = self.live().config.clone();
        self.figures.known("probes", move || hub::probes(&config))
    }

    /// The files of the configuration as they are on disk, for pages that only look. The error is what to tell a person.
    pub fn disk(&self) -> Result<Arc<Disk>, String> {
        self.disk.read(&self.live().config)
    }

    /// Somebody changed something about a machine: the next look is not at what was.
    pub fn look_anew(&self) {
        self.fleet.forget();
    }

    /// Who is on the way to the provider and back.
    pub fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// Leave to hash a password: one at a time, for each takes 19 MiB and a good part of a second.
    pub fn hashing(&self) -> MutexGuard<'_, ()> {
        held(&self.hashing)
    }

    /// Leave to write files of the configuration: one at a time, from reading what is there to writing what it becomes.
    pub fn writing(&self) -> MutexGuard<'_, ()> {
        held(&self.writing)
    }

    /// Leave to run a filter over events: one at a time for each person, and few at all. None: not now.
    pub fn play(&self, who: &str) -> Option<Playing<'_>> {
        let mut all = held(&self.playing);
        let free = all.len() < PLAYS_MAX && all.insert(who.to_owned());
        free.then(|| Playing { all: &self.playing, who: who.to_owned() })
    }
}

/// A lock that nobody leaves half done.
pub fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn one_filter_at_a_time_and_few_at_all() {
        let app =
            App::new(Live { config: Arc::new(Config::empty(None)), conf: Conf::default(), tls: None, provider: None });
        let first = app.play("user:a").unwrap();
        assert!(app.play("user:a").is_none());
        let _second = app.play("user:b").unwrap();
        assert!(app.play("user:c").is_none());
        drop(first);
        assert!(app.play("user:c").is_some());
        assert!(app.play("user:a").is_some(), "whoever has ended leaves room");
    }
}

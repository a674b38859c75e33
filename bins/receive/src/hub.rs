//! What all requests share.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use pipe::config::Config;
use registry::db::Home;
use registry::enrolments::ServerKey;
use tokio::sync::Semaphore;

use crate::agents::Agents;
use crate::by_query::ByQuery;
use crate::carves::Carves;
use crate::conf::{Callers, Conf, Limits};
use crate::desk::{self, Posting};
use crate::groups::Groups;
use crate::hand::ByHand;
use crate::heard::Heard;
use crate::known::Known;
use crate::meters::Meters;
use crate::queries::Queries;
use crate::store::{self, Store};
use crate::tls::Tls;

/// Long bodies, and enrolments, worked on beside the other requests at a time.
const BESIDE_MAX: usize = 4;
/// Time between two complaints about the same, in ms: a fleet that can't enrol would fill the log.
const COMPLAIN_EVERY_MS: i64 = 10_000;

/// What the configuration says, as it holds now: all of one state of the files, or all of another.
pub struct Live {
    /// The whole configuration.
    pub config: Arc<Config>,
    /// The tables of this stage.
    pub conf: Conf,
    /// What agents are told to do.
    pub agents: Agents,
    /// The rules that Santa's agents are given.
    pub rules: desk::santa::Served,
    /// Who calls without being an agent.
    pub callers: Callers,
    /// Certificate and key; none with `--plain`.
    pub tls: Option<Tls>,
}

/// What `receive` remembers.
pub struct Remembered {
    /// Who may speak.
    pub known: Known,
    /// Who spoke.
    pub heard: Heard,
    /// Live queries.
    pub queries: Queries,
    /// Carves of files.
    pub carves: Carves,
}

/// What all requests share.
pub struct Hub {
    /// Where raw lines go.
    pub sink: pipe::Sink,
    /// Who may speak.
    pub known: Known,
    /// Who spoke.
    pub heard: Heard,
    /// Live queries.
    pub queries: Queries,
    /// Carves of files.
    pub carves: Carves,
    /// `registry.db`: who may enrol. Opened anew for each enrolment, so a file that was put back is seen at once.
    pub registry: Home,
    /// What people say of machines.
    pub by_hand: ByHand,
    /// Tags that queries give them.
    pub by_query: ByQuery,
    /// What enrolment secrets are computed from.
    pub key: ServerKey,
    /// Counters.
    pub meters: Meters,
    /// What bodies and lines may take.
    pub store: Arc<Store>,
    /// A permit is a long body that is worked on beside the other requests.
    pub long: Arc<Semaphore>,
    /// A permit is an enrolment. Apart from the above: whoever sends long bodies keeps nobody from enrolling, for a body
    /// of an enrolment is never long.
    pub enrolments: Arc<Semaphore>,
    /// What Santa's agents were given, as far as it is remembered.
    pub santa: desk::santa::Memory,
    /// What the inventory says of the groups of machines.
    pub groups: Groups,
    /// The machines of which a post of Munki's is being worked on.
    pub posting: Posting,
    complained: AtomicI64,
    live: RwLock<Arc<Live>>,
    ids: Ids,
}

impl Hub {
    /// Puts it together.
    pub fn new(
        sink: pipe::Sink,
        remembered: Remembered,
        key: ServerKey,
        meters: Meters,
        live: Live,
    ) -> Result<Self, getrandom::Error> {
        let Remembered { known, heard, queries, carves } = remembered;
        let permits = |n| Arc::new(Semaphore::new(n));
        let homes = live.config.homes();
        let registry = homes.registry();
        Ok(Self {
            sink,
            known,
            heard,
            by_hand: ByHand::new(&registry),
            by_query: ByQuery::new(&homes.state("normalize")),
            queries,
            carves,
            registry,
            key,
            meters,
            store: Store::new(store::STORE, store::SHARE),
            long: permits(BESIDE_MAX),
            enrolments: permits(BESIDE_MAX),
            santa: desk::santa::Memory::default(),
            groups: Groups::of(&live.config),
            posting: Posting::default(),
            complained: AtomicI64::new(i64::MIN),
            live: RwLock::new(live.into()),
            ids: Ids::new()?,
        })
    }

    /// What holds now.
    pub fn live(&self) -> Arc<Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on another configuration holds, for new requests and new connections.
    pub fn change(&self, live: Live) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
        self.known.forget();
    }

    /// Looks at what people and queries say of machines. If that cannot be read, what they said before holds.
    pub fn look(&self) {
        match self.by_hand.look(&self.known) {
            Ok(moved) if moved.is_empty() => {}
            Ok(moved) => self.santa.forget(&moved),
            Err(why) => self.complain("tags cannot be looked up", &why),
        }
        match self.by_query.look(event::Time::now().ms()) {
            Ok(others) => self.known.forget_those(&others),
            Err(why) => self.complain("tags of queries cannot be looked up", &why),
        }
    }

    /// The bounds that hold now.
    pub fn limits(&self) -> Limits {
        self.live().conf.limits
    }

    /// Says what is wrong with the state, now and then.
    pub fn complain(&self, what: &str, why: &dyn std::fmt::Display) {
        let now = event::Time::now().ms();
        let last = self.complained.load(Ordering::Relaxed);
        if now.saturating_sub(last) >= COMPLAIN_EVERY_MS {
            self.complained.store(now, Ordering::Relaxed);
            tracing::warn!("{what}: {why}");
        }
    }

    /// An id that no other request has.
    pub fn request_id(&self) -> String {
        self.ids.next()
    }
}

/// 64 random bits of this process and a number.
struct Ids {
    process: u64,
    next: AtomicU64,
}

impl Ids {
    fn new() -> Result<Self, getrandom::Error> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        Ok(Self { process: u64::from_ne_bytes(random), next: AtomicU64::new(0) })
    }

    fn next(&self) -> String {
        format!("{:016x}-{:x}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

//! What this conversation asks of the hub.

use std::sync::Arc;

use event::Machine;

use super::{Kind, Rule, Ruleset, Settings, Version};
use crate::{MachineFacts, Unavailable};

/// What is known of Santa's machines, and what they are to be told.
pub trait Desk {
    /// Whether a machine that comes with this secret for the first time would be let in.
    fn admits(&self, secret: &str) -> Result<(), Denied>;

    /// The machine that speaks with this secret under this id; none: it has not come yet. A secret that was revoked
    /// since still opens the door to a machine that is in: it cannot be told another.
    fn client(&self, secret: &str, id: &str) -> Result<Option<Client>, Denied>;

    /// Takes a machine in, or takes down what it says of itself now.
    fn enrol(&self, secret: &str, id: &str, facts: &MachineFacts) -> Result<Enrolled, Denied>;

    /// The settings of this machine.
    fn settings(&self, machine: &Machine) -> Settings;

    /// The rules that are for this machine, as far as this version of Santa knows them.
    fn rules(&self, machine: &Machine, version: Version) -> Arc<Ruleset>;

    /// A set of rules that was kept.
    fn kept(&self, hash: &[u8; 32]) -> Result<Arc<Ruleset>, Unavailable>;

    /// Keeps what the ledger says of this machine, with these sets of rules. `Err` also if another request of this
    /// machine was faster.
    fn keep(&self, client: &Client, ledger: &Ledger, rules: &[&Ruleset]) -> Result<(), Unavailable>;

    /// All rules of the machine's open session were given to it. That is remembered for as long as the process lives:
    /// forgotten, they are given once more.
    fn gave(&self, client: &Client);

    /// Whether they were.
    fn was_given(&self, client: &Client) -> bool;

    /// Whether all binaries of a bundle are known; none: it was never asked for.
    fn bundle(&self, hash: &str) -> Result<Option<bool>, Unavailable>;

    /// From now on binaries of this bundle are kept.
    fn await_bundle(&self, bundle: &Bundle) -> Result<(), Unavailable>;

    /// Keeps binaries of bundles that are awaited; those bundles that are whole now, each with its binaries.
    fn collect(&self, members: &[Member]) -> Result<Vec<(Bundle, Vec<String>)>, Unavailable>;

    /// These bundles have been told: their binaries need not be kept.
    fn told(&self, hashes: &[String]) -> Result<(), Unavailable>;
}

/// A bundle that a blocked binary lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Its hash, made of those of its binaries.
    pub hash: String,
    /// How many binaries it has.
    pub count: i64,
    /// What is known of it, an object.
    pub about: String,
}

/// A binary of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The hash of the bundle.
    pub bundle: String,
    /// Its own.
    pub file: String,
    /// What is known of it, an object.
    pub about: String,
}

/// A machine that has been here.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its name in the state: a digest of its enrolment and the id that it gave itself.
    pub key: [u8; 32],
    /// The machine block of its lines.
    pub machine: Machine,
    /// What it said of itself last.
    pub facts: MachineFacts,
    /// What it was given.
    pub ledger: Ledger,
}

impl Client {
    /// Its version of Santa.
    pub fn version(&self) -> Version {
        Version::parse(self.facts.agent_version.as_deref().unwrap_or_default())
    }
}

/// What a machine was given, and what of that it has confirmed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The sync that is under way, or that broke off.
    pub session: Option<Session>,
    /// The set of rules that it has; none: nobody knows.
    pub confirmed: Option<[u8; 32]>,
    /// A clean sync that somebody has ordered, until one was confirmed.
    pub ordered: Option<Order>,
}

/// An order of a sync of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// What becomes of the rules that the machine has.
    pub kind: Kind,
    /// Its number: no other order has it.
    pub number: u64,
}

/// A sync that gives something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name, which no other has.
    pub id: String,
    /// What becomes of the rules that the machine has.
    pub kind: Kind,
    /// The rules it will have.
    pub staged: [u8; 32],
    /// What it is given for that.
    pub plan: [u8; 32],
    /// The number of the order that it obeys.
    pub obeys: Option<u64>,
}

/// Why a machine is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// A word for the metrics.
    Refused(&'static str),
    /// The registry can't be read.
    Unavailable,
}

/// What came of an enrolment.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one lives for one request, and it is nearly always the large one")]
pub enum Enrolled {
    /// It is in. `new`: it came for the first time, or it came for the first time by this enrolment (`again`).
    Done {
        /// As it is known now.
        client: Client,
        /// It is to be told everything.
        new: bool,
        /// It has been known before.
        again: bool,
    },
    /// The id or the serial number is another machine's.
    Conflict {
        /// The machine as it is known.
        known: Machine,
        /// What differs.
        why: &'static str,
        /// Somebody may approve of it.
        pending: bool,
    },
}

impl Ruleset {
    /// The rule for this target.
    pub fn find(&self, rule: &Rule) -> Option<&Rule> {
        let at = self.rules().binary_search_by(|own| own.target().cmp(&rule.target())).ok()?;
        self.rules().get(at)
    }
}

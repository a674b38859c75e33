//! What Munki asks of the hub, and what it is told.

use std::any::Any;

use event::Machine;

use super::check::Check;
use crate::{Speaker, Unavailable};

/// What the hub knows for Munki.
pub trait Desk {
    /// What an enrolment secret opens.
    fn secret(&self, secret: &str) -> Secret;

    /// Whether a secret was made here, whatever became of its enrolment: nothing is looked up for it.
    fn is_ours(&self, _secret: &str) -> bool {
        false
    }

    /// The machine of this serial number, if this secret lets it speak without a token of its own: it came in by that
    /// enrolment, or the enrolment lets machines into its unit now. [`Speaker::Unknown`]: it has to come in first.
    fn bearer(&self, _secret: &str, _serial: &str) -> Speaker {
        Speaker::Unknown
    }

    /// What machines are told.
    fn settings(&self) -> &Settings;

    /// The script checks that this machine is in the scope of.
    fn checks(&self, machine: &Machine) -> Vec<&Check>;

    /// What is known of a machine (by its key) from its posts; none: it has not posted yet.
    fn state(&self, machine: &str) -> Result<Option<State>, Unavailable>;

    /// Puts this in its place, durably.
    fn keep(&self, machine: &str, state: &State) -> Result<(), Unavailable>;

    /// Keeps other posts of the same machine out until what comes back is dropped; none: one is being worked on.
    fn alone(&self, machine: &str) -> Option<Box<dyn Any>>;
}

/// What became of a secret that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// It lets machines in.
    Good {
        /// The enrolment's id.
        id: String,
        /// How often its secret was made anew.
        generation: i64,
    },
    /// It does not: a word for the metrics.
    Refused(&'static str),
    /// The registry can't be read.
    Unavailable,
}

/// `[source.munki]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Percent of the applications whose signatures an agent collects.
    pub apps_full_info_shard: u8,
    /// Conditions whose values go into reports.
    pub collected_condition_keys: Vec<String>,
    /// How to find out whose machine it is.
    pub principal_user_detection: Option<PrincipalUser>,
    /// Time between two lists of all managed installs, in ms.
    pub full_sync_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            apps_full_info_shard: 100,
            collected_condition_keys: Vec::new(),
            principal_user_detection: None,
            full_sync_ms: 7 * 86_400_000,
        }
    }
}

/// How an agent finds out whose machine it is on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrincipalUser {
    /// Where it looks, best first.
    pub sources: Vec<String>,
    /// The domains that a user may be of; empty: any.
    pub domains: Vec<String>,
}

/// What is known of a machine from its posts. Times are ms since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// SHA-1 of the newest report.
    pub report: Option<String>,
    /// When that ended.
    pub report_at: Option<i64>,
    /// When all managed installs were told last.
    pub installs_at: Option<i64>,
    /// The checks that it has run.
    pub checks: Vec<Ran>,
}

/// A check that a machine has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its name.
    pub name: String,
    /// The revision of the check that was run.
    pub rev: String,
    /// What came of it last, if anything did: see [`super::check::Status`].
    pub status: Option<i64>,
    /// When, in ms since 1970.
    pub at: i64,
}

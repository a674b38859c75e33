//! A Munki repository as a folder: its manifests read and changed, its catalogs asked. What is *not* here: when and why
//! (that is `actions/munki.rs`).

pub mod catalogs;
pub mod chain;
pub mod change;
pub mod diff;
pub mod edit;
pub mod git;
pub mod plist;
pub mod repo;
pub mod which;

use std::fmt::Display;

/// Why something cannot be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Not now: a share that is away, no room, somebody else at work.
    Now(String),
    /// Not before somebody has changed something.
    ForGood(String),
}

impl Fault {
    /// Not now.
    pub fn now(of: impl Display, why: impl Display) -> Self {
        Self::Now(format!("{of}: {why}"))
    }

    /// Not before somebody has changed something.
    pub fn for_good(of: impl Display, why: impl Display) -> Self {
        Self::ForGood(format!("{of}: {why}"))
    }

    /// Why.
    pub fn why(&self) -> &str {
        let (Self::Now(why) | Self::ForGood(why)) = self;
        why
    }
}

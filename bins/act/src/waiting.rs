//! Actions that cannot be made ready, most likely because a secret cannot be read: each waits alone and is tried again, as
//! if its service were away. The others work.

use registry::db::Home;

use crate::actions::Opening;
use crate::conf::{Configured, Ready};
use crate::jq::Jq;

/// How often they are tried again, in ms.
const AGAIN_MS: i64 = 5_000;

/// Those that wait.
pub struct Waiting {
    actions: Vec<Configured>,
    registry: Home,
    dry_run: bool,
    /// When they are tried again, in ms since 1970.
    at: i64,
}

impl Waiting {
    /// These, tried a moment ago.
    pub fn new(actions: Vec<Configured>, registry: Home, dry_run: bool, now: i64) -> Self {
        Self { actions, registry, dry_run, at: now.saturating_add(AGAIN_MS) }
    }

    /// Whether it is time to try them again.
    pub fn due(&self, now: i64) -> bool {
        !self.actions.is_empty() && now >= self.at
    }

    /// Tries them again: each as it is now.
    pub fn again(&mut self, jq: &Jq, now: i64) -> Vec<(String, Ready)> {
        self.at = now.saturating_add(AGAIN_MS);
        let opening = Opening { jq, registry: &self.registry, dry_run: self.dry_run };
        let tried: Vec<(String, Ready)> =
            self.actions.iter().map(|action| (action.name.clone(), action.open_or_wait(opening))).collect();
        self.actions.retain(|action| tried.iter().any(|(name, now)| *name == action.name && now.waits.is_some()));
        tried
    }
}

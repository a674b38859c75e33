//! Conditions on acting: `window`, `throttle`, `until` (design § 5). They are judged over matches in the order in which
//! they are read, by `received` alone and in the loop's transaction: so a kill changes nothing, and a match that comes
//! again, which was taken before, is not asked about twice.

mod throttle;
mod window;

use std::collections::BTreeMap;
use std::time::Duration;

use event::{Event, ProbeMatch};
use pipe::StageError;
use pipe::config::{Config, ProbeConf, Window};
use registry::db::Tx;
use sha2::{Digest, Sha256};

use crate::incidents;
use crate::told::{Kept, Phase};

/// The longest key that is kept as it is, in bytes.
const KEY_MAX: usize = 256;

/// The conditions of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// So many within a time.
    pub window: Option<Window>,
    /// Nothing of the same key for so long after one that was acted upon.
    pub throttle: Option<Duration>,
    /// Matches make an incident.
    pub until: bool,
}

/// The conditions of all probes that have any.
#[derive(Debug, Clone, Default)]
pub struct Conditions(BTreeMap<String, Rules>);

/// What is to be done about a match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Its actions are told this.
    Act(Kept),
    /// It was counted, and that is all: the reason for the stage's sum, and the words for people.
    Held(&'static str, String),
}

/// What happened to a probe's state, to be told as an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// A window is full.
    Fired {
        /// Of what.
        key: String,
        /// How many.
        count: u64,
        /// Their ids.
        ids: Vec<String>,
    },
    /// Something became of an incident.
    Incident(Phase, Box<incidents::Row>),
}

impl Rules {
    /// Those of a probe.
    pub fn of(probe: &ProbeConf) -> Self {
        Self { window: probe.window, throttle: probe.throttle, until: probe.until.is_some() }
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

impl FromIterator<(String, Rules)> for Conditions {
    fn from_iter<I: IntoIterator<Item = (String, Rules)>>(rules: I) -> Self {
        Self(rules.into_iter().filter(|(_, rules)| rules.any()).collect())
    }
}

impl Conditions {
    /// Those of the configuration.
    pub fn of(config: &Config) -> Self {
        config.probes.values().map(|probe| (probe.name.clone(), Rules::of(probe))).collect()
    }

    /// Whether this probe has any.
    pub fn has(&self, probe: &str) -> bool {
        self.0.contains_key(probe)
    }

    /// Whether matches of this probe are about something even if nothing is to be done.
    pub fn remembers(&self, probe: &str) -> bool {
        self.0.get(probe).is_some_and(|rules| rules.until || rules.window.is_some())
    }

    /// Judges a match that was not taken before. What happened is appended to `happened`; to `actions` those that are to
    /// hear of the end of an incident because they were told of it.
    pub fn decide(
        &self,
        event: &Event,
        probe: &ProbeMatch,
        actions: &mut Vec<String>,
        happened: &mut Vec<Happened>,
        tx: &mut Tx<'_>,
    ) -> Result<Decision, StageError> {
        let Some(rules) = self.0.get(&probe.name) else { return Ok(Decision::Act(Kept::plain())) };
        let key = key_of(event, probe);
        let received = event.received.ms();
        if probe.extra.get("closes").is_some_and(|closes| closes == true) {
            return match rules.until {
                true => incidents::end(event, probe, &key, actions, happened, tx),
                false => Ok(Decision::Held("no_incident", "`until` matched, and the probe has none".to_owned())),
            };
        }
        let mut kept = Kept::plain();
        if let Some(rule) = &rules.window {
            match window::count(rule, &probe.name, &key, &event.id, received, tx)? {
                window::Counted::Not(why) => return Ok(Decision::Held("window", why)),
                window::Counted::Full(ids) => {
                    kept.count = rule.count;
                    kept.ids = ids.iter().take(crate::told::IDS_MAX).cloned().collect();
                    happened.push(Happened::Fired { key: key.clone(), count: rule.count, ids });
                }
            }
        }
        if rules.until {
            return incidents::grow(rules.throttle, kept, event, probe, &key, actions, happened, tx);
        }
        match rules.throttle {
            Some(throttle) => throttle::pass(throttle, &probe.name, &key, received, kept, tx),
            None => Ok(Decision::Act(kept)),
        }
    }
}

/// What a match is about, short enough for a key of a table.
pub fn key_of(event: &Event, probe: &ProbeMatch) -> String {
    let machine = || event.machine.as_ref().and_then(|machine| machine.key());
    let key = probe.key.as_deref().or_else(machine).unwrap_or_default();
    short(key)
}

/// A word of a line as it may stand in a table: bounded, without control characters (a NUL is no text to PostgreSQL).
pub fn short(key: &str) -> String {
    if key.len() <= KEY_MAX && !key.chars().any(char::is_control) {
        return key.to_owned();
    }
    let hash: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

/// Forgets what can have no effect any more: older than `before`, in ms since 1970.
pub fn forget(tx: &mut Tx<'_>, before: i64) -> Result<(), StageError> {
    tx.execute("DELETE FROM throttles WHERE since < $1", &[before.into()])?;
    tx.execute("DELETE FROM windows WHERE received < $1", &[before.into()])?;
    incidents::forget(tx, before)
}

#[cfg(test)]
mod tests;

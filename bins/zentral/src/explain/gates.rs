//! A filter that a stage has switched off.

use std::collections::BTreeMap;

use pipe::StageError;
use pipe::config::{Config, StageKind};
use serde::Serialize;

/// A filter that does not run any more.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Off {
    /// The stage that switched it off.
    pub stage: String,
    /// `quarantined` or `crash`.
    pub why: String,
    /// Id of the event at which that happened.
    pub event: String,
    /// The same for people.
    pub words: String,
}

/// The filters that are off, by (probe, rev): a changed text gets a new chance.
pub fn switched_off(config: &Config) -> Result<BTreeMap<(String, String), Off>, StageError> {
    let mut all = BTreeMap::new();
    for stage in config.stages.iter().filter(|s| s.runs(StageKind::Filter)) {
        for off in filter::off(config.state(stage))? {
            let words = off.words();
            let filter::Off { probe, rev, why, event, .. } = off;
            all.insert((probe, rev), Off { stage: stage.name.clone(), why, event, words });
        }
    }
    Ok(all)
}

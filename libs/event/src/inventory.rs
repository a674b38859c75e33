//! What sources know of machines beyond their names: lists of things, kind by kind.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{Machine, Time};

/// What one source says of one machine at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The source: the name of its table in the configuration.
    pub source: String,
    /// When the machine was as it says.
    pub taken: Time,
    /// The machine, with what the source knows of it: platform, version of the operating system.
    pub machine: Machine,
    /// What it has, by kind (`os_version`, `disk`, `osx_app`, …). A kind that is not here was not told this time: what was
    /// known of it stays. A kind with an empty list has none.
    pub parts: BTreeMap<String, Vec<Map<String, Value>>>,
}

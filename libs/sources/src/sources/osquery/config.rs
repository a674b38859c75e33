//! The configuration that an agent gets: built once for all who are told the same, checked against the agent's own limits.
//!
//! An agent drops its schedule *before* it refuses a configuration that is too big or too deep, so nothing unchecked
//! may be served; and it reloads everything when one byte differs, so the same input gives the same bytes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::files::FilePaths;
use super::flags;
use super::inventory::{self, Inventory};
use super::pack::Pack;
use super::query::{self, Query};

/// Bytes of a configuration that osquery accepts.
pub const CONFIG_MAX: usize = 4 << 20;
/// Levels of nesting that osquery accepts.
pub const CONFIG_DEPTH_MAX: usize = 32;
/// Seconds that an interval of decorators is a multiple of.
pub const DECORATOR_STEP: u32 = 60;

/// A probe's query as an agent runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySpec {
    /// Name of the probe.
    pub probe: String,
    /// 8 hex digits of the SQL.
    pub rev: String,
    /// The query.
    pub query: Query,
}

/// Queries whose first row decorates every result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decorators {
    /// Run when the configuration is loaded.
    pub load: Vec<String>,
    /// Run before each query.
    pub always: Vec<String>,
    /// Run every so many seconds, a multiple of [`DECORATOR_STEP`].
    pub interval: BTreeMap<u32, Vec<String>>,
}

/// What all agents are told alike.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Flags.
    pub options: Map<String, Value>,
    /// Decorations of results.
    pub decorators: Decorators,
    /// Files that are watched.
    pub file_paths: FilePaths,
    /// Tables over SQLite files, by name, as osquery writes them.
    pub tables: BTreeMap<String, Value>,
}

/// What one group of agents is told.
#[derive(Debug, Clone, Default)]
pub struct Told<'a> {
    /// Queries of probes.
    pub queries: Vec<&'a QuerySpec>,
    /// Packs by name.
    pub packs: Vec<(&'a str, &'a Pack)>,
    /// The query of the inventory, and for which platform.
    pub inventory: Option<(&'a Inventory, Option<&'a str>)>,
}

/// The bytes of a configuration, or what an agent would not take, as a fragment naming the place.
pub fn build_config(told: &Told<'_>, settings: &Settings) -> Result<Vec<u8>, String> {
    let mut schedule = BTreeMap::new();
    for spec in &told.queries {
        let name = query::query_name(&spec.probe, &spec.rev);
        if let Some((_, why)) = spec.query.flaws().first() {
            return Err(format!("query of probe {}: {why}", spec.probe));
        }
        if schedule.insert(name, spec.query.json()).is_some() {
            return Err(format!("query of probe {}: is there twice", spec.probe));
        }
    }
    if let Some((inventory, platform)) = told.inventory {
        schedule.insert(inventory::NAME.into(), inventory.query(platform).json());
    }
    let packs: BTreeMap<&str, Value> = told.packs.iter().map(|(name, pack)| (*name, pack.json())).collect();
    let mut config = Map::new();
    config.insert("options".into(), Value::Object(flags::options(&settings.options)?));
    config.insert("schedule".into(), json!(schedule));
    config.insert("packs".into(), json!(packs));
    config.extend(settings.decorators.json()?.map(|decorators| ("decorators".into(), decorators)));
    settings.file_paths.write(&mut config);
    if !settings.tables.is_empty() {
        config.insert("auto_table_construction".into(), json!(settings.tables));
    }
    checked(&Value::Object(config))
}

impl Decorators {
    fn json(&self) -> Result<Option<Value>, String> {
        let every = self.interval.values().flatten();
        if self.load.iter().chain(&self.always).chain(every).any(|sql| sql.trim().is_empty()) {
            return Err("a decorator is empty".into());
        }
        if let Some(odd) = self.interval.keys().find(|s| **s == 0 || **s % DECORATOR_STEP != 0) {
            return Err(format!("decorators every {odd} s: osquery takes multiples of {DECORATOR_STEP} s"));
        }
        let mut all = Map::new();
        for (key, list) in [("load", &self.load), ("always", &self.always)] {
            if !list.is_empty() {
                all.insert(key.into(), json!(list));
            }
        }
        if !self.interval.is_empty() {
            let every: Map<_, _> = self.interval.iter().map(|(s, list)| (s.to_string(), json!(list))).collect();
            all.insert("interval".into(), Value::Object(every));
        }
        Ok((!all.is_empty()).then_some(Value::Object(all)))
    }
}

fn checked(config: &Value) -> Result<Vec<u8>, String> {
    let bytes = serde_json::to_vec(config).map_err(|e| e.to_string())?;
    if bytes.len() > CONFIG_MAX {
        return Err(format!("{} bytes are more than the {CONFIG_MAX} that osquery takes", bytes.len()));
    }
    if depth(config) > CONFIG_DEPTH_MAX {
        return Err(format!("{} levels are more than the {CONFIG_DEPTH_MAX} that osquery takes", depth(config)));
    }
    Ok(bytes)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;

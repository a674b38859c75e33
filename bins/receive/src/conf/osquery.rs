//! `[source.osquery]`: what agents are told beside queries and packs.

use std::time::Duration;

use pipe::config::{Finding, Settings};
use registry::pending::Reenrol;
use serde_json::{Value, json};
use sources::osquery::{self, DECORATOR_STEP, Decorators, FileCategory, FilePaths, INTERVALS, Inventory};

use super::warning;

/// The most columns that one table may have.
const COLUMNS_MAX: usize = 1000;

/// All of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Osquery {
    /// What all agents are told alike.
    pub settings: osquery::Settings,
    /// The query of the inventory; none: it is off.
    pub inventory: Option<Inventory>,
    /// What carves of files may take.
    pub carves: CarveLimits,
    /// Machines may enrol again with other hardware or from another unit.
    pub reenrol: Reenrol,
}

/// `carves`: bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarveLimits {
    /// Of one carve.
    pub max: u64,
    /// Of all that lie under `data/carves` and all that are under way.
    pub quota: u64,
}

impl Default for CarveLimits {
    fn default() -> Self {
        Self { max: 1 << 30, quota: 20 << 30 }
    }
}

impl CarveLimits {
    fn read(table: &mut Settings) -> Self {
        let mut read = Self::default();
        if let Some(mut carves) = table.table("carves") {
            for (key, limit) in [("max", &mut read.max), ("quota", &mut read.quota)] {
                *limit = carves.size(key).unwrap_or(*limit);
            }
            table.absorb(carves);
        }
        read
    }
}

impl Default for Osquery {
    fn default() -> Self {
        let inventory = Some(Inventory::default());
        Self {
            settings: osquery::Settings::default(),
            inventory,
            carves: CarveLimits::default(),
            reenrol: Reenrol::default(),
        }
    }
}

impl Osquery {
    /// Reads the table; what is odd and does no harm goes to `warnings`.
    pub(super) fn read(table: &mut Settings, warnings: &mut Vec<Finding>) -> Self {
        let mut read = Self { reenrol: super::reenrol(table), ..Self::default() };
        read.options(table, warnings);
        read.settings.decorators = decorators(table);
        read.settings.file_paths = file_paths(table);
        tables(table, &mut read.settings);
        read.inventory = inventory(table);
        read.carves = CarveLimits::read(table);
        read
    }

    fn options(&mut self, table: &mut Settings, warnings: &mut Vec<Finding>) {
        let Some(mut options) = table.table("options") else { return };
        for flag in options.keys() {
            let value = value(&mut options, &flag);
            if osquery::is_cli_only(&flag) {
                let text = "osquery takes this flag from its command line only; agents are not told";
                warnings.extend(warning(&options, &flag, text));
            } else {
                self.settings.options.extend(value.map(|value| (flag, value)));
            }
        }
        if self.settings.options.get(osquery::PACK_DELIMITER).is_some_and(|v| v.as_str().is_none_or(str::is_empty)) {
            options.fail(osquery::PACK_DELIMITER, "expected a string that is not empty");
        }
        table.absorb(options);
    }
}

/// A flag's value is a truth value, a whole number or a string; which of them, the table has to be asked.
pub(super) fn value(table: &mut Settings, key: &str) -> Option<Value> {
    if let Some(b) = table.clone().bool(key) {
        table.bool(key);
        return Some(b.into());
    }
    if let Some(n) = table.clone().int(key) {
        table.int(key);
        return Some(n.into());
    }
    table.str(key).map(Value::String)
}

/// A table in the place of a list or a string.
fn as_table(table: &mut Settings, key: &str) -> Option<Settings> {
    table.clone().table(key)?;
    table.table(key)
}

/// A list is what is loaded at the agent's start.
fn decorators(table: &mut Settings) -> Decorators {
    let Some(mut said) = as_table(table, "decorators") else {
        return Decorators { load: table.strings("decorators"), ..Decorators::default() };
    };
    let mut read = Decorators { load: said.strings("load"), always: said.strings("always"), ..Decorators::default() };
    if let Some(mut every) = said.table("interval") {
        for key in every.keys() {
            let list = every.strings(&key);
            match pipe::config::parse_duration(&key).and_then(seconds) {
                Some(s) if s % DECORATOR_STEP == 0 && INTERVALS.contains(&s) => {
                    read.interval.entry(s).or_default().extend(list);
                }
                _ => every.fail(&key, format!("`{key}` is no time of whole minutes such as \"10m\" or \"1h\"")),
            }
        }
        said.absorb(every);
    }
    table.absorb(said);
    read
}

fn seconds(time: Duration) -> Option<u32> {
    if time.subsec_nanos() > 0 { None } else { u32::try_from(time.as_secs()).ok() }
}

/// A list of patterns, or a table that says more.
fn file_paths(table: &mut Settings) -> FilePaths {
    let mut read = FilePaths::default();
    let Some(mut categories) = table.table("file_paths") else { return read };
    for name in categories.keys() {
        let category = match as_table(&mut categories, &name) {
            Some(mut said) => {
                let category = FileCategory {
                    paths: said.strings("paths"),
                    exclude: said.strings("exclude"),
                    queries: said.strings("queries"),
                    accesses: said.bool("accesses").unwrap_or(false),
                };
                if category.paths.is_empty() && category.queries.is_empty() {
                    said.fail("", "needs the key `paths` or `queries`");
                }
                categories.absorb(said);
                category
            }
            None => FileCategory { paths: categories.strings(&name), ..FileCategory::default() },
        };
        read.0.insert(name, category);
    }
    table.absorb(categories);
    read
}

/// Tables over SQLite files of the agent's machine.
fn tables(table: &mut Settings, settings: &mut osquery::Settings) {
    let Some(mut all) = table.table("auto_table_construction") else { return };
    for name in all.keys() {
        let Some(mut said) = all.table(&name) else { continue };
        let (query, path, columns) = (said.required_str("query"), said.required_str("path"), said.strings("columns"));
        if columns.is_empty() || columns.len() > COLUMNS_MAX {
            said.fail("columns", format!("a table has 1 to {COLUMNS_MAX} `columns`"));
        }
        let mut of = json!({ "query": query, "path": path, "columns": columns });
        if let (Some(platform), Some(of)) = (said.str("platform"), of.as_object_mut()) {
            of.insert("platform".into(), platform.into());
        }
        all.absorb(said);
        settings.tables.insert(name, of);
    }
    table.absorb(all);
}

/// `"1h"`, `"off"` or `{ every = "1h", ec2 = true }`.
fn inventory(table: &mut Settings) -> Option<Inventory> {
    let mut read = Inventory::default();
    if let Some(mut said) = as_table(table, "inventory") {
        every(&mut said, "every", &mut read);
        read.ec2 = said.bool("ec2").unwrap_or(false);
        table.absorb(said);
    } else if table.has("inventory") {
        if table.clone().str("inventory").as_deref() == Some("off") {
            let _ = table.str("inventory");
            return None;
        }
        every(table, "inventory", &mut read);
    }
    Some(read)
}

fn every(table: &mut Settings, key: &str, inventory: &mut Inventory) {
    if let Some(time) = table.duration(key) {
        match seconds(time).filter(|s| INTERVALS.contains(s)) {
            Some(s) => inventory.interval_s = s,
            None => table.fail(key, "osquery takes intervals from 1s to 7d"),
        }
    }
}

//! `[probe.*]`: query, filter, actions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Files, Settings};

/// The severities, mildest first.
pub const SEVERITIES: [&str; 4] = ["info", "minor", "major", "critical"];
/// The platforms that a scope may name.
pub const PLATFORMS: [&str; 5] = ["macos", "linux", "windows", "freebsd", "ios"];

/// The platform that others call so.
fn of_system(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "darwin" | "mac" | "osx" | "os x" | "mac os" | "macosx" => "macos",
        "ubuntu" | "debian" | "rhel" | "centos" | "fedora" | "amzn" | "arch" | "sles" => "linux",
        "win" | "win32" | "win64" => "windows",
        "ipados" | "iphone" => "ios",
        _ => return None,
    })
}

/// One probe.
#[derive(Debug, Clone)]
pub struct ProbeConf {
    /// Its name.
    pub name: String,
    /// The machines that it is about.
    pub scope: Scope,
    /// The osquery query whose results its filter sees; none: it sees every event in scope.
    pub query: Option<Query>,
    /// The jq program.
    pub filter: FilterText,
    /// One of [`SEVERITIES`].
    pub severity: String,
    /// Names of actions.
    pub act: Vec<String>,
    /// jq on the event that names what a match is about; none: the machine key.
    pub by: Option<FilterText>,
    /// jq on the event that ends an incident; none: a match is told of and over.
    pub until: Option<FilterText>,
    /// After a match that was acted upon, those of the same key are held back for so long.
    pub throttle: Option<Duration>,
    /// Only so many matches of a key within a time are acted upon, as one.
    pub window: Option<Window>,
    /// Matched, counted, shown, not acted upon.
    pub shadow: bool,
    /// Whether the first run of its query counts (everything is "added" then).
    pub first_run: bool,
    /// All keys of the table, for findings that others make.
    pub settings: Settings,
}

/// So many matches of a key within a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// How many.
    pub count: u64,
    /// Within which time, by `received`.
    pub within: Duration,
}

/// The most matches that a window may count.
const WINDOW_COUNT_MAX: i64 = 10_000;
/// The longest time of a window or throttle.
const CONDITION_MAX: Duration = Duration::from_secs(31 * 86_400);

/// The machines that something is about. Empty lists say nothing; between lists all must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// Any of these platforms.
    pub platforms: Vec<String>,
    /// Any of these units.
    pub units: Vec<String>,
    /// Any of these tags.
    pub tags: Vec<String>,
    /// In any of these groups.
    pub groups: Vec<String>,
    /// Any of these machines, by key.
    pub machines: Vec<String>,
    /// None of these platforms.
    pub not_platforms: Vec<String>,
    /// None of these units.
    pub not_units: Vec<String>,
    /// None of these tags.
    pub not_tags: Vec<String>,
    /// In none of these groups.
    pub not_groups: Vec<String>,
    /// None of these machines.
    pub not_machines: Vec<String>,
}

impl Scope {
    /// Whether a machine of this platform and unit may be in scope, as far as these two say.
    pub fn admits(&self, platform: Option<&str>, unit: Option<&str>) -> bool {
        let within = |list: &[String], value: Option<&str>| {
            list.is_empty() || value.is_some_and(|v| list.iter().any(|l| l == v))
        };
        let without = |list: &[String], value: Option<&str>| !value.is_some_and(|v| list.iter().any(|l| l == v));
        within(&self.platforms, platform)
            && within(&self.units, unit)
            && without(&self.not_platforms, platform)
            && without(&self.not_units, unit)
    }

    /// Whether a machine is in scope.
    pub fn holds(&self, machine: &event::Machine) -> bool {
        let key = machine.key().unwrap_or_default();
        let tagged = |list: &[String]| list.iter().any(|tag| machine.tags.contains(tag));
        let grouped = |list: &[String]| list.iter().any(|group| machine.groups.contains(group));
        let named = |list: &[String]| list.iter().any(|machine| machine == key);
        self.admits(machine.platform.as_deref(), machine.unit.as_deref())
            && (self.tags.is_empty() || tagged(&self.tags))
            && (self.groups.is_empty() || grouped(&self.groups))
            && (self.machines.is_empty() || named(&self.machines))
            && !tagged(&self.not_tags)
            && !grouped(&self.not_groups)
            && !named(&self.not_machines)
    }

    /// Whether one of its lists names the machine; what it names by `not_` counts for nothing.
    pub fn names(&self, machine: &event::Machine) -> bool {
        let is = |list: &[String], value: Option<&str>| value.is_some_and(|value| list.iter().any(|one| one == value));
        is(&self.platforms, machine.platform.as_deref())
            || is(&self.units, machine.unit.as_deref())
            || is(&self.machines, machine.key())
            || self.tags.iter().any(|tag| machine.tags.contains(tag))
            || self.groups.iter().any(|group| machine.groups.contains(group))
    }

    /// Whether it asks in which groups a machine is.
    pub fn asks_for_groups(&self) -> bool {
        !(self.groups.is_empty() && self.not_groups.is_empty())
    }

    /// The key `scope` of a table.
    pub fn read(table: &mut Settings) -> Self {
        Self::read_as("scope", table)
    }

    /// A scope under another key.
    pub fn read_as(key: &str, table: &mut Settings) -> Self {
        let Some(mut scope) = table.table(key) else { return Self::default() };
        let read = Self {
            platforms: scope.strings("platforms"),
            units: scope.strings("units"),
            tags: scope.strings("tags"),
            groups: scope.strings("groups"),
            machines: scope.strings("machines"),
            not_platforms: scope.strings("not_platforms"),
            not_units: scope.strings("not_units"),
            not_tags: scope.strings("not_tags"),
            not_groups: scope.strings("not_groups"),
            not_machines: scope.strings("not_machines"),
        };
        for (key, list) in [("platforms", &read.platforms), ("not_platforms", &read.not_platforms)] {
            for odd in list.iter().filter(|p| !PLATFORMS.contains(&p.as_str())) {
                let near = match of_system(odd) {
                    Some(platform) => format!("; did you mean `{platform}`?"),
                    None => super::settings::nearest(odd, PLATFORMS.into_iter()),
                };
                scope.fail_word(key, odd, format!("`{odd}` is none of {}{near}", PLATFORMS.join(", ")));
            }
        }
        table.absorb(scope);
        read
    }
}

/// A query that osquery runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The SQL.
    pub sql: String,
    /// Seconds between runs, 1 to 604,800.
    pub interval_s: u64,
    /// All rows each time instead of what changed.
    pub snapshot: bool,
    /// Whether rows that went away are told.
    pub removed: bool,
    /// Least version of osquery.
    pub version: Option<String>,
    /// The tag of machines on which it gives rows.
    pub tag: Option<String>,
    /// Its rows say by `ztl_status` how a check stands.
    pub compliance: bool,
    /// 8 hex digits of the SQL.
    pub rev: String,
}

/// A jq program and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterText {
    /// The program.
    pub source: String,
    /// The file that holds it; none: it stands in the configuration itself.
    pub file: Option<PathBuf>,
}

impl FilterText {
    /// The program that a key holds: a string ending in `.jq` is a path, anything else a program.
    pub fn read(table: &mut Settings, key: &str, files: &mut Files) -> Option<Self> {
        let text = table.str(key)?;
        if !text.ends_with(".jq") {
            return Some(Self { source: text, file: None });
        }
        let path = table.base().join(&text);
        match files.read(&path) {
            Ok(source) => Some(Self { source, file: Some(path) }),
            Err(why) => {
                let near = elsewhere(&table.base(), &text).unwrap_or_default();
                table.fail(key, format!("{}: {why}{near}", path.display()));
                None
            }
        }
    }
}

/// Folders beside a configuration that are looked through for a filter that is not where it is said to be.
const FOLDERS_MAX: usize = 200;

/// A file of this name in a folder beside the configuration: paths count from its own folder, and filters seldom lie there.
fn elsewhere(base: &Path, path: &str) -> Option<String> {
    let name = Path::new(path).file_name()?;
    let folders = std::fs::read_dir(base).ok()?.flatten().take(FOLDERS_MAX);
    let mut found: Vec<_> = folders.map(|folder| folder.file_name()).collect();
    found.sort();
    let near = found.iter().map(|folder| Path::new(folder).join(name)).find(|near| base.join(near).is_file())?;
    (near != Path::new(path)).then(|| format!("; did you mean `{}`?", near.display()))
}

impl ProbeConf {
    pub(super) fn read(table: &mut Settings, files: &mut Files) -> Option<Self> {
        let scope = Scope::read(table);
        let query = table.table("query").and_then(|mut query| {
            let read = Query::read(&mut query);
            table.absorb(query);
            read
        });
        if !table.has("filter") {
            table.fail("", "needs the key `filter`");
        }
        let filter = FilterText::read(table, "filter", files);
        let by = FilterText::read(table, "by", files);
        let until = FilterText::read(table, "until", files);
        let throttle = Window::time(table, "throttle");
        let window = table.table("window").and_then(|mut window| {
            let read = Window::read(&mut window);
            table.absorb(window);
            read
        });
        let severity = table.word("severity", &SEVERITIES).unwrap_or("info").to_owned();
        let act = table.strings("act");
        let shadow = table.bool("shadow").unwrap_or(false);
        let first_run = table.bool("first_run").unwrap_or(false);
        let (name, settings) = (table.name().to_owned(), table.places());
        let filter = filter?;
        Some(Self {
            name,
            scope,
            query,
            filter,
            severity,
            act,
            by,
            until,
            throttle,
            window,
            shadow,
            first_run,
            settings,
        })
    }

    /// The name under which osquery runs its query and reports results.
    pub fn query_name(&self) -> Option<String> {
        self.query.as_ref().map(|q| format!("zentral/{}/{}", self.name, q.rev))
    }
}

impl Window {
    fn read(table: &mut Settings) -> Option<Self> {
        for key in ["count", "within"] {
            if !table.has(key) {
                table.fail("", format!("needs the key `{key}`"));
            }
        }
        let count = table.int("count");
        if count.is_some_and(|n| !(2..=WINDOW_COUNT_MAX).contains(&n)) {
            table.fail("count", format!("is 2 to {WINDOW_COUNT_MAX}"));
        }
        let within = Self::time(table, "within");
        Some(Self { count: u64::try_from(count?).ok()?, within: within? })
    }

    fn time(table: &mut Settings, key: &str) -> Option<Duration> {
        let time = table.duration(key)?;
        if time.is_zero() || time > CONDITION_MAX {
            table.fail(key, "must be more than nothing and at most 31d");
        }
        Some(time)
    }
}

impl Query {
    fn read(table: &mut Settings) -> Option<Self> {
        let sql = table.required_str("sql");
        let interval_s = table.duration("interval").map_or(3600, |d| d.as_secs());
        if !(1..=604_800).contains(&interval_s) {
            table.fail("interval", "osquery takes intervals from 1s to 7d");
        }
        let snapshot = table.bool("snapshot").unwrap_or(false);
        let removed = table.bool("removed").unwrap_or(true);
        let version = table.str("version");
        let tag = table.str("tag");
        let compliance = table.bool("compliance").unwrap_or(false);
        let sql = sql?;
        let rev = Sha256::digest(sql.as_bytes()).iter().take(4).map(|b| format!("{b:02x}")).collect();
        Some(Self { sql, interval_s, snapshot, removed, version, tag, compliance, rev })
    }
}

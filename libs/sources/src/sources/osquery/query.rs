//! A query as an agent runs it: of a probe in the schedule, or of a pack.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::ran::STATUS_COLUMN;

/// Seconds between two runs of a query that osquery accepts.
pub const INTERVALS: std::ops::RangeInclusive<u32> = 1..=604_800;
/// Percents of the machines that osquery lets a query or pack be for.
pub const SHARDS: std::ops::RangeInclusive<u32> = 1..=100;
/// The interval of a query of a pack that says none.
pub const INTERVAL: u32 = 3600;
/// Words for platforms that osquery takes in packs and their queries.
pub const SYSTEMS: [&str; 7] = ["darwin", "linux", "windows", "posix", "freebsd", "any", "all"];
/// The longest tag.
const TAG_MAX: usize = 63;
/// How a query of the hub's own is called in a schedule: `zentral/PROBE/REV`.
pub const QUERY_PREFIX: &str = "zentral/";

/// The name of a probe's query in a schedule.
pub fn query_name(probe: &str, rev: &str) -> String {
    format!("{QUERY_PREFIX}{probe}/{rev}")
}

/// A query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The SQL.
    pub sql: String,
    /// Seconds between two runs.
    pub interval_s: u32,
    /// All rows each time, in place of what changed.
    pub snapshot: bool,
    /// Rows that went away are told, too.
    pub removed: bool,
    /// Whether the agent may stop running it when it takes too much.
    pub denylist: bool,
    /// Percent of the machines that run it.
    pub shard: Option<u32>,
    /// Platforms in osquery's words, with commas between.
    pub platform: Option<String>,
    /// The oldest agent that can run it.
    pub version: Option<String>,
    /// The tag of machines on which it gives rows.
    pub tag: Option<String>,
    /// Its rows say how a check stands.
    pub compliance: bool,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            sql: String::new(),
            interval_s: INTERVAL,
            snapshot: false,
            removed: true,
            denylist: true,
            shard: None,
            platform: None,
            version: None,
            tag: None,
            compliance: false,
        }
    }
}

impl Query {
    /// What an agent would not take: the key in osquery's words, and why.
    pub fn flaws(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        if self.sql.trim().is_empty() {
            all.push(("query", "is empty".into()));
        }
        if self.sql.contains('\0') {
            all.push(("query", "holds a NUL".into()));
        }
        if !INTERVALS.contains(&self.interval_s) {
            let (least, most) = (INTERVALS.start(), INTERVALS.end());
            all.push(("interval", format!("interval {} s is not within {least} to {most} s", self.interval_s)));
        }
        all.extend(shard_flaw(self.shard).map(|why| ("shard", why)));
        all.extend(self.platform.as_deref().and_then(platform_flaw).map(|why| ("platform", why)));
        all.extend(self.version.as_deref().and_then(version_flaw).map(|why| ("version", why)));
        let meant = meaning_flaw(&self.sql, self.snapshot, self.tag.as_deref(), self.compliance);
        all.extend(meant.map(|(key, why)| (key, why.to_owned())));
        all
    }

    /// The name of a pack's query in the pack as agents are told it: with a revision if its results mean something, so that
    /// what an earlier SQL gave is told from what this one gives.
    pub fn told_name(&self, name: &str) -> String {
        if self.tag.is_some() || self.compliance { format!("{name}/{}", rev(&self.sql)) } else { name.to_owned() }
    }

    pub(super) fn json(&self) -> Value {
        let mut query = Map::new();
        query.insert("query".into(), self.sql.as_str().into());
        query.insert("interval".into(), self.interval_s.into());
        if self.snapshot {
            query.insert("snapshot".into(), true.into());
        } else if !self.removed {
            query.insert("removed".into(), false.into());
        }
        if !self.denylist {
            query.insert("denylist".into(), false.into());
        }
        around(&mut query, self.shard, self.platform.as_deref(), self.version.as_deref());
        Value::Object(query)
    }
}

/// 8 hex digits of the SQL.
pub fn rev(sql: &str) -> String {
    Sha256::digest(sql.as_bytes()).iter().take(4).map(|b| format!("{b:02x}")).collect()
}

/// Why a query's results can not mean what they are to mean: the key, and why.
pub fn meaning_flaw(
    sql: &str,
    snapshot: bool,
    tag: Option<&str>,
    compliance: bool,
) -> Option<(&'static str, &'static str)> {
    if tag.is_some_and(|tag| !is_name(tag)) {
        Some(("tag", "is no tag ([a-z0-9][a-z0-9-]{0,62})"))
    } else if compliance && tag.is_some() {
        Some(("tag", "a query either gives a tag or is a check"))
    } else if compliance && !snapshot {
        Some(("compliance", "only a snapshot tells how a check stands: `snapshot = true`"))
    } else if tag.is_some() && !snapshot {
        Some(("tag", "only a snapshot tells whether a machine has a tag: `snapshot = true`"))
    } else if compliance && !sql.to_ascii_lowercase().contains(STATUS_COLUMN) {
        Some(("compliance", "the SQL of a check gives a column `ztl_status`"))
    } else {
        None
    }
}

fn is_name(tag: &str) -> bool {
    let of = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    tag.len() <= TAG_MAX && tag.bytes().next().is_some_and(of) && tag.bytes().all(|b| of(b) || b == b'-')
}

/// What packs and queries have in common.
pub(super) fn around(
    object: &mut Map<String, Value>,
    shard: Option<u32>,
    platform: Option<&str>,
    version: Option<&str>,
) {
    object.extend(shard.map(|shard| ("shard".into(), shard.into())));
    object.extend(platform.map(|platform| ("platform".into(), platform.into())));
    object.extend(version.map(|version| ("version".into(), version.into())));
}

pub(super) fn shard_flaw(shard: Option<u32>) -> Option<String> {
    let odd = shard.filter(|shard| !SHARDS.contains(shard))?;
    Some(format!("shard {odd} is not within {} to {}", SHARDS.start(), SHARDS.end()))
}

pub(super) fn platform_flaw(platform: &str) -> Option<String> {
    let odd = platform.split(',').map(str::trim).find(|word| !word.is_empty() && !SYSTEMS.contains(word))?;
    Some(format!("platform `{odd}` is none of {}", SYSTEMS.join(", ")))
}

pub(super) fn version_flaw(version: &str) -> Option<String> {
    let numbers = version.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    (!numbers).then(|| format!("version {version:?} is not of the form 5.12.1"))
}

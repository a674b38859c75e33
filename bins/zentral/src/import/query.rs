//! One query of a schedule, as osquery, Fleet and Zentral write it.

use std::collections::BTreeSet;

use super::draft::{Import, Query, Refusal, no};
use super::node::Spot;

/// Seconds between two runs that osquery takes, and those it takes if none are said.
const INTERVALS: std::ops::RangeInclusive<u64> = 1..=604_800;
const INTERVAL: u64 = 3600;
/// The longest SQL that is taken, in bytes; a machine's whole configuration has 4 MiB.
const SQL_MAX: usize = 256 << 10;
/// Keys that are read here or by those who call; keys that are not here are named.
const KNOWN: [&str; 24] = [
    "query",
    "sql",
    "interval",
    "platform",
    "platforms",
    "minimum_osquery_version",
    "version",
    "snapshot",
    "removed",
    "shard",
    "denylist",
    "blacklist",
    "can_be_denylisted",
    "compliance_check",
    "compliance_check_enabled",
    "tag",
    "description",
    "value",
    "name",
    "slug",
    "id",
    "oncall",
    "created_at",
    "updated_at",
];

/// What holds for all queries around one: a pack's platform and version.
#[derive(Debug, Clone, Default)]
pub struct Around {
    pub platforms: Platforms,
    pub version: Option<String>,
}

impl Around {
    /// Narrows it by what a pack or a configuration says.
    pub fn within(&self, at: &Spot<'_>) -> Result<Self, Refusal> {
        let shard = at.get("shard");
        if let Some(shard) = shard.filter(|shard| !matches!(shard.whole(), Some(0 | 100))) {
            return no(&shard, "a share of machines cannot be said of a probe; its queries are not imported");
        }
        if let Some(discovery) = at.get("discovery").or(at.get("discovery_queries")).filter(|d| !d.is_empty()) {
            return no(
                &discovery,
                "discovery queries cannot be said of a probe; the queries of this pack are not imported",
            );
        }
        let platforms = self.platforms.and(&Platforms::read(at)?);
        if platforms.is_none() {
            return no(&at.get("platform").unwrap_or(at.clone()), "names no platform that its surroundings name");
        }
        Ok(Self { platforms, version: later(self.version.clone(), version(at, "version")?) })
    }
}

impl Around {
    /// Narrows it by the labels of machines that a pack of Fleet is for.
    pub fn labelled(&self, labels: &Spot<'_>) -> Result<Self, Refusal> {
        let mut any: Option<Platforms> = None;
        for label in labels.items() {
            let Some(found) = label.word().and_then(Platforms::label) else {
                return no(
                    &label,
                    "a label of Fleet's cannot be said of a probe; the queries of this pack are not imported",
                );
            };
            any = Some(any.map_or(found.clone(), |any| any.or(&found)));
        }
        let platforms = any.map_or(self.platforms.clone(), |any| self.platforms.and(&any));
        Ok(Self { platforms, version: self.version.clone() })
    }
}

/// Reads the query; `sql` says it where the query names another's.
pub fn read(
    at: &Spot<'_>,
    sql: Option<&Spot<'_>>,
    around: &Around,
    import: &mut Import,
) -> Result<(Query, Vec<String>), Refusal> {
    let sql = match sql.cloned().or(at.get("query")).or(at.get("sql")) {
        None => return no(at, "has no `query`"),
        Some(sql) => sql,
    };
    let text = sql.text().unwrap_or_default();
    if text.trim().is_empty() || text.len() > SQL_MAX || text.contains('\0') {
        return no(&sql, format!("a query is a text of at most {SQL_MAX} bytes without NUL"));
    }
    let interval_s = match at.get("interval") {
        None => INTERVAL,
        Some(interval) => match interval.whole().filter(|s| INTERVALS.contains(s)) {
            Some(seconds) => seconds,
            None => return no(&interval, "osquery takes whole seconds from 1 to 604800"),
        },
    };
    let inner = around.within(at)?;
    let version = later(inner.version, version(at, "minimum_osquery_version")?);
    let truth = |key: &str, default: bool| match at.get(key) {
        None => Ok(default),
        Some(said) => said.truth().map_or_else(|| no(&said, "is neither true nor false"), Ok),
    };
    let (snapshot, removed) = (truth("snapshot", false)?, truth("removed", true)?);
    for key in ["denylist", "blacklist", "can_be_denylisted"] {
        if let Some(said) = at.get(key).filter(|said| said.truth() != Some(true)) {
            import
                .refuse(&said, "left out: a probe cannot keep osquery from setting aside a query that costs too much");
        }
    }
    import.rest(at, &KNOWN);
    let query = Query { sql: text.to_owned(), interval_s, snapshot, removed: removed || snapshot, version };
    Ok((query, inner.platforms.names()))
}

/// A version of osquery in the form that a configuration takes.
fn version(at: &Spot<'_>, key: &str) -> Result<Option<String>, Refusal> {
    // In Zentral's packs a query's `version` is a count of its changes: a whole number.
    let Some(said) = at.get(key).filter(|said| !said.is_empty() && said.whole().is_none()) else { return Ok(None) };
    let word = said.word().unwrap_or_default();
    let numbers = word.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    if numbers { Ok(Some(word.to_owned())) } else { no(&said, "is no version such as 5.12.1") }
}

/// The later of two versions.
fn later(one: Option<String>, other: Option<String>) -> Option<String> {
    let parts = |v: &String| v.split('.').map(|p| p.parse().unwrap_or(u64::MAX)).collect::<Vec<_>>();
    [one, other].into_iter().flatten().max_by_key(parts)
}

/// Platforms of a scope; none: all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Platforms(Option<BTreeSet<&'static str>>);

impl Platforms {
    fn read(at: &Spot<'_>) -> Result<Self, Refusal> {
        let Some(said) = at.get("platform").or(at.get("platforms")).filter(|said| !said.is_empty()) else {
            return Ok(Self::default());
        };
        let Some(words) = said.words() else { return no(&said, "is no platform") };
        let mut all = BTreeSet::new();
        for word in words.iter().flat_map(|w| w.split(',')).map(|w| w.trim().to_ascii_lowercase()) {
            match word.as_str() {
                // As osquery itself reads them: two distributions stand for Linux, others for nothing.
                "any" | "all" | "null" => return Ok(Self::default()),
                "darwin" | "macos" => all.extend(["macos"]),
                "linux" | "ubuntu" | "centos" => all.extend(["linux"]),
                "windows" => all.extend(["windows"]),
                "freebsd" => all.extend(["freebsd"]),
                "posix" => all.extend(["macos", "linux", "freebsd"]),
                "" => {}
                other => return no(&said, format!("`{}` is no platform of osquery's", super::draft::line(other))),
            }
        }
        Ok(Self(Some(all)))
    }

    /// Fleet's names for what it finds out of itself; others are made by people.
    fn label(name: &str) -> Option<Self> {
        match name {
            "All Hosts" => Some(Self::default()),
            "macOS" => Some(Self(Some(["macos"].into()))),
            "MS Windows" => Some(Self(Some(["windows"].into()))),
            "All Linux" => Some(Self(Some(["linux"].into()))),
            _ => None,
        }
    }

    fn or(&self, other: &Self) -> Self {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Self(Some(one.union(other).copied().collect())),
            _ => Self::default(),
        }
    }

    fn and(&self, other: &Self) -> Self {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Self(Some(one.intersection(other).copied().collect())),
            (one, other) => Self(one.clone().or(other.clone())),
        }
    }

    fn is_none(&self) -> bool {
        self.0.as_ref().is_some_and(BTreeSet::is_empty)
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().flatten().map(|name| (*name).to_owned()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::import::json;

    type Read = Result<(Query, Vec<String>), Refusal>;

    fn of(text: &str, around: &str) -> (Read, Vec<Refusal>) {
        let (text, around) = (json::read(text).unwrap(), json::read(around).unwrap());
        let mut import = Import::default();
        let around = Around::default().within(&Spot::root(&"a".into(), &around.roots[0]));
        let read = around.and_then(|around| read(&Spot::root(&"f".into(), &text.roots[0]), None, &around, &mut import));
        (read, import.refused)
    }

    #[test]
    fn queries() {
        let (query, refused) = of(
            r#"{"query": "select 1", "interval": "60", "platform": "linux, darwin", "version": "1.4.10", "removed": false,
                "description": "d", "denylist": true}"#,
            r#"{"platform": "posix", "version": "1.4.5"}"#,
        );
        let (query, platforms) = query.unwrap();
        let want = Query {
            sql: "select 1".into(),
            interval_s: 60,
            snapshot: false,
            removed: false,
            version: Some("1.4.10".into()),
        };
        assert_eq!((query, refused), (want, Vec::new()));
        assert_eq!(platforms, ["linux", "macos"]);

        let (query, _) = of(r#"{"query": "select 1", "snapshot": "true", "removed": false, "shard": 100}"#, "{}");
        let (query, platforms) = query.unwrap();
        assert!(query.snapshot && query.removed && query.interval_s == 3600 && platforms.is_empty());
    }

    #[test]
    fn what_cannot_be_said_has_its_place() {
        for (text, around, place) in [
            ("{}", "{}", "f:1"),
            (r#"{"query": ""}"#, "{}", "f:1: query"),
            (r#"{"query": 1}"#, "{}", "f:1: query"),
            ("{\"query\": \"q\",\n\"interval\": 0}", "{}", "f:2: interval"),
            (r#"{"query": "q", "interval": 604801}"#, "{}", "f:1: interval"),
            (r#"{"query": "q", "interval": "1h"}"#, "{}", "f:1: interval"),
            (r#"{"query": "q", "version": "1.5.1-26"}"#, "{}", "f:1: version"),
            (r#"{"query": "q", "platform": "lol"}"#, "{}", "f:1: platform"),
            (r#"{"query": "q", "platform": "darwin"}"#, r#"{"platform": "linux"}"#, "f:1: platform"),
            (r#"{"query": "q", "shard": 10}"#, "{}", "f:1: shard"),
            (r#"{"query": "q", "removed": "maybe"}"#, "{}", "f:1: removed"),
            (r#"{"query": "q"}"#, r#"{"discovery": ["select 1"]}"#, "a:1: discovery"),
        ] {
            assert_eq!(of(text, around).0.unwrap_err().0, place, "{text}");
        }
        let (query, refused) = of(r#"{"query": "q", "denylist": false, "odd": 1, "other": ""}"#, "{}");
        assert!(query.is_ok());
        let places: Vec<&str> = refused.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["f:1: denylist", "f:1: odd"]);
    }
}

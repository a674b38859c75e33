//! What osquery agents are told to do: one configuration per platform and unit, the same bytes until something in it
//! changes (an agent reloads everything when one byte differs).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pipe::config::{Config, Finding, Scope};
use sources::osquery::{QuerySpec, build_config};

use crate::conf::Osquery;

/// Configurations kept; platforms are few and units are named in a file, so more are a mistake.
const KEPT_MAX: usize = 4096;

/// The configurations of one state of the files.
#[derive(Debug, Default)]
pub struct Agents {
    /// Queries with whom they are for. A probe for certain *tags* is served to every machine of its platforms and
    /// units: tags change without the agent's doing, and the filter looks at them again.
    queries: Vec<(Scope, QuerySpec)>,
    conf: Osquery,
    made: Mutex<HashMap<Group, Arc<[u8]>>>,
}

/// Platform and unit.
type Group = (Option<String>, Option<String>);

impl Agents {
    /// Checks that an agent takes what it would be told.
    pub fn new(config: &Config, conf: &Osquery) -> Result<Self, Finding> {
        let mut queries = Vec::new();
        for probe in config.probes.values() {
            let Some(query) = &probe.query else { continue };
            let spec = QuerySpec {
                probe: probe.name.clone(),
                rev: query.rev.clone(),
                sql: query.sql.clone(),
                interval_s: u32::try_from(query.interval_s).unwrap_or(u32::MAX),
                snapshot: query.snapshot,
                removed: query.removed,
                version: query.version.clone(),
            };
            queries.push((probe.scope.clone(), spec));
        }
        let agents = Self { queries, conf: conf.clone(), made: Mutex::default() };
        let file = config.file.clone().unwrap_or_default();
        agents.check(config).map_err(|why| Finding::file(file, format!("the configuration of agents: {why}")))?;
        Ok(agents)
    }

    /// All queries together are the worst case; only if that is refused are the groups looked at one by one.
    fn check(&self, config: &Config) -> Result<(), String> {
        let all: Vec<QuerySpec> = self.queries.iter().map(|(_, spec)| spec.clone()).collect();
        let Err(whole) = build_config(&all, &self.conf.options, &self.conf.decorators) else { return Ok(()) };
        let units = || std::iter::once(None).chain(config.units.keys().map(|u| Some(u.as_str())));
        for platform in [None, Some("macos"), Some("linux"), Some("windows"), Some("freebsd")] {
            for unit in units() {
                self.build(platform, unit)?;
            }
        }
        // Every group is fine, so it is the size of all together, or a query that nobody is given.
        if self
            .queries
            .iter()
            .any(|(_, spec)| build_config(std::slice::from_ref(spec), &Default::default(), &[]).is_err())
        {
            return Err(whole);
        }
        Ok(())
    }

    fn build(&self, platform: Option<&str>, unit: Option<&str>) -> Result<Vec<u8>, String> {
        let admitted = self.queries.iter().filter(|(scope, _)| scope.admits(platform, unit));
        let specs: Vec<QuerySpec> = admitted.map(|(_, spec)| spec.clone()).collect();
        build_config(&specs, &self.conf.options, &self.conf.decorators)
    }

    /// The bytes for a machine of this platform and unit.
    pub fn config(&self, platform: Option<&str>, unit: Option<&str>) -> Result<Arc<[u8]>, String> {
        let group = (platform.map(str::to_owned), unit.map(str::to_owned));
        if let Some(made) = self.made.lock().unwrap_or_else(PoisonError::into_inner).get(&group) {
            return Ok(made.clone());
        }
        // Built outside the lock: two that come at once build the same bytes.
        let bytes: Arc<[u8]> = self.build(platform, unit)?.into();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.len() >= KEPT_MAX {
            made.clear();
        }
        made.insert(group, bytes.clone());
        Ok(bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn each_group_is_told_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.toml");
        let text = "version = 1\n[unit.berlin]\n[unit.paris]\n\
            [probe.all]\nfilter = \".\"\nquery = { sql = \"select 1\" }\n\
            [probe.mac]\nfilter = \".\"\nscope = { platforms = [\"macos\"] }\nquery = { sql = \"select 2\" }\n\
            [probe.vip]\nfilter = \".\"\nscope = { units = [\"berlin\"], tags = [\"vip\"] }\nquery = { sql = \"select 3\" }\n\
            [probe.none]\nfilter = \".\"\n";
        std::fs::write(&path, text).unwrap();
        let config = Config::load(&path, None).unwrap().0;
        let agents = Agents::new(&config, &Osquery::default()).unwrap();
        let check = |platform, unit, want: &[&str]| {
            let bytes = agents.config(platform, unit).unwrap();
            let told: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            let names = told.get("schedule").unwrap().as_object().unwrap().keys();
            let names: Vec<&str> = names.map(|n| n.split('/').nth(1).unwrap()).collect();
            assert_eq!(names, want);
            assert!(Arc::ptr_eq(&bytes, &agents.config(platform, unit).unwrap()), "built once");
        };
        // `filter` looks for results under the name that the configuration gives, agents send them under this one.
        let named = config.probes.values().filter_map(|probe| probe.query_name());
        let sent = agents.queries.iter().map(|(_, spec)| sources::osquery::query_name(&spec.probe, &spec.rev));
        assert_eq!(named.collect::<Vec<_>>(), sent.collect::<Vec<_>>());
        check(Some("macos"), Some("berlin"), &["all", "mac", "vip"]);
        check(Some("linux"), Some("berlin"), &["all", "vip"]);
        check(Some("macos"), Some("paris"), &["all", "mac"]);
        check(None, None, &["all"]);
    }
}

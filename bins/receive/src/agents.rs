//! What osquery agents are told to do: the same bytes for all who are told the same, until something in it changes (an
//! agent reloads everything when one byte differs).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use event::Machine;
use pipe::config::{Config, Finding, ProbeConf, Scope};
use sources::osquery::{Query, QuerySpec, Told, build_config, meaning_flaw};

use crate::conf::{Conf, Osquery, Served};

/// Bytes of the configurations kept: there are as many as there are sets of what is told to somebody.
const KEPT_MAX: usize = 64 << 20;

/// The configurations of one state of the files.
#[derive(Debug, Default)]
pub struct Agents {
    /// Queries with whom they are for.
    queries: Vec<(Scope, QuerySpec)>,
    packs: Vec<Served>,
    conf: Osquery,
    /// A scope of them asks in which groups a machine is.
    groups: bool,
    made: Mutex<Made>,
}

/// What is wrong with a key of a probe's query.
fn at_query(probe: &ProbeConf, key: &str, why: &str) -> Finding {
    let mut query = probe.settings.clone().table("query").unwrap_or_else(|| probe.settings.clone());
    query.fail(key, why);
    let found = query.finish().into_iter().find(|finding| finding.text == why);
    found.unwrap_or_else(|| Finding::file(probe.settings.file(), format!("probe.{}.query: {why}", probe.name)))
}

/// Which of the queries and packs are told: a bit each.
type Admitted = Box<[u64]>;

#[derive(Debug, Default)]
struct Made {
    all: HashMap<(Option<&'static str>, Admitted), Arc<[u8]>>,
    bytes: usize,
}

impl Agents {
    /// Checks that an agent takes what it would be told.
    pub fn new(config: &Config, conf: &Conf) -> Result<Self, Finding> {
        let mut queries = Vec::new();
        for probe in config.probes.values() {
            let Some(query) = &probe.query else { continue };
            let (tag, compliance) = (query.tag.as_deref(), query.compliance);
            if let Some((key, why)) = meaning_flaw(&query.sql, query.snapshot, tag, compliance) {
                return Err(at_query(probe, key, why));
            }
            let query_of = Query {
                sql: query.sql.clone(),
                interval_s: u32::try_from(query.interval_s).unwrap_or(u32::MAX),
                snapshot: query.snapshot,
                removed: query.removed,
                version: query.version.clone(),
                tag: query.tag.clone(),
                compliance: query.compliance,
                ..Query::default()
            };
            let spec = QuerySpec { probe: probe.name.clone(), rev: query.rev.clone(), query: query_of };
            queries.push((probe.scope.clone(), spec));
        }
        let (packs, conf) = (conf.packs.clone(), conf.osquery.clone());
        let mut scopes = queries.iter().map(|(scope, _)| scope).chain(packs.iter().map(|served| &served.scope));
        let groups = scopes.any(Scope::asks_for_groups);
        let agents = Self { queries, packs, conf, groups, made: Mutex::default() };
        let file = config.file.clone().unwrap_or_default();
        agents.check(config).map_err(|why| Finding::file(file, format!("the configuration of agents: {why}")))?;
        Ok(agents)
    }

    /// All of it together is the worst case; only if that is refused are platforms and units looked at one by one, as if
    /// every machine had the tags that admit it to most.
    fn check(&self, config: &Config) -> Result<(), String> {
        let Err(whole) = self.build(None, |_| true) else { return Ok(()) };
        let units = || std::iter::once(None).chain(config.units.keys().map(|u| Some(u.as_str())));
        for platform in [None].into_iter().chain(pipe::config::PLATFORMS.map(Some)) {
            for unit in units() {
                self.build(platform, |scope| scope.admits(platform, unit))?;
            }
        }
        // Every group is fine, so it is the size of all together, or a query that nobody is given.
        if self.queries.iter().any(|(_, spec)| !spec.query.flaws().is_empty()) { Err(whole) } else { Ok(()) }
    }

    fn build(&self, platform: Option<&str>, admits: impl Fn(&Scope) -> bool) -> Result<Vec<u8>, String> {
        let queries = self.queries.iter().filter(|(scope, _)| admits(scope)).map(|(_, spec)| spec);
        let packs = self.packs.iter().filter(|served| admits(&served.scope));
        let told = Told {
            queries: queries.collect(),
            packs: packs.map(|served| (served.name.as_str(), &served.pack)).collect(),
            inventory: self.conf.inventory.as_ref().map(|inventory| (inventory, platform)),
        };
        build_config(&told, &self.conf.settings)
    }

    /// Whether who is told what depends on groups.
    pub fn ask_for_groups(&self) -> bool {
        self.groups
    }

    fn admitted(&self, machine: &Machine) -> Admitted {
        let scopes = self.queries.iter().map(|(scope, _)| scope).chain(self.packs.iter().map(|served| &served.scope));
        let mut bits = vec![0u64; (self.queries.len() + self.packs.len()).div_ceil(64)];
        for (number, _) in scopes.enumerate().filter(|(_, scope)| scope.holds(machine)) {
            if let Some(word) = bits.get_mut(number / 64) {
                *word |= 1 << (number % 64);
            }
        }
        bits.into()
    }

    /// The bytes for this machine.
    pub fn config(&self, machine: &Machine) -> Result<Arc<[u8]>, String> {
        let known = |name: &&&'static str| Some(**name) == machine.platform.as_deref();
        let platform = pipe::config::PLATFORMS.iter().find(known).copied();
        let key = (platform, self.admitted(machine));
        if let Some(made) = self.made.lock().unwrap_or_else(PoisonError::into_inner).all.get(&key) {
            return Ok(made.clone());
        }
        // Built outside the lock: two that come at once build the same bytes.
        let bytes: Arc<[u8]> = self.build(platform, |scope| scope.holds(machine))?.into();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.bytes + bytes.len() > KEPT_MAX {
            *made = Made::default();
        }
        made.bytes += bytes.len();
        made.all.insert(key, bytes.clone());
        Ok(bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    fn agents(text: &str) -> Agents {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.toml");
        std::fs::write(&path, format!("version = 1\n{text}")).unwrap();
        let config = Config::load(&path, None).unwrap().0;
        Agents::new(&config, &Conf::read(&config, None).unwrap()).unwrap()
    }

    fn machine(platform: Option<&str>, unit: Option<&str>, tags: &[&str]) -> Machine {
        Machine {
            platform: platform.map(str::to_owned),
            unit: unit.map(str::to_owned),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..Machine::default()
        }
    }

    fn told(agents: &Agents, machine: &Machine) -> serde_json::Value {
        serde_json::from_slice(&agents.config(machine).unwrap()).unwrap()
    }

    fn keys(of: &serde_json::Value) -> Vec<&str> {
        of.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn each_group_is_told_its_own() {
        let text = "[unit.berlin]\n[unit.paris]\n\
            [probe.all]\nfilter = \".\"\nquery = { sql = \"select 1\" }\n\
            [probe.mac]\nfilter = \".\"\nscope = { platforms = [\"macos\"] }\nquery = { sql = \"select 2\" }\n\
            [probe.vip]\nfilter = \".\"\nscope = { units = [\"berlin\"], tags = [\"vip\"] }\nquery = { sql = \"select 3\" }\n\
            [probe.none]\nfilter = \".\"\n";
        let agents = agents(text);
        let check = |platform, unit, tags: &[&str], want: &[&str]| {
            let machine = machine(platform, unit, tags);
            let told = told(&agents, &machine);
            let schedule = told.get("schedule").unwrap();
            let names: Vec<&str> = keys(schedule).iter().filter_map(|n| n.split('/').nth(1)).collect();
            assert_eq!(names, want);
            assert!(schedule.get("ztl-inv").is_some());
            let again = Machine { hostname: Some("other".into()), ..machine.clone() };
            let (one, two) = (agents.config(&machine).unwrap(), agents.config(&again).unwrap());
            assert!(Arc::ptr_eq(&one, &two), "built once");
        };
        check(Some("macos"), Some("berlin"), &["vip"], &["all", "mac", "vip"]);
        check(Some("linux"), Some("berlin"), &["vip", "more"], &["all", "vip"]);
        check(Some("macos"), Some("berlin"), &[], &["all", "mac"]);
        check(Some("macos"), Some("paris"), &["vip"], &["all", "mac"]);
        check(None, None, &[], &["all"]);
        let kept = agents.made.lock().unwrap().all.len();
        assert_eq!(kept, 4, "who is told the same shares it");
    }

    #[test]
    fn packs_are_for_the_machines_in_their_scope() {
        let pack = |name: &str, scope: &str| {
            format!("[pack.{name}]\nscope = {{ {scope} }}\nqueries.q = {{ sql = \"select 1\", interval = \"1m\" }}\n")
        };
        let text = [
            pack("p1", "tags = [\"a\"], not_tags = [\"b\"]"),
            pack("p2", ""),
            pack("p3", "tags = [\"c\"]"),
            pack("p4", "not_tags = [\"a\"]"),
            "[source.osquery]\ninventory = \"off\"\n".to_owned(),
        ];
        let agents = agents(&text.concat());
        let tagged = told(&agents, &machine(Some("macos"), None, &["a"]));
        assert_eq!(keys(&tagged["packs"]), ["p1", "p2"]);
        assert_eq!(tagged["packs"]["p1"]["queries"]["q"]["interval"], 60);
        assert_eq!(keys(&told(&agents, &machine(None, None, &[]))["packs"]), ["p2", "p4"]);
        assert!(keys(&tagged["schedule"]).is_empty());
    }

    #[test]
    fn queries_that_cannot_mean_what_they_say_are_named() {
        for (query, key, says) in [
            ("sql = \"select 1\", tag = \"vip\"", "tag", "snapshot = true"),
            ("sql = \"select 1\", tag = \"Vip\", snapshot = true", "tag", "is no tag"),
            ("sql = \"select 1\", compliance = true, snapshot = true", "compliance", "`ztl_status`"),
            ("sql = \"select 1 as ztl_status\", compliance = true", "compliance", "snapshot = true"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("pipeline.toml");
            std::fs::write(&path, format!("version = 1\n[probe.a]\nfilter = \".\"\nquery = {{ {query} }}\n")).unwrap();
            let config = Config::load(&path, None).unwrap().0;
            let found = Agents::new(&config, &Conf::read(&config, None).unwrap()).unwrap_err();
            assert_eq!((found.line, found.key.as_str()), (4, format!("probe.a.query.{key}").as_str()), "{query}");
            assert!(found.text.contains(says), "{query}: {}", found.text);
        }
    }

    /// `filter` looks for results under the name that the configuration gives, agents send them under this one.
    #[test]
    fn results_are_found_under_the_name_that_agents_send() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.toml");
        std::fs::write(&path, "version = 1\n[probe.a]\nfilter = \".\"\nquery = { sql = \"select 1\" }\n").unwrap();
        let config = Config::load(&path, None).unwrap().0;
        let agents = Agents::new(&config, &Conf::read(&config, None).unwrap()).unwrap();
        let named = config.probes.values().filter_map(|probe| probe.query_name());
        let sent = agents.queries.iter().map(|(_, spec)| sources::osquery::query_name(&spec.probe, &spec.rev));
        assert_eq!(named.collect::<Vec<_>>(), sent.collect::<Vec<_>>());
    }
}

//! What the tables of a configuration say of each other: who writes what, who reads it, which names there are.

use std::collections::{BTreeMap, BTreeSet};

use super::settings::nearest;
use super::{Config, Finding, Place, ProbeConf, Settings, StageConf, StageKind};

/// The kind of a store that says none.
const EMBEDDED: &str = "embedded";

/// Tables that the configuration itself does not keep; needed to say where something stands.
#[derive(Debug, Default)]
pub(super) struct Named {
    /// `[topic.*]`.
    pub(super) topics: Vec<Settings>,
    /// `[probes]`.
    pub(super) probes: Option<Settings>,
    /// Actions of probes that name none.
    pub(super) act: Vec<String>,
}

pub(super) fn check(config: &Config, named: &Named) -> Vec<Finding> {
    let mut found = writers(config);
    found.extend(readers(config));
    found.extend(owners(config));
    found.extend(cycles(config));
    found.extend(searched(config));
    found.extend(pulled(config));
    found.extend(brokers(config));
    found.extend(replicas(config));
    let written = || config.stages.iter().flat_map(StageConf::outputs);
    let topics = || written().filter_map(|place| place.topic().or(place.kafka()));
    for table in &named.topics {
        if !topics().any(|topic| topic == table.name()) {
            let near = nearest(table.name(), topics());
            found.extend(at(table, |at| at.fail("", format!("no stage writes topic `{}`{near}", at.name()))));
        }
    }
    if let Some(table) = &named.probes {
        found.extend(actions(config, table, &named.act, "`[probes]`"));
    }
    config.probes.values().for_each(|probe| found.extend(names(config, probe)));
    found
}

/// The findings that `say` makes of a table.
fn at(table: &Settings, say: impl FnOnce(&mut Settings)) -> Vec<Finding> {
    let mut table = table.clone();
    table.take_findings();
    say(&mut table);
    table.take_findings()
}

/// The key that names an output of a stage.
fn key_of<'a>(stage: &StageConf, place: &Place) -> &'a str {
    if stage.to.as_ref() == Some(place) { "to" } else { "matches" }
}

/// Whoever says `kafka:` says where it is.
fn brokers(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    for stage in config.stages.iter().filter(|_| config.kafka.is_none()) {
        let places = stage.from.iter().map(|place| ("from", place));
        let places = places.chain(stage.outputs().map(|place| (key_of(stage, place), place)));
        for (key, place) in places.filter(|(_, place)| place.kafka().is_some()) {
            let text = format!("`{place}` needs the table [kafka] with `brokers`");
            found.extend(at(&stage.settings, |at| at.fail_word(key, &place.to_string(), text)));
        }
    }
    found
}

/// Several instances share the partitions of what they read, so all of it has some; and their state, so it is where all
/// of them can be.
fn replicas(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    for stage in config.stages.iter().filter(|stage| stage.replicas > 1) {
        let alone = [StageKind::Receive, StageKind::Pull, StageKind::Act, StageKind::Foreign, StageKind::Console];
        let text = if let Some(kind) = alone.into_iter().find(|kind| stage.runs(*kind)) {
            format!("of `{}` there is one: only what reads topics is shared out", kind.word())
        } else if let Some(place) = stage.from.iter().chain(stage.outputs()).find(|place| !is_shared(stage, place)) {
            format!("several instances share topics of Kafka only, and `{place}` is none")
        } else if stage.runs(StageKind::Store) && stage.settings.clone().str("kind").is_none_or(|k| k == EMBEDDED) {
            "the embedded store is an index on this machine, with one writer".to_owned()
        } else if !config.shares_state() {
            "several instances need one state for all of them: [registry] postgres".to_owned()
        } else {
            continue;
        };
        found.extend(at(&stage.settings, |at| at.fail("replicas", text)));
    }
    found.extend(instances(config));
    found
}

/// An instance has a socket, a lock and a metric of its own name, `sift-2`, and no stage may be called so.
fn instances(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    for of in config.stages.iter().filter(|stage| stage.replicas > 1) {
        let is_one = |stage: &&StageConf| {
            let number = stage.name.strip_prefix(&of.name).and_then(|rest| rest.strip_prefix('-'));
            let number = number.filter(|n| !n.starts_with('0')).and_then(|n| n.parse::<u32>().ok());
            number.is_some_and(|n| (1..=of.replicas).contains(&n))
        };
        for stage in config.stages.iter().filter(is_one) {
            let text = format!(
                "`{}` is the name of an instance of stage `{}` (replicas = {}): give one of them another name",
                stage.name, of.name, of.replicas
            );
            found.extend(at(&stage.settings, |at| at.fail("", text)));
        }
    }
    found
}

/// Whether several instances of the stage can read or write it. What was changed in the registry is read by whichever of
/// those that normalize has its turn.
fn is_shared(stage: &StageConf, place: &Place) -> bool {
    place.kafka().is_some() || (*place == Place::Changes && stage.runs(StageKind::Normalize))
}

/// One writer a topic.
fn writers(config: &Config) -> Vec<Finding> {
    let (mut found, mut writers) = (Vec::new(), BTreeMap::new());
    for stage in &config.stages {
        for (i, place) in stage.outputs().enumerate() {
            if let Some(other) = writers.insert(place.to_string(), &stage.name) {
                let topic = place.topic().or(place.kafka()).unwrap_or_default();
                let text = format!("topic `{topic}` has a writer already: stage `{other}` (one writer a topic)");
                let key = if i > 0 { "matches" } else { key_of(stage, place) };
                found.extend(at(&stage.settings, |at| at.fail(key, text)));
            }
        }
    }
    found
}

/// Every topic that is read has a writer, and is read once by a stage.
fn readers(config: &Config) -> Vec<Finding> {
    let topics = || config.stages.iter().flat_map(StageConf::writes);
    let mut found = Vec::new();
    for stage in &config.stages {
        let mut seen = BTreeSet::new();
        for place in stage.inputs() {
            let Some(topic) = place.topic().or(place.kafka()) else { continue };
            let text = if !seen.insert(place.to_string()) {
                format!("topic `{topic}` stands here twice: each of its lines would be read twice")
            } else if stage.outputs().any(|own| own == place) {
                format!("the stage writes topic `{topic}` itself: its lines would go round for ever")
            } else if place.kafka().is_none() && !topics().any(|t| t == topic) {
                // What lies in Kafka may come from anywhere.
                format!("no stage writes topic `{topic}`{}", nearest(topic, topics()))
            } else {
                continue;
            };
            found.extend(at(&stage.settings, |at| at.fail_word("from", &place.to_string(), text)));
        }
    }
    found
}

/// One of some kinds, and one owner a state file.
fn owners(config: &Config) -> Vec<Finding> {
    let (mut found, mut owners) = (Vec::new(), BTreeMap::<_, &StageConf>::new());
    for stage in &config.stages {
        let name = config.state_name(stage);
        if name == registry::db::REGISTRY {
            let text = "its state would be taken for that of people and actions; give the stage another name";
            found.extend(at(&stage.settings, |at| at.fail("", text)));
        }
        // The names of stages differ, so a file in common is named after a kind.
        let kind = StageKind::of(name);
        let (Some(other), Some(kind)) = (owners.insert(name, stage), kind) else { continue };
        let text = if other.runs(kind) && stage.runs(kind) {
            format!("there is one `{}` in a pipeline", kind.word())
        } else {
            let text = "their state would lie in one file; give the one that is no";
            format!("stages `{}` and `{}`: {text} `{}` another name", other.name, stage.name, kind.word())
        };
        found.extend(at(&stage.settings, |at| at.fail("", text)));
    }
    found
}

/// No line comes back to a stage that it has passed. What act writes may: its outcomes have a `cause`, and what comes
/// of them ends there (design § 3).
fn cycles(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut told = BTreeSet::new();
    for stage in config.stages.iter().filter(|s| !s.runs(StageKind::Act)) {
        // Each way on is followed once; `way` holds the stages by which it was found.
        let mut open = vec![(stage, vec![stage.name.as_str()])];
        let mut seen = BTreeSet::from([stage.name.as_str()]);
        while let Some((from, way)) = open.pop() {
            for place in from.outputs() {
                for next in config.readers_of(place).filter(|next| !next.runs(StageKind::Act)) {
                    if next.name == stage.name && from.name != stage.name && !told.contains(stage.name.as_str()) {
                        told.extend(way.iter().copied());
                        let text = format!("lines would go round for ever: {} → {}", way.join(" → "), stage.name);
                        found.extend(at(&stage.settings, |at| at.fail_word("from", &place.to_string(), text)));
                    } else if seen.insert(&next.name) {
                        open.push((next, way.iter().copied().chain([next.name.as_str()]).collect()));
                    }
                }
            }
        }
    }
    found
}

/// What is asked is there, and asked by one stage.
fn pulled(config: &Config) -> Vec<Finding> {
    let (mut found, mut askers) = (Vec::new(), BTreeMap::new());
    for stage in &config.stages {
        let Some(source) = stage.source.as_deref().filter(|name| super::is_name(name)) else { continue };
        let text = if !config.sources.contains_key(source) {
            let near = nearest(source, config.sources.keys().map(String::as_str));
            format!("the configuration has no source `{source}`{near}")
        } else if let Some(other) = askers.insert(source, &stage.name) {
            format!("stage `{other}` asks `{source}` already")
        } else {
            continue;
        };
        found.extend(at(&stage.settings, |at| at.fail("run", text)));
    }
    found
}

/// One store answers for all; a store alone need not say so.
fn searched(config: &Config) -> Vec<Finding> {
    let answers = |stage: &StageConf| stage.settings.clone().bool("search").unwrap_or(false);
    let stores: Vec<_> = config.stages.iter().filter(|s| s.runs(StageKind::Store)).collect();
    let mut answering = stores.iter().filter(|s| answers(s));
    match (answering.next(), stores.as_slice()) {
        (Some(first), _) => answering
            .flat_map(|stage| {
                let text = format!("store `{}` has `search = true` already: one store answers for all", first.name);
                at(&stage.settings, |at| at.fail("search", text))
            })
            .collect(),
        (None, [_, .., last]) => {
            at(&last.settings, |at| at.fail("", "one of several stores needs `search = true`: it answers for all"))
        }
        (None, _) => Vec::new(),
    }
}

/// The actions and units that a probe names.
fn names(config: &Config, probe: &ProbeConf) -> Vec<Finding> {
    let table = &probe.settings;
    let who = format!("probe `{}`", probe.name);
    // Those of `[probes]` are looked at where they stand.
    let mut found = if table.has("act") { actions(config, table, &probe.act, &who) } else { Vec::new() };
    let units = probe.scope.units.iter().chain(&probe.scope.not_units);
    for unit in units.filter(|u| !config.units.contains_key(*u)) {
        let near = nearest(unit, config.units.keys().map(String::as_str));
        let text = format!("{who} names the unit `{unit}`, which there is not{near}");
        found.extend(at(table, |at| at.fail_word("scope", unit, text)));
    }
    found
}

fn actions(config: &Config, table: &Settings, act: &[String], who: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    for action in act.iter().filter(|a| !config.actions.contains_key(*a)) {
        let near = nearest(action, config.actions.keys().map(String::as_str));
        let text = format!("{who} names the action `{action}`, which there is not{near}");
        found.extend(at(table, |at| at.fail_word("act", action, text)));
    }
    found
}

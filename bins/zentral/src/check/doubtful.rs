//! What is right and most likely not meant: warnings about probes and their filters.

use filter::finding;
use pipe::config::{Config, Finding, ProbeConf, Query};
use probe::{Asked, Doubt, Doubted, Source, doubts};
use registry::columns::columns;

/// Looks at every probe; the configuration has been found right.
pub fn look(config: &Config) -> Vec<Finding> {
    let modules = |path: &str| config.module(path);
    let numerics = has_numerics(config);
    let all = || {
        let filters = config.probes.values().flat_map(|conf| {
            let found = doubts(&source(config, conf), &modules, asked(config, conf).as_ref());
            let kept = found.into_iter().filter(|doubt| !(numerics && doubt.what == Doubted::Number));
            about(config, conf, &kept.collect::<Vec<_>>())
        });
        filters.chain(config.probes.values().flat_map(idle)).collect()
    };
    // One thread with a big stack for all of them.
    probe::with_stack(all).unwrap_or_default()
}

fn source(config: &Config, conf: &ProbeConf) -> Source {
    filter::spec(config, conf).filter
}

/// Whether agents are told to log columns as numbers.
fn has_numerics(config: &Config) -> bool {
    let options = config.sources.get("osquery").cloned().and_then(|mut source| source.table("options"));
    options.is_some_and(|mut options| options.has("logger_numerics") && options.bool("logger_numerics") != Some(false))
}

/// What the filter of a probe sees; nothing if it sees all events, or if other probes have it for other queries.
fn asked(config: &Config, conf: &ProbeConf) -> Option<Asked> {
    let query = conf.query.as_ref()?;
    let mut users = config.probes.values().filter(|other| other.filter == conf.filter);
    let alike = |other: &ProbeConf| {
        other.first_run == conf.first_run
            && other
                .query
                .as_ref()
                .is_some_and(|q| (&q.sql, q.snapshot, q.removed) == (&query.sql, query.snapshot, query.removed))
    };
    users.all(alike).then(|| Asked {
        snapshot: query.snapshot,
        removed: query.removed,
        first_run: conf.first_run,
        columns: columns(&query.sql),
    })
}

fn about(config: &Config, conf: &ProbeConf, doubts: &[Doubt]) -> Vec<Finding> {
    let warning = |doubt: &Doubt| {
        let mut place = doubt.place.clone();
        if doubt.what == Doubted::Always {
            place.message = format!("{}, {}", place.message, matched(conf.query.as_ref())?);
        }
        Some(finding(config, &place).warning())
    };
    doubts.iter().filter_map(warning).collect()
}

/// What a filter matches that never says no; nothing if that is what a query is for.
fn matched(query: Option<&Query>) -> Option<&'static str> {
    match query {
        None => Some("so every event in scope matches; put a condition before it, such as `select(is_new)`"),
        Some(query) if query.snapshot || !query.removed => None,
        Some(_) => Some(
            "so rows match that went away too; put `select(is_new)` before it, or `removed = false` into the query",
        ),
    }
}

/// What the table itself says in vain.
fn idle(conf: &ProbeConf) -> Vec<Finding> {
    let mut found = Vec::new();
    if conf.first_run && conf.query.is_none() {
        let text = "says nothing without a query: such a filter sees what first runs find anyway";
        found.push(conf.settings.within("first_run", "", 0, 0, text).warning());
    }
    let Some(settings) = conf.settings.clone().table("scope") else { return found };
    let scope = &conf.scope;
    for (key, list, not, without) in [
        ("platforms", &scope.platforms, "not_platforms", &scope.not_platforms),
        ("units", &scope.units, "not_units", &scope.not_units),
        ("tags", &scope.tags, "not_tags", &scope.not_tags),
        ("groups", &scope.groups, "not_groups", &scope.not_groups),
        ("machines", &scope.machines, "not_machines", &scope.not_machines),
    ] {
        let text = match list.as_slice() {
            [] if settings.has(key) => format!("an empty list leaves nobody out; without `{key}` it is the same"),
            [_, ..] if list.iter().all(|one| without.contains(one)) => {
                format!("no machine is in scope: `{not}` leaves out all that `{key}` names")
            }
            _ => continue,
        };
        found.push(settings.within(key, "", 0, 0, text).warning());
    }
    found
}

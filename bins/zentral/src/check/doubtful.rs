//! What is right and most likely not meant: warnings about filters.

use filter::finding;
use pipe::config::{Config, Finding, ProbeConf, Query};
use probe::{Doubt, Doubted, Source, doubts};

/// Looks at every filter; the configuration has been found right.
pub fn look(config: &Config) -> Vec<Finding> {
    let modules = |path: &str| config.module(path);
    let all = || config.probes.values().flat_map(|conf| about(config, conf, &doubts(&source(config, conf), &modules)));
    // One thread with a big stack for all of them.
    probe::with_stack(|| all().collect()).unwrap_or_default()
}

fn source(config: &Config, conf: &ProbeConf) -> Source {
    filter::spec(config, conf).filter
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

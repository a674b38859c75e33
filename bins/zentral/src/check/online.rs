//! `check --online`: whether the other sides answer and let us in. Nothing is changed there, and nobody is told.

use std::collections::HashSet;

use event::Time;
use pipe::Exit;
use pipe::config::{Config, Finding, StageConf, StageKind};
use store::query::Query;
use store::search::Scope;
use store::stores::embedded;

/// Asks all of them.
pub fn look(config: &Config, texts: &act::Texts) -> Vec<Finding> {
    let mut all = Vec::new();
    if let (Some(server), Some(file)) = (&config.server, &config.file) {
        match server.try_out() {
            Ok(()) => tracing::info!("{server}: it lets us in"),
            Err(why) => all.push(Finding::file(file, format!("registry.postgres: tried online: {why}"))),
        }
    }
    for (name, tried) in act::check_online(config, texts) {
        let Some(settings) = config.actions.get(&name) else { continue };
        match tried {
            Some(Ok(())) => tracing::info!("action {name}: its credentials are taken"),
            Some(Err(why)) => all.extend(settings.finding("kind", format!("tried online: {why}"))),
            None => tracing::info!("action {name}: there is nothing to try without telling somebody"),
        }
    }
    all.extend(brokers(config));
    all.extend(
        config.stages.iter().filter(|stage| stage.runs(StageKind::Store)).filter_map(|stage| store(config, stage)),
    );
    all.extend(console::check_online(config));
    all
}

/// What the brokers say of the topics of Kafka: of each once, and nothing more once there is no answer.
fn brokers(config: &Config) -> Vec<Finding> {
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    for stage in &config.stages {
        for (key, place) in stage.from.iter().map(|place| ("from", place)).chain(stage.outputs().map(|p| ("to", p))) {
            let Some(name) = place.kafka().filter(|name| seen.insert(*name)) else { continue };
            let finding = |text: String| stage.settings.finding(key, format!("tried online: {place}: {text}"));
            match pipe::kafka::look(config, name) {
                Err(e) => {
                    all.extend(finding(e.text));
                    if e.exit == Exit::Unreachable {
                        return all;
                    }
                }
                Ok(Some(found)) => all.extend(found.doubt().and_then(finding).map(Finding::warning)),
                Ok(None) => tracing::info!("{place} is not there yet: it is made when a stage starts that uses it"),
            }
        }
    }
    all
}

/// What the cluster behind a store says to a search for what is stored from now on: a store has to be able to search, for
/// it forgets machines.
fn store(config: &Config, stage: &StageConf) -> Option<Finding> {
    let kind = stage.settings.peek("kind")?;
    if kind == embedded::KIND.name {
        return None;
    }
    let name = &stage.name;
    let finding = |why: String| stage.settings.finding("kind", format!("tried online: {why}"));
    let finder = match store::finder(&stage.settings, config) {
        Ok(Some(finder)) => finder,
        Ok(None) => {
            tracing::info!("store {name}: there is nothing to try without sending events");
            return None;
        }
        Err(e) => return finding(e.text),
    };
    match finder.count(&Scope { query: Query::All, since: Some(Time::now()), until: None, deadline: None }) {
        Ok(_) => {
            tracing::info!("store {name}: the cluster answers and lets us in");
            None
        }
        Err(why) => finding(why.to_string()),
    }
}

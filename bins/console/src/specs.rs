//! A filter as the engine takes it: of a probe of the configuration, or of nobody yet.

use pipe::config::{Config, ProbeConf};
use probe::{Asked, Doubt, Doubted, Scope, Source, Spec};

/// What a filter is about: the machines, the query whose results it sees.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    /// What errors call the filter.
    pub name: String,
    scope: Scope,
    query_name: Option<String>,
    first_run: bool,
    asked: Option<Columns>,
}

/// What the results of a query look like.
#[derive(Debug, Clone)]
struct Columns {
    snapshot: bool,
    removed: bool,
    columns: Option<Vec<String>>,
}

impl Gate {
    /// Of nobody yet: every event.
    pub fn open() -> Self {
        Self { name: "filter".into(), first_run: true, ..Self::default() }
    }

    /// Of a probe. `act`, `by` and `until` say nothing of whether its filter matches.
    pub fn of(conf: &ProbeConf) -> Self {
        let scope = conf.scope.clone();
        Self {
            name: conf.name.clone(),
            scope: Scope {
                platforms: scope.platforms,
                units: scope.units,
                tags: scope.tags,
                groups: scope.groups,
                machines: scope.machines,
                not_platforms: scope.not_platforms,
                not_units: scope.not_units,
                not_tags: scope.not_tags,
                not_groups: scope.not_groups,
                not_machines: scope.not_machines,
            },
            query_name: conf.query_name(),
            first_run: conf.first_run,
            asked: conf.query.as_ref().map(|query| Columns {
                snapshot: query.snapshot,
                removed: query.removed,
                columns: registry::columns::columns(&query.sql),
            }),
        }
    }

    /// A filter behind it.
    pub fn spec(&self, text: &str) -> Spec {
        Spec {
            filter: self.source(text),
            scope: self.scope.clone(),
            query_name: self.query_name.clone(),
            first_run: self.first_run,
            ..Spec::bare(&self.name, text)
        }
    }

    fn source(&self, text: &str) -> Source {
        Source { name: self.name.as_str().into(), text: text.into() }
    }

    /// What is most likely not meant, as `zentral check` tells it, but for what depends on the options of agents.
    pub fn doubts(&self, text: &str, config: &Config) -> Vec<String> {
        let asked = self.asked.as_ref().map(|asked| Asked {
            snapshot: asked.snapshot,
            removed: asked.removed,
            first_run: self.first_run,
            columns: asked.columns.clone(),
        });
        let told = |doubt: &Doubt| match doubt.what {
            Doubted::Number => false,
            // That is what a query is for.
            Doubted::Always => self.asked.is_none(),
            _ => true,
        };
        let doubts = probe::doubts(&self.source(text), &|path: &str| config.module(path), asked.as_ref());
        doubts.into_iter().filter(told).map(|doubt| doubt.place.to_string()).collect()
    }
}

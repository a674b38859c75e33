//! The queries of the configuration, by the names under which agents report their results. A name holds a revision of the
//! SQL where that matters, so a result of an earlier SQL is of no query here.

use std::collections::HashMap;

use event::json;
use pipe::config::{Config, ProbeConf, Scope, Settings};
use serde_json::{Map, Value};
use sources::osquery::{self, INVENTORY_INTERVAL, Pack, Query as Told, pack_query_name, query_name};

/// A query.
#[derive(Debug, Default)]
pub(crate) struct Query {
    /// Its name, whatever its SQL.
    pub query: String,
    /// Its name with the revision.
    pub name: String,
    /// Its SQL.
    pub sql: String,
    /// The name of the check that it is.
    pub check: String,
    /// The tag of machines on which it gives rows.
    pub tag: Option<String>,
    /// Its rows say how a check stands.
    pub compliance: bool,
    /// Each of its runs that is told has a number.
    pub counted: bool,
    /// Whom a probe asks, and after how long (ms) a machine of them must have told of a run.
    pub asked: Option<(Scope, i64)>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Queries {
    all: Vec<Query>,
    /// By name as JSON text.
    by_name: HashMap<Box<[u8]>, usize>,
}

/// So many intervals without a run are silence.
const INTERVALS: i64 = 3;
/// It is no silence before this, in ms: a machine that is there is heard of every 10 minutes.
const LEAST_MS: i64 = 30 * 60_000;

impl Queries {
    /// As the configuration says; what is wrong in it is told by `check` and by `receive`.
    pub(crate) fn read(config: &Config) -> Self {
        let mut queries = Self::default();
        let mut source = config.sources.get(osquery::NAME).cloned();
        let inventory_ms = inventory_ms(source.as_mut());
        for probe in config.probes.values() {
            queries.probe(probe, inventory_ms);
        }
        let options = source.and_then(|mut source| source.table("options"));
        let delimiter = options.and_then(|mut options| options.str(osquery::PACK_DELIMITER));
        let options: Map<String, Value> =
            delimiter.map(|text| (osquery::PACK_DELIMITER.to_owned(), text.into())).into_iter().collect();
        for (pack, table) in &config.packs {
            for (name, query) in pack_queries(config, &mut table.clone()) {
                queries.add(Query {
                    query: format!("pack/{pack}/{name}"),
                    name: pack_query_name(&options, pack, &query.told_name(&name)),
                    check: format!("{pack}/{name}"),
                    counted: !query.snapshot && query.removed,
                    sql: query.sql,
                    tag: query.tag,
                    compliance: query.compliance,
                    asked: None,
                });
            }
        }
        queries
    }

    fn probe(&mut self, probe: &ProbeConf, inventory_ms: Option<i64>) {
        let Some(query) = &probe.query else { return };
        let interval = i64::try_from(query.interval_s).unwrap_or(i64::MAX).saturating_mul(1000);
        // Only the inventory tells that a query was run which found nothing new.
        let told = if query.snapshot { Some(interval) } else { inventory_ms.map(|ms| ms.max(interval)) };
        let after = told.map(|ms| ms.saturating_mul(INTERVALS).max(LEAST_MS));
        self.add(Query {
            query: format!("{}{}", osquery::QUERY_PREFIX, probe.name),
            name: query_name(&probe.name, &query.rev),
            check: probe.name.clone(),
            sql: query.sql.clone(),
            tag: query.tag.clone(),
            compliance: query.compliance,
            counted: !query.snapshot && query.removed,
            asked: after.map(|after| (probe.scope.clone(), after)),
        });
    }

    fn add(&mut self, query: Query) {
        self.by_name.insert(text(&query.name), self.all.len());
        self.all.push(query);
    }

    /// The query whose results have this name, which is JSON text.
    pub(crate) fn find(&self, name: &[u8]) -> Option<(usize, &Query)> {
        let number = *self.by_name.get(name)?;
        Some((number, self.all.get(number)?))
    }

    /// The same by the name itself.
    pub(crate) fn find_name(&self, name: &str) -> Option<(usize, &Query)> {
        self.find(&text(name))
    }

    /// The query of this number.
    pub(crate) fn get(&self, number: usize) -> Option<&Query> {
        self.all.get(number)
    }

    /// Whether it matters when one was run.
    pub(crate) fn asks(&self) -> bool {
        self.all.iter().any(|query| query.asked.is_some())
    }

    /// Whether a scope asks in which groups a machine is.
    pub(crate) fn ask_for_groups(&self) -> bool {
        self.all.iter().any(|query| query.asked.as_ref().is_some_and(|(scope, _)| scope.asks_for_groups()))
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Query] {
        &self.all
    }
}

fn text(name: &str) -> Box<[u8]> {
    let mut text = Vec::with_capacity(name.len() + 2);
    json::write_str(name, &mut text);
    text.into()
}

/// How often the inventory is told; none: never.
fn inventory_ms(source: Option<&mut Settings>) -> Option<i64> {
    let default = Some(i64::from(INVENTORY_INTERVAL) * 1000);
    let Some(source) = source.filter(|source| source.has("inventory")) else { return default };
    let ms = |table: &mut Settings, key: &str| i64::try_from(table.duration(key)?.as_millis()).ok();
    match source.clone().table("inventory") {
        Some(mut table) if table.has("every") => ms(&mut table, "every"),
        Some(_) => default,
        None => ms(&mut source.clone(), "inventory"),
    }
}

/// The queries of a pack whose results are looked at here.
fn pack_queries(config: &Config, table: &mut Settings) -> Vec<(String, Told)> {
    if table.has("file") {
        let pack = table.path("file").and_then(|path| config.text(&path).ok()).and_then(|text| Pack::read(&text).ok());
        return pack.unwrap_or_default().queries.into_iter().collect();
    }
    let Some(mut queries) = table.table("queries") else { return Vec::new() };
    let names = queries.keys();
    let mut one = |name: String| {
        let mut of = queries.table(&name)?;
        let query = Told {
            sql: of.str("sql")?,
            snapshot: of.bool("snapshot").unwrap_or(false),
            removed: of.bool("removed").unwrap_or(true),
            tag: of.str("tag"),
            compliance: of.bool("compliance").unwrap_or(false),
            ..Told::default()
        };
        Some((name, query))
    };
    names.into_iter().filter_map(&mut one).collect()
}

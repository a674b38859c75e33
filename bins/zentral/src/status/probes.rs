//! What each probe does and costs, as the filters that run tell it, and what its query costs machines, as they tell it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use event::Time;
use pipe::config::{Config, ProbeConf, StageConf, StageKind};
use pipe::metrics::joined;
use probe::Standing;
use registry::db::{Db, DbError, has_schema};
use registry::{prices, results};
use serde::Serialize;
use serde_json::{Value, json};

use super::health::Health;
use super::table::{plural, table};
use crate::up::merge::Families;

/// How long a stage may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// All probes, and over what they were counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Probes {
    /// Since when the filters run; none: none answers.
    since: Option<Time>,
    /// Seconds since then.
    seconds: f64,
    /// Events read since then.
    events: u64,
    /// The dearest first.
    probes: Vec<Probe>,
}

/// One probe since its filter was started.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probe {
    /// Its name.
    pub probe: String,
    /// How it is decided: `index`, `index_and_jq`, `jq` (at every event); none: the configuration cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided: Option<&'static str>,
    /// `on`, `shadow`, `quarantined` or `switched_off`.
    pub state: &'static str,
    /// Events that matched.
    pub matches: u64,
    /// Events that jq ran on.
    pub runs: u64,
    /// Those that it failed on.
    pub failures: u64,
    /// The same by reason: `error`, or the limit that was exceeded.
    pub failed: BTreeMap<String, u64>,
    /// Seconds that jq took.
    pub seconds: f64,
    /// Matches an hour.
    pub matches_per_hour: f64,
    /// Runs of jq an event that was read; not known of a text that a reload brought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs_per_event: Option<f64>,
    /// Failures a run.
    pub failures_per_run: f64,
    /// Seconds of jq a second.
    pub load: f64,
    /// Since when it has its text and these figures are counted, if not since the filter was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// It is switched off, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off: Option<String>,
    /// Nobody runs its query; since then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_silent: Option<Time>,
    /// What its query costs machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<prices::Summary>,
}

impl Probes {
    /// Asks every filter that runs.
    pub fn of(config: &Config, health: &Health) -> Self {
        let mut told = Families::default();
        for name in filters(config).flat_map(|stage| stage.instances().map(|n| stage.process(n))) {
            if let Ok((200, body)) = pipe::ops::get(&config.socket(&name), "/metrics", TIMEOUT) {
                told.add(&String::from_utf8_lossy(&body));
            }
        }
        let mut all = Self::told(config, health, &told, SystemTime::now());
        let (silent, prices) = of_queries(config);
        for probe in &mut all.probes {
            let Some(query) = config.probes.get(&probe.probe).and_then(ProbeConf::query_name) else { continue };
            probe.query_silent = silent.get(&query).copied();
            probe.price = prices.get(&query).copied();
        }
        all
    }

    fn told(config: &Config, health: &Health, told: &Families, now: SystemTime) -> Self {
        let starts = told.by_label("process_start_time_seconds", "stage");
        let start = starts.iter().map(|(_, at)| *at).reduce(f64::min);
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let seconds = start.map_or(0.0, |start| (now - start).max(0.0));
        // Of joined stages those that came to the filter.
        let names: Vec<String> = filters(config).flat_map(read_as).collect();
        let lines = told.by_label("zentral_lines_in_total", "stage");
        let events = lines.iter().filter(|(stage, _)| names.contains(stage)).map(|(_, n)| *n).sum();
        let mut failed: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for (probe, reason, n) in told.by_labels("zentral_probe_failures_total", "probe", "reason") {
            *failed.entry(probe).or_default().entry(reason).or_default() += count(n);
        }
        let sum = |name: &str| {
            let mut all: BTreeMap<String, f64> = BTreeMap::new();
            told.by_label(name, "probe").into_iter().for_each(|(probe, n)| *all.entry(probe).or_default() += n);
            all
        };
        let (runs, matches) = (sum("zentral_probe_runs_total"), sum("zentral_probe_matches_total"));
        let took = sum("zentral_probe_seconds_total");
        let mut changed: BTreeMap<String, f64> = BTreeMap::new();
        for (probe, at) in told.by_label("zentral_probe_since_seconds", "probe") {
            let known = changed.entry(probe).or_insert(at);
            *known = known.max(at);
        }
        let of = |all: &BTreeMap<String, f64>, probe: &str| all.get(probe).copied().unwrap_or(0.0);
        let per = |n: f64, of: f64| if of > 0.0 { n / of } else { 0.0 };
        let decided = decided(config);
        let mut probes: Vec<Probe> = config
            .probes
            .iter()
            .map(|(name, conf)| {
                let (runs, matches, took) = (of(&runs, name), of(&matches, name), of(&took, name));
                let failed = failed.remove(name).unwrap_or_default();
                let failures = failed.values().sum();
                let off = health.off_of(name);
                let since = changed.get(name).copied();
                let seconds = since.map_or(seconds, |since| (now - since).max(0.0));
                Probe {
                    probe: name.clone(),
                    decided: decided.get(name).copied(),
                    state: match off {
                        Some("quarantined") => "quarantined",
                        Some(_) => "switched_off",
                        None if conf.shadow => "shadow",
                        None => "on",
                    },
                    matches: count(matches),
                    runs: count(runs),
                    failures,
                    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
                    failures_per_run: per(failures as f64, runs),
                    failed,
                    seconds: took,
                    matches_per_hour: per(matches, seconds / 3600.0),
                    runs_per_event: since.is_none().then(|| per(runs, events)),
                    load: per(took, seconds),
                    since: since.map(time),
                    off: off.map(str::to_owned),
                    query_silent: None,
                    price: None,
                }
            })
            .collect();
        probes
            .sort_by(|a, b| b.seconds.total_cmp(&a.seconds).then(b.runs.cmp(&a.runs)).then(b.matches.cmp(&a.matches)));
        let since = start.map(time);
        Self { since, seconds, events: count(events), probes }
    }

    /// As a table.
    pub fn for_people(&self) -> String {
        let since = match self.since {
            Some(since) => format!("{} since {since}\n", plural(self.events, "event")),
            None => "no filter answers\n".to_owned(),
        };
        let counted = self.since.is_some();
        let rows: Vec<Vec<String>> = self.probes.iter().map(|probe| row(probe, counted)).collect();
        let head = [
            "probe",
            "decided by",
            "matches",
            "an hour",
            "runs",
            "of events",
            "seconds",
            "each",
            "failures",
            "on machines",
            "state",
        ];
        since + &table(&head, &rows)
    }

    /// As records.
    pub fn records(&self) -> Vec<(&'static str, Value)> {
        let mut all = Vec::new();
        if let Some(since) = self.since {
            all.push(("probes", json!({"since": since, "seconds": self.seconds, "events": self.events})));
        }
        all.extend(self.probes.iter().map(|p| ("probe", json!(p))));
        all
    }
}

/// Without a filter that counts there are no figures.
fn row(p: &Probe, counted: bool) -> Vec<String> {
    let nothing = String::new;
    let when = |some: bool, text: String| if some { text } else { nothing() };
    let failed = p.failed.iter().map(|(reason, n)| format!("{n} {reason}")).collect::<Vec<_>>().join(", ");
    let rate = when(p.runs > 0 && p.failures > 0, format!(" ({:.2} %)", p.failures_per_run * 100.0));
    #[expect(clippy::cast_precision_loss, reason = "a time for people")]
    let each = p.seconds / p.runs.max(1) as f64 * 1e6;
    vec![
        p.probe.clone(),
        match p.decided {
            Some("index_and_jq") => "index, jq".into(),
            Some("jq") => "jq at every event".into(),
            other => other.unwrap_or_default().to_owned(),
        },
        when(counted, p.matches.to_string()),
        when(p.matches > 0, format!("{:.1}", p.matches_per_hour)),
        when(counted, p.runs.to_string()),
        p.runs_per_event.filter(|_| p.runs > 0).map_or_else(nothing, |share| format!("{:.1} %", share * 100.0)),
        when(counted, format!("{:.3}", p.seconds)),
        when(p.runs > 0, format!("{each:.1} µs")),
        failed + &rate,
        p.price.as_ref().map_or_else(nothing, price),
        match (p.state, p.since) {
            ("on", _) if p.query_silent.is_some() => {
                format!("nobody runs its query since {}", p.query_silent.map(|at| at.to_string()).unwrap_or_default())
            }
            ("on", None) => nothing(),
            ("on", Some(since)) => format!("text since {since}"),
            (state, _) => state.replace('_', " "),
        },
    ]
}

fn filters(config: &Config) -> impl Iterator<Item = &StageConf> {
    config.stages.iter().filter(|s| s.runs(StageKind::Filter))
}

/// The names under which the processes of a stage count what its filter reads.
fn read_as(stage: &StageConf) -> impl Iterator<Item = String> {
    let first = stage.kinds.first().is_none_or(|kind| *kind == StageKind::Filter);
    let name = move |process: String| if first { process } else { joined(&process, StageKind::Filter.word()) };
    stage.instances().map(move |instance| name(stage.process(instance)))
}

/// The queries that nobody runs, and since when; and what each costs machines.
fn of_queries(config: &Config) -> (BTreeMap<String, Time>, BTreeMap<String, prices::Summary>) {
    let read = || {
        let file = config.homes().state("normalize");
        let Some(db) = Db::open_read_only(&file)? else { return Ok(Default::default()) };
        let runs = if has_schema(&db, &results::SCHEMA)? { results::runs(&mut &db)? } else { Vec::new() };
        Ok((runs, prices::all(&db)?))
    };
    let (runs, prices) = read().unwrap_or_else(|e: DbError| {
        tracing::warn!("normalize.db: {e}");
        Default::default()
    });
    (runs.into_iter().filter(|(_, run)| run.silent).map(|(query, run)| (query, run.last)).collect(), prices)
}

/// What a query costs machines, in a cell.
fn price(of: &prices::Summary) -> String {
    let costs = || format!("{:.1} ms, worst {:.1} ms", prices::ms(of.median), prices::ms(of.worst));
    let denied = || format!("denied on {}", of.denied);
    let all = [(of.machines > 0).then(costs), (of.denied > 0).then(denied)];
    all.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// How each probe of the configuration is decided.
fn decided(config: &Config) -> BTreeMap<String, &'static str> {
    let Ok(set) = filter::build(config, &[]) else { return BTreeMap::new() };
    let word = |standing: Standing| match standing {
        Standing::Native => "index",
        Standing::Indexed => "index_and_jq",
        Standing::Always => "jq",
    };
    (0..set.len()).filter_map(|i| Some((set.spec(i)?.name.clone(), word(set.standing(i)?)))).collect()
}

/// Seconds since 1970 as a time.
fn time(seconds: f64) -> Time {
    Time::from_ms(i64::try_from(count(seconds * 1000.0)).unwrap_or(0))
}

/// A counter of Prometheus's as what it is.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, and counters are whole")]
fn count(n: f64) -> u64 {
    n as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;

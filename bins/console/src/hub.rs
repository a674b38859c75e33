//! How the hub is: what `zentral status --json` prints, asked of a running `up` over its socket; where none runs, of what
//! this program was lent.

use std::collections::BTreeMap;
use std::time::Duration;

use pipe::config::Config;
use registry::prices::Summary;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::events::nobody;
use crate::lent;

/// How long `up` may take to count everything.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The socket of `up`.
const UP: &str = "up";

/// All of it.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Report {
    pub up: Option<Up>,
    pub stages: Vec<Stage>,
    pub topics: Vec<Topic>,
    pub readers: Vec<Reader>,
    pub sums: Vec<Sum>,
    pub incidents: Vec<Incident>,
    pub stopped: Vec<Stopped>,
    /// Stores that take no events now.
    pub waiting: Vec<Waiting>,
    pub dead_letters: u64,
    /// Whether all is well.
    pub ok: bool,
    /// What is not.
    pub why: Vec<String>,
}

/// The supervisor.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Up {
    pub pid: u32,
    pub since: String,
    pub config: String,
}

/// A stage.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    pub name: String,
    pub kind: String,
    pub state: String,
    pub restarts: u64,
    #[serde(default)]
    pub since: Option<String>,
    #[serde(default)]
    pub last_exit: Option<String>,
}

/// A topic.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Topic {
    pub topic: String,
    /// None: its brokers do not tell.
    pub written: Option<u64>,
    pub disk: u64,
    pub full: bool,
}

/// A reader of a topic.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Reader {
    pub topic: String,
    pub reader: String,
    pub start: u64,
    pub read: u64,
    pub skipped: u64,
    pub lag: u64,
    pub ok: bool,
    #[serde(default)]
    pub why: Option<String>,
}

/// The lines of a stage.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Sum {
    pub stage: String,
    #[serde(rename = "in")]
    pub taken: u64,
    pub done: u64,
    pub ignored: BTreeMap<String, u64>,
    pub refused: BTreeMap<String, u64>,
    pub ok: bool,
    #[serde(default)]
    pub why: Option<String>,
}

impl Sum {
    /// `reason 3, other 1`; empty: none.
    pub fn reasons(counts: &BTreeMap<String, u64>) -> String {
        counts.iter().map(|(reason, n)| format!("{reason} {n}")).collect::<Vec<_>>().join(", ")
    }
}

/// An incident that is open.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "OpenIncident")]
pub struct Incident {
    pub id: String,
    #[serde(default)]
    pub severity: Option<String>,
    #[serde(default)]
    pub status: Option<String>,
    #[serde(default)]
    pub probe: Option<String>,
    #[serde(default)]
    pub count: Option<u64>,
    #[serde(default)]
    pub last: Option<String>,
    #[serde(default)]
    pub title: Option<String>,
}

/// A store that takes no events now.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    pub stage: String,
}

/// An action that stopped at its brake.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Stopped {
    pub action: String,
    pub why: String,
}

/// A probe, as the filters that run tell of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "ProbeTold")]
pub struct Probe {
    #[serde(skip_serializing)]
    pub probe: String,
    /// `index`, `index_and_jq` or `jq`: by what it is decided.
    pub decided: Option<String>,
    /// `on`, `shadow`, `quarantined` or `switched_off`.
    pub state: String,
    /// Events that jq ran on.
    pub runs: u64,
    /// Those that it failed on.
    pub failures: u64,
    pub failed: BTreeMap<String, u64>,
    /// Seconds that jq took, since `since` or since the filter was started.
    pub seconds: f64,
    pub since: Option<String>,
    /// Why it is switched off.
    pub off: Option<String>,
    /// Nobody runs its query; since then.
    pub query_silent: Option<String>,
    /// What its query costs machines; none: no machine tells, or it has none.
    pub price: Option<Summary>,
}

/// What `up` answers under a path. The error is what to tell a person.
fn records(config: &Config, path: &str) -> Result<Vec<Value>, String> {
    let (status, body) = match pipe::ops::get(&config.socket(UP), path, TIMEOUT) {
        Ok(answer) => answer,
        Err(e) => {
            let lent = if nobody(&e) { lent::report(config, path) } else { None };
            (200, lent.ok_or("No `zentral up` answers on this machine.")?)
        }
    };
    if status != 200 {
        return Err(format!("`zentral up` answers {status}; it may just be starting."));
    }
    let told: Value = serde_json::from_slice(&body).map_err(|e| format!("`zentral up` answers no report: {e}"))?;
    Ok(told.get("records").and_then(Value::as_array).cloned().unwrap_or_default())
}

/// The probes by name. The error is what to tell a person.
pub fn probes(config: &Config) -> Result<BTreeMap<String, Probe>, String> {
    let of_probes = |record: &Value| record.get("what").and_then(Value::as_str) == Some("probe");
    let all = records(config, "/probes")?.into_iter().filter(of_probes);
    let probes = all.filter_map(|record| serde_json::from_value::<Probe>(record).ok());
    Ok(probes.map(|probe| (probe.probe.clone(), probe)).collect())
}

impl Report {
    /// Asks. The error is what to tell a person.
    pub fn ask(config: &Config) -> Result<Self, String> {
        let mut report = Self::default();
        records(config, "/report")?.into_iter().for_each(|record| report.take(record));
        Ok(report)
    }

    /// Takes one record; one that this version does not know is not for it.
    fn take(&mut self, record: Value) {
        fn add<T: for<'d> Deserialize<'d>>(all: &mut Vec<T>, record: Value) {
            match serde_json::from_value(record) {
                Ok(one) => all.push(one),
                Err(e) => tracing::debug!("a record of `up` is not understood: {e}"),
            }
        }
        match record.get("what").and_then(Value::as_str).unwrap_or_default() {
            "up" => self.up = serde_json::from_value(record).ok(),
            "stage" => add(&mut self.stages, record),
            "topic" => add(&mut self.topics, record),
            "reader" => add(&mut self.readers, record),
            "sum" => add(&mut self.sums, record),
            "incident" => add(&mut self.incidents, record),
            "stopped" => add(&mut self.stopped, record),
            "waiting" => add(&mut self.waiting, record),
            "dead" => self.dead_letters = record.get("dead_letters").and_then(Value::as_u64).unwrap_or_default(),
            "health" => {
                self.ok = record.get("ok").and_then(Value::as_bool).unwrap_or_default();
                self.why =
                    record.get("why").cloned().and_then(|why| serde_json::from_value(why).ok()).unwrap_or_default();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests may panic")]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_topic_whose_brokers_are_away_is_shown() {
        let mut report = Report::default();
        report.take(json!({"what": "topic", "topic": "kafka:events", "written": null, "disk": 0, "full": false}));
        report.take(json!({"what": "topic", "topic": "raw", "written": 7, "disk": 1, "full": false}));
        assert_eq!(report.topics.iter().map(|one| one.written).collect::<Vec<_>>(), [None, Some(7)]);
    }
}

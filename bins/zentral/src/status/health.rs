//! Which stages run, which filters are off, what waits in the dead letters.

use std::time::Duration;

use event::printable;
use filter::Off;
use pipe::StageError;
use pipe::config::{Config, StageConf, StageKind};
use pipe::wrong::{self, Trouble};
use registry::ledger;
use serde_json::{Value, json};

use super::sums::db;
use super::table::table;
use crate::foreign;
use crate::up::shown::{Stage, State, Up};

/// Incidents that people are shown; records hold all.
const INCIDENTS_MAX: usize = 20;
/// How long a stage may take to answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What is known of the processes.
#[derive(Debug, Default)]
pub struct Health {
    /// Why nothing is known of states: the database does not answer.
    away: Option<String>,
    stages: Vec<Stage>,
    /// Stores that take no events now.
    waiting: Vec<String>,
    /// What stages that run tell of themselves, by stage.
    wrong: Vec<(String, Trouble)>,
    /// Filters that are switched off.
    pub(super) off: Vec<Off>,
    /// What is said of files that are not in force.
    refused: Option<String>,
    pub(super) dead: u64,
    /// Incidents that are open, and actions that stopped at their brake.
    pub(super) incidents: Vec<Value>,
    pub(super) stopped: Vec<(String, String)>,
    /// Last runs of foreign programs that failed, by stage.
    failed: Vec<(String, foreign::Run)>,
}

impl Health {
    /// Of the processes alone, and why nothing is known of states: asks `up`, or each stage itself if no `up` runs.
    pub fn without_state(config: &Config, up: Option<&Up>, away: Option<String>) -> Self {
        let known = |stage: &StageConf, name: String| {
            let told = up.and_then(|up| up.stages.iter().find(|s| s.name == name)).cloned();
            told.unwrap_or_else(|| alone(config, stage, name))
        };
        let processes =
            |stage: &StageConf| stage.instances().map(|n| known(stage, stage.process(n))).collect::<Vec<_>>();
        let stages: Vec<Stage> = config.stages.iter().flat_map(processes).collect();
        let stores = config.stages.iter().filter(|stage| stage.runs(StageKind::Store));
        let stores = stores.flat_map(|stage| stage.instances().map(|n| stage.process(n)));
        let running = |name: &String| stages.iter().any(|s| s.name == *name && s.state == State::Running);
        let waiting = stores.filter(running).filter(|name| waits(config, name)).collect();
        let is_up = |stage: &&StageConf| stage.instances().any(|n| running(&stage.process(n)));
        let told = |stage: &StageConf| {
            let name = stage.name.clone();
            wrong::ask(config, stage).into_iter().map(move |one| (name.clone(), one))
        };
        let wrong = config.stages.iter().filter(is_up).flat_map(told).collect();
        let refused = up.and_then(|up| {
            let why = printable(up.refused.as_ref()?);
            Some(format!("the configuration on disk is refused ({why}); configuration {} runs", up.config))
        });
        Self { away, stages, waiting, wrong, refused, ..Self::default() }
    }

    /// The same, and what the states say.
    pub fn of(config: &Config, up: Option<&Up>) -> Result<Self, StageError> {
        let (mut off, mut dead, mut failed) = (Vec::new(), 0, Vec::new());
        let (mut incidents, mut stopped) = (Vec::new(), Vec::new());
        for stage in &config.stages {
            if stage.runs(StageKind::Filter) {
                off.extend(switched_off(config, stage)?);
            }
            if stage.runs(StageKind::Act) {
                dead += dead_letters(config, stage)?;
                incidents.extend(act::incidents::list(config.state(stage), false)?);
                let ledger = ledger::look(config.state(stage))?;
                stopped.extend(ledger.map(|db| ledger::lanes::stopped(&db)).transpose()?.unwrap_or_default());
            }
            if stage.runs(StageKind::Foreign) {
                let run = foreign::last(config, stage)?.filter(|run| run.failed.is_some());
                failed.extend(run.map(|run| (stage.name.clone(), run)));
            }
        }
        Ok(Self { off, dead, incidents, stopped, failed, ..Self::without_state(config, up, None) })
    }

    /// Why the filter of a probe is off, if it is: `quarantined` or `crash`.
    pub fn off_of(&self, probe: &str) -> Option<&str> {
        self.off.iter().find(|off| off.probe == probe).map(|off| off.why.as_str())
    }

    /// What is wrong.
    pub fn ill(&self) -> Vec<String> {
        let stages = self.stages.iter().filter(|s| s.state != State::Running);
        let stages = stages.map(|s| format!("stage {} is not running", s.name));
        let told = |off: &Off| format!("the filter of probe {} is off: {}; {}", off.probe, off.words(), off.remedy());
        let filters = self.off.iter().map(told);
        let wrong = self.wrong.iter().map(|(_, trouble)| printable(&trouble.words()));
        self.away.iter().chain(&self.refused).cloned().chain(stages).chain(wrong).chain(filters).collect()
    }

    /// Stages as a table.
    pub fn for_people(&self, up: Option<&Up>) -> String {
        let mut text = match up {
            Some(up) => {
                let metrics = up.metrics.as_ref().map_or(String::new(), |m| format!(", metrics on http://{m}/metrics"));
                format!("up since {} (pid {}), configuration {}{metrics}\n\n", up.since, up.pid, up.config)
            }
            None => "no `up` is running here\n\n".to_owned(),
        };
        let rows: Vec<Vec<String>> = self
            .stages
            .iter()
            .map(|s| {
                let next = match (s.state, &s.next) {
                    (State::Waiting, Some(at)) => at.to_string(),
                    (State::Waiting, None) => "new configuration".into(),
                    _ => String::new(),
                };
                let pid = s.pid.map_or(String::new(), |p| p.to_string());
                let last = s.last_exit.clone().unwrap_or_default();
                let since = s.since.map_or(String::new(), |at| at.to_string());
                vec![
                    s.name.clone(),
                    s.kind.clone(),
                    s.state.word().into(),
                    pid,
                    s.restarts.to_string(),
                    since,
                    next,
                    last,
                ]
            })
            .collect();
        text.push_str(&table(&["stage", "kind", "state", "pid", "restarts", "since", "next", "last end"], &rows));
        for store in &self.waiting {
            text.push_str(&format!("\n{store} waits: what keeps its events takes none now\n"));
        }
        if self.dead > 0 {
            text.push_str(&format!("\n{} dead letters (`zentral act dead`)\n", self.dead));
        }
        for (action, why) in &self.stopped {
            text.push_str(&format!("\naction {action} stopped at its brake, {why} (`zentral act resume {action}`)\n"));
        }
        if !self.incidents.is_empty() {
            let word = |one: &Value, key: &str| printable(one.get(key).and_then(Value::as_str).unwrap_or_default());
            let row = |one: &Value| {
                let id = word(one, "id").chars().take(8).collect();
                let count = one.get("count").and_then(Value::as_u64).unwrap_or_default().to_string();
                let [severity, status, probe, last, title] =
                    ["severity", "status", "probe", "last", "title"].map(|key| word(one, key));
                vec![id, severity, status, probe, count, last, title]
            };
            let rows: Vec<Vec<String>> = self.incidents.iter().take(INCIDENTS_MAX).map(row).collect();
            text.push('\n');
            text.push_str(&table(&["incident", "severity", "status", "probe", "count", "last", "title"], &rows));
            if self.incidents.len() > INCIDENTS_MAX {
                text.push_str(&format!("… of {} (`zentral act incidents`)\n", self.incidents.len()));
            }
        }
        for (stage, foreign::Run { begun, failed }) in &self.failed {
            let how = failed.as_deref().unwrap_or_default();
            text.push_str(&format!("\nthe last run of {stage}, begun {begun}, failed: {how}\n"));
        }
        text
    }

    /// The same as records.
    pub fn records(&self, up: Option<&Up>) -> Vec<(&'static str, Value)> {
        let mut all = Vec::new();
        if let Some(up) = up {
            let Up { pid, since, config, refused, metrics, .. } = up;
            let up = json!({"pid": pid, "since": since, "config": config, "refused": refused, "metrics": metrics});
            all.push(("up", up));
        }
        all.extend(self.stages.iter().map(|s| ("stage", json!(s))));
        all.extend(self.waiting.iter().map(|store| ("waiting", json!({"stage": store}))));
        all.extend(self.wrong.iter().map(|(stage, Trouble { action, text })| {
            ("wrong", json!({"stage": stage, "action": action, "text": text}))
        }));
        if self.away.is_none() {
            all.push(("dead", json!({"dead_letters": self.dead})));
        }
        all.extend(self.stopped.iter().map(|(action, why)| ("stopped", json!({"action": action, "why": why}))));
        all.extend(self.incidents.iter().map(|one| ("incident", one.clone())));
        let run =
            |(stage, run): &(String, foreign::Run)| json!({"stage": stage, "begun": run.begun, "failed": run.failed});
        all.extend(self.failed.iter().map(|failed| ("run", run(failed))));
        all
    }
}

/// A stage that no `up` looks after.
fn alone(config: &Config, stage: &StageConf, name: String) -> Stage {
    let answers = pipe::ops::get(&config.socket(&name), "/ready", TIMEOUT).is_ok_and(|(status, _)| status == 200);
    Stage {
        name,
        kind: stage.words(),
        state: if answers { State::Running } else { State::Stopped },
        pid: None,
        restarts: 0,
        since: None,
        next: None,
        last_exit: None,
    }
}

/// Whether the process of a store says that nothing can be stored now; the embedded one never does.
fn waits(config: &Config, process: &str) -> bool {
    let Ok((200, body)) = pipe::ops::get(&config.socket(process), "/metrics", TIMEOUT) else { return false };
    let text = String::from_utf8_lossy(&body);
    text.lines().any(|line| line.starts_with("zentral_store_waiting{") && line.ends_with(" 1"))
}

/// Filters that are off: the probe still has the text that was judged.
fn switched_off(config: &Config, stage: &StageConf) -> Result<Vec<Off>, StageError> {
    let same = |off: &Off| config.probes.get(&off.probe).is_some_and(|p| filter::spec(config, p).rev == off.rev);
    Ok(filter::off(config.state(stage))?.into_iter().filter(same).collect())
}

fn dead_letters(config: &Config, stage: &StageConf) -> Result<u64, StageError> {
    let Some(db) = db(&config.state(stage))? else { return Ok(0) };
    if !db.has_table("ledger")? {
        return Ok(0);
    }
    let rows = db.query("SELECT count(*) FROM ledger WHERE state = 'dead'", &[])?;
    Ok(rows.first().map_or(0, |row| row.uint(0)))
}

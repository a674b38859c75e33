//! What `up` tells of itself: to `zentral status` and in its metrics.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use event::Time;
use serde::{Deserialize, Serialize};

/// How long an answer of `up` is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What a stage is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its process runs.
    Running,
    /// It starts at `next`, or, if that is not there, with a new configuration.
    Waiting,
    /// It was asked to finish.
    Stopping,
    /// It has no process and waits for nothing.
    Stopped,
    /// It was given up.
    Failed,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name; of one of several instances `STAGE-N`.
    pub name: String,
    /// `receive`, `normalize`, …
    pub kind: String,
    /// See [`State`].
    pub state: State,
    /// Its process, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How often it was started again after an end nobody asked for.
    pub restarts: u64,
    /// Since when it is in this state, if somebody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When it starts again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Time>,
    /// How it ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<String>,
}

/// The supervisor and its stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Up {
    /// Its process.
    pub pid: u32,
    /// Since when it runs.
    pub since: Time,
    /// The copy of the configuration that is in force.
    pub config: String,
    /// Why the files of the configuration are not in force, if they are not: file, line and the first thing wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Address of the metrics, once it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// Its stages, in the order of the file.
    pub stages: Vec<Stage>,
}

/// The socket on which `up` answers.
pub fn socket(data: &Path) -> PathBuf {
    data.join("run").join(format!("{}.sock", super::NAME))
}

/// Asks a running `up`. An error means that none answers.
pub fn ask(data: &Path) -> io::Result<Up> {
    let (status, body) = pipe::ops::get(&socket(data), "/status", TIMEOUT)?;
    if status != 200 {
        return Err(io::Error::other(format!("status {status}")));
    }
    serde_json::from_slice(&body).map_err(io::Error::other)
}

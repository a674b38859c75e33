//! One JSON line per match, appended to a file and on disk before it counts as done.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pipe::config::Settings;
use serde_json::{Value, json};

use super::{Action, Answer, Kind, Reading, Sending, Showing, Spec};
use crate::call::Call;
use crate::jq::Jq;

/// The kind.
pub const KIND: Kind = Kind { name: "file", repeatable: true, timeout: Duration::from_secs(30), read };

struct File {
    path: PathBuf,
    body: Option<Arc<str>>,
}

fn read(settings: &mut Settings, reading: &Reading<'_>) -> Option<Box<dyn Spec>> {
    let body = reading.program(settings, "body");
    settings.required_str("path")?;
    Some(Box::new(File { path: settings.path("path")?, body }))
}

impl Spec for File {
    fn open(&self, jq: &Jq) -> Result<Arc<dyn Action>, String> {
        Ok(Arc::new(Live { path: self.path.clone(), body: self.body.clone(), jq: jq.clone() }))
    }
}

struct Live {
    path: PathBuf,
    body: Option<Arc<str>>,
    jq: Jq,
}

impl Live {
    async fn line(&self, call: &Call) -> Result<Vec<u8>, String> {
        let Some(program) = &self.body else { return Ok(call.line.clone()) };
        let made = self.jq.one(program, call.input(), call.event.received.ms()).await;
        made.map_err(|why| format!("`body`: {why}"))
    }
}

impl Action for Live {
    fn send<'a>(&'a self, call: &'a Call) -> Sending<'a> {
        Box::pin(async move {
            let mut line = match self.line(call).await {
                Ok(line) => line,
                Err(why) => return Answer::never(None, why),
            };
            line.push(b'\n');
            let path = self.path.clone();
            let written = tokio::task::spawn_blocking(move || append(&path, &line)).await;
            let fail = |why: &dyn std::fmt::Display| format!("{}: {why}", self.path.display());
            match written {
                Ok(Ok(())) => Answer::done(None),
                // No room, no folder yet, a share that is away: all of it may end.
                Ok(Err(error)) => Answer::later(None, fail(&error)),
                Err(error) => Answer::unsure(fail(&error)),
            }
        })
    }

    fn show<'a>(&'a self, call: &'a Call) -> Showing<'a> {
        Box::pin(async move {
            let line: Value = serde_json::from_slice(&self.line(call).await?).map_err(|e| e.to_string())?;
            Ok(json!({"path": self.path.display().to_string(), "line": line}))
        })
    }
}

fn append(path: &Path, line: &[u8]) -> std::io::Result<()> {
    let fresh = !path.exists();
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path)?;
    let before = file.metadata()?.len();
    if let Err(error) = file.write_all(line) {
        // A torn line would spoil the next one.
        let _ = file.set_len(before);
        return Err(error);
    }
    file.sync_data()?;
    if fresh {
        let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(dir)?.sync_all()?;
    }
    Ok(())
}

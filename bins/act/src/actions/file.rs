//! One JSON line per match, appended to a regular file and on disk before it counts as done.
//!
//! A write may hang for ever, so it is done at a desk of the action's own.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pipe::config::Settings;
use rustix::fs::OFlags;
use serde_json::{Value, json};

use super::{Action, Answer, Kind, Opening, Reading, Sending, Showing, Spec};
use crate::call::Call;
use crate::desk::Desk;
use crate::jq::Jq;

/// The kind.
pub const KIND: Kind =
    Kind { name: "file", repeatable: true, timeout: Duration::from_secs(30), changes_machines: false, read };

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
    fn open(&self, opening: &Opening<'_>) -> Result<Arc<dyn Action>, String> {
        let desk = Desk::start("file").map_err(|e| format!("cannot start a thread: {e}"))?;
        Ok(Arc::new(Live { path: self.path.clone(), body: self.body.clone(), jq: opening.jq.clone(), desk }))
    }
}

struct Live {
    path: PathBuf,
    body: Option<Arc<str>>,
    jq: Jq,
    desk: Desk,
}

impl Live {
    async fn line(&self, call: &Call) -> Result<Vec<u8>, String> {
        let Some(program) = &self.body else { return Ok(call.told_line()) };
        let made = self.jq.one(program, call.input(&serde_json::Map::new()), call.event.received.ms()).await;
        made.map_err(|why| format!("`body`: {why}"))
    }
}

impl Action for Live {
    fn send<'a>(&'a self, call: &'a Call) -> Sending<'a> {
        Box::pin(async move {
            match self.line(call).await {
                Ok(mut line) => {
                    line.push(b'\n');
                    let path = self.path.clone();
                    match self.desk.run(move || append(&path, &line)).await {
                        Ok(answer) => answer,
                        Err(away) => away.into(),
                    }
                }
                Err(why) => Answer::never(None, why),
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

fn append(path: &Path, line: &[u8]) -> Answer {
    let fail = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    match try_append(path, line) {
        Ok(true) => Answer::done(None),
        Ok(false) => Answer::never(None, fail(&"is no regular file")),
        // No room, no folder yet, a share that is away: all of it may end.
        Err(error) => Answer::later(None, fail(&error)),
    }
}

/// Whether it is a regular file; if so, the line is in it and on disk.
fn try_append(path: &Path, line: &[u8]) -> std::io::Result<bool> {
    // Not blocking: opening a FIFO that nobody reads would never return.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let opened = std::fs::OpenOptions::new().read(true).append(true).create(true).custom_flags(flags).open(path);
    let mut file = match opened {
        Err(_) if std::fs::metadata(path).is_ok_and(|m| !m.is_file()) => return Ok(false),
        opened => opened?,
    };
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    match file.lock() {
        // A file system without locks: nobody else can be kept away there.
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => {}
        locked => locked?,
    }
    let before = file.metadata()?.len();
    if before == 0 {
        // Before the first line, so that a file that has lines is in its folder for certain.
        let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(dir)?.sync_all()?;
    }
    let torn = if is_torn(&mut file, before)? { &b"\n"[..] } else { b"" };
    let text = [torn, line].concat();
    let mut written = 0;
    while let Some(rest) = text.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(n) => written += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                // Part of a line is cut off again, unless somebody who takes no lock has written after it.
                if file.metadata().is_ok_and(|m| m.len() == before + written as u64) {
                    let _ = file.set_len(before);
                }
                return Err(error);
            }
        }
    }
    file.sync_data()?;
    Ok(true)
}

/// Whether the file ends within a line, as a power cut leaves it: the next one must not be glued to that.
fn is_torn(file: &mut std::fs::File, length: u64) -> std::io::Result<bool> {
    if length == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::Start(length - 1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

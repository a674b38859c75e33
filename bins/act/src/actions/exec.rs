//! A program of one's own: fixed arguments, no shell, the match on stdin. It ends with 0 (done), 75 (later) or
//! anything else (never); 75 is `EX_TEMPFAIL` of sysexits(3).

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use pipe::config::Settings;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::{Action, Answer, Kind, Opening, Reading, STAND_IN, Sending, Showing, Spec};
use crate::call::{Call, one_line};
use remote::hidden::Hidden;

/// The kind.
pub const KIND: Kind =
    Kind { name: "exec", repeatable: false, timeout: Duration::from_secs(60), changes_machines: false, read };

/// The exit code that means: not now.
const LATER: i32 = 75;
/// How much of stdout and of stderr is kept, in bytes; the rest is read and thrown away.
const SAID_MAX: usize = 64 << 10;
/// How long after its end a program's children may hold its stdout and stderr.
const CLOSING: Duration = Duration::from_secs(1);

struct Exec {
    run: Vec<String>,
    env: Vec<String>,
    folder: PathBuf,
}

fn read(settings: &mut Settings, reading: &Reading<'_>) -> Option<Box<dyn Spec>> {
    if !settings.has("run") {
        settings.fail("", "needs the key `run`");
    }
    let mut run = settings.strings("run");
    let env = settings.strings("env");
    let folder = match reading.config.base.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => reading.config.base.clone(),
    };
    let program = run.first_mut()?;
    if program.contains('/') {
        // The folder may be relative too, and the program is started from within it.
        let path = settings.base().join(program.as_str());
        *program = std::path::absolute(&path).unwrap_or(path).display().to_string();
    }
    Some(Box::new(Exec { run, env, folder }))
}

impl Spec for Exec {
    fn open(&self, opening: &Opening<'_>) -> Result<Arc<dyn Action>, String> {
        let (mut env, mut hidden) = (Vec::new(), Hidden::default());
        for name in &self.env {
            let value = match std::env::var_os(name) {
                None if opening.dry_run => STAND_IN.into(),
                value => value.ok_or_else(|| format!("the environment variable {name} is not set"))?,
            };
            // What the program is given by name may be secret, and a program that fails may say it.
            hidden.add(&value.to_string_lossy());
            env.push((name.clone(), value));
        }
        if let Some(path) = std::env::var_os("PATH") {
            env.push(("PATH".to_owned(), path));
        }
        Ok(Arc::new(Live { run: self.run.clone(), env, folder: self.folder.clone(), hidden }))
    }
}

struct Live {
    run: Vec<String>,
    env: Vec<(String, std::ffi::OsString)>,
    folder: PathBuf,
    hidden: Hidden,
}

/// Ends the program and whatever it started, however the try ends.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // Nobody left is what we want.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Live {
    fn start(&self) -> std::io::Result<Child> {
        let Some((program, arguments)) = self.run.split_first() else {
            return Err(std::io::ErrorKind::NotFound.into());
        };
        Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }

    async fn run(&self, call: &Call) -> Answer {
        let mut child = match self.start() {
            Ok(child) => child,
            Err(error) => return not_started(&error),
        };
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let mut group = Group(pid);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut line = call.told_line();
        line.push(b'\n');
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program that does not read its input is none the worse for it.
                let _ = stdin.write_all(&line).await;
            }
        };
        let said = async { tokio::join!(drain(stdout), drain(stderr)) };
        let ended = async {
            let status = child.wait().await;
            (status, tokio::time::Instant::now())
        };
        tokio::pin!(said);
        let (said, status) = {
            let wait = async { tokio::join!(feed, ended) };
            tokio::pin!(wait);
            tokio::select! {
                said = &mut said => (Some(said), wait.as_mut().await.1.0),
                (_, (status, _)) = &mut wait => (tokio::time::timeout(CLOSING, &mut said).await.ok(), status),
            }
        };
        // It has ended by itself: children that it left behind on purpose may live.
        group.0 = None;
        let error = said.map(|(_, stderr)| last_line(&stderr, &self.hidden)).unwrap_or_default();
        let with = |what: String| if error.is_empty() { what } else { format!("{what}: {error}") };
        match status {
            Ok(status) => match status.code() {
                Some(0) => Answer::done(Some(0)),
                Some(LATER) => Answer::later(Some(i64::from(LATER)), with(format!("exit {LATER}"))),
                Some(code) => Answer::never(Some(i64::from(code)), with(format!("exit {code}"))),
                None => Answer::unsure(with(format!("ended by a signal ({status})"))),
            },
            Err(error) => Answer::unsure(format!("cannot wait for it: {error}")),
        }
    }
}

/// What keeps a program from being started for good is a matter of its file; all else (no process, memory or file handle
/// to be had, a file that is being written) is of the moment.
fn not_started(error: &std::io::Error) -> Answer {
    use std::io::ErrorKind::{InvalidInput, NotFound, PermissionDenied};
    let why = format!("cannot start: {error}");
    let for_good = matches!(error.kind(), NotFound | PermissionDenied | InvalidInput);
    if for_good || error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) {
        Answer::never(None, why)
    } else {
        Answer::later(None, why)
    }
}

/// Reads to the end; keeps the last bytes, where the reason stands.
async fn drain(from: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut from) = from else { return kept };
    let mut buffer = vec![0u8; 8 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        kept.extend(buffer.iter().take(n));
        if kept.len() > 2 * SAID_MAX {
            kept.drain(..kept.len() - SAID_MAX);
        }
    }
    kept
}

fn last_line(stderr: &[u8], hidden: &Hidden) -> String {
    let tail = stderr.get(stderr.len().saturating_sub(SAID_MAX)..).unwrap_or_default();
    let text = String::from_utf8_lossy(tail);
    let line = text.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("");
    // Before it is cut to its length: of half a secret nobody would know.
    one_line(&hidden.cut(line.to_owned()), 200)
}

impl Action for Live {
    fn send<'a>(&'a self, call: &'a Call) -> Sending<'a> {
        Box::pin(self.run(call))
    }

    fn show<'a>(&'a self, call: &'a Call) -> Showing<'a> {
        Box::pin(async move {
            let stdin: Value = serde_json::from_slice(&call.told_line()).map_err(|e| e.to_string())?;
            Ok(json!({"run": self.run, "env": self.env.iter().map(|(k, _)| k).collect::<Vec<_>>(), "stdin": stdin}))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_a_program_from_starting() {
        let later = [Errno::AGAIN, Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::TXTBSY, Errno::IO];
        let never = [Errno::NOENT, Errno::ACCESS, Errno::PERM, Errno::NOEXEC, Errno::INVAL];
        for (errno, is_never) in later.map(|e| (e, false)).into_iter().chain(never.map(|e| (e, true))) {
            let answer = not_started(&std::io::Error::from(errno));
            assert_eq!(answer.verdict == super::super::Verdict::Never, is_never, "{errno}");
        }
    }
}

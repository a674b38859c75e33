//! One run of a foreign program, under a guard: what it says, how it ends, and that all of it ends.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pipe::Waker;
use pipe::config::Foreign;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::guard::BY_SIGNAL;
use super::reader::{Input, Piece, Tail, Told, lines};
use super::secrets::Secrets;

/// How long a program that was told to end, or closed its stdout, may take to do so.
const GRACE: Duration = Duration::from_secs(5);
/// How long after its end another process may hold its stdout.
const CLOSING: Duration = Duration::from_secs(2);

/// How it is started.
pub struct Launch {
    guard: PathBuf,
    run: Vec<String>,
    env: Vec<(String, OsString)>,
    folder: PathBuf,
}

impl Launch {
    /// Looks up the variables. The error names one, never a value.
    pub fn of(conf: &Foreign, base: &Path) -> Result<Self, String> {
        let mut env = Vec::new();
        for name in &conf.env {
            let value = std::env::var_os(name).ok_or_else(|| format!("the environment variable {name} is not set"))?;
            env.push((name.clone(), value));
        }
        let guard = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
        let folder = if base.as_os_str().is_empty() { PathBuf::from(".") } else { base.to_owned() };
        Ok(Self { guard, run: conf.run.clone(), env, folder })
    }

    /// Starts a run; `batch`: its lines are told at its end.
    pub fn start(&self, batch: Option<Duration>, waker: &Waker) -> std::io::Result<Program> {
        let mut command = Command::new(&self.guard);
        command.arg("guard").arg("--").args(&self.run).env_clear().current_dir(&self.folder);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if !self.env.iter().any(|(name, _)| name == "PATH") {
            command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        }
        let secrets = Secrets::of(self.env.iter().map(|(_, value)| value.as_os_str()));
        let (stop, reading) = pipe_with(PipeFlags::CLOEXEC)?;
        use std::os::unix::process::CommandExt as _;
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let group = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
            return Err(std::io::Error::other("it has no stdout"));
        };
        // From here on its end is seen to, whatever fails.
        let (tail, none) = (Tail::new(secrets), tokio::sync::mpsc::channel(1).1);
        let due = batch.map(|timeout| Instant::now() + timeout);
        let mut program = Program {
            process,
            group,
            lifeline: stdin,
            told: none,
            tail,
            due,
            end_by: None,
            ended: None,
            late: false,
            stopped: false,
            _reading: reading,
        };
        let stop = Arc::new(stop);
        program.tail.follow(Input::new(stderr, stop.clone()))?;
        program.told = lines(Input::new(stdout, stop), batch.is_some(), waker.clone())?;
        Ok(program)
    }
}

/// A run.
pub struct Program {
    process: Child,
    group: Option<Pid>,
    /// The guard's stdin: open as long as the program is to run.
    lifeline: Option<ChildStdin>,
    told: Receiver<Piece>,
    tail: Tail,
    /// A batch must have ended by then.
    due: Option<Instant>,
    /// It was told to end, or has closed its stdout, and goes then.
    end_by: Option<Instant>,
    /// The guard has ended, and by when its stdout is closed or given up.
    ended: Option<Instant>,
    /// It took too long, or said too much.
    late: bool,
    /// It was told to end before it had.
    stopped: bool,
    /// Closed at the end of this, which ends the readers even where another process holds what they read.
    _reading: OwnedFd,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// With exit 0.
    Done,
    /// Otherwise, and how.
    Failed(String),
    /// It was ended: it took too long.
    Late,
    /// Of a batch: it was told to end before it had, so what it printed may be half of it, whatever it says.
    Stopped,
    /// It was ended: it said too much.
    TooMuch,
}

impl Program {
    /// Whether [`look`](Self::look) has something to see.
    pub fn has_news(&self) -> bool {
        let now = Instant::now();
        let past = |at: Option<Instant>| at.is_some_and(|at| now >= at);
        !self.told.is_empty()
            || (self.ended.is_some() && self.told.is_closed())
            || (self.ended.is_none() && (past(self.due) && !self.late || past(self.end_by) || self.has_ended()))
            || (self.ended.is_none() && self.end_by.is_none() && self.told.is_closed())
            || past(self.ended)
    }

    /// Whether the guard has; it is not waited for, so that its number stays its own.
    fn has_ended(&self) -> bool {
        let Some(group) = self.group else { return true };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        !matches!(waitid(WaitId::Pid(group), options), Ok(None))
    }

    /// What it has printed since, at most one piece, and how it ended, once it has.
    pub fn look(&mut self) -> (Vec<Told>, Option<End>) {
        let now = Instant::now();
        if self.ended.is_none() {
            // First of all: where the stage had to wait for room it may have ended in time long ago.
            if self.has_ended() {
                // What it left behind has nobody to speak to.
                self.kill();
                self.ended = Some(now + CLOSING);
            } else {
                if self.due.is_some_and(|due| now >= due) && !self.late {
                    self.late = true;
                    self.kill();
                }
                if self.end_by.is_some_and(|end| now >= end) {
                    self.kill();
                }
            }
        }
        let told = self.told.try_recv();
        // The reader hands a batch over at the end of it, which has not come.
        let held = self.due.is_some() && matches!(told, Err(TryRecvError::Empty));
        match told {
            Ok(Piece::Lines(lines)) => return (lines, None),
            Ok(Piece::TooMuch) => {
                self.kill();
                let _ = self.process.wait();
                return (Vec::new(), Some(End::TooMuch));
            }
            Err(TryRecvError::Empty) if self.ended.is_none_or(|by| now < by) => return (Vec::new(), None),
            Err(TryRecvError::Disconnected) if self.ended.is_none() => {
                let _ = self.end_by.get_or_insert(now + GRACE);
                return (Vec::new(), None);
            }
            Err(_) => {}
        }
        let end = match self.process.wait() {
            _ if self.late => End::Late,
            _ if self.stopped && self.due.is_some() => End::Stopped,
            Ok(status) => match status.code() {
                Some(0) if held => End::Failed("its stdout is still held by another process".into()),
                Some(0) => End::Done,
                Some(code) if code > BY_SIGNAL => End::Failed(format!("ended by signal {}", code - BY_SIGNAL)),
                Some(code) => End::Failed(format!("exit {code}")),
                None => End::Failed("it was killed".into()),
            },
            Err(e) => End::Failed(format!("cannot wait for it: {e}")),
        };
        (Vec::new(), Some(end))
    }

    /// Asks it to end; it is ended if it does not.
    pub fn stop(&mut self) {
        if self.end_by.is_none() && self.ended.is_none() && !self.has_ended() {
            self.stopped = true;
            self.end_by = Some(Instant::now() + GRACE);
            self.signal(Signal::TERM);
        }
    }

    /// The end of what it said on stderr, without the values of the variables that it was given.
    pub fn error(&self) -> String {
        self.tail.text()
    }

    fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.lifeline = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // Nobody left is what we want.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Where it has been waited for the number may be another's.
        if matches!(self.process.try_wait(), Ok(None)) {
            self.kill();
            let _ = self.process.wait();
        }
    }
}

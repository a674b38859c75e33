//! The hub that the demo shows: `zentral up` as a child process, asked from outside as anybody else would ask it.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use registry::db::Db;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use store::client::{Client as Store, Counts, Question};

use super::client::{Client, Way};
use super::scratch::Scratch;
use crate::up::shown;

/// How long the hub may take to answer its first request.
const START_WAIT: Duration = Duration::from_secs(60);
/// How long it may take to end: its stages have 20 s.
const STOP_WAIT: Duration = Duration::from_secs(30);
/// Between two looks at something that is not there yet.
const POLL: Duration = Duration::from_millis(50);
/// Lines of its log that are shown when something is wrong.
const LOG_LINES: usize = 20;

/// A running hub; it ends when this goes.
pub struct Hub {
    process: Child,
}

impl Hub {
    /// Starts it. Its log goes to a file, since its terminal is busy with the show.
    pub fn start(scratch: &Scratch, environment: &[(&str, &str)]) -> Result<Self, String> {
        let fail = |e: std::io::Error| format!("cannot start the hub: {e}");
        let log = File::create(scratch.log()).map_err(fail)?;
        let mut command = Command::new(std::env::current_exe().map_err(fail)?);
        command.arg("--config").arg(scratch.file()).args(["--color", "never", "--log", "info", "up", "--scratch"]);
        command.arg(scratch.path());
        // What the user has set for a hub of his own is not for this one.
        for name in ["ZENTRAL_CONFIG", "ZENTRAL_DATA", "ZENTRAL_LOG", "NOTIFY_SOCKET"] {
            command.env_remove(name);
        }
        command.envs(environment.iter().copied());
        // A group of its own: Ctrl-C is for the demo, which then ends the hub in its own time.
        // The pipe is open as long as the demo lives: the hub ends with it, however it ends.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        Ok(Self { process: command.spawn().map_err(fail)? })
    }

    /// Whether it still runs; the error says how it ended.
    pub fn runs(&mut self) -> Result<(), String> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("the hub has ended: {status}")),
            Err(e) => Err(format!("the hub: {e}")),
        }
    }

    /// Waits until it answers over TLS with a certificate of our authority.
    pub async fn ready(&mut self, scratch: &Scratch) -> Result<Way, String> {
        let begun = Instant::now();
        let address = scratch.config.data.join("run/receive.addr");
        let mut why = "it does not listen".to_owned();
        while begun.elapsed() < START_WAIT {
            self.runs()?;
            let text = std::fs::read_to_string(&address).unwrap_or_default();
            if let Ok(address) = text.trim().parse::<SocketAddr>() {
                let way = Way::new(address, &scratch.ca)?;
                match Client::new(&way).send(Method::GET, "/healthz", false, Bytes::new()).await {
                    Ok((200, _)) => return Ok(way),
                    Ok((status, _)) => why = format!("/healthz says {status}"),
                    Err(error) => why = error,
                }
            }
            tokio::time::sleep(POLL).await;
        }
        Err(format!("the hub is not ready after {} s: {why}", START_WAIT.as_secs()))
    }

    /// Waits until the console listens.
    pub async fn console(&mut self, scratch: &Scratch) -> Result<(), String> {
        let (begun, address) = (Instant::now(), scratch.config.data.join("run/console.addr"));
        while !address.exists() {
            self.runs()?;
            if begun.elapsed() > START_WAIT {
                return Err(format!("the console does not listen after {} s", START_WAIT.as_secs()));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Tells it to finish, and waits. An end that is not 0 is an error.
    pub async fn stop(mut self) -> Result<(), String> {
        self.signal(Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < STOP_WAIT {
            if let Ok(Some(status)) = self.process.try_wait() {
                return if status.success() { Ok(()) } else { Err(format!("the hub ended with {status}")) };
            }
            tokio::time::sleep(POLL).await;
        }
        Err(format!("the hub did not end within {} s", STOP_WAIT.as_secs()))
    }

    fn pid(&mut self) -> Option<Pid> {
        // Not waited for yet, so the id is still its own.
        let running = matches!(self.process.try_wait(), Ok(None));
        i32::try_from(self.process.id()).ok().filter(|_| running).and_then(Pid::from_raw)
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = self.process.wait();
        }
    }
}

/// The last lines of its log.
pub fn log_end(scratch: &Scratch) -> String {
    let text = std::fs::read(scratch.log()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(LOG_LINES).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// What the ledger of `act` says.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Ledger {
    /// Deliveries that wait or are under way.
    pub open: u64,
    /// Deliveries that are done.
    pub done: u64,
    /// Everything else: dead, stale, dropped.
    pub lost: u64,
}

/// Looks into the ledger; empty as long as there is none.
pub fn ledger(scratch: &Scratch) -> Result<Ledger, String> {
    let fail = |e| format!("ledger: {e}");
    let Some(db) = Db::open_read_only(scratch.config.homes().state("act")).map_err(fail)? else {
        return Ok(Ledger::default());
    };
    if !db.has_table("ledger").map_err(fail)? {
        return Ok(Ledger::default());
    }
    let mut ledger = Ledger::default();
    for row in db.query("SELECT state, COUNT(*) FROM ledger GROUP BY state", &[]).map_err(fail)? {
        *match row.text(0) {
            "pending" | "trying" => &mut ledger.open,
            "done" => &mut ledger.done,
            _ => &mut ledger.lost,
        } += row.uint(1);
    }
    Ok(ledger)
}

/// How often stages were started again after an end nobody asked for.
pub fn restarts(scratch: &Scratch) -> Result<u64, String> {
    let up = shown::ask(&scratch.config.data).map_err(|e| format!("the hub: {e}"))?;
    Ok(up.stages.iter().map(|stage| stage.restarts).sum())
}

/// Asks the store over its socket; by the values of a field if one is named.
pub fn count(scratch: &Scratch, query: &str, by: Option<&str>) -> Result<Counts, String> {
    let store = Store::new(Some(&scratch.config.socket("store")), None);
    let question = Question { query: query.to_owned(), ..Question::default() };
    let counts = match by {
        Some(field) => store.count_by(&question, field),
        None => store.count(&question),
    };
    counts.map_err(|e| e.to_string())
}

//! The hub in its scratch folder: started, spoken to and configured as anybody would do it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use super::config;
use crate::conform::case::Request;
use crate::conform::client::{Answer, Client};
use crate::conform::fill::Values;

/// How long the hub may take to answer its first request.
const START_WAIT: Duration = Duration::from_secs(60);
/// How long a new configuration may take to be in force.
const RELOAD_WAIT: Duration = Duration::from_secs(30);
/// How long the hub may take to end.
const STOP_WAIT: Duration = Duration::from_secs(30);
/// Between two looks.
const POLL: Duration = Duration::from_millis(50);
/// How long a command that goes on is looked at: one that this version does not have is gone by then.
const GOES_ON: Duration = Duration::from_millis(150);
/// What `receive` says when a new configuration is in force.
const RELOADED: &str = "zentral receive: reloaded";
/// Variables that are for a hub of the user's own.
const NOT_OURS: [&str; 4] = ["ZENTRAL_CONFIG", "ZENTRAL_DATA", "ZENTRAL_LOG", "NOTIFY_SOCKET"];

/// See the module.
pub struct Process {
    dir: tempfile::TempDir,
    up: Option<Child>,
    /// The way to it.
    pub client: Client,
    /// Secret of the sources that have one in a file.
    pub secret: String,
    /// The bearer of the metrics.
    pub bearer: String,
    port: u16,
    /// Pieces that are in force from the start.
    taken: BTreeSet<&'static str>,
    /// Why the others are not.
    refused: BTreeMap<&'static str, String>,
    /// What is in force besides.
    now: (BTreeSet<&'static str>, String),
    /// Commands that go on until the case is over.
    going: Vec<Child>,
}

impl Process {
    /// Starts it.
    pub fn start() -> Result<Self, String> {
        let dir = tempfile::Builder::new().prefix("zentral-conform-").tempdir();
        let dir = dir.map_err(|e| format!("no scratch folder: {e}"))?;
        let taken = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        let port = taken.map_err(|e| format!("no free port: {e}"))?.port();
        let url = format!("https://localhost:{port}");
        let made =
            command(dir.path())?.args(["init", ".", "--listen", &format!("127.0.0.1:{port}"), "--url", &url]).output();
        let made = made.map_err(|e| format!("zentral init: {e}"))?;
        if !made.status.success() {
            return Err(format!("zentral init: {}", String::from_utf8_lossy(&made.stderr)));
        }
        let ca = fs::read(dir.path().join("tls/ca.pem")).map_err(|e| format!("tls/ca.pem: {e}"))?;
        let client = Client::new(&url, Some(&ca))?;
        let (secret, bearer) = (random(16)?, random(16)?);
        let mut hub = Self {
            dir,
            up: None,
            client,
            secret,
            bearer,
            port,
            taken: BTreeSet::new(),
            refused: BTreeMap::new(),
            now: Default::default(),
            going: Vec::new(),
        };
        hub.configure()?;
        hub.up()?;
        Ok(hub)
    }

    /// The files, and the pieces that this version takes.
    fn configure(&mut self) -> Result<(), String> {
        for (name, text) in config::FILES {
            self.write(name, text)?;
        }
        self.write("jamf.secret", &self.secret.clone())?;
        self.write("metrics.secret", &self.bearer.clone())?;
        for piece in config::lasting() {
            self.taken.insert(piece.name);
            self.write("pipeline.toml", &self.text())?;
            if let Some(why) = self.findings("pipeline.toml")?.first() {
                let why = format!("the configuration of this version has no {}: {}", piece.name, word(why, "text"));
                self.taken.remove(piece.name);
                self.refused.insert(piece.name, why);
            }
        }
        self.write("pipeline.toml", &self.text())
    }

    fn text(&self) -> String {
        config::text(self.port, &self.taken, &self.now.0, &self.now.1)
    }

    /// Writes a file beside the configuration.
    pub fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.path(name);
        let fail = |e: std::io::Error| format!("{name}: {e}");
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(fail)?;
        }
        fs::write(&path, text).map_err(fail)
    }

    /// A path beside the configuration.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Whether a piece is in force; the error says why not.
    pub fn has(&self, piece: &str) -> Result<(), String> {
        self.refused.get(piece).map_or(Ok(()), |why| Err(why.clone()))
    }

    /// Another way to it.
    pub fn way(&self) -> Result<Client, String> {
        let ca = fs::read(self.path("tls/ca.pem")).map_err(|e| format!("tls/ca.pem: {e}"))?;
        Client::new(&format!("https://localhost:{}", self.port), Some(&ca))
    }

    /// What `check` finds of the configuration with these lines behind it; nothing of it comes into force.
    pub fn would_find(&self, more: &str) -> Result<Vec<Value>, String> {
        let text = config::text(self.port, &self.taken, &self.now.0, &format!("{}{more}", self.now.1));
        self.write("tried.toml", &text)?;
        let found = self.findings("tried.toml");
        let _ = fs::remove_file(self.path("tried.toml"));
        found
    }

    /// What `check` finds in a file, errors only.
    fn findings(&self, name: &str) -> Result<Vec<Value>, String> {
        let out = command(self.dir.path())?.args(["--config", name, "check", "--json"]).output();
        let out = out.map_err(|e| format!("zentral check: {e}"))?;
        let text = String::from_utf8_lossy(&out.stdout);
        let found: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if found.is_empty() {
            return Err(format!("zentral check: {}", String::from_utf8_lossy(&out.stderr).trim()));
        }
        Ok(found.into_iter().filter(|finding| word(finding, "level") == "error").collect())
    }

    /// Puts these pieces and lines into force, and waits until they are.
    pub fn now(&mut self, pieces: &[&'static str], more: &str) -> Result<(), String> {
        let wanted = (pieces.iter().copied().collect::<BTreeSet<_>>(), more.to_owned());
        if wanted == self.now {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.now, wanted);
        let text = self.text();
        self.write("tried.toml", &text)?;
        let found = self.findings("tried.toml")?;
        let _ = fs::remove_file(self.path("tried.toml"));
        if let Some(why) = found.first() {
            self.now = before;
            return Err(format!("the configuration is refused: {}: {}", word(why, "key"), word(why, "text")));
        }
        let reloads = self.reloads();
        self.write("pipeline.toml", &text)?;
        let begun = Instant::now();
        while self.reloads() == reloads {
            if begun.elapsed() > RELOAD_WAIT {
                return Err(format!("the new configuration was not in force after {} s", RELOAD_WAIT.as_secs()));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// The case is over: its commands end.
    pub fn settle(&mut self) {
        for mut child in self.going.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn reloads(&self) -> usize {
        fs::read_to_string(self.path("up.log")).map_or(0, |log| log.matches(RELOADED).count())
    }

    /// Runs a command of ours with this configuration.
    pub fn run(&self, words: &[&str]) -> Result<Output, String> {
        let name = words.first().copied().unwrap_or_default();
        command(self.dir.path())?.args(words).output().map_err(|e| format!("zentral {name}: {e}"))
    }

    /// The first line that a command prints, as JSON; that it fails is an error.
    pub fn says(&self, words: &[&str]) -> Result<Value, String> {
        let lines = self.lines(words)?;
        lines.into_iter().next().ok_or_else(|| format!("zentral {} prints nothing", words.join(" ")))
    }

    /// All lines that a command prints.
    pub fn lines(&self, words: &[&str]) -> Result<Vec<Value>, String> {
        let out = self.run(words)?;
        let name = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        if !out.status.success() {
            return Err(format!("zentral {name}: {}", first_line(&out.stderr)));
        }
        let text = String::from_utf8_lossy(&out.stdout);
        text.lines().map(|line| serde_json::from_str(line).map_err(|e| format!("zentral {name}: {e}"))).collect()
    }

    /// A command that goes on until the case is over; one that ends at once with a failure is an error.
    pub fn goes_on(&mut self, words: &[&str]) -> Result<(), String> {
        let name = words.first().copied().unwrap_or_default();
        let mut command = command(self.dir.path())?;
        command.args(words).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("zentral {name}: {e}"))?;
        std::thread::sleep(GOES_ON);
        if child.try_wait().is_ok_and(|ended| ended.is_some_and(|status| !status.success())) {
            let out = child.wait_with_output().map_err(|e| format!("zentral {name}: {e}"))?;
            return Err(format!("zentral {name}: {}", first_line(&out.stderr)));
        }
        self.going.push(child);
        Ok(())
    }

    /// Speaks to it as an agent does, and takes JSON for an answer with status 200.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: Value) -> Result<Value, String> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let request = Request {
            method: "POST".to_owned(),
            path: path.to_owned(),
            headers,
            body: Some(body),
            body_raw: None,
            body_base64: None,
            transform: None,
        };
        match self.client.send(&request, &Values::new())? {
            Answer { status: 200, json: Some(json), .. } if json.get("node_invalid").is_none() => Ok(json),
            Answer { status, .. } => {
                // The path may hold a secret: its last word is enough.
                let stage = path.trim_matches('/').split('/').nth(2).unwrap_or(path);
                Err(format!("preparing: {stage} was answered with status {status}"))
            }
        }
    }

    fn up(&mut self) -> Result<(), String> {
        let fail = |e: std::io::Error| format!("cannot start the hub: {e}");
        let log = File::create(self.path("up.log")).map_err(fail)?;
        let mut up = command(self.dir.path())?;
        up.args(["--color", "never", "--log", "info", "up", "--scratch"]).arg(self.dir.path());
        // A group of its own; it ends with the pipe, however this process ends.
        up.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        self.up = Some(up.spawn().map_err(fail)?);
        let health: Request = Request {
            method: "GET".to_owned(),
            path: "/healthz".to_owned(),
            headers: BTreeMap::new(),
            body: None,
            body_raw: None,
            body_base64: None,
            transform: None,
        };
        let begun = Instant::now();
        let mut why = String::new();
        while begun.elapsed() < START_WAIT {
            match self.client.send(&health, &Values::new()) {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => why = format!("/healthz says {}", answer.status),
                Err(error) => why = error,
            }
            if let Some(Ok(Some(status))) = self.up.as_mut().map(Child::try_wait) {
                return Err(format!("the hub has ended: {status}\n{}", self.log_end()));
            }
            std::thread::sleep(POLL);
        }
        Err(format!("the hub is not ready after {} s: {why}\n{}", START_WAIT.as_secs(), self.log_end()))
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.path("up.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.settle();
        let Some(mut up) = self.up.take() else { return };
        // Not waited for yet, so the id is still its own.
        let pid = i32::try_from(up.id()).ok().and_then(Pid::from_raw);
        let begun = Instant::now();
        pid.map(|pid| kill_process(pid, Signal::TERM));
        while matches!(up.try_wait(), Ok(None)) {
            if begun.elapsed() > STOP_WAIT {
                pid.map(|pid| kill_process_group(pid, Signal::KILL));
                let _ = up.wait();
            }
            std::thread::sleep(POLL);
        }
    }
}

/// This program, in a folder.
fn command(dir: &Path) -> Result<Command, String> {
    let own = std::env::current_exe().map_err(|e| format!("where is this program? {e}"))?;
    let mut command = Command::new(own);
    for name in NOT_OURS {
        command.env_remove(name);
    }
    command.current_dir(dir).stdin(Stdio::null());
    Ok(command)
}

/// What a command complains of.
pub fn first_line(stderr: &[u8]) -> String {
    String::from_utf8_lossy(stderr).lines().next().unwrap_or("has failed").to_owned()
}

/// A string of an object; empty if it is not there.
pub fn word<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

/// Hex of this many random bytes.
pub fn random(bytes: usize) -> Result<String, String> {
    let mut random = vec![0u8; bytes];
    getrandom::fill(&mut random).map_err(|e| format!("no random numbers: {e}"))?;
    Ok(random.iter().map(|b| format!("{b:02x}")).collect())
}

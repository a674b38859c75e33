//! The real servers that tests use (scripts/services).

use std::collections::BTreeMap;
use std::process::Command;
use std::thread::JoinHandle;

/// Where a server is; none: the test is skipped, but never in CI.
pub fn address(variable: &str) -> Option<String> {
    let found = std::env::var(variable).ok();
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{variable} is not set");
        eprintln!("skipped: {variable} is not set (scripts/services)");
    }
    found
}

/// Servers of a test that kills them: `KIND@WORD` of scripts/services. Wiped when it ends.
pub struct Own {
    word: String,
    /// Of all that were to be started, whether or not they came up.
    names: Vec<String>,
    addresses: BTreeMap<String, String>,
}

impl Own {
    pub fn start(kinds: &[&str], word: &str) -> Self {
        // Two runs at the same time have no server in common.
        let word = format!("{word}{}", std::process::id());
        let mut own = Self { word, names: Vec::new(), addresses: BTreeMap::new() };
        own.add(kinds);
        own
    }

    /// Starts more of them, at once.
    pub fn add(&mut self, kinds: &[&str]) {
        let names: Vec<String> = kinds.iter().map(|kind| self.name(kind)).collect();
        // Before they are started: a server that does not come up has a folder all the same.
        self.names.extend_from_slice(&names);
        let said = services("start", &names);
        for line in said.lines() {
            if let Some((name, address)) = line.split_once(' ')
                && let Some(kind) = kinds.iter().find(|kind| self.name(kind) == name)
            {
                self.addresses.insert((*kind).to_owned(), address.to_owned());
            }
        }
    }

    fn name(&self, kind: &str) -> String {
        format!("{kind}@{}", self.word)
    }

    /// HOST:PORT.
    pub fn address(&self, kind: &str) -> String {
        self.addresses[kind].clone()
    }

    /// SIGKILL to one.
    pub fn kill(&self, kind: &str) {
        services("stop", &["--kill".to_owned(), self.name(kind)]);
    }

    /// SIGKILL to one, which then starts again with what it had.
    pub fn restart_killed(&self, kind: &str) -> JoinHandle<()> {
        let words = ["--kill".to_owned(), self.name(kind)];
        std::thread::spawn(move || _ = services("restart", &words))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = command("stop").args(["--kill", "--wipe"]).args(&self.names).output();
    }
}

fn command(what: &str) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/services"));
    command.arg(what);
    command
}

/// What it prints; it must succeed.
fn services(what: &str, words: &[String]) -> String {
    let out = command(what).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{what} {words:?}: {said}{}", String::from_utf8_lossy(&out.stderr));
    said
}

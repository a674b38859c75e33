//! The real servers that tests use (scripts/services), and those of a test that kills them.

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
    addresses: BTreeMap<String, String>,
}

impl Own {
    pub fn start(kinds: &[&str], word: &str) -> Self {
        // Two runs at the same time have no server in common.
        let word = format!("{word}{}", std::process::id());
        let mut own = Self { word, addresses: BTreeMap::new() };
        let names: Vec<String> = kinds.iter().map(|kind| own.name(kind)).collect();
        let out = services("start").args(&names).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
        for line in said.lines() {
            if let Some((name, address)) = line.split_once(' ')
                && let Some(kind) = kinds.iter().find(|kind| own.name(kind) == name)
            {
                own.addresses.insert((*kind).to_owned(), address.to_owned());
            }
        }
        own
    }

    fn name(&self, kind: &str) -> String {
        format!("{kind}@{}", self.word)
    }

    /// HOST:PORT.
    pub fn address(&self, kind: &str) -> String {
        self.addresses[kind].clone()
    }

    /// SIGKILL to one, which then starts again with what it had.
    pub fn restart_killed(&self, kind: &str) -> JoinHandle<()> {
        let mut command = services("restart");
        command.args(["--kill", &self.name(kind)]);
        std::thread::spawn(move || {
            let out = command.output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let names: Vec<String> = self.addresses.keys().map(|kind| self.name(kind)).collect();
        let _ = services("stop").args(["--kill", "--wipe"]).args(names).output();
    }
}

fn services(what: &str) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/services"));
    command.arg(what);
    command
}

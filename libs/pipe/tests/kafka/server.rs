//! A server of a test's own (scripts/services), which it may stop or break. Wiped when the test ends.

use std::process::Command;

pub struct Server {
    name: String,
}

impl Server {
    /// Two runs at the same time have no server in common, and two tests have two words.
    pub fn start(kind: &str, word: &str) -> Self {
        let name = format!("{kind}@{word}{}", std::process::id());
        services(&["start", &name]);
        Self { name }
    }

    /// What `scripts/services env` says of it.
    pub fn variable(&self, name: &str) -> Option<String> {
        let begin = format!("export {name}=");
        services(&["env", &self.name]).lines().find_map(|line| line.strip_prefix(&begin)).map(str::to_owned)
    }

    /// SIGKILL, and what it had stays.
    pub fn kill(&self) {
        services(&["stop", "--kill", &self.name]);
    }

    /// Again with what it had.
    pub fn go_on(&self) {
        services(&["start", &self.name]);
    }

    /// Stops and starts it with such a word.
    pub fn restart(&self, words: &[&str]) {
        services(&[&["restart"], words, &[&self.name]].concat());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        services(&["stop", "--kill", "--wipe", &self.name]);
    }
}

fn services(words: &[&str]) -> String {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/services");
    let out = Command::new(program).args(words).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

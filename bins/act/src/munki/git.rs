//! A repository that is kept in git: one change, one commit of one file, and nothing of what else lies there.

use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Fault;

/// How long git and the hooks of the repository may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long it may take to clean up once it is told to end.
const GRACE: Duration = Duration::from_secs(5);
/// How long the reason of a failure may take to come through once it has ended.
const REASON: Duration = Duration::from_secs(1);
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes of what it says that are kept.
const SAID_MAX: u64 = 8 << 20;

/// One file of a repository.
pub struct Tracked {
    folder: PathBuf,
    name: String,
    author: (String, String),
    timeout: Duration,
}

/// `Name <address>` as its two parts.
pub fn author(text: &str) -> Option<(String, String)> {
    let (name, address) = text.strip_suffix('>')?.split_once('<')?;
    let (name, address) = (name.trim(), address.trim());
    let plain = |text: &str| !text.is_empty() && !text.contains(['<', '>']) && !text.chars().any(char::is_control);
    (plain(name) && plain(address)).then(|| (name.to_owned(), address.to_owned()))
}

impl Tracked {
    /// The file at `path`, changed by `author`.
    pub fn new(path: &Path, author: (String, String)) -> Self {
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { folder, name, author, timeout: TIMEOUT }
    }

    /// Whether it is in a repository that git works in.
    pub fn try_out(&self) -> Result<(), Fault> {
        self.run(&["rev-parse", "--git-dir"], "")
    }

    /// What the last commit has of it, if it is not that which lies there; `Some(None)`: nothing at all.
    pub fn differs(&self) -> Result<Option<Option<String>>, Fault> {
        if self.ask(&["status", "--porcelain", "--", &self.name])?.is_empty() {
            return Ok(None);
        }
        // A repository without any commit has no HEAD, and a file that is new is not in it.
        Ok(Some(self.committed().ok()))
    }

    /// What the last commit has of it.
    pub fn committed(&self) -> Result<String, Fault> {
        self.ask(&["cat-file", "--filters", &format!("HEAD:./{}", self.name)])
    }

    /// Commits it as it lies there.
    pub fn commit(&self, message: &str) -> Result<(), Fault> {
        self.run(&["add", "--intent-to-add", "--", &self.name], "")?;
        let done =
            self.run(&["commit", "--quiet", "--only", "--cleanup=verbatim", "--file=-", "--", &self.name], message);
        if done.is_err() {
            // It was new: not in the way of whoever commits next.
            let _ = self.run(&["reset", "--quiet", "--", &self.name], "");
        }
        done
    }

    /// What git says.
    fn ask(&self, words: &[&str]) -> Result<String, Fault> {
        let out = self.go(words, "", Stdio::piped())?;
        // Nothing is something else than no answer: it would say that nothing differs.
        out.recv_timeout(self.timeout).map_err(|_| Fault::now("git", "what it said did not come through"))
    }

    /// Has git do something, with what it reads.
    fn run(&self, words: &[&str], input: &str) -> Result<(), Fault> {
        self.go(words, input, Stdio::null()).map(|_| ())
    }

    fn go(&self, words: &[&str], input: &str, stdout: Stdio) -> Result<Receiver<String>, Fault> {
        let said = |why: &dyn std::fmt::Display| Fault::now("git", why);
        let mut command = Command::new("git");
        command.arg("--literal-pathspecs").args(words).current_dir(&self.folder).env_clear();
        for name in ["PATH", "HOME", "XDG_CONFIG_HOME"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), &self.author.0).env(format!("GIT_{role}_EMAIL"), &self.author.1);
        }
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| said(&e))?;
        let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
        if let Some(mut stdin) = child.stdin.take() {
            // Git that reads none is none the worse for it, and none is waited for: it reads when its hooks let it.
            let input = input.as_bytes().to_vec();
            std::thread::spawn(move || {
                let _ = stdin.write_all(&input);
            });
        }
        let Some(status) = ended(&mut child, self.timeout).map_err(|e| said(&e))? else {
            // It takes its locks away when it is told to end, and not when it is killed.
            if let Ok(pid) = i32::try_from(child.id())
                && let Some(pid) = Pid::from_raw(pid)
            {
                let _ = kill_process(pid, Signal::TERM);
            }
            if !matches!(ended(&mut child, GRACE), Ok(Some(_))) {
                let _ = child.kill();
                let _ = child.wait();
            }
            return Err(said(&format!("no end within {} s", self.timeout.as_secs())));
        };
        if status.success() {
            return Ok(out);
        }
        // A hook may leave somebody behind who holds this open: not waited for.
        let text = err.recv_timeout(REASON).unwrap_or_default();
        let why = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it failed");
        Err(said(&crate::call::one_line(why, 200)))
    }
}

/// How it ended; none: it has not.
fn ended(child: &mut Child, within: Duration) -> std::io::Result<Option<ExitStatus>> {
    let until = Instant::now() + within;
    loop {
        match child.try_wait()? {
            None if Instant::now() < until => std::thread::sleep(LOOK),
            status => return Ok(status),
        }
    }
}

/// All that comes, read by a thread of its own; what is too much is thrown away.
fn drain(from: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (to, got) = channel();
    if let Some(mut from) = from {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if from.by_ref().take(SAID_MAX).read_to_end(&mut bytes).is_err() {
                return;
            }
            let _ = std::io::copy(&mut from, &mut std::io::sink());
            let _ = to.send(String::from_utf8_lossy(&bytes).into_owned());
        });
    }
    got
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    /// A hook that hangs, before or behind a message that no pipe holds: git ends in time and leaves no lock.
    #[test]
    fn git_that_hangs_is_ended_and_takes_its_locks_away() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("C02");
        std::fs::write(&file, "one").unwrap();
        let mut tracked = Tracked::new(&file, ("The Hub".into(), "hub@example.com".into()));
        tracked.run(&["init", "--quiet"], "").unwrap();
        tracked.commit("begin").unwrap();
        std::fs::write(&file, "two").unwrap();
        let hook = dir.path().join(".git/hooks/pre-commit");
        std::fs::write(&hook, "#!/bin/sh\nexec sleep 30\n").unwrap();
        std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        tracked.timeout = Duration::from_secs(2);
        let begun = Instant::now();
        let why = tracked.commit(&"x".repeat(1 << 20)).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
        assert_eq!(why, Fault::Now("git: no end within 2 s".into()));
        assert!(!dir.path().join(".git/index.lock").exists());
        assert_eq!(tracked.differs().unwrap(), Some(Some("one".into())));
        std::fs::remove_file(&hook).unwrap();
        tracked.commit("two").unwrap();
        assert_eq!((tracked.differs().unwrap(), tracked.committed().unwrap().as_str()), (None, "two"));
    }

    /// Somebody who was left behind holds the pipe.
    #[test]
    fn no_answer_is_not_an_empty_one() {
        let mut tracked = Tracked::new(Path::new("./C02"), ("The Hub".into(), "hub@example.com".into()));
        tracked.timeout = Duration::from_secs(2);
        let late = tracked.ask(&["-c", "alias.late=!sleep 8 & true", "late"]);
        assert_eq!(late, Err(Fault::Now("git: what it said did not come through".into())));
    }

    #[test]
    fn authors() {
        assert_eq!(author("The Hub <hub@example.com>"), Some(("The Hub".into(), "hub@example.com".into())));
        for text in ["", "hub", "hub@example.com", "<a@b>", "a <>", "a <b> c", "a\nb <c>", "a < b <c>"] {
            assert_eq!(author(text), None, "{text:?}");
        }
    }
}

//! A repository that is kept in git: one change, one commit of one file, and nothing of what else lies there.

use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Fault;

/// How long git and the hooks of the repository may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes of what it says that are kept.
const SAID_MAX: u64 = 8 << 20;

/// One file of a repository.
pub struct Tracked {
    folder: PathBuf,
    name: String,
    author: (String, String),
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
        Self { folder, name, author }
    }

    /// Whether it is in a repository that git works in.
    pub fn try_out(&self) -> Result<(), Fault> {
        self.run(&["rev-parse", "--git-dir"], "").map(|_| ())
    }

    /// What the last commit has of it, if it is not that which lies there; `Some(None)`: nothing at all.
    pub fn differs(&self) -> Result<Option<Option<String>>, Fault> {
        if self.run(&["status", "--porcelain", "--", &self.name], "")?.is_empty() {
            return Ok(None);
        }
        let head = format!("HEAD:./{}", self.name);
        // A repository without any commit has no HEAD, and a file that is new is not in it.
        Ok(Some(self.run(&["cat-file", "--filters", &head], "").ok()))
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
        done.map(|_| ())
    }

    fn run(&self, words: &[&str], input: &str) -> Result<String, Fault> {
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
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| said(&e))?;
        let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
        if let Some(mut stdin) = child.stdin.take() {
            // The message is short, and git that reads none is none the worse for it.
            let _ = stdin.write_all(input.as_bytes());
        }
        let until = Instant::now() + TIMEOUT;
        let status = loop {
            match child.try_wait().map_err(|e| said(&e))? {
                Some(status) => break status,
                None if Instant::now() < until => std::thread::sleep(LOOK),
                None => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(said(&format!("no end within {} s", TIMEOUT.as_secs())));
                }
            }
        };
        // A hook may leave somebody behind who holds these open: not waited for.
        let took =
            |from: &std::sync::mpsc::Receiver<String>| from.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        if status.success() {
            return Ok(took(&out));
        }
        let text = took(&err);
        let why = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it failed");
        Err(said(&crate::call::one_line(why, 200)))
    }
}

/// All that comes, read by a thread of its own; what is too much is thrown away.
fn drain(from: Option<impl Read + Send + 'static>) -> std::sync::mpsc::Receiver<String> {
    let (to, got) = std::sync::mpsc::channel();
    if let Some(mut from) = from {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = from.by_ref().take(SAID_MAX).read_to_end(&mut bytes);
            let _ = std::io::copy(&mut from, &mut std::io::sink());
            let _ = to.send(String::from_utf8_lossy(&bytes).into_owned());
        });
    }
    got
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors() {
        assert_eq!(author("The Hub <hub@example.com>"), Some(("The Hub".into(), "hub@example.com".into())));
        for text in ["", "hub", "hub@example.com", "<a@b>", "a <>", "a <b> c", "a\nb <c>", "a < b <c>"] {
            assert_eq!(author(text), None, "{text:?}");
        }
    }
}

//! `run = ["./badges.py", "--since", "5m"]`: a program of the user's own as a source.

use std::path::PathBuf;
use std::time::Duration;

use super::{Settings, StageKind};

/// How often a batch may be asked for.
const EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(31 * 86_400));
/// How long a run may take.
const TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));
/// How long it may take if nothing is said.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10 * 60);

/// The program of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// The program and its arguments; with a `/` in it a path, else looked for on PATH.
    pub run: Vec<String>,
    /// A batch a run, so often; none: it runs for ever, and its lines are taken as they come.
    pub every: Option<Duration>,
    /// A run that takes longer is ended.
    pub timeout: Duration,
    /// Variables that it is given, besides PATH.
    pub env: Vec<String>,
}

impl Foreign {
    pub(super) fn read(table: &mut Settings) -> Option<Self> {
        let mut run = table.strings("run");
        match run.first_mut() {
            None => {
                table.fail("run", "the list is empty: a program, then its arguments");
                return None;
            }
            Some(program) if program.trim().is_empty() => {
                table.fail("run", "the program has no name");
                return None;
            }
            Some(word) if StageKind::of(word).is_some() => {
                table.fail("run", format!("a list is a program of your own; the stage is run = \"{word}\""));
                return None;
            }
            Some(program) if program.contains('/') => {
                // The folder may be relative too, and the program is started from within it.
                let path = table.base().join(program.as_str());
                *program = std::path::absolute(&path).unwrap_or(path).display().to_string();
            }
            Some(_) => {}
        }
        if run.iter().any(|word| word.contains('\0')) {
            table.fail("run", "no program takes a NUL character");
            return None;
        }
        let every = table.duration("every");
        if every.is_some_and(|every| every < EVERY.0 || every > EVERY.1) {
            table.fail("every", "from 1s to 31d");
        }
        let timeout = table.duration("timeout");
        if timeout.is_some() && every.is_none() {
            table.fail("timeout", "only a run that comes again (`every`) has an end to be waited for");
        } else if timeout.is_some_and(|timeout| timeout < TIMEOUT.0 || timeout > TIMEOUT.1) {
            table.fail("timeout", "from 1s to 1d");
        }
        let env = table.strings("env");
        for name in env.iter().filter(|name| name.is_empty() || name.contains(['=', '\0'])) {
            table.fail_word("env", name, "no name of an environment variable");
        }
        Some(Self { run, every, timeout: timeout.unwrap_or(TIMEOUT_DEFAULT), env })
    }

    /// The file that would be started; none: there is none that may be.
    pub fn program(&self) -> Option<PathBuf> {
        let name = self.run.first()?;
        if name.contains('/') {
            return Some(PathBuf::from(name)).filter(|path| is_executable(path));
        }
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| is_executable(path))
    }
}

fn is_executable(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

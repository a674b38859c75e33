//! The process of a stage: which program, what it is told, and the pipe whose end it takes as the order to finish.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::ColorChoice;
use pipe::cli::Global;
use pipe::config::{Config, StageConf, StageKind};
use pipe::log::LogFormat;
use rustix::process::{Pid, Signal, kill_process};

use super::restarts::End;

/// How long a small program may take to say its version.
const VERSION_WAIT: Duration = Duration::from_secs(5);

/// The programs of the stages: the small one if it lies beside this one, else this one.
#[derive(Debug)]
pub struct Programs {
    me: PathBuf,
    small: Vec<(StageKind, PathBuf)>,
    flags: Vec<OsString>,
}

impl Programs {
    /// Looks for them. `global` gives the flags that all of them get.
    pub fn find(global: &Global) -> io::Result<Self> {
        let me = std::env::current_exe()?;
        let mut small = Vec::new();
        for (word, kind) in StageKind::ALL {
            let path = me.with_file_name(word);
            if path.is_file() && path != me {
                // Another program of that name, or one of another version, must not become a stage; nor, where
                // programs are built, one that was left behind when its sources went on.
                match version(&path, VERSION_WAIT) {
                    Some(found) if found != format!("{word} {}", env!("CARGO_PKG_VERSION")) => {
                        tracing::debug!("{} is not this version's {word}: not used", path.display());
                    }
                    None => tracing::debug!("{} does not say its version: not used", path.display()),
                    Some(_) if stale(&path) => {
                        tracing::info!("{} is older than its sources: not used, build it again", path.display());
                    }
                    Some(_) => small.push((kind, path)),
                }
            }
        }
        let format = match global.log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        let color = match global.color {
            ColorChoice::Auto => "auto",
            ColorChoice::Always => "always",
            ColorChoice::Never => "never",
        };
        let flags = ["--log", &global.log, "--log-format", format, "--color", color].map(OsString::from).to_vec();
        Ok(Self { me, small, flags })
    }

    /// Starts a stage of this configuration, or one of its instances, which it reads from a file or a copy, on this data
    /// folder.
    pub fn start(
        &self,
        stage: &StageConf,
        instance: Option<u32>,
        of: &Config,
        config: &Path,
        data: &Path,
        more: &[&str],
    ) -> io::Result<Child> {
        let mut command = self.command(stage);
        for name in of.variables_of_others(stage) {
            command.env_remove(name);
        }
        command.arg("--config").arg(config).arg("--data").arg(data).arg("--supervised");
        command.args(instance.map(|instance| format!("--instance={instance}")));
        // Systemd is told of the whole, by the supervisor.
        command.args(more).args(&self.flags).env_remove("NOTIFY_SOCKET");
        // The pipe's writing end is closed on exec, so no other child keeps this one from seeing its end.
        let process = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?;
        Ok(Child { process, since: Instant::now() })
    }

    fn command(&self, stage: &StageConf) -> Command {
        let kind = match stage.kinds.as_slice() {
            [kind] if *kind != StageKind::Foreign => kind,
            // No small program holds several stages, or starts another's.
            _ => {
                let mut command = Command::new(&self.me);
                command.args(["run", &stage.name]);
                return command;
            }
        };
        let mut command = match self.small.iter().find(|(small, _)| small == kind) {
            Some((_, path)) => Command::new(path),
            None => {
                let mut command = Command::new(&self.me);
                command.arg(kind.word());
                command
            }
        };
        command.args(["--stage", &stage.name]);
        command
    }
}

/// What a program answers to `--version`; none if it does not in time.
fn version(program: &Path, wait: Duration) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.spawn().ok()?;
    let begun = Instant::now();
    loop {
        match process.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if begun.elapsed() < wait => std::thread::sleep(Duration::from_millis(2)),
            _ => {
                let _ = process.kill().and_then(|()| process.wait());
                return None;
            }
        }
    }
    let mut text = String::new();
    process.stdout.take()?.take(200).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned())
}

/// Whether a program lies where cargo built it and one of its sources is newer. Cargo lists them beside it, in
/// `NAME.d`: `PROGRAM: SOURCE…`, a space within a path behind a backslash.
fn stale(program: &Path) -> bool {
    let Ok(list) = std::fs::read_to_string(program.with_extension("d")) else { return false };
    let modified = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    let Some(built) = modified(program) else { return true };
    let (_, sources) = list.split_once(": ").unwrap_or_default();
    let sources = sources.replace("\\ ", "\0");
    // A source that is gone was changed as well.
    sources.split_whitespace().any(|path| modified(Path::new(&path.replace('\0', " "))).is_none_or(|at| at > built))
}

/// A running stage.
#[derive(Debug)]
pub struct Child {
    /// Its stdin is the pipe: open as long as it should run.
    process: std::process::Child,
    since: Instant,
}

impl Child {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How long ago it started.
    pub fn ran(&self) -> Duration {
        self.since.elapsed()
    }

    /// Tells it to finish, commit and exit, by the end of its pipe: unlike a signal that does not count as a second
    /// order to a stage that a terminal or an init system has told already.
    pub fn finish(&mut self) {
        drop(self.process.stdin.take());
    }

    /// Tells it to reload.
    pub fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Ends it at once.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// How it ended, once it has.
    pub fn ended(&mut self) -> Option<End> {
        match self.process.try_wait() {
            Ok(status) => status.map(End::from),
            Err(e) => {
                tracing::error!("process {}: {e}", self.id());
                None
            }
        }
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> io::Result<End> {
        // Not `Child::wait`, which closes the pipe first and thereby ends it.
        loop {
            match self.process.try_wait()? {
                Some(status) => return Ok(status.into()),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn signal(&self, signal: Signal) {
        // It has not been waited for, so its id is still its own.
        if let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// A stand-in for a stage: like one it ends when its pipe does.
#[cfg(test)]
pub fn stand_in() -> Child {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    let process = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    Child { process, since: Instant::now() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_pipe_is_the_order_to_finish() {
        let (mut one, mut other) = (stand_in(), stand_in());
        one.finish();
        assert_eq!(one.wait().unwrap(), End::Code(0), "no other child holds the pipe open");
        assert_eq!(other.ended(), None);
        other.kill();
        assert_eq!(other.wait().unwrap(), End::Signal(9));
    }

    #[test]
    fn a_program_older_than_its_sources_is_stale() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let touch = |name: &str, s: u64| {
            let file = std::fs::File::create(path(name)).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(s)).unwrap();
        };
        touch("filter", 100);
        assert!(!stale(&path("filter")), "installed: nobody lists sources");
        let source = path("a b.rs").display().to_string().replace(' ', "\\ ");
        std::fs::write(path("filter.d"), format!("{}: {source} {source}\n", path("filter").display())).unwrap();
        for (at, want) in [(99, false), (100, false), (101, true)] {
            touch("a b.rs", at);
            assert_eq!(stale(&path("filter")), want, "{at}");
        }
        std::fs::remove_file(path("a b.rs")).unwrap();
        assert!(stale(&path("filter")));
    }

    #[test]
    fn only_a_program_that_says_so_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let check = |script: &str, want: Option<&str>| {
            let path = dir.path().join("filter");
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            // Another test that forks just now holds the script open for writing: then it is busy.
            let wait = Duration::from_millis(300);
            let found = (0..20).map(|_| version(&path, wait)).find(|found| found.as_deref() == want);
            assert!(found.is_some(), "{script}");
        };
        check("echo filter 0.1.0", Some("filter 0.1.0"));
        check("exit 3", Some(""));
        check("exec sleep 60", None);
        assert_eq!(version(&dir.path().join("missing"), VERSION_WAIT), None);
    }
}

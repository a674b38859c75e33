//! The configuration as `up` reads it: checked whole, or the last good copy of it.

use std::path::PathBuf;
use std::time::SystemTime;

use pipe::cli::complain;
use pipe::config::{Config, Files, Finding, Level, StageKind, render};

/// Finds what is wrong beyond what `pipe` knows: settings of stages, actions and sources, filters that do not compile.
/// What it reads goes through `Files`, so that a copy holds it.
pub type Check = fn(&Config, &mut Files) -> Vec<Finding>;

/// A configuration that was found right, and what it was read from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Everything that was read for it.
    pub files: Files,
}

/// What files looked like: lengths and times.
pub type Stamp = Vec<(PathBuf, Option<(u64, SystemTime)>)>;

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The main file.
    pub main: PathBuf,
    /// In place of the file's own data folder.
    pub data: Option<PathBuf>,
    /// See [`Check`].
    pub check: Check,
}

impl Source {
    /// Reads and checks the files.
    pub fn load(&self) -> Result<Loaded, Vec<Finding>> {
        let (config, mut files) = Config::load(&self.main, self.data.as_deref())?;
        let mut findings = (self.check)(&config, &mut files);
        findings.extend(unfit(&config));
        if findings.iter().any(is_wrong) {
            return Err(findings);
        }
        // What is only doubtful is said, and runs.
        if !findings.is_empty() {
            complain(&render(&findings));
        }
        Ok(Loaded { config, files })
    }

    /// The copy that was last in force, if there is one of these files and it is still found right.
    pub fn last_good(&self) -> Option<Loaded> {
        let (config, mut files) = Config::last_good(&self.main, self.data.as_deref())?;
        let wrong = (self.check)(&config, &mut files).iter().any(is_wrong);
        (!wrong).then_some(Loaded { config, files })
    }

    /// What the files of this configuration look like now, those that a pattern of `include` names by now as well.
    pub fn stamp(&self, loaded: &Loaded) -> Stamp {
        let mut stamp = loaded.files.stamp(&[]);
        if let Ok(disk) = Files::open(&self.main) {
            stamp.extend(disk.stamp(&loaded.config.includes()));
        }
        stamp
    }
}

/// Whether it cannot run like this.
fn is_wrong(finding: &Finding) -> bool {
    finding.level == Level::Error
}

/// What `up` itself cannot run.
fn unfit(config: &Config) -> Vec<Finding> {
    /// The longest path of a socket that Linux and macOS both take, in bytes.
    const SOCKET_MAX: usize = 103;
    let file = config.file.clone().unwrap_or_default();
    let mut found = Vec::new();
    if config.stages.is_empty() {
        found.push(Finding::file(&file, "there is no stage to run"));
    }
    for stage in &config.stages {
        let mut at = stage.settings.clone();
        if stage.name == super::NAME {
            at.fail("", "a stage cannot be called `up`: that is the supervisor's own name");
        }
        let socket = config.socket(&stage.process(stage.instances().last().flatten()));
        if socket.as_os_str().len() > SOCKET_MAX {
            let text = format!("{} is longer than {SOCKET_MAX} bytes, too long for a socket", socket.display());
            at.fail("", format!("{text}; choose a shorter data folder"));
        }
        // Unknown keys are another's business.
        found.extend(at.finish().into_iter().filter(|f| !f.text.starts_with("unknown key")));
    }
    found
}

/// The address that `receive` listens on, to be said.
pub fn listens(stage: &pipe::config::StageConf) -> Option<String> {
    if stage.runs(StageKind::Receive) { stage.settings.clone().str("listen") } else { None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_doubtful_runs_and_what_is_wrong_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let main = dir.path().join("pipeline.toml");
        let text = "version = 1\n[stage.receive]\nto = \"topic:raw\"\n";
        std::fs::write(&main, text).unwrap();
        let loads = |check: Check| Source { main: main.clone(), data: None, check }.load().map(drop);
        assert!(loads(|_, _| Vec::new()).is_ok());
        assert!(loads(|_, _| vec![Finding::file("a", "odd").warning()]).is_ok());
        let both: Check = |_, _| vec![Finding::file("a", "odd").warning(), Finding::file("a", "wrong")];
        assert_eq!(loads(both).unwrap_err().len(), 2, "both are told");
    }
}

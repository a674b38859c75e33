//! `zentral up`: the stages of the pipeline as child processes, looked after until the end.
//!
//! The supervisor is one loop (`supervisor`) over a closed list of events; what it decides by is pure and lies beside
//! it: when a stage starts again (`restarts`), what a new configuration touches (`plan`), in which order it all ends
//! (`drain`).

mod change;
mod child;
mod copies;
mod door;
mod doubts;
mod drain;
mod dry;
mod home;
pub mod merge;
mod plan;
mod restarts;
pub mod shown;
mod signals;
mod source;
mod supervisor;
mod watch;
mod worker;

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use pipe::cli::{Global, complain};
use pipe::config::render;
use pipe::{Exit, StageError};

pub use copies::Copies;
pub use dry::next_line;
pub use home::open as lock;
pub use source::{Check, Source};

/// The supervisor's own name among the stages: of its log lines and its socket.
pub const NAME: &str = "up";

/// What is said where a hub is asked for and there is no configuration.
pub const NO_FILE: &str = "no pipeline.toml here, nor /etc/zentral/pipeline.toml; `zentral init` makes one";

/// Command line of `up`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// Only these stages
    #[arg(long, value_name = "STAGE", num_args = 1..)]
    pub only: Vec<String>,
    /// Run the whole pipeline over these raw lines or events in a fresh data folder, actions dry, and stop
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "only")]
    pub test: Vec<PathBuf>,
    /// Stop when stdin ends, and remove this folder if that was the reason: nobody else is left to do it
    #[arg(long, hide = true, value_name = "DIR", conflicts_with = "test")]
    pub scratch: Option<PathBuf>,
}

/// Runs the pipeline of the configuration. `check` finds what is wrong with it beyond what is read here.
pub fn run(global: &Global, args: &Args, check: Check) -> Exit {
    global.start_log(NAME);
    let result = source(global, check).and_then(|source| {
        if args.test.is_empty() { supervise(global, source, args) } else { dry::run(global, source, args) }
    });
    crate::finish(result)
}

/// The files that `global` names. Their path is made absolute: copies keep it, and may be read from elsewhere.
pub fn source(global: &Global, check: Check) -> Result<Source, StageError> {
    let main = global.config_path().ok_or_else(|| StageError::usage(NO_FILE))?;
    let whole = |path: PathBuf| std::path::absolute(&path).map_err(|e| StageError::usage(format!("{path:?}: {e}")));
    Ok(Source { main: whole(main)?, data: global.data.clone().map(whole).transpose()?, check })
}

fn supervise(global: &Global, source: Source, args: &Args) -> Result<Exit, StageError> {
    let only = args.only.clone();
    let (loaded, broken) = match source.load() {
        Ok(loaded) => (loaded, None),
        Err(findings) => {
            let text = render(&findings);
            complain(&text);
            let none = || StageError::usage("the configuration is wrong, and there is no good copy of it yet");
            let loaded = source.last_good().ok_or_else(none)?;
            tracing::error!("the configuration is wrong: the last good copy of it runs");
            (loaded, Some(text))
        }
    };
    if let Some(name) = only.iter().find(|name| loaded.config.stage(name).is_none()) {
        let names: Vec<&str> = loaded.config.stages.iter().map(|s| s.name.as_str()).collect();
        return Err(StageError::usage(format!("there is no stage `{name}`; there are {}", names.join(", "))));
    }
    let _lock = home::open(&loaded.config.data)?;
    let programs = child::Programs::find(global).map_err(|e| StageError::state(format!("programs: {e}")))?;
    let supervisor = supervisor::Supervisor::new(source, &loaded, broken, programs, only)?;
    let Some(scratch) = &args.scratch else { return supervisor.run(loaded) };
    let orphaned = supervisor.follow_stdin().map_err(|e| StageError::state(format!("stdin: {e}")))?;
    let ended = supervisor.run(loaded);
    if orphaned.load(Ordering::Acquire) {
        std::fs::remove_dir_all(scratch).map_err(|e| StageError::state(format!("{}: {e}", scratch.display())))?;
    }
    ended
}

//! `zentral replay`: what came before, to be fed again through a pipe. It only prints.

use std::io::{BufRead as _, BufReader};

use pipe::cli::Global;
use pipe::config::{Config, StageKind, is_name};
use pipe::{Exit, StageError};

use crate::cat;

/// Command line of `replay`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Raw lines, as received (default)
    #[arg(long, conflicts_with_all = ["events", "refused"])]
    pub raw: bool,
    /// Events
    #[arg(long, conflicts_with = "refused")]
    pub events: bool,
    /// Lines that this stage refused, as they came; nobody wrote down when
    #[arg(long, value_name = "STAGE", conflicts_with = "since")]
    pub refused: Option<String>,
    /// Only lines received since: an age such as 2h, or a time
    #[arg(long, value_name = "AGE|TIME")]
    pub since: Option<String>,
}

/// Prints.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("replay");
    match global.load() {
        Ok(config) => crate::finish(print(&config, args)),
        Err(exit) => exit,
    }
}

fn print(config: &Config, args: &Args) -> Result<Exit, StageError> {
    if let Some(stage) = &args.refused {
        return refused(config, stage);
    }
    let kind = if args.events { StageKind::Filter } else { StageKind::Receive };
    let stage = config.stages.iter().find(|s| s.runs(kind));
    let topic = stage.and_then(|s| s.to.as_ref()).and_then(|p| p.topic());
    let topic = topic.ok_or_else(|| StageError::usage(format!("the pipeline has no `{}`", kind.word())))?;
    let shape = cat::Args {
        topic: topic.to_owned(),
        since: args.since.clone(),
        until: None,
        follow: false,
        lines: None,
        where_: None,
        count: false,
    };
    cat::print(&config.topic_dir(topic), &shape, cat::Choice::since(args.since.as_deref())?)
}

fn refused(config: &Config, stage: &str) -> Result<Exit, StageError> {
    if !is_name(stage) {
        return Err(StageError::usage(format!("`{stage}` is no name of a stage")));
    }
    let folder = config.data.join("refused");
    for name in [format!("{stage}.ndjson.1"), format!("{stage}.ndjson")] {
        let path = folder.join(name);
        let fail = |e: std::io::Error| StageError::state(format!("{}: {e}", path.display()));
        let mut entries = match std::fs::File::open(&path) {
            Ok(file) => BufReader::new(file),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(fail(e)),
        };
        let mut line = Vec::new();
        while entries.read_until(b'\n', &mut line).map_err(fail)? > 0 {
            match pipe::refused_original(&line) {
                Some(mut original) => {
                    original.push(b'\n');
                    pipe::write_stdout(&original).map_err(crate::stdout_error)?;
                }
                None => tracing::warn!("{}: an entry that cannot be read", path.display()),
            }
            line.clear();
        }
    }
    Ok(Exit::Done)
}

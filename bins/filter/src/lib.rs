//! The stage `filter`: jq programs say which events matter.
//!
//! At a shell it is grep: it prints what matches. In a pipeline it writes every event annotated to `to` and the matches
//! to `matches`. It remembers nothing of events; its state holds positions and which filters are quarantined.

mod annotate;
mod ask;
mod failures;
mod gates;
mod grep;
mod metrics;
mod note;
mod pool;
mod specs;
mod tried;
mod worker;
mod write;

use std::sync::Arc;

use event::Mistaken;
use pipe::cli::{Global, Process, StageArgs};
use pipe::config::{Config, Finding, Place, StageConf, StageKind};
use pipe::{Exit, Line, StageError};

pub use annotate::Annotate;
pub use failures::{Off, SCHEMA, Strikes, off};
pub use gates::{Gates, Stopped};
pub use specs::{build, finding, findings, probe, spec};
pub use tried::Failing;

/// Command line of `filter`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// A jq program; may be repeated, any match counts
    #[arg(short = 'e', long = "expr", value_name = "JQ")]
    pub expr: Vec<String>,
    /// Files of jq programs (*.jq), or names of probes of the configuration; none: all its probes
    #[arg(value_name = "FILE|PROBE")]
    pub what: Vec<String>,
    /// Print every event, annotated
    #[arg(long)]
    pub all: bool,
    /// Print what does not match
    #[arg(short = 'v', long)]
    pub invert: bool,
    /// Print only how many match
    #[arg(long)]
    pub count: bool,
    /// Stop after so many matches
    #[arg(short = 'm', long = "max", value_name = "N")]
    pub max: Option<u64>,
    /// Write matches there as well
    #[arg(long, value_name = "OUT")]
    pub matches: Option<String>,
    /// The lines are canonical (written by normalize): do not check them
    #[arg(long)]
    pub trusted: bool,
    /// Flags of every stage
    #[command(flatten)]
    pub stage: StageArgs,
}

/// Runs the stage to its end.
pub fn run(global: &Global, args: &Args) -> Exit {
    let process = match Process::start(StageKind::Filter, global, &args.stage) {
        Ok(process) => process,
        Err(exit) => return exit,
    };
    // Filters run on a big stack; the whole loop does, so that no line pays for a thread.
    let ran = probe::with_stack(|| match start(&process, args) {
        Ok(exit) => exit,
        Err(e) => {
            tracing::error!("{e}");
            e.exit
        }
    });
    ran.unwrap_or_else(|e| {
        tracing::error!("cannot start a thread: {e}");
        Exit::State
    })
}

fn start(process: &Process, args: &Args) -> Result<Exit, StageError> {
    process.open_side_door(None)?;
    if let Some(conf) = &process.conf {
        let mut stage = Annotate::for_stage(process)?;
        let job = process.job(StageKind::Filter, conf.to.clone(), std::slice::from_ref(&conf.matches));
        return Ok(pipe::run(&mut stage, job));
    }
    let config = &process.config;
    let (files, names): (Vec<&String>, Vec<&String>) =
        args.what.iter().partition(|w| w.ends_with(".jq") || !pipe::config::is_name(w));
    let matches = args.matches.as_ref().map(|m| Place::output(m)).transpose().map_err(StageError::usage)?;
    let main = process.main_output();
    if !args.expr.is_empty() || !files.is_empty() {
        if !names.is_empty() {
            return Err(StageError::usage("jq programs and names of probes do not go together"));
        }
        let programs = grep::programs(config, &args.expr, &files)?;
        let mut stage = grep::Grep::new(programs, args, matches.is_some())?;
        return Ok(pipe::run(&mut stage, process.job(StageKind::Filter, main, &[matches])));
    }
    let mut stage = Annotate::for_shell(config, names.into_iter().cloned().collect(), args)?;
    Ok(pipe::run(&mut stage, process.job(StageKind::Filter, main, &[matches])))
}

/// What the first line of the input is, if it is among these and no event.
fn mistaken(lines: &[Line<'_>]) -> Option<Mistaken> {
    lines.first().filter(|line| line.number == 1).and_then(|line| Mistaken::of(line.bytes))
}

/// What is wrong with a `[stage.*]` table of this kind, and with the filters of the configuration.
pub fn check(config: &Arc<Config>, conf: &StageConf) -> Vec<Finding> {
    conf.settings.clone().finish().into_iter().chain(findings(config)).collect()
}

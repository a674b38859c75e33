//! The command `zentral`: every stage as a subcommand, the supervisor, and what people ask of a running hub.

#![allow(missing_docs, reason = "the command line's own words are its documentation")]

mod cat;
mod docs;
mod replay;
mod run;
mod test;
mod verify;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use pipe::cli::Global;
use pipe::{Exit, StageError};

/// A hub for endpoint events, in the Unix-pipe style.
#[derive(Debug, Parser)]
#[command(name = "zentral", version, propagate_version = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one stage of the configuration by name
    Run(run::Args),
    /// Make events of one shape
    Normalize(normalize::Args),
    /// Choose events with jq
    Filter(filter::Args),
    /// Print the committed lines of a topic
    Cat(cat::Args),
    /// Print what came before, to be fed again
    Replay(replay::Args),
    /// Run the examples beside each filter
    Test(test::Args),
    /// Look after state
    State {
        #[command(subcommand)]
        what: verify::State,
    },
    /// Print the manual page
    Man,
    /// Print completions for a shell
    Completions(docs::CompletionsArgs),
}

/// Parses the command line and does what it says.
pub fn main() -> Exit {
    let matches = match Cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { Exit::Usage } else { Exit::Done };
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return Exit::Usage;
        }
    };
    let global = &cli.global;
    match &cli.command {
        Command::Run(args) => run::run(global, args),
        Command::Normalize(args) => normalize::run(global, args),
        Command::Filter(args) => filter::run(global, args),
        Command::Cat(args) => cat::run(global, args),
        Command::Replay(args) => replay::run(global, args),
        Command::Test(args) => test::run(global, args),
        Command::State { what } => verify::run(global, what),
        Command::Man => docs::man(),
        Command::Completions(args) => docs::completions(args),
    }
}

/// Says what went wrong, and turns it into an exit code.
pub(crate) fn finish(result: Result<Exit, StageError>) -> Exit {
    match result {
        Ok(exit) => exit,
        Err(e) if e.exit == Exit::Done => Exit::Done,
        Err(e) => {
            tracing::error!("{e}");
            e.exit
        }
    }
}

/// A closed stdout is a polite end.
pub(crate) fn stdout_error(e: std::io::Error) -> StageError {
    match e.kind() {
        std::io::ErrorKind::BrokenPipe => StageError { exit: Exit::Done, text: "stdout was closed".into() },
        _ => StageError::unreachable(format!("stdout: {e}")),
    }
}

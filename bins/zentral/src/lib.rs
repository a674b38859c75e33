//! The command `zentral`: every stage as a subcommand, the supervisor, and what people ask of a running hub.

#![allow(missing_docs, reason = "the command line's own words are its documentation")]

mod ca;
mod cat;
mod check;
mod conform;
mod demo;
mod docs;
mod enrol;
mod expiry;
mod explain;
mod foreign;
mod import;
mod init;
mod jamf;
mod joined;
mod judge;
mod lent;
mod machine;
mod plan;
mod progress;
mod query;
mod replay;
mod run;
mod search;
mod states;
mod status;
mod template;
mod test;
mod token;
mod up;
mod user;
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
    /// Start and look after the stages of the configuration
    Up(up::Args),
    /// Run one stage of the configuration by name
    Run(run::Args),
    /// Listen to agents
    Receive(receive::Args),
    /// Ask other servers what they know of machines
    Pull(pull::Args),
    /// Make events of one shape
    Normalize(normalize::Args),
    /// Choose events with jq
    Filter(filter::Args),
    /// Tell people and machines
    Act(act::Args),
    /// Keep events and make them searchable
    Store(store::Args),
    /// Print the committed lines of a topic
    Cat(cat::Args),
    /// Find stored events
    Search(search::Args),
    /// Print what came before, to be fed again
    Replay(replay::Args),
    /// Show what a change of the probes would have done to the events that are kept
    Plan(plan::Args),
    /// Run the examples beside each filter
    Test(test::Args),
    /// Show why an event did or did not match, clause by clause
    Explain(explain::Args),
    /// Check everything in the configuration and the filters it names
    Check(check::Args),
    /// Show stages, lags and sums
    Status(status::Args),
    /// Who may enrol machines
    Enrol {
        #[command(subcommand)]
        what: enrol::Args,
    },
    /// What is known of machines
    Machine {
        #[command(subcommand)]
        what: machine::Args,
    },
    /// Show machines and events in a browser
    Console(console::Args),
    /// Who may use the console
    User {
        #[command(subcommand)]
        what: user::Args,
    },
    /// Tokens by which programs ask the console
    Token {
        #[command(subcommand)]
        what: token::Args,
    },
    /// Ask osquery agents now
    Query(query::Args),
    /// Look after the webhooks of a Jamf server
    Jamf {
        #[command(subcommand)]
        what: jamf::Args,
    },
    /// Show the whole pipeline at work, with simulated agents
    Demo(demo::Args),
    /// Put request cases to a server that claims to understand agents
    Conform(conform::Args),
    /// Make a pipeline.toml with certificates and a first probe
    Init(init::Args),
    /// Make probes and filters of Zentral's probes and osquery's packs
    Import(import::Args),
    /// Look after state
    State {
        #[command(subcommand)]
        what: states::State,
    },
    /// Run a program that does not outlive this one's stdin
    #[command(hide = true)]
    Guard(foreign::guard::Args),
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
        Command::Up(args) => up::run(global, args, |config, _| check::whole(config)),
        Command::Run(args) => run::run(global, args),
        Command::Receive(args) => receive::run(global, args),
        Command::Pull(args) => pull::run(global, args),
        Command::Normalize(args) => normalize::run(global, args),
        Command::Filter(args) => filter::run(global, args),
        Command::Act(args) => act::run(global, args),
        Command::Store(args) => store::run(global, args),
        Command::Cat(args) => cat::run(global, args),
        Command::Search(args) => search::run(global, args),
        Command::Replay(args) => replay::run(global, args),
        Command::Plan(args) => plan::run(global, args),
        Command::Test(args) => test::run(global, args),
        Command::Explain(args) => explain::run(global, args),
        Command::Check(args) => check::run(global, args),
        Command::Status(args) => status::run(global, args),
        Command::Enrol { what } => enrol::run(global, what),
        Command::Machine { what } => machine::run(global, what),
        Command::Console(args) => {
            lent::lend();
            console::run(global, args)
        }
        Command::User { what } => user::run(global, what),
        Command::Token { what } => token::run(global, what),
        Command::Query(args) => query::run(global, args),
        Command::Jamf { what } => jamf::run(global, what),
        Command::Demo(args) => demo::run(global, args),
        Command::Conform(args) => conform::run(global, args),
        Command::Init(args) => init::run(global, args),
        Command::Import(args) => import::run(global, args),
        Command::State { what } => states::run(global, what),
        Command::Guard(args) => foreign::guard::run(args),
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

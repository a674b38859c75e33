//! `zentral jamf`: what is to be done on a Jamf server itself.

use pipe::Exit;
use pipe::cli::Global;

use crate::finish;

/// Command line of `jamf`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Args {
    /// Make the webhooks that call this hub, or with --remove remove them
    Setup(SetupArgs),
}

/// Command line of `jamf setup`.
#[derive(Debug, Clone, clap::Args)]
pub struct SetupArgs {
    /// The server: [source.NAME] of the configuration
    pub source: String,
    /// Remove the webhooks
    #[arg(long)]
    pub remove: bool,
}

/// Does it.
pub fn run(global: &Global, args: &Args) -> Exit {
    let Args::Setup(args) = args;
    global.start_log("jamf");
    match global.load() {
        Ok(config) => finish(pull::setup(&config, &args.source, args.remove)),
        Err(exit) => exit,
    }
}

//! `pull` on its own: the stage and nothing else.

use std::process::ExitCode;

use clap::Parser;

/// Asks other servers what they know of machines.
#[derive(Parser)]
#[command(name = "pull", version)]
struct Cli {
    #[command(flatten)]
    global: pipe::cli::Global,
    #[command(flatten)]
    args: pull::Args,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    pull::run(&cli.global, &cli.args).into()
}

//! `receive`: the stage alone, so that the process that faces the network links only what it needs.

use std::process::ExitCode;

use clap::Parser;

/// Listens to agents over HTTPS and writes one raw line for each of their records
#[derive(Debug, Parser)]
#[command(name = "receive", version)]
struct Cli {
    #[command(flatten)]
    global: pipe::cli::Global,
    #[command(flatten)]
    args: receive::Args,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    receive::run(&cli.global, &cli.args).into()
}

//! `act` on its own: the stage and nothing else.

use std::process::ExitCode;

use clap::Parser;

/// Tells people and machines.
#[derive(Parser)]
#[command(name = "act", version)]
struct Cli {
    #[command(flatten)]
    global: pipe::cli::Global,
    #[command(flatten)]
    args: act::Args,
}

#[global_allocator]
static ALLOC: probe::alloc::Counting = probe::alloc::Counting;

fn main() -> ExitCode {
    let cli = Cli::parse();
    act::run(&cli.global, &cli.args).into()
}

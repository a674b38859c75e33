//! `filter` on its own: the stage and nothing else.

use std::process::ExitCode;

use clap::Parser;

/// jq programs say which events matter.
#[derive(Parser)]
#[command(name = "filter", version)]
struct Cli {
    #[command(flatten)]
    global: pipe::cli::Global,
    #[command(flatten)]
    args: filter::Args,
}

#[global_allocator]
static ALLOC: probe::alloc::Counting = probe::alloc::Counting;

fn main() -> ExitCode {
    let cli = Cli::parse();
    filter::run(&cli.global, &cli.args).into()
}

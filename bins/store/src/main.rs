//! `store` on its own: the stage and nothing else.

use std::process::ExitCode;

use clap::Parser;

/// Keeps every event and makes it searchable.
#[derive(Parser)]
#[command(name = "store", version)]
struct Cli {
    #[command(flatten)]
    global: pipe::cli::Global,
    #[command(flatten)]
    args: store::Args,
}

#[global_allocator]
static ALLOC: probe::alloc::Counting = probe::alloc::Counting;

fn main() -> ExitCode {
    let cli = Cli::parse();
    store::run(&cli.global, &cli.args).into()
}

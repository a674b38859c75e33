//! `console`: the stage alone, for hosts on which people look and nothing else runs.

use std::process::ExitCode;

use clap::Parser;

/// Shows machines and events to people, in a browser
#[derive(Debug, Parser)]
#[command(name = "console", version)]
struct Cli {
    #[command(flatten)]
    global: pipe::cli::Global,
    #[command(flatten)]
    args: console::Args,
}

#[global_allocator]
static ALLOC: probe::alloc::Counting = probe::alloc::Counting;

fn main() -> ExitCode {
    let cli = Cli::parse();
    console::run(&cli.global, &cli.args).into()
}

//! `normalize` on its own: the stage and nothing else.

use std::process::ExitCode;

use clap::Parser;

/// Makes events of one shape.
#[derive(Parser)]
#[command(name = "normalize", version)]
struct Cli {
    #[command(flatten)]
    global: pipe::cli::Global,
    #[command(flatten)]
    args: normalize::Args,
}

// The bounds of programs (`[source.NAME]` of the kind webhook) count what is allocated.
#[global_allocator]
static ALLOC: probe::alloc::Counting = probe::alloc::Counting;

fn main() -> ExitCode {
    let cli = Cli::parse();
    normalize::run(&cli.global, &cli.args).into()
}

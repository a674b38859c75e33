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

fn main() -> ExitCode {
    let cli = Cli::parse();
    normalize::run(&cli.global, &cli.args).into()
}

//! For `scripts/bench`: a stage that does nothing, to see what a hop costs: each line goes out as it came in.
//! `hop [--from topic:A] [--to topic:B] [--as NAME] [--once] [--data DIR] [--commit-bytes N]`

use std::process::ExitCode;

use clap::Parser;
use pipe::cli::{Global, Process, StageArgs};
use pipe::config::StageKind;
use pipe::{Line, Out, Stage, StageError};
use registry::db::Tx;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(flatten)]
    stage: StageArgs,
    /// Bytes of batches that may share a commit
    #[arg(long, default_value_t = 0)]
    commit_bytes: usize,
}

struct Hop {
    commit_bytes: usize,
}

impl Stage for Hop {
    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, _: &mut Tx<'_>) -> Result<(), StageError> {
        for line in lines {
            match out.line(0, line.bytes) {
                Ok(()) => out.done(),
                Err(_) => out.ignored("too_long"),
            }
        }
        Ok(())
    }

    fn commit_bytes(&self) -> usize {
        self.commit_bytes
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match Process::start(StageKind::Normalize, &cli.global, &cli.stage) {
        Ok(process) => pipe::run(
            &mut Hop { commit_bytes: cli.commit_bytes },
            process.job(StageKind::Normalize, process.main_output(), &[]),
        )
        .into(),
        Err(exit) => exit.into(),
    }
}

//! `zentral guard PROGRAM …`: stands between a stage and a foreign program, so that whatever becomes of the stage, the
//! program does not live on without it. The stage holds the other end of its stdin; when that ends, all of the group go.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pipe::cli::complain;
use rustix::process::{Signal, getpgrp, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What a shell says of a program that cannot be started.
const NOT_STARTED: i32 = 127;
/// What a shell adds to the number of the signal that ended a program.
pub const BY_SIGNAL: i32 = 128;

/// Command line of `guard`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    run: Vec<std::ffi::OsString>,
}

/// Runs the program and ends as it does.
#[expect(clippy::exit, reason = "the exit code is the program's, and it may be any")]
pub fn run(args: &Args) -> ! {
    std::process::exit(guarded(args))
}

fn guarded(args: &Args) -> i32 {
    // What is told to the group is the program's to obey.
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        if let Err(e) = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false))) {
            complain(&format!("signals: {e}"));
            return NOT_STARTED;
        }
    }
    let Some((program, arguments)) = args.run.split_first() else { return NOT_STARTED };
    let started = Command::new(program).args(arguments).stdin(Stdio::null()).spawn();
    let mut program = match started {
        Ok(program) => program,
        Err(e) => {
            complain(&format!("cannot start {}: {e}", program.display()));
            return NOT_STARTED;
        }
    };
    let watch = std::thread::Builder::new().name("guard".into()).spawn(|| {
        let mut byte = [0_u8; 64];
        while matches!(std::io::stdin().read(&mut byte), Ok(n) if n > 0) {}
        // This process is the first of its group, and goes with it.
        let _ = kill_process_group(getpgrp(), Signal::KILL);
    });
    if watch.is_err() {
        let _ = program.kill();
    }
    match program.wait() {
        Ok(status) => status.code().unwrap_or_else(|| BY_SIGNAL + status.signal().unwrap_or(0)),
        Err(e) => {
            complain(&format!("cannot wait for it: {e}"));
            NOT_STARTED
        }
    }
}

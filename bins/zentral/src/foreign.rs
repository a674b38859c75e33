//! A program of the user's own as a source: with `every` a batch per run, kept whole if it exits 0 and else not at all;
//! without it a program that runs on, whose lines are taken as they come.

pub mod guard;
mod lines;
mod program;
mod reader;
mod secrets;
mod stage;
mod state;

use pipe::cli::{Global, Process, StageArgs};
use pipe::config::{Config, Finding, StageConf, StageKind};
use pipe::{Exit, StageError};

pub use state::{Run, SCHEMA, last};

/// Runs the stage to its end.
pub fn run(global: &Global, args: &StageArgs) -> Exit {
    match Process::start(StageKind::Foreign, global, args) {
        Ok(process) => crate::finish(start(&process)),
        Err(exit) => exit,
    }
}

fn start(process: &Process) -> Result<Exit, StageError> {
    let conf = process.conf.as_ref().and_then(|stage| stage.foreign.clone());
    let conf = conf.ok_or_else(|| StageError::usage(format!("stage `{}` runs no program", process.name)))?;
    let launch = program::Launch::of(&conf, &process.config.base).map_err(StageError::usage)?;
    process.open_side_door(None)?;
    let mut stage = stage::Source::new(conf, launch, process.once());
    Ok(pipe::run(&mut stage, process.job(StageKind::Foreign, process.main_output(), &[])))
}

/// What is wrong with a table of this kind.
pub fn check(conf: &StageConf) -> Vec<Finding> {
    conf.settings.clone().finish()
}

/// What a stage lacks on this machine: its program, and the variables that it is to be given.
pub fn check_here(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    for stage in &config.stages {
        let Some(foreign) = &stage.foreign else { continue };
        let mut table = stage.settings.clone();
        if foreign.program().is_none() {
            let name = foreign.run.first().map_or("", String::as_str);
            table.fail("run", format!("there is no program `{name}` here that could be started"));
        }
        for name in foreign.env.iter().filter(|name| std::env::var_os(name).is_none()) {
            table.fail_word("env", name, format!("the environment variable {name} is not set"));
        }
        found.append(&mut table.finish());
    }
    found
}

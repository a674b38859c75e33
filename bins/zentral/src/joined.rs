//! A stage that runs several programs in one process: `run = "normalize | filter"`.

use pipe::cli::{Global, Process, StageArgs};
use pipe::config::{StageConf, StageKind};
use pipe::{Chain, Exit, Stage, StageError};

/// Runs it to its end.
pub fn run(global: &Global, conf: &StageConf, args: &StageArgs) -> Exit {
    let process = match Process::start_joined(&conf.kinds, &conf.name, global, args) {
        Ok(process) => process,
        Err(exit) => return exit,
    };
    // Filters run on a big stack; the whole loop does, so that no line pays for a thread.
    crate::finish(match probe::with_stack(|| start(&process, conf)) {
        Ok(ran) => ran,
        Err(e) => Err(StageError::state(format!("cannot start a thread: {e}"))),
    })
}

fn start(process: &Process, conf: &StageConf) -> Result<Exit, StageError> {
    process.open_side_door(None)?;
    let mut chain: Option<Chain> = None;
    for kind in &conf.kinds {
        let stage = stage(process, *kind)?;
        match &mut chain {
            Some(chain) => chain.add(kind.word(), stage),
            none => *none = Some(Chain::new(kind.word(), stage)),
        }
    }
    let (Some(mut chain), Some(last)) = (chain, conf.kinds.last()) else { return Ok(Exit::Done) };
    let job = process.job(*last, conf.to.clone(), std::slice::from_ref(&conf.matches));
    Ok(pipe::run(&mut chain, job))
}

/// One of its stages.
fn stage(process: &Process, kind: StageKind) -> Result<Box<dyn Stage>, StageError> {
    match kind {
        StageKind::Normalize => Ok(Box::new(normalize::Normalize::new(true))),
        StageKind::Filter => Ok(Box::new(filter::Annotate::for_stage(process)?)),
        StageKind::Receive
        | StageKind::Pull
        | StageKind::Act
        | StageKind::Store
        | StageKind::Console
        | StageKind::Foreign => Err(StageError::usage(format!("`{}` cannot be joined", kind.word()))),
    }
}

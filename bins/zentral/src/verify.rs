//! `zentral state verify`: recomputes the chain of sealed segments.

use pipe::cli::Global;
use pipe::config::Config;
use pipe::fs::RealFs;
use pipe::{Exit, StageError, state, topic};
use registry::db::Db;
use serde_json::json;

/// Subcommands of `state`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum State {
    /// Recompute the chain of sealed segments of every topic
    Verify,
}

/// Verifies.
pub fn run(global: &Global, _: &State) -> Exit {
    global.start_log("state");
    match global.load() {
        Ok(config) => crate::finish(verify(&config)),
        Err(exit) => exit,
    }
}

fn verify(config: &Config) -> Result<Exit, StageError> {
    let mut exit = Exit::Done;
    for stage in &config.stages {
        let Some(db) = Db::open_read_only(&config.state(stage))? else { continue };
        for name in stage.writes() {
            let sealed = state::segments(&db, name)?;
            let found = topic::verify(&RealFs, &config.topic_dir(name), &sealed)
                .map_err(|e| StageError::state(format!("topic:{name}: {e}")))?;
            let record = match found {
                Ok(good) => json!({"topic": name, "ok": true, "segments": good.segments, "bytes": good.bytes}),
                Err(bad) => {
                    exit = Exit::No;
                    json!({"topic": name, "ok": false, "at": bad.first.offset, "what": bad.what})
                }
            };
            pipe::write_stdout(format!("{record}\n").as_bytes()).map_err(crate::stdout_error)?;
        }
    }
    Ok(exit)
}

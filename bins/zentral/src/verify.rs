//! `zentral state verify`: recomputes the chain of sealed segments.

use pipe::config::Config;
use pipe::fs::RealFs;
use pipe::{Exit, StageError, state, topic};
use registry::db::Db;
use serde_json::json;

/// Verifies: a record for each topic.
pub fn verify(config: &Config) -> Result<Exit, StageError> {
    let mut exit = Exit::Done;
    for stage in &config.stages {
        let Some(db) = Db::open_read_only(config.state(stage))? else { continue };
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

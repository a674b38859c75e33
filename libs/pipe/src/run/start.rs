//! Where readers begin that have never read.

use std::time::Duration;

use crate::config::{Config, Place, StageConf, StageKind};
use crate::fs::RealFs;
use crate::input::{Input, parse_start};
use crate::topic::Start;
use crate::{Exit, StageError, kafka, state};

/// Records where the readers of a stage start, before any writer appends; what is recorded already stays.
///
/// A new `act` starts at the end as it stands, every other stage at the first line kept; `start` overrides. Where
/// nothing is to be recorded nobody is waited for; else the state's lock is, for `wait` (none: for ever) or until `stop`.
pub fn record_start(
    config: &Config,
    stage: &StageConf,
    wait: Option<Duration>,
    stop: &dyn Fn() -> bool,
) -> Result<(), StageError> {
    let inputs: Vec<String> = stage.from.iter().filter(|p| p.is_topic()).map(Place::to_string).collect();
    let fs = RealFs::shared();
    let home = config.state(stage);
    if stage.runs(StageKind::Receive) || state::recorded(&home, &inputs) {
        return Ok(());
    }
    // Whoever holds the lock may be about to record the very same.
    let known = || state::recorded(&home, &inputs);
    let _lock = match state::lock(&fs, &config.state_lock(&home), wait, &|| stop() || known()) {
        Err(e) if e.exit == Exit::Done && known() => return Ok(()),
        other => other?,
    };
    let mut db = match state::open_beside(&home, &[state::SCHEMA], wait, &|| stop() || known()) {
        Err(e) if e.exit == Exit::Done && known() => return Ok(()),
        other => other?,
    };
    let default = if stage.runs(StageKind::Act) { "last" } else { "first" };
    let start = stage.start.as_deref().unwrap_or(default);
    let start = parse_start(start).unwrap_or(Start::First);
    for place in &stage.from {
        if let Some(topic) = place.kafka() {
            kafka::record_start(config, topic, &mut db, start)?;
        }
        let Some(topic) = place.topic() else { continue };
        let name = place.to_string();
        if state::position(&db, &name)?.is_none() {
            let input = Input::topic(&fs, &config.topic_dir(topic), name.clone(), None, start)?;
            let mut tx = db.begin()?;
            state::set_position(&mut tx, &name, &input.position)?;
            tx.commit()?;
        }
    }
    Ok(())
}

//! A source that the hub asks itself, Jamf above all: when all its machines were told last, and what waits.

use event::Time;
use pipe::config::StageKind;
use registry::db::{Db, DbError};
use registry::pulled;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::ask::Asked;
use crate::text;

/// What its page shows.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Pulled {
    /// The stage that asks; none: nobody does, and it is known by its webhooks alone.
    pub stage: Option<String>,
    /// When all machines were told last.
    pub last: Option<Time>,
    /// Machines that the server has told of.
    pub known: u64,
    /// Machines that wait to be asked for.
    pub wanted: u64,
    /// Why that cannot be said.
    pub away: Option<String>,
}

impl Pulled {
    pub fn known(&self) -> String {
        text::number(self.known)
    }

    pub fn wanted(&self) -> String {
        text::number(self.wanted)
    }
}

/// None: machines enrol with it, or it is no server.
pub fn look(app: &App, asked: &Asked, name: &str) -> Option<Pulled> {
    let config = app.live().config.clone();
    if !["jamf", "sal", "watchman"].contains(&config.source_kind(name)) {
        return None;
    }
    // What a server has is of all units.
    let all = asked.who.as_ref().is_some_and(|who| who.units.is_empty());
    let asks = |stage: &&pipe::config::StageConf| stage.runs(StageKind::Pull) && stage.source.as_deref() == Some(name);
    let Some(stage) = config.stages.iter().find(asks) else { return Some(Pulled::default()) };
    let mut page = Pulled { stage: Some(stage.name.clone()), ..Pulled::default() };
    let home = config.state(stage);
    let read = || -> Result<pulled::Pulled, DbError> {
        Ok(match Db::open_read_only(&home)? {
            Some(db) => pulled::of(&db, name)?,
            None => pulled::Pulled::default(),
        })
    };
    match read() {
        Ok(told) => {
            page.last = told.at;
            (page.known, page.wanted) = if all { (told.known, told.wanted) } else { (0, 0) };
        }
        Err(why) => {
            tracing::warn!("{home}: {why}");
            page.away = Some(format!("The state of the stage {} cannot be read.", stage.name));
        }
    }
    Some(page)
}

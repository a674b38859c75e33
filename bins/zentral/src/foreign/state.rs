//! What a foreign source remembers: when its last run began, and whether it failed.

use event::Time;
use pipe::StageError;
use pipe::config::{Config, StageConf};
use registry::db::{Db, DbError, Schema, Tx};

pub const SCHEMA: Schema = Schema {
    name: "foreign",
    migrations: &["CREATE TABLE runs (id INTEGER PRIMARY KEY, begun BIGINT NOT NULL, failed TEXT);"],
};

/// A run of a foreign program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// When it began.
    pub begun: Time,
    /// How it failed, if it did.
    pub failed: Option<String>,
}

/// The last run that ended.
pub fn read(tx: &mut Tx<'_>) -> Result<Option<Run>, DbError> {
    Ok(tx.query("SELECT begun, failed FROM runs WHERE id = 1", &[])?.first().map(of))
}

/// A run has ended.
pub fn write(tx: &mut Tx<'_>, run: &Run) -> Result<(), DbError> {
    let sql = "INSERT INTO runs (id, begun, failed) VALUES (1, $1, $2) \
        ON CONFLICT (id) DO UPDATE SET begun = excluded.begun, failed = excluded.failed";
    tx.execute(sql, &[run.begun.ms().into(), run.failed.as_deref().into()])?;
    Ok(())
}

/// The last run of a stage that ended, looked at from outside.
pub fn last(config: &Config, stage: &StageConf) -> Result<Option<Run>, StageError> {
    let Some(db) = Db::open_read_only(config.state(stage))? else { return Ok(None) };
    if !db.has_table("runs")? {
        return Ok(None);
    }
    Ok(db.query("SELECT begun, failed FROM runs WHERE id = 1", &[])?.first().map(of))
}

fn of(row: &registry::db::Row) -> Run {
    Run { begun: Time::from_ms(row.int(0)), failed: row.opt_text(1).map(ToOwned::to_owned) }
}

//! The ledger of actions, `state/act.db`: its tables, which `act` writes, and what everybody else reads of them.

pub mod incidents;
pub mod lanes;
pub mod letters;
mod schema;

use crate::db::{Db, DbError, Home};

pub use schema::SCHEMA;

/// The number of the migration with which [`SCHEMA`] has the tables of incidents and brakes.
const CONDITIONS: u64 = 3;

/// The ledger to look at; none if `act` never ran here, or not since a version that had no incidents.
pub fn look(home: impl Into<Home>) -> Result<Option<Db>, DbError> {
    let Some(db) = Db::open_read_only(home)? else { return Ok(None) };
    if !db.has_table("schemas")? {
        return Ok(None);
    }
    let sql = "SELECT 1 FROM schemas WHERE name = $1 AND number >= $2";
    let there = !db.query(sql, &[SCHEMA.name.into(), CONDITIONS.into()])?.is_empty();
    Ok(there.then_some(db))
}

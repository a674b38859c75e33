//! The incidents as people see them: read-only; changes are orders.

use registry::db::{DbError, Home};
use registry::ledger::{incidents, look};
use serde_json::Value;

/// Those that are not closed, or all that are still known; the last seen first, a JSON object each. `state` is
/// `state/act.db`; if there is none, there are no incidents.
pub fn list(state: impl Into<Home>, all: bool) -> Result<Vec<Value>, DbError> {
    let Some(db) = look(state)? else { return Ok(Vec::new()) };
    Ok(incidents::list(&db, all)?.iter().map(incidents::Incident::line).collect())
}

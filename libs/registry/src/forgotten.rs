//! The machines that were forgotten by hand, for whoever still holds something about them.

use crate::changes::{FORGOTTEN, SCHEMA};
use crate::db::{Db, DbError, has_schema};

/// A machine that was forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// Its key.
    pub machine: String,
    /// When that was last said, in ms since 1970: what the hub took after it is about one that came back.
    pub at: i64,
}

/// Those since a moment (ms since 1970), by key.
pub fn since(registry: &Db, at: i64) -> Result<Vec<Forgotten>, DbError> {
    // A file of an older version has no such table until somebody changes something.
    if !has_schema(registry, &SCHEMA)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT machine, MAX(at) FROM changes WHERE type = $1 AND at >= $2 GROUP BY machine ORDER BY machine";
    let rows = registry.query(sql, &[FORGOTTEN.into(), at.into()])?;
    Ok(rows.iter().map(|row| Forgotten { machine: row.text(0).to_owned(), at: row.int(1) }).collect())
}

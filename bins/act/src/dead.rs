//! The dead letters, as `zentral act dead|retry|drop` sees them: read-only; changes are orders.

use event::Time;
use registry::db::{Db, DbError, Home, Row, Value};
use serde_json::json;

use crate::orders;

/// Dead letters of one action, or of all, that died since (ms since 1970); oldest first, a JSON object each. `state` is
/// `state/act.db`; if there is none, there are no dead letters.
pub fn list(state: impl Into<Home>, action: Option<&str>, since: i64) -> Result<Vec<serde_json::Value>, DbError> {
    let Some(db) = Db::open_read_only(state)? else { return Ok(Vec::new()) };
    if !has_ledger(&db)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT id, event, probe, action, target, error, tries, received, updated FROM ledger \
               WHERE state = 'dead' AND updated >= $1 AND ($2 = '' OR action = $2) ORDER BY updated, seq";
    let rows = db.query(sql, &[since.into(), Value::Text(action.unwrap_or("").to_owned())])?;
    Ok(rows.iter().map(letter).collect())
}

/// A state file that was never started has no tables yet.
fn has_ledger(db: &Db) -> Result<bool, DbError> {
    match db.query("SELECT number FROM schemas WHERE name = 'act'", &[]) {
        Ok(rows) => Ok(!rows.is_empty()),
        Err(DbError::Other(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn letter(row: &Row) -> serde_json::Value {
    let mut letter = json!({
        "id": row.text(0), "event": row.text(1), "probe": row.text(2), "action": row.text(3),
        "error": row.text(5), "tries": row.int(6),
        "received": Time::from_ms(row.int(7)), "since": Time::from_ms(row.int(8)),
    });
    if let (false, Some(map)) = (row.text(4).is_empty(), letter.as_object_mut()) {
        map.insert("target".into(), row.text(4).into());
    }
    letter
}

/// The full ids of the dead letters that `words` name: whole ids or unambiguous beginnings. The error names the word
/// that fits none or several.
pub fn find(state: impl Into<Home>, words: &[String]) -> Result<Result<Vec<String>, String>, DbError> {
    let all: Vec<String> =
        list(state, None, i64::MIN)?.iter().filter_map(|letter| Some(letter.get("id")?.as_str()?.to_owned())).collect();
    let mut found = Vec::new();
    for word in words {
        let mut hits = all.iter().filter(|id| id.starts_with(word.as_str()) && !word.is_empty());
        match (hits.next(), hits.next()) {
            (Some(id), None) => found.push(id.clone()),
            (None, _) => return Ok(Err(format!("no dead letter has the id `{word}`"))),
            (Some(_), Some(_)) => return Ok(Err(format!("several dead letters' ids begin with `{word}`"))),
        }
    }
    Ok(Ok(found))
}

/// `retry` or `drop`, to be carried out by `act` now or when it runs next. Ids are those of [`find`].
pub fn order(registry: impl Into<Home>, verb: &str, ids: &[String], now: Time) -> Result<(), DbError> {
    orders::give(&registry.into(), verb, ids, now.ms())
}

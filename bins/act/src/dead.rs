//! The dead letters, as `zentral act dead|retry|drop` sees them: read-only; changes are orders.

use event::Time;
use registry::db::{DbError, Home};
use registry::ledger::{letters, look};

use crate::orders;

/// Dead letters of one action, or of all, that died since (ms since 1970); oldest first, a JSON object each. `state` is
/// `state/act.db`; if there is none, there are no dead letters.
pub fn list(state: impl Into<Home>, action: Option<&str>, since: i64) -> Result<Vec<serde_json::Value>, DbError> {
    let Some(db) = look(state)? else { return Ok(Vec::new()) };
    Ok(letters::list(&db, action.unwrap_or_default(), since)?.iter().map(letters::Letter::line).collect())
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

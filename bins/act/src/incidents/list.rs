//! The incidents as people see them: read-only; changes are orders.

use registry::db::{Db, DbError, Home};
use serde_json::{Value, json};

use super::{columns, read};

/// Those that are not closed, or all that are still known; the last seen first, a JSON object each. `state` is
/// `state/act.db`; if there is none, there are no incidents.
pub fn list(state: impl Into<Home>, all: bool) -> Result<Vec<Value>, DbError> {
    let Some(db) = Db::open_read_only(state)? else { return Ok(Vec::new()) };
    if !is_there(&db) {
        return Ok(Vec::new());
    }
    let which = if all { "" } else { " WHERE status <> 'closed'" };
    let rows = db.query(&format!("SELECT {} FROM incidents{which} ORDER BY last DESC, id", columns()), &[])?;
    Ok(rows.iter().map(|row| shown(&read(row))).collect())
}

/// A file of an older version has no such table.
fn is_there(db: &Db) -> bool {
    db.query("SELECT id FROM incidents LIMIT 1", &[]).is_ok()
}

fn shown(row: &super::Row) -> Value {
    let mut all = json!({"id": row.id, "probe": row.probe, "key": row.key, "severity": row.severity,
        "title": row.title, "machine": row.machine, "event": row.event, "act": row.act});
    let incident = serde_json::to_value(row.shown()).unwrap_or_default();
    if let (Some(all), Value::Object(incident)) = (all.as_object_mut(), incident) {
        all.extend(incident.into_iter().filter(|(key, _)| key != "id"));
    }
    all
}

//! What was changed in the registry, as events: a row each, written in the transaction that makes the change and read as
//! the input `registry:changes` (design § 3). Writers take turns, so the numbers become visible in order.

use event::{Cause, Event, Machine, Time, VERSION, id};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value};

use crate::db::{Db, DbError, Row, Schema, Tx};

/// The table of changes, in `registry.db`.
pub const SCHEMA: Schema = Schema {
    name: "changes",
    migrations: &[
        "CREATE TABLE changes (n BIGINT PRIMARY KEY, at BIGINT NOT NULL, type TEXT NOT NULL, \
                   machine TEXT NOT NULL, line BYTEA NOT NULL);",
        "CREATE INDEX changes_of_machines ON changes (machine, type, n);",
    ],
};

/// For the state file of whoever obeys changes without reading them as an input: how far it came.
pub const OBEYED: Schema =
    Schema { name: "obeyed", migrations: &["CREATE TABLE obeyed (one BIGINT PRIMARY KEY, n BIGINT NOT NULL);"] };

/// The type of the event by which everything that is known of a machine goes.
pub const FORGOTTEN: &str = "machine_forgotten";

/// The type of the event by which a clean sync of a machine's Santa is ordered.
pub const SYNC_ORDERED: &str = "santa_sync_ordered";

/// The type of the event by which an enrolment that waits for somebody's leave has it.
pub const APPROVED: &str = "enrolment_approved";

/// The type of the event by which a machine gets a tag or loses it.
pub const TAGGED: &str = "machine_tag";

/// The type of the event by which a rule of Santa's comes or goes that no file holds.
pub const RULE_CHANGED: &str = "santa_rule_update";

/// The type of the event that says who changed what, or signed in to the console.
pub const AUDIT: &str = "audit";

/// Says that something was changed about a machine. `machine`: what is known of it.
pub fn say(tx: &mut Tx<'_>, type_: &str, machine: Machine, payload: &Value, now: Time) -> Result<(), DbError> {
    say_for(tx, type_, machine, payload, now, None)
}

/// The same, of what an action did: what led to it.
pub fn say_for(
    tx: &mut Tx<'_>,
    type_: &str,
    machine: Machine,
    payload: &Value,
    now: Time,
    cause: Option<Cause>,
) -> Result<(), DbError> {
    say_of(tx, type_, Some(machine), payload, now, cause)
}

/// The same, of something that is about one machine or about many.
pub fn say_of(
    tx: &mut Tx<'_>,
    type_: &str,
    machine: Option<Machine>,
    payload: &Value,
    now: Time,
    cause: Option<Cause>,
) -> Result<(), DbError> {
    let rows = tx.query("SELECT COALESCE(MAX(n), 0) + 1 FROM changes", &[])?;
    let n = rows.first().map_or(1, |row| row.int(0));
    let key = machine.as_ref().and_then(Machine::key).unwrap_or_default().to_owned();
    let payload = to_raw_value(payload).map_err(|e| DbError::Other(e.to_string()))?;
    let event = Event {
        v: VERSION,
        id: id::event_id(now.ms(), "zentral", &key, format!("{n} {type_}{}", payload.get()).as_bytes(), 0),
        type_: type_.to_owned(),
        time: now,
        received: now,
        source: "zentral".to_owned(),
        tags: vec![if type_ == AUDIT { AUDIT } else { "inventory" }.to_owned()],
        machine,
        request: None,
        objects: Vec::new(),
        cause,
        probes: Vec::new(),
        extra: Map::new(),
        payload,
    };
    let mut line = Vec::new();
    event.write(&mut line);
    let sql = "INSERT INTO changes (n, at, type, machine, line) VALUES ($1, $2, $3, $4, $5)";
    tx.execute(sql, &[n.into(), now.ms().into(), type_.into(), key.into(), line.into()]).map(|_| ())
}

/// The number of the last change.
pub fn last(db: &Db) -> Result<u64, DbError> {
    if !is_there(db)? {
        return Ok(0);
    }
    Ok(db.query("SELECT COALESCE(MAX(n), 0) FROM changes", &[])?.first().map_or(0, |row| row.uint(0)))
}

/// The lines after number `after`, at most `limit`, each with its number.
pub fn since(db: &Db, after: u64, limit: u64) -> Result<Vec<(u64, Vec<u8>)>, DbError> {
    if !is_there(db)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT n, line FROM changes WHERE n > $1 ORDER BY n LIMIT $2";
    let rows = db.query(sql, &[after.into(), limit.into()])?;
    Ok(rows.iter().map(|row| (row.uint(0), row.blob(1).to_vec())).collect())
}

/// The last changes of one type about one machine, the newest first.
pub fn last_of(tx: &mut Tx<'_>, machine: &str, type_: &str, limit: u64) -> Result<Vec<Event>, DbError> {
    let sql = "SELECT line FROM changes WHERE machine = $1 AND type = $2 ORDER BY n DESC LIMIT $3";
    let rows = tx.query(sql, &[machine.into(), type_.into(), limit.into()])?;
    Ok(rows.iter().filter_map(|row| Event::parse(row.blob(0).trim_ascii_end()).ok()).collect())
}

/// A change that `receive` obeys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its number.
    pub n: u64,
    /// [`FORGOTTEN`], [`SYNC_ORDERED`] or [`APPROVED`].
    pub type_: String,
    /// When it was given, in ms since 1970.
    pub at: i64,
    /// The machine key.
    pub machine: String,
    /// The payload of its event.
    pub payload: Value,
}

/// The orders after change number `after`.
pub fn orders(db: &Db, after: u64) -> Result<Vec<Order>, DbError> {
    if !is_there(db)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT n, type, machine, line, at FROM changes WHERE n > $1 AND type IN ($2, $3, $4) ORDER BY n";
    let rows = db.query(sql, &[after.into(), FORGOTTEN.into(), SYNC_ORDERED.into(), APPROVED.into()])?;
    let payload = |line: &[u8]| serde_json::from_str(Event::parse(line.trim_ascii_end()).ok()?.payload.get()).ok();
    let order = |row: &Row| Order {
        n: row.uint(0),
        type_: row.text(1).to_owned(),
        at: row.int(4),
        machine: row.text(2).to_owned(),
        payload: payload(row.blob(3)).unwrap_or_default(),
    };
    Ok(rows.iter().map(order).collect())
}

/// The number of the last change that was obeyed.
pub fn obeyed(tx: &mut Tx<'_>) -> Result<u64, DbError> {
    Ok(tx.query("SELECT n FROM obeyed", &[])?.first().map_or(0, |row| row.uint(0)))
}

/// Writes that down.
pub fn set_obeyed(tx: &mut Tx<'_>, n: u64) -> Result<(), DbError> {
    let sql = "INSERT INTO obeyed (one, n) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET n = excluded.n";
    tx.execute(sql, &[n.into()]).map(|_| ())
}

/// A file of an older version has no such table until somebody changes something.
fn is_there(db: &Db) -> Result<bool, DbError> {
    crate::db::has_schema(db, &SCHEMA)
}

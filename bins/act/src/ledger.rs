//! The ledger: every delivery, what became of it, and which matches were taken. It is the queue as well (design § 7).

mod lines;

use event::Event;
use registry::db::{DbError, Row, Tx, Value};
use sha2::Digest as _;

use crate::hash;
use crate::told::Kept;

pub use lines::{KeptLine, change_line, keep};
pub use registry::ledger::SCHEMA;

/// What a delivery's row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Waits for its time.
    Pending,
    /// A try is under way, or was when the process ended.
    Trying,
    /// Done.
    Done,
    /// In the dead letters.
    Dead,
    /// Too old when it was its turn.
    Stale,
    /// Dropped by order.
    Dropped,
}

impl State {
    /// Whether a row in this state needs its line.
    pub fn keeps_line(self) -> bool {
        matches!(self, Self::Pending | Self::Trying | Self::Dead)
    }

    fn of(word: &str) -> Option<Self> {
        let all = [Self::Pending, Self::Trying, Self::Done, Self::Dead, Self::Stale, Self::Dropped];
        all.into_iter().find(|state| state.word() == word)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Trying => "trying",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Stale => "stale",
            Self::Dropped => "dropped",
        }
    }
}

/// One row, as far as anybody works with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// 20 hex digits of (event, probe, action, target).
    pub id: String,
    /// The idempotency key: a UUID of the same.
    pub key: String,
    /// Id of the event.
    pub event: String,
    /// The probe; empty for an event that none chose.
    pub probe: String,
    /// The action.
    pub action: String,
    /// Whom it goes to; empty if the action has one nameless target.
    pub target: String,
    /// Tries so far.
    pub tries: u32,
    /// How often it was raised from the dead letters.
    pub round: u32,
    /// When the hub took the event, in ms since 1970.
    pub received: i64,
    /// When it gives up, in ms since 1970.
    pub expires: i64,
    /// What the last try said.
    pub error: String,
    /// Tells deliveries of the same match apart: where nothing is remembered, of a digest, of what was done by hand.
    pub nonce: u64,
    /// What it tells beside its match.
    pub told: Kept,
    /// The incident that it is about; empty: none.
    pub incident: String,
    /// The digest whose matches it tells; empty: none.
    pub digest: String,
    /// The match.
    pub line: Vec<u8>,
}

const COLUMNS: &str = "id, idem, event, probe, action, target, tries, round, received, expires, error, nonce, \
                       told, incident, digest, (SELECT lines.line FROM lines WHERE lines.id = line_id)";

fn read(row: &Row) -> Delivery {
    let text = |i| row.text(i).to_owned();
    let small = |i| u32::try_from(row.int(i)).unwrap_or(u32::MAX);
    Delivery {
        id: text(0),
        key: text(1),
        event: text(2),
        probe: text(3),
        action: text(4),
        target: text(5),
        tries: small(6),
        round: small(7),
        received: row.int(8),
        expires: row.int(9),
        error: text(10),
        nonce: row.uint(11),
        told: Kept::read(row.text(12)),
        incident: text(13),
        digest: text(14),
        line: row.blob(15).to_vec(),
    }
}

impl Delivery {
    /// A delivery that is not in the ledger yet.
    pub fn new(event: &Event, probe: &str, action: &str, target: &str, nonce: u64) -> Self {
        let mut hash = hash::of(&[event.id.as_str(), probe, action, target]);
        if nonce != 0 {
            hash.update(nonce.to_be_bytes());
        }
        let hex = hash::hex(hash);
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        // UUIDv8 (RFC 9562): version in the 13th digit, variant in the 17th.
        let key = format!("{}-{}-8{}-8{}-{}", part(20, 28), part(28, 32), part(32, 35), part(35, 38), part(38, 50));
        Self {
            id: part(0, 20).to_owned(),
            key,
            event: event.id.clone(),
            probe: probe.to_owned(),
            action: action.to_owned(),
            target: target.to_owned(),
            tries: 0,
            round: 0,
            received: event.received.ms(),
            expires: i64::MAX,
            error: String::new(),
            nonce,
            told: Kept::plain(),
            incident: String::new(),
            digest: String::new(),
            line: Vec::new(),
        }
    }
}

/// The event with the one probe that a delivery is about (none: no probe at all).
pub fn line_for(event: &mut Event, probe: Option<event::ProbeMatch>) -> Vec<u8> {
    event.probes = probe.into_iter().collect();
    event.extra.remove("probes_more");
    let mut line = Vec::new();
    event.write(&mut line);
    line
}

/// Takes (event, probe); `false`: it was taken before.
pub fn take(tx: &mut Tx<'_>, event: &str, probe: &str, now: i64) -> Result<bool, DbError> {
    let sql = "INSERT INTO taken (event, probe, created) VALUES ($1, $2, $3) ON CONFLICT (event, probe) DO NOTHING";
    Ok(tx.execute(sql, &[event.into(), probe.into(), now.into()])? > 0)
}

/// Says what held a match back that was taken.
pub fn held_back(tx: &mut Tx<'_>, event: &str, probe: &str, why: &str) -> Result<(), DbError> {
    let sql = "UPDATE taken SET why = $3 WHERE event = $1 AND probe = $2";
    tx.execute(sql, &[event.into(), probe.into(), why.into()]).map(|_| ())
}

/// Writes a new row; `false`: it is there already. `seq` orders rows that are due at the same time. A row with a
/// `line_id` needs the line to be kept in the same transaction.
pub fn insert(
    tx: &mut Tx<'_>,
    row: &Delivery,
    line_id: Option<&str>,
    state: State,
    seq: i64,
    now: i64,
) -> Result<bool, DbError> {
    let sql = "INSERT INTO ledger (id, idem, event, probe, action, target, state, due, seq, tries, round, received, \
               created, updated, expires, error, nonce, line_id, told, incident, digest, ends) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0, $10, $8, $8, $11, $12, $13, $14, $15, $16, $17, $18) \
               ON CONFLICT (event, probe, action, target, nonce) DO NOTHING";
    let values: [Value; 18] = [
        row.id.as_str().into(),
        row.key.as_str().into(),
        row.event.as_str().into(),
        row.probe.as_str().into(),
        row.action.as_str().into(),
        row.target.as_str().into(),
        state.word().into(),
        now.into(),
        seq.into(),
        row.received.into(),
        row.expires.into(),
        row.error.as_str().into(),
        row.nonce.into(),
        line_id.into(),
        row.told.text().into(),
        row.incident.as_str().into(),
        row.digest.as_str().into(),
        (row.told.ends() && !row.incident.is_empty()).into(),
    ];
    Ok(tx.execute(sql, &values)? > 0)
}

/// What is told of an incident goes out in order: a row waits for those before it.
const IN_ORDER: &str = "(incident = '' OR NOT EXISTS (SELECT 1 FROM ledger AS before WHERE before.incident <> '' \
    AND before.incident = ledger.incident AND before.action = ledger.action AND before.target = ledger.target \
    AND before.seq < ledger.seq AND before.state IN ('pending', 'trying')))";

/// Which of the rows that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// What ends an incident: a lane that stands still lets it through, for it undoes what was done.
    Ends,
}

impl Which {
    fn sql(self) -> &'static str {
        match self {
            Self::All => "1 = 1",
            Self::Ends => "ends = 1",
        }
    }
}

/// Whether an action was told of an incident before this row, or may have been.
pub fn was_told(tx: &mut Tx<'_>, row: &Delivery) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM ledger WHERE incident = $1 AND incident <> '' AND action = $2 AND target = $3 AND id <> $4 \
               AND (state = 'done' OR (state IN ('dead', 'dropped', 'trying') AND tries > 0)) LIMIT 1";
    let values = [&row.incident, &row.action, &row.target, &row.id].map(|text| text.as_str().into());
    Ok(!tx.query(sql, &values)?.is_empty())
}

/// Where a row stands in the queue of its action: when it is due, and its number.
pub type Place = (i64, i64);

/// Rows of one action that are due, oldest first: ids and places.
pub fn due(
    tx: &mut Tx<'_>,
    action: &str,
    now: i64,
    which: Which,
    limit: usize,
) -> Result<Vec<(String, Place)>, DbError> {
    let which = which.sql();
    let sql = format!(
        "SELECT id, due, seq FROM ledger WHERE state = 'pending' AND action = $1 AND due <= $2 AND {IN_ORDER} \
         AND {which} ORDER BY due, seq LIMIT $3"
    );
    let rows = tx.query(&sql, &[action.into(), now.into(), (limit as u64).into()])?;
    Ok(rows.iter().map(|row| (row.text(0).to_owned(), (row.int(1), row.int(2)))).collect())
}

/// Where the next that is told of a row's incident waits. None of them is being tried while this one is not.
pub fn next_of_incident(tx: &mut Tx<'_>, row: &Delivery) -> Result<Option<Place>, DbError> {
    if row.incident.is_empty() {
        return Ok(None);
    }
    // With `state = 'pending'` SQLite would go through all that waits, in its order.
    let sql = "SELECT due, seq FROM ledger WHERE incident = $1 AND incident <> '' AND action = $2 AND target = $3 \
               AND state IN ('pending', 'trying') AND id <> $4 ORDER BY due, seq LIMIT 1";
    let values = [&row.incident, &row.action, &row.target, &row.id].map(|text| text.as_str().into());
    Ok(tx.query(sql, &values)?.first().map(|row| (row.int(0), row.int(1))))
}

/// Ids of rows of one action that wait before the end of their incident. What is being tried ends by itself.
pub fn before_ends(tx: &mut Tx<'_>, action: &str, limit: usize) -> Result<Vec<String>, DbError> {
    let sql = "SELECT before.id FROM ledger AS last, ledger AS before WHERE last.state = 'pending' AND last.ends = 1 \
               AND last.action = $1 AND before.incident <> '' AND before.incident = last.incident \
               AND before.action = last.action AND before.target = last.target AND before.seq < last.seq \
               AND before.ends = 0 AND before.state = 'pending' ORDER BY before.seq LIMIT $2";
    ids(tx, sql, &[action.into(), (limit as u64).into()])
}

/// When the next row of an action is due.
pub fn next_due(tx: &mut Tx<'_>, action: &str, which: Which) -> Result<Option<i64>, DbError> {
    let which = which.sql();
    let sql = format!(
        "SELECT due FROM ledger WHERE state = 'pending' AND action = $1 AND {IN_ORDER} AND {which} \
         ORDER BY due, seq LIMIT 1"
    );
    Ok(tx.query(&sql, &[action.into()])?.first().map(|row| row.int(0)))
}

/// Says that a try begins. Must be committed before it does.
pub fn trying(tx: &mut Tx<'_>, id: &str, now: i64) -> Result<(), DbError> {
    let sql = "UPDATE ledger SET state = 'trying', tries = tries + 1, updated = $2 WHERE id = $1";
    tx.execute(sql, &[id.into(), now.into()]).map(|_| ())
}

/// Back into the queue, not before `due`.
pub fn later(tx: &mut Tx<'_>, id: &str, due: i64, error: &str, now: i64) -> Result<(), DbError> {
    let sql = "UPDATE ledger SET state = 'pending', due = $2, error = $3, updated = $4 WHERE id = $1";
    tx.execute(sql, &[id.into(), due.into(), error.into(), now.into()]).map(|_| ())
}

/// Back into the queue, at the place it had.
pub fn in_turn(tx: &mut Tx<'_>, id: &str, error: &str, now: i64) -> Result<(), DbError> {
    let sql = "UPDATE ledger SET state = 'pending', due = created, error = $2, updated = $3 WHERE id = $1";
    tx.execute(sql, &[id.into(), error.into(), now.into()]).map(|_| ())
}

/// What was tried and waits goes back to the place it had.
pub fn all_in_turn(tx: &mut Tx<'_>, action: &str) -> Result<(), DbError> {
    let sql = "UPDATE ledger SET due = created WHERE state = 'pending' AND tries > 0 AND action = $1 AND due > created";
    tx.execute(sql, &[action.into()]).map(|_| ())
}

/// Back into the queue: the try that was announced did not begin.
pub fn not_begun(tx: &mut Tx<'_>, id: &str) -> Result<(), DbError> {
    tx.execute("UPDATE ledger SET state = 'pending', tries = tries - 1 WHERE id = $1", &[id.into()]).map(|_| ())
}

/// Not before then, without having been tried.
pub fn postpone(tx: &mut Tx<'_>, id: &str, due: i64, why: &str) -> Result<(), DbError> {
    let sql = "UPDATE ledger SET due = $2, error = $3 WHERE id = $1";
    tx.execute(sql, &[id.into(), due.into(), why.into()]).map(|_| ())
}

/// Its end; only a dead letter keeps its line.
pub fn end(tx: &mut Tx<'_>, id: &str, state: State, error: &str, now: i64) -> Result<(), DbError> {
    if !state.keeps_line() {
        lines::free(tx, id)?;
    }
    let sql = "UPDATE ledger SET state = $2, error = $3, updated = $4 WHERE id = $1";
    tx.execute(sql, &[id.into(), state.word().into(), error.into(), now.into()]).map(|_| ())
}

/// Takes a row out, where nothing is remembered.
pub fn remove(tx: &mut Tx<'_>, id: &str) -> Result<(), DbError> {
    lines::free(tx, id)?;
    tx.execute("DELETE FROM ledger WHERE id = $1", &[id.into()]).map(|_| ())
}

/// Raises a dead letter; `false` if there is none of this id.
pub fn raise(tx: &mut Tx<'_>, id: &str, now: i64, expires: i64) -> Result<bool, DbError> {
    let sql = "UPDATE ledger SET state = 'pending', due = $2, updated = $2, expires = $3, round = round + 1 \
               WHERE id = $1 AND state = 'dead'";
    Ok(tx.execute(sql, &[id.into(), now.into(), expires.into()])? > 0)
}

/// The dead letter of this id.
pub fn dead(tx: &mut Tx<'_>, id: &str) -> Result<Option<Delivery>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM ledger WHERE id = $1 AND state = 'dead'");
    Ok(tx.query(&sql, &[id.into()])?.first().map(read))
}

/// One row. Where there may be many they are read one by one: each holds a line of up to 4 MiB.
pub fn row(tx: &mut Tx<'_>, id: &str) -> Result<Option<Delivery>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM ledger WHERE id = $1");
    Ok(tx.query(&sql, &[id.into()])?.first().map(read))
}

/// Ids of rows whose try was cut off.
pub fn found_trying(tx: &mut Tx<'_>, limit: usize) -> Result<Vec<String>, DbError> {
    ids(tx, "SELECT id FROM ledger WHERE state = 'trying' ORDER BY seq LIMIT $1", &[(limit as u64).into()])
}

/// Ids of waiting rows that should have given up by now.
pub fn expired(tx: &mut Tx<'_>, now: i64, limit: usize) -> Result<Vec<String>, DbError> {
    let sql = "SELECT id FROM ledger WHERE state = 'pending' AND expires <= $1 ORDER BY expires LIMIT $2";
    ids(tx, sql, &[now.into(), (limit as u64).into()])
}

/// Ids of waiting rows of one action.
pub fn waiting(tx: &mut Tx<'_>, action: &str, limit: usize) -> Result<Vec<String>, DbError> {
    let sql = "SELECT id FROM ledger WHERE state = 'pending' AND action = $1 ORDER BY due, seq LIMIT $2";
    ids(tx, sql, &[action.into(), (limit as u64).into()])
}

/// Ids of rows that keep their line and are not being tried.
pub fn held(tx: &mut Tx<'_>) -> Result<Vec<String>, DbError> {
    let sql = "SELECT id FROM ledger WHERE state = 'pending' UNION ALL SELECT id FROM ledger WHERE state = 'dead'";
    ids(tx, sql, &[])
}

/// What a row says.
pub fn state(tx: &mut Tx<'_>, id: &str) -> Result<Option<State>, DbError> {
    let rows = tx.query("SELECT state FROM ledger WHERE id = $1", &[id.into()])?;
    Ok(rows.first().and_then(|row| State::of(row.text(0))))
}

fn ids(tx: &mut Tx<'_>, sql: &str, values: &[Value]) -> Result<Vec<String>, DbError> {
    Ok(tx.query(sql, values)?.iter().map(|row| row.text(0).to_owned()).collect())
}

/// How many rows of each action wait or are being tried.
pub fn open(tx: &mut Tx<'_>) -> Result<Vec<(String, u64)>, DbError> {
    let sql = "SELECT action, COUNT(*) FROM ledger WHERE state = 'pending' GROUP BY action \
               UNION ALL SELECT action, COUNT(*) FROM ledger WHERE state = 'trying' GROUP BY action";
    Ok(tx.query(sql, &[])?.iter().map(|row| (row.text(0).to_owned(), row.uint(1))).collect())
}

/// The place of the last row that waits or is being tried: what comes now stands behind it, whatever the clock says.
pub fn last_seq(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    let sql = "SELECT COALESCE(MAX(seq), 0) FROM (SELECT MAX(seq) AS seq FROM ledger WHERE state = 'pending' \
               UNION ALL SELECT MAX(seq) AS seq FROM ledger WHERE state = 'trying') AS open";
    Ok(tx.query(sql, &[])?.first().map_or(0, |row| row.int(0)))
}

/// Marks an order as carried out; `false`: it was before.
pub fn order_done(tx: &mut Tx<'_>, id: &str, now: i64) -> Result<bool, DbError> {
    let sql = "INSERT INTO orders_done (id, created) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
    Ok(tx.execute(sql, &[id.into(), now.into()])? > 0)
}

/// Forgets what is over and older than `before`; what still waits stays.
pub fn forget(tx: &mut Tx<'_>, before: i64) -> Result<u64, DbError> {
    let sql = "DELETE FROM ledger WHERE created < $1 AND state NOT IN ('pending', 'trying')";
    let gone = tx.execute(sql, &[before.into()])?;
    if gone > 0 {
        lines::forget(tx)?;
    }
    tx.execute("DELETE FROM taken WHERE created < $1", &[before.into()])?;
    tx.execute("DELETE FROM orders_done WHERE created < $1", &[before.into()])?;
    Ok(gone)
}

/// Whether a word of a line may go into the state and back into lines: bounded, without control characters (a NUL is
/// no text to PostgreSQL).
pub fn is_sound(word: &str) -> bool {
    word.len() <= 256 && !word.chars().any(char::is_control)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use registry::db::Db;

    use super::*;

    #[test]
    fn a_row_from_queue_to_end() {
        let event = crate::call::tests::call(r#"{"v":1,"id":"e1","type":"t","time":"2026-11-21T19:00:00.123Z","received":"2026-11-21T19:00:03.001Z","source":"s","payload":{}}"#).event;
        let mut row = Delivery::new(&event, "p", "a", "", 0);
        assert_eq!((row.id.len(), row.key.len()), (20, 36));
        assert_ne!(row.key, Delivery::new(&event, "pa", "", "", 0).key);
        assert_ne!(row.key, Delivery::new(&event, "p", "a", "", 1).key);
        row.line = b"{}".to_vec();
        row.expires = 100;
        let of = KeptLine::new(row.line.clone());
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        let tx = &mut db.begin().unwrap();
        assert!(take(tx, "e1", "p", 1).unwrap() && !take(tx, "e1", "p", 2).unwrap());
        let add = |tx: &mut Tx<'_>, row: &Delivery| insert(tx, row, Some(&of.id), State::Pending, 1, 10).unwrap();
        assert!(add(tx, &row) && !add(tx, &row));
        keep(tx, &of).unwrap();
        assert!(due(tx, "a", 9, Which::All, 5).unwrap().is_empty());
        assert_eq!(due(tx, "a", 10, Which::All, 5).unwrap(), [(row.id.clone(), (10, 1))]);
        assert_eq!(super::row(tx, &row.id).unwrap().unwrap(), row);
        trying(tx, &row.id, 11).unwrap();
        assert_eq!(found_trying(tx, 9).unwrap(), [row.id.clone()]);
        assert_eq!(super::row(tx, &row.id).unwrap().unwrap().tries, 1);
        later(tx, &row.id, 50, "busy", 12).unwrap();
        assert_eq!(next_due(tx, "a", Which::All).unwrap(), Some(50));
        assert_eq!(
            (expired(tx, 100, 9).unwrap(), waiting(tx, "a", 9).unwrap()),
            (vec![row.id.clone()], vec![row.id.clone()])
        );
        assert_eq!(super::row(tx, &row.id).unwrap().unwrap().error, "busy");
        assert_eq!(open(tx).unwrap(), [("a".to_owned(), 1)]);
        end(tx, &row.id, State::Dead, "no", 13).unwrap();
        assert_eq!(dead(tx, &row.id).unwrap().unwrap().line, b"{}");
        assert!(raise(tx, &row.id, 14, 200).unwrap() && !raise(tx, &row.id, 15, 200).unwrap());
        assert_eq!(due(tx, "a", 14, Which::All, 1).unwrap(), [(row.id.clone(), (14, 1))]);
        assert_eq!(super::row(tx, &row.id).unwrap().unwrap().round, 1);
        assert_eq!(forget(tx, 1_000).unwrap(), 0, "what waits stays");
        end(tx, &row.id, State::Done, "", 16).unwrap();
        assert_eq!(forget(tx, 10).unwrap(), 0);
        assert_eq!(forget(tx, 11).unwrap(), 1);
        assert!(take(tx, "e1", "p", 3).unwrap(), "forgotten with it");
    }
}

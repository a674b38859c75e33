//! `window`: only so many matches of a key within a time are acted upon, as one; then it starts again empty.

use pipe::StageError;
use pipe::config::Window;
use registry::db::{Tx, Value};

use crate::lanes::ms;

/// What one more match made of a window.
pub enum Counted {
    /// Not full.
    Not(String),
    /// Full, by these events, oldest first; it is empty again.
    Full(Vec<String>),
}

/// Counts a match.
pub fn count(
    rule: &Window,
    probe: &str,
    key: &str,
    event: &str,
    received: i64,
    tx: &mut Tx<'_>,
) -> Result<Counted, StageError> {
    let of: [Value; 2] = [probe.into(), key.into()];
    let sql = "INSERT INTO windows (probe, key, event, received) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (probe, key, event) DO NOTHING";
    tx.execute(sql, &[probe.into(), key.into(), event.into(), received.into()])?;
    let newest = tx.query("SELECT MAX(received) FROM windows WHERE probe = $1 AND key = $2", &of)?;
    let newest = newest.first().map_or(received, |row| row.int(0));
    // Exactly `within` apart is too far.
    let before = newest.saturating_sub(ms(rule.within));
    let sql = "DELETE FROM windows WHERE probe = $1 AND key = $2 AND received <= $3";
    tx.execute(sql, &[probe.into(), key.into(), before.into()])?;
    let sql = "SELECT COUNT(*) FROM windows WHERE probe = $1 AND key = $2";
    let n = tx.query(sql, &of)?.first().map_or(0, |row| row.uint(0));
    if n < rule.count {
        return Ok(Counted::Not(format!("{n} of {} within {} s", rule.count, rule.within.as_secs())));
    }
    let rows = tx.query("SELECT event FROM windows WHERE probe = $1 AND key = $2 ORDER BY received, event", &of)?;
    tx.execute("DELETE FROM windows WHERE probe = $1 AND key = $2", &of)?;
    Ok(Counted::Full(rows.iter().map(|row| row.text(0).to_owned()).collect()))
}

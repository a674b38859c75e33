//! `throttle`: after one that was acted upon, those of the same key wait for nobody: they are held back.

use std::time::Duration;

use event::Time;
use pipe::StageError;
use registry::db::Tx;

use super::Decision;
use crate::lanes::ms;
use crate::told::Kept;

/// Lets a match pass, or holds it back.
pub fn pass(
    throttle: Duration,
    probe: &str,
    key: &str,
    received: i64,
    kept: Kept,
    tx: &mut Tx<'_>,
) -> Result<Decision, StageError> {
    let sql = "SELECT since FROM throttles WHERE probe = $1 AND key = $2";
    let since = tx.query(sql, &[probe.into(), key.into()])?.first().map(|row| row.int(0));
    if let Some(since) = since {
        // Matches of several inputs come out of order: one from a little before was held back by right as well.
        if received.abs_diff(since) < ms(throttle).unsigned_abs() {
            let until = Time::from_ms(since.saturating_add(ms(throttle)));
            return Ok(Decision::Held("throttled", format!("throttled until {until}")));
        }
        if received < since {
            return Ok(Decision::Held("throttled", "older than one that was acted upon".to_owned()));
        }
    }
    let sql = "INSERT INTO throttles (probe, key, since) VALUES ($1, $2, $3) \
               ON CONFLICT (probe, key) DO UPDATE SET since = excluded.since";
    tx.execute(sql, &[probe.into(), key.into(), received.into()])?;
    Ok(Decision::Act(kept))
}

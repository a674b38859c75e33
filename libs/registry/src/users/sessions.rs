//! Who is signed in. A session ends by signing out, 12 hours after its last use, a week after its beginning, with a new
//! password, and with its user.

use event::Time;
use serde_json::json;

use super::{By, User, audit, hash, random, read};
use crate::db::{Db, DbError, Tx, has_schema};

/// How long a session holds without use, in ms.
pub const IDLE: i64 = 12 * 3_600_000;
/// How long it holds at most, in ms.
pub const LONGEST: i64 = 7 * 24 * 3_600_000;
/// Its use is written down at most so often, in ms: not every page is a write.
const NOTED_EVERY: i64 = 5 * 60_000;
/// Sessions of one user; the oldest gives way.
const SESSIONS_MAX: i64 = 50;

/// A session that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose it is, with the role that holds now.
    pub user: User,
    /// Its use is to be written down, by [`used`].
    pub stale: bool,
}

/// Signs somebody in: a session that was not there before, as the secret of its cookie.
pub fn begin(tx: &mut Tx<'_>, name: &str, ip: Option<String>, now: Time) -> Result<String, DbError> {
    let secret = random()?;
    tx.execute(
        "DELETE FROM user_sessions WHERE used <= $1 OR created <= $2",
        &[(now.ms() - IDLE).into(), (now.ms() - LONGEST).into()],
    )?;
    tx.execute(
        "DELETE FROM user_sessions WHERE name = $1 AND hash NOT IN \
         (SELECT hash FROM user_sessions WHERE name = $1 ORDER BY used DESC LIMIT $2)",
        &[name.into(), (SESSIONS_MAX - 1).into()],
    )?;
    let sql = "INSERT INTO user_sessions (hash, name, created, used) VALUES ($1, $2, $3, $3)";
    tx.execute(sql, &[hash(&secret).into(), name.into(), now.ms().into()])?;
    audit(tx, &By { who: format!("user:{name}"), ip }, "login", json!({"user": name}), now)?;
    Ok(secret)
}

/// The session of this secret, if it holds.
pub fn find(db: &Db, secret: &str, now: Time) -> Result<Option<Session>, DbError> {
    if !has_schema(db, &super::SCHEMA)? {
        return Ok(None);
    }
    let sql = "SELECT u.name, u.role, u.units, u.password, u.created, s.used FROM user_sessions s \
               JOIN users u ON u.name = s.name WHERE s.hash = $1 AND s.used > $2 AND s.created > $3";
    let rows = db.query(sql, &[hash(secret).into(), (now.ms() - IDLE).into(), (now.ms() - LONGEST).into()])?;
    Ok(rows.first().map(|row| Session { user: read(row), stale: now.ms() - row.int(5) >= NOTED_EVERY }))
}

/// Writes down that it was used now.
pub fn used(tx: &mut Tx<'_>, secret: &str, now: Time) -> Result<(), DbError> {
    let sql = "UPDATE user_sessions SET used = $2 WHERE hash = $1 AND used < $2";
    tx.execute(sql, &[hash(secret).into(), now.ms().into()]).map(|_| ())
}

/// Signs out.
pub fn end(tx: &mut Tx<'_>, secret: &str, by: &By, now: Time) -> Result<(), DbError> {
    if tx.execute("DELETE FROM user_sessions WHERE hash = $1", &[hash(secret).into()])? > 0 {
        audit(tx, by, "logout", json!({}), now)?;
    }
    Ok(())
}

/// Ends all of somebody's.
pub(super) fn end_all(tx: &mut Tx<'_>, name: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM user_sessions WHERE name = $1", &[name.into()]).map(|_| ())
}

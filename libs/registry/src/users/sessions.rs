//! Who is signed in. A session ends by signing out, 12 hours after its last use, a week after its beginning (12 hours if it
//! began by single sign-on), with a new password, and with its user.

use event::Time;
use serde_json::json;

use super::{By, COLUMNS, User, audit, hash, random, read};
use crate::db::{Db, DbError, Tx, has_schema};

/// How long a session holds without use, in ms.
pub const IDLE: i64 = 12 * 3_600_000;
/// How long it holds at most, in ms.
pub const LONGEST: i64 = 7 * 24 * 3_600_000;
/// How long one holds at most that began by single sign-on, in ms: whom the provider lets in no longer is out by then.
pub const SIGN_ON_LONGEST: i64 = 12 * 3_600_000;
/// Its use is written down at most so often, in ms: not every page is a write.
const NOTED_EVERY: i64 = 5 * 60_000;
/// Sessions of one user; the oldest gives way.
const SESSIONS_MAX: i64 = 50;

/// How somebody came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By name and password.
    Password,
    /// By the link for a new password.
    Link,
    /// By single sign-on.
    SignOn,
}

impl Way {
    /// The word for it, in the audit.
    pub fn word(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Link => "link",
            Self::SignOn => "oidc",
        }
    }
}

/// A session that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Whose it is, with the role that holds now.
    pub user: User,
    /// Its use is to be written down, by [`used`].
    pub stale: bool,
}

/// Signs somebody in: a session that was not there before, as the secret of its cookie.
pub fn begin(tx: &mut Tx<'_>, name: &str, way: Way, ip: Option<String>, now: Time) -> Result<String, DbError> {
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
    let ends = now.ms() + if way == Way::SignOn { SIGN_ON_LONGEST } else { LONGEST };
    let sql = "INSERT INTO user_sessions (hash, name, created, used, ends) VALUES ($1, $2, $3, $3, $4)";
    tx.execute(sql, &[hash(&secret).into(), name.into(), now.ms().into(), ends.into()])?;
    audit(tx, &By { who: format!("user:{name}"), ip }, "login", json!({"user": name, "with": way.word()}), now)?;
    Ok(secret)
}

/// The session of this secret, if it holds.
pub fn find(db: &Db, secret: &str, now: Time) -> Result<Option<Session>, DbError> {
    if !has_schema(db, &super::SCHEMA)? {
        return Ok(None);
    }
    let sql = format!(
        "SELECT {COLUMNS}, s.used FROM user_sessions s JOIN users u ON u.name = s.name \
         WHERE s.hash = $1 AND s.used > $2 AND s.created > $3 AND (s.ends IS NULL OR s.ends > $4)"
    );
    let (idle, longest, now) = (now.ms() - IDLE, now.ms() - LONGEST, now.ms());
    let rows = db.query(&sql, &[hash(secret).into(), idle.into(), longest.into(), now.into()])?;
    Ok(rows.first().map(|row| Session { user: read(row), stale: now - row.int(8) >= NOTED_EVERY }))
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

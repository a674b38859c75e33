//! Links by which somebody chooses a password: good for an hour and for once.

use event::Time;
use serde_json::json;

use super::{By, Refused, audit, hash, random, set_password};
use crate::db::{Db, DbError, Tx};

/// How long a link holds, in ms.
pub const HOLDS: i64 = 3_600_000;

/// A new link for somebody, as the secret in its address; older ones are worthless.
pub fn make(tx: &mut Tx<'_>, name: &str, by: &By, now: Time) -> Result<String, Refused> {
    if tx.query("SELECT 1 FROM users WHERE name = $1", &[name.into()])?.is_empty() {
        return Err(Refused::Unknown);
    }
    let secret = random()?;
    tx.execute("DELETE FROM user_links WHERE name = $1 OR expires <= $2", &[name.into(), now.ms().into()])?;
    let sql = "INSERT INTO user_links (hash, name, expires) VALUES ($1, $2, $3)";
    tx.execute(sql, &[hash(&secret).into(), name.into(), (now.ms() + HOLDS).into()])?;
    audit(tx, by, "user_link", json!({"user": name}), now)?;
    Ok(secret)
}

const SELECT: &str = "SELECT name FROM user_links WHERE hash = $1 AND expires > $2";

/// Whose link it is, if it still holds.
pub fn whose(db: &Db, secret: &str, now: Time) -> Result<Option<String>, DbError> {
    if !crate::db::has_schema(db, &super::SCHEMA)? {
        return Ok(None);
    }
    Ok(db.query(SELECT, &[hash(secret).into(), now.ms().into()])?.first().map(|row| row.text(0).to_owned()))
}

/// Takes the link for a new password, of which `password` is the hash; the link is gone with it. None: it holds no longer.
pub fn take(
    tx: &mut Tx<'_>,
    secret: &str,
    password: &str,
    ip: Option<String>,
    now: Time,
) -> Result<Option<String>, DbError> {
    let rows = tx.query(SELECT, &[hash(secret).into(), now.ms().into()])?;
    let Some(name) = rows.first().map(|row| row.text(0).to_owned()) else { return Ok(None) };
    tx.execute("DELETE FROM user_links WHERE name = $1", &[name.as_str().into()])?;
    set_password(tx, &name, password, &By { who: format!("user:{name}"), ip }, now)?;
    Ok(Some(name))
}

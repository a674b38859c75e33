//! Tokens by which programs ask the console: a role, units, and the parts of the console that they are for.

use event::Time;
use serde_json::json;

use super::{By, Refused, Role, audit, hash, random, role, unrestricted, words};
use crate::db::{Db, DbError, Row, Tx, has_schema};

/// What every token begins with, so that whoever looks for lost secrets knows one.
pub const PREFIX: &str = "zt1.";

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is revoked by; 10 hex digits.
    pub id: String,
    /// What it is for, in a word.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The units whose machines and events it sees; empty: all.
    pub units: Vec<String>,
    /// The parts of the console that it is for; empty: all that its role may see.
    pub scopes: Vec<String>,
    /// When it was made, in ms since 1970.
    pub created: i64,
    /// When it ends, in ms since 1970; none: when it is revoked.
    pub expires: Option<i64>,
}

/// What a token is to be like; id and time are its own.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// See [`Token`].
    pub name: String,
    /// See [`Token`].
    pub role: Role,
    /// See [`Token`].
    pub units: Vec<String>,
    /// See [`Token`].
    pub scopes: Vec<String>,
    /// See [`Token`].
    pub expires: Option<i64>,
}

/// A new token; its secret is told this once.
pub fn make(tx: &mut Tx<'_>, wanted: Wanted, by: &By, now: Time) -> Result<(Token, String), Refused> {
    let Wanted { name, role, units, scopes, expires } = wanted;
    unrestricted(role, &units)?;
    let mut bytes = [0u8; 5];
    getrandom::fill(&mut bytes).map_err(|e| DbError::Other(format!("no random numbers: {e}")))?;
    let id: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let secret = format!("{PREFIX}{id}.{}", random()?);
    tx.execute(
        "INSERT INTO api_tokens (id, hash, name, role, units, scopes, created, expires) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        &[
            id.as_str().into(),
            hash(&secret).into(),
            name.as_str().into(),
            role.word().into(),
            units.join(",").into(),
            scopes.join(",").into(),
            now.ms().into(),
            expires.into(),
        ],
    )?;
    let what = json!({"token": id, "name": name, "role": role.word(), "units": units, "scopes": scopes,
        "expires": expires.map(|ms| Time::from_ms(ms).to_string())});
    audit(tx, by, "token_made", what, now)?;
    Ok((Token { id, name, role, units, scopes, created: now.ms(), expires }, secret))
}

const COLUMNS: &str = "SELECT id, name, role, units, scopes, created, expires FROM api_tokens";

/// The token of this secret, if it holds.
pub fn find(db: &Db, secret: &str, now: Time) -> Result<Option<Token>, DbError> {
    if !secret.starts_with(PREFIX) || !has_schema(db, &super::SCHEMA)? {
        return Ok(None);
    }
    let rows = db.query(&format!("{COLUMNS} WHERE hash = $1"), &[hash(secret).into()])?;
    Ok(rows.first().map(read).filter(|token| token.expires.is_none_or(|end| end > now.ms())))
}

/// All of them, the oldest first; those that have ended, too.
pub fn list(db: &Db) -> Result<Vec<Token>, DbError> {
    if !has_schema(db, &super::SCHEMA)? {
        return Ok(Vec::new());
    }
    Ok(db.query(&format!("{COLUMNS} ORDER BY created, id"), &[])?.iter().map(read).collect())
}

/// Makes a token worthless.
pub fn revoke(tx: &mut Tx<'_>, id: &str, by: &By, now: Time) -> Result<(), Refused> {
    if tx.execute("DELETE FROM api_tokens WHERE id = $1", &[id.into()])? == 0 {
        return Err(Refused::Unknown);
    }
    Ok(audit(tx, by, "token_revoked", json!({"token": id}), now)?)
}

fn read(row: &Row) -> Token {
    Token {
        id: row.text(0).to_owned(),
        name: row.text(1).to_owned(),
        role: role(row.text(2)),
        units: words(row.text(3)),
        scopes: words(row.text(4)),
        created: row.int(5),
        expires: row.opt_int(6),
    }
}

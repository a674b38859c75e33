//! Who may use the console, in `registry.db`: people with a role, and nothing secret but the hash of a password that the
//! caller computed (argon2id). What opens the console beside a password, links, sessions and tokens, is kept as SHA-256 of
//! random bits. Every change is an event of type [`changes::AUDIT`] in the same transaction.

pub mod links;
pub mod sessions;
pub mod sign_on;
pub mod tokens;
pub mod tries;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event::Time;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::changes;
use crate::db::{Db, DbError, Row, Schema, Tx, has_schema};

/// The tables of people, their links, sessions, tokens and tries. `units` and `scopes` are lists with commas; an empty one
/// is no restriction. All times are ms since 1970.
pub const SCHEMA: Schema = Schema {
    name: "users",
    migrations: &["CREATE TABLE users (
            name TEXT PRIMARY KEY, role TEXT NOT NULL, units TEXT NOT NULL, password TEXT, created BIGINT NOT NULL);
        CREATE TABLE user_links (hash BYTEA PRIMARY KEY, name TEXT NOT NULL, expires BIGINT NOT NULL);
        CREATE TABLE user_sessions (
            hash BYTEA PRIMARY KEY, name TEXT NOT NULL, created BIGINT NOT NULL, used BIGINT NOT NULL);
        CREATE TABLE api_tokens (
            id TEXT PRIMARY KEY, hash BYTEA NOT NULL UNIQUE, name TEXT NOT NULL, role TEXT NOT NULL, units TEXT NOT NULL,
            scopes TEXT NOT NULL, created BIGINT NOT NULL, expires BIGINT);
        CREATE TABLE login_tries (who TEXT NOT NULL, at BIGINT NOT NULL);
        CREATE INDEX login_tries_by_who ON login_tries (who, at);",
        // Single sign-on: the e-mail address by which somebody is known, the account that it turned out to be (issuer and
        // subject), whether the groups of that account say what they may, and when a session ends however it is used.
        "ALTER TABLE users ADD COLUMN email TEXT;
        ALTER TABLE users ADD COLUMN account TEXT;
        ALTER TABLE users ADD COLUMN by_group BIGINT NOT NULL DEFAULT 0;
        ALTER TABLE user_sessions ADD COLUMN ends BIGINT;
        CREATE UNIQUE INDEX users_by_email ON users (email);
        CREATE UNIQUE INDEX users_by_account ON users (account);"],
};

/// The tables that a change of users needs, and those that others look for in every registry that is there: this may be the
/// first to make it.
pub const SCHEMAS: &[Schema] = &[crate::enrolments::SCHEMA, SCHEMA, changes::SCHEMA];

/// What somebody may do; each may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks at everything.
    Viewer,
    /// Changes what belongs to machines and probes.
    Editor,
    /// Gives and takes access.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Editor, Self::Admin];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }

    /// The role of this word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }
}

/// Somebody who may use the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// What they sign in as.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The units whose machines and events they see; empty: all.
    pub units: Vec<String>,
    /// Whether they have chosen a password.
    pub active: bool,
    /// Since when they are known, in ms since 1970.
    pub created: i64,
    /// The address by which single sign-on knows them, in small letters.
    pub email: Option<String>,
    /// Whether they have come in by single sign-on: the account is theirs from then on.
    pub bound: bool,
    /// Whether their groups at the provider of identities say what they may; else somebody here did.
    pub by_group: bool,
}

/// Who changes something, for the audit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct By {
    /// `user:ada`, `token:4f2a…`, `command line`.
    pub who: String,
    /// The address that the change was asked for from, if it came over a network.
    pub ip: Option<String>,
}

impl By {
    /// Whoever may run commands on the machine of the hub.
    pub fn command_line() -> Self {
        Self { who: "command line".to_owned(), ip: None }
    }
}

/// Why a change is not made.
#[derive(Debug)]
pub enum Refused {
    /// There is one of this name.
    Taken,
    /// There is none.
    Unknown,
    /// An administrator sees all units: whoever gives access could give it to themselves.
    RestrictedAdmin,
    /// Nobody could give access any more.
    LastAdmin,
    /// It is no address of an e-mail.
    NoAddress,
    /// Somebody else has this address.
    AddressTaken,
    /// The registry cannot be written.
    Db(DbError),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Taken => "there is one of this name already",
            Self::Unknown => "there is none of this name",
            Self::RestrictedAdmin => "an admin sees all units: only a viewer or an editor can be kept to some",
            Self::LastAdmin => "they are the only admin who can sign in",
            Self::NoAddress => "an address is NAME@HOST, without spaces, of at most 254 characters",
            Self::AddressTaken => "somebody else has this address",
            Self::Db(e) => return write!(f, "registry: {e}"),
        })
    }
}

impl From<DbError> for Refused {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

/// 256 random bits as text, for a link, a session or a token.
pub fn random() -> Result<String, DbError> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| DbError::Other(format!("no random numbers: {e}")))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// What is kept of such a text.
pub(crate) fn hash(text: &str) -> Vec<u8> {
    Sha256::digest(text.as_bytes()).to_vec()
}

/// Writes down who changed what: an event of type [`changes::AUDIT`]. `what` is an object.
pub fn audit(tx: &mut Tx<'_>, by: &By, action: &str, what: Value, now: Time) -> Result<(), DbError> {
    let mut payload = Map::new();
    payload.insert("action".into(), action.into());
    payload.insert("by".into(), by.who.as_str().into());
    payload.extend(by.ip.iter().map(|ip| ("ip".to_owned(), Value::from(ip.as_str()))));
    if let Value::Object(what) = what {
        payload.extend(what);
    }
    changes::say_of(tx, changes::AUDIT, None, &Value::Object(payload), now, None)
}

/// Makes somebody known, without a password: a link lets them choose one.
pub fn add(tx: &mut Tx<'_>, name: &str, role: Role, units: &[String], by: &By, now: Time) -> Result<(), Refused> {
    unrestricted(role, units)?;
    let sql = "INSERT INTO users (name, role, units, created) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING";
    if tx.execute(sql, &[name.into(), role.word().into(), units.join(",").into(), now.ms().into()])? == 0 {
        return Err(Refused::Taken);
    }
    Ok(audit(tx, by, "user_added", json!({"user": name, "role": role.word(), "units": units}), now)?)
}

/// Changes role and units; they hold from the next request on.
pub fn set_role(tx: &mut Tx<'_>, name: &str, role: Role, units: &[String], by: &By, now: Time) -> Result<(), Refused> {
    unrestricted(role, units)?;
    if role != Role::Admin {
        keep_an_admin(tx, name)?;
    }
    // What somebody here says holds, whatever the groups at a provider of identities say.
    let sql = "UPDATE users SET role = $2, units = $3, by_group = 0 WHERE name = $1";
    if tx.execute(sql, &[name.into(), role.word().into(), units.join(",").into()])? == 0 {
        return Err(Refused::Unknown);
    }
    Ok(audit(tx, by, "user_role", json!({"user": name, "role": role.word(), "units": units}), now)?)
}

/// Removes somebody, with their links and sessions.
pub fn remove(tx: &mut Tx<'_>, name: &str, by: &By, now: Time) -> Result<(), Refused> {
    keep_an_admin(tx, name)?;
    if tx.execute("DELETE FROM users WHERE name = $1", &[name.into()])? == 0 {
        return Err(Refused::Unknown);
    }
    tx.execute("DELETE FROM user_links WHERE name = $1", &[name.into()])?;
    sessions::end_all(tx, name)?;
    Ok(audit(tx, by, "user_removed", json!({"user": name}), now)?)
}

/// Writes down the hash of a new password; whoever was signed in with the old one is no longer.
pub(crate) fn set_password(tx: &mut Tx<'_>, name: &str, hash: &str, by: &By, now: Time) -> Result<(), DbError> {
    tx.execute("UPDATE users SET password = $2 WHERE name = $1", &[name.into(), hash.into()])?;
    sessions::end_all(tx, name)?;
    tries::forgive(tx, name)?;
    audit(tx, by, "user_password", json!({"user": name}), now)
}

/// The hash of somebody's password; none: nobody of this name, or they have not chosen one.
pub fn password(db: &Db, name: &str) -> Result<Option<String>, DbError> {
    if !has_schema(db, &SCHEMA)? {
        return Ok(None);
    }
    let rows = db.query("SELECT password FROM users WHERE name = $1 AND password IS NOT NULL", &[name.into()])?;
    Ok(rows.first().map(|row| row.text(0).to_owned()))
}

const COLUMNS: &str = "u.name, u.role, u.units, u.password, u.created, u.email, u.account, u.by_group";

/// Everybody, by name. A file of an older version knows nobody.
pub fn list(db: &Db) -> Result<Vec<User>, DbError> {
    if !has_schema(db, &SCHEMA)? {
        return Ok(Vec::new());
    }
    let sql = format!("SELECT {COLUMNS} FROM users u ORDER BY u.name");
    Ok(db.query(&sql, &[])?.iter().map(read).collect())
}

fn read(row: &Row) -> User {
    User {
        name: row.text(0).to_owned(),
        role: role(row.text(1)),
        units: words(row.text(2)),
        active: row.opt_text(3).is_some(),
        created: row.int(4),
        email: row.opt_text(5).map(str::to_owned),
        bound: row.opt_text(6).is_some(),
        by_group: row.int(7) != 0,
    }
}

/// A word that this version does not know gives the least.
fn role(word: &str) -> Role {
    Role::of(word).unwrap_or(Role::Viewer)
}

fn words(text: &str) -> Vec<String> {
    text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn unrestricted(role: Role, units: &[String]) -> Result<(), Refused> {
    if role == Role::Admin && !units.is_empty() { Err(Refused::RestrictedAdmin) } else { Ok(()) }
}

/// Refuses to take away the only admin who has a password. (The command line can always make another.)
fn keep_an_admin(tx: &mut Tx<'_>, name: &str) -> Result<(), Refused> {
    let admins = tx.query("SELECT name FROM users WHERE role = 'admin' AND password IS NOT NULL", &[])?;
    let last = matches!(admins.as_slice(), [one] if one.text(0) == name);
    if last { Err(Refused::LastAdmin) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;

//! How often somebody tried to sign in: ten times in a quarter of an hour for an account, and for an address.

use event::Time;
use serde_json::json;

use super::{By, audit};
use crate::db::{DbError, Tx};

/// Tries of one account, and of one address, within [`WITHIN`].
pub const TRIES_MAX: i64 = 10;
/// In ms.
pub const WITHIN: i64 = 15 * 60_000;

/// Counts a try before it is made, so that many at once are counted too; false: there were too many. Whoever then
/// succeeds is forgiven, by [`forgive`].
pub fn count(tx: &mut Tx<'_>, account: &str, address: &str, now: Time) -> Result<bool, DbError> {
    noted(tx, &[of_account(account), of_address(address)], now)
}

/// The same of single sign-on, where there is nothing to guess: only what went wrong stays counted, so that a whole office
/// comes in by one address. Whoever succeeds calls [`signed_on`].
pub fn count_sign_on(tx: &mut Tx<'_>, address: &str, now: Time) -> Result<bool, DbError> {
    noted(tx, &[of_sign_on(address)], now)
}

/// A try of [`count_sign_on`] went well.
pub fn signed_on(tx: &mut Tx<'_>, address: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM login_tries WHERE who = $1", &[of_sign_on(address).into()]).map(|_| ())
}

fn noted(tx: &mut Tx<'_>, all: &[String], now: Time) -> Result<bool, DbError> {
    let ago = now.ms() - WITHIN;
    tx.execute("DELETE FROM login_tries WHERE at <= $1", &[ago.into()])?;
    for who in all {
        let tries = tx.query("SELECT COUNT(*) FROM login_tries WHERE who = $1", &[who.as_str().into()])?;
        if tries.first().is_some_and(|row| row.int(0) >= TRIES_MAX) {
            return Ok(false);
        }
    }
    for who in all {
        tx.execute("INSERT INTO login_tries (who, at) VALUES ($1, $2)", &[who.as_str().into(), now.ms().into()])?;
    }
    Ok(true)
}

/// The tries of an account that has signed in, or has a new password, count no longer. Those of the address go on
/// counting: whoever has one account must not guess at others for ever.
pub fn forgive(tx: &mut Tx<'_>, account: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM login_tries WHERE who = $1", &[of_account(account).into()]).map(|_| ())
}

/// Writes down that somebody tried in vain, if there is such an account: what else was typed is nobody's business.
pub fn failed(tx: &mut Tx<'_>, account: &str, ip: &str, now: Time) -> Result<(), DbError> {
    if tx.query("SELECT 1 FROM users WHERE name = $1", &[account.into()])?.is_empty() {
        // A write for a write: how long the answer takes does not tell which accounts there are.
        let sql = "UPDATE login_tries SET at = at WHERE who = $1";
        return tx.execute(sql, &[of_account(account).into()]).map(|_| ());
    }
    let by = By { who: "nobody".to_owned(), ip: Some(ip.to_owned()) };
    audit(tx, &by, "login_failed", json!({"user": account, "with": "password"}), now)
}

fn of_account(name: &str) -> String {
    format!("account {name}")
}

fn of_address(address: &str) -> String {
    format!("address {address}")
}

fn of_sign_on(address: &str) -> String {
    format!("sign-on {address}")
}

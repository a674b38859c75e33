//! Who comes in by single sign-on: somebody who was added with an e-mail address, which the provider of identities has
//! verified, or whom a group there lets in. The account (issuer and subject) that comes first is theirs from then on, so
//! that an address that is given to another person later opens nothing. Names at the provider decide nothing: anybody may
//! have chosen one.

use event::Time;
use serde_json::json;

use super::{By, Refused, Role, User, audit, read, sessions, unrestricted};
use crate::db::{DbError, Tx};

/// Characters of an e-mail address at most (RFC 5321, § 4.5.3.1.3).
const EMAIL_MAX: usize = 254;
/// Characters of a name at most.
const NAME_MAX: usize = 63;
/// Names that are tried for somebody new: `ada`, `ada-2` and so on.
const NAMES_MAX: usize = 1000;

/// What a provider of identities says of somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The provider.
    pub issuer: String,
    /// The account there; never given to another.
    pub subject: String,
    /// The e-mail address, only if the provider has verified it.
    pub email: Option<String>,
    /// What they may be called here.
    pub wish: String,
}

/// Why somebody does not come in. The words are for them and for the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Neither added nor in a group that lets in.
    Unknown,
    /// The address is another account's.
    Bound,
    /// They came in by a group, which they are in no longer.
    NoGroup,
    /// There are too many of that name.
    Names,
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unknown => "nobody here has this verified e-mail address, and no group lets the account in",
            Self::Bound => "the e-mail address belongs to another account",
            Self::NoGroup => "the account is in no group any more that lets it in",
            Self::Names => "too many people have this name",
        })
    }
}

/// Whether the text can be the address of an e-mail.
pub fn is_address(text: &str) -> bool {
    let parts = text.split_once('@').filter(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    parts.is_some() && text.len() <= EMAIL_MAX && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// Says by which address somebody is known to single sign-on; none: they are not. The account that was theirs is theirs no
/// longer: the next one with this address is, and whoever came in by it is signed out.
pub fn set_email(tx: &mut Tx<'_>, name: &str, email: Option<&str>, by: &By, now: Time) -> Result<(), Refused> {
    let email = email.map(str::to_lowercase);
    if email.as_deref().is_some_and(|email| !is_address(email)) {
        return Err(Refused::NoAddress);
    }
    let others = "SELECT 1 FROM users WHERE email = $1 AND name <> $2";
    if let Some(email) = &email
        && !tx.query(others, &[email.as_str().into(), name.into()])?.is_empty()
    {
        return Err(Refused::AddressTaken);
    }
    if !tx.query("SELECT 1 FROM users WHERE name = $1 AND account IS NOT NULL", &[name.into()])?.is_empty() {
        sessions::end_all(tx, name)?;
    }
    let sql = "UPDATE users SET email = $2, account = NULL, by_group = 0 WHERE name = $1";
    if tx.execute(sql, &[name.into(), email.clone().into()])? == 0 {
        return Err(Refused::Unknown);
    }
    Ok(audit(tx, by, "user_email", json!({"user": name, "email": email}), now)?)
}

/// Finds who it is, or makes them known if a group lets them in; `given` is what their groups say. The changes that this
/// makes are to be kept even if they are denied.
pub fn find(
    tx: &mut Tx<'_>,
    identity: &Identity,
    given: Option<(Role, Vec<String>)>,
    by: &By,
    now: Time,
) -> Result<Result<User, Denied>, DbError> {
    // The issuer is a URL, in which no space stands.
    let account = format!("{} {}", identity.issuer, identity.subject);
    let given = given.filter(|(role, units)| unrestricted(*role, units).is_ok());
    if let Some(user) = whose(tx, "account", &account)? {
        return known(tx, user, given, by, now);
    }
    let email = identity.email.as_deref().map(str::to_lowercase).filter(|email| is_address(email));
    if let Some(email) = email
        && let Some(user) = whose(tx, "email", &email)?
    {
        if user.bound {
            return Ok(Err(Denied::Bound));
        }
        let sql = "UPDATE users SET account = $2 WHERE name = $1";
        tx.execute(sql, &[user.name.as_str().into(), account.as_str().into()])?;
        audit(tx, by, "user_bound", json!({"user": user.name, "account": account}), now)?;
        return Ok(Ok(user));
    }
    let Some((role, units)) = given else { return Ok(Err(Denied::Unknown)) };
    let Some(name) = free(tx, &identity.wish)? else { return Ok(Err(Denied::Names)) };
    let sql = "INSERT INTO users (name, role, units, created, account, by_group) VALUES ($1, $2, $3, $4, $5, 1)";
    let (words, joined) = (role.word(), units.join(","));
    tx.execute(sql, &[name.as_str().into(), words.into(), joined.into(), now.ms().into(), account.as_str().into()])?;
    let what = json!({"user": name, "role": words, "units": units, "account": account});
    audit(tx, by, "user_added", what, now)?;
    Ok(whose(tx, "account", &account)?.ok_or(Denied::Unknown))
}

/// Somebody whose account it is: what groups gave, groups change and take.
fn known(
    tx: &mut Tx<'_>,
    mut user: User,
    given: Option<(Role, Vec<String>)>,
    by: &By,
    now: Time,
) -> Result<Result<User, Denied>, DbError> {
    if !user.by_group {
        return Ok(Ok(user));
    }
    let Some((role, units)) = given else {
        sessions::end_all(tx, &user.name)?;
        return Ok(Err(Denied::NoGroup));
    };
    if (user.role, &user.units) != (role, &units) {
        let sql = "UPDATE users SET role = $2, units = $3 WHERE name = $1";
        tx.execute(sql, &[user.name.as_str().into(), role.word().into(), units.join(",").into()])?;
        audit(tx, by, "user_role", json!({"user": user.name, "role": role.word(), "units": units}), now)?;
        (user.role, user.units) = (role, units);
    }
    Ok(Ok(user))
}

/// Writes down that somebody came in vain: who the provider says it is, or nothing if it did not come so far.
pub fn failed(tx: &mut Tx<'_>, who: Option<&Identity>, why: &str, ip: &str, now: Time) -> Result<(), DbError> {
    let by = By { who: "nobody".to_owned(), ip: Some(ip.to_owned()) };
    let mut what = json!({"with": sessions::Way::SignOn.word(), "why": why});
    if let (Some(who), Some(what)) = (who, what.as_object_mut()) {
        what.insert("account".into(), format!("{} {}", who.issuer, who.subject).into());
        what.extend(who.email.iter().map(|email| ("email".to_owned(), email.as_str().into())));
    }
    audit(tx, &by, "login_failed", what, now)
}

fn whose(tx: &mut Tx<'_>, column: &str, value: &str) -> Result<Option<User>, DbError> {
    let sql = format!("SELECT {} FROM users u WHERE u.{column} = $1", super::COLUMNS);
    Ok(tx.query(&sql, &[value.into()])?.first().map(read))
}

/// A name that nobody has, as near to the wish as a name can be.
fn free(tx: &mut Tx<'_>, wish: &str) -> Result<Option<String>, DbError> {
    let wish = wish.split('@').next().unwrap_or_default().to_lowercase();
    let plain: String = wish.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let mut base = plain.trim_matches('-').to_owned();
    base.truncate(NAME_MAX - 5);
    if base.is_empty() {
        base.push_str("somebody");
    }
    for n in 1..=NAMES_MAX {
        let name = if n == 1 { base.clone() } else { format!("{base}-{n}") };
        if tx.query("SELECT 1 FROM users WHERE name = $1", &[name.as_str().into()])?.is_empty() {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;

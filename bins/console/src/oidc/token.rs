//! Whether an ID token is to be believed (OpenID Connect Core 1.0, § 3.1.3.7).

use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::signatures;

/// How far the clocks may be apart, in seconds.
const LEEWAY: u64 = 120;
/// Characters of a subject at most (§ 2).
const SUBJECT_MAX: usize = 255;

/// What the token must say.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    pub issuer: &'a str,
    pub client: &'a str,
    pub nonce: &'a str,
    /// When the sign-in was begun, in ms since 1970: no token is older.
    pub began: i64,
    /// Now, in the same.
    pub now: i64,
}

/// Why it is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// None of the keys is the one that it names: the provider may have new ones.
    NoKey,
    /// Anything else, for the log.
    Wrong(String),
}

fn wrong<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Wrong(why.into()))
}

/// The claims of a token that all holds for: signature, `alg`, `iss`, `aud`, `azp`, `exp`, `iat`, `nonce`, `sub`.
pub fn check(token: &str, keys: &[Jwk], wanted: &Wanted<'_>) -> Result<Map<String, Value>, Fault> {
    signatures::install();
    let head = decode_header(token).map_err(|e| Fault::Wrong(format!("the ID token has no head that we know: {e}")))?;
    if !signatures::TAKEN.contains(&head.alg) {
        return wrong(format!("the ID token is signed by {:?}, which is not taken", head.alg));
    }
    if head.crit.is_some() {
        return wrong("the ID token has a critical extension");
    }
    let key = key(keys, head.kid.as_deref(), head.alg).ok_or(Fault::NoKey)?;
    let key =
        DecodingKey::from_jwk(key).map_err(|e| Fault::Wrong(format!("the key of the provider is broken: {e}")))?;
    let mut rules = Validation::new(head.alg);
    rules.leeway = LEEWAY;
    rules.validate_nbf = true;
    rules.set_issuer(&[wanted.issuer]);
    rules.set_audience(&[wanted.client]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let claims = match decode::<Map<String, Value>>(token, &key, &rules) {
        Ok(token) => token.claims,
        Err(e) => return wrong(format!("the ID token is not believed: {e}")),
    };
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("nonce") != Some(wanted.nonce) {
        return wrong("the ID token is not of this sign-in: `nonce`");
    }
    let several = claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    if (several || claims.contains_key("azp")) && text("azp") != Some(wanted.client) {
        return wrong("the ID token was given to another client: `azp`");
    }
    let leeway = i64::try_from(LEEWAY).unwrap_or(i64::MAX);
    let made = claims.get("iat").and_then(Value::as_f64).map(|seconds| seconds as i64);
    if !made.is_some_and(|at| at >= wanted.began / 1000 - leeway && at <= wanted.now / 1000 + leeway) {
        return wrong("the ID token was not made now: `iat`");
    }
    let subject = text("sub").unwrap_or_default();
    if subject.is_empty() || subject.len() > SUBJECT_MAX || subject.chars().any(char::is_control) {
        return wrong("the ID token names nobody: `sub`");
    }
    Ok(claims)
}

/// The key of this id; without one the only key that fits.
fn key<'k>(keys: &'k [Jwk], id: Option<&str>, algorithm: Algorithm) -> Option<&'k Jwk> {
    let fits = |key: &&Jwk| {
        let used = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
        let family = DecodingKey::from_jwk(key).is_ok_and(|one| one.family() == algorithm.family());
        let named = key.common.key_algorithm.is_none_or(|one| one.to_string() == format!("{algorithm:?}"));
        used && family && named
    };
    let mut all = keys.iter().filter(fits);
    match id {
        Some(id) => all.find(|key| key.common.key_id.as_deref() == Some(id)),
        None => all.next().filter(|_| all.next().is_none()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;

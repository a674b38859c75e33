//! What the claims tell of a person.

use registry::users::sign_on::Identity;
use serde_json::{Map, Value};

/// Groups that are read of one person; more are not looked at.
const GROUPS_MAX: usize = 10_000;

/// The claims of the ID token and, where it is silent, of the provider's page about them (userinfo).
#[derive(Debug, Default)]
pub struct Claims(Vec<Map<String, Value>>);

impl Claims {
    /// Those of the token; they come first.
    pub fn of(token: Map<String, Value>) -> Self {
        Self(vec![token])
    }

    /// Those of userinfo, which must be about the same account (Core 1.0, § 5.3.2).
    pub fn and(&mut self, more: Map<String, Value>) -> Result<(), &'static str> {
        if more.get("sub") != self.get("sub") || !more.contains_key("sub") {
            return Err("userinfo tells of another account");
        }
        self.0.push(more);
        Ok(())
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find_map(|claims| claims.get(name))
    }

    /// Whether this is said.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// Who it is. An address counts only if whoever says it has verified it.
    pub fn identity(&self, issuer: &str) -> Identity {
        let says = |claims: &&Map<String, Value>| claims.contains_key("email");
        let verified = self.0.iter().find(says).and_then(|claims| {
            // Some write the truth value as a string.
            let sure = matches!(claims.get("email_verified"), Some(Value::Bool(true)))
                || claims.get("email_verified").and_then(Value::as_str) == Some("true");
            claims.get("email").and_then(Value::as_str).filter(|_| sure)
        });
        let wish = ["preferred_username", "nickname", "email"].into_iter().find_map(|name| self.text(name));
        Identity {
            issuer: issuer.to_owned(),
            subject: self.text("sub").unwrap_or_default().to_owned(),
            email: verified.map(str::to_owned),
            wish: wish.unwrap_or_default().to_owned(),
        }
    }

    /// The groups in a claim: a list, or one word.
    pub fn groups(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(all)) => {
                all.iter().take(GROUPS_MAX).filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn who_it_is() {
        let mut claims = Claims::of(map(json!({"sub": "7", "groups": "one", "email_verified": true})));
        assert_eq!(claims.identity("i").email, None, "verified is no address");
        assert_eq!(
            claims.and(map(json!({"sub": "8", "email": "eve@example.com"}))),
            Err("userinfo tells of another account")
        );
        assert!(claims.and(map(json!({"email": "eve@example.com"}))).is_err());
        claims.and(map(json!({"sub": "7", "email": "a@b", "groups": ["two"], "preferred_username": "Ada"}))).unwrap();
        let ada = claims.identity("i");
        assert_eq!(
            (ada.subject.as_str(), ada.wish.as_str(), ada.email),
            ("7", "Ada", None),
            "who says one must say the other"
        );
        assert_eq!(claims.groups("groups"), ["one"], "the token comes first");
        assert!(claims.groups("roles").is_empty());
        for (sure, email) in
            [(json!(true), Some("a@b")), (json!("true"), Some("a@b")), (json!(false), None), (json!(1), None)]
        {
            let claims = Claims::of(map(json!({"sub": "7", "email": "a@b", "email_verified": sure})));
            assert_eq!(claims.identity("i").email.as_deref(), email, "{sure}");
        }
        assert_eq!(Claims::of(map(json!({"groups": ["a", 1, null, "b"]}))).groups("groups"), ["a", "b"]);
    }
}

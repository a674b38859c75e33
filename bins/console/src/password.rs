//! Passwords: argon2id with the parameters that OWASP's cheat sheet of 2026 gives as a minimum (19 MiB, 2 passes).

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};

/// Characters of a password at least.
pub const LENGTH_MIN: usize = 12;
/// Bytes of a password at most.
pub const LENGTH_MAX: usize = 1024;

/// What is wrong with a new password, for the person who chose it.
pub fn wrong(password: &str, again: &str, name: &str) -> Option<String> {
    if password != again {
        Some("The two passwords differ.".to_owned())
    } else if password.chars().count() < LENGTH_MIN {
        Some(format!("A password has at least {LENGTH_MIN} characters; a few words in a row are easiest to remember."))
    } else if password.len() > LENGTH_MAX {
        Some(format!("A password has at most {LENGTH_MAX} bytes."))
    } else if password.to_lowercase().contains(name) && password.chars().count() < LENGTH_MIN + name.chars().count() {
        Some("Your name is the first that others try: leave it out.".to_owned())
    } else {
        None
    }
}

/// The hash of a password with a salt of its own, as a PHC string.
pub fn hash(password: &str) -> Result<String, String> {
    let hash = Argon2::default().hash_password(password.as_bytes()).map_err(|e| format!("no hash: {e}"))?;
    Ok(hash.to_string())
}

/// Whether it is the password of this hash. Without a hash it takes as long, so that nobody learns which names there are.
pub fn is_right(password: &str, hash: Option<&str>) -> bool {
    match hash {
        _ if password.len() > LENGTH_MAX => false,
        Some(hash) => Argon2::default().verify_password(password.as_bytes(), hash).is_ok(),
        None => {
            let _ = self::hash(password);
            false
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn hashed_and_recognised() {
        let one = hash("correct horse battery").unwrap();
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, hash("correct horse battery").unwrap(), "each has a salt of its own");
        assert!(is_right("correct horse battery", Some(&one)));
        assert!(!is_right("correct horse batterz", Some(&one)));
        assert!(!is_right("correct horse battery", Some("broken")));
        assert!(!is_right("correct horse battery", None));
    }

    #[test]
    fn new_ones() {
        assert_eq!(wrong("correct horse battery", "correct horse battery", "ada"), None);
        for (password, again, says) in [
            ("correct horse battery", "correct horse", "differ"),
            ("short", "short", "at least 12"),
            ("ada123456789", "ada123456789", "Your name"),
        ] {
            assert!(wrong(password, again, "ada").unwrap().contains(says), "{password}");
        }
        let long = "a".repeat(LENGTH_MAX + 1);
        assert!(wrong(&long, &long, "b").unwrap().contains("at most"));
    }
}

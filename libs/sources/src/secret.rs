//! Words that callers know: compared without telling by the time it takes how much of one was right.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

/// A secret that a caller has to say. Only its digest is kept, so neither `Debug` nor a comparison tells anything of it,
/// its length included.
#[derive(Clone, PartialEq, Eq)]
pub struct Word([u8; 32]);

impl Word {
    /// Of the secret itself.
    pub fn new(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Whether this is it.
    pub fn is(&self, said: &[u8]) -> bool {
        let said: [u8; 32] = Sha256::digest(said).into();
        self.0.ct_eq(&said).into()
    }
}

impl std::fmt::Debug for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Word(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_itself_and_nothing_else() {
        let word = Word::new("s3cret");
        assert!(word.is(b"s3cret"));
        for other in ["", "s3cre", "s3cret ", "S3cret", "s3cret\0"] {
            assert!(!word.is(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{word:?}"), "Word(***)");
    }
}

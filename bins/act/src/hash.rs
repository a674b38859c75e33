//! Ids made of several words: SHA-256 over each word's length and itself, so that no two lists of words give one id.

use sha2::{Digest as _, Sha256};

/// The hash of these words.
pub fn of(parts: &[&str]) -> Sha256 {
    with(Sha256::new(), parts)
}

/// A hash that has begun, and these words.
pub fn with(mut hash: Sha256, parts: &[&str]) -> Sha256 {
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash
}

/// 64 hex digits.
pub fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 20 hex digits, enough to tell a hub's own things apart.
pub fn short(hash: Sha256) -> String {
    hash.finalize().iter().take(10).map(|byte| format!("{byte:02x}")).collect()
}

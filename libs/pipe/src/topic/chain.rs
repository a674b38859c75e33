//! The chain of sealed segments: each link hashes the one before it and the segment's own hash.

use sha2::{Digest, Sha256};

use super::{Error, Mark, Sealed};

/// A SHA-256.
pub(super) type Hash = [u8; 32];

/// What stands before the first segment of a topic.
pub(super) const START: Hash = [0; 32];

/// The link after `chain` for a segment with the hash `sha256`.
pub(super) fn link(chain: &Hash, sha256: &Hash) -> Hash {
    Sha256::new().chain_update(chain).chain_update(sha256).finalize().into()
}

/// The record of a segment, and the chain with it.
pub(super) fn seal(chain: &mut Hash, first: Mark, end: Mark, hash: Sha256) -> Sealed {
    let sha256: Hash = hash.finalize().into();
    *chain = link(chain, &sha256);
    Sealed { first, end, sha256: hex(&sha256), chain: hex(chain) }
}

/// The chain after the last record.
pub(super) fn after(sealed: &[Sealed]) -> Result<Hash, Error> {
    match sealed.last() {
        None => Ok(START),
        Some(last) => unhex(&last.chain).ok_or(Error::Refused("the recorded chain is no hash")),
    }
}

pub(super) fn hex(hash: &Hash) -> String {
    let digit = |n: u8| char::from(if n < 10 { b'0' + n } else { b'a' + n - 10 });
    hash.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

pub(super) fn unhex(text: &str) -> Option<Hash> {
    let mut hash = START;
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_and_back() {
        let hash = link(&START, &START);
        // sha256 of 64 zero bytes
        assert_eq!(hex(&hash), "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b");
        assert_eq!(unhex(&hex(&hash)), Some(hash));
        assert_eq!(unhex("zz"), None);
        assert_eq!(unhex(&"é".repeat(32)), None);
    }
}

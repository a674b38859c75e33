//! The values of the variables that a program was given, which are cut from what it says.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use memchr::memmem::Finder;

/// A shorter value, or line of one, is not looked for.
const SECRET_MIN: usize = 4;
/// What stands in its place.
const CUT: &[u8] = b"***";

/// The values, and each line of those that have several.
#[derive(Clone)]
pub struct Secrets(Arc<[Vec<u8>]>);

impl Secrets {
    /// Of these values.
    pub fn of<'a>(values: impl Iterator<Item = &'a OsStr>) -> Self {
        let mut all = Vec::new();
        for value in values.map(OsStr::as_bytes) {
            all.push(value.to_vec());
            all.extend(value.split(|byte| *byte == b'\n').map(|line| line.trim_ascii().to_vec()));
        }
        all.retain(|secret| secret.len() >= SECRET_MIN);
        all.sort();
        all.dedup();
        Self(all.into())
    }

    /// Bytes of the longest.
    pub fn longest(&self) -> usize {
        self.0.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// `text` from byte `from` on, without them: whatever lies in one, or in several that overlap, is cut out.
    pub fn without(&self, text: &[u8], from: usize) -> Vec<u8> {
        let mut secret = vec![false; text.len()];
        for one in self.0.iter() {
            let finder = Finder::new(one);
            let (mut at, mut marked) = (0, 0);
            while let Some(found) = text.get(at..).and_then(|rest| finder.find(rest)) {
                let (begin, end) = (at + found, at + found + one.len());
                secret.get_mut(begin.max(marked)..end).unwrap_or_default().fill(true);
                (at, marked) = (begin + 1, end);
            }
        }
        let mut left = Vec::with_capacity(text.len());
        let mut within = false;
        for (byte, secret) in text.iter().zip(secret).skip(from) {
            match (secret, within) {
                (true, false) => left.extend_from_slice(CUT),
                (true, true) => {}
                (false, _) => left.push(*byte),
            }
            within = secret;
        }
        left
    }
}

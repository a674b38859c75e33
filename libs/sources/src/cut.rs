//! What is kept of a record that is too long: its length, its digest and its beginning.

use sha2::{Digest, Sha256};

use crate::Record;

/// Bytes kept of the beginning.
pub(crate) const HEAD_MAX: usize = 1024;

/// A record that is too long, while its bytes pass.
#[derive(Default)]
pub(crate) struct Cutting {
    bytes: u64,
    sha256: Sha256,
    head: Vec<u8>,
}

impl Cutting {
    /// Counts the next bytes.
    pub fn feed(&mut self, text: &[u8]) {
        self.bytes += text.len() as u64;
        self.sha256.update(text);
        let room = HEAD_MAX - self.head.len().min(HEAD_MAX);
        self.head.extend_from_slice(text.get(..room).unwrap_or(text));
    }

    /// The same for a record that is there at once.
    pub fn whole<'t>(text: &[u8]) -> Record<'t> {
        let mut cut = Self::default();
        cut.feed(text);
        cut.record()
    }

    /// It has ended.
    pub fn record<'t>(self) -> Record<'t> {
        let sha256 = self.sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let head = match std::str::from_utf8(&self.head) {
            Ok(text) => text.to_owned(),
            // Only a character that the cut halved is dropped; anything else that is no UTF-8 is replaced.
            Err(e) if e.error_len().is_none() => {
                String::from_utf8_lossy(self.head.get(..e.valid_up_to()).unwrap_or_default()).into_owned()
            }
            Err(_) => String::from_utf8_lossy(&self.head).into_owned(),
        };
        Record::Cut { bytes: self.bytes, sha256, head }
    }
}

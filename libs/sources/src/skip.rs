//! Where a value ends by its structure alone, valid or not.

/// Looks for the end of one value by strings, escapes and brackets, fed piece by piece.
#[derive(Debug, Clone, Default)]
pub(crate) struct Skip {
    started: bool,
    depth: usize,
    string: bool,
    escaped: bool,
    plain: bool,
}

impl Skip {
    /// Goes on with `text`; the index behind the value's last byte, or `None` if it goes on.
    pub fn feed(&mut self, text: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            if self.string {
                if std::mem::take(&mut self.escaped) {
                    at += 1;
                    continue;
                }
                at += memchr::memchr2(b'"', b'\\', text.get(at..).unwrap_or_default())? + 1;
                if text.get(at - 1) == Some(&b'\\') {
                    self.escaped = true;
                    continue;
                }
                self.string = false;
                if self.depth == 0 {
                    return Some(at);
                }
                continue;
            }
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b']' | b'}' if self.plain => return Some(at),
                _ if self.plain => {}
                b'"' => self.string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ if !self.started => self.plain = true,
                _ => {}
            }
            self.started = true;
            at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::{self, Scan};
    use proptest::prelude::*;

    proptest! {
        /// Fed in two pieces the structural end is the same, and a valid part is never called bad.
        #[test]
        fn pieces(text in "[\\[\\]{}:,\"a1 \\\\]{0,40}", cut in 0usize..40) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            let whole = Skip::default().feed(bytes);
            let (head, tail) = bytes.split_at(cut);
            let mut skip = Skip::default();
            let parts = skip.feed(head).or_else(|| skip.feed(tail).map(|end| end + cut));
            prop_assert_eq!(parts, whole);
            if let Scan::Whole(_) = scan::value(bytes, 0, true) {
                prop_assert!(!matches!(scan::value(head, 0, false), Scan::Bad(_)) || cut == 0);
            }
        }
    }
}

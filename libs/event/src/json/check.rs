//! Whether a text is in canonical form, without writing it.

use crate::DEPTH_MAX;

/// Objects of more keys are looked through with a hash.
const LISTED_MAX: usize = 48;

/// One JSON value in canonical form, and nothing else.
pub(super) fn is_canonical(text: &[u8]) -> bool {
    if std::str::from_utf8(text).is_err() {
        return false;
    }
    let mut check = Check { text, keys: Vec::with_capacity(LISTED_MAX) };
    check.value(0, 0) == Some(text.len())
}

struct Check<'t> {
    text: &'t [u8],
    /// Keys of the objects that are open, from the outermost on.
    keys: Vec<&'t [u8]>,
}

impl<'t> Check<'t> {
    #[inline]
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    /// The place behind the value that starts at `at`.
    #[inline]
    fn value(&mut self, at: usize, depth: usize) -> Option<usize> {
        match self.byte(at)? {
            b'"' => self.string(at),
            b'{' | b'[' if depth >= DEPTH_MAX => None,
            b'{' => self.object(at, depth),
            b'[' => self.array(at, depth),
            b'-' | b'0'..=b'9' => self.number(at),
            b't' => self.word(at, b"true"),
            b'f' => self.word(at, b"false"),
            b'n' => self.word(at, b"null"),
            _ => None,
        }
    }

    fn word(&self, at: usize, word: &[u8]) -> Option<usize> {
        self.text.get(at..)?.starts_with(word).then_some(at + word.len())
    }

    fn array(&mut self, at: usize, depth: usize) -> Option<usize> {
        let mut at = at + 1;
        if self.byte(at)? == b']' {
            return Some(at + 1);
        }
        loop {
            at = self.value(at, depth + 1)?;
            match self.byte(at)? {
                b']' => return Some(at + 1),
                b',' => at += 1,
                _ => return None,
            }
        }
    }

    fn object(&mut self, at: usize, depth: usize) -> Option<usize> {
        let mut at = at + 1;
        if self.byte(at)? == b'}' {
            return Some(at + 1);
        }
        let first = self.keys.len();
        // A bit per key seen, by its length and ends: most keys are known to be new without comparing any.
        let mut seen = 0u64;
        let mut many: Option<std::collections::HashSet<&'t [u8]>> = None;
        loop {
            if self.byte(at)? != b'"' {
                return None;
            }
            let end = self.string(at)?;
            let key = self.text.get(at + 1..end - 1)?;
            let ends = key.first().copied().unwrap_or(0) ^ key.last().copied().unwrap_or(0).rotate_left(2);
            let bit = 1u64 << ((usize::from(ends) + key.len()) & 63);
            match &mut many {
                Some(many) => {
                    if !many.insert(key) {
                        return None;
                    }
                }
                None => {
                    let own = self.keys.get(first..)?;
                    if seen & bit != 0 && own.contains(&key) {
                        return None;
                    }
                    if own.len() >= LISTED_MAX {
                        many = Some(own.iter().copied().chain([key]).collect());
                    }
                }
            }
            seen |= bit;
            self.keys.push(key);
            if self.byte(end)? != b':' {
                return None;
            }
            at = self.value(end + 1, depth + 1)?;
            match self.byte(at)? {
                b'}' => {
                    self.keys.truncate(first);
                    return Some(at + 1);
                }
                b',' => at += 1,
                _ => return None,
            }
        }
    }

    /// The place behind the string whose opening quote is at `at`.
    #[inline]
    fn string(&self, at: usize) -> Option<usize> {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGH: u64 = 0x8080_8080_8080_8080;
        let zero = |v: u64| v.wrapping_sub(ONES) & !v;
        let mut at = at + 1;
        loop {
            while let Some(chunk) = self.text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
                let x = u64::from_le_bytes(*chunk);
                let control = x.wrapping_sub(ONES * 0x20) & !x;
                // A borrow can flag only bytes above one that is flagged rightly; the lowest is what counts.
                let found = (zero(x ^ (ONES * 0x22)) | zero(x ^ (ONES * 0x5c)) | control) & HIGH;
                if found != 0 {
                    at += found.trailing_zeros() as usize / 8;
                    break;
                }
                at += 8;
            }
            match self.byte(at)? {
                b'"' => return Some(at + 1),
                b'\\' => at = self.escape(at)?,
                0..0x20 => return None,
                // Fewer than eight bytes are left.
                _ => at += 1,
            }
        }
    }

    /// The place behind an escape, which must be the shortest that JSON has for a byte that needs one.
    fn escape(&self, at: usize) -> Option<usize> {
        match self.byte(at + 1)? {
            b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
            b'u' => match self.text.get(at + 2..at + 6)? {
                [b'0', b'0', b'0', b'8' | b'9' | b'a' | b'c' | b'd'] => None,
                [b'0', b'0', b'0' | b'1', b'0'..=b'9' | b'a'..=b'f'] => Some(at + 6),
                _ => None,
            },
            _ => None,
        }
    }

    fn number(&self, at: usize) -> Option<usize> {
        let mut at = if self.byte(at)? == b'-' { at + 1 } else { at };
        at = if self.byte(at)? == b'0' { at + 1 } else { self.digits(at)? };
        if self.byte(at) == Some(b'.') {
            at = self.digits(at + 1)?;
        }
        if let Some(b'e' | b'E') = self.byte(at) {
            let sign = matches!(self.byte(at + 1), Some(b'+' | b'-'));
            at = self.digits(at + 1 + usize::from(sign))?;
        }
        Some(at)
    }

    fn digits(&self, at: usize) -> Option<usize> {
        let rest = self.text.get(at..)?;
        let digits = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
        (digits > 0).then_some(at + digits)
    }
}

//! One pass over a text that may be canonical: whether it is, and, for whoever wants to know, where its members lie.

use std::collections::HashSet;
use std::ops::Range;

use super::plain;
use crate::DEPTH_MAX;

/// Objects of more keys are looked through with a hash.
const LISTED_MAX: usize = 48;

/// Is told where members lie: those of the text itself, of its objects and so on, but of nothing inside an array.
pub(super) trait Members {
    /// Objects down to this depth are told of; 0: none are.
    const DEPTH: usize = 0;

    /// A member begins, of an object at this depth (1: the text itself): its key text without quotes, and where its value
    /// begins. What is returned is handed to [`Members::end`].
    fn begin(&mut self, depth: usize, key: Range<usize>, value: usize) -> usize {
        let _ = (depth, key, value);
        0
    }

    /// Its value ends here.
    fn end(&mut self, member: usize, at: usize) {
        let _ = (member, at);
    }
}

/// Nobody wants to know.
impl Members for () {}

/// One JSON value in canonical form, and nothing else.
pub(super) fn is_canonical(text: &[u8], members: &mut impl Members) -> bool {
    if std::str::from_utf8(text).is_err() {
        return false;
    }
    let mut check = Check { text, keys: Vec::with_capacity(LISTED_MAX), members };
    check.value(0, 0, true) == Some(text.len())
}

struct Check<'t, 'm, M> {
    text: &'t [u8],
    /// Keys of the objects that are open, from the outermost on.
    keys: Vec<&'t [u8]>,
    members: &'m mut M,
}

impl<'t, M: Members> Check<'t, '_, M> {
    #[inline]
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    /// The place behind the value that starts at `at`; `told`: everything around it is an object.
    #[inline]
    fn value(&mut self, at: usize, depth: usize, told: bool) -> Option<usize> {
        match self.byte(at)? {
            b'"' => self.string(at),
            b'{' | b'[' if depth >= DEPTH_MAX => None,
            b'{' => self.object(at, depth + 1, told && depth < M::DEPTH),
            b'[' => self.array(at, depth + 1),
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
            at = self.value(at, depth, false)?;
            match self.byte(at)? {
                b']' => return Some(at + 1),
                b',' => at += 1,
                _ => return None,
            }
        }
    }

    fn object(&mut self, at: usize, depth: usize, told: bool) -> Option<usize> {
        let mut at = at + 1;
        if self.byte(at)? == b'}' {
            return Some(at + 1);
        }
        let mut own = Keys { first: self.keys.len(), seen: 0, many: None };
        loop {
            if self.byte(at)? != b'"' {
                return None;
            }
            let end = self.string(at)?;
            let key = at + 1..end - 1;
            self.new_key(&mut own, self.text.get(key.clone())?)?;
            if self.byte(end)? != b':' {
                return None;
            }
            let member = if told { self.members.begin(depth, key, end + 1) } else { 0 };
            at = self.value(end + 1, depth, told)?;
            if told {
                self.members.end(member, at);
            }
            match self.byte(at)? {
                b'}' => {
                    self.keys.truncate(own.first);
                    return Some(at + 1);
                }
                b',' => at += 1,
                _ => return None,
            }
        }
    }

    /// Takes in a key of the object; `None` if it has one like it.
    #[inline]
    fn new_key(&mut self, object: &mut Keys<'t>, key: &'t [u8]) -> Option<()> {
        if let Some(many) = &mut object.many {
            return many.insert(key).then_some(());
        }
        let ends = key.first().copied().unwrap_or(0) ^ key.last().copied().unwrap_or(0).rotate_left(2);
        let bit = 1u64 << ((usize::from(ends) + key.len()) & 63);
        let own = self.keys.get(object.first..)?;
        if object.seen & bit != 0 && own.contains(&key) {
            return None;
        }
        if own.len() >= LISTED_MAX {
            object.many = Some(own.iter().copied().chain([key]).collect());
        }
        object.seen |= bit;
        self.keys.push(key);
        Some(())
    }

    /// The place behind the string whose opening quote is at `at`.
    #[inline]
    fn string(&self, at: usize) -> Option<usize> {
        let mut at = at + 1;
        loop {
            at += plain(self.text.get(at..)?);
            match self.byte(at)? {
                b'"' => return Some(at + 1),
                b'\\' => at = self.escape(at)?,
                _ => return None,
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

/// The keys of an object, as far as they have been read.
struct Keys<'t> {
    /// Where they begin among those of all open objects.
    first: usize,
    /// A bit per key, by its length and ends: most keys are known to be new without comparing any.
    seen: u64,
    /// Where there are many.
    many: Option<HashSet<&'t [u8]>>,
}

//! Strings: short ones inline, longer ones a slice of a shared buffer (usually the event's line).

use std::rc::Rc;

/// Longest inline string, in bytes.
const INLINE: usize = 22;

/// Valid UTF-8, by construction.
#[derive(Clone)]
pub struct Str(Repr);

#[derive(Clone)]
enum Repr {
    Inline(u8, [u8; INLINE]),
    Shared { buf: Rc<String>, at: u32, len: u32 },
}

impl Str {
    pub(crate) const EMPTY: Self = Self(Repr::Inline(0, [0; INLINE]));

    /// `len` bytes of `buf` from `at`; empty if they are not there.
    pub(crate) fn shared(buf: &Rc<String>, at: usize, len: usize) -> Self {
        match (u32::try_from(at), u32::try_from(len)) {
            (Ok(at), Ok(len)) => Self(Repr::Shared { buf: Rc::clone(buf), at, len }),
            _ => Self::EMPTY,
        }
    }

    fn inline(s: &[u8]) -> Option<Self> {
        let mut data = [0; INLINE];
        data.get_mut(..s.len())?.copy_from_slice(s);
        Some(Self(Repr::Inline(u8::try_from(s.len()).ok()?, data)))
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline(len, data) => data.get(..usize::from(*len)).unwrap_or_default(),
            Repr::Shared { buf, at, len } => {
                let at = *at as usize;
                buf.as_bytes().get(at..at + *len as usize).unwrap_or_default()
            }
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Shared { buf, at, len } => {
                let at = *at as usize;
                buf.get(at..at + *len as usize).unwrap_or_default()
            }
            Repr::Inline(..) => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Repr::Inline(len, _) => usize::from(*len),
            Repr::Shared { len, .. } => *len as usize,
        }
    }

    /// The bytes `start..end`; where a border splits a character, U+FFFD stands for its parts.
    pub(crate) fn slice(&self, start: usize, end: usize) -> Self {
        let all = self.as_bytes();
        let whole = |at: usize| all.get(at).is_none_or(|b| !(0x80..0xc0).contains(b));
        let part = all.get(start..end).unwrap_or_default();
        if !whole(start) || !whole(end) {
            return Self::from(String::from_utf8_lossy(part).into_owned());
        }
        match &self.0 {
            Repr::Shared { buf, at, .. } if part.len() > INLINE => Self::shared(buf, *at as usize + start, part.len()),
            _ => Self::inline(part).unwrap_or(Self::EMPTY),
        }
    }

    /// The slice of this string that `part` is, found by its address.
    pub(crate) fn slice_at(&self, part: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).saturating_sub(self.as_bytes().as_ptr() as usize);
        self.slice(start, start.saturating_add(part.len()))
    }

    /// The buffer and the place in it, if it is shared.
    pub(crate) fn buffer(&self) -> Option<(&Rc<String>, usize)> {
        match &self.0 {
            Repr::Shared { buf, at, .. } => Some((buf, *at as usize)),
            Repr::Inline(..) => None,
        }
    }

    /// Appends, in place if nobody else holds the buffer.
    pub(crate) fn push(self, more: &Str) -> Self {
        let total = self.len() + more.len();
        crate::budget::room(total);
        if total <= INLINE {
            let mut data = [0; INLINE];
            for (to, from) in data.iter_mut().zip(self.as_bytes().iter().chain(more.as_bytes())) {
                *to = *from;
            }
            return Self(Repr::Inline(u8::try_from(total).unwrap_or(0), data));
        }
        let (mut buf, at) = match self.0 {
            Repr::Shared { mut buf, at, len } => match Rc::get_mut(&mut buf) {
                Some(text) if text.len() == at as usize + len as usize => (buf, at),
                _ => (Rc::new(grown(&Self(Repr::Shared { buf, at, len }), total)), 0),
            },
            Repr::Inline(..) => (Rc::new(grown(&self, total)), 0),
        };
        if let Some(text) = Rc::get_mut(&mut buf) {
            text.push_str(more.as_str());
        }
        Self::shared(&buf, at as usize, total)
    }
}

fn grown(start: &Str, capacity: usize) -> String {
    crate::budget::work_bytes(start.len());
    let mut text = String::with_capacity(capacity);
    text.push_str(start.as_str());
    text
}

impl From<String> for Str {
    fn from(s: String) -> Self {
        match Self::inline(s.as_bytes()) {
            Some(short) => short,
            None => {
                let len = s.len();
                Self::shared(&Rc::new(s), 0, len)
            }
        }
    }
}

impl From<&str> for Str {
    fn from(s: &str) -> Self {
        Self::inline(s.as_bytes()).unwrap_or_else(|| Self::from(s.to_owned()))
    }
}

impl PartialEq for Str {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Str {}

impl PartialOrd for Str {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Str {
    /// By bytes, which for UTF-8 is by code points.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl std::hash::Hash for Str {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl std::borrow::Borrow<[u8]> for Str {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn pushing_and_slicing() {
        let long = "x".repeat(40);
        for (a, b) in [("", ""), ("ab", "cd"), ("ab", long.as_str()), (long.as_str(), "ü"), (&long, &long)] {
            let whole = Str::from(a).push(&Str::from(b));
            assert_eq!(whole.as_str(), format!("{a}{b}"));
            let shared = whole.clone();
            assert_eq!(whole.push(&Str::from("!")).as_str(), format!("{a}{b}!"));
            assert_eq!(shared.as_str(), format!("{a}{b}"), "a shared string does not change");
        }
        let text = Str::from(format!("ü{long}"));
        assert_eq!(text.slice(0, 2).as_str(), "ü");
        assert_eq!(text.slice(1, 2).as_str(), "\u{fffd}");
        assert_eq!(text.slice(2, 42).as_str(), long);
        assert_eq!(text.slice(2, 99).as_str(), "");
        assert_eq!(std::mem::size_of::<Str>(), 24);
        assert_eq!(std::mem::size_of::<crate::Val>(), 24);
    }
}

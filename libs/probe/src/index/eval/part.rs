//! Conditions on one value: what it is one of, and what is in it.

use super::super::text::{Elements, Members, string};
use super::value::{Seen, Value, number};
use super::{Eval, LOOKED_MAX, truth};
use crate::analyse::{self, ERROR, Literal, Mask, NO, Set, Text, YES, bits};

impl<'e> Eval<'e> {
    /// Equal to one of these.
    pub(super) fn within(&mut self, value: &Value<'e>, set: &Set) -> Mask {
        truth(match self.see(value) {
            Seen::Null => set.null,
            Seen::Num(n) => set.numbers.contains(&bits(n)),
            Seen::Bool(true) => set.texts.contains(&b"true"[..]),
            Seen::Bool(false) => set.texts.contains(&b"false"[..]),
            Seen::Str(_) if let Value::Raw(raw) = value => set.texts.contains(*raw),
            Seen::Str(text) => {
                let text = Literal::Str(String::from_utf8_lossy(&text).into()).text();
                text.is_some_and(|text| set.texts.contains(&text))
            }
            Seen::Arr | Seen::Obj => false,
        })
    }

    /// A condition on its text.
    pub(super) fn text(&mut self, value: &Value<'e>, text: &Text) -> Mask {
        match self.see(value) {
            Seen::Str(found) => {
                self.counted.bytes += found.len();
                text.holds(&found).map_or(YES | NO, truth)
            }
            _ => ERROR,
        }
    }

    /// Whether it has a member with this key.
    pub(super) fn has(&mut self, value: &Value<'e>, key: &[u8]) -> Mask {
        if let Value::Raw(object @ [b'{', ..]) = value {
            self.counted.looked += object.len();
            return truth(member(object, key).is_some());
        }
        if matches!(self.see(value), Seen::Null) { NO } else { ERROR }
    }

    pub(super) fn contains(&mut self, value: &Value<'e>, part: &Literal) -> Mask {
        match (self.see(value), part) {
            (Seen::Str(text), Literal::Str(part)) => {
                self.counted.bytes += text.len();
                truth(memchr::memmem::find(&text, part.as_bytes()).is_some())
            }
            (Seen::Null, Literal::Null) => YES,
            (Seen::Bool(l), Literal::Bool(r)) if l == *r => YES,
            (Seen::Num(_), Literal::Num(_)) => YES | NO,
            (Seen::Arr, Literal::Arr(parts)) => match value {
                Value::Raw(array) => self.array_contains(array, parts),
                _ => YES | NO,
            },
            _ => ERROR,
        }
    }

    /// Each of the parts in one of the elements.
    fn array_contains(&mut self, array: &'e [u8], parts: &[Literal]) -> Mask {
        for part in parts {
            let Literal::Str(part) = part else { return YES | NO };
            let mut found = false;
            for element in Elements::new(array) {
                self.counted.seen += 1;
                self.counted.bytes += element.len();
                self.counted.looked += element.len();
                if self.counted.looked > LOOKED_MAX {
                    return YES | NO;
                }
                found = string(element).is_some_and(|text| memchr::memmem::find(&text, part.as_bytes()).is_some());
                if found {
                    break;
                }
            }
            if !found {
                return NO;
            }
        }
        YES
    }

    pub(super) fn index(&mut self, value: &Value<'e>, part: &Literal) -> Mask {
        match (self.see(value), part) {
            (Seen::Null, _) => NO,
            (Seen::Str(text), Literal::Str(part)) => {
                // jq goes through it letter by letter.
                self.counted.bytes += text.len() * 4;
                truth(memchr::memmem::find(&text, part.as_bytes()).is_some())
            }
            (Seen::Arr, part) => match value {
                Value::Raw(array) => {
                    let equal = |element: &[u8]| match part {
                        Literal::Str(part) => string(element).is_some_and(|s| *s == *part.as_bytes()),
                        Literal::Bool(part) => element == if *part { &b"true"[..] } else { b"false" },
                        Literal::Null => element == b"null",
                        Literal::Num(part) => number(element).is_some_and(|n| n.f64() == part.f64()),
                        _ => false,
                    };
                    self.counted.bytes += array.len();
                    self.counted.looked += array.len();
                    match part {
                        Literal::Num(n) if !analyse::exact(*n) => YES | NO,
                        _ => truth(Elements::new(array).any(equal)),
                    }
                }
                _ => YES | NO,
            },
            _ => ERROR,
        }
    }
}

impl Text {
    /// `None`: not known.
    fn holds(&self, text: &[u8]) -> Option<bool> {
        match self {
            Self::Starts(part) => Some(text.starts_with(part.as_bytes())),
            Self::Ends(part) => Some(text.ends_with(part.as_bytes())),
            Self::Matches(pattern) => pattern.is_match(text),
        }
    }
}

/// The member of an object with this key, as it stands between quotes.
pub(super) fn member<'t>(object: &'t [u8], key: &[u8]) -> Option<&'t [u8]> {
    Members::new(object).find(|(k, _)| *k == key).map(|(_, value)| value)
}

//! Values as they stand in a canonical line, never parsed as a whole.
//!
//! Whatever the text, nothing here panics or reads beyond it; of a text that is not canonical JSON it is only the answer
//! that is worth nothing.

use std::borrow::Cow;

use event::json;

/// The place behind the string whose opening quote is at `at`.
#[inline]
pub(super) fn string_end(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    loop {
        at += json::plain(text.get(at..).unwrap_or_default());
        match text.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            // No canonical text has a control character here.
            Some(_) => at += 1,
            None => return text.len(),
        }
    }
}

/// The place behind the value that starts at `at`.
#[inline]
pub(super) fn value_end(text: &[u8], at: usize) -> usize {
    match text.get(at) {
        Some(b'"') => string_end(text, at),
        Some(b'{' | b'[') => container_end(text, at),
        _ => scalar_end(text, at),
    }
}

fn scalar_end(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| matches!(b, b',' | b'}' | b']')).unwrap_or(rest.len())
}

fn container_end(text: &[u8], at: usize) -> usize {
    let (mut at, mut depth) = (at, 0usize);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at = string_end(text, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// What stands between the quotes, escapes undone; `None` if the value is no string.
pub(super) fn string(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inner).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    json::parse_str(value).map(|s| Cow::Owned(s.into_owned().into_bytes()))
}

/// The members of an object, as (key text, value text).
pub(super) struct Members<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Members<'t> {
    pub(super) fn new(object: &'t [u8]) -> Self {
        Self { text: object, at: 1 }
    }
}

impl<'t> Iterator for Members<'t> {
    type Item = (&'t [u8], &'t [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.text.get(self.at) != Some(&b'"') {
            return None;
        }
        let key_end = string_end(self.text, self.at);
        let key = self.text.get(self.at + 1..key_end.checked_sub(1)?)?;
        let start = key_end + 1;
        let end = value_end(self.text, start);
        self.at = end + 1;
        Some((key, self.text.get(start..end)?))
    }
}

/// The elements of an array.
pub(super) struct Elements<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Elements<'t> {
    pub(super) fn new(array: &'t [u8]) -> Self {
        Self { text: array, at: 1 }
    }
}

impl<'t> Iterator for Elements<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let end = value_end(self.text, self.at);
        let element = self.text.get(self.at..end).filter(|e| !e.is_empty())?;
        self.at = end + 1;
        Some(element)
    }
}

/// Elements of an array, or values of an object.
pub(super) enum Values<'t> {
    Elements(Elements<'t>),
    Members(Members<'t>),
}

impl<'t> Iterator for Values<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Elements(elements) => elements.next(),
            Self::Members(members) => members.next().map(|(_, value)| value),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_where_they_end() {
        let text = br#"{"a":"x\"}","b":[1,{"c":"]"}],"d":{},"e":-1.5e3,"f":[],"g":null}"#;
        let members: Vec<String> = Members::new(text)
            .map(|(k, v)| format!("{} {}", String::from_utf8_lossy(k), String::from_utf8_lossy(v)))
            .collect();
        assert_eq!(members, [r#"a "x\"}""#, r#"b [1,{"c":"]"}]"#, "d {}", "e -1.5e3", "f []", "g null"]);
        let elements: Vec<&[u8]> = Elements::new(br#"[1,{"c":"]"},"",[]]"#).collect();
        assert_eq!(elements, [&b"1"[..], br#"{"c":"]"}"#, b"\"\"", b"[]"]);
        assert_eq!(Elements::new(b"[]").count() + Members::new(b"{}").count(), 0);
        let long = format!("\"{}\\\"{}\"x", "ü".repeat(40), "y".repeat(70));
        assert_eq!(string_end(long.as_bytes(), 0), long.len() - 1);
        // Garbage ends somewhere, too.
        for garbage in ["", "{", "{\"", "{\"a", "{\"a\"", "{\"a\":", "[1", "[\"\\", "}}}", "]"] {
            Members::new(garbage.as_bytes()).count();
            Elements::new(garbage.as_bytes()).count();
        }
    }
}

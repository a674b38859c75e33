//! JSON values of the harness: numbers keep their text, members their order. Independent of the engine's own.

use event::json;

#[derive(Clone, Debug, PartialEq)]
pub enum J {
    Null,
    Bool(bool),
    Num(String),
    Str(String),
    Arr(Vec<J>),
    Obj(Vec<(String, J)>),
}

impl J {
    /// Reads canonical or nearly canonical text of our own making.
    pub fn read(text: &str) -> Self {
        Self::parse(text.as_bytes()).unwrap_or_else(|| panic!("no JSON: {text}"))
    }

    /// Reads any JSON text that the event library takes.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut canonical = Vec::new();
        json::canonical(text, &mut canonical).ok()?;
        Self::value(&canonical)
    }

    fn value(text: &[u8]) -> Option<Self> {
        Some(match text.first()? {
            b'n' => Self::Null,
            b't' => Self::Bool(true),
            b'f' => Self::Bool(false),
            b'"' => Self::Str(json::parse_str(text)?.into_owned()),
            b'{' => {
                let mut members = Vec::new();
                for member in json::members(text) {
                    let (key, value) = member.ok()?;
                    let key = [b"\"", key, b"\""].concat();
                    members.push((json::parse_str(&key)?.into_owned(), Self::value(value)?));
                }
                Self::Obj(members)
            }
            b'[' => Self::Arr(items(text)?),
            _ => Self::Num(String::from_utf8(text.to_vec()).ok()?),
        })
    }

    /// Appends canonical text.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
            Self::Num(text) => out.extend_from_slice(text.as_bytes()),
            Self::Str(s) => json::write_str(s, out),
            Self::Arr(items) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Obj(members) => {
                out.push(b'{');
                for (i, (key, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    json::write_str(key, out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }

    pub fn text(&self) -> String {
        let mut out = Vec::new();
        self.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// Puts `value` at a place; objects are made on the way, other things there give way only if `force`.
    pub fn set(&mut self, keys: &[String], value: J, force: bool) {
        let Some((key, rest)) = keys.split_first() else {
            *self = value;
            return;
        };
        if !matches!(self, Self::Obj(_)) {
            if !force && *self != Self::Null {
                return;
            }
            *self = Self::Obj(Vec::new());
        }
        let Self::Obj(members) = self else { return };
        match members.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => old.set(rest, value, force),
            None => {
                let mut new = Self::Null;
                new.set(rest, value, true);
                members.push((key.clone(), new));
            }
        }
    }

    pub fn get(&self, key: &str) -> Option<&J> {
        match self {
            Self::Obj(members) => members.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Every value within, itself included.
    pub fn count(&self) -> usize {
        1 + match self {
            Self::Arr(items) => items.iter().map(Self::count).sum(),
            Self::Obj(members) => members.iter().map(|(_, v)| v.count()).sum::<usize>(),
            _ => 0,
        }
    }

    /// The value that is the `n`th within, counted from 0 (itself), to be changed.
    pub fn nth(&mut self, n: usize) -> Option<&mut J> {
        if n == 0 {
            return Some(self);
        }
        let mut left = n - 1;
        let parts: Box<dyn Iterator<Item = &mut J>> = match self {
            Self::Arr(items) => Box::new(items.iter_mut()),
            Self::Obj(members) => Box::new(members.iter_mut().map(|(_, v)| v)),
            _ => return None,
        };
        for part in parts {
            let count = part.count();
            if left < count {
                return part.nth(left);
            }
            left -= count;
        }
        None
    }
}

/// The elements of the canonical array `text`.
fn items(text: &[u8]) -> Option<Vec<J>> {
    let mut all = Vec::new();
    let mut rest = text.strip_prefix(b"[")?.strip_suffix(b"]")?;
    while !rest.is_empty() {
        // The end of an element is the first comma outside of strings and brackets.
        let (mut depth, mut at, mut quoted) = (0usize, 0, false);
        while at < rest.len() {
            match (quoted, rest[at]) {
                (true, b'\\') => at += 1,
                (_, b'"') => quoted = !quoted,
                (false, b'[' | b'{') => depth += 1,
                (false, b']' | b'}') => depth -= 1,
                (false, b',') if depth == 0 => break,
                _ => {}
            }
            at += 1;
        }
        all.push(J::value(&rest[..at])?);
        rest = rest.get(at + 1..).unwrap_or_default();
    }
    Some(all)
}

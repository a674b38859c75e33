//! A place in a JSON text: passes over a value, or writes its canonical form.

use super::{JsonError, plain};
use crate::DEPTH_MAX;

#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    pub(super) text: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    pub(super) fn fail(&self, what: &'static str) -> JsonError {
        JsonError { at: self.at, what }
    }

    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        self.at += usize::from(hit);
        hit
    }

    pub(super) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Passes a string; its text without the quotes.
    pub(super) fn skip_string(&mut self) -> Result<&'a [u8], JsonError> {
        if !self.eat(b'"') {
            return Err(self.fail("expected a string"));
        }
        let start = self.at;
        loop {
            match memchr::memchr2(b'"', b'\\', self.rest()) {
                Some(n) => self.at += n,
                None => {
                    self.at = self.text.len();
                    return Err(self.fail("string without an end"));
                }
            }
            if self.eat(b'"') {
                return Ok(self.text.get(start..self.at - 1).unwrap_or_default());
            }
            self.at += 2; // a backslash and what it escapes
        }
    }

    /// Passes any value by its structure alone, without recursion.
    pub(super) fn skip_value(&mut self) -> Result<(), JsonError> {
        let mut depth = 0usize;
        loop {
            match self.peek() {
                None => return Err(self.fail("value without an end")),
                Some(b'"') => {
                    self.skip_string()?;
                }
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                }
                Some(b'}' | b']') => {
                    if depth == 0 {
                        return Err(self.fail("expected a value"));
                    }
                    depth -= 1;
                    self.at += 1;
                }
                Some(b',' | b':' | b' ' | b'\t' | b'\n' | b'\r') if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                Some(_) => {
                    let start = self.at;
                    while matches!(self.peek(), Some(b'+' | b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')) {
                        self.at += 1;
                    }
                    if self.at == start {
                        return Err(self.fail("expected a value"));
                    }
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Copies one value in canonical form.
    pub(super) fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'{' | b'[') if depth >= DEPTH_MAX => Err(self.fail("nested too deeply")),
            Some(b'{') => self.object(out, depth),
            Some(b'[') => self.array(out, depth),
            Some(b'"') => self.string(out),
            Some(b'-' | b'0'..=b'9') => self.number(out),
            _ => {
                for word in [&b"true"[..], b"false", b"null"] {
                    if self.rest().starts_with(word) {
                        self.at += word.len();
                        out.extend_from_slice(word);
                        return Ok(());
                    }
                }
                Err(self.fail("expected a value"))
            }
        }
    }

    fn array(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), JsonError> {
        self.at += 1;
        out.push(b'[');
        self.space();
        if self.eat(b']') {
            out.push(b']');
            return Ok(());
        }
        loop {
            self.space();
            self.value(out, depth + 1)?;
            self.space();
            if self.eat(b']') {
                out.push(b']');
                return Ok(());
            }
            if !self.eat(b',') {
                return Err(self.fail("expected `,` or `]`"));
            }
            out.push(b',');
        }
    }

    fn object(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), JsonError> {
        self.at += 1;
        let start = out.len();
        out.push(b'{');
        // Where each member lies in `out`: start of its key text, start of its value, end.
        let mut places: Vec<[usize; 3]> = Vec::new();
        self.space();
        if self.eat(b'}') {
            out.push(b'}');
            return Ok(());
        }
        loop {
            self.space();
            let key = out.len();
            if self.peek() != Some(b'"') {
                return Err(self.fail("expected a key"));
            }
            self.string(out)?;
            let colon = out.len();
            self.space();
            if !self.eat(b':') {
                return Err(self.fail("expected `:`"));
            }
            out.push(b':');
            self.space();
            self.value(out, depth + 1)?;
            places.push([key, colon, out.len()]);
            self.space();
            if self.eat(b'}') {
                break;
            }
            if !self.eat(b',') {
                return Err(self.fail("expected `,` or `}`"));
            }
            out.push(b',');
        }
        out.push(b'}');
        if key_twice(out, &places) {
            last_wins(out, start, &places);
        }
        Ok(())
    }

    /// A string: plain runs are copied, escapes undone and written again as sparingly as JSON allows.
    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        self.at += 1;
        out.push(b'"');
        loop {
            let rest = self.rest();
            let n = plain(rest);
            out.extend_from_slice(rest.get(..n).unwrap_or_default());
            self.at += n;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    out.push(b'"');
                    return Ok(());
                }
                Some(b'\\') => self.escaped(out)?,
                Some(_) => return Err(self.fail("control character in a string")),
                None => return Err(self.fail("string without an end")),
            }
        }
    }

    fn escaped(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let code = match self.rest().get(1) {
            Some(b'"') => b'"',
            Some(b'\\') => b'\\',
            Some(b'/') => b'/',
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => return self.unicode(out),
            _ => return Err(self.fail("unknown escape in a string")),
        };
        self.at += 2;
        if code == b'/' {
            out.push(b'/')
        } else {
            escape(code, out)
        }
        Ok(())
    }

    fn unicode(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let high = self.hex4()?;
        let code = match high {
            0xd800..=0xdbff => {
                let lone = JsonError { at: self.at, what: "lone surrogate in a string" };
                if !self.rest().starts_with(b"\\u") {
                    return Err(lone);
                }
                match self.hex4()? {
                    low @ 0xdc00..=0xdfff => 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                    _ => return Err(lone),
                }
            }
            code => code,
        };
        match char::from_u32(code) {
            None => Err(self.fail("lone surrogate in a string")),
            Some(c) if c < ' ' || c == '"' || c == '\\' => {
                escape(u8::try_from(code).unwrap_or(b' '), out);
                Ok(())
            }
            Some(c) => {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                Ok(())
            }
        }
    }

    /// Passes `\uXXXX`.
    fn hex4(&mut self) -> Result<u32, JsonError> {
        let digits = self.rest().get(2..6).and_then(|d| std::str::from_utf8(d).ok()).filter(|d| !d.starts_with('+'));
        let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
        let code = code.ok_or_else(|| self.fail("unknown escape in a string"))?;
        self.at += 6;
        Ok(code)
    }

    /// A number keeps its text; only its grammar is checked.
    fn number(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits()?;
        }
        out.extend_from_slice(self.text.get(start..self.at).unwrap_or_default());
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.fail("expected a digit")) } else { Ok(()) }
    }
}

/// Objects up to this many keys are compared pair by pair, which is faster than hashing; larger ones would be slow.
const PAIRWISE_MAX: usize = 24;

fn key_twice(out: &[u8], places: &[[usize; 3]]) -> bool {
    let key = |p: &[usize; 3]| out.get(p[0]..p[1]).unwrap_or_default();
    if places.len() > PAIRWISE_MAX {
        let mut seen = std::collections::HashSet::with_capacity(places.len());
        return !places.iter().all(|p| seen.insert(key(p)));
    }
    places.iter().enumerate().any(|(i, p)| places.iter().take(i).any(|q| key(q) == key(p)))
}

/// Rewrites the object that begins at `start`: of equal keys the first keeps its place and takes the last value.
fn last_wins(out: &mut Vec<u8>, start: usize, places: &[[usize; 3]]) {
    let old = out.split_off(start);
    let part = |from: usize, to: usize| old.get(from - start..to - start).unwrap_or_default();
    out.push(b'{');
    let mut seen = std::collections::HashSet::new();
    let last: std::collections::HashMap<&[u8], &[usize; 3]> = places.iter().map(|p| (part(p[0], p[1]), p)).collect();
    for [key, colon, _] in places {
        let key = part(*key, *colon);
        if !seen.insert(key) {
            continue;
        }
        if seen.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(key);
        if let Some([_, colon, end]) = last.get(key) {
            out.extend_from_slice(part(*colon, *end));
        }
    }
    out.push(b'}');
}

/// The shortest escape that JSON has for this byte.
pub(super) fn escape(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        0x08 => out.extend_from_slice(b"\\b"),
        0x0c => out.extend_from_slice(b"\\f"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0..0x20 => {
            let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' - 10 + n };
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
        }
        plain => out.push(plain),
    }
}

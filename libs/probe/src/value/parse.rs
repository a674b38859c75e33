//! JSON text to values, in one pass.
//!
//! Strict: only what `event::json::canonical` takes too. A lone surrogate is refused (jq makes U+FFFD of it), of a key
//! that comes twice the last value counts, and numbers keep their text unless they are integers of 64 bits.

use std::fmt;
use std::rc::Rc;

use event::json;

use super::{Map, Str, Val};
use crate::budget;

/// Where and why a text is no JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Byte offset.
    pub at: usize,
    /// The reason, a lower-case fragment.
    pub what: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for ParseError {}

/// Reads one line (or any JSON text), at most [`event::LINE_MAX`] bytes and [`event::DEPTH_MAX`] levels.
///
/// # Errors
/// It is no JSON value, not UTF-8, too long or too deep.
pub fn parse(line: &[u8]) -> Result<Val, ParseError> {
    if line.len() > event::LINE_MAX {
        return Err(ParseError { at: event::LINE_MAX, what: "text is longer than a line may be" });
    }
    let text =
        std::str::from_utf8(line).map_err(|e| ParseError { at: e.valid_up_to(), what: "text is not valid UTF-8" })?;
    all(&Rc::new(text.to_owned()), 0, text.len(), false)
}

/// Reads a text of any length, as imported data may have.
pub(crate) fn parse_text(text: &str) -> Result<Val, ParseError> {
    all(&Rc::new(text.to_owned()), 0, text.len(), false)
}

/// Reads the text of a string value (`fromjson`, `tonumber`); its strings are slices of it.
pub(crate) fn parse_str_value(text: &Str) -> Result<Val, ParseError> {
    match text.buffer() {
        Some((buf, at)) => all(buf, at, at + text.len(), true),
        None => {
            let buf = Rc::new(text.as_str().to_owned());
            all(&buf, 0, buf.len(), true)
        }
    }
}

/// Reads `buf[start..end]`; positions in errors count from `start`. `counted` is for texts that a filter made.
fn all(buf: &Rc<String>, start: usize, end: usize, counted: bool) -> Result<Val, ParseError> {
    let text = buf.as_bytes().get(..end).unwrap_or_default();
    let mut parser = Parser { buf, text, at: start, counted, items: Vec::new(), members: Vec::with_capacity(32) };
    parser.space();
    let value = parser.value(0);
    let value = value.and_then(|v| {
        parser.space();
        if parser.at == end { Ok(v) } else { Err(parser.error("text goes on after the value")) }
    });
    value.map_err(|e| ParseError { at: e.at.saturating_sub(start), ..e })
}

struct Parser<'a> {
    buf: &'a Rc<String>,
    text: &'a [u8],
    at: usize,
    counted: bool,
    /// Elements and members of the containers that are open, so that each container is allocated once and fits.
    items: Vec<Val>,
    members: Vec<(Str, Val)>,
}

impl Parser<'_> {
    fn error(&self, what: &'static str) -> ParseError {
        ParseError { at: self.at, what }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &[u8], value: Val) -> Result<Val, ParseError> {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.error("no JSON value"))
        }
    }

    fn value(&mut self, depth: usize) -> Result<Val, ParseError> {
        if self.counted {
            budget::work(1);
        }
        match self.peek() {
            Some(b'"') => Ok(Val::Str(self.string()?)),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true", Val::Bool(true)),
            Some(b'f') => self.word(b"false", Val::Bool(false)),
            Some(b'n') => self.word(b"null", Val::Null),
            Some(_) => Err(self.error("no JSON value")),
            None => Err(self.error("text ends within a value")),
        }
    }

    /// Steps over the opening bracket; `true` if the closing one follows at once.
    fn open(&mut self, depth: usize, close: u8) -> Result<bool, ParseError> {
        if depth >= event::DEPTH_MAX {
            return Err(self.error("value is nested too deeply"));
        }
        self.at += 1;
        self.space();
        let empty = self.peek() == Some(close);
        self.at += usize::from(empty);
        Ok(empty)
    }

    /// Steps over what follows an element; `true` if that was the closing bracket.
    #[inline]
    fn next(&mut self, close: u8) -> Result<bool, ParseError> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.space();
                Ok(false)
            }
            Some(b) if b == close => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.error("neither a comma nor the end of the array or object")),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Val, ParseError> {
        if self.open(depth, b']')? {
            return Ok(Val::arr(Vec::new()));
        }
        let start = self.items.len();
        loop {
            let item = self.value(depth + 1)?;
            self.items.push(item);
            if self.next(b']')? {
                return Ok(Val::arr(self.items.drain(start..).collect()));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Val, ParseError> {
        if self.open(depth, b'}')? {
            return Ok(Val::obj(Map::default()));
        }
        let start = self.members.len();
        // A bit per key seen, by length and ends: most keys are known to be new without comparing any.
        let (mut seen, mut distinct) = (0u64, true);
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.error("no key"));
            }
            let key = self.string()?;
            let bytes = key.as_bytes();
            let ends = bytes.first().copied().unwrap_or(0) ^ bytes.last().copied().unwrap_or(0).rotate_left(2);
            let bit = 1u64 << ((usize::from(ends) + bytes.len()) & 63);
            if seen & bit != 0 && distinct {
                distinct = !self.members.get(start..).unwrap_or_default().iter().any(|(k, _)| *k == key)
                    && self.members.len() - start < 64;
            }
            seen |= bit;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.error("no colon after a key"));
            }
            self.at += 1;
            self.space();
            let value = self.value(depth + 1)?;
            self.members.push((key, value));
            if self.next(b'}')? {
                return Ok(Val::obj(Map::new(self.members.drain(start..).collect(), distinct)));
            }
        }
    }

    /// A string, its opening quote next.
    #[inline]
    fn string(&mut self) -> Result<Str, ParseError> {
        self.at += 1;
        let start = self.at;
        self.skip_plain();
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Str::shared(self.buf, start, self.at - 1 - start));
        }
        self.escaped(start)
    }

    /// Moves to the next quote, backslash or control character.
    #[inline]
    fn skip_plain(&mut self) {
        self.at += json::plain(self.text.get(self.at..).unwrap_or_default());
    }

    #[cold]
    fn escaped(&mut self, start: usize) -> Result<Str, ParseError> {
        let mut out = String::new();
        let mut plain = start;
        loop {
            out.push_str(self.buf.get(plain..self.at).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    budget::work_bytes(out.len());
                    return Ok(Str::from(out));
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                Some(_) => return Err(self.error("control character in a string")),
                None => return Err(self.error("text ends within a string")),
            }
            plain = self.at;
            self.skip_plain();
        }
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        let Some(b) = self.peek() else { return Err(self.error("text ends within a string")) };
        self.at += 1;
        Ok(match b {
            b'"' | b'\\' | b'/' => char::from(b),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(self.error("unknown escape")),
        })
    }

    fn unicode(&mut self) -> Result<char, ParseError> {
        let first = self.hex()?;
        let code = match first {
            0xd800..0xdc00 if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u")) => {
                self.at += 2;
                match self.hex()? {
                    second @ 0xdc00..0xe000 => 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                    _ => return Err(self.error("lone surrogate")),
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or_else(|| self.error("lone surrogate"))
    }

    fn hex(&mut self) -> Result<u32, ParseError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.error("no four hex digits"))?;
            self.at += 1;
        }
        Ok(code)
    }

    fn digits(&mut self) -> Result<usize, ParseError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(self.error("no digit in a number")) } else { Ok(self.at - start) }
    }

    fn number(&mut self) -> Result<Val, ParseError> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let zero = self.peek() == Some(b'0');
        if self.digits()? > 1 && zero {
            return Err(self.error("number starts with 0"));
        }
        let mut integer = true;
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
            integer = false;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
            integer = false;
        }
        let text = self.buf.get(start..self.at).unwrap_or_default();
        if integer && let v @ Val::Int(_) = Val::literal(text) {
            return Ok(v);
        }
        Ok(Val::Dec(text.into()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written() {
        for (text, want) in [
            (r#" {"a" : [1, -0, 1.50, 1e2, true,false,null] } "#, r#"{"a":[1,-0,1.50,1e2,true,false,null]}"#),
            (r#"{"a":1,"b":2,"a":{}}"#, r#"{"a":{},"b":2}"#),
            (r#"{"\u0061":1,"a":2}"#, r#"{"a":2}"#),
            (r#""\u00e4\n\ud83d\ude00\/""#, "\"ä\\n😀/\""),
            ("12345678901234567890123", "12345678901234567890123"),
            ("9223372036854775807", "9223372036854775807"),
            ("\"0123456é\\\\89\"", "\"0123456é\\\\89\""),
            ("[]", "[]"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap().to_json().unwrap(), want, "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        let deep = "[".repeat(129) + &"]".repeat(129);
        for text in [
            "",
            " ",
            "{",
            "[1,]",
            "{\"a\"}",
            "{a:1}",
            "01",
            "-",
            "1.",
            "1e",
            "nul",
            "NaN",
            "\"\\x\"",
            "\"a",
            "\"\u{1}\"",
            r#""\ud800""#,
            r#""\ud800\u0041""#,
            r#""\udc00""#,
            r#""\u00g0""#,
            "1 2",
            "[1 2]",
            "{\"a\":1 \"b\"}",
            "+1",
            "#",
            &deep,
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert!(parse(&vec![b' '; event::LINE_MAX + 1]).is_err());
        let deep = "[".repeat(128) + &"]".repeat(128);
        assert!(parse(deep.as_bytes()).is_ok());
    }

    #[test]
    fn many_keys_and_repeats() {
        let members: Vec<String> = (0..200).map(|i| format!("\"k{}\":{i}", i % 150)).collect();
        let v = parse(format!("{{{}}}", members.join(",")).as_bytes()).unwrap();
        assert_eq!(v.get("k0").unwrap(), &Val::Int(150));
        assert_eq!(v.get("k149").unwrap(), &Val::Int(149));
        let Val::Obj(map) = &v else { unreachable!() };
        assert_eq!(map.len(), 150);
    }
}

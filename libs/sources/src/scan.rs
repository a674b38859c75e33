//! One pass over one JSON value: is it valid, where does it end, has it white space to lose, what time does it name.
//!
//! No recursion and no tree: what encloses the cursor is a bit per level.

use std::ops::Range;

use event::json::special;

/// The deepest record that travels as JSON: a line wraps it once as raw and once as event, and the line's own bound is
/// [`event::DEPTH_MAX`]. It must stay below 128, the bits of the stack here.
pub const RECORD_DEPTH_MAX: usize = event::DEPTH_MAX - 2;

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Not JSON.
    Json,
    /// Deeper than [`RECORD_DEPTH_MAX`].
    Deep,
    /// Not UTF-8. The scan itself does not look at that; its callers do.
    Utf8,
}

/// The outcome of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scan {
    /// A whole valid value.
    Whole(Found),
    /// The text ends within the value.
    Part,
    /// Not a value that we take.
    Bad(Flaw),
}

/// A whole value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Where it ends in the text.
    pub end: usize,
    /// It has white space outside strings.
    pub spaces: bool,
    /// It is ASCII, and so UTF-8.
    pub ascii: bool,
    /// The value of its own member `unixTime` (the last one wins).
    pub unix_time: Option<Range<usize>>,
    /// The value of its own member `calendarTime`.
    pub calendar_time: Option<Range<usize>>,
}

/// Scans the value that begins at `at`. `last`: nothing follows `text`, so a number may end with it.
pub(crate) fn value(text: &[u8], at: usize, last: bool) -> Scan {
    let mut scanner = Scanner {
        text,
        at,
        depth: 0,
        objects: 0,
        high: 0,
        found: Found::default(),
        time: Time::None,
        time_at: 0,
        plain: false,
    };
    let outcome = scanner.value();
    match outcome {
        Ok(()) => {}
        Err(Stop::Part) => return if last { Scan::Bad(Flaw::Json) } else { Scan::Part },
        Err(Stop::Bad(flaw)) => return Scan::Bad(flaw),
    }
    if scanner.plain {
        match text.get(scanner.at) {
            None if !last => return Scan::Part,
            None | Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b']' | b'}') => {}
            Some(_) => return Scan::Bad(Flaw::Json),
        }
    }
    scanner.found.end = scanner.at;
    scanner.found.ascii = scanner.high & HIGH == 0;
    Scan::Whole(scanner.found)
}

/// The items of the array `text`, which is known to be valid and without white space around its items.
pub(crate) fn items(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 1;
    std::iter::from_fn(move || match value(text, at, false) {
        Scan::Whole(found) => {
            let item = text.get(at..found.end);
            at = found.end + 1; // the comma or the closing bracket
            item
        }
        _ => None,
    })
}

enum Stop {
    Part,
    Bad(Flaw),
}

const BAD: Stop = Stop::Bad(Flaw::Json);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Time {
    None,
    Unix,
    Calendar,
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    /// One bit a level, the innermost lowest: set for an object, clear for an array.
    objects: u128,
    /// All bytes of strings, or-ed together. A few behind a string get in, too: then it may look like no ASCII when
    /// it is, never the other way.
    high: u64,
    found: Found,
    /// The member whose value comes next names a time.
    time: Time,
    time_at: usize,
    /// The outermost value is a number or a word, which has no end of its own.
    plain: bool,
}

impl Scanner<'_> {
    #[inline]
    fn byte(&self) -> Result<u8, Stop> {
        self.text.get(self.at).copied().ok_or(Stop::Part)
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
            self.found.spaces = true;
        }
    }

    fn value(&mut self) -> Result<(), Stop> {
        loop {
            match self.byte()? {
                b'"' => self.string()?,
                b'{' => {
                    self.open(true)?;
                    match self.byte()? {
                        b'}' => self.close(),
                        _ => {
                            self.key()?;
                            continue;
                        }
                    }
                }
                b'[' => {
                    self.open(false)?;
                    match self.byte()? {
                        b']' => self.close(),
                        _ => continue,
                    }
                }
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                _ => return Err(BAD),
            }
            if self.time != Time::None {
                self.note_time();
            }
            loop {
                if self.depth == 0 {
                    return Ok(());
                }
                self.space();
                let object = self.objects & 1 == 1;
                match self.byte()? {
                    b',' => {
                        self.at += 1;
                        self.space();
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if object => self.close(),
                    b']' if !object => self.close(),
                    _ => return Err(BAD),
                }
            }
        }
    }

    fn open(&mut self, object: bool) -> Result<(), Stop> {
        if self.depth >= RECORD_DEPTH_MAX {
            return Err(Stop::Bad(Flaw::Deep));
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(object);
        self.at += 1;
        self.space();
        Ok(())
    }

    fn close(&mut self) {
        self.at += 1;
        self.depth = self.depth.saturating_sub(1);
        self.objects >>= 1;
    }

    /// A key, its colon, and the white space up to the value.
    #[inline]
    fn key(&mut self) -> Result<(), Stop> {
        if self.byte()? != b'"' {
            return Err(BAD);
        }
        let start = self.at + 1;
        self.string()?;
        let end = self.at - 1;
        self.space();
        if self.byte()? != b':' {
            return Err(BAD);
        }
        self.at += 1;
        self.space();
        if self.depth == 1 {
            self.time = match self.text.get(start..end) {
                Some(b"unixTime") => Time::Unix,
                Some(b"calendarTime") => Time::Calendar,
                _ => Time::None,
            };
            self.time_at = self.at;
        }
        Ok(())
    }

    #[cold]
    fn note_time(&mut self) {
        let span = Some(self.time_at..self.at);
        // Within an object or array that stands where a time should be, the depth differs: that names none.
        match self.time {
            Time::Unix if self.depth == 1 => self.found.unix_time = span,
            Time::Calendar if self.depth == 1 => self.found.calendar_time = span,
            _ => {}
        }
        self.time = Time::None;
    }

    #[inline]
    fn string(&mut self) -> Result<(), Stop> {
        self.at += 1;
        loop {
            while let Some(chunk) = self.text.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
                let word = u64::from_le_bytes(*chunk);
                self.high |= word;
                let special = special(word);
                if special != 0 {
                    self.at += special.trailing_zeros() as usize / 8;
                    break;
                }
                self.at += 8;
            }
            match self.byte()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.escape()?,
                0..0x20 => return Err(BAD),
                byte => {
                    self.high |= u64::from(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self) -> Result<(), Stop> {
        self.at += 1;
        match self.byte()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                for _ in 0..4 {
                    self.at += 1;
                    if !self.byte()?.is_ascii_hexdigit() {
                        return Err(BAD);
                    }
                }
                self.at += 1;
            }
            _ => return Err(BAD),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Stop> {
        self.plain = self.depth == 0;
        if self.byte()? == b'-' {
            self.at += 1;
        }
        if self.byte()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let b'+' | b'-' = self.byte()? {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Stop> {
        if !self.byte()?.is_ascii_digit() {
            return Err(BAD);
        }
        while let Some(b'0'..=b'9') = self.text.get(self.at) {
            self.at += 1;
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Stop> {
        self.plain = self.depth == 0;
        for want in word {
            if self.byte()? != *want {
                return Err(BAD);
            }
            self.at += 1;
        }
        Ok(())
    }
}

/// The high bits of eight bytes: of none if all are ASCII.
const HIGH: u64 = 0x8080_8080_8080_8080;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, want: Result<(bool, Option<&str>, Option<&str>), Flaw>) {
        let got = match value(text.as_bytes(), 0, true) {
            Scan::Whole(found) => {
                assert_eq!(found.end, text.len(), "{text}");
                Ok((found.spaces, found.unix_time.map(|r| &text[r]), found.calendar_time.map(|r| &text[r])))
            }
            Scan::Bad(flaw) => Err(flaw),
            Scan::Part => unreachable!("nothing follows"),
        };
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn finds_times_and_spaces() {
        check(r#"{"unixTime":12,"a":[1,{"unixTime":3}]}"#, Ok((false, Some("12"), None)));
        check(r#"{"unixTime":"12", "unixTime":"13"}"#, Ok((true, Some("\"13\""), None)));
        check(r#"{"a":" ","calendarTime":"x y","unixTime":{"s":1}}"#, Ok((false, None, Some("\"x y\""))));
        check(r#"{"unixTime":[7],"b":1}"#, Ok((false, None, None)));
        check("[{\"unixTime\":1}]", Ok((false, None, None)));
        check("{\n}", Ok((true, None, None)));
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        check(&deep(RECORD_DEPTH_MAX), Ok((false, None, None)));
        check(&deep(RECORD_DEPTH_MAX + 1), Err(Flaw::Deep));
        check(&deep(100_000), Err(Flaw::Deep));
        for bad in ["", "{", "[1,]", "{\"a\":1,}", "{\"a\"}", "{a:1}", "01", "-", "1.", "1e", "tru", "truex", "\"\\x\""]
        {
            check(bad, Err(Flaw::Json));
        }
        check("\"a\u{0}b\"", Err(Flaw::Json));
    }

    #[test]
    fn items_of_a_list() {
        let got: Vec<_> = items(br#"[{"a":[1]},2,"x,]",[]]"#).map(|i| std::str::from_utf8(i).unwrap()).collect();
        assert_eq!(got, [r#"{"a":[1]}"#, "2", r#""x,]""#, "[]"]);
        assert_eq!(items(b"[]").count(), 0);
    }

    proptest! {
        /// The scan says what serde_json says, and the structural end of a valid value is its end.
        #[test]
        fn agrees_with_serde(text in "[\\[\\]{}:,\"a-c0-9 \\\\ue.\\-trlsnf\n]{0,40}") {
            let serde = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok_and(|v| v.get() == text);
            let scan = value(text.as_bytes(), 0, true);
            let whole = matches!(&scan, Scan::Whole(found) if found.end == text.len());
            prop_assert_eq!(whole, serde, "{}", text);
            if whole {
                let end = crate::skip::Skip::default().feed(format!("{text},").as_bytes());
                prop_assert_eq!(end, Some(text.len()), "{}", text);
            }
        }
    }
}

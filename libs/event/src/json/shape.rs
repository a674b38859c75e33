//! One pass over a text that is probably canonical: whether it is, and where its members lie. No trees, nothing copied.

use std::ops::Range;

use super::Member;

/// Members are noted down to this depth: of the text itself, of its objects, and of theirs.
const NOTED: usize = 3;
/// Deeper texts are left to [`super::canonical`].
const DEEP: usize = 64;
/// The spot of what is no member, or of none that is noted.
const NO_SPOT: usize = usize::MAX;
/// Objects up to this many keys are compared pair by pair; the keys of larger ones are sorted.
const PAIRWISE_MAX: usize = 32;

/// Where the members of a canonical text lie. Kept from line to line for its memory.
#[derive(Debug, Default)]
pub struct Shape {
    spots: Vec<Spot>,
    /// Of each key of the objects that are open: a number that differs from that of any other key in the object.
    keys: Vec<u64>,
    open: Vec<Open>,
}

/// A member, in the order of the text: what lies in its value comes right behind it.
#[derive(Debug, Clone)]
struct Spot {
    depth: usize,
    key: Range<usize>,
    value: Range<usize>,
}

impl Shape {
    /// Reads a text. False: it is not canonical, or this pass cannot tell; then [`super::canonical`] decides.
    pub fn read(&mut self, text: &[u8]) -> bool {
        self.spots.clear();
        self.keys.clear();
        self.open.clear();
        std::str::from_utf8(text).is_ok() && Pass { text, at: 0, shape: self }.whole().is_some()
    }

    /// The members of the text that was read last.
    pub fn root<'a>(&'a self, text: &'a [u8]) -> Object<'a> {
        Object { text, spots: &self.spots, depth: 1 }
    }
}

/// The members of an object.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    text: &'a [u8],
    /// Its own members and those within them.
    spots: &'a [Spot],
    depth: usize,
}

impl<'a> Object<'a> {
    /// Key text without its quotes and value text, in order, and what lies within the value if that is an object.
    pub fn members(self) -> impl Iterator<Item = (Member<'a>, Object<'a>)> {
        let mut spots = self.spots;
        std::iter::from_fn(move || {
            let (spot, behind) = spots.split_first()?;
            let within = behind.iter().take_while(|inner| inner.depth > self.depth).count();
            let (within, next) = behind.split_at(within);
            spots = next;
            let part = |at: &Range<usize>| self.text.get(at.clone()).unwrap_or_default();
            let inner = Object { text: self.text, spots: within, depth: self.depth + 1 };
            Some(((part(&spot.key), part(&spot.value)), inner))
        })
    }

    /// The value texts of these keys.
    pub fn get<const N: usize>(self, keys: [&[u8]; N]) -> [Option<&'a [u8]>; N] {
        let mut found = [None; N];
        for ((key, value), _) in self.members() {
            for (place, _) in found.iter_mut().zip(keys).filter(|(_, wanted)| *wanted == key) {
                *place = Some(value);
            }
        }
        found
    }
}

struct Pass<'t, 's> {
    text: &'t [u8],
    at: usize,
    shape: &'s mut Shape,
}

/// An object or array that is open.
#[derive(Debug, Clone, Copy)]
struct Open {
    object: bool,
    /// Its members are noted.
    noted: bool,
    /// Where its keys begin in `keys`, and the spot of the member that it is the value of.
    keys: usize,
    spot: usize,
}

impl Pass<'_, '_> {
    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn whole(&mut self) -> Option<()> {
        self.value()?;
        (self.at == self.text.len()).then_some(())
    }

    fn value(&mut self) -> Option<()> {
        // The spot of the member whose value comes next.
        let mut spot = NO_SPOT;
        loop {
            match self.byte()? {
                b'"' => _ = self.string()?,
                open @ (b'{' | b'[') => {
                    self.at += 1;
                    let object = open == b'{';
                    if self.byte()? != if object { b'}' } else { b']' } {
                        spot = self.open(object, spot)?;
                        continue;
                    }
                    self.at += 1;
                }
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                _ => return None,
            }
            // A value has ended; so may those that it is the last of.
            loop {
                if let Some(spot) = self.shape.spots.get_mut(spot) {
                    spot.value.end = self.at;
                }
                let Some(open) = self.shape.open.last().copied() else { return Some(()) };
                match self.byte()? {
                    b',' => {
                        self.at += 1;
                        spot = if open.object { self.key(open.noted)? } else { NO_SPOT };
                        break;
                    }
                    b'}' if open.object => self.differ(open.keys)?,
                    b']' if !open.object => {}
                    _ => return None,
                }
                self.at += 1;
                self.shape.open.pop();
                spot = open.spot;
            }
        }
    }

    /// An object or array with something in it, the value of the member at `spot`; the spot of its first member.
    fn open(&mut self, object: bool, spot: usize) -> Option<usize> {
        let shape = &mut *self.shape;
        let noted = object && shape.open.len() < NOTED && shape.open.last().is_none_or(|outer| outer.noted);
        shape.open.push(Open { object, noted, keys: shape.keys.len(), spot });
        if shape.open.len() > DEEP {
            return None;
        }
        if object { self.key(noted) } else { Some(NO_SPOT) }
    }

    /// A key and its colon; its spot.
    fn key(&mut self, noted: bool) -> Option<usize> {
        if self.byte()? != b'"' {
            return None;
        }
        let key = self.string()?;
        if self.byte()? != b':' {
            return None;
        }
        self.at += 1;
        self.shape.keys.push(number_of(self.text, key.clone()));
        if !noted {
            return Some(NO_SPOT);
        }
        self.shape.spots.push(Spot { depth: self.shape.open.len(), key, value: self.at..self.at });
        Some(self.shape.spots.len() - 1)
    }

    /// The keys from this one on are an object's: all different, as far as their numbers tell.
    fn differ(&mut self, first: usize) -> Option<()> {
        let keys = self.shape.keys.get_mut(first..).unwrap_or_default();
        let twice = if keys.len() > PAIRWISE_MAX {
            keys.sort_unstable();
            keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b))
        } else {
            let before = |i: usize| keys.get(..i).unwrap_or_default();
            // No early end: that way the compiler compares several at once.
            keys.iter().enumerate().any(|(i, key)| before(i).iter().fold(false, |hit, other| hit | (other == key)))
        };
        self.shape.keys.truncate(first);
        (!twice).then_some(())
    }

    /// A string; where its text lies.
    #[inline]
    fn string(&mut self) -> Option<Range<usize>> {
        self.at += 1;
        let start = self.at;
        loop {
            while let Some(chunk) = self.text.get(self.at..).and_then(<[u8]>::first_chunk::<8>) {
                let special = special(u64::from_le_bytes(*chunk));
                if special != 0 {
                    self.at += special.trailing_zeros() as usize / 8;
                    break;
                }
                self.at += 8;
            }
            match self.byte()? {
                b'"' => {
                    self.at += 1;
                    return Some(start..self.at - 1);
                }
                b'\\' => self.escape()?,
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }

    /// An escape that JSON demands, as short as it can be.
    fn escape(&mut self) -> Option<()> {
        match self.text.get(self.at + 1)? {
            b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let digits = self.text.get(self.at + 2..self.at + 6)?;
                let [b'0', b'0', high @ (b'0' | b'1'), low @ (b'0'..=b'9' | b'a'..=b'f')] = digits else { return None };
                if *high == b'0' && matches!(low, b'8' | b'9' | b'a' | b'c' | b'd') {
                    return None; // these have short forms
                }
                self.at += 6;
            }
            _ => return None,
        }
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        if self.byte()? == b'-' {
            self.at += 1;
        }
        if self.byte()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let b'+' | b'-' = self.byte()? {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.at += word.len();
        (self.text.get(self.at - word.len()..self.at)? == word).then_some(())
    }
}

/// A number for a key: equal keys have equal ones, and different ones nearly always differ.
fn number_of(text: &[u8], key: Range<usize>) -> u64 {
    let (mut number, mut at) = (key.len() as u64, key.start);
    while at < key.end {
        let word = match text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => text.get(at..).unwrap_or_default().iter().rev().fold(0, |word, b| word << 8 | u64::from(*b)),
        };
        let left = key.end - at;
        let word = if left < 8 { word & ((1 << (8 * left)) - 1) } else { word };
        number = (number.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        at += 8;
    }
    number
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The high bit of each byte at which a string may end or must not go on: a quote, a backslash, a control character. Bits
/// above the lowest one may be wrong (borrows run upward), the lowest never is.
#[inline]
fn special(word: u64) -> u64 {
    let zero = |x: u64| x.wrapping_sub(ONES) & !x;
    let quote = zero(word ^ (ONES * b'"' as u64));
    let backslash = zero(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGH
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::canonical;

    fn is_canonical(text: &[u8]) -> bool {
        let mut out = Vec::new();
        canonical(text, &mut out).is_ok() && out == text
    }

    #[test]
    fn knows_canonical_texts() {
        for text in [
            "{}",
            "[]",
            "[{}]",
            "1",
            "-0.5e+10",
            "\"\"",
            "true",
            "null",
            r#"{"a":1,"b":[1,{"a":{"c":[]}}],"c":""}"#,
            r#"{"a\"\\\n\u0001\u001f":"äöü😀"}"#,
            r#"{"":0,"0":{"":1}}"#,
            "[\"\u{7f}\"]",
        ] {
            assert!(is_canonical(text.as_bytes()) && Shape::default().read(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            " {}",
            "{} ",
            "{ }",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\":1,\"a\":2}",
            "01",
            "1.",
            "tru",
            "[1}",
            "{1:2}",
            "[",
            "{\"a\"",
            r#""\/""#,
            r#""\u0041""#,
            r#""\u0008""#,
            r#""\u001F""#,
            r#""\x""#,
            "\"\u{1}\"",
            "{}{}",
            "\"",
            "nulll",
            "-",
            "1e",
            "{\"a\":}",
        ] {
            assert!(!is_canonical(text.as_bytes()) && !Shape::default().read(text.as_bytes()), "{text}");
        }
        assert!(!Shape::default().read(b"\"\xff\""));
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        // The innermost one is empty.
        assert!(Shape::default().read(deep(DEEP + 1).as_bytes()) && !Shape::default().read(deep(DEEP + 2).as_bytes()));
        // Long objects, with and without a key twice.
        let object = |keys: &[usize]| {
            let members: Vec<String> =
                keys.iter().map(|k| format!("\"a-long-key-with-a-number-{k}-in-it\":{k}")).collect();
            format!("{{{}}}", members.join(","))
        };
        let all: Vec<usize> = (0..500).collect();
        for n in [1, 31, 32, 33, 34, 500] {
            let mut keys = all[..n].to_vec();
            assert!(Shape::default().read(object(&keys).as_bytes()), "{n}");
            keys.push(n / 2);
            assert!(!Shape::default().read(object(&keys).as_bytes()), "{n}");
        }
    }

    #[test]
    fn members_are_where_they_lie() {
        let text = br#"{"a":1,"b":{"c":{"d":{"e":1},"f":[{"g":1}]},"h":{}},"i":[{"j":1}],"k":"x\"y"}"#;
        let mut shape = Shape::default();
        assert!(shape.read(b"{\"before\":{\"x\":1}}") && shape.read(text));
        fn walk(object: Object<'_>, depth: usize, out: &mut Vec<String>) {
            for ((key, value), within) in object.members() {
                let text = |t: &[u8]| String::from_utf8(t.to_vec()).unwrap();
                out.push(format!("{depth} {} {}", text(key), text(value)));
                walk(within, depth + 1, out);
            }
        }
        let mut found = Vec::new();
        walk(shape.root(text), 1, &mut found);
        let want = [
            "1 a 1",
            r#"1 b {"c":{"d":{"e":1},"f":[{"g":1}]},"h":{}}"#,
            r#"2 c {"d":{"e":1},"f":[{"g":1}]}"#,
            r#"3 d {"e":1}"#,
            r#"3 f [{"g":1}]"#,
            "2 h {}",
            r#"1 i [{"j":1}]"#,
            r#"1 k "x\"y""#,
        ];
        assert_eq!(found, want);
        assert_eq!(shape.root(text).get([b"k", b"z", b"a"]), [Some(&br#""x\"y""#[..]), None, Some(b"1")]);
    }

    proptest! {
        /// Whatever it calls canonical is.
        #[test]
        fn never_wrong(text in "[\\[\\]{}:,\"a-c0-9 \\\\ue.\\-trlsnf\u{1}ä]{0,40}") {
            if Shape::default().read(text.as_bytes()) {
                prop_assert!(is_canonical(text.as_bytes()), "{}", text);
            }
        }

        /// What is made canonical is called so.
        #[test]
        fn misses_little(text in "\\{(\"[a-c\\\\\"u0-9äb]{0,9}\":(1|\"\"|\\[\\]|\\{\\}|true|\"[a-c ]{0,20}\"),?){0,6}\\}") {
            let mut out = Vec::new();
            if canonical(text.as_bytes(), &mut out).is_ok() {
                prop_assert!(Shape::default().read(&out), "{}", text);
            }
        }
    }
}

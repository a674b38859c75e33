//! Where the members of a canonical text lie. No trees, nothing copied.

use std::ops::Range;

use super::Member;
use super::check::{self, Members};

/// Members are noted down to this depth: of the text itself, of its objects, and of theirs.
const NOTED: usize = 3;

/// Members for which memory is kept: a line of 4 MiB may have a million of them, but hardly the next one.
const KEPT: usize = 4096;

/// Where the members of a canonical text lie. Kept from line to line for its memory.
#[derive(Debug, Default)]
pub struct Shape {
    spots: Vec<Spot>,
}

/// A member, in the order of the text: what lies in its value comes right behind it.
#[derive(Debug, Clone)]
struct Spot {
    depth: usize,
    key: Range<usize>,
    value: Range<usize>,
}

impl Shape {
    /// Reads a text; false if it is not canonical.
    pub fn read(&mut self, text: &[u8]) -> bool {
        self.spots.clear();
        self.spots.shrink_to(KEPT);
        check::is_canonical(text, self)
    }

    /// The members of the text that was read last.
    pub fn root<'a>(&'a self, text: &'a [u8]) -> Object<'a> {
        Object { text, spots: &self.spots, depth: 1 }
    }
}

impl Members for Shape {
    const DEPTH: usize = NOTED;

    fn begin(&mut self, depth: usize, key: Range<usize>, value: usize) -> usize {
        self.spots.push(Spot { depth, key, value: value..value });
        self.spots.len() - 1
    }

    fn end(&mut self, member: usize, at: usize) {
        if let Some(spot) = self.spots.get_mut(member) {
            spot.value.end = at;
        }
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
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::DEPTH_MAX;
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
        for n in [DEPTH_MAX, DEPTH_MAX + 1] {
            assert_eq!(Shape::default().read(deep(n).as_bytes()), is_canonical(deep(n).as_bytes()), "{n}");
        }
        // Long objects, with and without a key twice.
        let object = |keys: &[usize]| {
            let members: Vec<String> =
                keys.iter().map(|k| format!("\"a-long-key-with-a-number-{k}-in-it\":{k}")).collect();
            format!("{{{}}}", members.join(","))
        };
        let all: Vec<usize> = (0..500).collect();
        for n in [1, 31, 32, 33, 34, 47, 48, 49, 500] {
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
    }

    #[test]
    fn the_memory_of_a_line_of_many_members_is_not_kept() {
        let members: Vec<String> = (0..100_000).map(|n| format!("\"{n}\":1")).collect();
        let mut shape = Shape::default();
        assert!(shape.read(format!("{{{}}}", members.join(",")).as_bytes()) && shape.spots.len() == 100_000);
        assert!(shape.read(b"{\"a\":1}") && shape.spots.capacity() <= KEPT);
    }

    proptest! {
        /// What it calls canonical is, and nothing else.
        #[test]
        fn never_wrong(text in "[\\[\\]{}:,\"a-c0-9 \\\\ue.\\-trlsnf\u{1}ä]{0,40}") {
            prop_assert_eq!(Shape::default().read(text.as_bytes()), is_canonical(text.as_bytes()), "{}", text);
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

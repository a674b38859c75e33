//! JSON text in, JSON text out; no trees. Canonical form: no white space, each key once (the last wins, as in jq),
//! least escaping, the text of numbers kept.

mod check;
mod cursor;
mod plain;
mod shape;

use std::borrow::Cow;
use std::fmt;

use cursor::{Cursor, escape};
pub use plain::{plain, special};
pub use shape::{Object, Shape};

/// Where and why a text is not the JSON we take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// Byte offset in the text.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for JsonError {}

/// Appends the canonical form of `text` to `out`.
///
/// Refuses what is not JSON, nesting deeper than [`crate::DEPTH_MAX`], lone surrogates and invalid UTF-8; `out` then holds
/// a part of the value, to be truncated by the caller.
pub fn canonical(text: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    if let Err(e) = std::str::from_utf8(text) {
        return Err(JsonError { at: e.valid_up_to(), what: "invalid UTF-8" });
    }
    let mut from = Cursor { text, at: 0 };
    from.space();
    from.value(out, 0)?;
    from.space();
    if from.at < text.len() { Err(from.fail("more text after the value")) } else { Ok(()) }
}

/// Whether `text` is one JSON value in canonical form already, so that it need not be rewritten.
pub fn is_canonical(text: &[u8]) -> bool {
    check::is_canonical(text, &mut ())
}

/// Appends `s` as a JSON string, quotes included, escaping no more than JSON demands.
pub fn write_str(s: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    write_inside(s, out);
    out.push(b'"');
}

/// Appends `s` as a piece of a JSON string: what stands between the quotes.
pub fn write_inside(s: &str, out: &mut Vec<u8>) {
    let mut rest = s.as_bytes();
    loop {
        let (run, special) = rest.split_at(plain(rest));
        out.extend_from_slice(run);
        let [byte, tail @ ..] = special else { break };
        escape(*byte, out);
        rest = tail;
    }
}

/// The string that a JSON string text (with its quotes) stands for.
pub fn parse_str(text: &[u8]) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        serde_json::from_slice::<String>(text).ok().map(Cow::Owned)
    } else {
        std::str::from_utf8(inner).ok().map(Cow::Borrowed)
    }
}

/// The members of the object `text` in order, as (key text without its quotes, value text).
///
/// Only structure is checked on the way (brackets, quotes); whoever needs validity parses the value.
pub fn members(text: &[u8]) -> Members<'_> {
    let mut from = Cursor { text, at: 0 };
    from.space();
    let error = (!from.eat(b'{')).then(|| from.fail("not an object"));
    Members { from, error, done: false, first: true }
}

/// The value text of one top-level key; the last one wins. Keys are compared as they are written, escapes included.
pub fn get<'a>(text: &'a [u8], key: &str) -> Option<&'a [u8]> {
    members(text).filter_map(Result::ok).filter(|(k, _)| *k == key.as_bytes()).last().map(|(_, v)| v)
}

/// Iterator of [`members`]; after an error it ends.
#[derive(Debug, Clone)]
pub struct Members<'a> {
    from: Cursor<'a>,
    error: Option<JsonError>,
    done: bool,
    first: bool,
}

/// Key text without its quotes, value text.
pub type Member<'a> = (&'a [u8], &'a [u8]);

impl<'a> Iterator for Members<'a> {
    type Item = Result<Member<'a>, JsonError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = match self.error.take() {
            Some(error) => Err(error),
            None => self.member(),
        };
        match item {
            Ok(Some(member)) => Some(Ok(member)),
            Ok(None) => {
                self.done = true;
                None
            }
            Err(error) => {
                self.done = true;
                Some(Err(error))
            }
        }
    }
}

impl<'a> Members<'a> {
    fn member(&mut self) -> Result<Option<Member<'a>>, JsonError> {
        let from = &mut self.from;
        from.space();
        if from.eat(b'}') {
            return Ok(None);
        }
        if !std::mem::take(&mut self.first) {
            if !from.eat(b',') {
                return Err(from.fail("expected `,` or `}`"));
            }
            from.space();
        }
        let key = from.skip_string()?;
        from.space();
        if !from.eat(b':') {
            return Err(from.fail("expected `:`"));
        }
        from.space();
        let start = from.at;
        from.skip_value()?;
        Ok(Some((key, from.text.get(start..from.at).unwrap_or_default())))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::DEPTH_MAX;
    use proptest::prelude::*;

    fn check(text: &str, want: Result<&str, &str>) {
        let mut out = Vec::new();
        let got = canonical(text.as_bytes(), &mut out).map(|()| String::from_utf8(out).unwrap());
        match (got, want) {
            (Ok(got), Ok(want)) => {
                assert_eq!(got, want, "{text}");
                assert!(is_canonical(want.as_bytes()), "{want}");
            }
            (Err(e), Err(word)) => assert!(e.to_string().contains(word), "{text}: {e}"),
            (got, _) => panic!("{text}: {got:?}"),
        }
    }

    #[test]
    fn canonical_form() {
        check(" { \"a\" : [ 1 , true , null ] } ", Ok(r#"{"a":[1,true,null]}"#));
        check(r#"{"\u0061":"\/\u00e9\u0000\ud83d\ude00\"\n"}"#, Ok("{\"a\":\"/é\\u0000😀\\\"\\n\"}"));
        check(r#"{"a":1,"b":2,"a":{"c":3}}"#, Ok(r#"{"a":{"c":3},"b":2}"#));
        check(r#"{"a":1,"\u0061":2,"a":3}"#, Ok(r#"{"a":3}"#));
        check(r#"[{"x":{"a":1,"a":2},"x":4}]"#, Ok(r#"[{"x":4}]"#));
        check("[18446744073709551616,1e400,-0.10,0]", Ok("[18446744073709551616,1e400,-0.10,0]"));
        for (text, word) in [
            ("", "expected a value"),
            ("{", "expected a key"),
            ("{\"a\"}", "expected `:`"),
            ("[1,]", "expected a value"),
            ("[01]", "expected `,`"),
            ("[1.]", "digit"),
            ("\"\\ud800\"", "surrogate"),
            ("\"\\ude00\"", "surrogate"),
            ("\"\\ud800\\u0041\"", "surrogate"),
            ("\"\\u+123\"", "escape"),
            ("\"a\nb\"", "control"),
            ("1 2", "more text"),
            ("tru", "expected a value"),
        ] {
            check(text, Err(word));
        }
        let many: String = (0..100).map(|i| format!("\"k{}\":{i},", i % 99)).collect();
        let want: String = (0..99).map(|i| format!("\"k{i}\":{},", if i == 0 { 99 } else { i })).collect();
        check(&format!("{{{}}}", many.trim_end_matches(',')), Ok(&format!("{{{}}}", want.trim_end_matches(','))));
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        check(&deep(DEPTH_MAX), Ok(&deep(DEPTH_MAX)));
        check(&deep(DEPTH_MAX + 1), Err("deeply"));
        check(&deep(10_000), Err("deeply"));
        assert_eq!(canonical(b"\"\xff\"", &mut Vec::new()).unwrap_err().what, "invalid UTF-8");
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            "[ab\u{0}-\u{20}\"\\\\é😀]{0,20}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 60, 70, |inner| {
            let key = "[ab\u{0}-\u{1f}\"]{0,3}";
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
                proptest::collection::vec((key, inner), 0..60)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn members_in_order_by_structure() {
        let text = br#" {"a" : {"x":"}]"} , "b\"c":[1,{"d":2}],"e":-1e5 } "#;
        let got: Vec<_> = members(text)
            .map(|m| m.map(|(k, v)| (String::from_utf8_lossy(k).into_owned(), String::from_utf8_lossy(v).into_owned())))
            .collect::<Result<_, _>>()
            .unwrap();
        let want = [("a", r#"{"x":"}]"}"#), ("b\\\"c", r#"[1,{"d":2}]"#), ("e", "-1e5")];
        assert_eq!(got, want.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(get(text, "e"), Some(&b"-1e5"[..]));
        assert_eq!(get(br#"{"a":1,"a":2}"#, "a"), Some(&b"2"[..]));
        assert_eq!(members(b"{}").count(), 0);
        for bad in [&b"[]"[..], b"{\"a\"", b"{\"a\":", b"{\"a\":[", b"{\"a\":1 \"b\"", b"{\"a\\", b"{\"a\":]}"] {
            assert!(members(bad).any(|m| m.is_err()), "{}", String::from_utf8_lossy(bad));
        }
    }

    proptest! {
        /// Whatever serde_json reads means the same after canonical(), and canonical() is idempotent.
        #[test]
        fn agrees_with_serde(text in "[\\[\\]{}:,\"a-c0-9 \\\\ue.\\-trlsnf\n]{0,60}") {
            let mut out = Vec::new();
            let ours = canonical(text.as_bytes(), &mut out);
            prop_assert_eq!(is_canonical(text.as_bytes()), ours.is_ok() && out == text.as_bytes());
            match serde_json::from_str::<serde_json::Value>(&text) {
                Ok(value) => {
                    prop_assert!(ours.is_ok(), "{text}: {ours:?}");
                    prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap(), value);
                    let mut again = Vec::new();
                    canonical(&out, &mut again).unwrap();
                    prop_assert_eq!(again, out);
                }
                Err(e) => prop_assert!(ours.is_err() || e.to_string().contains("out of range"), "{text}: {e}"),
            }
        }

        /// Of a canonical text with one byte changed, is_canonical() says what canonical() says.
        #[test]
        fn one_look_is_as_good_as_writing(
            value in value(), place in any::<proptest::sample::Index>(), byte in any::<u8>()
        ) {
            let mut text = Vec::new();
            canonical(value.to_string().as_bytes(), &mut text).unwrap();
            prop_assert!(is_canonical(&text));
            let place = place.index(text.len());
            for byte in [byte, b'"', b'\\', b'u', b'0', b' ', b',', b'{', 0x1f, 0xc3] {
                let mut changed = text.clone();
                changed[place] = byte;
                let mut out = Vec::new();
                let want = canonical(&changed, &mut out).is_ok() && out == changed;
                prop_assert_eq!(is_canonical(&changed), want, "{}", String::from_utf8_lossy(&changed));
            }
        }

        #[test]
        fn strings_round_trip(s in any::<String>()) {
            let mut out = Vec::new();
            write_str(&s, &mut out);
            let back = parse_str(&out).map(Cow::into_owned);
            prop_assert_eq!(back, Some(s));
            prop_assert!(is_canonical(&out));
        }
    }
}

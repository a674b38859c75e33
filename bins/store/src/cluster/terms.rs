//! What a cluster's index holds of an event beside its words: terms, each a name, a kind and a value, in one field.
//!
//! A cluster has no columns to test a value by, so every way in which a value may be asked for is a term that was
//! made by our own reading of it (what is a word, a number, a version, a time). So both kinds of store agree, and no
//! key of an event becomes a field of the index: a payload cannot grow the mapping.
//!
//! `NAME`: something is in this field or below it. `NAME␁`: something is in this field itself. `NAME␁KIND…`: see the
//! constants. Names hold no control characters (such have no column in the embedded index either).

use std::borrow::Cow;
use std::collections::HashSet;

use super::list::List;
use crate::index::document::{NAME_MAX, Stored, VALUE_MAX, read_number};
use crate::index::id_order;
use crate::index::scan::Leaf;
use crate::index::schema::is_key;
use crate::query::when;
use crate::search::column::{Number, version};
use crate::words;

/// Stands between a name and what is said of it.
pub const SEP: char = '\u{1}';
/// The value of a field of the envelope, in lower case.
pub const KEY: char = 'k';
/// A whole number, as [`int`] writes it.
pub const INT: char = 'i';
/// Any other number, as [`float`] writes it.
pub const FLOAT: char = 'f';
/// Numbers with two dots or more between them, as [`parts`] writes them.
pub const VERSION: char = 'V';
/// The same with one dot or none.
pub const VERSION_SHORT: char = 'W';
/// A time: the letter of its length ([`LENGTHS`]) and its first millisecond.
pub const TIME: char = 'T';
/// A whole value in lower case that is neither version nor time.
pub const PLAIN: char = 'p';
/// … that is a version.
pub const LIKE_VERSION: char = 'v';
/// … that is a time.
pub const LIKE_TIME: char = 't';
/// … that is both.
pub const LIKE_BOTH: char = 'b';
/// A number of JSON, as text.
pub const JSON: char = 'j';
/// Every kind of whole value.
pub const WHOLE: [char; 5] = [PLAIN, LIKE_VERSION, LIKE_TIME, LIKE_BOTH, JSON];

/// A word of a text that is no number.
pub const WORD: char = 'w';
/// A word of a text that is a number.
pub const WORD_OF_NUMBER: char = 'n';
/// A word of a number of JSON.
pub const WORD_OF_JSON: char = 'j';

const DAY: i64 = 86_400_000;
/// How long what a time stands for may be, in milliseconds: from 1 ms to a year.
pub const LENGTHS: [i64; 13] =
    [1, 10, 100, 1000, 60_000, 3_600_000, DAY, 28 * DAY, 29 * DAY, 30 * DAY, 31 * DAY, 365 * DAY, 366 * DAY];

/// The letter of a length, by its place in [`LENGTHS`].
pub fn letter(place: usize) -> char {
    u8::try_from(place).ok().and_then(|n| b'a'.checked_add(n)).map_or('z', char::from)
}

/// Bytes of terms, words by field, values and what dashboards see of one event; what comes after is found by bare
/// words only. A hostile line of a few megabytes would otherwise become some hundreds.
pub const BYTES_MAX: usize = 16 << 20;

/// What one event gives.
#[derive(Default)]
pub struct Terms {
    /// The terms, without repeats where that is cheap.
    pub terms: List,
    /// Words by field: a text a value, its words a line each.
    pub fields: List,
    /// `NAME␁VALUE`, for counting.
    pub values: List,
    /// Names that something is in; with a dot behind, those that something is below.
    known: HashSet<String>,
    /// Memory for the text at hand.
    text: String,
}

impl Terms {
    /// Begins the next event.
    pub fn clear(&mut self) {
        self.terms.clear();
        self.fields.clear();
        self.values.clear();
        self.known.clear();
    }

    /// Whether there was no room for some.
    pub fn full(&self) -> bool {
        self.terms.bytes() + self.fields.bytes() + self.values.bytes() > BYTES_MAX
    }

    /// Takes a leaf; what its value looks like to people, cut to [`VALUE_MAX`], comes back if it has a column.
    pub fn leaf<'a>(&mut self, name: &str, leaf: &'a Leaf<'_>) -> Option<Cow<'a, str>> {
        if self.full() || name.len() > NAME_MAX || name.chars().any(char::is_control) {
            return None;
        }
        self.exists(name);
        let text = match leaf {
            Leaf::Number(text) => match read_number(text) {
                Some(number) => {
                    let (number, shown) = match number {
                        Stored::I64(n) => (Number::Int(n.into()), n.to_string()),
                        Stored::U64(n) => (Number::Int(n.into()), n.to_string()),
                        Stored::F64(n) => (Number::Float(n), n.to_string()),
                        Stored::Text { .. } | Stored::Bool(_) => return None,
                    };
                    self.key(name, text);
                    self.number(name, number);
                    self.terms.push(&[name, "\u{1}j", &shown]);
                    self.words(name, WORD_OF_JSON, &shown);
                    self.values.push(&[name, "\u{1}", &shown]);
                    return Some(shown.into());
                }
                None => text,
            },
            Leaf::Bool(true) => "true",
            Leaf::Bool(false) => "false",
            Leaf::Text(text) => text.as_ref(),
        };
        let text = text.get(..text.floor_char_boundary(VALUE_MAX)).unwrap_or(text);
        self.key(name, text);
        self.text(name, text);
        self.values.push(&[name, "\u{1}", text]);
        Some(text.into())
    }

    fn key(&mut self, name: &str, text: &str) {
        if is_key(name) {
            let text = self.lower(text);
            self.terms.push(&[name, "\u{1}k", &text]);
            self.text = text;
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        let number = Number::parse(text);
        let version = version(text);
        let time = when::parse(text);
        let kind = match (&version, time) {
            (None, None) => PLAIN,
            (Some(_), None) => LIKE_VERSION,
            (None, Some(_)) => LIKE_TIME,
            (Some(_), Some(_)) => LIKE_BOTH,
        };
        let lower = self.lower(text);
        self.terms.push(&[name, "\u{1}", kind.encode_utf8(&mut [0; 4]), &lower]);
        self.text = lower;
        if let Some(number) = number {
            self.number(name, number);
        }
        if let Some(version) = version {
            let kind = if version.len() > 2 { "\u{1}V" } else { "\u{1}W" };
            self.terms.push(&[name, kind, &parts(&version)]);
        }
        if let Some((first, last)) = time
            && let Some(length) = LENGTHS.iter().position(|l| *l == last - first + 1)
        {
            self.terms.push(&[name, "\u{1}T", letter(length).encode_utf8(&mut [0; 4]), &int(first.into())]);
        }
        if !is_key(name) {
            self.words(name, if number.is_some() { WORD_OF_NUMBER } else { WORD }, text);
        }
    }

    fn number(&mut self, name: &str, number: Number) {
        match number {
            Number::Int(n) => self.terms.push(&[name, "\u{1}i", &int(n)]),
            Number::Float(n) => self.terms.push(&[name, "\u{1}f", &float(n)]),
        }
    }

    fn words(&mut self, name: &str, kind: char, text: &str) {
        let (name, field) = (short(name), &mut self.text);
        field.clear();
        words::each(text, |word| field.extend([&*name, "\u{1}", kind.encode_utf8(&mut [0; 4]), word, "\n"]));
        if !field.is_empty() {
            self.fields.push(&[field]);
        }
    }

    /// The text in lower case, in memory that is to be given back.
    fn lower(&mut self, text: &str) -> String {
        let mut lower = std::mem::take(&mut self.text);
        lower.clear();
        words::push_whole(text, &mut lower);
        lower
    }

    /// This name and every one that it is below.
    fn exists(&mut self, name: &str) {
        if !self.learn(name) {
            return;
        }
        self.terms.push(&[name, "\u{1}"]);
        self.terms.push(&[name]);
        let mut rest = name;
        while let Some((above, _)) = rest.rsplit_once('.') {
            if !self.learn(rest.get(..=above.len()).unwrap_or_default()) {
                break;
            }
            self.terms.push(&[above]);
            rest = above;
        }
    }

    /// Whether it was not known yet.
    fn learn(&mut self, name: &str) -> bool {
        !self.known.contains(name) && self.known.insert(name.to_owned())
    }
}

/// Letters of a token that the analyzer of words leaves whole.
pub const TOKEN_MAX: usize = 255;
/// Bytes of a name before words.
const SHORT: usize = 48;

/// A name as it stands before words: without space, and short, so that most words fit into [`TOKEN_MAX`] behind it.
pub fn short(name: &str) -> Cow<'_, str> {
    match name.len() > SHORT || name.chars().any(char::is_whitespace) {
        true => format!("#{:016x}", id_order(name).1).into(),
        false => name.into(),
    }
}

/// A whole number as text that sorts as numbers do: sign, how many digits, digits (below zero, what they lack to nines).
pub fn int(n: i128) -> String {
    let digits = n.unsigned_abs().to_string();
    if n >= 0 {
        return format!("p{:02}{digits}", digits.len());
    }
    let nines: String = digits.bytes().map(|d| char::from(b'9' - d.saturating_sub(b'0').min(9))).collect();
    format!("n{:02}{nines}", 99 - digits.len())
}

/// A number as text that sorts as numbers do.
pub fn float(n: f64) -> String {
    // -0 is 0.
    let bits = (n + 0.0).to_bits();
    let sorted = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    format!("{sorted:016x}")
}

/// Numbers, one after the other, as text that sorts as the list does.
pub fn parts(numbers: &[u64]) -> String {
    let mut text = String::new();
    for number in numbers {
        let digits = number.to_string();
        text.push(char::from(b'a' + u8::try_from(digits.len()).unwrap_or(25).min(25)));
        text.push_str(&digits);
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_sort_as_text(a: i128, b: i128, c: i64, d: i64, x: f64, y: f64, v: Vec<u64>, w: Vec<u64>) {
            prop_assert_eq!(a.cmp(&b), int(a).cmp(&int(b)));
            prop_assert_eq!(c.cmp(&d), int(c.into()).cmp(&int(d.into())));
            prop_assert_eq!(v.cmp(&w), parts(&v).cmp(&parts(&w)));
            if !x.is_nan() && !y.is_nan() {
                prop_assert_eq!(x.partial_cmp(&y).unwrap(), float(x).cmp(&float(y)));
            }
        }
    }

    #[test]
    fn a_leaf_is_known_in_every_way_it_may_be_asked_for() {
        let mut terms = Terms::default();
        terms.leaf("payload.a.v", &Leaf::Text("15.3.2".into()));
        terms.leaf("payload.a.n", &Leaf::Number("1.50"));
        terms.leaf("tags", &Leaf::Text("VIP".into()));
        let read = |list: &List| {
            let mut out = b"{\"v\":1".to_vec();
            list.write("list", &mut out);
            out.push(b'}');
            let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
            let texts = read.get("list").unwrap().as_array().unwrap().iter();
            texts.map(|text| text.as_str().unwrap().replace(SEP, "|")).collect::<Vec<_>>()
        };
        assert_eq!(
            read(&terms.terms),
            [
                "payload.a.v|",
                "payload.a.v",
                "payload.a",
                "payload",
                "payload.a.v|v15.3.2",
                "payload.a.v|Vc15b3b2",
                "payload.a.n|",
                "payload.a.n",
                "payload.a.n|fbff8000000000000",
                "payload.a.n|j1.5",
                "tags|",
                "tags",
                "tags|kvip",
                "tags|pvip",
            ]
        );
        assert_eq!(read(&terms.values), ["payload.a.v|15.3.2", "payload.a.n|1.5", "tags|VIP"]);
        for name in ["a\u{1}b", "a\nb", &"x".repeat(NAME_MAX + 1)] {
            assert!(terms.leaf(name, &Leaf::Bool(true)).is_none());
        }
    }
}

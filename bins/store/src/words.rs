//! What a word is: a run of letters and digits, in lower case. The index and the search cut values the same way.

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

/// Longer words are cut, in bytes; a base64 body would otherwise be one word of megabytes.
pub const WORD_MAX: usize = 255;

/// Stands between two values in one text: no quoted search reaches over it.
pub const GAP: char = '\u{1f}';

/// Cuts a text into words, for Tantivy.
#[derive(Clone, Default)]
pub struct Words {
    token: Token,
}

/// The words of one text.
pub struct Stream<'a> {
    text: &'a str,
    at: usize,
    token: &'a mut Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = Stream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Stream<'a> {
        self.token.reset();
        Stream { text, at: 0, token: &mut self.token }
    }
}

impl TokenStream for Stream<'_> {
    fn advance(&mut self) -> bool {
        let Some(word) = next(self.text, self.at) else { return false };
        self.token.position = self.token.position.wrapping_add(1 + word.gaps);
        self.token.offset_from = word.from;
        self.token.offset_to = word.to;
        self.token.text.clear();
        push_lower(self.text.get(word.from..word.to).unwrap_or_default(), &mut self.token.text);
        self.at = word.to;
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

/// The words of `text`, as the index holds them.
pub fn of(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    each(text, |word| words.push(word.to_owned()));
    words
}

/// Takes the words of `text`, one after the other.
pub fn each(text: &str, mut take: impl FnMut(&str)) {
    let (mut at, mut lower) = (0, String::new());
    while let Some(word) = next(text, at) {
        lower.clear();
        push_lower(text.get(word.from..word.to).unwrap_or_default(), &mut lower);
        take(&lower);
        at = word.to;
    }
}

/// Whether the words of `value` hold `wanted` next to each other. `wanted` has at least one word.
pub fn contains(value: &str, wanted: &[String]) -> bool {
    let words = of(value);
    words.windows(wanted.len().max(1)).any(|some| some == wanted)
}

/// The whole text as one word, in lower case: how fields of the envelope are compared.
pub fn whole(text: &str) -> String {
    let mut lower = String::new();
    push_whole(text, &mut lower);
    lower
}

/// Appends the same.
pub fn push_whole(text: &str, out: &mut String) {
    if text.is_ascii() {
        let from = out.len();
        out.push_str(text);
        out.get_mut(from..).unwrap_or_default().make_ascii_lowercase();
    } else {
        out.extend(text.chars().flat_map(char::to_lowercase));
    }
}

struct Span {
    from: usize,
    to: usize,
    gaps: usize,
}

fn next(text: &str, at: usize) -> Option<Span> {
    let mut gaps = 0;
    let mut from = None;
    let rest = text.get(at..)?;
    for (i, c) in rest.char_indices() {
        match (from, is_word(c)) {
            (None, true) => from = Some(at + i),
            (None, false) => gaps += usize::from(c == GAP),
            (Some(from), false) => return Some(Span { from, to: at + i, gaps }),
            (Some(_), true) => {}
        }
    }
    from.map(|from| Span { from, to: text.len(), gaps })
}

fn is_word(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() } else { c.is_alphanumeric() }
}

fn push_lower(word: &str, out: &mut String) {
    push_whole(word.get(..word.floor_char_boundary(WORD_MAX)).unwrap_or(word), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_and_digits_in_lower_case() {
        for (text, expected) in [
            ("", vec![]),
            ("--/..", vec![]),
            ("/usr/bin/Foo-Bar_2.0", vec!["usr", "bin", "foo", "bar", "2", "0"]),
            ("Übersicht.app ÉCOLE 人事部", vec!["übersicht", "app", "école", "人事部"]),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
        assert_eq!(of(&"x".repeat(1000)), ["x".repeat(WORD_MAX)]);
        assert_eq!(of(&"é".repeat(1000)), ["é".repeat(WORD_MAX / 2)]);
    }

    #[test]
    fn tantivy_sees_the_same_words_and_the_gaps() {
        let mut words = Words::default();
        let mut stream = words.token_stream("A b\u{1f}\u{1f}C\u{1f}d");
        let mut seen = Vec::new();
        stream.process(&mut |t| seen.push((t.text.clone(), t.position)));
        assert_eq!(seen, [("a".into(), 0), ("b".into(), 1), ("c".into(), 4), ("d".into(), 6)]);
    }

    #[test]
    fn next_to_each_other() {
        for (value, wanted, expected) in [
            ("/usr/bin/foo", "usr bin", true),
            ("/usr/bin/foo", "BIN/FOO", true),
            ("/usr/bin/foo", "usr foo", false),
            ("/usr/bin/foobar", "foo", false),
            ("a", "a b", false),
        ] {
            assert_eq!(contains(value, &of(wanted)), expected, "{value} {wanted}");
        }
    }
}

//! Text that was made harmless: cut, in one line, without what steers a terminal or the eye.

use event::steers;

/// At most `max` characters; what is cut ends in `…`.
pub fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// In one line, without anything that steers what stands around it (headers, titles).
pub fn one_line(text: &str, max: usize) -> String {
    let plain = text.trim().chars().filter_map(|c| match c {
        '\u{2028}' | '\u{2029}' => Some(' '),
        c if c.is_control() => Some(' '),
        c => (!steers(c)).then_some(c),
    });
    // A little more than fits, so that `cut` knows whether there is more.
    let plain: String = plain.take(max.saturating_add(1)).collect();
    cut(plain.trim(), max)
}

/// Without control characters but for newline and tab, and without what turns the direction of writing.
pub fn lines(text: &str) -> String {
    let plain = text.chars().filter_map(|c| match c {
        '\u{2028}' | '\u{2029}' => Some('\n'),
        '\n' | '\t' => Some(c),
        c => (!steers(c)).then_some(c),
    });
    plain.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers() {
        assert_eq!((cut("abcdef", 3), cut("abc", 3)), ("ab…".to_owned(), "abc".to_owned()));
        assert_eq!(one_line(" a\u{1b}[31m\r\nb\u{202e}c\u{2029}d ", 99), "a [31m  bc d");
        assert_eq!(lines("a\r\n\tb\u{0}\u{2067}c\u{2028}d"), "a\n\tbc\nd");
    }
}

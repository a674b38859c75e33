//! What of a text may be shown to people: what agents say is data, and must not steer a terminal or the eye.

/// Whether a character does something to what stands around it: control characters, breaks of lines, marks that turn the
/// direction of writing.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text without the characters that [`steers`] names.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !steers(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers() {
        let text = "a\u{1b}[31m\r\n\tb\u{9b}\u{7f} \u{202e}c\u{2066}d\u{200f}e\u{61c}\u{2028}f ü 日 👩\u{200d}💻";
        assert_eq!(printable(text), "a[31mb cdef ü 日 👩\u{200d}💻");
    }
}

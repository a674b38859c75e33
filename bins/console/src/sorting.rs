//! Lists that people sort: the words for it in an address, and the place where a page ends.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ask::Asked;

/// The order that is asked for by its word, else the first; and whether the last comes first (`-WORD`).
pub fn order(asked: &Asked, known: &[(&'static str, &str)]) -> (&'static str, bool) {
    let said = asked.word("sort");
    let (word, down) = said.strip_prefix('-').map_or((said, false), |word| (word, true));
    match known.iter().find(|(order, _)| *order == word) {
        Some((order, _)) => (order, down),
        None => (known.first().map_or("", |(order, _)| order), false),
    }
}

/// A place in a list, as an address carries it: the value that it is sorted by, and the key.
pub fn cursor(value: &str, key: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{value}\0{key}"))
}

/// The place that an address carries; what is none is the beginning.
pub fn place(text: &str) -> Option<(String, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    text.split_once('\0').map(|(value, key)| (value.to_owned(), key.to_owned()))
}

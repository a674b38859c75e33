//! What a match carries, bounded: no filter makes an event too long for everybody else.

use event::{LINE_MAX, json};
use sha2::{Digest, Sha256};

use crate::value::{Val, WriteError, WriteMode};

/// Longest context that is kept whole, in bytes of JSON text.
pub const CONTEXT_MAX: usize = 64 << 10;
/// Bytes of contexts that one event carries; a context beyond it is only told by its length.
pub const CONTEXTS_MAX: usize = 1 << 20;
/// Longest `title` and `body` of a context that is cut. Escaped they grow to six times that, still below the bound.
const TITLE_MAX: usize = 1 << 10;
const BODY_MAX: usize = 8 << 10;
/// Longest key of a match, in bytes; of a longer one the start and a hash are kept, so that keys stay apart.
const KEY_MAX: usize = 1 << 10;

/// JSON text of a context; of one longer than [`CONTEXT_MAX`] its title, its body and `cut`, the bytes it had (at least:
/// beyond a line nobody counts).
pub(crate) fn text(value: &Val) -> Result<String, String> {
    let length = match value.json(WriteMode::Strict, LINE_MAX) {
        Ok(text) if text.len() <= CONTEXT_MAX => return Ok(text),
        Ok(text) => text.len(),
        Err(WriteError::Length) => LINE_MAX,
        Err(e) => return Err(e.to_string()),
    };
    let mut cut = b"{".to_vec();
    for (key, most) in [("title", TITLE_MAX), ("body", BODY_MAX)] {
        if let Some(text) = value.get(key).and_then(Val::as_str) {
            json::write_str(key, &mut cut);
            cut.push(b':');
            json::write_str(start(text, most), &mut cut);
            cut.push(b',');
        }
    }
    cut.extend_from_slice(format!("\"cut\":{length}}}").as_bytes());
    String::from_utf8(cut).map_err(|e| e.to_string())
}

/// What stands for a context of `length` bytes for which there is no room.
pub(crate) fn without(length: usize) -> String {
    format!("{{\"cut\":{length}}}")
}

/// A match's key within its bound.
pub(crate) fn key(text: &str) -> String {
    if text.len() <= KEY_MAX {
        return text.to_owned();
    }
    let hash: String = Sha256::digest(text).iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("{}…{hash}", start(text, KEY_MAX - 32))
}

/// At most the first `most` bytes, in whole characters.
fn start(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::parse;

    #[test]
    fn long_contexts_keep_what_people_read() {
        let of = |n: usize| format!(r#"{{"title":"{}","body":7,"rows":"{}"}}"#, "ä".repeat(n), "x".repeat(n));
        let small = of(10);
        assert_eq!(text(&parse(small.as_bytes()).unwrap()).unwrap(), small);
        let long = of(40_000);
        let want = format!(r#"{{"title":"{}","cut":{}}}"#, "ä".repeat(TITLE_MAX / 2), long.len());
        assert_eq!(text(&parse(long.as_bytes()).unwrap()).unwrap(), want);
        // Escapes are what a text grows by most.
        let hostile = format!(r#"{{"title":"{0}","body":"{0}"}}"#, "\\u0001".repeat(20_000));
        assert!(text(&parse(hostile.as_bytes()).unwrap()).unwrap().len() <= CONTEXT_MAX);
    }

    #[test]
    fn long_keys_stay_apart() {
        assert_eq!(key("ada"), "ada");
        let (one, other) = (key(&("é".repeat(2000) + "1")), key(&("é".repeat(2000) + "2")));
        assert!(one != other && one.len() <= KEY_MAX, "{one}");
    }
}

//! Lists of texts, written as JSON while they grow: an event has hundreds of them, and each is looked at once.

use event::json;

/// One list; empty at first.
#[derive(Debug, Default)]
pub struct List(Vec<u8>);

impl List {
    /// One text more: these pieces, one behind the other.
    pub fn push(&mut self, pieces: &[&str]) {
        self.0.extend_from_slice(if self.0.is_empty() { b"\"" } else { b",\"" });
        for piece in pieces {
            json::write_inside(piece, &mut self.0);
        }
        self.0.push(b'"');
    }

    /// Bytes of what is in it.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Forgets what is in it, and keeps its memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Appends it to an object that has a member already, as one more.
    pub fn write(&self, key: &str, out: &mut Vec<u8>) {
        out.push(b',');
        json::write_str(key, out);
        out.extend_from_slice(b":[");
        out.extend_from_slice(&self.0);
        out.push(b']');
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_read() {
        let (mut list, mut out) = (List::default(), b"{\"v\":1".to_vec());
        list.write("none", &mut out);
        list.push(&["gone"]);
        list.clear();
        list.push(&["a\u{1}", "\"b\n"]);
        list.push(&[]);
        list.write("two", &mut out);
        out.push(b'}');
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read, serde_json::json!({"v": 1, "none": [], "two": ["a\u{1}\"b\n", ""]}));
    }
}

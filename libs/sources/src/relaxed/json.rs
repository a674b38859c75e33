//! JSON as osquery takes it: with comments (`#`, `//`, `/* */`), commas before a closing bracket, and strings that a
//! `\` at the end of a line carries on. Places are kept, so that what is refused has one.

use std::collections::HashSet;

use super::node::{Broken, DEPTH_MAX, Documents, Node, Value};

/// Reads one document.
pub fn read(text: &str) -> Result<Documents, Broken> {
    let mut reader = Reader { rest: text, text, line: 1, twice: Vec::new() };
    let root = reader.value(0)?;
    reader.blank()?;
    match reader.rest.chars().next() {
        None => Ok(Documents { roots: vec![root], twice: reader.twice }),
        Some(c) => Err(reader.broken(&format!("expected the end of the file, found `{}`", c.escape_default()))),
    }
}

/// The first character that is no white space or comment; it tells JSON from YAML.
pub fn first(text: &str) -> Option<char> {
    let mut reader = Reader { rest: text, text, line: 1, twice: Vec::new() };
    reader.blank().ok()?;
    reader.rest.chars().next()
}

struct Reader<'t> {
    text: &'t str,
    rest: &'t str,
    line: usize,
    twice: Vec<(usize, String)>,
}

impl<'t> Reader<'t> {
    fn broken(&self, text: &str) -> Broken {
        self.broken_at(self.line, self.rest, text)
    }

    /// Counts the column, so it is for the one mistake that ends the reading.
    fn broken_at(&self, line: usize, rest: &str, text: &str) -> Broken {
        let read = self.text.get(..self.text.len() - rest.len()).unwrap_or_default();
        let column = read.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Broken { line, column, text: text.to_owned() }
    }

    /// Takes so many bytes.
    fn take(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.line += taken.bytes().filter(|b| *b == b'\n').count();
        self.rest = rest;
        taken
    }

    fn takes(&mut self, word: &str) -> bool {
        let there = self.rest.starts_with(word);
        if there {
            self.take(word.len());
        }
        there
    }

    /// Passes over white space, comments and carried-on lines.
    fn blank(&mut self) -> Result<(), Broken> {
        loop {
            let spaces = self.rest.len() - self.rest.trim_start().len();
            self.take(spaces);
            if self.rest.starts_with('#') || self.rest.starts_with("//") {
                self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                let Some(end) = self.rest.find("*/") else { return Err(self.broken("this comment has no end")) };
                self.take(end + 2);
            } else if !(self.takes("\\\n") || self.takes("\\\r\n")) {
                return Ok(());
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Broken> {
        self.blank()?;
        if depth > DEPTH_MAX {
            return Err(self.broken(&format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let line = self.line;
        let value = match self.rest.chars().next() {
            Some('{') => self.map(depth)?,
            Some('[') => self.list(depth)?,
            Some('"') => Value::Text(self.string()?),
            Some('-' | '0'..='9') => self.number()?,
            _ if self.takes("true") => Value::Bool(true),
            _ if self.takes("false") => Value::Bool(false),
            _ if self.takes("null") => Value::Null,
            Some(c) => return Err(self.broken(&format!("expected a value, found `{}`", c.escape_default()))),
            None => return Err(self.broken("expected a value, the file ends here")),
        };
        Ok(Node { line, value })
    }

    fn map(&mut self, depth: usize) -> Result<Value, Broken> {
        self.take(1);
        let (mut members, mut keys) = (Vec::new(), HashSet::new());
        while !self.closes('}', members.is_empty())? {
            if !self.rest.starts_with('"') {
                return Err(self.broken("expected a key in quotes"));
            }
            let line = self.line;
            let key = self.string()?;
            self.blank()?;
            if !self.takes(":") {
                return Err(self.broken("expected `:` after the key"));
            }
            let node = self.value(depth + 1)?;
            if keys.insert(key.clone()) {
                members.push((key, node));
            } else {
                self.twice.push((line, key));
            }
        }
        Ok(Value::Map(members))
    }

    fn list(&mut self, depth: usize) -> Result<Value, Broken> {
        self.take(1);
        let mut items = Vec::new();
        while !self.closes(']', items.is_empty())? {
            items.push(self.value(depth + 1)?);
        }
        Ok(Value::List(items))
    }

    /// Whether the bracket closes here; passes over the comma before another item.
    fn closes(&mut self, bracket: char, first: bool) -> Result<bool, Broken> {
        self.blank()?;
        if !first && !self.rest.starts_with(bracket) && !self.takes(",") {
            return Err(self.broken(&format!("expected `,` or `{bracket}`")));
        }
        self.blank()?;
        let closes = self.rest.starts_with(bracket);
        if closes {
            self.take(1);
        }
        Ok(closes)
    }

    fn number(&mut self) -> Result<Value, Broken> {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
        let text = self.rest.get(..end.unwrap_or(self.rest.len())).unwrap_or_default();
        if serde_json::from_str::<serde_json::Number>(text).is_err() {
            return Err(self.broken("this is no number"));
        }
        Ok(Value::Number(self.take(text.len()).to_owned()))
    }

    fn string(&mut self) -> Result<String, Broken> {
        let start = (self.line, self.rest);
        self.take(1);
        let mut out = String::new();
        loop {
            let plain = self.rest.find(['"', '\\', '\n']);
            let Some(plain) = plain.filter(|at| !self.rest.get(*at..).is_some_and(|rest| rest.starts_with('\n')))
            else {
                return Err(self.broken_at(start.0, start.1, "this string has no end"));
            };
            out.push_str(self.take(plain));
            if self.takes("\"") {
                return Ok(out);
            } else if !(self.takes("\\\n") || self.takes("\\\r\n")) {
                out.push(self.escape()?);
            }
        }
    }

    fn escape(&mut self) -> Result<char, Broken> {
        for (word, c) in [
            (r#"\""#, '"'),
            (r"\\", '\\'),
            (r"\/", '/'),
            (r"\n", '\n'),
            (r"\t", '\t'),
            (r"\r", '\r'),
            (r"\b", '\u{8}'),
            (r"\f", '\u{c}'),
        ] {
            if self.takes(word) {
                return Ok(c);
            }
        }
        let (line, rest) = (self.line, self.rest);
        self.unicode().ok_or_else(|| self.broken_at(line, rest, "this escape is not known"))
    }

    fn unicode(&mut self) -> Option<char> {
        let code = match self.unit()? {
            high @ 0xd800..=0xdbff => {
                let low = self.unit().filter(|low| (0xdc00..=0xdfff).contains(low))?;
                0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)
            }
            unit => unit,
        };
        char::from_u32(code)
    }

    /// `\uXXXX`
    fn unit(&mut self) -> Option<u32> {
        let digits = self.rest.strip_prefix("\\u")?.get(..4)?;
        let unit = digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())??;
        self.take(6);
        Some(unit)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::super::node::Spot;
    use super::*;

    fn json(text: &str) -> serde_json::Value {
        let read = read(text).unwrap();
        Spot::root(&"f".into(), &read.roots[0]).json()
    }

    #[test]
    fn as_osquery_writes_it() {
        let text = "# head\n{ // here\n /* and\n here */ \"a\": [1, -2.5e3, true, null,],\n  \"b\": \"select \\\n  1; -- #x //y\", }\n# end";
        assert_eq!(json(text), serde_json::json!({"a": [1, -2500.0, true, null], "b": "select   1; -- #x //y"}));
        assert_eq!(json(r#"["\u00e9\ud83d\ude00\n\"\/"]"#), serde_json::json!(["é😀\n\"/"]));
        assert_eq!((first("# c\n\n // d\n{"), first("# c\nname: x"), first("/* x")), (Some('{'), Some('n'), None));
    }

    #[test]
    fn the_first_of_two_equal_keys_counts() {
        let read = read("{\"a\": 1,\n\"b\": {\"c\": 1,\n\"c\": 2},\n\"a\": 2}").unwrap();
        assert_eq!(read.twice, [(3, "c".to_owned()), (4, "a".to_owned())]);
        assert_eq!(Spot::root(&"f".into(), &read.roots[0]).json(), serde_json::json!({"a": 1, "b": {"c": 1}}));
    }

    #[test]
    fn what_is_broken_has_a_place() {
        for (text, line, column, word) in [
            ("", 1, 1, "ends here"),
            ("{\"a\": 1,\n 1: true}", 2, 2, "a key in quotes"),
            ("{\"a\"\n 1}", 2, 2, "expected `:`"),
            ("[1\n2]", 2, 1, "expected `,` or `]`"),
            ("[\"ä\", \"abc\n\"]", 1, 7, "no end"),
            ("[\"\\x\"]", 1, 3, "escape"),
            ("[\"\\ud800\"]", 1, 3, "escape"),
            ("[01]", 1, 2, "no number"),
            ("[1] x", 1, 5, "end of the file"),
            ("{} /* x", 1, 4, "comment"),
            ("[tru]", 1, 2, "expected a value"),
        ] {
            let broken = read(text).unwrap_err();
            assert!(broken.text.contains(word), "{text}: {broken:?}");
            assert_eq!((broken.line, broken.column), (line, column), "{text}: {broken:?}");
        }
        let deep = "[".repeat(1_000_000);
        assert!(read(&deep).unwrap_err().text.contains("deeper than 64"));
    }
}

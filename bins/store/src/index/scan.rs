//! Walks canonical JSON text to its leaves, without a tree.

use std::borrow::Cow;

use event::json;

/// A value that holds no others.
#[derive(Debug, PartialEq)]
pub enum Leaf<'a> {
    /// A string, unescaped.
    Text(Cow<'a, str>),
    /// A number, as written: it may be larger than any type holds.
    Number(&'a str),
    /// true or false.
    Bool(bool),
}

/// Calls `visit` with the dotted name and the value of every leaf below `text`, which is canonical JSON. List items
/// have the name of their list; null is no value. `name` is where `text` stands, and is given back as it was.
pub fn walk<'a>(text: &'a [u8], name: &mut String, visit: &mut impl FnMut(&str, Leaf<'a>)) {
    Scan { text, at: 0 }.value(name, 0, visit);
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// False at the end of what can be understood.
    fn value(&mut self, name: &mut String, depth: usize, visit: &mut impl FnMut(&str, Leaf<'a>)) -> bool {
        // Canonical text is not deeper; the bound keeps the stack safe whatever is handed in.
        if depth > event::DEPTH_MAX {
            return false;
        }
        match self.peek() {
            Some(b'{') => self.items(b'}', |scan| scan.member(name, depth, visit)),
            Some(b'[') => self.items(b']', |scan| scan.value(name, depth + 1, visit)),
            Some(b'"') => match json::parse_str(self.string()) {
                Some(text) => {
                    visit(name, Leaf::Text(text));
                    true
                }
                None => false,
            },
            Some(_) => match self.bare() {
                "true" => {
                    visit(name, Leaf::Bool(true));
                    true
                }
                "false" => {
                    visit(name, Leaf::Bool(false));
                    true
                }
                "null" => true,
                "" => false,
                number => {
                    visit(name, Leaf::Number(number));
                    true
                }
            },
            None => false,
        }
    }

    fn items(&mut self, close: u8, mut item: impl FnMut(&mut Self) -> bool) -> bool {
        self.at += 1;
        if self.peek() == Some(close) {
            self.at += 1;
            return true;
        }
        while item(self) {
            let next = self.peek();
            self.at += 1;
            if next != Some(b',') {
                return next == Some(close);
            }
        }
        false
    }

    fn member(&mut self, name: &mut String, depth: usize, visit: &mut impl FnMut(&str, Leaf<'a>)) -> bool {
        let Some(key) = json::parse_str(self.string()) else { return false };
        self.at += 1; // the colon
        let length = name.len();
        if length > 0 {
            name.push('.');
        }
        name.push_str(&key);
        let more = self.value(name, depth + 1, visit);
        name.truncate(length);
        more
    }

    /// The text of a string with its quotes.
    fn string(&mut self) -> &'a [u8] {
        let start = self.at;
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += match byte {
                b'"' => {
                    self.at += 1;
                    break;
                }
                b'\\' => 2,
                _ => 1,
            };
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn bare(&mut self) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(|b| !matches!(b, b',' | b'}' | b']')) {
            self.at += 1;
        }
        std::str::from_utf8(self.text.get(start..self.at).unwrap_or_default()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_has_its_name() {
        let text = r#"{"a":{"b":"x","c.d":[1,{"e":1e400},[]]},"f":[true,null,"q\"\u0001"],"g":{},"h":-0.5}"#;
        let mut seen = Vec::new();
        walk(text.as_bytes(), &mut "p".into(), &mut |name, leaf| seen.push(format!("{name}={leaf:?}")));
        assert_eq!(
            seen,
            [
                "p.a.b=Text(\"x\")",
                "p.a.c.d=Number(\"1\")",
                "p.a.c.d.e=Number(\"1e400\")",
                "p.f=Bool(true)",
                "p.f=Text(\"q\\\"\\u{1}\")",
                "p.h=Number(\"-0.5\")"
            ]
        );
    }

    #[test]
    fn broken_text_ends_quietly() {
        for text in ["", "{", "{\"a", "{\"a\":", "[1,", "\"\\", "{\"a\":1]", "[[[[", "}", "{1:2}"] {
            walk(text.as_bytes(), &mut String::new(), &mut |_, _| {});
        }
        walk("[".repeat(100_000).as_bytes(), &mut String::new(), &mut |_, _| {});
    }
}

//! The letters of the language: words, quoted text, bounds of a range, and the keywords between them.

use super::QueryError;

/// A run of letters without space, split at its unescaped stars.
pub struct Word {
    /// Where it starts, in bytes.
    pub at: usize,
    /// At least one piece; `a*b` has two.
    pub pieces: Vec<String>,
}

/// Where reading stands in the text of a query.
pub struct Lexer<'a> {
    pub text: &'a str,
    pub at: usize,
}

/// Whether a backslash before `c` makes it an ordinary letter. Before other letters a backslash is itself, so that
/// `C:\Windows` can be typed as it is.
pub fn is_special(c: char) -> bool {
    c.is_whitespace() || r#"+-!(){}[]^"~*?:\/&|<>"#.contains(c)
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || "()[]{}\"".contains(c)
}

impl<'a> Lexer<'a> {
    pub fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes `c` if it is next.
    pub fn take(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    /// Whether the keyword `word` stands here as a word of its own.
    pub fn at_keyword(&self, word: &str) -> bool {
        self.rest().strip_prefix(word).is_some_and(|after| after.chars().next().is_none_or(ends_word))
    }

    /// Takes the keyword if it stands here.
    pub fn keyword(&mut self, word: &str) -> bool {
        let found = self.at_keyword(word);
        if found {
            self.at += word.len();
        }
        found
    }

    pub fn error(&self, at: usize, what: impl Into<String>) -> QueryError {
        QueryError::new(self.text, at, what)
    }

    /// What stands here, for "…, found X".
    pub fn found(&self) -> String {
        match self.peek() {
            None => "the end of the query".into(),
            Some(c) if ends_word(c) => format!("`{c}`"),
            Some(_) => {
                let word: String = self.rest().chars().take_while(|&c| !ends_word(c)).take(40).collect();
                format!("`{word}`")
            }
        }
    }

    /// A word up to space, bracket or quote; with `stop_at_colon` also up to the first colon.
    pub fn word(&mut self, stop_at_colon: bool) -> Result<Word, QueryError> {
        let start = self.at;
        let mut pieces = vec![String::new()];
        while let Some(c) = self.peek() {
            if ends_word(c) || (c == ':' && stop_at_colon) {
                break;
            }
            let here = self.at;
            self.at += c.len_utf8();
            let literal = match c {
                '\\' => match self.peek() {
                    Some(next) if is_special(next) => {
                        self.at += next.len_utf8();
                        next
                    }
                    _ => '\\',
                },
                '*' => {
                    // Two stars mean what one means.
                    if pieces.len() == 1 || pieces.last().is_some_and(|p| !p.is_empty()) {
                        pieces.push(String::new());
                    }
                    continue;
                }
                '?' => return Err(self.error(here, "`?` is no wildcard here: write `*`, or put the text in quotes")),
                '~' | '^' if here > start && self.number_ends_word() => {
                    return Err(self.error(here, format!("`{c}` is not part of the language: put the text in quotes")));
                }
                other => other,
            };
            if let Some(piece) = pieces.last_mut() {
                piece.push(literal);
            }
        }
        Ok(Word { at: start, pieces })
    }

    /// Whether only digits follow up to the end of the word: `roam~`, `usb^2`.
    pub fn number_ends_word(&self) -> bool {
        self.rest().chars().take_while(|&c| !ends_word(c)).all(|c| c.is_ascii_digit() || c == '.')
    }

    /// Text in quotes, the opening one being next. Only `\"` and `\\` are escapes.
    pub fn quoted(&mut self) -> Result<String, QueryError> {
        let start = self.at;
        self.take('"');
        let mut text = String::new();
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match c {
                '"' => {
                    if matches!(self.peek(), Some('~' | '^')) && self.text.get(self.at + 1..).is_some() {
                        return Err(self.error(self.at, "expected a space after the closing quote"));
                    }
                    return Ok(text);
                }
                '\\' if matches!(self.peek(), Some('"' | '\\')) => {
                    text.extend(self.peek());
                    self.at += 1;
                }
                other => text.push(other),
            }
        }
        Err(self.error(start, "expected a closing quote, found the end of the query"))
    }

    /// One end of a range: `*`, quoted text, or anything up to space or `]`.
    pub fn bound(&mut self) -> Result<Option<String>, QueryError> {
        self.skip_space();
        let start = self.at;
        if self.peek() == Some('"') {
            return self.quoted().map(Some);
        }
        let word = self.word(false)?;
        match word.pieces.as_slice() {
            [only] if only.is_empty() || only == "TO" => {
                self.at = start;
                Err(self.error(start, format!("expected a value or `*`, found {}", self.found())))
            }
            [only] => Ok(Some(only.clone())),
            [a, b] if a.is_empty() && b.is_empty() => Ok(None),
            _ => Err(self.error(start, "a range goes from one value to another: no `*` inside them")),
        }
    }
}

//! From text to [`Query`]: a recursive descent, one function a level of binding.

use super::lexer::{Lexer, Word};
use super::{CLAUSES_MAX, DEPTH_MAX, QUERY_MAX, Query, QueryError, when};

/// Fields whose values are times in every store.
const TIMES: [&str; 2] = ["time", "received"];

/// What may stand where something to search for is missing.
const OPERAND: &str = "expected a word, \"quoted text\", field:value, NOT or (";

pub fn parse(text: &str) -> Result<Query, QueryError> {
    if text.len() > QUERY_MAX {
        return Err(QueryError::new(text, QUERY_MAX, format!("a query has at most {QUERY_MAX} bytes")));
    }
    let mut parser = Parser { lex: Lexer { text, at: 0 }, depth: 0, clauses: 0 };
    parser.lex.skip_space();
    if parser.lex.peek().is_none() {
        return Ok(Query::All);
    }
    let query = parser.or(None)?;
    match parser.lex.peek() {
        None => Ok(query),
        Some(_) => Err(parser.fail(format!("expected AND, OR or the end, found {}", parser.lex.found()))),
    }
}

struct Parser<'a> {
    lex: Lexer<'a>,
    depth: usize,
    clauses: usize,
}

impl Parser<'_> {
    fn fail(&self, what: impl Into<String>) -> QueryError {
        self.lex.error(self.lex.at, what)
    }

    fn or(&mut self, field: Option<&str>) -> Result<Query, QueryError> {
        let mut any = vec![self.and(field)?];
        while self.lex.keyword("OR") {
            any.push(self.and(field)?);
        }
        Ok(flat(any, Query::Or, |q| match q {
            Query::Or(inner) => Ok(inner),
            other => Err(other),
        }))
    }

    fn and(&mut self, field: Option<&str>) -> Result<Query, QueryError> {
        let mut all = vec![self.not(field)?];
        while !matches!(self.lex.peek(), None | Some(')')) && !self.lex.at_keyword("OR") {
            self.lex.keyword("AND");
            all.push(self.not(field)?);
        }
        Ok(flat(all, Query::And, |q| match q {
            Query::And(inner) => Ok(inner),
            other => Err(other),
        }))
    }

    fn not(&mut self, field: Option<&str>) -> Result<Query, QueryError> {
        self.lex.skip_space();
        let negated = self.lex.keyword("NOT");
        let query = if negated {
            self.deeper(|p| p.not(field)).map(|inner| Query::Not(Box::new(inner)))
        } else {
            self.operand(field)
        }?;
        self.lex.skip_space();
        Ok(query)
    }

    fn deeper(&mut self, inner: impl FnOnce(&mut Self) -> Result<Query, QueryError>) -> Result<Query, QueryError> {
        if self.depth == DEPTH_MAX {
            return Err(self.fail(format!("brackets and NOT nest at most {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        let query = inner(self);
        self.depth -= 1;
        query
    }

    /// A word, a quoted text, a bracket, or `field:` and its value; after `field:(` only values.
    fn operand(&mut self, field: Option<&str>) -> Result<Query, QueryError> {
        let start = self.lex.at;
        match self.lex.peek() {
            Some('(') => {
                self.lex.take('(');
                let inner = self.deeper(|p| p.or(field))?;
                if !self.lex.take(')') {
                    return Err(self.fail(format!("expected ), found {}", self.lex.found())));
                }
                Ok(inner)
            }
            Some('"') => {
                let text = self.lex.quoted()?;
                self.text(field, text, start)
            }
            Some('[') if field.is_some() => self.range(field.unwrap_or_default()),
            Some('[') => Err(self.fail("a range needs a field: write field:[a TO b]")),
            Some('{') => Err(self.fail("only ranges with both ends included: write [a TO b]")),
            None | Some(')' | ']' | '}') => Err(self.missing(field)),
            Some(c) => {
                if ["AND", "OR"].iter().any(|k| self.lex.at_keyword(k)) {
                    return Err(self.missing(field));
                }
                self.no_foreign_operator(c, field)?;
                let word = self.lex.word(field.is_none())?;
                if field.is_none() && self.lex.take(':') { self.field(word) } else { self.word(field, word) }
            }
        }
    }

    fn missing(&self, field: Option<&str>) -> QueryError {
        let found = self.lex.found();
        match field {
            None => self.fail(format!("{OPERAND}, found {found}")),
            Some(f) => {
                self.fail(format!("expected a value of `{f}`: a word, \"quoted text\", [a TO b] or (, found {found}"))
            }
        }
    }

    /// Operators of other languages are refused with the right one, instead of being searched for as letters.
    fn no_foreign_operator(&self, c: char, field: Option<&str>) -> Result<(), QueryError> {
        let rest = self.lex.rest();
        let hint = match c {
            _ if rest.starts_with("&&") => "write AND",
            _ if rest.starts_with("||") => "write OR",
            '-' | '!' if field.is_none() => "write NOT, or put the text in quotes",
            '+' if field.is_none() => "words must all match anyway; leave it out, or put the text in quotes",
            '<' | '>' if field.is_some() => "write [a TO b], or [a TO *]",
            _ => return Ok(()),
        };
        Err(self.fail(format!("`{c}` is not part of the language: {hint}")))
    }

    /// What follows `name:`.
    fn field(&mut self, name: Word) -> Result<Query, QueryError> {
        if self.lex.rest().starts_with("//") {
            return Err(self.lex.error(name.at, "this would be a field: put an address in quotes"));
        }
        self.lex.skip_space();
        let [field] = name.pieces.as_slice() else {
            let everything = name.pieces.iter().all(String::is_empty) && self.lex.keyword("*");
            return if everything {
                self.count(Query::All, name.at)
            } else {
                Err(self.lex.error(name.at, "the name of a field has no `*`"))
            };
        };
        if field.is_empty() {
            return Err(self.lex.error(name.at, "expected the name of a field before `:`"));
        }
        if self.lex.at_keyword("NOT") {
            return Err(self.missing(Some(field)));
        }
        if field == "_exists_" {
            return self.exists();
        }
        self.operand(Some(field))
    }

    fn exists(&mut self) -> Result<Query, QueryError> {
        let start = self.lex.at;
        let name = match self.lex.peek() {
            Some('"') => self.lex.quoted()?,
            _ => match self.lex.word(false)?.pieces.as_slice() {
                [name] => name.clone(),
                _ => return Err(self.lex.error(start, "the name of a field has no `*`")),
            },
        };
        if name.is_empty() {
            return Err(self.lex.error(start, format!("expected the name of a field, found {}", self.lex.found())));
        }
        self.count(Query::Exists(name), start)
    }

    fn word(&mut self, field: Option<&str>, word: Word) -> Result<Query, QueryError> {
        let at = word.at;
        let stars = word.pieces.len() - 1;
        if stars == 0 {
            return self.text(field, word.pieces.concat(), at);
        }
        let nothing = word.pieces.iter().all(String::is_empty);
        match field {
            None if nothing => self.count(Query::All, at),
            Some(name) if nothing => self.count(Query::Exists(name.to_owned()), at),
            Some(name) if TIMES.contains(&name) => {
                Err(self.lex.error(at, format!("{}: no `*` in a time", time_form(name))))
            }
            None if !word.pieces.iter().any(|p| has_word(p)) => Err(self.lex.error(at, NO_WORD)),
            _ => self.count(Query::Wild { field: field.map(str::to_owned), pieces: word.pieces }, at),
        }
    }

    fn text(&mut self, field: Option<&str>, text: String, at: usize) -> Result<Query, QueryError> {
        match field {
            None if !has_word(&text) => Err(self.lex.error(at, NO_WORD)),
            Some(name) => {
                self.check_time(name, &text, at)?;
                self.count(Query::Match { field: Some(name.to_owned()), text }, at)
            }
            None => self.count(Query::Match { field: None, text }, at),
        }
    }

    fn range(&mut self, field: &str) -> Result<Query, QueryError> {
        let start = self.lex.at;
        self.lex.take('[');
        let mut ends = [None, None];
        for (i, end) in ends.iter_mut().enumerate() {
            self.lex.skip_space();
            let at = self.lex.at;
            *end = self.lex.bound()?;
            if let Some(text) = end {
                self.check_time(field, text, at)?;
            }
            self.lex.skip_space();
            let (ok, expected) = match i {
                0 => (self.lex.keyword("TO"), "TO"),
                _ => (self.lex.take(']'), "]"),
            };
            if !ok {
                return Err(self.fail(format!("expected {expected}, found {}", self.lex.found())));
            }
        }
        let [from, to] = ends;
        self.count(Query::Range { field: field.to_owned(), from, to }, start)
    }

    fn check_time(&self, field: &str, text: &str, at: usize) -> Result<(), QueryError> {
        if TIMES.contains(&field) && when::parse(text).is_none() {
            return Err(self.lex.error(at, time_form(field)));
        }
        Ok(())
    }

    fn count(&mut self, query: Query, at: usize) -> Result<Query, QueryError> {
        self.clauses += 1;
        if self.clauses > CLAUSES_MAX {
            return Err(self.lex.error(at, format!("a query has at most {CLAUSES_MAX} words and values")));
        }
        Ok(query)
    }
}

const NO_WORD: &str = "expected a letter or digit to search for";

fn time_form(field: &str) -> String {
    format!("`{field}` is a time: 2026-11-21, 2026-11-21T19:00 or 2026-11-21T19:00:00.123Z (UTC)")
}

fn has_word(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

/// One item alone is itself; inner lists of the same kind become part of the outer one.
fn flat(items: Vec<Query>, of: fn(Vec<Query>) -> Query, inner: fn(Query) -> Result<Vec<Query>, Query>) -> Query {
    let mut all = Vec::with_capacity(items.len());
    for item in items {
        match inner(item) {
            Ok(list) => all.extend(list),
            Err(single) => all.push(single),
        }
    }
    match <[Query; 1]>::try_from(all) {
        Ok([single]) => single,
        Err(all) => of(all),
    }
}

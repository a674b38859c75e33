//! The query language for people, the same for every store: what a search means, independent of who answers it.
//!
//! It is the part of Lucene's that people use, and nothing else: words, `"quoted text"`, `field:value` with dots for
//! nested keys, `AND OR NOT ( )`, `*`, `[a TO b]` and `_exists_:field`. Words that follow each other must *all* match
//! (Lucene's own default is OR; everybody who types two words into a search field means both). `NOT` binds tighter
//! than `AND`, `AND` tighter than `OR`. `field:(a OR b)` gives the field to each value in the brackets; after
//! `field:` a value may hold further colons (`objects:file:sha256:9f86`). A `/` is a letter, not a regular expression.
//!
//! A value matches where its words stand next to each other in the field, whatever the case; a field of the envelope
//! (`type`, `machine.hostname`, `tags`, …) is one value and must be equal. `*` stands for any characters.

mod lexer;
mod parser;
pub mod when;

use std::fmt;

/// The longest query, in bytes.
pub const QUERY_MAX: usize = 8 << 10;
/// How deep brackets and NOTs may nest.
pub const DEPTH_MAX: usize = 64;
/// How many words, values and ranges one query may hold.
pub const CLAUSES_MAX: usize = 1024;

/// A search. Equal searches have one form: no AND directly in an AND, no OR directly in an OR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Everything: the empty query, `*` and `*:*`.
    All,
    /// The words of `text` next to each other, in one field or anywhere.
    Match {
        /// Dotted name; `None` is anywhere.
        field: Option<String>,
        /// As typed, without quotes and escapes.
        text: String,
    },
    /// A value or word with any characters at each `*`.
    Wild {
        /// Dotted name; `None` is anywhere.
        field: Option<String>,
        /// What stands between the stars: at least two pieces, the inner ones not empty.
        pieces: Vec<String>,
    },
    /// A value between two others, both included; `None` is an open end.
    Range {
        /// Dotted name.
        field: String,
        /// Smallest value.
        from: Option<String>,
        /// Largest value.
        to: Option<String>,
    },
    /// Any value in this field, or below it.
    Exists(String),
    /// Everything else.
    Not(Box<Query>),
    /// All of them.
    And(Vec<Query>),
    /// Any of them.
    Or(Vec<Query>),
}

/// Why a query could not be read, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    query: String,
    at: usize,
    what: String,
}

impl QueryError {
    pub(crate) fn new(query: &str, at: usize, what: impl Into<String>) -> Self {
        let at = query.floor_char_boundary(at.min(query.len()));
        Self { query: query.to_owned(), at, what: what.into() }
    }

    /// The column of the mistake, in characters from 1.
    pub fn column(&self) -> usize {
        self.query.get(..self.at).map_or(0, |head| head.chars().count()) + 1
    }

    /// What was expected, without the place.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Two lines: the query (at most [`CONTEXT`] characters around the mistake) and a caret under the mistake.
    pub fn caret(&self) -> String {
        let skip = self.column().saturating_sub(CONTEXT / 2 + 1);
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        let line: String = self.query.chars().skip(skip).take(CONTEXT).map(printable).collect();
        format!("{line}\n{:>width$}", '^', width = self.column() - skip)
    }
}

/// How much of a long query an error shows, in characters.
const CONTEXT: usize = 120;

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query, column {}: {}", self.column(), self.what)
    }
}

impl std::error::Error for QueryError {}

/// Reads a query. Never panics, whatever the text; the bounds are [`QUERY_MAX`], [`DEPTH_MAX`], [`CLAUSES_MAX`].
pub fn parse(text: &str) -> Result<Query, QueryError> {
    parser::parse(text)
}

impl fmt::Display for Query {
    /// Text that [`parse`] reads back as the same query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Match { field, text } => {
                write_field(f, field.as_deref())?;
                write_value(f, text, &['"', '\\'], is_plain(text))
            }
            Self::Wild { field, pieces } => {
                write_field(f, field.as_deref())?;
                for (i, piece) in pieces.iter().enumerate() {
                    f.write_str(if i == 0 { "" } else { "*" })?;
                    write_escaped(f, piece)?;
                }
                Ok(())
            }
            Self::Range { field, from, to } => {
                write_field(f, Some(field))?;
                f.write_str("[")?;
                write_bound(f, from.as_deref())?;
                f.write_str(" TO ")?;
                write_bound(f, to.as_deref())?;
                f.write_str("]")
            }
            Self::Exists(field) => {
                f.write_str("_exists_:")?;
                write_value(f, field, &['"', '\\'], is_plain(field))
            }
            Self::Not(inner) => match **inner {
                Self::And(_) | Self::Or(_) => write!(f, "NOT ({inner})"),
                _ => write!(f, "NOT {inner}"),
            },
            Self::And(all) => write_joined(f, all, " AND "),
            Self::Or(any) => write_joined(f, any, " OR "),
        }
    }
}

fn write_joined(f: &mut fmt::Formatter<'_>, items: &[Query], between: &str) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { between })?;
        // OR binds loosest, so only an OR inside something needs brackets.
        match item {
            Query::Or(_) => write!(f, "({item})")?,
            _ => write!(f, "{item}")?,
        }
    }
    Ok(())
}

fn write_field(f: &mut fmt::Formatter<'_>, field: Option<&str>) -> fmt::Result {
    let Some(field) = field else { return Ok(()) };
    write_escaped(f, field)?;
    f.write_str(":")
}

fn write_bound(f: &mut fmt::Formatter<'_>, bound: Option<&str>) -> fmt::Result {
    match bound {
        None => f.write_str("*"),
        Some(text) => write_value(f, text, &['"', '\\'], is_plain(text)),
    }
}

fn write_value(f: &mut fmt::Formatter<'_>, text: &str, escape: &[char], plain: bool) -> fmt::Result {
    use fmt::Write as _;
    if plain {
        return f.write_str(text);
    }
    f.write_str("\"")?;
    for c in text.chars() {
        if escape.contains(&c) {
            f.write_str("\\")?;
        }
        f.write_char(c)?;
    }
    f.write_str("\"")
}

fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    use fmt::Write as _;
    for c in text.chars() {
        if lexer::is_special(c) {
            f.write_str("\\")?;
        }
        f.write_char(c)?;
    }
    Ok(())
}

/// Whether a text can stand without quotes.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !matches!(text, "AND" | "OR" | "NOT" | "TO")
        && !text.starts_with(['-', '+', '!'])
        && !text.chars().any(|c| c != '/' && c != '-' && c != '+' && c != '!' && lexer::is_special(c))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;

//! Conditions on one field, answered from its column: is it there, is it equal, does it hold these words, does it
//! match, does it lie between.

use std::cmp::Ordering;
use std::collections::HashMap;

use tantivy::columnar::{Column, DynamicColumn, StrColumn};
use tantivy::query::doc_predicate_query::{ConstOrVariableSegmentPredicate, DocPredicate, SegmentDocPredicate};
use tantivy::query::{AllScorer, EnableScoring, Query};
use tantivy::{DocId, DocSet, SegmentReader, TantivyError};

use crate::index::schema::COLUMNS;
use crate::query::when;
use crate::words;

/// A dictionary of fewer values is tested as a whole at once, a larger one value by value as events come along.
const TEST_ALL_BELOW: usize = 20_000;

/// What a value must be.
#[derive(Debug, Clone)]
pub enum Test {
    /// Holds these words next to each other; a number must be equal to `number`.
    Words { words: Vec<String>, number: Option<Number> },
    /// Is this text, in lower case.
    Whole(String),
    /// Has these pieces in this order, in lower case; with `in_word` one word of it will do.
    Wild { pieces: Vec<String>, in_word: bool },
    /// Lies between these, both included.
    Range { from: Option<Bound>, to: Option<Bound> },
}

/// A number as a query or a text says it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    pub fn parse(text: &str) -> Option<Self> {
        // What Rust also reads as a number, no agent means as one: inf, nan, +1, "1 ".
        if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            return None;
        }
        text.parse().map(Self::Int).ok().or_else(|| text.parse().ok().filter(|n: &f64| !n.is_nan()).map(Self::Float))
    }

    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (a, b) => a.float().partial_cmp(&b.float()),
        }
    }

    pub fn float(self) -> f64 {
        match self {
            Self::Int(n) => n as f64,
            Self::Float(n) => n,
        }
    }
}

/// One end of a range, in each way it may be meant.
#[derive(Debug, Clone)]
pub struct Bound {
    pub number: Option<Number>,
    /// Its first and last millisecond.
    pub time: Option<(i64, i64)>,
    pub lower: String,
}

impl Bound {
    pub fn new(text: &str) -> Self {
        Self { number: Number::parse(text), time: when::parse(text), lower: words::whole(text) }
    }
}

impl Test {
    fn text(&self, value: &str) -> bool {
        match self {
            Self::Words { words, number } => match (number, Number::parse(value)) {
                (Some(a), Some(b)) => a.compare(b) == Some(Ordering::Equal),
                _ => words::contains(value, words),
            },
            Self::Whole(wanted) => words::whole(value) == *wanted,
            Self::Wild { pieces, in_word } => {
                matches(pieces, &words::whole(value))
                    || (*in_word && words::of(value).iter().any(|w| matches(pieces, w)))
            }
            Self::Range { from, to } => between(value, from.as_ref(), to.as_ref()),
        }
    }

    fn number(&self, value: Number, text: impl Fn() -> String) -> bool {
        match self {
            Self::Words { number, .. } => number.is_some_and(|n| n.compare(value) == Some(Ordering::Equal)),
            Self::Range { from, to } => {
                let end = |bound: &Option<Bound>, wrong| match bound {
                    None => true,
                    Some(b) => b.number.and_then(|n| value.compare(n)).is_some_and(|o| o != wrong),
                };
                end(from, Ordering::Less) && end(to, Ordering::Greater)
            }
            _ => self.text(&text()),
        }
    }
}

/// Numbers as numbers if both ends are, times as times, versions as versions, else letters in lower case.
fn between(value: &str, from: Option<&Bound>, to: Option<&Bound>) -> bool {
    let ends = || from.into_iter().chain(to);
    // 15.1 alone may be a number; where three parts meet it, it is a version.
    if ends().map(|b| b.lower.as_str()).chain([value]).any(|t| t.split('.').count() > 2)
        && let Some(value) = version(value)
        && ends().all(|b| version(&b.lower).is_some())
    {
        let part = |bound: Option<&Bound>| bound.and_then(|b| version(&b.lower));
        return part(from).is_none_or(|v| value >= v) && part(to).is_none_or(|v| value <= v);
    }
    if ends().all(|b| b.number.is_some()) {
        let Some(value) = Number::parse(value) else { return false };
        let end = |bound: Option<&Bound>, wrong| {
            bound.and_then(|b| b.number).is_none_or(|n| value.compare(n).is_some_and(|o| o != wrong))
        };
        return end(from, Ordering::Less) && end(to, Ordering::Greater);
    }
    if ends().all(|b| b.time.is_some())
        && let Some((first, last)) = when::parse(value)
    {
        let after = from.and_then(|b| b.time).is_none_or(|(start, _)| first >= start);
        return after && to.and_then(|b| b.time).is_none_or(|(_, end)| last <= end);
    }
    let value = words::whole(value);
    from.is_none_or(|b| value >= b.lower) && to.is_none_or(|b| value <= b.lower)
}

/// Numbers with dots between them: `15.3.2`.
pub(crate) fn version(text: &str) -> Option<Vec<u64>> {
    text.split('.').map(|part| part.parse().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit()))).collect()
}

/// Whether `text` is the pieces with anything between them.
fn matches(pieces: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = pieces else { return pieces.first().is_some_and(|p| p == text) };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for piece in middle {
        match rest.split_once(piece.as_str()) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

/// A condition on the values of one field, for Tantivy.
#[derive(Debug)]
pub struct FieldTest {
    /// Dotted name.
    pub name: String,
    /// What one of its values must be.
    pub test: Test,
    /// What every event that passes also matches, where that is cheaper to find.
    pub near: Option<Box<dyn Query>>,
}

/// The name that Tantivy knows a field's columns by.
pub fn column_name(name: &str) -> String {
    // A backslash would hide the dot after it.
    format!("{COLUMNS}.{}", name.replace('\\', "\\\\"))
}

impl DocPredicate for FieldTest {
    type SegmentDocPredicate = SegmentTest;

    fn doc_predicate(&self, segment: &SegmentReader) -> tantivy::Result<ConstOrVariableSegmentPredicate<SegmentTest>> {
        let handles = segment.fast_fields().dynamic_column_handles(&column_name(&self.name))?;
        if handles.is_empty() {
            return Ok(ConstOrVariableSegmentPredicate::Const(false));
        }
        let near: Box<dyn DocSet> = match &self.near {
            None => Box::new(AllScorer::new(segment.max_doc())),
            Some(near) => {
                let schema = segment.schema();
                Box::new(near.weight(EnableScoring::disabled_from_schema(schema))?.scorer(segment, 1.0)?)
            }
        };
        let mut columns = Vec::new();
        for handle in handles {
            columns.push(match handle.open()? {
                DynamicColumn::Str(column) => Tested::text(column, &self.test, near.cost())?,
                DynamicColumn::I64(column) => Tested::I64(column),
                DynamicColumn::U64(column) => Tested::U64(column),
                DynamicColumn::F64(column) => Tested::F64(column),
                DynamicColumn::Bool(column) => Tested::Bool(column),
                _ => continue,
            });
        }
        let predicate = SegmentTest { columns, test: self.test.clone() };
        Ok(ConstOrVariableSegmentPredicate::Variable { predicate, necessary_condition: near })
    }
}

/// The condition in one part of an index.
pub struct SegmentTest {
    columns: Vec<Tested>,
    test: Test,
}

enum Tested {
    /// The outcome by a value's place in the dictionary, as far as it is known.
    Text {
        column: StrColumn,
        passes: HashMap<u64, bool>,
        all: Option<Vec<bool>>,
    },
    I64(Column<i64>),
    U64(Column<u64>),
    F64(Column<f64>),
    Bool(Column<bool>),
}

impl Tested {
    fn text(column: StrColumn, test: &Test, candidates: u64) -> tantivy::Result<Self> {
        let terms = column.num_terms();
        // Reading a dictionary through costs about a tenth, value for value, of looking into it at many places.
        let all = if terms < TEST_ALL_BELOW || candidates.saturating_mul(10) > terms as u64 {
            let mut all = Vec::with_capacity(terms);
            let mut values = column.dictionary().stream().map_err(TantivyError::from)?;
            while values.advance() {
                all.push(std::str::from_utf8(values.key()).is_ok_and(|v| test.text(v)));
            }
            Some(all)
        } else {
            None
        };
        Ok(Self::Text { column, passes: HashMap::new(), all })
    }

    fn eval(&mut self, doc: DocId, test: &Test) -> bool {
        match self {
            Self::Text { column, passes, all } => column.term_ords(doc).any(|ord| match all {
                Some(all) => usize::try_from(ord).ok().and_then(|o| all.get(o)).is_some_and(|&p| p),
                None => *passes.entry(ord).or_insert_with(|| {
                    let mut value = String::new();
                    column.ord_to_str(ord, &mut value).is_ok_and(|found| found && test.text(&value))
                }),
            }),
            Self::I64(column) => {
                column.values_for_doc(doc).any(|n| test.number(Number::Int(n.into()), || n.to_string()))
            }
            Self::U64(column) => {
                column.values_for_doc(doc).any(|n| test.number(Number::Int(n.into()), || n.to_string()))
            }
            Self::F64(column) => column.values_for_doc(doc).any(|n| test.number(Number::Float(n), || n.to_string())),
            Self::Bool(column) => column.values_for_doc(doc).any(|b| test.text(if b { "true" } else { "false" })),
        }
    }
}

impl SegmentDocPredicate for SegmentTest {
    fn eval(&mut self, doc: DocId) -> bool {
        self.columns.iter_mut().any(|column| column.eval(doc, &self.test))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_compare_what_is_meant() {
        for (value, from, to, expected) in [
            ("9", Some("10"), Some("200"), false),
            ("50", Some("10"), Some("200"), true),
            ("200", Some("10"), Some("200"), true),
            ("200.5", Some("10"), Some("200"), false),
            ("x50", Some("10"), Some("200"), false),
            ("-3", None, Some("0"), true),
            ("18446744073709551617", Some("18446744073709551616"), None, true),
            ("2026-11-20T10:00:00Z", Some("2026-11-20"), Some("2026-11-20"), true),
            ("2026-11-21T00:00:00Z", Some("2026-11-20"), Some("2026-11-20"), false),
            ("Beta", Some("alpha"), Some("gamma"), true),
            ("10.4.1", Some("10.4"), None, true),
            ("15.3.2", Some("15.1"), Some("15.10"), true),
            ("15.10.1", Some("15.2.1"), Some("15.9.1"), false),
            ("10.0.0.7", Some("10.0.0.10"), Some("10.0.0.20"), false),
        ] {
            let bound = |text: Option<&str>| text.map(Bound::new);
            assert_eq!(between(value, bound(from).as_ref(), bound(to).as_ref()), expected, "{value} {from:?} {to:?}");
        }
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, expected) in [
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "abd", false),
            ("ab*bc", "abc", false),
            ("*b*", "abc", true),
            ("/usr/*/py*3", "/usr/local/bin/python3", true),
            ("*", "", true),
        ] {
            let pieces: Vec<String> = pattern.split('*').map(str::to_owned).collect();
            assert_eq!(matches(&pieces, text), expected, "{pattern} {text}");
        }
    }
}

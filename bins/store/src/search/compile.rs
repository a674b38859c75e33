//! From a query to what Tantivy runs.

use tantivy::Term;
use tantivy::query::doc_predicate_query::DocPredicateQuery;
use tantivy::query::{
    AllQuery, BooleanQuery, EmptyQuery, ExistsQuery, Occur, PhraseQuery, Query as Run, RangeQuery, RegexPhraseQuery,
    RegexQuery, TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption};

use super::column::{Bound, FieldTest, Number, Test, column_name};
use crate::index::schema::{Fields, is_key};
use crate::query::{Query, when};
use crate::words;

/// The same search for Tantivy. `fields` are those of the index that will be asked.
pub fn compile(query: &Query, fields: &Fields) -> Box<dyn Run> {
    match query {
        Query::All => Box::new(AllQuery),
        Query::Match { field: None, text } => anywhere(text, fields),
        Query::Match { field: Some(name), text } => equal(name, text, fields),
        Query::Wild { field: None, pieces } => wild_anywhere(pieces, fields),
        Query::Wild { field: Some(name), pieces } => wild(name, pieces, fields),
        Query::Range { field, from, to } => range(field, from.as_deref(), to.as_deref(), fields),
        Query::Exists(name) => match name.as_str() {
            "id" | "time" | "received" => Box::new(AllQuery),
            name => Box::new(ExistsQuery::new(column_name(name), true)),
        },
        Query::Not(inner) => Box::new(BooleanQuery::new(vec![
            (Occur::Must, Box::new(AllQuery)),
            (Occur::MustNot, compile(inner, fields)),
        ])),
        Query::And(all) => {
            let mut clauses: Vec<_> = all
                .iter()
                .map(|q| match q {
                    Query::Not(inner) => (Occur::MustNot, compile(inner, fields)),
                    other => (Occur::Must, compile(other, fields)),
                })
                .collect();
            if clauses.iter().all(|(occur, _)| *occur == Occur::MustNot) {
                clauses.push((Occur::Must, Box::new(AllQuery)));
            }
            Box::new(BooleanQuery::new(clauses))
        }
        Query::Or(any) => Box::new(BooleanQuery::union(any.iter().map(|q| compile(q, fields)).collect())),
    }
}

/// Milliseconds from `from` to `to`, both included, in one of the two time fields.
pub fn time_range(field: Field, from: i64, to: i64) -> Box<dyn Run> {
    use std::ops::Bound::Included;
    Box::new(RangeQuery::new(Included(Term::from_field_i64(field, from)), Included(Term::from_field_i64(field, to))))
}

fn time_field(name: &str, fields: &Fields) -> Option<Field> {
    match name {
        "time" => Some(fields.time),
        "received" => Some(fields.received),
        _ => None,
    }
}

fn term(field: Field, word: &str) -> Box<dyn Run> {
    Box::new(TermQuery::new(Term::from_field_text(field, word), IndexRecordOption::Basic))
}

/// Words next to each other in any value.
fn anywhere(text: &str, fields: &Fields) -> Box<dyn Run> {
    let words = phrase(&words::of(text), fields);
    // Ids are not among the words: each would be five words that nothing else has.
    if text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return Box::new(BooleanQuery::union(vec![words, term(fields.id, &text.to_ascii_lowercase())]));
    }
    words
}

fn phrase(words: &[String], fields: &Fields) -> Box<dyn Run> {
    match words {
        [] => Box::new(EmptyQuery),
        [word] => term(fields.text, word),
        words => Box::new(PhraseQuery::new(words.iter().map(|w| Term::from_field_text(fields.text, w)).collect())),
    }
}

fn equal(name: &str, text: &str, fields: &Fields) -> Box<dyn Run> {
    if let Some(field) = time_field(name, fields) {
        return match when::parse(text) {
            Some((from, to)) => time_range(field, from, to),
            None => Box::new(EmptyQuery),
        };
    }
    if name == "id" {
        return term(fields.id, text);
    }
    if is_key(name) {
        let mut term = Term::from_field_json_path(fields.keys, name, true);
        term.append_type_and_str(&words::whole(text));
        return Box::new(TermQuery::new(term, IndexRecordOption::Basic));
    }
    let words = words::of(text);
    if words.is_empty() {
        return test(name, Test::Whole(words::whole(text)), None);
    }
    let number = Number::parse(text);
    // 1.0 and 1 are one number and other words.
    let near = number.is_none().then(|| phrase(&words, fields));
    test(name, Test::Words { words, number }, near)
}

fn test(name: &str, test: Test, near: Option<Box<dyn Run>>) -> Box<dyn Run> {
    Box::new(DocPredicateQuery::from(FieldTest { name: name.to_owned(), test, near }))
}

fn wild(name: &str, pieces: &[String], fields: &Fields) -> Box<dyn Run> {
    if name == "id" {
        // An id's characters that mean something else in a regular expression are escaped one by one.
        let escape = |piece: &String| {
            piece.chars().map(|c| if c.is_alphanumeric() { c.to_string() } else { format!("\\{c}") }).collect()
        };
        let pattern = pieces.iter().map(escape).collect::<Vec<String>>().join(".*");
        return RegexQuery::from_pattern(&pattern, fields.id)
            .map_or_else(|_| Box::new(EmptyQuery) as Box<dyn Run>, |q| Box::new(q));
    }
    let in_word = !is_key(name) && pieces.iter().all(|p| p.chars().all(char::is_alphanumeric));
    test(name, Test::Wild { pieces: pieces.iter().map(|p| words::whole(p)).collect(), in_word }, None)
}

fn range(name: &str, from: Option<&str>, to: Option<&str>, fields: &Fields) -> Box<dyn Run> {
    if let Some(field) = time_field(name, fields) {
        let start = from.map_or(Some(i64::MIN), |t| when::parse(t).map(|(start, _)| start));
        let end = to.map_or(Some(i64::MAX), |t| when::parse(t).map(|(_, end)| end));
        return match (start, end) {
            (Some(start), Some(end)) => time_range(field, start, end),
            _ => Box::new(EmptyQuery),
        };
    }
    if from.is_none() && to.is_none() {
        return compile(&Query::Exists(name.to_owned()), fields);
    }
    test(name, Test::Range { from: from.map(Bound::new), to: to.map(Bound::new) }, None)
}

/// A pattern over words: `/usr/bin/py*` is `usr`, `bin` and a word that begins with `py`, next to each other. A star
/// that stands alone between two separators stands for anything, so what is left and right of it may be apart.
fn wild_anywhere(pieces: &[String], fields: &Fields) -> Box<dyn Run> {
    let queries: Vec<_> = runs(pieces).iter().map(|run| wild_run(run, fields)).collect();
    match <[Box<dyn Run>; 1]>::try_from(queries) {
        Ok([only]) => only,
        Err(queries) if queries.is_empty() => Box::new(AllQuery),
        Err(queries) => Box::new(BooleanQuery::intersection(queries)),
    }
}

/// The words of a pattern, in which `*` is a letter, next to each other; a pattern is cut where a text is cut.
pub(crate) fn runs(pieces: &[String]) -> Vec<Vec<String>> {
    let mut runs: Vec<Vec<String>> = vec![Vec::new()];
    let pattern = pieces.iter().map(|p| words::whole(p)).collect::<Vec<_>>().join("*");
    for word in pattern.split(|c: char| !c.is_alphanumeric() && c != '*').filter(|w| !w.is_empty()) {
        if word.chars().all(|c| c == '*') {
            runs.push(Vec::new());
        } else if let Some(run) = runs.last_mut() {
            run.push(word.to_owned());
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

fn wild_run(run: &[String], fields: &Fields) -> Box<dyn Run> {
    let regex = |word: &String| word.replace('*', ".*");
    match run {
        run if run.iter().all(|w| !w.contains('*')) => phrase(run, fields),
        [word] => RegexQuery::from_pattern(&regex(word), fields.text)
            .map_or_else(|_| Box::new(EmptyQuery) as Box<dyn Run>, |q| Box::new(q)),
        run => Box::new(RegexPhraseQuery::new(fields.text, run.iter().map(regex).collect())),
    }
}

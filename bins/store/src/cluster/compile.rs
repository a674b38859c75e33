//! From a query to what a cluster runs: the same search as [`crate::search::compile`] makes for the embedded index, over
//! the terms of [`super::terms`].

use serde_json::{Map, Value, json};

use super::terms::{
    FLOAT, INT, KEY, LENGTHS, LIKE_BOTH, LIKE_TIME, LIKE_VERSION, PLAIN, SEP, TIME, TOKEN_MAX, VERSION, VERSION_SHORT,
    WHOLE, WORD, WORD_OF_JSON, WORD_OF_NUMBER, float, int, letter, parts, short,
};
use crate::index::schema::is_key;
use crate::query::{Query, when};
use crate::search::column::{Bound, Number, version};
use crate::search::compile::runs;
use crate::words;

/// The fields of the index that hold what only searches read.
pub const TERMS: &str = "zentral.terms";
/// Words of all values.
pub const WORDS: &str = "zentral.words";
/// Words by field.
pub const FIELDS: &str = "zentral.fields";

/// The search as a cluster's own.
pub fn compile(query: &Query) -> Value {
    match query {
        Query::All => json!({"match_all": {}}),
        Query::Match { field: None, text } => anywhere(text),
        Query::Match { field: Some(name), text } => equal(name, text),
        Query::Wild { field: None, pieces } => all(runs(pieces).iter().map(|run| run_of(run)).collect()),
        Query::Wild { field: Some(name), pieces } => wild(name, pieces),
        Query::Range { field, from, to } => range(field, from.as_deref(), to.as_deref()),
        Query::Exists(name) => match name.as_str() {
            "id" | "time" | "received" => json!({"match_all": {}}),
            name => term(TERMS, name),
        },
        Query::Not(inner) => match &**inner {
            Query::Not(twice) => compile(twice),
            inner => json!({"bool": {"must_not": [compile(inner)]}}),
        },
        Query::And(items) => {
            let (mut must, mut must_not) = (Vec::new(), Vec::new());
            for item in items {
                match item {
                    Query::Not(inner) => must_not.push(compile(inner)),
                    other => must.push(compile(other)),
                }
            }
            json!({"bool": {"filter": must, "must_not": must_not}})
        }
        Query::Or(items) => any(items.iter().map(compile).collect()),
    }
}

/// Milliseconds from `from` to `to`, both included, in one of the two time fields; none is an open end.
pub fn time_range(field: &str, from: Option<i64>, to: Option<i64>) -> Value {
    let mut range = Map::new();
    range.insert("format".into(), "epoch_millis".into());
    for (key, end) in [("gte", from), ("lte", to)] {
        range.extend(end.map(|end| (key.to_owned(), end.to_string().into())));
    }
    json!({"range": {field: range}})
}

/// All of them; none: everything.
pub fn all(mut queries: Vec<Value>) -> Value {
    match queries.len() {
        0 => json!({"match_all": {}}),
        1 => queries.remove(0),
        _ => json!({"bool": {"filter": queries}}),
    }
}

fn any(mut queries: Vec<Value>) -> Value {
    match queries.len() {
        0 => json!({"match_none": {}}),
        1 => queries.remove(0),
        _ => json!({"bool": {"should": queries, "minimum_should_match": 1}}),
    }
}

fn term(field: &str, value: &str) -> Value {
    json!({"term": {field: {"value": value}}})
}

fn named(name: &str, kind: char, rest: &str) -> String {
    format!("{name}{SEP}{kind}{rest}")
}

/// Words next to each other.
fn phrase(field: &str, words: &[String]) -> Value {
    match words {
        [] => any(Vec::new()),
        // A longer one was cut in two, and so it is in a phrase.
        [word] if word.encode_utf16().count() <= TOKEN_MAX => term(field, word),
        words => json!({"match_phrase": {field: {"query": words.join("\n")}}}),
    }
}

fn anywhere(text: &str) -> Value {
    let words = phrase(WORDS, &words::of(text));
    if text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return any(vec![words, term("id", &text.to_ascii_lowercase())]);
    }
    words
}

fn equal(name: &str, text: &str) -> Value {
    if matches!(name, "time" | "received") {
        return when::parse(text).map_or_else(|| any(Vec::new()), |(from, to)| time_range(name, Some(from), Some(to)));
    }
    if name == "id" {
        return term("id", text);
    }
    if is_key(name) {
        return term(TERMS, &named(name, KEY, &words::whole(text)));
    }
    let words = words::of(text);
    if words.is_empty() {
        let lower = words::whole(text);
        return json!({"terms": {TERMS: WHOLE.map(|kind| named(name, kind, &lower))}});
    }
    let of = |kind| phrase(FIELDS, &words.iter().map(|word| named(&short(name), kind, word)).collect::<Vec<_>>());
    match Number::parse(text) {
        // 1.0 and 1 are one number and other words.
        Some(number) => any(vec![of(WORD), between_numbers(name, Some(number), Some(number))]),
        None => any(vec![of(WORD), of(WORD_OF_NUMBER)]),
    }
}

/// What stands between the stars, with the signs of a wildcard escaped.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn wildcard(field: &str, pattern: &str) -> Value {
    json!({"wildcard": {field: {"value": pattern}}})
}

fn wild(name: &str, pieces: &[String]) -> Value {
    if name == "id" {
        return wildcard("id", &pieces.iter().map(|p| escaped(p)).collect::<Vec<_>>().join("*"));
    }
    let pattern = pieces.iter().map(|p| escaped(&words::whole(p))).collect::<Vec<_>>().join("*");
    let kind_of = |name: &str, kind| format!("{}{SEP}{kind}{pattern}", escaped(name));
    let mut ways: Vec<Value> = WHOLE.map(|kind| wildcard(TERMS, &kind_of(name, kind))).into();
    if !is_key(name) && pieces.iter().all(|p| p.chars().all(char::is_alphanumeric)) {
        ways.extend([WORD, WORD_OF_NUMBER, WORD_OF_JSON].map(|kind| wildcard(FIELDS, &kind_of(&short(name), kind))));
    }
    any(ways)
}

/// A pattern over words: see the same of the embedded index.
fn run_of(run: &[String]) -> Value {
    match run {
        run if run.iter().all(|word| !word.contains('*')) => phrase(WORDS, run),
        [word] => wildcard(WORDS, word),
        run => {
            let clauses: Vec<Value> = run
                .iter()
                .map(|word| match word.contains('*') {
                    true => json!({"span_multi": {"match": wildcard(WORDS, word)}}),
                    false => json!({"span_term": {WORDS: word}}),
                })
                .collect();
            json!({"span_near": {"clauses": clauses, "slop": 0, "in_order": true}})
        }
    }
}

/// What lies between two values; how they are compared depends on the ends and on the value, as it does in the embedded
/// index ([`crate::search::column`]).
fn range(name: &str, from: Option<&str>, to: Option<&str>) -> Value {
    if matches!(name, "time" | "received") {
        let start = from.map(|t| when::parse(t).map(|(start, _)| start));
        let end = to.map(|t| when::parse(t).map(|(_, end)| end));
        return match (start, end) {
            (Some(None), _) | (_, Some(None)) => any(Vec::new()),
            (start, end) => time_range(name, start.flatten(), end.flatten()),
        };
    }
    if from.is_none() && to.is_none() {
        return compile(&Query::Exists(name.to_owned()));
    }
    let (from, to) = (from.map(Bound::new), to.map(Bound::new));
    let ends = || from.iter().chain(&to);
    let versions = ends().all(|end| version(&end.lower).is_some());
    let dots = ends().any(|end| end.lower.split('.').count() > 2);
    let mut ways = Vec::new();
    if versions {
        ways.push(between_versions(name, VERSION, &from, &to));
        if dots {
            ways.push(between_versions(name, VERSION_SHORT, &from, &to));
        }
    }
    if ends().all(|end| end.number.is_some()) {
        ways.push(between_numbers(name, from.and_then(|b| b.number), to.and_then(|b| b.number)));
        return any(ways);
    }
    // What is compared as something else is not compared as text.
    let kinds: &[char] = if versions {
        &[PLAIN, LIKE_TIME]
    } else if ends().all(|end| end.time.is_some()) {
        ways.extend(between_times(name, from.as_ref().and_then(|b| b.time), to.as_ref().and_then(|b| b.time)));
        &[PLAIN, LIKE_VERSION]
    } else {
        &[PLAIN, LIKE_VERSION, LIKE_TIME, LIKE_BOTH]
    };
    let text = |end: &Option<Bound>| end.as_ref().map(|b| b.lower.clone());
    ways.extend(kinds.iter().map(|kind| between(name, *kind, text(&from).as_deref(), text(&to).as_deref())));
    any(ways)
}

/// Terms of one kind from one to another, both included; an open end is the end of the kind.
fn between(name: &str, kind: char, from: Option<&str>, to: Option<&str>) -> Value {
    let from = named(name, kind, from.unwrap_or_default());
    let (key, to) = match to {
        Some(to) => ("lte", named(name, kind, to)),
        None => ("lt", named(name, char::from_u32(u32::from(kind) + 1).unwrap_or(char::MAX), "")),
    };
    json!({"range": {TERMS: {"gte": from, key: to}}})
}

fn between_versions(name: &str, kind: char, from: &Option<Bound>, to: &Option<Bound>) -> Value {
    let end = |bound: &Option<Bound>| bound.as_ref().and_then(|b| version(&b.lower)).map(|v| parts(&v));
    between(name, kind, end(from).as_deref(), end(to).as_deref())
}

/// Numbers between two others. Two whole numbers are compared as such, any other pair as floats.
fn between_numbers(name: &str, from: Option<Number>, to: Option<Number>) -> Value {
    let lowest = from.map_or(Some(i128::MIN), |number| match number {
        Number::Int(n) => Some(n),
        Number::Float(f) => first_int(|n| n as f64 >= f),
    });
    let highest = to.map_or(Some(i128::MAX), |number| match number {
        Number::Int(n) => Some(n),
        // The one before the first that is above.
        Number::Float(f) => match first_int(|n| n as f64 > f) {
            Some(above) => above.checked_sub(1),
            None => Some(i128::MAX),
        },
    });
    let mut ways = Vec::new();
    if let (Some(lowest), Some(highest)) = (lowest, highest)
        && lowest <= highest
    {
        ways.push(between(name, INT, Some(&int(lowest)), Some(&int(highest))));
    }
    let end = |number: Option<Number>| number.map(|n| float(n.float()));
    ways.push(between(name, FLOAT, end(from).as_deref(), end(to).as_deref()));
    any(ways)
}

/// The first whole number for which `holds`, which from there on holds for all.
fn first_int(holds: impl Fn(i128) -> bool) -> Option<i128> {
    let (mut low, mut high) = (i128::MIN, i128::MAX);
    if !holds(high) {
        return None;
    }
    while low < high {
        let middle = low + (high.wrapping_sub(low) as u128 / 2) as i128;
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    Some(low)
}

/// Times that begin and end between two others: a range for each length that a time may have.
fn between_times(name: &str, from: Option<(i64, i64)>, to: Option<(i64, i64)>) -> Vec<Value> {
    let of = |(place, length): (usize, &i64)| {
        let start = from.map(|(start, _)| int(start.into()));
        let last = to.map(|(_, end)| int((end - length + 1).into()));
        let unit = letter(place);
        let begin = format!("{unit}{}", start.unwrap_or_default());
        // A tilde comes after all that begins with the same letter.
        let end = format!("{unit}{}", last.unwrap_or_else(|| "~".into()));
        between(name, TIME, Some(&begin), Some(&end))
    };
    LENGTHS.iter().enumerate().map(of).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_near_a_float() {
        assert_eq!(first_int(|n| n as f64 >= 1.5), Some(2));
        assert_eq!(first_int(|n| n as f64 > -1.5), Some(-1));
        assert_eq!(first_int(|n| n as f64 >= 9_007_199_254_740_993.0), Some(9_007_199_254_740_992));
        assert_eq!(first_int(|n| n as f64 >= f64::INFINITY), None);
        assert_eq!(first_int(|n| n as f64 >= f64::NEG_INFINITY), Some(i128::MIN));
    }

    #[test]
    fn nothing_and_everything() {
        for (query, expected) in [
            ("*", json!({"match_all": {}})),
            ("NOT NOT a", json!({"term": {WORDS: {"value": "a"}}})),
            ("payload.a:\"\\*\"", json!({"terms": {TERMS: WHOLE.map(|k| format!("payload.a\u{1}{k}\\*"))}})),
        ] {
            assert_eq!(compile(&crate::query::parse(query).unwrap()), expected, "{query}");
        }
    }
}

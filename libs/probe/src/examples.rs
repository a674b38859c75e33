//! Examples of a filter, from the file beside it: `{"match": true|false|{context}, "why": "…", "event": {…}}` a line, or
//! a list of events and what is done about each ([`List`]).

mod list;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::budget::Limits;
use crate::program::{Decision, Program};
use crate::value::{Val, parse as parse_value};

pub use list::{Act, List, Step};

/// One line of an examples file.
#[derive(Debug)]
pub struct Example {
    /// Line number, from 1.
    pub line: usize,
    /// What the filter must say.
    pub want: Want,
    /// Why, in the author's words; may be empty.
    pub why: String,
    /// JSON text of the event.
    pub event: String,
}

/// What an example asks of the filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// A match, or none.
    Match(bool),
    /// A match with this object (JSON text) as context.
    Context(String),
}

/// What became of one example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExampleResult {
    /// Line number, from 1.
    pub line: usize,
    /// As in the example.
    pub why: String,
    /// The filter says what the example asks.
    pub ok: bool,
    /// What it says: `match`, `no match`, a context, or what went wrong.
    pub got: String,
    /// What was asked, in the same words.
    pub want: String,
}

/// A line that is no example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLine {
    /// Line number, from 1.
    pub line: usize,
    /// Where in the line, in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(rename = "match")]
    want: Box<RawValue>,
    #[serde(default)]
    why: String,
    event: Box<RawValue>,
}

/// What a file of examples holds, each in order.
#[derive(Debug, Default)]
pub struct Lines {
    /// One event each.
    pub examples: Vec<Example>,
    /// Several events each.
    pub lists: Vec<List>,
    /// Lines that are neither.
    pub bad: Vec<BadLine>,
}

/// The examples of a file that hold one event each; empty lines are passed over.
///
/// # Errors
/// Every line that is no example.
pub fn parse(text: &str) -> Result<Vec<Example>, Vec<BadLine>> {
    let Lines { examples, bad, .. } = read(text);
    if bad.is_empty() { Ok(examples) } else { Err(bad) }
}

/// Reads a file of examples; empty lines are passed over.
pub fn read(text: &str) -> Lines {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut all = Lines::default();
    for (i, line) in lines {
        let read = match event::json::get(line.as_bytes(), "events") {
            Some(_) => list::read(i + 1, line).map(|list| all.lists.push(list)),
            None => example(i + 1, line).map(|example| all.examples.push(example)),
        };
        if let Err((at, text)) = read {
            let column = line.char_indices().take_while(|(byte, _)| *byte < at).count() + 1;
            all.bad.push(BadLine { line: i + 1, column, text });
        }
    }
    all
}

/// A line as JSON, or at which byte it goes wrong, and how.
fn json<'t, T: Deserialize<'t>>(text: &'t str) -> Result<T, (usize, String)> {
    serde_json::from_str(text).map_err(|e| {
        let (said, place) = (e.to_string(), format!(" at line {} column {}", e.line(), e.column()));
        (e.column().saturating_sub(1), said.trim_end_matches(&place).to_owned())
    })
}

/// At which byte of a line the value of a key stands.
fn place(text: &str, key: &str) -> usize {
    let value = event::json::get(text.as_bytes(), key).map_or(0, |value| value.as_ptr() as usize);
    value.saturating_sub(text.as_ptr() as usize)
}

/// Or at which byte the line goes wrong, and how.
fn example(number: usize, text: &str) -> Result<Example, (usize, String)> {
    let line: Line = json(text)?;
    let at = |key: &str| place(text, key);
    let want = match line.want.get() {
        "true" => Want::Match(true),
        "false" => Want::Match(false),
        text if text.starts_with('{') => Want::Context(text.to_owned()),
        _ => return Err((at("match"), "`match` must be true, false or an object".into())),
    };
    match parse_value(line.event.get().as_bytes()) {
        Ok(Val::Obj(_)) => Ok(Example { line: number, want, why: line.why, event: line.event.get().to_owned() }),
        Ok(_) => Err((at("event"), "`event` must be an object".into())),
        Err(e) => Err((at("event") + e.at, format!("`event`: {}", e.what))),
    }
}

/// Keys that `filter` writes on an event.
const NOTES: [&[u8]; 2] = [b"probes", b"probes_more"];

/// An event without what `filter` wrote on it, otherwise byte for byte; none if it is no JSON object.
pub fn bare(line: &str) -> Option<String> {
    let mut out = String::from("{");
    for member in event::json::members(line.as_bytes()) {
        let (key, value) = member.ok()?;
        if NOTES.contains(&key) {
            continue;
        }
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&format!("\"{}\":{}", std::str::from_utf8(key).ok()?, std::str::from_utf8(value).ok()?));
    }
    out.push('}');
    // Checked as a whole: members looks at the structure only.
    serde_json::from_str::<&RawValue>(&out).ok()?;
    Some(out)
}

/// The example of a file that has this event already.
pub fn with_event(text: &str, event: &Val) -> Option<Example> {
    let has = |example: &Example| parse_value(example.event.as_bytes()).is_ok_and(|val| val == *event);
    read(text).examples.into_iter().find(has)
}

/// The text of a file of examples with one more at its end; `event` is [`bare`].
pub fn added(text: &str, matches: bool, why: &str, event: &str) -> String {
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let why = serde_json::Value::from(why);
    format!("{text}{gap}{{\"match\": {matches}, \"why\": {why}, \"event\": {event}}}\n")
}

/// Runs a filter over its examples. `now` is each event's `received`, or 1970 if it has none.
pub fn run(program: &Program, examples: &[Example], limits: &Limits) -> Vec<ExampleResult> {
    examples.iter().map(|example| one(program, example, limits)).collect()
}

fn one(program: &Program, example: &Example, limits: &Limits) -> ExampleResult {
    let decision = match parse_value(example.event.as_bytes()) {
        Ok(event) => {
            let received = event.get("received").and_then(Val::as_str).and_then(|t| t.parse::<event::Time>().ok());
            program.decide(&event, received.map_or(0, event::Time::ms), limits)
        }
        Err(e) => Decision::Failed(e.to_string()),
    };
    let ok = match (&example.want, &decision) {
        (Want::Match(want), Decision::Yes(_)) => *want,
        (Want::Match(want), Decision::No) => !want,
        (Want::Context(want), Decision::Yes(Some(got))) => same(want, got),
        _ => false,
    };
    let got = match decision {
        Decision::No => "no match".into(),
        Decision::Yes(None) => "match".into(),
        Decision::Yes(Some(context)) => context,
        Decision::Failed(text) => format!("error: {text}"),
        Decision::Exceeded(limit) => limits.exceeded(limit),
    };
    let want = match &example.want {
        Want::Match(true) => "match".into(),
        Want::Match(false) => "no match".into(),
        Want::Context(context) => context.clone(),
    };
    ExampleResult { line: example.line, why: example.why.clone(), ok, got, want }
}

/// Equal as values: neither order of keys nor spelling of numbers counts.
fn same(l: &str, r: &str) -> bool {
    match (parse_value(l.as_bytes()), parse_value(r.as_bytes())) {
        (Ok(l), Ok(r)) => l == r,
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_example() {
        let filter = r#"if .n == 1 then {title: "one", n: 1.0} elif .n == 2 then true elif .n == 3 then error("x")
            elif .n == 4 then now < 1 else empty end"#;
        let program = crate::compile(filter, "t.jq", &crate::NoModules).unwrap();
        let text = r#"
{"match": {"n": 1, "title": "one"}, "why": "order does not count", "event": {"n": 1}}
{"match": true, "event": {"n": 1}}
{"match": {"n": 2}, "event": {"n": 1}}

{"match": true, "event": {"n": 2}}
{"match": {}, "event": {"n": 2}}
{"match": false, "event": {"n": 3}}
{"match": true, "event": {"n": 4, "received": "1970-01-01T00:00:00.900Z"}}
{"match": false, "event": {"n": 4, "received": "1970-01-01T00:00:01.000Z"}}
{"match": false, "event": {}}"#;
        let results = run(&program, &parse(text).unwrap(), &Limits::default());
        let ok: Vec<bool> = results.iter().map(|r| r.ok).collect();
        assert_eq!(ok, [true, true, false, true, false, false, true, true, true]);
        let failed = &results[5];
        assert_eq!((failed.line, failed.got.as_str(), failed.want.as_str()), (8, "error: x", "no match"));
        assert_eq!(results[0].why, "order does not count");
    }

    #[test]
    fn bad_lines_are_named() {
        let text = r#"{"match":true,"event":{}}
{"why":"ü","match":1,"event":{}}
{"match":true}
x
{"match":true,"event":[]}
{"match":true,"event":{"a":"ü","b":"\ud800"}}
{"match":true,"event":{},"wy":"?"}
{"match":false,"event":{"#;
        let Lines { examples, bad, .. } = read(text);
        assert_eq!(examples.iter().map(|e| e.line).collect::<Vec<_>>(), [1]);
        let said: Vec<String> = bad.iter().map(|b| format!("{}:{} {}", b.line, b.column, b.text)).collect();
        let want = [
            "2:20 `match` must be true, false or an object",
            "3:14 missing field `event`",
            "4:1 expected value",
            "5:23 `event` must be an object",
            "6:43 `event`: lone surrogate",
            "7:29 unknown field `wy`, expected one of `match`, `why`, `event`",
            "8:24 EOF while parsing an object",
        ];
        assert_eq!(said, want);
        assert_eq!(parse(text).unwrap_err(), bad);
    }

    #[test]
    fn what_the_filter_wrote_goes() {
        let line =
            r#"{"v":1, "probes":[{"name":"a","context":{"probes":1}}],"probes_more":3,"payload":{"probes":[1.0e3]}}"#;
        assert_eq!(bare(line).unwrap(), r#"{"v":1,"payload":{"probes":[1.0e3]}}"#);
        assert_eq!(bare(r#"{"probes":[]}"#).unwrap(), "{}");
        for broken in ["", "[]", r#"{"a":1"#, r#"{"a":x}"#] {
            assert_eq!(bare(broken), None, "{broken}");
        }
    }

    #[test]
    fn one_more_is_added_and_known_again() {
        let first = added("", true, "wh\"y", r#"{"a":1,"b":2}"#);
        let both = added(first.trim_end(), false, "", "{}");
        let examples = parse(&both).unwrap();
        assert_eq!((examples.len(), examples[0].why.as_str(), &examples[1].want), (2, "wh\"y", &Want::Match(false)));
        let same = parse_value(br#"{"b":2.0,"a":1}"#).unwrap();
        assert_eq!(with_event(&both, &same).map(|e| e.line), Some(1));
        assert!(with_event(&both, &parse_value(b"{\"c\":1}").unwrap()).is_none());
    }
}

//! What cannot be, as far as the probe's query says: columns that it does not give, rows that never come.

use jaq_core::ops::Cmp;

use super::shape::{Constant, Seen, Shape, What};
use super::{Doubted, Found};

/// What is known of the query whose results a filter sees.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// All rows each time instead of what changed.
    pub snapshot: bool,
    /// Whether rows that went away are told.
    pub removed: bool,
    /// Whether what the first run finds reaches the filter.
    pub first_run: bool,
    /// The columns that it gives, where that is known.
    pub columns: Option<Vec<String>>,
}

/// Keys of an event, and of the payload of a result of osquery.
const EVENT: [&str; 14] = [
    "v",
    "id",
    "type",
    "time",
    "received",
    "source",
    "tags",
    "machine",
    "request",
    "objects",
    "probes",
    "probes_more",
    "cause",
    "payload",
];
const PAYLOAD: [&str; 11] = [
    "name",
    "hostIdentifier",
    "calendarTime",
    "unixTime",
    "epoch",
    "counter",
    "numerics",
    "decorations",
    "columns",
    "action",
    "snapshot",
];
const TYPES: [&str; 2] = ["osquery_result", "osquery_status"];
const ACTIONS: [&str; 3] = ["added", "removed", "snapshot"];

pub(super) fn find<'s>(seen: &[Seen<'s>], asked: Option<&Asked>, found: &mut Found<'s>) {
    let rows = seen.iter().any(of_rows);
    for one in seen {
        let message = match (&one.what, asked) {
            (What::Compared(Shape::Type, Cmp::Eq, Constant::Text(text)), _) => {
                near(text, &TYPES).map(|near| format!("no source makes this type; did you mean `{near}`?"))
            }
            // Other events may have other keys.
            (_, None) => None,
            (What::Key(Shape::Event, key), _) => event(key),
            (What::Key(Shape::Payload, key), Some(asked)) if key == "snapshot" => {
                let missing = !asked.snapshot && !rows && !one.soft;
                missing.then(|| "the query has no `snapshot = true`, so there is none, but `columns`".to_owned())
            }
            (What::Key(Shape::Payload, key), _) => near(key, &PAYLOAD).map(|near| no_key("the payload", key, near)),
            (What::Key(Shape::Row, key), Some(asked)) => column(key, one.soft, asked),
            (What::Call(name), Some(asked)) if one.must => call(name, asked),
            (What::Compared(Shape::Action, Cmp::Eq, Constant::Text(text)), Some(asked)) if one.must => {
                action(text, asked)
            }
            _ => None,
        };
        if let Some(message) = message
            && found.iter().all(|(_, place, _)| !std::ptr::eq(*place, one.place))
        {
            found.push((Doubted::Never, one.place, message));
        }
    }
}

/// Whether it is about rows that come one by one.
fn of_rows(one: &Seen<'_>) -> bool {
    match &one.what {
        What::Key(Shape::Payload, key) => key == "columns",
        What::Call(_) => true,
        What::Compared(Shape::Action, _, Constant::Text(text)) => text != "snapshot",
        _ => false,
    }
}

fn event(key: &str) -> Option<String> {
    if EVENT.contains(&key) {
        return None;
    }
    if PAYLOAD.contains(&key) {
        return Some(format!("an event has no `{key}`; did you mean `.payload.{key}`?"));
    }
    near(key, &EVENT).map(|near| no_key("an event", key, near))
}

fn column(key: &str, soft: bool, asked: &Asked) -> Option<String> {
    // What is asked for in case it is there may be another query's.
    let columns = asked.columns.as_ref().filter(|_| !soft)?;
    if columns.iter().any(|column| column.eq_ignore_ascii_case(key)) {
        return None;
    }
    let all: Vec<&str> = columns.iter().map(String::as_str).collect();
    match near(key, &all) {
        Some(near) => Some(format!("the query gives no column `{key}`; did you mean `{near}`?")),
        None => Some(format!("the query gives no column `{key}`; it gives {}", all.join(", "))),
    }
}

fn call(name: &str, asked: &Asked) -> Option<String> {
    match name {
        "is_removed" => action("removed", asked),
        "is_first_run" if !asked.first_run => {
            Some("rows of the first run reach this filter only with `first_run = true` in the probe".to_owned())
        }
        _ => None,
    }
}

fn action(text: &str, asked: &Asked) -> Option<String> {
    let never = "so this never matches";
    Some(match text {
        "snapshot" if !asked.snapshot => format!("the query has no `snapshot = true`, {never}"),
        "added" | "removed" if asked.snapshot => format!("the query has `snapshot = true`, {never}"),
        "removed" if !asked.removed => format!("the query has `removed = false`, {never}"),
        text if !ACTIONS.contains(&text) => format!("an action is {}, {never}", ACTIONS.join(", ")),
        _ => return None,
    })
}

fn no_key(whose: &str, key: &str, near: &str) -> String {
    format!("{whose} has no `{key}`; did you mean `{near}`?")
}

/// The known word of which this one is a slip of the pen.
pub(super) fn near<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    if known.contains(&word) {
        return None;
    }
    let close = known.iter().map(|k| (strsim::damerau_levenshtein(word, k), *k)).min()?;
    let slips = if word.chars().count() < 6 { 1 } else { 2 };
    (close.0 <= slips).then_some(close.1).filter(|_| word.chars().count() > 2)
}

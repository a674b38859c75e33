//! Things of one kind that a machine has, page by page: ten thousand applications are no page.

use askama::Template;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{Kind, edit};
use crate::answer::{Answer, Wrong};
use crate::api::{TEXT, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::pages::Head;
use crate::room::{self, Room};
use crate::text;

/// Things on a page, if nobody says how many.
const PAGE: usize = 200;
/// Things on a page at most; a person gets no more than the page has room for.
const PAGE_MAX: usize = 1000;

/// What is taken.
pub const WORDS: &[Word] = &[
    Word::new("q", TEXT, "Those that hold this text; all"),
    Word::page(PAGE_MAX as i64, "Things of a page; 200"),
    Word::after(),
];

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "machine_things.html")]
#[schemars(rename = "MachineThings")]
pub struct Things {
    #[serde(skip)]
    head: Head,
    machine: String,
    kind: String,
    total: usize,
    things: Vec<Value>,
    next: Option<String>,
    #[serde(skip)]
    table: Kind,
    #[serde(skip)]
    base: String,
    #[serde(skip)]
    name: String,
    #[serde(skip)]
    q: String,
    #[serde(skip)]
    next_link: String,
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let kind = asked.part("kind");
    let (seen, mut parts) = edit::find(app, asked, |known, key| known.details()?.parts(key))?;
    let things = parts.get_mut("parts").and_then(|parts| parts.get_mut(kind)).map(Value::take);
    let Some(Value::Array(mut things)) = things else { return Err(Wrong::not_found("kind of things")) };
    let q = asked.word("q").to_lowercase();
    let has = |value: &Value| text::value(value).to_lowercase().contains(&q);
    if !q.is_empty() {
        things.retain(|thing| thing.as_object().is_some_and(|thing| thing.values().any(has)));
    }
    let total = things.len();
    // They stand in the order of their texts: a page ends after so many of them.
    let begin = asked.word("after").parse::<usize>().unwrap_or(0).min(total);
    let n = asked.word("n").parse().map_or(PAGE, |n: usize| n.clamp(1, PAGE_MAX));
    things.drain(..begin);
    things.truncate(n);
    let mut room = Room::new(if asked.json { usize::MAX } else { room::PAGE });
    let by = parts.get("told_by").and_then(|told| told.get(kind)).map(text::value).unwrap_or_default();
    let table = Kind::new(kind, &things, by, &mut room);
    things.truncate(if asked.json { n } else { table.rows.len() });
    let end = begin + things.len();
    let next = (end < total).then(|| end.to_string());
    let words = |after: &str| text::query(&[("q", asked.word("q")), ("after", after)]);
    let name = text::short(seen.machine.hostname.as_deref().unwrap_or(&seen.key));
    let page = Things {
        head: Head::new(asked, format!("{}: {}", name, table.name)),
        next_link: next.as_deref().map(|after| format!("?{}", words(after))).unwrap_or_default(),
        base: format!("/machines/{}", text::part(&seen.key)),
        machine: seen.key,
        kind: kind.to_owned(),
        q: asked.word("q").to_owned(),
        total,
        things,
        next,
        table,
        name,
    };
    Answer::page(asked, &page)
}

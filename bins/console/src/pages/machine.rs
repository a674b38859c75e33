//! One machine: what is known of it, who told it, its things, what changed, its latest events.

pub mod edit;
pub mod forget;
pub mod given;

use std::collections::BTreeSet;

use askama::Template;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Head;
use super::events::{Line, lines};
use crate::answer::{Answer, Wrong};
use crate::api::shapes::MachineKnown;
use crate::app::App;
use crate::ask::Asked;
use crate::events::{Events, Question};
use crate::text;

/// Things of one kind that are shown; the JSON has all.
const THINGS_MAX: usize = 100;
/// Columns of such a table.
const COLUMNS_MAX: usize = 6;
/// Changes that are shown, the newest.
const CHANGES_MAX: usize = 50;
/// Events that are shown, the newest.
const EVENTS_MAX: u64 = 20;

/// A field and who told it.
struct Field {
    name: String,
    value: String,
    by: String,
}

/// Things of one kind: applications, certificates, users.
struct Kind {
    name: String,
    by: String,
    count: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    left: usize,
}

/// When a source was heard.
struct Seen {
    source: String,
    first: String,
    last: String,
    taken: String,
}

/// Something that came, went or became another.
struct Change {
    time: String,
    source: String,
    what: String,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "machine.html")]
#[schemars(rename = "MachineWhole")]
pub struct Machine {
    #[serde(skip)]
    head: Head,
    #[serde(flatten)]
    #[schemars(with = "MachineKnown")]
    whole: Map<String, Value>,
    #[serde(skip)]
    fields: Vec<Field>,
    #[serde(skip)]
    seen: Vec<Seen>,
    #[serde(skip)]
    waits: Vec<String>,
    #[serde(skip)]
    checks: Vec<Field>,
    #[serde(skip)]
    kinds: Vec<Kind>,
    #[serde(skip)]
    changes: Vec<Change>,
    #[serde(skip)]
    events: Vec<Line>,
    #[serde(skip)]
    events_away: Option<String>,
    #[serde(skip)]
    events_link: String,
    #[serde(skip)]
    forms: edit::Forms,
    /// The probes, packs and rules whose scope holds it.
    given: given::Given,
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let (seen, (whole, santa, pending)) = edit::find(app, asked, |known, key| {
        let (santa, pending) = edit::look(known, key)?;
        Ok((known.whole(key)?, santa, pending))
    })?;
    let forms = edit::Forms::of(app, asked, &seen, santa, &pending)?;
    let (given, query) = (given::of(app, &seen, santa)?, machine_query(&seen.machine));
    let (events, events_away) = if asked.json { (Vec::new(), None) } else { latest(app, asked, &query) };
    let name = seen.machine.hostname.clone().unwrap_or_else(|| seen.key.clone());
    let page = Machine {
        head: Head::new(asked, text::short(&name)),
        fields: fields(&whole),
        seen: heard(&whole),
        waits: waits(&whole),
        checks: checks(&whole),
        kinds: kinds(&whole),
        changes: changes(&whole),
        events_link: format!("/events?{}", text::query(&[("q", &query)])),
        whole,
        events,
        events_away,
        forms,
        given,
    };
    Answer::page(asked, &page)
}

/// What finds the events of a machine.
fn machine_query(machine: &event::Machine) -> String {
    let named = [
        ("machine.serial_number", &machine.serial_number),
        ("machine.hardware_uuid", &machine.hardware_uuid),
        ("machine.hostname", &machine.hostname),
    ];
    named.iter().find_map(|(field, value)| Some(text::is(field, value.as_ref()?))).unwrap_or_default()
}

fn latest(app: &App, asked: &Asked, query: &str) -> (Vec<Line>, Option<String>) {
    let config = app.live().config.clone();
    let question = Question { query, ..Question::default() };
    match Events::of(&config, asked.who.as_ref()).page(&question, EVENTS_MAX, "") {
        Ok(page) => (lines(&page.events), None),
        Err(why) => (Vec::new(), Some(why.text().to_owned())),
    }
}

fn object<'v>(whole: &'v Map<String, Value>, key: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    whole.get(key).and_then(Value::as_object).into_iter().flatten()
}

fn list<'v>(whole: &'v Map<String, Value>, key: &str) -> impl DoubleEndedIterator<Item = &'v Value> {
    whole.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter()
}

/// Everything that is one value; what is a table has one of its own below.
fn fields(whole: &Map<String, Value>) -> Vec<Field> {
    let told = whole.get("fields");
    let plain = |value: &Value| match value {
        Value::Array(list) => !list.is_empty() && !list.iter().any(Value::is_object),
        Value::Object(_) | Value::Null => false,
        _ => true,
    };
    let field = |(name, value): (&String, &Value)| Field {
        by: told.and_then(|told| told.get(name)).map(text::value).unwrap_or_default(),
        name: text::short(name),
        value: text::short(&text::value(value)),
    };
    whole.iter().filter(|(name, value)| *name != "key" && plain(value)).map(field).collect()
}

fn heard(whole: &Map<String, Value>) -> Vec<Seen> {
    let at = |value: &Value, key: &str| value.get(key).map(|time| text::time(&text::value(time))).unwrap_or_default();
    let seen = |(source, value): (&String, &Value)| Seen {
        source: source.clone(),
        first: at(value, "first_seen"),
        last: at(value, "last_seen"),
        taken: at(value, "taken"),
    };
    object(whole, "seen").map(seen).collect()
}

fn waits(whole: &Map<String, Value>) -> Vec<String> {
    let of = |one: &Value, key: &str| text::short(&one.get(key).map(text::value).unwrap_or_default());
    let pending = list(whole, "pending").map(|one| {
        let state = if one.get("approved").is_some_and(Value::is_null) { "waits for leave" } else { "has leave" };
        format!("{} of {} {state} ({})", of(one, "source"), of(one, "hardware"), of(one, "why"))
    });
    let sync = whole.get("sync").map(|kind| format!("A {} sync of its Santa is ordered", text::value(kind)));
    sync.into_iter().chain(pending).collect()
}

fn checks(whole: &Map<String, Value>) -> Vec<Field> {
    let of = |one: &Value, key: &str| text::short(&one.get(key).map(text::value).unwrap_or_default());
    let check =
        |one: &Value| Field { name: of(one, "check"), value: of(one, "status"), by: text::time(&of(one, "time")) };
    list(whole, "checks").map(check).collect()
}

fn kinds(whole: &Map<String, Value>) -> Vec<Kind> {
    let told = whole.get("told_by");
    let kind = |(name, things): (&String, &Value)| {
        let things = things.as_array().map(Vec::as_slice).unwrap_or_default();
        let shown: Vec<&Map<String, Value>> = things.iter().take(THINGS_MAX).filter_map(Value::as_object).collect();
        let mut known = BTreeSet::new();
        let names = shown.iter().flat_map(|thing| thing.keys()).filter(|name| known.insert(name.as_str()));
        let columns: Vec<String> = names.take(COLUMNS_MAX).cloned().collect();
        let cell = |thing: &Map<String, Value>, column: &String| {
            text::short(&thing.get(column).map(text::value).unwrap_or_default())
        };
        let row = |thing: &&Map<String, Value>| columns.iter().map(|column| cell(thing, column)).collect();
        Kind {
            by: told.and_then(|told| told.get(name)).map(text::value).unwrap_or_default(),
            name: name.replace('_', " "),
            count: text::number(things.len() as u64),
            rows: shown.iter().map(row).collect(),
            left: things.len().saturating_sub(THINGS_MAX),
            columns,
        }
    };
    object(whole, "parts").map(kind).filter(|kind| !kind.rows.is_empty()).collect()
}

fn changes(whole: &Map<String, Value>) -> Vec<Change> {
    let of = |one: &Value, key: &str| one.get(key).map(text::value).unwrap_or_default();
    let mut all = Vec::new();
    for past in list(whole, "history").rev() {
        for one in past.get("changes").and_then(Value::as_array).into_iter().flatten() {
            if all.len() == CHANGES_MAX {
                return all;
            }
            let what = format!("{} {} {}", of(one, "kind"), of(one, "action"), of(one, "object"));
            all.push(Change {
                time: text::time(&of(past, "received")),
                source: of(past, "source"),
                what: text::short(&what),
            });
        }
    }
    all
}

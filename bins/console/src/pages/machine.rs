//! One machine: what is known of it, who told it, its things, what changed, its latest events.

mod change;
pub mod compare;
pub mod edit;
pub mod forget;
pub mod given;
pub mod history;
pub mod things;

use std::collections::BTreeSet;

use askama::Template;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Head;
use super::events::{Line, lines};
use super::prices;
use crate::answer::{Answer, Wrong};
use crate::api::shapes::MachineKnown;
use crate::app::App;
use crate::ask::Asked;
use crate::events::{Events, Question};
use crate::room::{self, Room};
use crate::text;

/// Things of one kind that are shown; a page of their own has all.
const THINGS_MAX: usize = 100;
/// Columns of such a table.
const COLUMNS_MAX: usize = 6;
/// Changes that are shown, the newest.
const CHANGES_MAX: usize = 50;
/// Kinds that are shown.
const KINDS_MAX: usize = 100;
/// Checks that are shown, and what waits.
const CHECKS_MAX: usize = 200;
/// Events that are shown, the newest.
const EVENTS_MAX: u64 = 20;

/// A field and who told it.
struct Field {
    name: String,
    value: String,
    by: String,
}

impl Field {
    fn takes(&self, room: &mut Room) -> bool {
        room.row([&self.name, &self.value, &self.by].map(String::as_str))
    }
}

/// Things of one kind: applications, certificates, users.
#[derive(Default)]
struct Kind {
    name: String,
    by: String,
    count: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    left: usize,
    /// The page that has all of them.
    link: String,
}

impl Kind {
    /// As many of the things as there is room for.
    fn new(name: &str, things: &[Value], by: String, room: &mut Room) -> Self {
        let shown: Vec<&Map<String, Value>> = things.iter().filter_map(Value::as_object).collect();
        let mut known = BTreeSet::new();
        let names = shown.iter().flat_map(|thing| thing.keys()).filter(|name| known.insert(name.as_str()));
        let columns: Vec<String> = names.take(COLUMNS_MAX).cloned().collect();
        let cell = |thing: &Map<String, Value>, column: &String| {
            text::short(&thing.get(column).map(text::value).unwrap_or_default())
        };
        let row = |thing: &&Map<String, Value>| columns.iter().map(|column| cell(thing, column)).collect();
        let rows = shown.iter().map(row).take_while(|row: &Vec<String>| room.row(row.iter().map(String::as_str)));
        Self {
            rows: rows.collect(),
            name: text::short(&name.replace('_', " ")),
            columns: columns.iter().map(|column| text::short(column)).collect(),
            by,
            ..Self::default()
        }
    }
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
    queries: Vec<prices::Paid>,
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
    #[serde(skip)]
    probes_link: String,
}

impl Machine {
    /// Whether its agent denies a query.
    fn denies(&self) -> bool {
        self.queries.iter().any(|one| one.denied)
    }
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
    let mut room = Room::new(room::PAGE);
    let page = Machine {
        head: Head::new(asked, text::short(&name)),
        fields: fields(&whole, &mut room),
        seen: heard(&whole),
        waits: waits(&whole),
        checks: checks(&whole, &mut room),
        queries: prices::of_machine(list(&whole, "prices")),
        kinds: kinds(&whole, &forms.base, &mut room),
        changes: changes(&whole, &mut room),
        events_link: format!("/events?{}", text::query(&[("q", &query)])),
        probes_link: format!("/probes?{}", text::query(&[("machine", &seen.key)])),
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
fn fields(whole: &Map<String, Value>, room: &mut Room) -> Vec<Field> {
    let told = whole.get("fields");
    // Where only one source speaks, it told what no source is noted for; the unit stands in the enrolment, and some of it
    // the hub knows by itself.
    let mut spoke = object(whole, "seen").map(|(source, _)| source.as_str());
    let only = spoke.next().filter(|_| spoke.next().is_none()).unwrap_or_default();
    let without = |name: &str| match name {
        "unit" => "enrolment".to_owned(),
        "tags" | "groups" | "sources" | "first_seen" | "last_seen" => String::new(),
        _ => only.to_owned(),
    };
    let plain = |value: &Value| match value {
        Value::Array(list) => !list.is_empty() && !list.iter().any(Value::is_object),
        Value::Object(_) | Value::Null => false,
        _ => true,
    };
    let field = |(name, value): (&String, &Value)| Field {
        by: text::short(&told.and_then(|told| told.get(name)).map(text::value).unwrap_or_else(|| without(name))),
        name: text::short(name),
        value: text::short(&text::value(value)),
    };
    let all = whole.iter().filter(|(name, value)| *name != "key" && plain(value)).map(field);
    all.take_while(|field| field.takes(room)).collect()
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
    sync.into_iter().chain(pending).take(CHECKS_MAX).collect()
}

fn checks(whole: &Map<String, Value>, room: &mut Room) -> Vec<Field> {
    let of = |one: &Value, key: &str| text::short(&one.get(key).map(text::value).unwrap_or_default());
    let check =
        |one: &Value| Field { name: of(one, "check"), value: of(one, "status"), by: text::time(&of(one, "time")) };
    list(whole, "checks").take(CHECKS_MAX).map(check).take_while(|check| check.takes(room)).collect()
}

/// The kinds share the room evenly; what one of them leaves is for those after it.
fn kinds(whole: &Map<String, Value>, base: &str, room: &mut Room) -> Vec<Kind> {
    let told = whole.get("told_by");
    let things = |value: &'_ Value| value.as_array().filter(|things| !things.is_empty()).cloned();
    let all: Vec<(&String, Vec<Value>)> =
        object(whole, "parts").filter_map(|(name, value)| Some((name, things(value)?))).take(KINDS_MAX).collect();
    let mut left = all.len();
    let kind = |(name, things): (&String, Vec<Value>)| {
        let by = told.and_then(|told| told.get(name)).map(text::value).unwrap_or_default();
        let mut part = room.share(left);
        left -= 1;
        let shown = Kind::new(name, things.get(..THINGS_MAX).unwrap_or(&things), text::short(&by), &mut part);
        room.back(part);
        Kind {
            count: text::number(things.len() as u64),
            left: things.len() - shown.rows.len(),
            link: format!("{base}/things/{}", text::part(name)),
            ..shown
        }
    };
    all.into_iter().map(kind).collect()
}

fn changes(whole: &Map<String, Value>, room: &mut Room) -> Vec<Change> {
    let of = |one: &Value, key: &str| one.get(key).map(text::value).unwrap_or_default();
    let mut all = Vec::new();
    for past in list(whole, "history").rev() {
        for one in past.get("changes").and_then(Value::as_array).into_iter().flatten() {
            if all.len() == CHANGES_MAX {
                return all;
            }
            let what = format!("{} {} {}", of(one, "kind"), of(one, "action"), of(one, "object"));
            let (time, source) = (text::time(&of(past, "received")), of(past, "source"));
            let change = Change { time, source, what: text::short(&what) };
            if !room.row([&change.time, &change.source, &change.what].map(String::as_str)) {
                return all;
            }
            all.push(change);
        }
    }
    all
}

//! The list of machines, as a page and for spreadsheets.

use std::collections::BTreeSet;

use askama::Template;
use hyper::header::CONTENT_DISPOSITION;
use registry::known::{Known, csv};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Head;
use crate::answer::{Answer, Wrong};
use crate::api::shapes::MachineLine;
use crate::api::{Kind, TEXT, Word};
use crate::app::App;
use crate::ask::{Asked, Who};
use crate::machines::{ORDERS, Wanted, list as listed};
use crate::text;

/// Words in a list to choose from.
const CHOICES_MAX: usize = 200;

/// A column by which the list is sorted.
#[derive(Debug)]
struct Column {
    name: &'static str,
    link: String,
    /// `ascending`, `descending` or `none`, as `aria-sort` says it.
    sorted: &'static str,
}

/// A machine on the page.
#[derive(Debug)]
struct Row {
    link: String,
    name: String,
    key: String,
    platform: String,
    os: String,
    unit: String,
    tags: String,
    sources: String,
    seen: String,
    seen_at: String,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "machines.html")]
pub struct Machines {
    #[serde(skip)]
    head: Head,
    total: usize,
    #[schemars(with = "Vec<MachineLine>")]
    machines: Vec<Map<String, Value>>,
    next: Option<String>,
    #[serde(skip)]
    rows: Vec<Row>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    wanted: Wanted,
    #[serde(skip)]
    sort: String,
    #[serde(skip)]
    platforms: Vec<String>,
    #[serde(skip)]
    units: Vec<String>,
    #[serde(skip)]
    tags: Vec<String>,
    #[serde(skip)]
    sources: Vec<String>,
    #[serde(skip)]
    next_link: String,
    #[serde(skip)]
    csv_link: String,
}

/// What narrows the list, and its order.
pub const CSV_WORDS: &[Word] = WORDS.split_at(6).0;
/// What programs may ask of it.
pub const WORDS: &[Word] = &[
    Word::new("q", TEXT, "Part of a key, a host name, a serial number, a hardware UUID or a user").like("a"),
    Word::new("platform", TEXT, "Those of a platform").like("macos"),
    Word::new("unit", TEXT, "Those of a unit"),
    Word::new("tag", TEXT, "Those with a tag"),
    Word::new("source", TEXT, "Those that a source told of").like("osquery"),
    Word::new("sort", Kind::Order(&ORDERS), "By what the list is sorted; with a `-` the last first. By name")
        .like("-seen"),
    Word::page(500, "Machines on a page; 50"),
    Word::after(),
];

impl Machines {
    fn count(&self) -> String {
        text::number(self.total as u64)
    }
}

pub fn list(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let wanted = Wanted::read(asked);
    let sort = format!("{}{}", if wanted.down { "-" } else { "" }, wanted.order);
    let page = app.machines(|known| {
        let found = listed(known, &wanted, asked.who.as_ref());
        let machines: Vec<Map<String, Value>> = found.keys.iter().map(|key| known.line(key)).collect();
        let choices = Choices::of(known, asked.who.as_ref());
        let filters = filters(&wanted);
        let with = |more: &[(&str, &str)]| text::query(&[&filters[..], more].concat());
        let next = found.next.as_deref().unwrap_or_default();
        Ok(Machines {
            head: Head::new(asked, "Machines"),
            total: found.total,
            rows: machines.iter().map(row).collect(),
            machines,
            columns: ORDERS.map(|order| column(&wanted, order, &with)).into(),
            next_link: if next.is_empty() {
                String::new()
            } else {
                format!("/machines?{}", with(&[("sort", &sort), ("after", next)]))
            },
            csv_link: format!("/machines.csv?{}", with(&[("sort", &sort)])),
            next: found.next.clone(),
            platforms: choices.platforms,
            units: choices.units,
            tags: choices.tags,
            sources: choices.sources,
            sort: sort.clone(),
            wanted: wanted.clone(),
        })
    })?;
    Answer::page(asked, &page)
}

/// All of them on one sheet, in the order and with the filters of the page.
pub fn csv(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let wanted = Wanted::all(asked);
    let sheet = app.machines(|known| {
        let keys = listed(known, &wanted, asked.who.as_ref()).keys;
        Ok(csv::head() + &keys.iter().map(|key| csv::row(&known.line(key))).collect::<String>())
    })?;
    let answer = Answer::file("text/csv; charset=utf-8", sheet.into_bytes());
    Ok(answer.header(CONTENT_DISPOSITION, "attachment; filename=\"machines.csv\""))
}

fn filters(wanted: &Wanted) -> Vec<(&str, &str)> {
    let Wanted { text, platform, unit, tag, source, .. } = wanted;
    vec![("q", text), ("platform", platform), ("unit", unit), ("tag", tag), ("source", source)]
}

/// The query of a link: the filters of the page, and more.
type With<'a> = &'a dyn Fn(&[(&str, &str)]) -> String;

/// A click on the column that it is sorted by turns the order round.
fn column(wanted: &Wanted, (word, name): (&'static str, &'static str), with: With<'_>) -> Column {
    let (sorted, next) = match (wanted.order == word, wanted.down) {
        (true, false) => ("ascending", format!("-{word}")),
        (true, true) => ("descending", word.to_owned()),
        // Who was seen last is what people look for.
        (false, _) if word == "seen" => ("none", format!("-{word}")),
        (false, _) => ("none", word.to_owned()),
    };
    Column { name, link: format!("/machines?{}", with(&[("sort", &next)])), sorted }
}

fn row(line: &Map<String, Value>) -> Row {
    let of = |key: &str| line.get(key).map(text::value).unwrap_or_default();
    let (key, seen) = (of("key"), of("last_seen"));
    let name = if of("hostname").is_empty() { key.clone() } else { of("hostname") };
    Row {
        link: format!("/machines/{}", text::part(&key)),
        name: text::short(&name),
        key: text::short(&key),
        platform: text::short(&of("platform")),
        os: text::short(&of("os_version")),
        unit: of("unit"),
        tags: text::short(&of("tags")),
        sources: of("sources"),
        seen_at: text::time(&seen),
        seen,
    }
}

/// What there is to choose from.
#[derive(Default)]
struct Choices {
    platforms: Vec<String>,
    units: Vec<String>,
    tags: Vec<String>,
    sources: Vec<String>,
}

impl Choices {
    fn of(known: &Known, who: Option<&Who>) -> Self {
        let (mut platforms, mut units, mut tags) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut sources = BTreeSet::new();
        let put = |set: &mut BTreeSet<String>, word: &str| {
            if set.len() < CHOICES_MAX && !set.contains(word) {
                set.insert(word.to_owned());
            }
        };
        for (key, machine, _) in known.each().filter(|(_, m, _)| who.is_some_and(|who| who.sees(m.unit.as_deref()))) {
            machine.platform.iter().for_each(|word| put(&mut platforms, word));
            machine.unit.iter().for_each(|word| put(&mut units, word));
            machine.tags.iter().for_each(|word| put(&mut tags, word));
            known.sources(key).for_each(|word| put(&mut sources, word));
        }
        let list = |set: BTreeSet<String>| set.into_iter().collect();
        Self { platforms: list(platforms), units: list(units), tags: list(tags), sources: list(sources) }
    }
}

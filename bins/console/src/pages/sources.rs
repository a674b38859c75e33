//! Sources: who speaks, when they were heard, and what the hub knows of each of them.

pub mod munki;
pub mod pulled;
pub mod santa;
pub mod trial;

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use event::Time;
use registry::inventory::HEARD_WITHIN;
use schemars::JsonSchema;
use serde::Serialize;

use super::Head;
use crate::answer::{Answer, Wrong};
use crate::app::App;
use crate::ask::{Asked, Who};
use crate::events::{Events, Question, ValueCount};
use crate::text;

/// Machines that are shown as those that were not heard for longest.
const SILENT_MAX: usize = 20;
/// How far back events of a source are counted.
const SINCE: &str = "7d";
/// The source of what the hub says itself: nobody is asked for it.
const OWN: &str = "zentral";

/// The machines of one source.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "SourceFleet")]
pub struct Fleet {
    pub name: String,
    /// The kind of the source: of a second server of Jamf's `jamf`.
    pub kind: String,
    /// Whether the configuration names it.
    pub configured: bool,
    pub machines: u64,
    /// Machines heard within a day, 7 days, 30 days.
    pub within: [u64; HEARD_WITHIN.len()],
    /// When one of them was heard last.
    pub last: Option<Time>,
    /// Events of it of the last 7 days; none: the store does not answer, or nobody asked it.
    #[serde(rename = "events_7d", skip_serializing_if = "Option::is_none")]
    pub week: Option<u64>,
}

impl Fleet {
    pub fn events(&self) -> String {
        self.week.map_or_else(|| "–".to_owned(), text::number)
    }

    /// Whether machines speak by it: a webhook, say, tells of other things as well.
    pub fn has_machines(&self) -> bool {
        self.machines > 0 || self.kind != "webhook"
    }

    /// All, and those of late.
    fn numbers(&self) -> Vec<String> {
        std::iter::once(self.machines).chain(self.within).map(text::number).collect()
    }
}

/// A machine that was not heard for long.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Quiet {
    key: String,
    hostname: Option<String>,
    last: Time,
    #[serde(skip)]
    link: String,
}

/// A number of events.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ValueEvents")]
pub struct Count {
    pub value: String,
    pub count: u64,
    #[serde(skip)]
    pub link: String,
}

impl Count {
    pub fn number(&self) -> String {
        text::number(self.count)
    }
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "sources.html")]
pub struct Sources {
    #[serde(skip)]
    head: Head,
    sources: Vec<Fleet>,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "source.html")]
pub struct Source {
    #[serde(skip)]
    head: Head,
    #[serde(flatten)]
    fleet: Fleet,
    /// The machines that were not heard for longest.
    quiet: Vec<Quiet>,
    /// Events of the last days by type.
    events: Vec<Count>,
    events_away: Option<String>,
    santa: Option<santa::Santa>,
    munki: Option<munki::Munki>,
    pulled: Option<pulled::Pulled>,
}

/// All sources that are configured or were heard, by name.
fn fleets(app: &App, who: Option<&Who>) -> Result<BTreeMap<String, Fleet>, Wrong> {
    let config = app.live().config.clone();
    let fleet = |name: &str| Fleet {
        name: name.to_owned(),
        kind: config.source_kind(name).to_owned(),
        configured: config.sources.contains_key(name),
        ..Fleet::default()
    };
    let mut all: BTreeMap<String, Fleet> = BTreeMap::new();
    for name in config.sources.keys().map(String::as_str).chain(enrol::sources()) {
        all.entry(name.to_owned()).or_insert_with(|| fleet(name));
    }
    let now = Time::now().ms();
    app.machines(|known| {
        for (_, machine, source, last) in known.heard() {
            if source == OWN || who.is_none_or(|who| !who.sees(machine.unit.as_deref())) {
                continue;
            }
            let one = all.entry(source.to_owned()).or_insert_with(|| fleet(source));
            one.machines += 1;
            one.last = one.last.max(Some(last));
            for (count, (_, age)) in one.within.iter_mut().zip(HEARD_WITHIN) {
                *count += u64::from(last.ms() >= now.saturating_sub(age));
            }
        }
        Ok(())
    })?;
    Ok(all)
}

pub fn list(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let mut sources: Vec<Fleet> = fleets(app, asked.who.as_ref())?.into_values().collect();
    let question = Question { since: SINCE, ..Question::default() };
    let config = app.live().config.clone();
    if let Ok(counts) = Events::of(&config, asked.who.as_ref()).by(&question, "source") {
        for one in &mut sources {
            let told = counts.values.iter().find(|counted| counted.value == one.name);
            // Of very many sources the store tells those of which there are most.
            one.week = told.map(|told| told.count).or((counts.other == 0).then_some(0));
        }
    }
    Answer::page(asked, &Sources { head: Head::new(asked, "Sources"), sources })
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let who = asked.who.as_ref();
    let fleet = fleets(app, who)?.remove(asked.part("name")).ok_or_else(|| Wrong::not_found("source"))?;
    let name = fleet.name.clone();
    let (events, events_away) = match counted(app, asked, &text::is("source", &name), "type") {
        Ok(counts) => (counts, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let page = Source {
        head: Head::new(asked, &name),
        quiet: quiet(app, who, &name)?,
        events,
        events_away,
        santa: if fleet.kind == "santa" { Some(santa::look(app, asked)?) } else { None },
        munki: if fleet.kind == "munki" { Some(munki::look(app, asked)?) } else { None },
        pulled: pulled::look(app, asked, &name),
        fleet,
    };
    Answer::page(asked, &page)
}

/// How many events of the last days there are by a field, each with the search that finds them.
pub fn counted(app: &App, asked: &Asked, query: &str, by: &str) -> Result<Vec<Count>, String> {
    let config = app.live().config.clone();
    let question = Question { query, since: SINCE, ..Question::default() };
    let counts = Events::of(&config, asked.who.as_ref()).by(&question, by).map_err(|why| why.text().to_owned())?;
    let count = |ValueCount { value, count }: ValueCount| {
        let query = format!("{query} AND {}", text::is(by, &value));
        Count {
            link: format!("/events?{}", text::query(&[("q", &query), ("since", SINCE)])),
            value: text::short(&value),
            count,
        }
    };
    Ok(counts.values.into_iter().map(count).collect())
}

fn quiet(app: &App, who: Option<&Who>, name: &str) -> Result<Vec<Quiet>, Wrong> {
    Ok(app.machines(|known| {
        // Only as many as are shown are kept while the fleet is walked.
        let mut longest: BTreeSet<(Time, &str)> = BTreeSet::new();
        for (key, machine, source, last) in known.heard() {
            if source == name && who.is_some_and(|who| who.sees(machine.unit.as_deref())) {
                longest.insert((last, key));
                if longest.len() > SILENT_MAX {
                    longest.pop_last();
                }
            }
        }
        let one = |(last, key): (Time, &str)| Quiet {
            link: format!("/machines/{}", text::part(key)),
            hostname: known.block(key).hostname,
            key: key.to_owned(),
            last,
        };
        Ok(longest.into_iter().map(one).collect())
    })?)
}

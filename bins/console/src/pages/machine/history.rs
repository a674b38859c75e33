//! What changed on a machine, snapshot by snapshot, of each source; how far back it is known.

use askama::Template;
use event::Time;
use event::inventory::{Action, Change as Changed};
use registry::inventory::Past;
use registry::inventory::past::{Reach, Wanted};
use schemars::JsonSchema;
use serde::Serialize;

use super::change::Change;
use super::{edit, machine_query};
use crate::answer::{Answer, Wrong};
use crate::api::{TEXT, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::ledger;
use crate::pages::Head;
use crate::room::{self, Room};
use crate::text;

/// Snapshots on a page, if nobody says how many.
const PAGE: u64 = 25;
/// Snapshots on a page at most.
const PAGE_MAX: u64 = 100;
/// Changes of one snapshot that the page shows; the comparison has all.
const SHOWN: usize = 5;
/// Changes of one snapshot that the JSON has.
const TOLD: usize = 100;

/// A source, and since when every change that it told is known.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SourceReach")]
pub struct Source {
    pub source: String,
    /// When its last snapshot was taken.
    pub taken: Time,
    pub since: Time,
    /// Before that it had told nothing.
    pub whole: bool,
}

impl Source {
    pub fn of(reach: Reach) -> Self {
        let Reach { source, taken, since, whole } = reach;
        Self { source, taken, since, whole }
    }
}

/// A snapshot that changed something.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Snapshot {
    source: String,
    /// When the machine was so, and when the hub heard of it.
    taken: Time,
    received: Time,
    /// The first of its source: all of it is new.
    first: bool,
    added: usize,
    removed: usize,
    changed: usize,
    /// The first of its changes.
    changes: Vec<Change>,
    /// Changes that are not among them.
    left: usize,
    /// What it changed, as a page of its own; and what changed since.
    #[serde(skip)]
    alone: String,
    #[serde(skip)]
    since: String,
}

/// What is taken.
pub const WORDS: &[Word] = &[
    Word::new("source", TEXT, "Those of this source; of every source"),
    Word::page(PAGE_MAX as i64, "Snapshots of a page; 25"),
    Word::after(),
];

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "machine_history.html")]
#[schemars(rename = "MachineHistory")]
pub struct History {
    #[serde(skip)]
    head: Head,
    machine: String,
    sources: Vec<Source>,
    snapshots: Vec<Snapshot>,
    next: Option<String>,
    #[serde(skip)]
    base: String,
    #[serde(skip)]
    name: String,
    #[serde(skip)]
    source: String,
    #[serde(skip)]
    events_link: String,
    #[serde(skip)]
    next_link: String,
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let now = Time::now();
    let source = Some(asked.word("source")).filter(|source| !source.is_empty());
    let n = asked.word("n").parse().map_or(PAGE, |n: u64| n.clamp(1, PAGE_MAX));
    // Counted from the snapshot that the first page began with: what comes meanwhile moves nothing.
    let (until, skip) = ledger::place(asked.word("after")).unwrap_or((now.ms(), String::new()));
    let skip = skip.parse::<u32>().map_or(0, u64::from);
    let wanted = Wanted { source, until: Time::from_ms(until), skip, n: n + 1 };
    let (seen, (sources, mut past)) = edit::find(app, asked, |known, key| {
        let details = known.details()?;
        Ok((details.reach(key, now)?, details.past(key, wanted)?))
    })?;
    let more = past.len() as u64 > n;
    past.truncate(usize::try_from(n).unwrap_or(usize::MAX));
    let next = more.then(|| ledger::cursor(&(until, (skip + n).to_string())));
    let base = format!("/machines/{}", text::part(&seen.key));
    let mut room = Room::new(if asked.json { usize::MAX } else { room::PAGE });
    let shown = if asked.json { TOLD } else { SHOWN };
    let snapshots = past.into_iter().map(|past| snapshot(past, &base, shown, &mut room)).collect();
    let words = |after: &str| text::query(&[("source", source.unwrap_or_default()), ("after", after)]);
    let name = text::short(seen.machine.hostname.as_deref().unwrap_or(&seen.key));
    let query = format!("tags:inventory {}", machine_query(&seen.machine));
    let page = History {
        head: Head::new(asked, format!("What changed on {name}")),
        sources: sources.into_iter().map(Source::of).collect(),
        snapshots,
        next_link: next.as_deref().map(|after| format!("?{}", words(after))).unwrap_or_default(),
        next,
        events_link: format!("/events?{}", text::query(&[("q", query.trim()), ("since", "1970")])),
        source: source.unwrap_or_default().to_owned(),
        machine: seen.key,
        base,
        name,
    };
    Answer::page(asked, &page)
}

fn snapshot(past: Past, base: &str, shown: usize, room: &mut Room) -> Snapshot {
    let count = |action: Action| past.changes.iter().filter(|change| change.action == action).count();
    let (source, received) = (past.source.as_str(), past.received);
    let link = |from: Time, to: &str| {
        let (from, to) = (from.to_string(), to.to_owned());
        format!("{base}/compare?{}", text::query(&[("from", &from), ("to", &to), ("source", source)]))
    };
    let changes = changes(&past.changes, shown, room);
    Snapshot {
        first: past.changes.is_empty(),
        added: count(Action::Added),
        removed: count(Action::Removed),
        changed: count(Action::Changed),
        left: past.changes.len() - changes.len(),
        changes,
        alone: link(Time::from_ms(received.ms() - 1), &received.to_string()),
        since: link(received, "now"),
        taken: past.taken,
        received,
        source: past.source,
    }
}

fn changes(all: &[Changed], most: usize, room: &mut Room) -> Vec<Change> {
    all.iter().take(most).map(|change| Change::new("", change)).take_while(|change| change.takes(room)).collect()
}

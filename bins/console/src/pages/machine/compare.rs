//! A machine at two times: what each source told by the one and by the other, and what is another.

use std::collections::BTreeMap;

use askama::Template;
use event::Time;
use event::inventory::{Action, between};
use registry::inventory::past::Then;
use schemars::JsonSchema;
use serde::Serialize;

use super::change::Change;
use super::edit;
use super::history::Source;
use crate::answer::{Answer, Wrong};
use crate::api::{TEXT, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::pages::Head;
use crate::room::{self, Room};
use crate::text;

/// Changes on a page, if nobody says how many.
const PAGE: usize = 100;
/// Changes on a page at most; a person gets no more than the page has room for.
const PAGE_MAX: usize = 1000;
/// Kinds that can be chosen.
const KINDS_MAX: usize = 100;
/// From when on, if nobody says.
const FROM: &str = "7d";
/// Until when, if nobody says.
const TO: &str = "now";

/// What became of the things of a kind.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "KindCompared")]
pub struct Kind {
    kind: String,
    added: usize,
    removed: usize,
    changed: usize,
    #[serde(skip)]
    name: String,
    #[serde(skip)]
    link: String,
}

/// What is taken.
pub const WORDS: &[Word] = &[
    Word::new("from", TEXT, "The earlier time: `now`, an age or a time in UTC; 7d").like("12h"),
    Word::new("to", TEXT, "The later time; now").like("now"),
    Word::new("source", TEXT, "What this source told; all of them"),
    Word::new("kind", TEXT, "Changes of this kind of things; of all"),
    Word::page(PAGE_MAX as i64, "Changes of a page; 100"),
    Word::after(),
];

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "machine_compare.html")]
#[schemars(rename = "MachineCompared")]
pub struct Compare {
    #[serde(skip)]
    head: Head,
    machine: String,
    from: Time,
    to: Time,
    sources: Vec<Source>,
    kinds: Vec<Kind>,
    /// Of the kind and the source that are asked for.
    total: usize,
    changes: Vec<Change>,
    next: Option<String>,
    /// What is not as it was asked for, and why.
    notes: Vec<String>,
    #[serde(skip)]
    base: String,
    #[serde(skip)]
    name: String,
    #[serde(skip)]
    source: String,
    #[serde(skip)]
    kind: String,
    #[serde(skip)]
    all_link: String,
    #[serde(skip)]
    next_link: String,
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let now = Time::now();
    let at = |name: &str, default: &str| {
        let said = if asked.word(name).is_empty() { default } else { asked.word(name) };
        let advice = "Say `now`, a time before now such as 7d or 12h, or a time in UTC such as 2026-11-23 12:50.";
        let wrong = || Wrong::new(400, format!("{name}: `{}` is no time.", text::short(said)), advice);
        text::moment(said, now).ok_or_else(wrong)
    };
    let (from, to) = (at("from", FROM)?, at("to", TO)?);
    if from > to {
        return Err(Wrong::new(400, "from: it is later than `to`.", "The earlier time comes first."));
    }
    let (source, kind) = (asked.word("source"), asked.word("kind"));
    let (seen, (sources, older, newer)) = edit::find(app, asked, |known, key| {
        let details = known.details()?;
        Ok((details.reach(key, now)?, details.then(key, from)?, details.then(key, to)?))
    })?;
    let sources: Vec<Source> = sources.into_iter().map(Source::of).collect();
    let wanted = |name: &str| source.is_empty() || source == name;
    let notes = notes(sources.iter().filter(|one| wanted(&one.source)), [(from, &older), (to, &newer)]);
    let none = Then::default();
    let of = |name: &str| older.get(name).unwrap_or(&none);
    let all = newer.iter().filter(|(name, _)| wanted(name));
    let all = all.flat_map(|(name, new)| {
        between(&of(name).things, &new.things).into_iter().map(move |change| (name.as_str(), change))
    });
    let (mut kinds, mut changes) = (BTreeMap::<String, Kind>::new(), Vec::new());
    for (name, change) in all {
        let of = kinds.entry(change.kind.clone()).or_default();
        match change.action {
            Action::Added => of.added += 1,
            Action::Removed => of.removed += 1,
            Action::Changed => of.changed += 1,
        }
        if kind.is_empty() || kind == change.kind {
            changes.push((name, change));
        }
    }
    let base = format!("/machines/{}", text::part(&seen.key));
    // The times themselves: what is `now` on one page is not on the next.
    let times = (from.to_string(), to.to_string());
    let with = |kind: &str, after: &str| {
        let words = [("from", times.0.as_str()), ("to", times.1.as_str()), ("source", source), ("kind", kind)];
        format!("?{}", text::query(&[&words[..], &[("after", after)]].concat()))
    };
    let n = asked.word("n").parse().map_or(PAGE, |n: usize| n.clamp(1, PAGE_MAX));
    let begin = asked.word("after").parse::<usize>().unwrap_or(0).min(changes.len());
    let mut room = Room::new(if asked.json { usize::MAX } else { room::PAGE });
    let shown = changes.iter().skip(begin).take(n).map(|(name, change)| Change::new(name, change));
    let shown: Vec<Change> = shown.take_while(|change| change.takes(&mut room)).collect();
    let next = Some(begin + shown.len()).filter(|end| *end < changes.len()).map(|end| end.to_string());
    let name = text::short(seen.machine.hostname.as_deref().unwrap_or(&seen.key));
    let page = Compare {
        head: Head::new(asked, format!("{name} at two times")),
        kinds: kinds.into_iter().take(KINDS_MAX).map(|(kind, of)| of.named(kind, &with)).collect(),
        total: changes.len(),
        changes: shown,
        next_link: next.as_deref().map(|after| with(kind, after)).unwrap_or_default(),
        next,
        all_link: with("", ""),
        kind: text::short(&kind.replace('_', " ")),
        source: source.to_owned(),
        machine: seen.key,
        from,
        to,
        sources,
        notes,
        base,
        name,
    };
    Answer::page(asked, &page)
}

impl Kind {
    fn named(self, kind: String, with: &dyn Fn(&str, &str) -> String) -> Self {
        Self { link: with(&kind, ""), name: text::short(&kind.replace('_', " ")), kind, ..self }
    }
}

/// Where what is told is not what was asked for.
fn notes<'a>(sources: impl Iterator<Item = &'a Source>, looks: [(Time, &BTreeMap<String, Then>); 2]) -> Vec<String> {
    let mut notes = Vec::new();
    for Source { source, since, whole, .. } in sources {
        if !whole && looks.iter().any(|(at, _)| at < since) {
            let since = text::when(since);
            notes.push(format!(
                "{source}: changes are kept since {since}; for an earlier time it is shown as it was then."
            ));
        }
        let stopped = looks.iter().filter_map(|(_, then)| then.get(source).and_then(|then| then.stopped)).min();
        if let Some(stopped) = stopped {
            let at = text::when(&stopped);
            notes.push(format!(
                "{source}: so much changed that the earlier time is shown as it was at {at}. Choose a later one."
            ));
        }
        let misfits: usize = looks.iter().filter_map(|(_, then)| then.get(source)).map(|then| then.misfits).sum();
        if misfits > 0 {
            notes.push(format!(
                "{source}: {misfits} changes that are kept do not fit what it told later; they are left out."
            ));
        }
    }
    notes
}

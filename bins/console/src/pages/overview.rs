//! The first page: is all well, what flows, which machines speak, what they say; and where nothing is yet, what to do next.

use std::collections::BTreeMap;

use askama::Template;
use event::Time;
use schemars::JsonSchema;
use serde::Serialize;

use super::chart::{self, Bar};
use super::start::{self, Step};
use super::{Head, status};
use crate::answer::{Answer, Wrong};
use crate::app::App;
use crate::ask::{Asked, Who};
use crate::events::{Counts, Events, NoAnswer, Question};
use crate::hub::Report;
use crate::text;

/// A machine that was heard of within this time counts as one that speaks, in ms.
const SPEAKS: i64 = 24 * 3_600_000;
/// How far back events are counted, and in which steps.
const SPAN: (&str, &str) = ("24h", "30m");
/// Incidents and kinds of events that are shown.
const SHOWN: usize = 10;

/// A number of something, and how it compares.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Share {
    name: String,
    count: u64,
    /// Of the largest, in percent.
    #[serde(skip)]
    percent: u64,
    #[serde(skip)]
    link: String,
}

impl Share {
    fn number(&self) -> String {
        text::number(self.count)
    }
}

#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Fleet {
    total: u64,
    /// Heard of within a day.
    seen: u64,
    platforms: Vec<Share>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Day {
    total: u64,
    types: Vec<Share>,
    /// Matches by probe.
    probes: Vec<Share>,
    bars: Vec<Bar>,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "overview.html")]
pub struct Overview {
    #[serde(skip)]
    head: Head,
    #[serde(flatten)]
    report: Report,
    up_away: Option<String>,
    machines: Fleet,
    machines_away: Option<String>,
    events: Day,
    events_away: Option<String>,
    /// Of a new hub, what to do first; empty once that is done, or the hub is in use.
    steps: Vec<Step>,
}

impl Overview {
    /// The lines that no reader of a stage has read yet.
    fn lag(&self, stage: &str) -> String {
        let readers = self.report.readers.iter().filter(|reader| reader.reader == stage);
        let lags: Vec<u64> = readers.map(|reader| reader.lag).collect();
        if lags.is_empty() { "–".to_owned() } else { text::number(lags.iter().sum()) }
    }

    fn total(&self) -> String {
        text::number(self.machines.total)
    }

    fn seen(&self) -> String {
        text::number(self.machines.seen)
    }

    fn events_total(&self) -> String {
        text::number(self.events.total)
    }
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let (report, up_away) = status::report(app, asked);
    let (machines, machines_away) = match fleet(app, asked.who.as_ref()) {
        Ok(fleet) => (fleet, None),
        Err(wrong) => (Fleet::default(), Some(wrong.text)),
    };
    let (events, events_away) = match day(app, asked.who.as_ref()) {
        Ok(day) => (day, None),
        Err(why) => (Day::default(), Some(why.text().to_owned())),
    };
    let steps = match machines_away.is_some() || start::in_use(machines.total) {
        true => Vec::new(),
        false => start::steps(app, asked, report.up.is_some(), machines.total),
    };
    let steps = if steps.iter().all(|step| step.done) { Vec::new() } else { steps };
    let head = Head::new(asked, "Overview");
    let page = Overview { head, report, up_away, machines, machines_away, events, events_away, steps };
    Answer::page(asked, &page)
}

/// How many machines this person sees.
pub fn machines(app: &App, who: Option<&Who>) -> Result<u64, Wrong> {
    fleet(app, who).map(|fleet| fleet.total)
}

fn fleet(app: &App, who: Option<&Who>) -> Result<Fleet, Wrong> {
    let since = Time::now().ms() - SPEAKS;
    let (mut total, mut seen, mut platforms) = (0, 0, BTreeMap::<String, u64>::new());
    app.machines(|known| {
        for (_, machine, last) in known.each() {
            if who.is_some_and(|who| who.sees(machine.unit.as_deref())) {
                total += 1;
                seen += u64::from(last.is_some_and(|last| last.ms() >= since));
                *platforms.entry(machine.platform.clone().unwrap_or_default()).or_default() += 1;
            }
        }
        Ok(())
    })?;
    let link = |platform: &str| format!("/machines?{}", text::query(&[("platform", platform)]));
    Ok(Fleet { total, seen, platforms: shares(platforms.into_iter(), link) })
}

fn day(app: &App, who: Option<&Who>) -> Result<Day, NoAnswer> {
    let config = app.live().config.clone();
    let events = Events::of(&config, who);
    let question = Question { since: SPAN.0, ..Question::default() };
    let Counts { count, values, .. } = events.by(&question, "type")?;
    let link = |kind: &str| format!("/events?{}", text::query(&[("q", &text::is("type", kind))]));
    let types = shares(values.into_iter().map(|one| (one.value, one.count)), link);
    let matches = events.by(&question, "probes.name")?.values;
    let probe = |name: &str| format!("/probes/{}", text::part(name));
    let probes = shares(matches.into_iter().map(|one| (one.value, one.count)), probe);
    let bars = chart::bars(&events.every(&question, SPAN.1)?, SPAN.0, SPAN.1, Time::now());
    Ok(Day { total: count, types, probes, bars })
}

/// The largest of them, the largest first.
fn shares(counts: impl Iterator<Item = (String, u64)>, link: impl Fn(&str) -> String) -> Vec<Share> {
    let mut all: Vec<(String, u64)> = counts.collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(SHOWN);
    let most = all.first().map_or(1, |(_, n)| (*n).max(1));
    let share = |(name, count): (String, u64)| {
        let link = text::to(&name, || link(&name));
        let name = if name.is_empty() { "unknown".to_owned() } else { text::short(&name) };
        Share { percent: (count * 100 / most).max(1), link, name, count }
    };
    all.into_iter().map(share).collect()
}

//! Actions: what became of their deliveries, what waits, what holds them.

use std::collections::BTreeMap;

use askama::Template;
use event::Time;
use registry::ledger::lanes::{self, Lane};
use schemars::JsonSchema;
use serde::Serialize;

use super::Head;
use crate::answer::{Answer, Wrong};
use crate::app::App;
use crate::ask::Asked;
use crate::{ledger, text};

/// How far back deliveries are counted, in ms.
pub const SPAN_MS: i64 = 24 * 3_600_000;

/// An action as a page shows it.
pub struct Row {
    pub name: String,
    pub link: String,
    pub kind: String,
    pub stopped: String,
    pub muted: String,
    pub done: String,
    pub failed: u64,
    pub dropped: u64,
    pub waiting: u64,
    pub oldest: String,
    pub trouble: String,
    pub dead: u64,
    /// The configuration has none of this name any more.
    pub gone: bool,
}

/// The same for a program.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ActionLine")]
pub struct Told {
    action: String,
    /// The kind of it; empty: the configuration has none of this name any more.
    kind: String,
    /// Deliveries of the last day.
    done: u64,
    failed: u64,
    dropped: u64,
    /// Deliveries that wait.
    waiting: u64,
    /// Since when the first of them does.
    oldest: Option<Time>,
    /// What went wrong last; may be empty.
    trouble: String,
    dead_letters: u64,
    /// Why it stopped at its brake.
    stopped: Option<String>,
    gone: bool,
}

/// A probe or an action that is muted.
struct Mute {
    name: String,
    until: String,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "action_list.html")]
pub struct Actions {
    #[serde(skip)]
    head: Head,
    actions: Vec<Told>,
    /// Actions and probes, and until when.
    muted: BTreeMap<String, Time>,
    #[serde(skip)]
    rows: Vec<Row>,
    #[serde(skip)]
    probes: Vec<Mute>,
    #[serde(skip)]
    may_change: bool,
}

/// Actions tell of machines of all units, and a mute holds all of them back.
pub fn whole(asked: &Asked) -> Result<(), Wrong> {
    match &asked.who {
        Some(who) if who.units.is_empty() => Ok(()),
        _ => Err(Wrong::new(
            403,
            "Actions are for people who see all units.",
            "Who was told of an incident of yours stands on its page.",
        )),
    }
}

/// By name the lane, and by name until when an action or a probe is muted.
pub type Known = (BTreeMap<String, Lane>, BTreeMap<String, Time>);

/// All that is known.
pub fn known(app: &App) -> Result<Known, Wrong> {
    let now = Time::now().ms();
    let (mut known, muted) = ledger::look(app, |db| Ok((lanes::all(db, now - SPAN_MS)?, lanes::mutes(db, now)?)))?;
    for name in app.live().config.actions.keys() {
        known.entry(name.clone()).or_default();
    }
    Ok((known, muted.into_iter().map(|(name, until)| (name, Time::from_ms(until))).collect()))
}

/// An action in words.
pub fn row(app: &App, name: &str, lane: &Lane, muted: Option<&Time>) -> Row {
    let config = app.live().config.clone();
    let settings = config.actions.get(name);
    Row {
        name: name.to_owned(),
        link: format!("/actions/{}", text::part(name)),
        kind: settings.and_then(|settings| settings.peek("kind")).unwrap_or_default().to_owned(),
        stopped: lane.stopped.clone().unwrap_or_default(),
        muted: muted.map(Time::to_string).unwrap_or_default(),
        done: text::number(lane.done),
        failed: lane.failed,
        dropped: lane.dropped,
        waiting: lane.waiting,
        oldest: lane.oldest.map(|at| Time::from_ms(at).to_string()).unwrap_or_default(),
        trouble: text::short(&lane.trouble),
        dead: lane.dead,
        gone: settings.is_none(),
    }
}

/// The same for a program.
pub fn told(row: &Row, lane: &Lane) -> Told {
    Told {
        action: row.name.clone(),
        kind: row.kind.clone(),
        done: lane.done,
        failed: lane.failed,
        dropped: lane.dropped,
        waiting: lane.waiting,
        oldest: lane.oldest.map(Time::from_ms),
        trouble: lane.trouble.clone(),
        dead_letters: lane.dead,
        stopped: lane.stopped.clone(),
        gone: row.gone,
    }
}

pub fn list(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    whole(asked)?;
    let (known, muted) = known(app)?;
    let config = app.live().config.clone();
    let rows: Vec<Row> = known.iter().map(|(name, lane)| row(app, name, lane, muted.get(name))).collect();
    let probes = muted.iter().filter(|(name, _)| config.probes.contains_key(*name));
    let page = Actions {
        head: Head::new(asked, "Actions"),
        actions: rows.iter().zip(known.values()).map(|(row, lane)| told(row, lane)).collect(),
        probes: probes.map(|(name, until)| Mute { name: name.clone(), until: until.to_string() }).collect(),
        may_change: super::may_change(asked),
        rows,
        muted,
    };
    Answer::page(asked, &page)
}

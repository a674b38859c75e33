//! Actions: what became of their deliveries, what waits, what holds them.

use std::collections::BTreeMap;

use askama::Template;
use event::Time;
use pipe::config::StageKind;
use registry::ledger::lanes::{self, Lane};
use schemars::JsonSchema;
use serde::Serialize;

use super::Head;
use crate::answer::{Answer, Wrong};
use crate::api::{TEXT, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::{ledger, text};

/// How far back deliveries are counted, in ms.
pub const SPAN_MS: i64 = 24 * 3_600_000;

/// Actions on a page, if nobody says how many.
const PAGE: usize = 100;
/// Actions on a page at most.
const PAGE_MAX: usize = 300;
/// Probes that are muted, of which a page tells.
const MUTED_MAX: usize = 100;

/// An action as a page shows it.
pub struct Row {
    pub name: String,
    pub link: String,
    pub kind: String,
    pub stopped: String,
    /// Why it cannot be made ready.
    pub waits: String,
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
    /// Why it waits: something that it needs cannot be read.
    waits: Option<String>,
    gone: bool,
}

/// A probe or an action that is muted.
struct Mute {
    name: String,
    until: String,
}

/// What is taken.
pub const WORDS: &[Word] = &[
    Word::new("q", TEXT, "Part of a name or a kind; all").like("slack"),
    Word::page(PAGE_MAX as i64, "Actions of a page; 100"),
    Word::after(),
];

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "action_list.html")]
pub struct Actions {
    #[serde(skip)]
    head: Head,
    actions: Vec<Told>,
    /// Actions and probes, and until when.
    muted: BTreeMap<String, Time>,
    /// On all pages.
    total: usize,
    /// The last of this page, where there are more.
    next: Option<String>,
    #[serde(skip)]
    rows: Vec<Row>,
    #[serde(skip)]
    q: String,
    #[serde(skip)]
    next_link: String,
    #[serde(skip)]
    probes: Vec<Mute>,
    /// Probes that are muted and not among them.
    #[serde(skip)]
    left: usize,
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

/// By name the actions that cannot be made ready, and what is said of it.
pub type Waiting = BTreeMap<String, String>;

/// Those, as the stages that act tell.
pub fn waiting(app: &App) -> Waiting {
    let config = app.live().config.clone();
    let stages = config.stages.iter().filter(|stage| stage.runs(StageKind::Act));
    let told = stages.flat_map(|stage| pipe::wrong::ask(&config, stage));
    told.filter_map(|one| Some((one.action?, text::short(&one.text)))).collect()
}

/// An action in words.
pub fn row(app: &App, name: &str, lane: &Lane, muted: Option<&Time>, waiting: &Waiting) -> Row {
    let config = app.live().config.clone();
    let settings = config.actions.get(name);
    Row {
        name: name.to_owned(),
        link: format!("/actions/{}", text::part(name)),
        kind: settings.and_then(|settings| settings.peek("kind")).unwrap_or_default().to_owned(),
        stopped: lane.stopped.clone().unwrap_or_default(),
        waits: waiting.get(name).cloned().unwrap_or_default(),
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
        waits: Some(row.waits.clone()).filter(|why| !why.is_empty()),
        gone: row.gone,
    }
}

pub fn list(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    whole(asked)?;
    let (known, muted) = known(app)?;
    let config = app.live().config.clone();
    let waiting = waiting(app);
    let (q, after) = (asked.word("q").to_lowercase(), asked.word("after"));
    let n = asked.word("n").parse().map_or(PAGE, |n: usize| n.clamp(1, PAGE_MAX));
    let kind = |name: &str| config.actions.get(name).and_then(|settings| settings.peek("kind")).unwrap_or_default();
    let like = |name: &str| q.is_empty() || name.contains(&q) || kind(name).contains(&q);
    let found: Vec<(&String, &Lane)> = known.iter().filter(|(name, _)| like(name)).collect();
    let begin = found.partition_point(|(name, _)| !after.is_empty() && name.as_str() <= after);
    let shown: Vec<(&String, &Lane)> = found.iter().skip(begin).take(n).copied().collect();
    let rows: Vec<Row> = shown.iter().map(|(name, lane)| row(app, name, lane, muted.get(*name), &waiting)).collect();
    let more = begin + shown.len() < found.len();
    let next = shown.last().filter(|_| more).map(|(name, _)| (*name).clone());
    let words = |after: &str| format!("/actions?{}", text::query(&[("q", asked.word("q")), ("after", after)]));
    let probes: Vec<_> = muted.iter().filter(|(name, _)| config.probes.contains_key(*name)).collect();
    let mute = |(name, until): &(&String, &Time)| Mute { name: (*name).clone(), until: until.to_string() };
    let page = Actions {
        head: Head::new(asked, "Actions"),
        actions: rows.iter().zip(&shown).map(|(row, (_, lane))| told(row, lane)).collect(),
        total: found.len(),
        next_link: next.as_deref().map(words).unwrap_or_default(),
        next,
        q: asked.word("q").to_owned(),
        left: probes.len().saturating_sub(MUTED_MAX),
        probes: probes.iter().take(MUTED_MAX).map(mute).collect(),
        may_change: super::may_change(asked),
        rows,
        muted,
    };
    Answer::page(asked, &page)
}

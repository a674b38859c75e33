//! One action: its deliveries, its dead letters; mute it, let it go on, try it, send dead letters again.

use askama::Template;
use event::{Event, Time};
use pipe::config::parse_duration;
use registry::ledger::lanes;
use registry::ledger::letters::{self, Letter};
use registry::orders::{self, MUTE_MAX, Trial};
use schemars::JsonSchema;
use serde::Serialize;

use super::actions::{Row, Told, known, row, told, waiting, whole};
use super::{Head, events, may_change};
use crate::answer::{Answer, Wrong};
use crate::api::{Kind, TEXT, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::events::{Events, NoAnswer, Question};
use crate::{ledger, text};

/// Dead letters on a page, if nobody says how many.
const PAGE: usize = 20;
/// Dead letters on a page at most.
const PAGE_MAX: usize = 200;
/// Outcomes on a page.
const OUTCOMES: u64 = 10;
/// Tests whose end is shown: of an action that goes to many people each is one.
const TESTS_MAX: u64 = 50;
/// Dead letters that one order sends again; further ones take another.
const AT_ONCE: u64 = 10_000;
/// Bytes of an event that an action is tried with.
const EVENT_MAX: usize = 256 << 10;

/// What programs may ask.
pub const WORDS: &[Word] = &[
    Word::page(200, "Dead letters on a page; 20"),
    Word::after(),
    Word::new("since", Kind::Number(0, i64::MAX), "Tests since then, in ms since 1970; none"),
];
/// What is taken to mute.
pub const MUTE_WORDS: &[Word] = &[Word::new("time", Kind::Age, "For how long, at most 31d").needed().like("2h")];
/// What is taken to try.
pub const TRY_WORDS: &[Word] = &[Word::new("event", TEXT, "Id of a stored event; a sample")];
/// What is taken of dead letters.
pub const LETTER_WORDS: &[Word] = &[
    Word::new("id", TEXT, "Id of one"),
    Word::new("until", Kind::Number(0, i64::MAX), "In place of an id: all that were dead then, in ms since 1970"),
];

/// A dead letter on the page.
struct Dead {
    id: String,
    since: String,
    event_link: String,
    probe: String,
    target: String,
    tries: u64,
    error: String,
}

/// What became of a test.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ActionTest")]
pub struct Test {
    /// Empty if the action has one nameless target.
    target: String,
    /// `pending`, `trying`, `done`, `dead`, `dropped` or `stale`.
    state: String,
    error: String,
    tries: u64,
}

impl Test {
    fn is_over(&self) -> bool {
        !matches!(self.state.as_str(), "pending" | "trying")
    }
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "action.html")]
#[schemars(rename = "Action")]
pub struct Page {
    #[serde(skip)]
    head: Head,
    #[serde(flatten)]
    told: Told,
    muted: Option<Time>,
    dead: Vec<letters::Told>,
    next: Option<String>,
    #[serde(skip)]
    row: Row,
    #[serde(skip)]
    letters: Vec<Dead>,
    /// How many messages `all` would send.
    #[serde(skip)]
    resent: String,
    /// When the last of these died, in ms since 1970.
    #[serde(skip)]
    until: i64,
    #[serde(skip)]
    next_link: String,
    #[serde(skip)]
    outcomes: Vec<events::Line>,
    #[serde(skip)]
    outcomes_away: Option<String>,
    #[serde(skip)]
    outcomes_link: String,
    #[serde(skip)]
    asked_for: &'static str,
    /// What was asked of it by hand since then: tests.
    tests: Vec<Test>,
    /// One of them is not over, or none has begun.
    #[serde(skip)]
    unfinished: bool,
    #[serde(skip)]
    dry_run: bool,
    /// The form to try it is open.
    #[serde(skip)]
    trying: bool,
    #[serde(skip)]
    here: String,
    #[serde(skip)]
    may_change: bool,
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    whole(asked)?;
    let name = asked.part("name");
    let (known, muted) = known(app)?;
    let lane = known.get(name).ok_or_else(|| Wrong::not_found("action"))?;
    let n = asked.word("n").parse().map_or(PAGE, |n: usize| n.clamp(1, PAGE_MAX));
    let after = ledger::place(asked.word("after"));
    let (found, next) = ledger::look(app, |db| letters::page(db, name, after, n))?;
    let next = next.as_ref().map(ledger::cursor);
    let query = format!("type:action_* AND {}", text::is("payload.action", name));
    let config = app.live().config.clone();
    let question = Question { query: &query, since: "24h", until: "" };
    let (outcomes, away) = match Events::of(&config, asked.who.as_ref()).page(&question, OUTCOMES, "") {
        Ok(page) => (events::lines(&page.events), None),
        Err(NoAnswer::Question(why, _) | NoAnswer::Away(why)) => (Vec::new(), Some(why)),
    };
    let row = row(app, name, lane, muted.get(name), &waiting(app));
    // Given by the order's own answer, so that what is shown is what came of it.
    let since = asked.word("since").parse::<i64>().ok();
    let tests = match since {
        Some(since) => ledger::look(app, |db| lanes::asked(db, name, since, TESTS_MAX))?,
        None => Vec::new(),
    };
    let test = |one: lanes::Asked| Test {
        target: text::short(&one.target),
        state: one.state,
        error: one.error,
        tries: one.tries,
    };
    let tests: Vec<Test> = tests.into_iter().map(test).collect();
    let verbs = ["mute", "resume", "try", "retry", "drop"];
    let page = Page {
        head: Head::new(asked, name),
        told: told(&row, lane),
        muted: muted.get(name).copied(),
        dead: found.iter().map(Letter::told).collect(),
        letters: found.iter().map(dead).collect(),
        resent: text::number(lane.dead.min(AT_ONCE)),
        until: Time::now().ms(),
        next_link: next
            .as_deref()
            .map(|next| format!("{}?{}#dead", row.link, text::query(&[("after", next)])))
            .unwrap_or_default(),
        next,
        outcomes,
        outcomes_away: away,
        outcomes_link: format!("/events?{}", text::query(&[("q", &query), ("by", "type")])),
        asked_for: verbs.into_iter().find(|verb| *verb == asked.word("asked")).unwrap_or_default(),
        unfinished: since.is_some() && (tests.is_empty() || tests.iter().any(|test| !test.is_over())),
        tests,
        dry_run: config.actions.get(name).is_some_and(|table| table.clone().bool("dry_run") == Some(true)),
        trying: asked.word("do") == "try",
        here: asked.address.clone(),
        may_change: may_change(asked),
        row,
    };
    Answer::page(asked, &page)
}

fn dead(letter: &Letter) -> Dead {
    Dead {
        id: letter.id.clone(),
        since: Time::from_ms(letter.since).to_string(),
        event_link: format!("/events/{}", text::part(&letter.event)),
        probe: letter.probe.clone(),
        target: text::short(&letter.target),
        tries: letter.tries,
        error: letter.error.clone(),
    }
}

/// The action that the path names, or (for mutes) the probe.
fn named<'a>(app: &App, asked: &'a Asked, probes: bool) -> Result<&'a str, Wrong> {
    whole(asked)?;
    let (name, config) = (asked.part("name"), app.live().config.clone());
    if config.actions.contains_key(name) || (probes && config.probes.contains_key(name)) {
        return Ok(name);
    }
    Err(Wrong::not_found("action"))
}

fn ordered(app: &App, asked: &Asked, name: &str, verb: &str, targets: &[String]) -> Result<Answer, Wrong> {
    let since = Time::now().ms();
    ledger::order(app, asked, verb, targets)?;
    let path = match app.live().config.actions.contains_key(name) {
        true if verb == "try" => format!("/actions/{}?asked={verb}&since={since}", text::part(name)),
        true => format!("/actions/{}?asked={verb}", text::part(name)),
        false => "/actions".to_owned(),
    };
    Ok(Answer::done(asked, &path))
}

pub fn mute(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let name = named(app, asked, true)?;
    let time = parse_duration(asked.field("time").trim()).filter(|time| !time.is_zero() && *time <= MUTE_MAX);
    let time = time.ok_or_else(|| Wrong::new(400, "It is muted for a time such as 2h, at most 31d.", ""))?;
    let until = Time::now().ms().saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    ordered(app, asked, name, "mute", &[orders::muted_until(name, until)])
}

pub fn resume(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let name = named(app, asked, true)?;
    ordered(app, asked, name, "resume", &[name.to_owned()])
}

/// Sends once, marked as a test: about a stored event, or a sample.
pub fn try_it(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let name = named(app, asked, false)?;
    let id = asked.field("event").trim();
    let event = if id.is_empty() { None } else { Some(stored(app, asked, id)?) };
    let trial = orders::target(&Trial { action: name.to_owned(), event })?;
    ordered(app, asked, name, "try", &[trial])
}

fn stored(app: &App, asked: &Asked, id: &str) -> Result<Box<serde_json::value::RawValue>, Wrong> {
    let config = app.live().config.clone();
    let found = Events::of(&config, asked.who.as_ref()).event(id)?;
    let line = found.ok_or_else(|| Wrong::new(400, "No stored event has this id.", "An event's page shows it."))?;
    if line.len() > EVENT_MAX {
        let text = format!("An action is tried with an event of at most {} kB.", EVENT_MAX >> 10);
        return Err(Wrong::new(400, text, "`zentral act try` takes a longer one."));
    }
    let sound = Event::parse(line.trim_ascii()).is_ok();
    let raw = String::from_utf8(line).ok().filter(|_| sound);
    let raw = raw.and_then(|text| serde_json::value::RawValue::from_string(text.trim().to_owned()).ok());
    raw.ok_or_else(|| Wrong::new(400, "This event cannot be read.", ""))
}

/// One dead letter, or all that were dead when somebody looked.
fn letters_of(app: &App, asked: &Asked, name: &str) -> Result<Vec<String>, Wrong> {
    let id = asked.field("id");
    let wrong = || Wrong::new(400, "Say the `id` of a dead letter, or `until` when the last of them died.", "");
    let until = asked.field("until").parse::<i64>();
    if id.is_empty() {
        let until = until.map_err(|_| wrong())?;
        return Ok(ledger::look(app, |db| letters::until(db, name, until, AT_ONCE))?.0);
    }
    let there = ledger::look(app, |db| letters::is_there(db, name, id))?;
    if there { Ok(vec![id.to_owned()]) } else { Err(Wrong::not_found("dead letter")) }
}

fn about_letters(app: &App, asked: &Asked, verb: &str) -> Result<Answer, Wrong> {
    // An action that is gone may have dead letters: they can be dropped.
    whole(asked)?;
    let name = if verb == "retry" { named(app, asked, false)? } else { asked.part("name") };
    let ids = letters_of(app, asked, name)?;
    if ids.is_empty() {
        return Err(Wrong::new(409, "There is no dead letter of this action any more.", ""));
    }
    ledger::order(app, asked, verb, &ids)?;
    Ok(Answer::done(asked, &format!("/actions/{}?asked={verb}", text::part(name))))
}

pub fn retry(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    about_letters(app, asked, "retry")
}

pub fn forget(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    about_letters(app, asked, "drop")
}

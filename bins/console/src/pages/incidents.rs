//! Incidents: what is open, what somebody takes care of, what is over.

use askama::Template;
use event::Time;
use pipe::config::SEVERITIES;
use registry::ledger::incidents::{self, Incident};
use schemars::JsonSchema;
use serde::Serialize;

use super::Head;
use crate::answer::{Answer, Wrong};
use crate::api::{Kind, TEXT, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::ledger::{self, Sight};
use crate::text;

/// Incidents on a page, if nobody says how many.
const PAGE: usize = 50;
/// Incidents on a page at most.
const PAGE_MAX: usize = 500;
/// What can be asked for; the first if nobody says.
const STATES: [(&str, &str); 4] =
    [("open", "open or taken"), ("waiting", "nobody has taken"), ("taken", "taken"), ("closed", "closed")];

/// What programs may ask.
pub const WORDS: &[Word] = &[
    Word::new(
        "state",
        Kind::OneOf(&[STATES[0].0, STATES[1].0, STATES[2].0, STATES[3].0]),
        "Open or taken (`open`), which nobody has taken (`waiting`), taken, closed; open",
    )
    .like("closed"),
    Word::new("severity", Kind::OneOf(&SEVERITIES), "Those of a severity").like("major"),
    Word::new("q", TEXT, "Part of an id, a title, a probe, a key, an owner").like("a"),
    Word::page(500, "Incidents on a page; 50"),
    Word::after(),
];

/// An incident on a page.
pub struct Line {
    pub link: String,
    pub title: String,
    pub severity: String,
    pub status: String,
    pub owner: String,
    pub probe: String,
    pub machine: String,
    pub machine_link: String,
    pub count: String,
    pub opened: String,
    pub last: String,
    pub closed: String,
}

/// An incident in words. `names`: the host name of a machine key.
pub fn line(incident: &Incident, name: &str) -> Line {
    let at = |ms: i64| if ms == 0 { String::new() } else { Time::from_ms(ms).to_string() };
    let machine = if incident.machine.is_empty() { String::new() } else { text::part(&incident.machine) };
    Line {
        link: format!("/incidents/{}", text::part(&incident.id)),
        title: if incident.title.is_empty() { incident.probe.clone() } else { incident.title.clone() },
        severity: incident.severity.clone(),
        status: incident.status.clone(),
        owner: text::short(&incident.owner),
        probe: incident.probe.clone(),
        machine: text::short(name),
        machine_link: if machine.is_empty() { machine } else { format!("/machines/{machine}") },
        count: text::number(incident.count),
        opened: at(incident.opened),
        last: at(incident.last),
        closed: at(incident.closed),
    }
}

/// The host names of machines, else their keys; empty: the machine is not known any more.
pub fn names(app: &App, keys: &[&str]) -> Vec<String> {
    let name = |known: &registry::known::Known, key: &str| match known.block(key).hostname {
        _ if key.is_empty() => String::new(),
        Some(host) => host,
        None => key.to_owned(),
    };
    let found = app.machines(|known| Ok(keys.iter().map(|key| name(known, key)).collect()));
    // That nobody knows the names must not hide the incidents.
    found.unwrap_or_else(|_| keys.iter().map(|key| (*key).to_owned()).collect())
}

/// A word to choose.
struct Choice {
    word: &'static str,
    name: &'static str,
    here: bool,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "incident_list.html")]
pub struct Incidents {
    #[serde(skip)]
    head: Head,
    incidents: Vec<incidents::Told>,
    next: Option<String>,
    #[serde(skip)]
    lines: Vec<Line>,
    #[serde(skip)]
    query: String,
    #[serde(skip)]
    states: Vec<Choice>,
    #[serde(skip)]
    severities: Vec<Choice>,
    #[serde(skip)]
    narrows: bool,
    #[serde(skip)]
    closed: bool,
    /// Somebody who is kept to units sees those that are about their machines.
    #[serde(skip)]
    kept: bool,
    #[serde(skip)]
    next_link: String,
}

pub fn list(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let (state, severity, query) = (asked.word("state"), asked.word("severity"), asked.word("q"));
    let state = STATES.iter().find(|(word, _)| *word == state).map_or("open", |(word, _)| word);
    let n = asked.word("n").parse().map_or(PAGE, |n: usize| n.clamp(1, PAGE_MAX));
    let (sight, words) = (Sight::of(app, asked.who.as_ref())?, query.to_lowercase());
    let takes = |one: &Incident| {
        let status = match state {
            "waiting" => one.status == "open",
            "taken" => one.status == "taken",
            _ => true,
        };
        let said = [&one.id, &one.title, &one.probe, &one.key, &one.machine, &one.owner];
        status
            && (severity.is_empty() || one.severity == severity)
            && (words.is_empty() || said.iter().any(|text| text.to_lowercase().contains(&words)))
            && sight.holds(one)
    };
    let after = ledger::place(asked.word("after"));
    let (found, next) = ledger::look(app, |db| incidents::page(db, state == "closed", after, n, &takes))?;
    let next = next.as_ref().map(ledger::cursor);
    let named = names(app, &found.iter().map(|one| one.machine.as_str()).collect::<Vec<_>>());
    let link = |after: &str| {
        let n = if n == PAGE { String::new() } else { n.to_string() };
        let words = [("state", state), ("severity", severity), ("q", query), ("n", &n), ("after", after)];
        format!("/incidents?{}", text::query(&words))
    };
    let choice = |(word, name): (&'static str, &'static str), chosen: &str| Choice { word, name, here: word == chosen };
    let page = Incidents {
        head: Head::new(asked, "Incidents"),
        incidents: found.iter().map(Incident::told).collect(),
        lines: found.iter().zip(&named).map(|(one, name)| line(one, name)).collect(),
        states: STATES.map(|one| choice(one, state)).into(),
        severities: SEVERITIES.iter().map(|word| choice((word, word), severity)).collect(),
        narrows: !query.is_empty() || !severity.is_empty() || state != "open",
        closed: state == "closed",
        kept: matches!(sight, Sight::Of(_)),
        next_link: next.as_deref().map(link).unwrap_or_default(),
        query: query.to_owned(),
        next,
    };
    Answer::page(asked, &page)
}

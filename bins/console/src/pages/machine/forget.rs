//! Forgetting a machine: a page that says what goes, where and what stays; then it goes.

use askama::Template;
use pipe::config::{Config, Place, StageKind};
use registry::known::{Known, Unread};
use registry::{made_rules, tags};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::edit::{Seen, change, find};
use super::machine_query;
use crate::answer::{Answer, Wrong};
use crate::app::App;
use crate::ask::Asked;
use crate::events::{Events, Question};
use crate::pages::Head;
use crate::text;

/// Since when events are counted: all that are stored.
const EVER: &str = "1970";

/// What goes.
#[derive(Debug, Default)]
struct Goes {
    /// Sources whose keys are worthless then.
    sources: Vec<String>,
    /// How many things the snapshots of its sources tell of.
    things: usize,
    /// Changes of the last 30 days.
    changes: usize,
}

/// Something that goes or stays: where it lies, and what it is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ForgetLine")]
pub struct Line {
    place: String,
    what: String,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "forget.html")]
pub struct Forget {
    #[serde(skip)]
    head: Head,
    key: String,
    goes: Vec<Line>,
    stays: Vec<Line>,
    /// What does not hear of it.
    deaf: Option<String>,
    #[serde(skip)]
    base: String,
    #[serde(skip)]
    name: String,
    /// It was ordered.
    done: bool,
}

fn look(known: &Known, key: &str) -> Result<Goes, Unread> {
    let details = known.details()?;
    let parts = details.parts(key)?;
    let things = parts.get("parts").and_then(Value::as_object).into_iter().flatten();
    let history = details.history(key)?;
    let of = |past: &Value| past.get("changes").and_then(Value::as_array).map_or(0, Vec::len);
    Ok(Goes {
        sources: known.sources(key).map(str::to_owned).collect(),
        things: things.map(|(_, list)| list.as_array().map_or(0, Vec::len)).sum(),
        changes: history.as_array().into_iter().flatten().map(of).sum(),
    })
}

fn page(app: &App, asked: &Asked, done: bool) -> Result<(Seen, Forget), Wrong> {
    let config = app.live().config.clone();
    let (seen, known) = find(app, asked, look)?;
    let (tags, rules) = app.registry(|db| {
        let rules = made_rules::all(db)?.into_iter().filter(|rule| rule.machine == seen.key).count();
        Ok((tags::of(db, &seen.key)?, rules))
    })?;
    let line = |place: &str, what: String| Line { place: place.to_owned(), what };
    let (own, others): (Vec<String>, Vec<String>) =
        known.sources.iter().cloned().partition(|source| enrol::sources().contains(&source.as_str()));
    let mut goes = Vec::new();
    if !own.is_empty() {
        let what = "whatever it says is refused until it enrols again, and its enrolments have room for one more";
        goes.push(line("Its keys", format!("{}: {what}", own.join(", "))));
    }
    goes.extend([
        line(
            "Inventory",
            format!("all fields, {} things, {} changes of the last 30 days", known.things, known.changes),
        ),
        line("Tags by hand", if tags.is_empty() { "none".to_owned() } else { tags.join(", ") }),
        line("Rules of Santa that actions made for it", rules.to_string()),
        line("Deliveries and dead letters about it", "those that are not done are dropped".to_owned()),
    ]);
    let mut stays = vec![
        line("Topics", "their lines, until they are older than the topic keeps them".to_owned()),
        line("Audit", "that you forgot it, and when".to_owned()),
    ];
    if !others.is_empty() {
        let what = format!("{}: what they tell of it later makes it known again", others.join(", "));
        stays.push(line("Servers and callers that know it", what));
    }
    stores(&config, asked, &seen, &mut goes, &mut stays);
    let base = format!("/machines/{}", text::part(&seen.key));
    let name = seen.machine.hostname.clone().unwrap_or_else(|| seen.key.clone());
    let mut normalize = config.stages.iter().filter(|stage| stage.runs(StageKind::Normalize));
    let hears = normalize.any(|stage| stage.from.contains(&Place::Changes));
    let deaf = "No stage that normalizes reads `registry:changes`: what the inventory knows of it stays.".to_owned();
    let head = Head::new(asked, format!("Forget {}", text::short(&name)));
    let key = seen.key.clone();
    Ok((seen, Forget { head, key, goes, stays, deaf: (!hears).then_some(deaf), base, name: text::short(&name), done }))
}

/// Its events, store by store: where they can be taken back they go.
fn stores(config: &Config, asked: &Asked, seen: &Seen, goes: &mut Vec<Line>, stays: &mut Vec<Line>) {
    let searched = config.searched().map(|stage| stage.name.clone());
    for stage in config.stages.iter().filter(|stage| stage.runs(StageKind::Store)) {
        let kind = stage.settings.peek("kind").unwrap_or("embedded").to_owned();
        let place = format!("Events in the store {}", stage.name);
        if kind == "http" {
            stays.push(Line { place, what: "all: what was sent on cannot be taken back".to_owned() });
            continue;
        }
        let count = || {
            let query = machine_query(&seen.machine);
            let question = Question { query: &query, since: EVER, ..Question::default() };
            Events::of(config, asked.who.as_ref()).by(&question, "type").ok()
        };
        let counted = (searched.as_deref() == Some(stage.name.as_str())).then(count).flatten();
        let what = counted.map_or("all".to_owned(), |counts| format!("all: {} now", text::number(counts.count)));
        goes.push(Line { place, what });
    }
}

pub fn ask(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let (_, page) = page(app, asked, false)?;
    Answer::page(asked, &page)
}

pub fn forget(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let (seen, page) = page(app, asked, true)?;
    change(app, asked, &seen, |change, tx| change.forget(tx))?;
    Answer::page(asked, &page)
}

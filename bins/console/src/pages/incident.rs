//! One incident: what opened it, what became of it, who was told; take it, comment on it, close it.

use askama::Template;
use event::Time;
use registry::ledger::incidents::{self, Incident};
use registry::orders::{self, Hand};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::incidents::{Line, line, names};
use super::{Head, may_change};
use crate::answer::{Answer, Wrong};
use crate::api::{Kind, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::events::{Events, NoAnswer, Question};
use crate::ledger::{self, Sight};
use crate::text;

/// Events of its history that a page shows; the search behind the link has all of them.
const HISTORY_MAX: u64 = 100;
/// The longest comment, in characters, as `act` keeps it.
const COMMENT_MAX: usize = 2_000;
/// The history begins before its first match: outcomes and incidents have times of their own.
const BEFORE_MS: i64 = 60_000;

/// What is taken of somebody who takes or closes one.
pub const WORDS: &[Word] = &[Word::new("comment", Kind::Text(COMMENT_MAX), "What to say of it").like("on my way")];
/// What is taken of a comment.
pub const COMMENT_WORDS: &[Word] =
    &[Word::new("comment", Kind::Text(COMMENT_MAX), "It").needed().like("a false alarm")];

/// Something that became of it.
struct Step {
    at: String,
    link: String,
    what: &'static str,
    by: String,
    said: String,
}

/// Somebody who was told.
struct Told {
    at: String,
    link: String,
    action: String,
    target: String,
    state: String,
    outcome: String,
    why: String,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "incident.html")]
#[schemars(rename = "IncidentWhole")]
pub struct Page {
    #[serde(skip)]
    head: Head,
    #[serde(flatten)]
    incident: incidents::Told,
    /// The events about it and about what was told of it, newest first.
    #[schemars(with = "Vec<event::Event>")]
    history: Vec<Value>,
    history_away: Option<String>,
    #[serde(skip)]
    line: Line,
    #[serde(skip)]
    key: String,
    #[serde(skip)]
    comment: String,
    #[serde(skip)]
    event_link: String,
    #[serde(skip)]
    search_link: String,
    #[serde(skip)]
    act: Vec<String>,
    #[serde(skip)]
    steps: Vec<Step>,
    #[serde(skip)]
    told: Vec<Told>,
    /// What was just asked for: `act` does it within a second.
    #[serde(skip)]
    asked_for: &'static str,
    #[serde(skip)]
    may_change: bool,
}

/// The incident of the path, if this person sees it.
fn find(app: &App, asked: &Asked) -> Result<Incident, Wrong> {
    let sight = Sight::of(app, asked.who.as_ref())?;
    let found = ledger::look(app, |db| incidents::find(db, asked.part("id")))?;
    found.filter(|one| sight.holds(one)).ok_or_else(|| Wrong::not_found("incident"))
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let incident = find(app, asked)?;
    let query = format!(
        "{} OR ({} AND type:incident_*)",
        text::is("payload.incident", &incident.id),
        text::is("payload.id", &incident.id)
    );
    let since = Time::from_ms(incident.opened.saturating_sub(BEFORE_MS)).to_string();
    let config = app.live().config.clone();
    let history = Events::of(&config, asked.who.as_ref())
        .page(&Question { query: &query, since: &since, until: "" }, HISTORY_MAX, "")
        .map(|page| page.events);
    let (history, away) = match history {
        Ok(history) => (history, None),
        Err(NoAnswer::Question(why, _) | NoAnswer::Away(why)) => (Vec::new(), Some(why)),
    };
    let name = names(app, &[&incident.machine]).pop().unwrap_or_default();
    let open = incident.status != "closed";
    let line = line(&incident, &name);
    let page = Page {
        head: Head::new(asked, text::short(&line.title)),
        line,
        key: if incident.key == incident.machine { String::new() } else { text::short(&incident.key) },
        comment: incident.comment.clone(),
        event_link: format!("/events/{}", text::part(&incident.event)),
        search_link: format!("/events?{}", text::query(&[("q", &query), ("since", &since)])),
        act: incident.act.clone(),
        steps: steps(&history),
        told: history.iter().filter(|event| text::at(event, "/type").starts_with("action_")).map(told).collect(),
        asked_for: ["take", "comment", "close"]
            .into_iter()
            .find(|verb| *verb == asked.word("asked"))
            .unwrap_or_default(),
        may_change: open && may_change(asked),
        incident: incident.told(),
        history,
        history_away: away,
    };
    Answer::page(asked, &page)
}

/// What became of it, newest first as the events are. An event does not say whether somebody took it or spoke: whoever
/// speaks first of all while it is taken has taken it.
fn steps(history: &[Value]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut taken = false;
    let of = history.iter().rev().filter(|event| text::at(event, "/type").starts_with("incident_"));
    let mut all: Vec<&Value> = of.collect();
    // Orders that came within a second were carried out in the same millisecond; its end is the last of them.
    all.sort_by_key(|event| (text::at(event, "/time"), text::at(event, "/type") == "incident_closed"));
    for event in all {
        let payload = |key: &str| text::at(event, &format!("/payload/{key}"));
        let was = std::mem::replace(&mut taken, payload("status") == "taken");
        let (by, comment) = (payload("by"), payload("comment"));
        let what = match text::at(event, "/type") {
            "incident_opened" => "opened",
            "incident_closed" => "closed",
            _ if taken && (!was || (comment.is_empty() && !by.is_empty())) => "taken",
            _ if !comment.is_empty() => "commented",
            _ => "changed",
        };
        steps.push(Step {
            at: text::at(event, "/time").to_owned(),
            link: format!("/events/{}", text::part(text::at(event, "/id"))),
            what,
            by: text::short(by),
            said: if comment.is_empty() { payload("title") } else { comment }.to_owned(),
        });
    }
    steps.reverse();
    steps
}

fn told(event: &Value) -> Told {
    let payload = |key: &str| text::at(event, &format!("/payload/{key}"));
    Told {
        at: text::at(event, "/time").to_owned(),
        link: format!("/events/{}", text::part(text::at(event, "/id"))),
        action: payload("action").to_owned(),
        target: text::short(payload("target")),
        state: payload("state").to_owned(),
        outcome: payload("outcome").to_owned(),
        why: text::short(payload("error")),
    }
}

fn hand(app: &App, asked: &Asked, verb: &str) -> Result<Answer, Wrong> {
    let incident = find(app, asked)?;
    if incident.status == "closed" {
        return Err(Wrong::new(409, "This incident is closed.", "It opens anew with the next match of its probe."));
    }
    let comment = asked.field("comment").trim();
    if verb == "comment" && comment.is_empty() {
        return Err(Wrong::new(400, "A comment says something.", ""));
    }
    if comment.chars().count() > COMMENT_MAX {
        return Err(Wrong::new(400, format!("A comment has at most {COMMENT_MAX} characters."), ""));
    }
    let by = asked.who.as_ref().map(|who| who.name.clone()).unwrap_or_default();
    let target = orders::target(&Hand { incident: incident.id.clone(), by, comment: comment.to_owned() })?;
    ledger::order(app, asked, verb, &[target])?;
    Ok(Answer::done(asked, &format!("/incidents/{}?asked={verb}", text::part(&incident.id))))
}

pub fn take(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    hand(app, asked, "take")
}

pub fn comment(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    hand(app, asked, "comment")
}

pub fn close(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    hand(app, asked, "close")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_became_of_it_in_words() {
        let event = |type_: &str, status: &str, by: &str, comment: &str| json!({"type": type_, "payload": {"status": status, "by": by, "comment": comment, "title": "t"}});
        let history = [
            event("incident_changed", "taken", "bob", ""),
            event("incident_closed", "closed", "bob", "done"),
            event("action_done", "", "", ""),
            event("incident_changed", "taken", "ada", "rebooted"),
            event("incident_changed", "taken", "ada", "on my way"),
            event("incident_changed", "open", "ada", "look"),
            event("incident_changed", "open", "", ""),
            event("incident_opened", "open", "", ""),
        ];
        let words: Vec<&str> = steps(&history).iter().map(|step| step.what).collect();
        assert_eq!(words, ["closed", "taken", "commented", "taken", "commented", "changed", "opened"]);
        let said: Vec<String> = steps(&history).into_iter().skip(5).map(|step| step.said).collect();
        assert_eq!(said, ["t", "t"]);
    }
}

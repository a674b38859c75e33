//! Why an event did or did not match: what each probe says of it, clause by clause, as `zentral explain` tells it.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use askama::Template;
use pipe::config::ProbeConf;
use probe::clauses::{Clauses, Explained, now};
use probe::{Decision, Limits, Val};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Head;
use super::probe::of;
use crate::answer::{Answer, Wrong};
use crate::api::{TEXT, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::events::Events;
use crate::play::{Drawn, Hit, drawn};
use crate::specs::Gate;
use crate::text;

/// Filters that run for one page, and how long they may take together.
const LOOKS_MAX: usize = 200;
const LOOKS_TIME: Duration = Duration::from_secs(2);
/// Filters that said no and are drawn, the nearest first.
const NEAR_MAX: usize = 10;
/// Probes of which a line is said.
const LINES_MAX: usize = 200;

/// What programs may ask.
pub const WORDS: &[Word] = &[Word::new("probe", TEXT, "What this probe says alone; all of them")];

/// What a probe says.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedProbe")]
pub struct Told {
    probe: String,
    #[serde(skip)]
    link: String,
    /// `matched`, `no`, `failed`, or `kept`: its filter does not see the event.
    says: &'static str,
    why: String,
    /// Whether the event carries a match of it.
    then: bool,
    #[serde(skip)]
    nearness: usize,
    #[serde(skip)]
    drawn: Option<Drawn>,
}

impl Told {
    fn new(conf: &ProbeConf, event: &Value, says: &'static str, why: &str) -> Self {
        let matches = event.get("probes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Self {
            link: format!("/probes/{}", text::part(&conf.name)),
            then: matches.iter().any(|one| text::at(one, "/name") == conf.name),
            probe: conf.name.clone(),
            says,
            why: text::short(why),
            nearness: 0,
            drawn: None,
        }
    }

    fn word(&self) -> &'static str {
        match self.says {
            "matched" => "matches",
            "failed" => "failed",
            "no" => "does not match",
            _ => "does not see it",
        }
    }
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "explain.html")]
#[schemars(rename = "Explained")]
pub struct Page {
    #[serde(skip)]
    head: Head,
    #[serde(flatten)]
    event: Hit,
    probes: Vec<Told>,
    /// Probes that were not looked at, or of which there is no room to tell.
    more: usize,
    #[serde(skip)]
    chosen: String,
    #[serde(skip)]
    names: Vec<String>,
}

impl Page {
    /// Whether there are probes that are told of in a line.
    fn has_rest(&self) -> bool {
        self.probes.iter().any(|one| one.drawn.is_none())
    }
}

/// What the filter says, clause by clause.
fn look(told: Told, conf: &ProbeConf, clauses: &Clauses, explained: &Explained) -> Told {
    let (says, why) = match &explained.decision {
        Decision::Yes(_) => ("matched", String::new()),
        Decision::No => ("no", String::new()),
        Decision::Failed(why) => ("failed", why.clone()),
        Decision::Exceeded(limit) => ("failed", Limits::default().exceeded(*limit)),
    };
    let nearness = explained.seen.iter().filter(|seen| seen.truthy > 0).count();
    let drawn = Some(drawn(&conf.filter.source, clauses, explained));
    Told { says, why: text::short(&why), nearness, drawn, ..told }
}

/// Of these probes; and how many were not looked at.
fn tell(app: &App, confs: &[&ProbeConf], event: &Value, val: &Val) -> (Vec<Told>, usize) {
    let (config, begun) = (app.live().config.clone(), Instant::now());
    let (mut all, mut looks, mut more) = (Vec::new(), 0, 0);
    for conf in confs {
        if let Some(kept) = probe::kept(&Gate::of(conf).spec(&conf.filter.source), event) {
            all.push(Told::new(conf, event, "kept", &kept.to_string()));
            continue;
        }
        if looks == LOOKS_MAX || begun.elapsed() > LOOKS_TIME {
            more += 1;
            continue;
        }
        looks += 1;
        let told = Told::new(conf, event, "failed", "");
        all.push(match Clauses::new(&conf.filter.source, &conf.name, &|path: &str| config.module(path)) {
            Ok(clauses) => look(told, conf, &clauses, &clauses.explain(val, now(val, 0), &Limits::default())),
            Err(e) => Told { why: text::short(&e.to_string()), ..told },
        });
    }
    (all, more)
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let config = app.live().config.clone();
    let missing = || Wrong::not_found("event");
    let line = Events::of(&config, asked.who.as_ref()).event(asked.part("id"))?.ok_or_else(missing)?;
    let line = String::from_utf8(line).map_err(|_| missing())?;
    let unread = |e: String| Wrong::new(500, format!("The event cannot be read: {e}"), "");
    let event: Value = serde_json::from_str(&line).map_err(|e| unread(e.to_string()))?;
    let chosen = asked.word("probe");
    let confs: Vec<&ProbeConf> =
        if chosen.is_empty() { config.probes.values().collect() } else { vec![of(&config, chosen)?] };
    let looked = probe::with_stack(|| {
        let val = probe::parse(line.as_bytes()).map_err(|e| e.to_string())?;
        Ok::<_, String>(tell(app, &confs, &event, &val))
    });
    let (mut probes, mut more) = looked.map_err(|e| unread(e.to_string()))?.map_err(unread)?;
    let order = |one: &Told| match one.says {
        "matched" => 0,
        "failed" => 1,
        "no" => 2,
        _ => 3,
    };
    probes.sort_by_key(|one| (order(one), Reverse(one.nearness)));
    more += probes.len().saturating_sub(LINES_MAX);
    probes.truncate(LINES_MAX);
    let (matched, mut near) = (probes.iter().filter(|one| one.says == "matched").count(), 0);
    for one in &mut probes {
        near += usize::from(one.drawn.is_some());
        if near > matched.min(NEAR_MAX) + NEAR_MAX {
            one.drawn = None;
        }
    }
    let mut names: Vec<String> = config.probes.keys().take(LINES_MAX).cloned().collect();
    if !chosen.is_empty() && !names.iter().any(|name| name == chosen) {
        names.push(chosen.to_owned());
    }
    let hit = Hit::new(&line, None);
    let title = format!("Why it matched, or not: {} {}", text::short(text::at(&event, "/type")), hit.at());
    let page = Page { head: Head::new(asked, title), event: hit, probes, more, chosen: chosen.to_owned(), names };
    Answer::page(asked, &page)
}

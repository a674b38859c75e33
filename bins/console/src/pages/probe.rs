//! One probe: what it asks, what decides, what is done, whether its examples hold, what matched.

use askama::Template;
use event::Time;
use pipe::config::{Config, ProbeConf};
use schemars::JsonSchema;
use serde::Serialize;

use super::Head;
use super::chart::{self, Bar, SPAN_WORDS, SPANS};
use super::events::{Line, lines};
use super::prices;
use super::probes::may_try;
use crate::answer::{Answer, Wrong};
use crate::api::{Kind, Word};
use crate::app::App;
use crate::ask::{Asked, Who};
use crate::events::{Events, NoAnswer, Page, Question};
use crate::examples::{self, Checked};
use crate::hub;
use crate::probes::{cost, every, scope, state};
use crate::text;

/// Matches that are shown, the newest.
const MATCHES_MAX: u64 = 20;
/// How far back matches are shown, if nobody says: a word of [`SPANS`].
const SINCE: &str = "24h";
/// Bytes of a filter that a page shows.
const FILTER_SHOWN: usize = 32 << 10;

/// What programs may ask.
pub const WORDS: &[Word] =
    &[Word::new("since", Kind::OneOf(SPAN_WORDS), "How far back matches are told; 24h").like("7d")];

/// The query that osquery runs.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ProbeQuery")]
pub struct Query {
    name: String,
    sql: String,
    /// Seconds.
    interval: u64,
    #[serde(skip)]
    how: String,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "probe.html")]
pub struct Probe {
    #[serde(skip)]
    head: Head,
    name: String,
    title: String,
    why: String,
    severity: String,
    state: &'static str,
    /// Where it stands, from the folder of `pipeline.toml`.
    file: String,
    filter: String,
    query: Option<Query>,
    scope: String,
    act: Vec<String>,
    /// What the filters that run tell of it.
    told: Option<hub::Probe>,
    /// The machines that its query costs most, of those that this person sees; first those on which it is denied.
    dearest: Vec<prices::Dear>,
    hub_away: Option<String>,
    examples: Checked,
    count: u64,
    bars: Vec<Bar>,
    matches: Page,
    events_away: Option<String>,
    #[serde(skip)]
    conditions: Vec<(&'static str, String)>,
    #[serde(skip)]
    figures: Vec<(&'static str, String)>,
    /// The filter as markup, and whether it goes on.
    #[serde(skip)]
    program: String,
    #[serde(skip)]
    cut: bool,
    #[serde(skip)]
    lines: Vec<Line>,
    #[serde(skip)]
    spans: Vec<(&'static str, &'static str, bool)>,
    #[serde(skip)]
    events_link: String,
    #[serde(skip)]
    edit_link: String,
    #[serde(skip)]
    may_try: bool,
    /// What was just done, and that the file on disk is not what is in force.
    #[serde(skip)]
    done: &'static str,
    #[serde(skip)]
    differs: bool,
    /// They are kept to some units, and examples may be of any.
    #[serde(skip)]
    kept: bool,
}

impl Probe {
    /// Machines on which the query is denied, of those that this person sees.
    fn denied(&self) -> u64 {
        if self.kept {
            return self.dearest.iter().filter(|one| one.paid.denied).count() as u64;
        }
        self.told.as_ref().and_then(|told| told.price).map_or(0, |price| price.denied)
    }

    fn counted(&self) -> String {
        text::number(self.count)
    }
}

/// The probe of this name in the configuration in force.
pub fn of<'c>(config: &'c Config, name: &str) -> Result<&'c ProbeConf, Wrong> {
    config.probes.get(name).ok_or_else(|| Wrong::not_found("probe"))
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let config = app.live().config.clone();
    let conf = of(&config, asked.part("name"))?;
    let (told, hub_away) = match app.figures() {
        Ok(all) => (all.get(&conf.name).cloned(), None),
        Err(why) => (None, Some(why)),
    };
    let kept = asked.who.as_ref().is_none_or(|who| !who.units.is_empty());
    let examples = if kept { Checked::default() } else { examples::check(&config, conf, &conf.filter.source) };
    let query = text::is("probes.name", &conf.name);
    let span = SPANS.iter().find(|(word, ..)| *word == asked.word("since")).or(SPANS.iter().find(|s| s.0 == SINCE));
    let (since, step) = span.map_or((SINCE, "30m"), |(since, step, _)| (since, step));
    let looked = look(&config, asked.who.as_ref(), &Question { query: &query, since, until: "" }, step);
    let (found, events_away) = match looked {
        Ok(found) => (found, None),
        Err(why) => (Looked::default(), Some(why.text().to_owned())),
    };
    let query_name = conf.query_name().unwrap_or_default();
    let dearest = prices::dearest(app, asked.who.as_ref(), &query_name)?;
    let (title, why) = probe::describe(&conf.filter.source);
    let shown: String = conf.filter.source.chars().take(FILTER_SHOWN).collect();
    let page = Probe {
        head: Head::new(asked, conf.name.clone()),
        title: text::short(&title),
        why,
        severity: conf.severity.clone(),
        state: state(conf, told.as_ref()),
        file: place(&config, conf),
        query: conf.query.as_ref().zip(conf.query_name()).map(|(query, name)| Query {
            name,
            sql: query.sql.clone(),
            interval: query.interval_s,
            how: how(conf),
        }),
        scope: scope(conf),
        act: conf.act.clone(),
        conditions: conditions(conf),
        figures: told.as_ref().map(figures).unwrap_or_default(),
        told,
        dearest,
        hub_away,
        examples,
        count: found.count,
        bars: found.bars,
        lines: lines(&found.page.events),
        matches: found.page,
        events_away,
        program: text::program(&shown),
        cut: shown.len() < conf.filter.source.len(),
        filter: conf.filter.source.clone(),
        spans: SPANS.iter().map(|(word, _, name)| (*word, *name, *word == since)).collect(),
        events_link: format!("/events?{}", text::query(&[("q", &query), ("since", since)])),
        edit_link: format!("/probes/{}/edit", text::part(&conf.name)),
        may_try: may_try(asked.who.as_ref()),
        done: match (asked.word("saved"), asked.word("added")) {
            ("", "") => "",
            ("", _) => "The test is added.",
            _ => "Saved.",
        },
        differs: differs(conf),
        kept,
        name: conf.name.clone(),
    };
    Answer::page(asked, &page)
}

#[derive(Default)]
struct Looked {
    count: u64,
    bars: Vec<Bar>,
    page: Page,
}

fn look(config: &Config, who: Option<&Who>, question: &Question<'_>, step: &str) -> Result<Looked, NoAnswer> {
    let events = Events::of(config, who);
    let counts = events.every(question, step)?;
    let bars = chart::bars(&counts, question.since, step, Time::now());
    Ok(Looked { count: counts.count, bars, page: events.page(question, MATCHES_MAX, "")? })
}

/// Where a filter stands, as people write it.
pub fn place(config: &Config, conf: &ProbeConf) -> String {
    let file = conf.filter.file.as_deref().unwrap_or_else(|| conf.settings.file());
    let near = |path: &std::path::Path| path.strip_prefix(&config.base).unwrap_or(path).display().to_string();
    match conf.filter.file {
        Some(_) => near(file),
        None => format!("{}, [probe.{}]", near(file), conf.name),
    }
}

/// How its query runs, in words.
pub fn how(conf: &ProbeConf) -> String {
    let Some(query) = &conf.query else { return String::new() };
    let what = match (query.snapshot, query.removed) {
        (true, _) => "all rows each time",
        (false, true) => "what came and what went",
        (false, false) => "what came",
    };
    let first = if conf.first_run { ", the first run as well" } else { "" };
    format!("every {}, {what}{first}", every(query.interval_s))
}

/// Whether the file of a filter has another text by now. Of a table that is not looked for: it takes reading all files.
fn differs(conf: &ProbeConf) -> bool {
    let short =
        |path: &std::path::PathBuf| std::fs::metadata(path).is_ok_and(|found| found.len() <= FILTER_SHOWN as u64 * 4);
    let file = conf.filter.file.as_ref().filter(|path| short(path));
    let text = file.and_then(|path| std::fs::read_to_string(path).ok());
    text.is_some_and(|text| text != conf.filter.source)
}

/// What holds an action back.
pub fn conditions(conf: &ProbeConf) -> Vec<(&'static str, String)> {
    let seconds = |time: std::time::Duration| every(time.as_secs());
    let jq = |text: &pipe::config::FilterText| text::short(&text.source);
    let mut all = vec![("Matches of one key", conf.by.as_ref().map_or_else(|| "machine_key".to_owned(), jq))];
    if let Some(throttle) = conf.throttle {
        all.push(("Held back after one", seconds(throttle)));
    }
    if let Some(window) = conf.window {
        all.push(("Acts at", format!("{} matches within {}", window.count, seconds(window.within))));
    }
    if let Some(until) = &conf.until {
        all.push(("An incident until", jq(until)));
    }
    if conf.shadow {
        all.push(("Shadow", "matched and shown, not acted upon".to_owned()));
    }
    all
}

/// What the filters tell, in words.
fn figures(told: &hub::Probe) -> Vec<(&'static str, String)> {
    let decided = match told.decided.as_deref() {
        Some("index") => "by the index; jq only makes what a match carries",
        Some("index_and_jq") => "by the index, and by jq where it does not rule it out",
        Some("jq") => "by jq at every event: `zentral check` says what would change that",
        _ => "",
    };
    let failed = told.failed.iter().map(|(reason, n)| format!("{n} {reason}")).collect::<Vec<_>>().join(", ");
    let all = [
        ("Decided", decided.to_owned()),
        ("jq ran on", format!("{} events", text::number(told.runs))),
        ("Time of jq", cost(told.seconds, told.runs)),
        ("Failed", failed),
        ("A run on a machine", told.price.as_ref().map(prices::summary).unwrap_or_default()),
        ("Switched off", told.off.clone().unwrap_or_default()),
        ("Nobody runs its query since", told.query_silent.as_deref().map(text::time).unwrap_or_default()),
        ("This text since", told.since.as_deref().map(text::time).unwrap_or_default()),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

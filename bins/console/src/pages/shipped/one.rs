//! One probe that ships: what it tells, what it asks and costs, whether its examples hold; taken, or its files.

use askama::Template;
use hyper::header::CONTENT_DISPOSITION;
use pipe::config::Config;
use probe::Standing;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use registry::users;

use super::unread;
use crate::answer::{Answer, Wrong};
use crate::api::{Kind, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::edit::{Disk, Unsaved, take};
use crate::examples::{self, Checked};
use crate::pages::probe::{conditions, how};
use crate::pages::probes::may_try;
use crate::pages::{Head, may_change};
use crate::probes::scope;
use crate::shelf::{self, Item};
use crate::text;

/// The query that osquery runs.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ShippedQuery")]
pub struct Query {
    sql: String,
    /// Seconds.
    interval: u64,
    #[serde(skip)]
    how: String,
    /// Runs a day on each machine.
    #[serde(skip)]
    runs: u64,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "shipped_one.html")]
#[schemars(rename = "ShippedProbe")]
pub struct One {
    #[serde(skip)]
    head: Head,
    name: String,
    title: String,
    why: String,
    severity: String,
    platforms: Vec<String>,
    sources: Vec<String>,
    query: Option<Query>,
    filter: String,
    /// Names of its files.
    files: Vec<String>,
    /// This hub has a probe of this name.
    here: bool,
    examples: Checked,
    #[serde(skip)]
    conditions: Vec<(&'static str, String)>,
    #[serde(skip)]
    scope: String,
    #[serde(skip)]
    decided: &'static str,
    /// Of jq for one event.
    #[serde(skip)]
    costs: String,
    #[serde(skip)]
    program: String,
    /// The same as a value of a form.
    #[serde(skip)]
    quoted: String,
    #[serde(skip)]
    table: String,
    /// Why this person cannot take it here; none: they can.
    #[serde(skip)]
    fixed: Option<String>,
    /// Where its files belong, from the folder of `pipeline.toml`.
    #[serde(skip)]
    folder: String,
    #[serde(skip)]
    actions: Vec<String>,
    /// It was just taken.
    #[serde(skip)]
    taken: bool,
    #[serde(skip)]
    may_try: bool,
    #[serde(skip)]
    ask_link: String,
}

impl Query {
    /// How often it runs, in words.
    fn often(&self) -> String {
        let times = if self.runs == 1 { "time" } else { "times" };
        format!("{} {times} a day", text::number(self.runs))
    }
}

impl One {
    fn link(&self) -> String {
        format!("/shipped/{}", text::part(&self.name))
    }

    fn probe_link(&self) -> String {
        format!("/probes/{}", text::part(&self.name))
    }
}

/// What is taken.
pub const TAKE_WORDS: &[Word] =
    &[Word::new("act", Kind::List, "Actions that tell of its matches; those of `[probes]`, if there are")];

/// It was taken.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ProbeTaken")]
pub struct Taken {
    taken: bool,
    probe: String,
    /// The files that were written.
    files: Vec<String>,
    act: Vec<String>,
}

/// Looks at the probe that the path names.
fn with<T>(asked: &Asked, look: impl FnOnce(&Item) -> Result<T, Wrong>) -> Result<T, Wrong> {
    let all = shelf::all().map_err(unread)?;
    let item = all.iter().find(|item| item.conf.name == asked.part("name"));
    look(item.ok_or_else(|| Wrong::not_found("probe that ships"))?)
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    with(asked, |item| {
        let config = app.live().config.clone();
        let (name, cost) = (item.conf.name.clone(), item.cost(&config));
        let sql = item.conf.query.as_ref().map_or("", |query| query.sql.trim());
        let page = One {
            title: item.title.clone(),
            why: item.why.clone(),
            severity: item.conf.severity.clone(),
            platforms: item.conf.scope.platforms.clone(),
            sources: item.sources.clone(),
            query: item.conf.query.as_ref().map(|query| Query {
                sql: sql.to_owned(),
                interval: query.interval_s,
                how: how(&item.conf),
                runs: 86_400 / query.interval_s.max(1),
            }),
            filter: item.files.filter.to_owned(),
            files: item.files.files().map(|(name, _)| name).to_vec(),
            here: config.probes.contains_key(&name),
            examples: examples::of(&config, &name, item.files.filter, item.files.examples),
            conditions: conditions(&item.conf),
            scope: scope(&item.conf),
            decided: cost.map(|(standing, _)| decided(standing)).unwrap_or_default(),
            costs: cost.map(|(_, cost)| micro(cost.each)).unwrap_or_default(),
            program: text::program(item.files.filter),
            quoted: text::program(item.files.filter).replace('"', "&quot;"),
            table: text::program(item.files.table),
            fixed: fixed(app, asked),
            folder: near(&config),
            actions: actions(&config, asked),
            taken: asked.word("taken") == "1",
            may_try: may_try(asked.who.as_ref()),
            ask_link: format!("/query?{}", text::query(&[("sql", sql)])),
            head: Head { address: format!("/shipped/{}", text::part(&name)), ..Head::new(asked, name.clone()) },
            name,
        };
        Answer::page(asked, &page)
    })
}

/// Where its files belong; without a folder in `include`, the one that `zentral init` makes.
fn near(config: &Config) -> String {
    let folder = take::folder(config).ok();
    let near = folder.map(|folder| folder.strip_prefix(&config.base).unwrap_or(&folder).display().to_string());
    near.filter(|near| !near.is_empty()).unwrap_or_else(|| "probes".to_owned())
}

/// The actions that it may tell; which there are is for those who see all units.
fn actions(config: &Config, asked: &Asked) -> Vec<String> {
    let whole = asked.who.as_ref().is_some_and(|who| who.units.is_empty());
    if whole { config.actions.keys().cloned().collect() } else { Vec::new() }
}

fn decided(standing: Standing) -> &'static str {
    match standing {
        Standing::Native => "by the index; jq only makes what a match carries",
        Standing::Indexed => "by the index, and by jq where it does not rule it out",
        Standing::Always => "by jq at every event that it is asked about",
    }
}

/// `8.1 µs`
fn micro(time: std::time::Duration) -> String {
    let nanos = time.as_nanos();
    format!("{}.{} µs", nanos / 1000, nanos % 1000 / 100)
}

/// Why this person cannot take it here; none: they can.
fn fixed(app: &App, asked: &Asked) -> Option<String> {
    let live = app.live();
    if !may_change(asked) {
        return Some("An editor takes it.".into());
    }
    if asked.who.as_ref().is_none_or(|who| !who.units.is_empty()) {
        return Some("A probe is about machines of all units: who is kept to some changes none.".into());
    }
    if !live.conf.edit {
        return Some("The console does not write files here: `edit = true` under [stage.console] lets it.".into());
    }
    take::folder(&live.config).err()
}

pub fn take(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    with(asked, |item| {
        if let Some(why) = fixed(app, asked) {
            return Err(Wrong::new(403, why, "Its files can be taken one by one."));
        }
        let act: Vec<&str> = asked.field("act").split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        match write(app, asked, item, &act) {
            Ok(files) if asked.json => {
                let act = act.iter().map(|name| (*name).to_owned()).collect();
                Answer::json(&Taken { taken: true, probe: item.conf.name.clone(), files, act })
            }
            Ok(_) => Ok(Answer::to(&format!("/shipped/{}?taken=1", text::part(&item.conf.name)))),
            Err(Unsaved::Registry(e)) => Err(e.into()),
            Err(Unsaved::Wrong(errors)) => {
                let found = errors.iter().flat_map(|error| &error.problems).map(ToString::to_string);
                let text = format!("With it the filters do not compile:\n{}", found.collect::<Vec<_>>().join("\n"));
                Err(Wrong::new(409, text, "Nothing was written."))
            }
            Err(Unsaved::Not(why)) => Err(Wrong::new(409, why, "Nothing was written.")),
            Err(Unsaved::Changed(_)) => Err(Wrong::new(409, "It was changed meanwhile.", "Nothing was written.")),
        }
    })
}

/// Writes the files, and who did it into the same transaction: what cannot be told is not done.
fn write(app: &App, asked: &Asked, item: &Item, act: &[&str]) -> Result<Vec<String>, Unsaved> {
    let _leave = app.writing();
    let disk = Disk::read(&app.live().config).map_err(Unsaved::Not)?;
    let ready = disk.prepare_taken(item, act)?;
    let what = json!({"probe": item.conf.name, "files": ready.names, "act": act});
    app.write(|tx, now| {
        users::audit(tx, &asked.by(), "probe_taken", what, now)?;
        ready.write()
    })?;
    Ok(ready.names)
}

/// One of its files.
pub fn file(_: &App, asked: &Asked) -> Result<Answer, Wrong> {
    with(asked, |item| {
        let found = item.files.files().into_iter().find(|(name, _)| *name == asked.part("file"));
        let (name, text) = found.ok_or_else(|| Wrong::not_found("file"))?;
        let answer = Answer::file("text/plain; charset=utf-8", text.as_bytes().to_vec());
        Ok(answer.header(CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\"")))
    })
}

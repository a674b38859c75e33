//! Asking machines now: the form, whom it reaches before anything is sent, what was asked before.

use askama::Template;
use event::Time;
use pipe::config::PLATFORMS;
use registry::live::{self, Ask, Asked as Query, Means};
use registry::orders;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Head;
use crate::answer::{Answer, Wrong};
use crate::api::{Kind, TEXT, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::live::{SQL_MAX, Wanted, reached};
use crate::text;

/// Earlier queries on a page.
const PAGE: u64 = 20;
/// How long a query may wait, to choose from.
const WAITS: [(&str, &str); 4] = [("5m", "5 minutes"), ("1h", "an hour"), ("1d", "a day"), ("7d", "a week")];

/// What programs may ask.
pub const WORDS: &[Word] = &[Word::new("before", TEXT, "`next` of the page before; without it the first page")];
/// What is taken to ask machines.
pub const ASK_WORDS: &[Word] = &[
    Word::new("sql", Kind::Text(SQL_MAX), "The query, as osquery takes it")
        .needed()
        .like("select version from osquery_info"),
    Word::new("platform", Kind::List, "Machines of these platforms").like("macos,linux"),
    Word::new("unit", Kind::List, "Machines of these units"),
    Word::new("tag", Kind::List, "Machines with one of these tags"),
    Word::new("machines", Kind::List, "These machines"),
    Word::new("scope", TEXT, "Lists as `zentral query --scope` takes them: `not_tags=lab groups=staff`"),
    Word::new("wait", Kind::Age, "How long it asks, at most 7d; 5m").like("1h"),
    Word::new("max", Kind::Number(1, i64::MAX), "So many machines at most").like("10"),
    Word::new("sure", Kind::Flag, "Ask them; without it the answer says how many it would reach"),
];

/// A query for a program.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Query")]
pub struct Told {
    /// Its id.
    query: String,
    sql: String,
    /// Whom it is for.
    scope: Value,
    by: Option<String>,
    /// `asking`, `ended` or `cancelled`.
    state: &'static str,
    asked: Time,
    until: Time,
    max: Option<u64>,
}

/// A query that was sent.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "QuerySent")]
pub struct Sent {
    /// Its id.
    query: String,
    /// How many it reaches.
    machines: u64,
}

/// A query that was asked.
pub struct Line {
    pub link: String,
    pub sql: String,
    pub whom: String,
    pub who: String,
    pub at: String,
    pub until: String,
    /// `asking`, `ended` or `cancelled`.
    pub state: &'static str,
}

/// A query in words.
pub fn line(one: &Query, now: i64) -> Line {
    let whom = serde_json::from_str::<pipe::config::Whom>(&one.query.scope);
    Line {
        link: format!("/query/{}", text::part(&one.query.id)),
        sql: one.query.sql.clone(),
        whom: whom.map_or_else(|_| one.query.scope.clone(), |whom| whom.to_string()),
        who: one.who.clone().unwrap_or_default(),
        at: Time::from_ms(one.created).to_string(),
        until: Time::from_ms(one.cancelled.unwrap_or(one.query.until)).to_string(),
        state: match one.cancelled {
            Some(_) => "cancelled",
            None if one.is_open(now) => "asking",
            None => "ended",
        },
    }
}

/// The same for a program.
pub fn told(one: &Query, now: i64) -> Told {
    Told {
        query: one.query.id.clone(),
        sql: one.query.sql.clone(),
        scope: serde_json::from_str(&one.query.scope).unwrap_or_default(),
        by: one.who.clone(),
        state: line(one, now).state,
        asked: Time::from_ms(one.created),
        until: Time::from_ms(one.query.until),
        max: one.query.max,
    }
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "query_form.html")]
#[schemars(rename = "Queries")]
pub struct Form {
    #[serde(skip)]
    head: Head,
    queries: Vec<Told>,
    next: Option<String>,
    #[serde(skip)]
    lines: Vec<Line>,
    #[serde(skip)]
    sql: String,
    #[serde(skip)]
    platforms: Vec<&'static str>,
    #[serde(skip)]
    units: Vec<String>,
    #[serde(skip)]
    waits: Vec<(&'static str, &'static str)>,
    #[serde(skip)]
    next_link: String,
}

pub fn form(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let units = asked.who.as_ref().map(|who| who.units.clone()).unwrap_or_default();
    let by = asked.by().who;
    let whose = (!units.is_empty()).then_some(by.as_str());
    let mut all = app.registry(|db| live::asked_by(db, whose, asked.word("before"), PAGE + 1))?;
    let more = all.len() as u64 > PAGE;
    all.truncate(usize::try_from(PAGE).unwrap_or(usize::MAX));
    let next = all.last().filter(|_| more).map(|last| last.query.id.clone());
    let now = Time::now().ms();
    let page = Form {
        head: Head::new(asked, "Live query"),
        queries: all.iter().map(|one| told(one, now)).collect(),
        lines: all.iter().map(|one| Line { sql: text::short(&one.query.sql), ..line(one, now) }).collect(),
        sql: asked.word("sql").to_owned(),
        platforms: PLATFORMS.to_vec(),
        units: if units.is_empty() { app.live().config.units.keys().cloned().collect() } else { units },
        waits: WAITS.to_vec(),
        next_link: next
            .as_deref()
            .map(|next| format!("/query?{}", text::query(&[("before", next)])))
            .unwrap_or_default(),
        next,
    };
    Answer::page(asked, &page)
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "query_sure.html")]
#[schemars(rename = "QueryReach")]
pub struct Sure {
    #[serde(skip)]
    head: Head,
    /// How many it would reach.
    machines: u64,
    #[serde(skip)]
    names: Vec<String>,
    #[serde(skip)]
    asked: u64,
    #[serde(skip)]
    wanted: Wanted,
    #[serde(skip)]
    scope: String,
    #[serde(skip)]
    max: String,
}

impl Sure {
    fn more(&self) -> u64 {
        self.machines.saturating_sub(self.names.len() as u64)
    }
}

/// First it says whom it would reach; with `sure` it asks them.
pub fn ask(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let wanted = Wanted::read(app, asked)?;
    let (machines, names) = reached(app, &wanted.whom)?;
    if !asked.says_yes("sure") || machines == 0 {
        let page = Sure {
            head: Head { address: "/query".to_owned(), ..Head::new(asked, "Live query") },
            machines,
            names,
            asked: wanted.max.map_or(machines, |max| max.min(machines)),
            scope: wanted.whom.to_string(),
            max: wanted.max.map(|max| max.to_string()).unwrap_or_default(),
            wanted,
        };
        return Answer::page(asked, &page);
    }
    let (scope, means) = (orders::target(&wanted.whom)?, Means::default());
    let id = app.write(|tx, now| {
        let until = now.ms().saturating_add(wanted.wait.1);
        let ask = Ask { sql: &wanted.sql, means: &means, scope: &scope, until, max: wanted.max };
        live::ask_by(tx, &ask, machines, &asked.by(), now)
    })?;
    if asked.json {
        return Ok(Answer::json(&Sent { query: id, machines })?.status(201));
    }
    Ok(Answer::to(&format!("/query/{}", text::part(&id))))
}

//! The probes that ship, to be looked through and taken.

pub mod one;

use std::collections::BTreeSet;

use askama::Template;
use pipe::config::SEVERITIES;
use schemars::JsonSchema;
use serde::Serialize;

use super::Head;
use crate::answer::{Answer, Wrong};
use crate::api::{TEXT, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::probes::{every, scope};
use crate::shelf::{self, Item};
use crate::text;

/// A probe in the list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ShippedLine")]
pub struct Row {
    name: String,
    title: String,
    severity: String,
    /// Empty: all.
    platforms: Vec<String>,
    sources: Vec<String>,
    /// Seconds between two runs of its query; none: it has none.
    interval: Option<u64>,
    /// Whether this hub has a probe of its name.
    here: bool,
    #[serde(skip)]
    scope: String,
}

impl Row {
    fn link(&self) -> String {
        format!("/shipped/{}", text::part(&self.name))
    }

    fn every(&self) -> String {
        self.interval.map(every).unwrap_or_default()
    }
}

/// What narrows the list.
#[derive(Debug)]
struct Wanted {
    text: String,
    platform: String,
    source: String,
    severity: String,
}

impl Wanted {
    fn takes(&self, item: &Item) -> bool {
        let (conf, lower) = (&item.conf, self.text.to_lowercase());
        let has = |text: &str| text.to_lowercase().contains(&lower);
        let platforms = &conf.scope.platforms;
        let sql = conf.query.as_ref().map_or("", |query| query.sql.as_str());
        (lower.is_empty() || [&conf.name, &item.title, &item.why].into_iter().any(|text| has(text)) || has(sql))
            && (self.platform.is_empty() || platforms.is_empty() || platforms.contains(&self.platform))
            && (self.source.is_empty() || item.sources.contains(&self.source))
            && (self.severity.is_empty() || conf.severity == self.severity)
    }
}

/// What is taken.
pub const WORDS: &[Word] = &[
    Word::new("q", TEXT, "Those that hold this text; all"),
    Word::new("platform", TEXT, "Those for this platform").like("macos"),
    Word::new("source", TEXT, "Those about what this source tells").like("osquery"),
    Word::new("severity", TEXT, "Those of this severity").like("major"),
];

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "shipped.html")]
#[schemars(rename = "ShippedProbes")]
pub struct Shelf {
    #[serde(skip)]
    head: Head,
    total: usize,
    #[serde(rename = "probes")]
    rows: Vec<Row>,
    #[serde(skip)]
    wanted: Wanted,
    #[serde(skip)]
    platforms: Vec<String>,
    #[serde(skip)]
    sources: Vec<String>,
    #[serde(skip)]
    severities: Vec<&'static str>,
}

/// What ships cannot be read: the machine of the hub has no room for a moment's files.
fn unread(why: String) -> Wrong {
    Wrong::new(503, why, "They also lie in the folder `filters` of the program's sources.")
}

pub fn list(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let (config, all) = (app.live().config.clone(), shelf::all().map_err(unread)?);
    let word = |name: &str| asked.word(name).to_owned();
    let wanted =
        Wanted { text: word("q"), platform: word("platform"), source: word("source"), severity: word("severity") };
    let row = |item: &Item| Row {
        name: item.conf.name.clone(),
        title: item.title.clone(),
        severity: item.conf.severity.clone(),
        platforms: item.conf.scope.platforms.clone(),
        sources: item.sources.clone(),
        interval: item.conf.query.as_ref().map(|query| query.interval_s),
        here: config.probes.contains_key(&item.conf.name),
        scope: scope(&item.conf),
    };
    let rows: Vec<Row> = all.iter().filter(|item| wanted.takes(item)).map(row).collect();
    let each = |of: fn(&Item) -> &Vec<String>| {
        let words: BTreeSet<&String> = all.iter().flat_map(of).collect();
        words.into_iter().cloned().collect::<Vec<String>>()
    };
    let page = Shelf {
        head: Head::new(asked, "Probes that ship"),
        total: rows.len(),
        rows,
        platforms: each(|item| &item.conf.scope.platforms),
        sources: each(|item| &item.sources),
        severities: SEVERITIES.to_vec(),
        wanted,
    };
    Answer::page(asked, &page)
}

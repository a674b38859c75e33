//! Enrol: for each unit and source how many machines came, the enrolments that let them in, and how a new one is made.

pub mod one;

use std::collections::BTreeMap;

use askama::Template;
use enrol::{QUOTA_MAX, Wanted};
use event::Time;
use registry::enrolments::{self, Enrolment};
use registry::tally::{self, Used};
use registry::users::Role;
use schemars::JsonSchema;
use serde::Serialize;

use super::Head;
use crate::answer::{Answer, Wrong};
use crate::api::{Kind, TEXT, Word};
use crate::app::App;
use crate::ask::{Asked, Who};
use crate::text;

/// Enrolments on a page.
const PAGE: usize = 100;
/// Units and sources that are shown.
const FLEET_MAX: usize = 500;

/// What programs may ask.
pub const WORDS: &[Word] = &[Word::after()];
/// What is taken of a new one.
pub const MAKE_WORDS: &[Word] = &[
    Word::new("unit", TEXT, "The unit that its machines come into; the only one that there is"),
    Word::new("source", TEXT, "What enrols by it").needed().like("osquery"),
    Word::new("quota", Kind::Number(1, QUOTA_MAX as i64), "Machines that it lets in; any number").like("200"),
    Word::new("expires", Kind::Age, "When it ends, from now on; never").like("30d"),
    Word::new("tags", Kind::List, "Tags that its machines have").like("lab"),
    Word::new("client_certificate", Kind::Flag, "Its machines must show a certificate"),
];

/// One that was just made.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EnrolmentMade")]
pub struct Made {
    /// What machines enrol with.
    secret: String,
    #[serde(flatten)]
    row: Row,
}

/// The machines of one unit that speak by one source.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Enrolled")]
pub struct Fleet {
    unit: String,
    source: String,
    machines: u64,
    enrolled: Time,
    seen: Time,
    #[serde(skip)]
    link: String,
}

impl Fleet {
    fn number(&self) -> String {
        text::number(self.machines)
    }
}

/// An enrolment as pages show one.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Enrolment")]
pub struct Row {
    pub id: String,
    pub unit: String,
    pub source: String,
    pub quota: Option<u64>,
    /// Distinct machines that it let in.
    pub used: u64,
    /// When the last came.
    pub last: Option<Time>,
    pub created: Time,
    pub expires: Option<Time>,
    pub tags: Vec<String>,
    pub client_certificate: bool,
    /// `open`, `used up`, `expired`, `revoked`.
    pub state: &'static str,
}

impl Row {
    pub fn of(e: Enrolment, used: Used, now: i64) -> Self {
        let state = match &e {
            e if e.revoked => "revoked",
            e if e.expires.is_some_and(|end| end <= now) => "expired",
            e if e.quota.is_some_and(|quota| quota <= used.machines) => "used up",
            _ => "open",
        };
        Self {
            id: e.id,
            unit: e.unit,
            source: e.source,
            quota: e.quota,
            used: used.machines,
            last: used.last,
            created: Time::from_ms(e.created),
            expires: e.expires.map(Time::from_ms),
            tags: e.tags,
            client_certificate: e.client_certificate,
            state,
        }
    }

    /// `3` or `3 of 200`.
    pub fn machines(&self) -> String {
        let used = text::number(self.used);
        self.quota.map_or(used.clone(), |quota| format!("{used} of {}", text::number(quota)))
    }
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "enrol.html")]
#[schemars(rename = "Enrolments")]
pub struct Enrol {
    #[serde(skip)]
    head: Head,
    machines: Vec<Fleet>,
    /// Why nothing is known of machines.
    machines_away: Option<String>,
    enrolments: Vec<Row>,
    total: usize,
    next: Option<String>,
    #[serde(skip)]
    units: Vec<String>,
    #[serde(skip)]
    sources: Vec<&'static str>,
    #[serde(skip)]
    certificates: bool,
    #[serde(skip)]
    editor: bool,
}

/// Whether this person changes things.
pub fn edits(asked: &Asked) -> bool {
    asked.who.as_ref().is_some_and(|who| who.role >= Role::Editor)
}

pub fn list(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let config = app.live().config.clone();
    let sees = |unit: &str| asked.who.as_ref().is_some_and(|who| who.sees(Some(unit)));
    let mut all = app.registry(enrolments::list)?;
    all.retain(|one| sees(&one.unit));
    let (machines, used, machines_away) = match counted(app, asked.who.as_ref()) {
        Ok((machines, used)) => (machines, used, None),
        Err(wrong) => (Vec::new(), BTreeMap::new(), Some(wrong.text)),
    };
    let (total, now) = (all.len(), Time::now().ms());
    let row = |one: Enrolment| {
        let used = used.get(&one.id).copied().unwrap_or_default();
        Row::of(one, used, now)
    };
    let mut rows: Vec<Row> = all.into_iter().rev().map(row).collect();
    // Those that let nobody in any more come last; in both parts the newest first.
    rows.sort_by_key(|row| row.state != "open");
    let (enrolments, next) = page(rows, asked.word("after"));
    let page = Enrol {
        head: Head { address: "/enrol".to_owned(), ..Head::new(asked, "Enrol") },
        machines,
        machines_away,
        enrolments,
        total,
        next,
        units: config.units.keys().filter(|unit| sees(unit)).cloned().collect(),
        sources: enrol::sources(),
        certificates: enrol::asks_for_certificates(&config),
        editor: edits(asked),
    };
    Answer::page(asked, &page)
}

/// The rows behind the one of this id, and the id behind which there are more.
fn page(rows: Vec<Row>, after: &str) -> (Vec<Row>, Option<String>) {
    let begin = rows.iter().position(|row| row.id == after).map_or(0, |at| at + 1);
    let more = rows.len() > begin + PAGE;
    let rows: Vec<Row> = rows.into_iter().skip(begin).take(PAGE).collect();
    let next = rows.last().filter(|_| more).map(|row| row.id.clone());
    (rows, next)
}

fn counted(app: &App, who: Option<&Who>) -> Result<(Vec<Fleet>, BTreeMap<String, Used>), Wrong> {
    let counted = |db: &_| Ok((tally::by_unit(db)?, tally::by_enrolment(db)?));
    let (fleets, used) = app.machines(|known| known.enrolled(counted))?.unwrap_or_default();
    let fleets = fleets.into_iter().filter(|fleet| who.is_some_and(|who| who.sees(Some(&fleet.unit))));
    let fleet = |one: tally::Tally| Fleet {
        link: format!("/machines?{}", text::query(&[("unit", &one.unit), ("source", &one.source)])),
        unit: one.unit,
        source: one.source,
        machines: one.machines,
        enrolled: one.enrolled,
        seen: one.seen,
    };
    Ok((fleets.take(FLEET_MAX).map(fleet).collect(), used))
}

pub fn make(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let config = app.live().config.clone();
    let said = |field: &str| Some(asked.field(field).trim().to_owned()).filter(|text| !text.is_empty());
    let quota = said("quota").map(|text| text.parse().map_err(|_| Wrong::new(400, "quota: is no number", "")));
    let tags = asked.field("tags").split([',', ' ']).map(str::to_owned).collect();
    let wanted = Wanted {
        unit: unit_of(asked, said("unit"))?,
        source: said("source").unwrap_or_default(),
        quota: quota.transpose()?,
        expires: said("expires"),
        tags,
        client_certificate: asked.says_yes("client_certificate"),
    };
    let made = app.write(|tx, now| enrol::make(&config, tx, wanted, &asked.by(), now))?;
    if !asked.json {
        return Ok(Answer::to(&format!("/enrol/{}", made.id)));
    }
    let secret = enrol::secret(&config, &made)?;
    let row = Row::of(made, Used::default(), Time::now().ms());
    Ok(Answer::json(&Made { secret, row })?.status(201))
}

/// The unit that is asked for; of somebody who is kept to one that one, and never one that they do not see.
fn unit_of(asked: &Asked, unit: Option<String>) -> Result<Option<String>, Wrong> {
    let units = asked.who.as_ref().map(|who| who.units.as_slice()).unwrap_or_default();
    match (unit, units) {
        (unit, []) => Ok(unit),
        (None, [own]) => Ok(Some(own.clone())),
        (Some(unit), units) if units.contains(&unit) => Ok(Some(unit)),
        (_, units) => Err(Wrong::new(400, format!("unit: say one of {}", units.join(", ")), "")),
    }
}

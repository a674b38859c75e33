//! The list of probes.

use askama::Template;
use event::Machine;
use pipe::config::SEVERITIES;
use schemars::JsonSchema;
use serde::Serialize;

use super::Head;
use super::machine::edit::called;
use crate::answer::{Answer, Wrong};
use crate::api::{Kind, TEXT, Word};
use crate::app::App;
use crate::ask::{Asked, Who};
use crate::events::{Events, Question};
use crate::probes::{Known, ORDERS, Row, Wanted, list as listed};
use crate::routes::Area;
use crate::text;

/// How far back matches are counted.
const SINCE: &str = "24h";

/// A column that the list can be sorted by.
struct Column {
    name: &'static str,
    link: String,
    sorted: &'static str,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "probes.html")]
pub struct Probes {
    #[serde(skip)]
    head: Head,
    total: usize,
    #[serde(rename = "probes")]
    rows: Vec<Row>,
    next: Option<String>,
    /// Why nothing is known of what the filters do.
    hub_away: Option<String>,
    /// Why no matches are counted.
    events_away: Option<String>,
    /// More probes matched than the store counts by: those with fewest matches have no number.
    uncounted: bool,
    #[serde(skip)]
    wanted: Wanted,
    #[serde(skip)]
    sort: String,
    #[serde(skip)]
    severities: Vec<&'static str>,
    #[serde(skip)]
    columns: Vec<Column>,
    #[serde(skip)]
    next_link: String,
    #[serde(skip)]
    may_try: bool,
}

/// What programs may ask of it.
pub const WORDS: &[Word] = &[
    Word::new("q", TEXT, "Part of a name, a title, a query").like("usb"),
    Word::new("severity", Kind::OneOf(&SEVERITIES), "Those of a severity").like("major"),
    Word::new("sort", Kind::Order(&ORDERS), "By what the list is sorted; with a `-` the last first. By name")
        .like("-matches"),
    Word::new("machine", TEXT, "Those that are about this machine; all"),
    Word::page(300, "Probes on a page; 100"),
    Word::after(),
];

impl Probes {
    fn count(&self) -> String {
        text::number(self.total as u64)
    }
}

pub fn list(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let config = app.live().config.clone();
    let mut wanted = Wanted::read(asked);
    wanted.about = about(app, asked)?;
    let mut known = Known::default();
    let mut hub_away = None;
    match app.figures() {
        Ok(told) => known.told = Some(told),
        Err(why) => hub_away = Some(why),
    }
    let question = Question { since: SINCE, ..Question::default() };
    let counted = Events::of(&config, asked.who.as_ref()).by(&question, "probes.name");
    let events_away = match counted {
        Ok(counts) => {
            known.uncounted = counts.other > 0;
            known.matches = Some(counts.values.into_iter().map(|one| (one.value, one.count)).collect());
            None
        }
        Err(why) => Some(why.text().to_owned()),
    };
    let found = listed(&config, &known, &wanted);
    let sort = format!("{}{}", if wanted.down { "-" } else { "" }, wanted.order);
    let with = |more: &[(&str, &str)]| {
        let machine = wanted.about.as_ref().map_or("", |(key, _)| key);
        let words = [("q", wanted.text.as_str()), ("severity", wanted.severity.as_str()), ("machine", machine)];
        format!("/probes?{}", text::query(&[&words[..], more].concat()))
    };
    let next_link = found.next.as_deref().map(|next| with(&[("sort", &sort), ("after", next)])).unwrap_or_default();
    let page = Probes {
        head: Head::new(asked, "Probes"),
        total: found.total,
        rows: found.rows,
        next: found.next,
        hub_away,
        events_away,
        uncounted: known.uncounted,
        severities: SEVERITIES.to_vec(),
        columns: ORDERS.iter().map(|order| column(&wanted, *order, &with)).collect(),
        next_link,
        may_try: may_try(asked.who.as_ref()),
        sort,
        wanted,
    };
    Answer::page(asked, &page)
}

/// The machine whose probes are wanted. Whose token is not for machines learns nothing of one here either.
fn about(app: &App, asked: &Asked) -> Result<Option<(String, Machine)>, Wrong> {
    let name = asked.word("machine");
    if name.is_empty() {
        return Ok(None);
    }
    let scopes = asked.who.as_ref().map(|who| who.scopes.as_slice()).unwrap_or_default();
    if !scopes.is_empty() && !scopes.iter().any(|scope| scope == Area::Machines.word()) {
        return Err(Wrong::new(403, "The token is not for machines.", ""));
    }
    let (seen, ()) = called(app, asked, name, |_, _| Ok(()))?;
    Ok(Some((seen.key, seen.machine)))
}

/// Whether they may run filters of their own: that costs the server.
pub fn may_try(who: Option<&Who>) -> bool {
    who.is_some_and(|who| who.role >= registry::users::Role::Editor)
}

/// The query of a link: what narrows the list, and more.
type With<'a> = &'a dyn Fn(&[(&str, &str)]) -> String;

/// A click on the column that it is sorted by turns the order round; of figures the largest come first.
fn column(wanted: &Wanted, (word, name): (&'static str, &'static str), with: With<'_>) -> Column {
    let (sorted, next) = match (wanted.order == word, wanted.down) {
        (true, false) => ("ascending", format!("-{word}")),
        (true, true) => ("descending", word.to_owned()),
        (false, _) if word != "name" => ("none", format!("-{word}")),
        (false, _) => ("none", word.to_owned()),
    };
    Column { name, link: with(&[("sort", &next)]), sorted }
}

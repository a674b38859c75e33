//! Searching events: a query, a histogram, counts by a field, a page of lines.

use askama::Template;
use event::Time;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Head;
use super::chart::{self, Bar, SPANS};
use crate::answer::{Answer, Wrong};
use crate::api::{SEARCH, TEXT, Word};
use crate::app::App;
use crate::ask::Asked;
use crate::events::{Counts, Events, NoAnswer, Page, Question, ValueCount};
use crate::room::Room;
use crate::text;

/// Columns of a row that a line is made of; it is cut after fewer.
const COLUMNS_MAX: usize = 20;
/// Events on a page, if nobody says how many.
const PAGE: u64 = 50;
/// Events on a page at most: for a program, and for people, whose page has little room for what machines say.
const PAGE_MAX: u64 = 500;
const SHOWN_MAX: u64 = 100;
/// Bytes of markup for the lines of a page.
const ROOM: usize = 60_000;
/// Values that are counted.
const VALUES_MAX: usize = 20;
/// How far back a page looks, if nobody says.
const SINCE: &str = "24h";
/// By what events can be counted with a click; any other field can be typed.
const FIELDS: [&str; 7] =
    ["type", "source", "machine.hostname", "machine.unit", "machine.platform", "probes.name", "objects"];

/// What programs may ask.
pub const WORDS: &[Word] = &[
    Word::new("q", SEARCH, "The query (docs/stores.md); all events").like("type:osquery_result"),
    Word::new("since", TEXT, "An age such as `24h`, a day or a time; the last 24 hours").like("7d"),
    Word::new("until", TEXT, "The same; until now"),
    Word::new("by", TEXT, "The field whose values are counted; `type`").like("machine.platform"),
    Word::page(500, "Events on a page; 50"),
    Word::after(),
];

/// An event in a list.
pub struct Line {
    pub link: String,
    pub time: String,
    pub at: String,
    pub type_: String,
    pub machine: String,
    pub machine_link: String,
    pub probes: Vec<String>,
    pub what: String,
}

/// Events as lines of a table. Where there is no more room the rest of them stand there with less.
pub fn lines(events: &[Value]) -> Vec<Line> {
    let mut room = Room::new(ROOM);
    let mut all: Vec<Line> = events.iter().map(line).collect();
    for line in &mut all {
        let cells = [&line.link, &line.type_, &line.machine, &line.machine_link, &line.what];
        if !room.row(cells.into_iter().chain(&line.probes).map(String::as_str)) {
            line.probes.clear();
            line.what.clear();
            line.machine_link.clear();
        }
    }
    all
}

fn line(event: &Value) -> Line {
    let names = ["/machine/hostname", "/machine/serial_number", "/machine/hardware_uuid"];
    let keys = ["/machine/serial_number", "/machine/hardware_uuid", "/machine/hostname"];
    let first = |all: [&str; 3]| all.into_iter().map(|at| text::at(event, at)).find(|text| !text.is_empty());
    let probes = event.get("probes").and_then(Value::as_array).into_iter().flatten();
    Line {
        link: format!("/events/{}", text::part(text::at(event, "/id"))),
        at: text::at(event, "/time").to_owned(),
        time: text::time(text::at(event, "/time")),
        type_: text::short(text::at(event, "/type")),
        machine: first(names).map(text::short).unwrap_or_default(),
        machine_link: first(keys)
            .map(|key| text::to(key, || format!("/machines/{}", text::part(key))))
            .unwrap_or_default(),
        probes: probes.map(|probe| text::short(text::at(probe, "/name"))).collect(),
        what: text::short(&what(event)),
    }
}

/// What an event says in a line: the title of its first match; else what osquery found; else the payload.
fn what(event: &Value) -> String {
    let probes = event.get("probes").and_then(Value::as_array).into_iter().flatten();
    let title = probes.map(|probe| text::at(probe, "/context/title")).find(|title| !title.is_empty());
    if let Some(title) = title {
        return title.to_owned();
    }
    let Some(payload) = event.get("payload") else { return String::new() };
    if let Some(row) = payload.get("columns").and_then(Value::as_object) {
        return format!("{} {}", text::at(payload, "/action"), columns(row)).trim().to_owned();
    }
    if let Some(rows) = payload.get("snapshot").and_then(Value::as_array) {
        let first = rows.first().and_then(Value::as_object).map(columns).unwrap_or_default();
        let of = if rows.len() == 1 { "row" } else { "rows" };
        return format!("{} {of} {first}", rows.len()).trim().to_owned();
    }
    payload.to_string()
}

/// `name=value` of a row, as far as a line has room.
fn columns(row: &serde_json::Map<String, Value>) -> String {
    let one = |(name, value): (&String, &Value)| format!("{name}={}", text::short(&text::value(value)));
    row.iter().filter(|(_, value)| value.as_str() != Some("")).take(COLUMNS_MAX).map(one).collect::<Vec<_>>().join(" ")
}

/// A span of time to choose.
struct Span {
    word: String,
    name: String,
    here: bool,
}

/// A value of the field that is counted by.
struct Count {
    value: String,
    count: String,
    link: String,
    percent: u64,
}

/// A link to another program that shows the same.
struct Beyond {
    name: String,
    link: String,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "events.html")]
#[schemars(rename = "Events")]
pub struct Search {
    #[serde(skip)]
    head: Head,
    query: String,
    since: String,
    until: String,
    by: String,
    count: u64,
    /// By the values of the field.
    values: Vec<ValueCount>,
    /// Over time.
    bars: Vec<Bar>,
    #[serde(flatten)]
    page: Page,
    #[serde(skip)]
    error: Option<String>,
    #[serde(skip)]
    caret: Option<String>,
    #[serde(skip)]
    lines: Vec<Line>,
    #[serde(skip)]
    counts: Vec<Count>,
    #[serde(skip)]
    spans: Vec<Span>,
    #[serde(skip)]
    fields: Vec<&'static str>,
    #[serde(skip)]
    next_link: String,
    /// The page follows what comes; by this link it does not, or does.
    #[serde(skip)]
    live: bool,
    #[serde(skip)]
    live_link: String,
    #[serde(skip)]
    beyond: Vec<Beyond>,
}

impl Search {
    fn total(&self) -> String {
        text::number(self.count)
    }
}

pub fn search(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let live = app.live();
    let events = Events::of(&live.config, asked.who.as_ref());
    let (query, until) = (asked.word("q"), asked.word("until"));
    let since = if asked.word("since").is_empty() { SINCE } else { asked.word("since") };
    let by = if asked.word("by").is_empty() { "type" } else { asked.word("by") };
    let question = Question { query, since, until };
    let found = look(&events, &question, asked, by);
    let (found, error) = match found {
        Ok(found) => (found, None),
        // A program hears it by the status, a person beside the form.
        Err(why) if asked.json => return Err(why.into()),
        Err(why) => (Looked::default(), Some(why)),
    };
    let words = [("q", query), ("since", since), ("until", until), ("by", by)];
    let with = |more: &[(&str, &str)]| format!("/events?{}", text::query(&[&words[..], more].concat()));
    // What comes is newest, and has come until now.
    let follows = asked.word("live") == "1" && asked.word("after").is_empty() && until.is_empty();
    let next = found.page.next.as_deref().unwrap_or_default();
    let most = found.values.values.iter().map(|one| one.count).max().unwrap_or(1).max(1);
    let count = |one: &ValueCount| {
        let narrower = [query, &text::is(by, &one.value)].join(" ");
        let words = [("q", narrower.trim()), ("since", since), ("until", until), ("by", by)];
        let link = text::to(narrower.trim(), || format!("/events?{}", text::query(&words)));
        Count {
            value: text::short(&one.value),
            count: text::number(one.count),
            link,
            percent: (one.count * 100 / most).max(1),
        }
    };
    let beyond =
        |(name, to): &(String, String)| Beyond { name: name.clone(), link: to.replace("{query}", &text::part(query)) };
    let status = match &error {
        Some(why) => why.status(),
        None => 200,
    };
    let page = Search {
        head: Head::new(asked, "Events"),
        query: query.to_owned(),
        since: since.to_owned(),
        until: until.to_owned(),
        by: by.to_owned(),
        count: found.values.count,
        counts: found.values.values.iter().take(VALUES_MAX).map(count).collect(),
        values: found.values.values,
        bars: found.bars,
        error: error.as_ref().map(|why| why.text().to_owned()),
        caret: error.as_ref().and_then(|why| why.caret().map(str::to_owned)),
        lines: lines(&found.page.events),
        spans: spans(since),
        fields: FIELDS.to_vec(),
        live: follows,
        live_link: with(&[("live", if follows { "" } else { "1" })]),
        next_link: if next.is_empty() { String::new() } else { with(&[("after", next)]) },
        beyond: live.conf.links.iter().map(beyond).collect(),
        page: found.page,
    };
    Ok(Answer::page(asked, &page)?.status(status))
}

/// The spans to choose from, and the time that was typed if it is none of them.
fn spans(since: &str) -> Vec<Span> {
    let span = |word: &str, name: &str| Span { word: word.to_owned(), name: name.to_owned(), here: word == since };
    let known = SPANS.iter().any(|(word, ..)| *word == since);
    let typed = (!known).then(|| span(since, &format!("since {}", text::short(since))));
    SPANS.iter().map(|(word, _, name)| span(word, name)).chain(typed).collect()
}

#[derive(Default)]
struct Looked {
    page: Page,
    values: Counts,
    bars: Vec<Bar>,
}

fn look(events: &Events<'_>, question: &Question<'_>, asked: &Asked, by: &str) -> Result<Looked, NoAnswer> {
    let most = if asked.json { PAGE_MAX } else { SHOWN_MAX };
    let n = asked.word("n").parse().map_or(PAGE, |n: u64| n.clamp(1, most));
    // Over a span of our own there are bars; a time that was typed may be of any length.
    let span = SPANS.iter().find(|(word, ..)| *word == question.since && question.until.is_empty());
    let bars = || match span {
        Some((span, step, _)) => Ok(chart::bars(&events.every(question, step)?, span, step, Time::now())),
        None => Ok(Vec::new()),
    };
    // Over a month of a large fleet each of them takes its time: the store answers them side by side.
    let (page, values, bars) = std::thread::scope(|scope| {
        let (values, bars) = (scope.spawn(|| events.by(question, by)), scope.spawn(bars));
        let page = events.page(question, n, asked.word("after"));
        (page, values.join(), bars.join())
    });
    let ended = |_| NoAnswer::Away("The store could not be asked.".to_owned());
    let (page, values, bars) = (page?, values.map_err(ended)??, bars.map_err(ended)??);
    Ok(Looked { page, values, bars })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_what_matters() {
        for (event, says) in [
            (
                json!({"probes": [{"context": {}}, {"context": {"title": "A key for root"}}], "payload": {"columns": {"a": "1"}}}),
                "A key for root",
            ),
            (
                json!({"payload": {"name": "q", "action": "added", "columns": {"user": "root", "tty": "", "n": 1}}}),
                "added user=root n=1",
            ),
            (json!({"payload": {"snapshot": [{"a": "1"}, {"a": "2"}]}}), "2 rows a=1"),
            (json!({"payload": {"snapshot": []}}), "0 rows"),
            (json!({"payload": {"action": "login", "who": "ada"}}), r#"{"action":"login","who":"ada"}"#),
            (json!({"payload": 7}), "7"),
            (json!({}), ""),
        ] {
            assert_eq!(what(&event), says);
        }
    }
}

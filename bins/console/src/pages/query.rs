//! One live query: who was asked, who answered, the rows as they come, all of them for a spreadsheet.

use std::collections::BTreeSet;

use askama::Template;
use event::Time;
use hyper::header::CONTENT_DISPOSITION;
use registry::db::{Db, has_schema};
use registry::known::csv;
use registry::live::{self, Asked as Query};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Head;
use super::queries::{Line, Told, line, told};
use crate::answer::{Answer, Wrong};
use crate::api::Word;
use crate::app::App;
use crate::ask::Asked;
use crate::events::NoAnswer;
use crate::live::{Answered, answers, reached, search, sees};
use crate::text;

/// Answers on a page, each an event.
const PAGE: u64 = 50;
/// Bytes of cells on a page; the file has all.
const CELLS_MAX: usize = 60_000;
/// Columns on a page.
const COLUMNS_MAX: usize = 30;
/// Rows of a file, its columns, and its bytes at most.
const FILE_ROWS_MAX: usize = 100_000;
const FILE_COLUMNS_MAX: usize = 200;
const FILE_MAX: usize = 32 << 20;
/// Answers that the store is asked for at a time for a file.
const FILE_PAGE: u64 = 100;

/// What programs may ask.
pub const WORDS: &[Word] = &[Word::after()];

/// A row for a program.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "QueryRow")]
pub struct Came {
    /// Key of the machine.
    machine: String,
    hostname: String,
    columns: Map<String, Value>,
}

/// A row of a machine.
struct Row {
    link: String,
    host: String,
    cells: Vec<String>,
}

/// A machine that could not, or had nothing to say.
struct Other {
    link: String,
    host: String,
    what: String,
}

#[derive(Template, Serialize, JsonSchema)]
#[template(path = "query.html")]
#[schemars(rename = "QueryWhole")]
pub struct Page {
    #[serde(skip)]
    head: Head,
    #[serde(flatten)]
    told: Told,
    /// Machines in scope now.
    machines: u64,
    /// Of these, who was given the query, and who answered.
    given: u64,
    answered: u64,
    rows: Vec<Came>,
    next: Option<String>,
    #[serde(skip)]
    away: Option<String>,
    #[serde(skip)]
    line: Line,
    #[serde(skip)]
    open: bool,
    #[serde(skip)]
    columns: Vec<String>,
    #[serde(skip)]
    shown: Vec<Row>,
    #[serde(skip)]
    others: Vec<Other>,
    /// Rows that have no room on the page.
    #[serde(skip)]
    left: usize,
    #[serde(skip)]
    first_page: bool,
    #[serde(skip)]
    next_link: String,
    #[serde(skip)]
    search_link: String,
    #[serde(skip)]
    again_link: String,
}

/// The query of the path, if this person sees it.
fn find(app: &App, asked: &Asked) -> Result<Query, Wrong> {
    let found = app.registry(|db| live::find(db, asked.part("id")))?;
    found.filter(|query| sees(asked.who.as_ref(), asked, query)).ok_or_else(|| Wrong::not_found("query"))
}

/// Who was given it and who answered, as `receive` wrote it down, now and then.
fn given(app: &App, query: &Query) -> (u64, u64) {
    let home = app.live().config.homes().state("receive");
    let look = |db: &Db| if has_schema(db, &live::DELIVERIES)? { live::given(db, &query.query.id) } else { Ok((0, 0)) };
    let seen = Db::open_read_only(home).and_then(|db| db.map(|db| look(&db)).transpose());
    seen.ok().flatten().unwrap_or_default()
}

pub fn show(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let query = find(app, asked)?;
    let now = Time::now().ms();
    let (given, answered) = given(app, &query);
    let whom = serde_json::from_str(&query.query.scope).unwrap_or_default();
    let machines = reached(app, &whom).map_or(0, |(machines, _)| machines);
    let (came, next, away) = match answers(app, asked.who.as_ref(), &query, PAGE, asked.word("after")) {
        Ok((came, next)) => (came, next, None),
        // A program hears it by the status, a person on the page.
        Err(why) if asked.json => return Err(why.into()),
        Err(NoAnswer::Question(why, _) | NoAnswer::Away(why)) => (Vec::new(), None, Some(why)),
    };
    let line = line(&query, now);
    let (columns, shown, left) = table(&came);
    let rows = came.iter().flat_map(|one| {
        one.rows.iter().map(|row| Came { machine: one.key.clone(), hostname: one.host.clone(), columns: row.clone() })
    });
    let page = Page {
        head: Head::new(asked, "Live query"),
        told: told(&query, now),
        machines,
        given,
        answered,
        rows: rows.collect(),
        open: query.is_open(now),
        columns,
        shown,
        others: came.iter().filter(|one| one.rows.is_empty() || one.failed.is_some()).map(other).collect(),
        left,
        first_page: asked.word("after").is_empty(),
        next_link: next
            .as_deref()
            .map(|next| format!("{}?{}", line.link, text::query(&[("after", next)])))
            .unwrap_or_default(),
        search_link: format!(
            "/events?{}",
            text::query(&[("q", &search(&query)), ("since", "7d"), ("by", "machine.hostname")])
        ),
        again_link: format!("/query?{}", text::query(&[("sql", &query.query.sql)])),
        next,
        away,
        line,
    };
    Answer::page(asked, &page)
}

fn other(one: &Answered) -> Other {
    let what =
        one.failed.as_deref().map_or_else(|| "answered without rows".to_owned(), |why| format!("could not: {why}"));
    Other {
        link: format!("/machines/{}", text::part(&one.key)),
        host: text::short(&one.host),
        what: text::short(&what),
    }
}

/// The rows as a table, as many as a page has room for; how many it has not.
fn table(came: &[Answered]) -> (Vec<String>, Vec<Row>, usize) {
    let names: BTreeSet<&String> = came.iter().flat_map(|one| &one.rows).flat_map(|row| row.keys()).collect();
    let columns: Vec<&String> = names.into_iter().take(COLUMNS_MAX).collect();
    let (mut shown, mut bytes, mut left) = (Vec::new(), 0, 0);
    for (one, row) in came.iter().flat_map(|one| one.rows.iter().map(move |row| (one, row))) {
        if bytes >= CELLS_MAX {
            left += 1;
            continue;
        }
        let cells: Vec<String> = columns
            .iter()
            .map(|name| row.get(*name).map(|value| text::short(&text::value(value))).unwrap_or_default())
            .collect();
        let host = text::short(&one.host);
        // What stands around a cell counts, too.
        bytes += cells.iter().map(|cell| cell.len() + 25).sum::<usize>() + host.len() + one.key.len() + 100;
        shown.push(Row { link: format!("/machines/{}", text::part(&one.key)), host, cells });
    }
    (columns.into_iter().map(|name| text::short(name)).collect(), shown, left)
}

/// All rows that have come, for a spreadsheet.
pub fn csv(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let query = find(app, asked)?;
    let (mut all, mut rows, mut after) = (Vec::new(), 0, String::new());
    let mut bytes = 0;
    loop {
        let (came, next) = answers(app, asked.who.as_ref(), &query, FILE_PAGE, &after)?;
        rows += came.iter().map(|one| one.rows.len()).sum::<usize>();
        bytes += came
            .iter()
            .flat_map(|one| &one.rows)
            .flatten()
            .map(|(name, value)| name.len() + text::value(value).len())
            .sum::<usize>();
        all.extend(came);
        if rows > FILE_ROWS_MAX || bytes > FILE_MAX {
            let advice = "Search for the events of the query, or ask fewer machines.";
            return Err(Wrong::new(413, "There are too many rows for one file.", advice));
        }
        let Some(next) = next else { break };
        after = next;
    }
    let name = format!("attachment; filename=\"query-{}.csv\"", query.query.id);
    Ok(Answer::file("text/csv; charset=utf-8", sheet(&all).into_bytes()).header(CONTENT_DISPOSITION, &name))
}

fn sheet(all: &[Answered]) -> String {
    let names: BTreeSet<&String> = all.iter().flat_map(|one| &one.rows).flat_map(|row| row.keys()).collect();
    let columns: Vec<&String> = names.into_iter().take(FILE_COLUMNS_MAX).collect();
    let line = |cells: Vec<String>| cells.iter().map(|cell| csv::cell(cell)).collect::<Vec<_>>().join(",") + "\r\n";
    let head =
        ["machine".to_owned(), "hostname".to_owned()].into_iter().chain(columns.iter().map(|name| (*name).clone()));
    let mut sheet = line(head.collect());
    for (one, row) in all.iter().flat_map(|one| one.rows.iter().map(move |row| (one, row))) {
        let cells = columns.iter().map(|name| row.get(*name).map(csv::text).unwrap_or_default());
        sheet.push_str(&line([one.key.clone(), one.host.clone()].into_iter().chain(cells).collect()));
    }
    sheet
}

pub fn cancel(app: &App, asked: &Asked) -> Result<Answer, Wrong> {
    let query = find(app, asked)?;
    let ended = app.write(|tx, now| live::cancel_by(tx, &query.query.id, &asked.by(), now))?;
    if !ended {
        return Err(Wrong::new(409, "This query has ended.", ""));
    }
    Ok(Answer::done(asked, &format!("/query/{}", text::part(&query.query.id))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use serde_json::json;

    use super::*;

    fn came(key: &str, rows: &Value) -> Answered {
        let rows = rows.as_array().unwrap().iter().map(|row| row.as_object().unwrap().clone()).collect();
        Answered { key: key.into(), host: key.into(), rows, failed: None }
    }

    #[test]
    fn a_page_is_bounded_and_a_file_has_no_formulas() {
        let big = "x".repeat(1 << 20);
        let rows: Vec<Value> = (0..5_000).map(|n| json!({"a": big[..200], "n": n})).collect();
        let (columns, shown, left) = table(&[came("C1", &json!(rows))]);
        assert_eq!((columns.len(), shown.len() + left), (2, 5_000));
        let bytes: usize = shown.iter().flat_map(|row| &row.cells).map(String::len).sum();
        assert!(bytes < 2 * CELLS_MAX && left > 0, "{bytes}");
        let wide: serde_json::Map<String, Value> = (0..500).map(|n| (format!("c{n}"), json!("1"))).collect();
        assert_eq!(table(&[came("C1", &json!([wide]))]).0.len(), COLUMNS_MAX);
        let sheet = sheet(&[came("=1+1", &json!([{"=cmd": "@x", "b": "a,\"b"}])), came("C2", &json!([{"b": 7}]))]);
        assert_eq!(sheet, "machine,hostname,'=cmd,b\r\n'=1+1,'=1+1,'@x,\"a,\"\"b\"\r\nC2,C2,,7\r\n");
    }
}

//! What a store answers over HTTP: `/search`, `/count`, `/event/ID`, in JSON. Who listens is not its business.

use std::str::FromStr;
use std::time::{Duration, Instant};

use event::{Time, json};

use crate::hint;
use crate::query::{self, QueryError, when};
use crate::search::{Cursor, Finder, PAGE_MAX, Scope, SearchError, Skipped};

/// An answer: status, content type, body.
pub type Answer = (u16, &'static str, Vec<u8>);

/// How long one question may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long may be looked for a hint, beside the answer.
const HINT_DEADLINE: Duration = Duration::from_secs(2);
/// Events on a page if nobody says how many.
const PAGE: usize = 100;
/// Bytes of the question's query string.
const QUESTION_MAX: usize = 64 << 10;

/// Answers `path` with the still encoded `question`; `None` if there is no such path.
///
/// * `/search?q=&since=&until=&n=&after=` → `{"events":[…],"next":CURSOR|null,"skipped":[…]}`, newest first
/// * `/count?q=&since=&until=` → `{"count":N,"skipped":[…]}`
/// * `/count?…&by=FIELD` → `{"count":N,"by":FIELD,"values":[{"value":V,"count":N}…],"other":N,"missing":N,"skipped":[…]}`
/// * `/count?…&every=1h` → `{"count":N,"every":"1h","buckets":[{"time":T,"count":N}…],"skipped":[…]}`
/// * `/event/ID` → the event
///
/// With `units=a,b` only events of machines in these units are there, in every answer (the console asks so for whoever
/// is kept to some).
///
/// A first page without events, and counts by a field that finds none, may have a `hint` before `skipped`: a text for
/// people about a field that no event has, of any time.
///
/// `since` and `until` are ages (`7d`) or times (`2026-11-21`), both included. A question that is wrong gets 400 with
/// `{"error":…}`, and `column` and `caret` if it is the query that is wrong; one that asks for too much 422; one that
/// takes too long 503.
pub fn answer(search: &dyn Finder, path: &str, question: &str) -> Option<Answer> {
    let made = match path {
        "/search" => Question::read(question).and_then(|q| page(search, &q)),
        "/count" => Question::read(question).and_then(|q| count(search, &q)),
        _ => {
            let id = decode(path.strip_prefix("/event/")?);
            Question::read(question).and_then(|q| event(search, &id, &q))
        }
    };
    Some(made.unwrap_or_else(|refusal| (refusal.status, "application/json", refusal.body)))
}

struct Refusal {
    status: u16,
    body: Vec<u8>,
}

impl Refusal {
    fn new(status: u16, text: &str) -> Self {
        let mut body = b"{\"error\":".to_vec();
        json::write_str(text, &mut body);
        body.extend_from_slice(b"}\n");
        Self { status, body }
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        let mut body = b"{\"error\":".to_vec();
        json::write_str(&error.to_string(), &mut body);
        body.extend_from_slice(format!(",\"column\":{},\"caret\":", error.column()).as_bytes());
        json::write_str(&error.caret(), &mut body);
        body.extend_from_slice(b"}\n");
        Self { status: 400, body }
    }
}

impl From<SearchError> for Refusal {
    fn from(error: SearchError) -> Self {
        let status = match error {
            SearchError::TooMuch(_) => 422,
            SearchError::Deadline => 503,
            SearchError::Io(_) => 500,
        };
        Self::new(status, &error.to_string())
    }
}

struct Question {
    scope: Scope,
    n: usize,
    after: Option<Cursor>,
    by: Option<String>,
    every: Option<(String, Duration)>,
    units: Option<Vec<String>>,
}

impl Question {
    fn read(text: &str) -> Result<Self, Refusal> {
        if text.len() > QUESTION_MAX {
            return Err(Refusal::new(400, "the question is too long"));
        }
        let now = Time::now();
        let mut read = Self {
            scope: Scope {
                query: query::Query::All,
                since: None,
                until: None,
                deadline: Some(Instant::now() + DEADLINE),
            },
            n: PAGE,
            after: None,
            by: None,
            every: None,
            units: None,
        };
        let mut units = Vec::new();
        for pair in text.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value);
            let wrong = |what: &str| Refusal::new(400, &format!("{key}: `{value}` is {what}"));
            match key {
                "q" => read.scope.query = query::parse(&value)?,
                "units" => units = value.split(',').map(str::to_owned).collect(),
                _ if value.is_empty() => {}
                "since" => read.scope.since = Some(moment(&value, now, false).ok_or_else(|| wrong(NO_TIME))?),
                "until" => read.scope.until = Some(moment(&value, now, true).ok_or_else(|| wrong(NO_TIME))?),
                "n" => read.n = usize::from_str(&value).map_err(|_| wrong("no number"))?.clamp(1, PAGE_MAX),
                "after" => read.after = Some(value.parse().map_err(wrong)?),
                "by" => read.by = Some(value),
                "every" => {
                    let step = pipe::config::parse_duration(&value).filter(|d| *d >= Duration::from_secs(1));
                    read.every =
                        Some((value.clone(), step.ok_or_else(|| wrong("no duration such as 1h, from 1s on"))?));
                }
                _ => return Err(Refusal::new(400, &format!("no such parameter: {key}"))),
            }
        }
        if !units.is_empty() {
            read.scope.query = within(read.scope.query, &units);
            read.units = Some(units);
        }
        Ok(read)
    }
}

/// The query, of machines of these units.
fn within(query: query::Query, units: &[String]) -> query::Query {
    use query::Query;
    let of = |unit: &String| Query::Match { field: Some("machine.unit".to_owned()), text: unit.clone() };
    let mut units: Vec<Query> = units.iter().map(of).collect();
    let units = if units.len() == 1 { units.remove(0) } else { Query::Or(units) };
    match query {
        Query::All => units,
        Query::And(mut all) => {
            all.push(units);
            Query::And(all)
        }
        other => Query::And(vec![other, units]),
    }
}

/// What is said of a text that [`moment`] does not understand.
pub const NO_TIME: &str = "neither an age such as 7d nor a time such as 2026-11-21 or 2026-11-21T19:00";

/// An age before `now`, or a time (a day, an hour …), whose first moment is meant, or with `end` its last: `since` and
/// `until` both include what they name. The one reading of such words for all commands.
pub fn moment(text: &str, now: Time, end: bool) -> Option<Time> {
    if let Some((first, last)) = when::parse(text) {
        return Some(Time::from_ms(if end { last } else { first }));
    }
    let age = pipe::config::parse_duration(text)?;
    Some(Time::from_ms(now.ms().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))))
}

fn page(search: &dyn Finder, question: &Question) -> Result<Answer, Refusal> {
    if question.by.is_some() || question.every.is_some() {
        return Err(Refusal::new(400, "by and every belong to /count"));
    }
    let page = search.page(&question.scope, question.n, question.after)?;
    let mut body = b"{\"events\":[".to_vec();
    for (i, line) in page.events.iter().enumerate() {
        body.extend_from_slice(if i == 0 { b"" } else { b"," });
        body.extend_from_slice(line);
    }
    body.extend_from_slice(b"],\"next\":");
    match page.next {
        Some(cursor) => json::write_str(&cursor.to_string(), &mut body),
        None => body.extend_from_slice(b"null"),
    }
    if page.events.is_empty() && question.after.is_none() {
        write_hint(&mut body, hint::of_query(&question.scope.query, has(search, question)));
    }
    finish(body, &page.skipped)
}

/// Whether any event has a field, whenever it was, among those that may be seen.
fn has(search: &dyn Finder, question: &Question) -> impl Fn(&str) -> Result<bool, SearchError> {
    let deadline = Some(Instant::now() + HINT_DEADLINE);
    move |field| {
        let query = query::Query::Exists(field.to_owned());
        let query = question.units.as_ref().map_or(query.clone(), |units| within(query, units));
        let scope = Scope { query, since: None, until: None, deadline };
        Ok(!search.page(&scope, 1, None)?.events.is_empty())
    }
}

/// Where none can be found in time the answer is one all the same.
fn write_hint(body: &mut Vec<u8>, hint: Result<Option<String>, SearchError>) {
    if let Ok(Some(text)) = hint {
        body.extend_from_slice(b",\"hint\":");
        json::write_str(&text, body);
    }
}

fn count(search: &dyn Finder, question: &Question) -> Result<Answer, Refusal> {
    let scope = &question.scope;
    match (&question.by, &question.every) {
        (Some(_), Some(_)) => Err(Refusal::new(400, "count by a field or over time, not both")),
        (None, None) => {
            let (n, skipped) = search.count(scope)?;
            finish(format!("{{\"count\":{n}").into_bytes(), &skipped)
        }
        (Some(field), None) => {
            let counts = search.count_by(scope, field)?;
            let mut body = format!("{{\"count\":{},\"by\":", counts.total).into_bytes();
            json::write_str(field, &mut body);
            list(&mut body, "values", "value", counts.values.iter().map(|(v, n)| (v.clone(), *n)));
            body.extend_from_slice(format!(",\"other\":{},\"missing\":{}", counts.other, counts.missing).as_bytes());
            if counts.values.is_empty() {
                let has = has(search, question);
                let of_field = || if counts.total > 0 { hint::of_field(field, &has) } else { Ok(None) };
                write_hint(&mut body, hint::of_query(&scope.query, &has).and_then(|found| Ok(found.or(of_field()?))));
            }
            finish(body, &counts.skipped)
        }
        (None, Some((text, step))) => {
            let counts = search.every(scope, *step)?;
            let mut body = format!("{{\"count\":{},\"every\":", counts.total).into_bytes();
            json::write_str(text, &mut body);
            list(&mut body, "buckets", "time", counts.buckets.iter().map(|(t, n)| (t.to_string(), *n)));
            finish(body, &counts.skipped)
        }
    }
}

fn list(body: &mut Vec<u8>, name: &str, key: &str, items: impl Iterator<Item = (String, u64)>) {
    body.extend_from_slice(format!(",\"{name}\":[").as_bytes());
    for (i, (value, n)) in items.enumerate() {
        body.extend_from_slice(format!("{}{{\"{key}\":", if i == 0 { "" } else { "," }).as_bytes());
        json::write_str(&value, body);
        body.extend_from_slice(format!(",\"count\":{n}}}").as_bytes());
    }
    body.extend_from_slice(b"]");
}

/// The days that could not be read close every answer.
fn finish(mut body: Vec<u8>, skipped: &[Skipped]) -> Result<Answer, Refusal> {
    body.extend_from_slice(b",\"skipped\":[");
    for (i, skipped) in skipped.iter().enumerate() {
        body.extend_from_slice(
            format!("{}{{\"day\":\"{}\",\"why\":", if i == 0 { "" } else { "," }, skipped.day).as_bytes(),
        );
        json::write_str(&skipped.why, &mut body);
        body.extend_from_slice(b"}");
    }
    body.extend_from_slice(b"]}\n");
    Ok((200, "application/json", body))
}

fn event(search: &dyn Finder, id: &str, question: &Question) -> Result<Answer, Refusal> {
    let may_be_seen = |line: &Vec<u8>| {
        let Some(units) = &question.units else { return true };
        let event: Option<serde_json::Value> = serde_json::from_slice(line).ok();
        let unit = event.as_ref().and_then(|event| event.pointer("/machine/unit")?.as_str());
        unit.is_some_and(|unit| units.iter().any(|one| one == unit))
    };
    match search.event(id)?.filter(may_be_seen) {
        Some(mut line) => {
            line.push(b'\n');
            Ok((200, "application/json", line))
        }
        None => Err(Refusal::new(404, "no such event")),
    }
}

/// The text that a part of a URL stands for; what is no percent-encoding stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let hex = tail
            .get(..2)
            .and_then(|h| std::str::from_utf8(h).ok())
            .filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
        match (byte, hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(decoded)) => {
                bytes.push(decoded);
                rest = tail.get(2..).unwrap_or_default();
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*byte),
        }
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::index::Index;
    use crate::search::Search;

    fn filled() -> (tempfile::TempDir, Search) {
        let dir = tempfile::tempdir().unwrap();
        let mut index = Index::new(dir.path(), Duration::from_secs(86_400));
        let now: Time = "2026-11-21T20:00:00Z".parse().unwrap();
        let lines: Vec<String> = (0..5)
            .map(|i| {
                let machine = if i == 3 { r#""machine":{"unit":"berlin"},"# } else { "" };
                format!(r#"{{"id":"n{i}","type":"t{}","time":"2026-11-21T1{i}:00:00.000Z","received":"2026-11-21T19:00:00.000Z",{machine}"payload":{{"a b":"{i} \"x\""}}}}"#, i % 2)
            })
            .collect();
        index.store(&lines.iter().map(|l| l.as_bytes()).collect::<Vec<_>>(), now).unwrap();
        let search = Search::new(dir.path());
        (dir, search)
    }

    #[test]
    fn questions_and_answers() {
        let (_dir, search) = filled();
        let check = |path: &str, question: &str, status: u16, expected: &str| {
            let (got, _, body) = answer(&search, path, question).unwrap();
            let body = String::from_utf8(body).unwrap();
            assert_eq!(got, status, "{path}?{question}: {body}");
            assert!(body.contains(expected), "{path}?{question}: {body} has no {expected}");
            assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{body}");
        };
        for (path, question, status, expected) in [
            ("/count", "", 200, r#"{"count":5,"skipped":[]}"#),
            ("/count", "q=type:t1", 200, r#"{"count":2,"#),
            ("/count", "q=type%3At0+AND+payload.a%5C+b%3Ax&until=2026-11-21T12", 200, r#"{"count":2,"#),
            ("/count", "since=2026-11-21T13:00&until=2026-11-21", 200, r#"{"count":2,"#),
            (
                "/count",
                "by=type",
                200,
                r#""by":"type","values":[{"value":"t0","count":3},{"value":"t1","count":2}],"other":0,"missing":0"#,
            ),
            ("/count", "every=2h", 200, r#""every":"2h","buckets":[{"time":"2026-11-21T10:00:00.000Z","count":2},"#),
            ("/search", "q=n&n=1", 200, r#"{"events":[],"next":null,"skipped""#),
            (
                "/search",
                "q=a%5C+b:3&until=2026-11-20",
                200,
                r#""next":null,"hint":"no event has a field `a b`; did you mean `payload.a b`?","skipped":[]}"#,
            ),
            ("/search", "q=hostname:x&units=berlin", 200, r#""hint":"no event has a field `hostname`; did you mean"#),
            ("/search", "q=payload.a%5C+b:9", 200, r#""next":null,"skipped""#),
            ("/count", "by=severity", 200, r#""missing":5,"hint":"no event has a field `severity`; did you mean `pr"#),
            ("/count", "by=machine.user", 200, r#""missing":5,"skipped""#),
            ("/search", "n=1", 200, r#"{"events":[{"id":"n4","#),
            ("/event/n3", "", 200, r#"{"id":"n3","#),
            ("/event/n%33", "", 200, r#"{"id":"n3","#),
            ("/event/n9", "", 404, "no such event"),
            ("/search", "q=type:a%20AND", 400, r#""column":11,"caret":"type:a AND\n          ^""#),
            ("/search", "since=yesterday", 400, "neither an age"),
            ("/search", "after=zzz", 400, "not a cursor"),
            ("/search", "n=many", 400, "no number"),
            ("/search", "nn=1", 400, "no such parameter: nn"),
            ("/search", "by=type", 400, "belong to /count"),
            ("/count", "by=type&every=1h", 400, "not both"),
            ("/count", "every=1ms", 400, "no duration"),
            ("/count", "by=id", 422, "over time"),
            ("/count", "every=1s", 422, "steps of time"),
        ] {
            check(path, question, status, expected);
        }
        for (path, question, status, expected) in [
            ("/search", "units=rome&q=payload.a%5C+b:3", 200, "no event has a field `payload.a b`"),
            ("/count", "units=rome", 200, r#"{"count":0,"#),
            ("/count", "units=berlin", 200, r#"{"count":1,"#),
            ("/count", "units=rome,berlin&q=type:t1", 200, r#"{"count":1,"#),
            ("/count", "units=berlin&q=type:t0", 200, r#"{"count":0,"#),
            ("/count", "units=berlin&q=type:t0+OR+type:t1", 200, r#"{"count":1,"#),
            ("/count", "units=berlin&q=x)+OR+(*", 400, "error"),
            ("/event/n3", "units=berlin", 200, r#"{"id":"n3","#),
            ("/event/n3", "units=rome", 404, "no such event"),
            ("/event/n2", "units=berlin", 404, "no such event"),
        ] {
            check(path, question, status, expected);
        }
        check("/search", &format!("q={}", "a".repeat(QUESTION_MAX)), 400, "too long");
        assert!(answer(&search, "/other", "").is_none());
    }

    #[test]
    fn text_in_urls() {
        for text in ["", "a b&c=d+é%", "100%", "type:(a OR \"b\")"] {
            assert_eq!(decode(&remote::quoted(text)), text);
        }
        assert_eq!(decode("100%+%zz%4"), "100% %zz%4");
    }
}

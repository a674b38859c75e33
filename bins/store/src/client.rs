//! How `zentral search` and others ask: the process that writes the store if it answers, else the embedded index
//! itself, read-only, or the cluster. The answers are the same.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use event::Time;
use remote::quoted;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ask;
use crate::search::{Finder, PAGE_MAX, Search};

/// How long the store's process may take for one answer: a little longer than it gives itself.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where the answers come from.
pub struct Client {
    socket: Option<PathBuf>,
    store: Option<Box<dyn Finder>>,
}

/// What is asked; texts as the user typed them.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The query.
    pub query: String,
    /// An age or a time.
    pub since: Option<String>,
    /// An age or a time.
    pub until: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientError {
    /// The question is wrong: what, and where (a query with a caret under the mistake).
    Question(String),
    /// Nobody answers, or not in time.
    Unreachable(String),
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Question(text) | Self::Unreachable(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ClientError {}

/// A page of events, newest first.
#[derive(Debug, Deserialize)]
pub struct Page {
    /// The events' lines.
    pub events: Vec<Box<RawValue>>,
    /// Where the next page begins; none at the end.
    pub next: Option<String>,
    /// What is odd about a question that found nothing, for people.
    #[serde(default)]
    pub hint: Option<String>,
    /// Days that could not be read.
    #[serde(default)]
    pub skipped: Vec<SkippedDay>,
}

/// What is left to say when events have been handed on.
#[derive(Debug, Default)]
pub struct Rest {
    /// Where to go on; none at the end.
    pub next: Option<String>,
    /// What is odd about a question that found nothing, for people.
    pub hint: Option<String>,
    /// Days that could not be read.
    pub skipped: Vec<SkippedDay>,
}

/// A day that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SkippedDay {
    /// `2026-11-21`
    pub day: String,
    /// Why.
    pub why: String,
}

/// How many, by value or over time.
#[derive(Debug, Deserialize)]
pub struct Counts {
    /// Events that match.
    pub count: u64,
    /// By value of a field, most frequent first.
    #[serde(default)]
    pub values: Vec<ValueCount>,
    /// Events of values that are not named.
    #[serde(default)]
    pub other: u64,
    /// Events without the field.
    #[serde(default)]
    pub missing: u64,
    /// Over time, oldest first.
    #[serde(default)]
    pub buckets: Vec<TimeCount>,
    /// What is odd about a question that found nothing, for people.
    #[serde(default)]
    pub hint: Option<String>,
    /// Days that could not be read.
    #[serde(default)]
    pub skipped: Vec<SkippedDay>,
}

/// One value of a field.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ValueCount {
    /// The value.
    pub value: String,
    /// Events that have it.
    pub count: u64,
}

/// One step of time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TimeCount {
    /// Its start.
    pub time: Time,
    /// Events in it.
    pub count: u64,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    caret: Option<String>,
}

impl Client {
    /// Asks the process at `socket`; where none answers, the index under `index` if there is one.
    pub fn new(socket: Option<&Path>, index: Option<&Path>) -> Self {
        Self::of(socket, index.map(|dir| Box::new(Search::new(dir)) as Box<dyn Finder>))
    }

    /// Asks the process at `socket`; where none answers, what finds events without it.
    pub fn of(socket: Option<&Path>, store: Option<Box<dyn Finder>>) -> Self {
        Self { socket: socket.map(Path::to_owned), store }
    }

    /// At most `n` events after the cursor `after`.
    pub fn page(&self, question: &Question, n: usize, after: Option<&str>) -> Result<Page, ClientError> {
        let after = after.map(|a| format!("&after={}", quoted(a))).unwrap_or_default();
        self.read(&format!("/search?{}&n={}{after}", words(question), n.clamp(1, PAGE_MAX)))
    }

    /// Calls `event` with each line, newest first, page by page, `n` in all (0: every one), until it says false.
    pub fn each(
        &self,
        question: &Question,
        n: u64,
        after: Option<String>,
        mut event: impl FnMut(&str) -> bool,
    ) -> Result<Rest, ClientError> {
        let mut left = if n == 0 { u64::MAX } else { n };
        let mut rest = Rest { next: after, ..Rest::default() };
        while left > 0 {
            let page = self.page(question, usize::try_from(left).unwrap_or(PAGE_MAX), rest.next.as_deref())?;
            for line in &page.events {
                if !event(line.get()) {
                    return Ok(Rest { next: None, ..rest });
                }
            }
            left = left.saturating_sub(page.events.len() as u64);
            rest.skipped.extend(page.skipped.into_iter().filter(|s| !rest.skipped.contains(s)).collect::<Vec<_>>());
            (rest.next, rest.hint) = (page.next, page.hint);
            if rest.next.is_none() {
                break;
            }
        }
        Ok(rest)
    }

    /// How many.
    pub fn count(&self, question: &Question) -> Result<Counts, ClientError> {
        self.read(&format!("/count?{}", words(question)))
    }

    /// How many, by the values of a field.
    pub fn count_by(&self, question: &Question, field: &str) -> Result<Counts, ClientError> {
        self.read(&format!("/count?{}&by={}", words(question), quoted(field)))
    }

    /// How many in each step of time, `1h`.
    pub fn every(&self, question: &Question, step: &str) -> Result<Counts, ClientError> {
        self.read(&format!("/count?{}&every={}", words(question), quoted(step)))
    }

    /// The line of one event.
    pub fn event(&self, id: &str) -> Result<Option<String>, ClientError> {
        let (status, body) = self.get(&format!("/event/{}", quoted(id)))?;
        match status {
            404 => Ok(None),
            200 => Ok(Some(String::from_utf8_lossy(&body).trim_end().to_owned())),
            _ => Err(refusal(status, &body)),
        }
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, path_and_query: &str) -> Result<T, ClientError> {
        let (status, body) = self.get(path_and_query)?;
        if status != 200 {
            return Err(refusal(status, &body));
        }
        serde_json::from_slice(&body).map_err(|e| ClientError::Unreachable(format!("answer of the store: {e}")))
    }

    fn get(&self, path_and_query: &str) -> Result<(u16, Vec<u8>), ClientError> {
        let mut nobody = String::from("no store is configured");
        if let Some(socket) = &self.socket {
            match pipe::ops::get(socket, path_and_query, TIMEOUT) {
                Ok(answer) => return Ok(answer),
                // Nobody is there: a stale socket, or none. Somebody who is there and says nothing is another matter.
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                    nobody = format!("{}: no store answers", socket.display());
                }
                Err(e) => return Err(ClientError::Unreachable(format!("{}: {e}", socket.display()))),
            }
        }
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let answer = self.store.as_ref().and_then(|store| ask::answer(&**store, path, query));
        answer.map(|(status, _, body)| (status, body)).ok_or(ClientError::Unreachable(nobody))
    }
}

fn words(question: &Question) -> String {
    let mut words = format!("q={}", quoted(&question.query));
    for (key, value) in [("since", &question.since), ("until", &question.until)] {
        if let Some(value) = value {
            words.push_str(&format!("&{key}={}", quoted(value)));
        }
    }
    words
}

fn refusal(status: u16, body: &[u8]) -> ClientError {
    let said =
        serde_json::from_slice(body).unwrap_or_else(|_| Refusal { error: format!("status {status}"), caret: None });
    let text = match said.caret {
        Some(caret) => format!("{}\n{caret}", said.error),
        None => said.error,
    };
    if (400..500).contains(&status) { ClientError::Question(text) } else { ClientError::Unreachable(text) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::index::Index;

    fn question(query: &str) -> Question {
        Question { query: query.into(), ..Question::default() }
    }

    /// The same questions through the socket of a process and of the index itself.
    #[test]
    fn by_socket_and_without_one() {
        let dir = tempfile::tempdir().unwrap();
        let index_dir = dir.path().join("index");
        let socket = dir.path().join("run/index.sock");
        let mut index = Index::new(&index_dir, Duration::from_secs(86_400));
        let lines: Vec<String> = (0..25)
            .map(|i| format!(r#"{{"id":"n{i:02}","type":"t","time":"2026-11-21T10:00:{i:02}.000Z","received":"2026-11-21T19:00:00.000Z","payload":{{"a":"ü {i}"}}}}"#))
            .collect();
        index
            .store(&lines.iter().map(|l| l.as_bytes()).collect::<Vec<_>>(), "2026-11-21T20:00:00Z".parse().unwrap())
            .unwrap();

        let direct = Client::new(Some(&socket), Some(&index_dir));
        check(&direct, &lines);
        let search = Search::new(&index_dir);
        let handler: pipe::ops::Handler = Arc::new(move |a| ask::answer(&search, &a.path, &a.query));
        pipe::ops::serve(&pipe::ops::At::Unix(socket.clone()), handler).unwrap();
        check(&Client::new(Some(&socket), None), &lines);

        let nobody = Client::new(Some(&dir.path().join("none.sock")), None);
        assert!(matches!(nobody.count(&question("")), Err(ClientError::Unreachable(_))));
    }

    fn check(client: &Client, lines: &[String]) {
        let mut newest_first: Vec<&str> = lines.iter().map(String::as_str).collect();
        newest_first.reverse();
        for n in [0, 1, 10, 25, 26] {
            let mut seen = Vec::new();
            client
                .each(&question("payload.a:ü"), n, None, |line| {
                    seen.push(line.to_owned());
                    true
                })
                .unwrap();
            let expected = if n == 0 { 25 } else { usize::try_from(n).unwrap().min(25) };
            assert_eq!(seen, newest_first.iter().take(expected).copied().collect::<Vec<_>>(), "{n}");
        }
        let Rest { next, hint, skipped } = client.each(&question(""), 20, None, |_| true).unwrap();
        assert!(skipped.is_empty() && hint.is_none());
        let hint = client.each(&question("a:ü"), 20, None, |_| true).unwrap().hint;
        assert_eq!(hint.as_deref(), Some("no event has a field `a`; did you mean `payload.a`?"));
        let mut rest = 0;
        client
            .each(&question(""), 0, next, |_| {
                rest += 1;
                true
            })
            .unwrap();
        assert_eq!(rest, 5);
        assert_eq!(client.count(&question("n03 OR payload.a:3")).unwrap().count, 1);
        assert_eq!(
            client.count_by(&question(""), "type").unwrap().values,
            [ValueCount { value: "t".into(), count: 25 }]
        );
        assert_eq!(client.every(&question(""), "10s").unwrap().buckets.len(), 3);
        assert_eq!(client.event("n07").unwrap().as_deref(), lines.get(7).map(String::as_str));
        assert_eq!(client.event("zz").unwrap(), None);
        let wrong = client.page(&question("a AND"), 5, None).unwrap_err();
        assert!(matches!(&wrong, ClientError::Question(text) if text.ends_with("a AND\n     ^")), "{wrong}");
    }
}

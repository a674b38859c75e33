//! Events, asked of the process that writes the store, over its socket (`/search`, `/count`, `/event/ID`); where none is,
//! of what this program was lent.

use std::io;
use std::time::Duration;

use pipe::config::Config;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::answer::Wrong;
use crate::ask::Who;
use crate::{lent, text};

/// A little longer than the store gives itself.
const TIMEOUT: Duration = Duration::from_secs(25);

/// What is asked; words as the person typed them.
#[derive(Debug, Clone, Default)]
pub struct Question<'a> {
    pub query: &'a str,
    pub since: &'a str,
    pub until: &'a str,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// The question is wrong: what, and where (the query with a caret under the mistake).
    Question(String, Option<String>),
    /// Nobody answers, or not in time.
    Away(String),
}

impl NoAnswer {
    /// What to tell a person.
    pub fn text(&self) -> &str {
        match self {
            Self::Question(text, _) | Self::Away(text) => text,
        }
    }

    /// The query with a caret under the mistake.
    pub fn caret(&self) -> Option<&str> {
        match self {
            Self::Question(_, caret) => caret.as_deref(),
            Self::Away(_) => None,
        }
    }

    /// For a program.
    pub fn status(&self) -> u16 {
        match self {
            Self::Question(..) => 400,
            Self::Away(_) => 503,
        }
    }
}

impl From<NoAnswer> for Wrong {
    fn from(why: NoAnswer) -> Self {
        Self::new(why.status(), why.text(), "`zentral status` says whether the store runs.")
    }
}

/// A page of events, newest first.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "EventPage")]
pub struct Page {
    pub events: Vec<Value>,
    pub next: Option<String>,
    #[serde(default)]
    pub skipped: Vec<Skipped>,
}

/// The same, each event as it is stored.
#[derive(Debug, Default, Deserialize)]
pub struct Lines {
    pub events: Vec<Box<RawValue>>,
    pub next: Option<String>,
    #[serde(default)]
    pub skipped: Vec<Skipped>,
}

/// A day that could not be read.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    pub day: String,
    pub why: String,
}

/// How many, by value or over time.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    pub count: u64,
    #[serde(default)]
    pub values: Vec<ValueCount>,
    #[serde(default)]
    pub other: u64,
    #[serde(default)]
    pub missing: u64,
    #[serde(default)]
    pub buckets: Vec<TimeCount>,
}

/// One value of a field.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ValueCount {
    pub value: String,
    pub count: u64,
}

/// One step of time.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct TimeCount {
    pub time: event::Time,
    pub count: u64,
}

/// The store as one person may see it.
pub struct Events<'a> {
    config: &'a Config,
    units: String,
}

impl<'a> Events<'a> {
    pub fn of(config: &'a Config, who: Option<&Who>) -> Self {
        Self { config, units: who.map(|who| who.units.join(",")).unwrap_or_default() }
    }

    /// A page.
    pub fn page(&self, question: &Question<'_>, n: u64, after: &str) -> Result<Page, NoAnswer> {
        self.ask("/search", question, &[("n", &n.to_string()), ("after", after)])
    }

    /// A page of events as they are stored, if the store has them within this time.
    pub fn lines(&self, question: &Question<'_>, n: usize, after: &str, time: Duration) -> Result<Lines, NoAnswer> {
        self.ask_within(time, "/search", question, &[("n", &n.to_string()), ("after", after)])
    }

    /// How many by the values of a field.
    pub fn by(&self, question: &Question<'_>, field: &str) -> Result<Counts, NoAnswer> {
        self.ask("/count", question, &[("by", field)])
    }

    /// How many in each step of time.
    pub fn every(&self, question: &Question<'_>, step: &str) -> Result<Counts, NoAnswer> {
        self.ask("/count", question, &[("every", step)])
    }

    /// One event, as it is stored.
    pub fn event(&self, id: &str) -> Result<Option<Vec<u8>>, NoAnswer> {
        let (status, body) = self.get(TIMEOUT, &format!("/event/{}", text::part(id)), &[])?;
        match status {
            200 => Ok(Some(body)),
            404 => Ok(None),
            _ => Err(refusal(status, &body)),
        }
    }

    fn ask<T: for<'d> Deserialize<'d>>(
        &self,
        path: &str,
        question: &Question<'_>,
        more: &[(&str, &str)],
    ) -> Result<T, NoAnswer> {
        self.ask_within(TIMEOUT, path, question, more)
    }

    fn ask_within<T: for<'d> Deserialize<'d>>(
        &self,
        time: Duration,
        path: &str,
        question: &Question<'_>,
        more: &[(&str, &str)],
    ) -> Result<T, NoAnswer> {
        let Question { query, since, until } = question;
        let words = [&[("q", *query), ("since", since), ("until", until)], more].concat();
        let (status, body) = self.get(time, path, &words)?;
        if status != 200 {
            return Err(refusal(status, &body));
        }
        serde_json::from_slice(&body).map_err(|e| NoAnswer::Away(format!("The store's answer is not understood: {e}")))
    }

    fn get(&self, time: Duration, path: &str, words: &[(&str, &str)]) -> Result<(u16, Vec<u8>), NoAnswer> {
        let none = || NoAnswer::Away("The pipeline has no store that is searched.".to_owned());
        let store = self.config.searched().ok_or_else(none)?;
        let words = text::query(&[words, &[("units", &self.units)]].concat());
        match pipe::ops::get(&self.config.socket(&store.first()), &format!("{path}?{words}"), time) {
            Ok(answer) => Ok(answer),
            Err(e) => nobody(&e)
                .then(|| lent::store(self.config, path, &words))
                .flatten()
                .ok_or_else(|| NoAnswer::Away(format!("The store `{}` does not answer.", store.name))),
        }
    }
}

/// Whether no process is there: a stale socket, or none. One that is there and says nothing is another matter.
pub fn nobody(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn refusal(status: u16, body: &[u8]) -> NoAnswer {
    let told: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = text::at(&told, "/error");
    let error = if error.is_empty() { format!("The store answers {status}.") } else { error.to_owned() };
    let caret = told.get("caret").and_then(Value::as_str).map(str::to_owned);
    if (400..500).contains(&status) { NoAnswer::Question(error, caret) } else { NoAnswer::Away(error) }
}

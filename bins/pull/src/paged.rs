//! Servers that tell all of a machine in a list of many pages.

use std::collections::HashSet;

use event::Machine;
use serde_json::Value;

use crate::conf::Conf;
use crate::sal::{Names, Sal};
use crate::watchman::Watchman;
use remote::http::Trouble;

/// Pages of a list, at most: a server that never ends must not hold us for ever.
pub const PAGES_MAX: usize = 5_000;

/// One page.
pub struct Page {
    /// What the server says of each machine, as the body of a raw line.
    pub records: Vec<Value>,
    /// Where the next page is.
    pub next: Option<String>,
}

/// Such a server.
pub enum Paged {
    /// See [`Sal`].
    Sal(Sal),
    /// See [`Watchman`].
    Watchman(Watchman),
}

impl Paged {
    /// Calls `each` with all records, page by page.
    pub async fn each(&self, mut each: impl AsyncFnMut(Value)) -> Result<(), Trouble> {
        let names = match self {
            Self::Sal(sal) => sal.names().await?,
            Self::Watchman(_) => Names::default(),
        };
        let (mut place, mut seen) = (None, HashSet::new());
        for _ in 0..PAGES_MAX {
            let page = match self {
                Self::Sal(sal) => sal.page(place, &names).await?,
                Self::Watchman(watchman) => watchman.page(place).await?,
            };
            let texts: Vec<String> = page.records.iter().map(Value::to_string).collect();
            let fresh = texts.iter().filter(|text| seen.insert(digest(text))).count();
            if fresh == 0 && !texts.is_empty() {
                return Err(Trouble::Other("a page is one that was there before".into()));
            }
            for record in page.records {
                each(record).await;
            }
            match page.next {
                None => return Ok(()),
                next => place = next,
            }
        }
        Err(endless())
    }

    /// The machine of a record, and when it was as the record says.
    pub fn machine(&self, conf: &Conf, record: &Value) -> (Machine, Option<i64>) {
        match self {
            Self::Sal(_) => (sources::sal::machine(record, &conf.units), sources::sal::taken(record)),
            Self::Watchman(_) => (sources::watchman::machine(record, &conf.units), sources::watchman::taken(record)),
        }
    }
}

/// To know a record again by; two that are taken for one only end a list that repeats itself anyway.
fn digest(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hash = DefaultHasher::new();
    text.hash(&mut hash);
    hash.finish()
}

/// A number, or the text of one.
pub fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// What the server says is not understood.
pub fn odd() -> Trouble {
    Trouble::Other("an answer is not what such a server says".into())
}

/// The list has no end.
pub fn endless() -> Trouble {
    Trouble::Other(format!("a list does not end after {PAGES_MAX} pages"))
}

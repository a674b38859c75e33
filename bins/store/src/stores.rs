//! The kinds of stores, a file each. A test keeps the list in step with the files of this folder.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use event::Time;
use pipe::config::{Config, Settings};
use pipe::{Metrics, StageError};

use crate::ask::Answer;
use crate::cluster::bulk::Stop;
use crate::index::{Gone, Verdict};
use crate::search::Finder;

// stores: begin
pub mod elasticsearch;
pub mod embedded;
pub mod http;
pub mod opensearch;
// stores: end

/// Every kind.
pub const ALL: &[Kind] = &[
    // list: begin
    elasticsearch::KIND,
    embedded::KIND,
    http::KIND,
    opensearch::KIND,
    // list: end
];

/// One kind of store.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The word in `kind = "…"`.
    pub name: &'static str,
    /// Reads the keys of its own and makes the store, which does not reach out before its first batch. What is wrong
    /// is said through the settings.
    pub open: fn(&mut Settings, &Reading<'_>) -> Option<Box<dyn Store>>,
}

/// What a kind may want to know besides its own keys.
pub struct Reading<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// How long events are kept.
    pub keep: Duration,
}

/// What a store is given when its stage starts.
pub struct Around {
    /// For metrics of its own.
    pub metrics: Metrics,
    /// Whether the end was asked for: a store that waits for another side looks at it.
    pub stop: Stop,
}

/// The most that a reader gives at once: a commit costs some milliseconds and a part of the index that has to be merged
/// later.
pub const BATCH: usize = event::LINE_MAX;

/// Where events are kept and found.
pub trait Store: Send {
    /// Once, before the first batch.
    fn start(&mut self, around: &Around) {
        let _ = around;
    }

    /// Bytes that a batch should have: what was begun and not ended is done again.
    fn batch_bytes(&self) -> usize {
        BATCH
    }

    /// Stores a batch durably; a verdict for each line, in order. The same batch again changes nothing.
    fn store(&mut self, lines: &[&[u8]], now: Time) -> Result<Vec<Verdict>, StageError>;

    /// Drops, durably, the events about these machines that were received until they were forgotten.
    fn forget(&mut self, gone: &[Gone]) -> Result<(), StageError>;

    /// Drops what is past retention.
    fn tidy(&mut self, now: Time) -> Result<(), StageError>;

    /// Changes how long events are kept.
    fn keep(&mut self, keep: Duration);

    /// What finds its events, in any thread, whether or not this process stores; none where events are only sent on.
    fn finder(&self) -> Option<Box<dyn Finder>>;

    /// Writes what the other side needs, whatever is there already, or, with a folder, the files of it; what was done, a
    /// line each.
    fn setup(&mut self, to: Option<&Path>) -> Result<Vec<String>, StageError> {
        let _ = to;
        Err(StageError::usage("a store of this kind needs no setup"))
    }
}

/// Answers a path and a query; see [`crate::ask::answer`].
pub type Answers = Arc<dyn Fn(&str, &str) -> Option<Answer> + Send + Sync>;

/// The kind of this name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    ALL.iter().find(|k| k.name == name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_folder() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stores");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|f| f.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        files.sort_unstable();
        assert_eq!(files, ALL.iter().map(|k| k.name).collect::<Vec<_>>());
        assert!(kind("embedded").is_some() && kind("other").is_none());
    }
}

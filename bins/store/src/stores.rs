//! The kinds of stores, a file each. A test keeps the list in step with the files of this folder.

use std::sync::Arc;
use std::time::Duration;

use event::Time;
use pipe::StageError;
use pipe::config::{Config, Settings};

use crate::ask::Answer;
use crate::index::{Gone, Verdict};

// stores: begin
pub mod embedded;
// stores: end

/// Every kind.
pub const ALL: &[Kind] = &[
    // list: begin
    embedded::KIND,
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

/// Where events are kept and found.
pub trait Store: Send {
    /// Stores a batch durably; a verdict for each line, in order. The same batch again changes nothing.
    fn store(&mut self, lines: &[&[u8]], now: Time) -> Result<Vec<Verdict>, StageError>;

    /// Drops, durably, the events about these machines that were received until they were forgotten.
    fn forget(&mut self, gone: &[Gone]) -> Result<(), StageError>;

    /// Drops what is past retention.
    fn tidy(&mut self, now: Time) -> Result<(), StageError>;

    /// Changes how long events are kept.
    fn keep(&mut self, keep: Duration);

    /// Answers questions while events are stored, in other threads.
    fn answers(&self) -> Answers;
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

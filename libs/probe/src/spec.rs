//! What goes into a set of probes, and what comes out of it.

use std::sync::Arc;

use crate::budget::Limit;
use crate::scope::Scope;

/// A filter's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its file's name, or `probe NAME`: what errors call it.
    pub name: Arc<str>,
    /// The jq program.
    pub text: Arc<str>,
}

/// One probe, as the configuration says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Name of the probe.
    pub name: String,
    /// See [`crate::rev`].
    pub rev: String,
    /// What decides.
    pub filter: Source,
    /// What ends an incident; asked only where `filter` does not match.
    pub until: Option<Source>,
    /// jq for the match's key; `None` is the machine key.
    pub by: Option<String>,
    /// `info`, `minor`, `major` or `critical`.
    pub severity: String,
    /// The actions to do.
    pub act: Vec<String>,
    /// The machines it is about.
    pub scope: Scope,
    /// `zentral/PROBE/REV` if the probe has a query: it sees only results of that.
    pub query_name: Option<String>,
    /// Match also what the first run of a differential query adds.
    pub first_run: bool,
    /// Matched and shown, not acted upon. Says nothing here; it is kept for the caller.
    pub shadow: bool,
}

impl Spec {
    /// A filter and nothing else: for every event, without query, scope or actions. Errors call it by this name.
    pub fn bare(name: &str, text: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.to_owned(),
            rev: String::new(),
            filter: Source { name: name.into(), text: text.into() },
            until: None,
            by: None,
            severity: String::new(),
            act: Vec::new(),
            scope: Scope::default(),
            query_name: None,
            first_run: true,
            shadow: false,
        }
    }
}

/// A match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Place of the probe among the specs.
    pub probe: usize,
    /// Value of `by`; of a long one its start and a hash.
    pub key: Option<String>,
    /// JSON text of the object that the filter gave, at most [`crate::CONTEXT_MAX`] bytes.
    pub context: Option<String>,
    /// `until` matched, not the filter.
    pub closes: bool,
}

/// Why a filter said nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// A runtime error of jq: counted, no event.
    Failed(String),
    /// A limit was exceeded: `filter_failed`.
    Exceeded(Limit),
}

/// A filter (or `by`, or `until`) that failed at an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Place of the probe among the specs.
    pub probe: usize,
    /// What happened.
    pub why: Why,
}

/// What became of one event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// In order of the specs.
    pub found: Vec<Found>,
    /// In order of the specs.
    pub failures: Vec<Failure>,
    /// How many filters jq ran.
    pub runs: usize,
}

/// Is told what is about to run, so that a crash can be blamed; may also keep a probe from running.
pub trait Note {
    /// jq will now run `probe` over the event of this id. `false`: leave it out (quarantined, switched off).
    fn before(&mut self, probe: usize, event_id: &str) -> bool;
    /// Whether this probe is to be left out even where its filter need not run: as [`Note::before`], without a run.
    fn is_off(&self, probe: usize) -> bool {
        let _ = probe;
        false
    }
    /// It came back.
    fn after(&mut self, probe: usize) {
        let _ = probe;
    }
}

/// Takes no notes.
pub struct Quiet;

impl Note for Quiet {
    fn before(&mut self, _: usize, _: &str) -> bool {
        true
    }
}

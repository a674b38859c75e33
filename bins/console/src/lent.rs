//! What answers where the process that should is away. The program `zentral` links the store and counts what `zentral
//! status` counts, and lends both; the small program `console` has neither and says who does not answer.

use std::sync::OnceLock;

use pipe::config::Config;

/// Status and body.
pub type Told = (u16, Vec<u8>);

/// What a program lends to its console.
pub struct Lent {
    /// Asks the events without the process that writes them: the embedded index, read-only, or the cluster. Takes path
    /// and query of the store's socket; none: there is nothing to ask.
    pub store: fn(&Config, &str, &str) -> Option<Told>,
    /// What `zentral up` would answer under `/report` or `/probes`, if none runs.
    pub report: fn(&Config, &str) -> Option<Vec<u8>>,
}

static LENT: OnceLock<Lent> = OnceLock::new();

/// Lends it to the console of this process; the first time counts.
pub fn lend(lent: Lent) {
    let _ = LENT.set(lent);
}

/// The store's answer.
pub fn store(config: &Config, path: &str, query: &str) -> Option<Told> {
    (LENT.get()?.store)(config, path, query)
}

/// The report.
pub fn report(config: &Config, path: &str) -> Option<Vec<u8>> {
    (LENT.get()?.report)(config, path)
}

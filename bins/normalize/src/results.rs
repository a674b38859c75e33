//! What results of osquery's queries mean beyond their events: tags of machines, how checks stand, runs that are missing,
//! queries that nobody runs, what queries cost. All of it is decided in the transaction of the line that tells it.

mod counts;
mod meaning;
mod queries;
mod runs;

use std::collections::BTreeMap;

use event::{Event, Machine, Raw, Time};
use pipe::config::Config;
use registry::db::{DbError, Tx};
use registry::prices::{self, Moved, Price};
use sources::Run;
use sources::osquery::{self, Ran};

use counts::Counts;
use meaning::Parts;
use queries::Queries;
use runs::Runs;

fn price(cost: osquery::Cost) -> Price {
    let osquery::Cost { cpu_us, memory, output, denied } = cost;
    Price { cpu: cpu_us, memory, output, denied }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Results {
    queries: Queries,
    counts: Counts,
    runs: Runs,
    parts: Parts,
    prices: Moved,
    /// The configuration is another, and what is kept does not fit it yet.
    stale: bool,
    /// Another instance may have seen runs.
    turned: bool,
}

/// The SQL of a query of the configuration and the name of its results: `PROBE`, or `PACK/QUERY`.
pub(crate) fn configured(config: &Config, name: &str) -> Option<(String, String)> {
    let queries = Queries::read(config);
    let query = queries.all().iter().find(|query| query.check == name)?;
    Some((query.sql.clone(), query.name.clone()))
}

impl Results {
    /// Another configuration holds. What was counted is written down by now.
    pub(crate) fn configure(&mut self, config: &Config) {
        self.queries = Queries::read(config);
        self.counts = Counts::default();
        self.runs = Runs::default();
        self.stale = true;
    }

    /// Another instance may have written what is known of machines. What was counted is written down by now.
    pub(crate) fn others_wrote(&mut self) {
        self.counts = Counts::default();
        self.parts = Parts::default();
    }

    /// Another instance may have seen runs of queries.
    pub(crate) fn turn(&mut self) {
        self.turned = self.queries.asks();
    }

    /// Whether a result that is one event as it stands means more than that, so that the line is to be looked at whole.
    pub(crate) fn means_more(&mut self, run: &Run<'_>, machine: Option<&str>, time: Time) -> bool {
        if self.stale || self.turned {
            return true;
        }
        let Some((number, query)) = self.queries.find(run.query) else { return false };
        self.runs.ran(number, time);
        if run.snapshot {
            return query.tag.is_some() || query.compliance;
        }
        match (run.count().filter(|_| query.counted), machine) {
            (Some((epoch, counter)), Some(machine)) => !self.counts.follows(machine, number, epoch, counter, time),
            _ => false,
        }
    }

    /// What went with queries that the configuration has no more; said when the next line is read.
    pub(crate) fn settle(&mut self, tx: &mut Tx<'_>, now: Time) -> Result<Vec<Event>, DbError> {
        let (stale, turned) = (std::mem::take(&mut self.stale), std::mem::take(&mut self.turned));
        if stale || turned {
            self.runs.load(tx, &self.queries, now)?;
        }
        if !stale {
            return Ok(Vec::new());
        }
        meaning::retain(tx, &self.queries, now)
    }

    /// Whether it matters in which groups a machine is that makes a request.
    pub(crate) fn ask_for_groups(&self) -> bool {
        self.queries.ask_for_groups()
    }

    /// What a line means; the events that come of it are added. `machine` is its machine, with its groups if they matter.
    pub(crate) fn take(
        &mut self,
        tx: &mut Tx<'_>,
        raw: &Raw,
        machine: &Machine,
        events: &mut Vec<Event>,
    ) -> Result<(), DbError> {
        if raw.kind == "request" {
            events.extend(self.runs.heard(&self.queries, raw, machine));
            return Ok(());
        }
        let Some(key) = raw.machine.key() else { return Ok(()) };
        let (mut found, mut inventory) = (None, false);
        let ran = Ran::of(raw, |name| {
            found = name.and_then(|name| self.queries.find(name));
            inventory = name.is_some_and(osquery::is_inventory);
            found.is_some() || inventory || name.is_none()
        });
        let Some(ran) = ran else { return Ok(()) };
        if inventory {
            let mut told: BTreeMap<&str, Price> = BTreeMap::new();
            for one in ran.rows().into_iter().flat_map(osquery::Rows::executed) {
                // Names come from outside; only those of the configuration are kept, so there are no more of them.
                let Some((number, query)) = self.queries.find_name(&one.name) else { continue };
                if let Some(at) = one.last {
                    self.runs.ran(number, Time::from_ms(at).min(raw.received));
                }
                // By the name with the revision: another SQL has another price.
                told.extend(one.cost.map(|cost| (query.name.as_str(), price(cost))));
            }
            prices::put(tx, key, &told.into_iter().collect::<Vec<_>>(), &mut self.prices)?;
            return Ok(());
        }
        if let Some((number, query)) = found {
            self.runs.ran(number, ran.time);
            if let Some((epoch, counter)) = ran.count().filter(|_| query.counted) {
                let missing = self.counts.take(tx, key, (number, &query.query), epoch, counter, ran.time)?;
                let missing = missing.filter(|_| counts::are_counted(raw));
                events.extend(missing.and_then(|runs| counts::missing(raw, query, epoch, runs)));
            }
        }
        meaning::take(tx, (raw, key), found.map(|(_, query)| query), &ran, &mut self.parts, events)
    }

    /// A machine was known under this key, until it told the better one that the line has; what was counted was written down
    /// before.
    pub(crate) fn renamed(&mut self, tx: &mut Tx<'_>, raw: &Raw, old: &str) -> Result<Vec<Event>, DbError> {
        let Some(key) = raw.machine.key() else { return Ok(Vec::new()) };
        self.counts.forget(old);
        self.counts.forget(key);
        Ok(meaning::renewed(tx, raw, key)?.into_iter().collect())
    }

    /// Writes down how far counts are.
    pub(crate) fn write_counts(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        self.counts.flush(tx, &self.queries)
    }

    /// Nothing is known of the machine any more.
    pub(crate) fn forget(&mut self, machine: &str) {
        self.counts.forget(machine);
    }

    /// Writes down what was counted.
    pub(crate) fn flush(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        self.write_counts(tx)?;
        self.prices.flush(tx)?;
        self.runs.flush(tx, &self.queries)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;

//! Queries of probes that nobody runs. That a machine was there to run one is known by its requests, of which each tells a
//! line every 10 minutes; that one did, by results and by the inventory, which says when each query was last run.

use event::{Event, Machine, Raw, Time};
use registry::db::{DbError, Tx};
use registry::results::{self as state, Run};
use serde_json::json;

use super::queries::Queries;
use crate::inventory::of_line;

/// Between two requests of machines that are there lies no more, in ms.
const APART_MS: i64 = 15 * 60_000;
/// Times are kept as exact as this, in ms.
const STEP_MS: i64 = 60_000;

/// The runs, by number of the query; none: nobody asks when it was run.
#[derive(Debug, Default)]
pub(super) struct Runs(Vec<Option<Kept>>);

#[derive(Debug)]
struct Kept {
    run: Run,
    moved: bool,
}

impl Runs {
    /// Reads what is known, and forgets what is asked no more. What is asked for the first time counts from now.
    pub(super) fn load(&mut self, tx: &mut Tx<'_>, queries: &Queries, now: Time) -> Result<(), DbError> {
        let mut known = Vec::new();
        for (name, run) in state::runs(tx)? {
            match queries.find_name(&name).filter(|(_, query)| query.asked.is_some()) {
                Some((number, _)) => known.push((number, run)),
                None => state::forget_run(tx, &name)?,
            }
        }
        let fresh = Run { last: now, heard: now, awake: 0, silent: false };
        let kept = |(number, query): (usize, &super::queries::Query)| {
            query.asked.as_ref()?;
            let known = known.iter().find(|(of, _)| *of == number).map(|(_, run)| *run);
            Some(Kept { run: known.unwrap_or(fresh), moved: known.is_none() })
        };
        self.0 = queries.all().iter().enumerate().map(kept).collect();
        Ok(())
    }

    /// A machine ran it then.
    pub(super) fn ran(&mut self, query: usize, at: Time) {
        let Some(Some(kept)) = self.0.get_mut(query) else { return };
        let run = &mut kept.run;
        if at.ms() < run.last.ms().saturating_add(STEP_MS) {
            return;
        }
        *run = Run { last: at, awake: 0, silent: false, ..*run };
        kept.moved = true;
    }

    /// A machine spoke; what it should have run, and nobody has for too long.
    pub(super) fn heard(&mut self, queries: &Queries, raw: &Raw, machine: &Machine) -> Vec<Event> {
        let (mut events, now) = (Vec::new(), raw.received);
        for (kept, query) in self.0.iter_mut().zip(queries.all()) {
            let (Some(kept), Some((scope, after))) = (kept, &query.asked) else { continue };
            let run = &mut kept.run;
            let since = now.ms().saturating_sub(run.heard.ms());
            if since < STEP_MS || !scope.holds(machine) {
                continue;
            }
            if since <= APART_MS {
                run.awake = run.awake.saturating_add(since);
            }
            run.heard = now;
            kept.moved = true;
            if !run.silent && run.awake >= *after {
                run.silent = true;
                let payload = json!({"probe": query.check, "query": query.name, "last_run": run.last});
                let event = of_line(raw, "query_silent", &payload, Vec::new());
                events.extend(event.map(|event| Event { tags: vec!["osquery".to_owned()], machine: None, ..event }));
            }
        }
        events
    }

    /// Writes down what has moved.
    pub(super) fn flush(&mut self, tx: &mut Tx<'_>, queries: &Queries) -> Result<(), DbError> {
        for (kept, query) in self.0.iter_mut().zip(queries.all()) {
            if let Some(kept) = kept.as_mut().filter(|kept| kept.moved) {
                kept.moved = false;
                state::put_run(tx, &query.name, kept.run)?;
            }
        }
        Ok(())
    }
}

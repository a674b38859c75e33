//! Why a probe's filter was never asked: what stood before it, event after event. Counted by the engine itself, with
//! probes that have the query and scope of those in question and let everything pass.

use std::collections::BTreeSet;
use std::fmt;

use event::json;
use probe::{FilterSet, NoModules, Quiet, Scope, Scratch, Spec};

/// Names of other queries that are told.
const NAMES_MAX: usize = 3;

/// Probes of whose filters it is not known yet that any event reaches them.
pub struct Gates {
    waiting: Vec<Waiting>,
    set: Option<FilterSet>,
    scratch: Scratch,
    events: u64,
    most: u64,
}

/// A probe and how far the events came. Of a probe that is left out (an event reached its filter) nothing is kept.
struct Waiting {
    probe: usize,
    spec: Spec,
    past_query: u64,
    past_scope: u64,
    renamed: u64,
    names: BTreeSet<String>,
}

/// The probes that stand for each in the set: past its query, its scope too, the first run too; another query of its name.
const STEPS: usize = 4;

impl Gates {
    /// Of these probes, known by their places; it looks at no more than `most` events.
    pub fn new<'s>(specs: impl Iterator<Item = (usize, &'s Spec)>, most: u64) -> Self {
        let gated = specs.filter(|(_, spec)| spec.query_name.is_some() || !spec.scope.is_empty());
        let waiting = gated.map(|(probe, spec)| Waiting {
            probe,
            spec: spec.clone(),
            past_query: 0,
            past_scope: 0,
            renamed: 0,
            names: BTreeSet::new(),
        });
        let waiting: Vec<Waiting> = waiting.collect();
        Self { set: set(&waiting), waiting, scratch: Scratch::default(), events: 0, most }
    }

    /// Looks at events, as long as there is anything to find out. On a thread that [`probe::with_stack`] started.
    pub fn see<'l>(&mut self, lines: impl Iterator<Item = &'l [u8]>) {
        if self.waiting.is_empty() || self.events >= self.most {
            return;
        }
        let Self { waiting, set: Some(set), scratch, events, most } = self else { return };
        let mut reached = BTreeSet::new();
        let mut runner = set.runner(scratch).without_contexts();
        for line in lines {
            if *events >= *most {
                break;
            }
            let canonical = json::is_canonical(line);
            let outcome = if canonical { runner.run(line, 0, &mut Quiet) } else { runner.naive(line, 0, &mut Quiet) };
            let Ok(outcome) = outcome else { continue };
            *events += 1;
            for found in outcome.found {
                let Some(one) = waiting.get_mut(found.probe / STEPS) else { continue };
                match found.probe % STEPS {
                    0 => one.past_query += 1,
                    1 => one.past_scope += 1,
                    2 => drop(reached.insert(one.probe)),
                    _ => one.renamed(line),
                }
            }
        }
        drop(runner);
        if !reached.is_empty() {
            self.waiting.retain(|one| !reached.contains(&one.probe));
            self.set = self::set(&self.waiting);
        }
    }

    /// What was found out: the probes whose filters no event reached, by place. Nothing if there was no event.
    pub fn stopped(&self) -> impl Iterator<Item = (usize, Stopped)> {
        let (events, limited) = (self.events, self.events >= self.most);
        self.waiting.iter().filter(move |_| events > 0).map(move |one| {
            let stopped = Stopped {
                events,
                limited,
                query: events.saturating_sub(one.past_query),
                scope: one.past_query.saturating_sub(one.past_scope),
                first_run: one.past_scope,
                renamed: one.renamed,
                names: one.names.iter().cloned().collect(),
            };
            (one.probe, stopped)
        })
    }
}

impl Waiting {
    /// A result of a query that the probe had once, or has elsewhere.
    fn renamed(&mut self, line: &[u8]) {
        self.renamed += 1;
        let name = json::get(line, "payload").and_then(|payload| json::get(payload, "name"));
        if let Some(name) = name.and_then(json::parse_str).filter(|_| self.names.len() < NAMES_MAX) {
            self.names.insert(name.into_owned());
        }
    }
}

/// None: programs of our own do not compile, which cannot be; nothing is said then.
fn set(waiting: &[Waiting]) -> Option<FilterSet> {
    let specs = waiting.iter().flat_map(|Waiting { spec, .. }| {
        let Spec { name, scope, query_name, first_run, .. } = spec;
        let past = |scope: &Scope, first_run| Spec {
            scope: scope.clone(),
            query_name: query_name.clone(),
            first_run,
            ..Spec::bare(name, "true")
        };
        let renamed = match query_name {
            // Names of probes have no characters that would have to be escaped.
            Some(own) => format!(
                r#".type == "osquery_result" and .payload.name != "{own}" and (.payload.name | startswith("zentral/{name}/"))"#
            ),
            None => "false".to_owned(),
        };
        [past(&Scope::default(), true), past(scope, true), past(scope, *first_run), Spec::bare(name, renamed)]
    });
    FilterSet::build(specs.collect(), &NoModules).ok()
}

/// What kept every event from a filter, in the order in which it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// Events that were looked at.
    pub events: u64,
    /// There may have been more.
    pub limited: bool,
    /// No results of the probe's query.
    pub query: u64,
    /// Of machines that are out of its scope.
    pub scope: u64,
    /// Of the first run of its query.
    pub first_run: u64,
    /// Results of a query that has its name and another revision.
    pub renamed: u64,
    /// Names of such queries.
    pub names: Vec<String>,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, limited, query, scope, first_run, renamed, names } = self;
        let s = |n: u64| if n == 1 { "" } else { "s" };
        let first = if *limited { "the first " } else { "" };
        write!(f, "{first}{events} event{}, none reached the filter: ", s(*events))?;
        let parts = [
            (*query, format!("{query} not its query's result{}", s(*query))),
            (*scope, format!("{scope} out of scope")),
            (*first_run, format!("{first_run} of the first run of its query (`first_run`)")),
        ];
        let parts: Vec<String> = parts.into_iter().filter(|(n, _)| *n > 0).map(|(_, text)| text).collect();
        f.write_str(&parts.join(", "))?;
        if *renamed > 0 {
            let (s, is) = (s(*renamed), if *renamed == 1 { "is" } else { "are" });
            let names = names.join(", ");
            write!(f, "; its query has changed: {renamed} result{s} recorded as {names} {is} not given to it")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn spec(query: Option<&str>, platforms: &[&str], first_run: bool) -> Spec {
        let scope = Scope { platforms: platforms.iter().map(|p| (*p).to_owned()).collect(), ..Scope::default() };
        Spec { scope, query_name: query.map(str::to_owned), first_run, ..Spec::bare("p", "nothing that could run") }
    }

    fn result(name: &str, platform: &str, counter: u32) -> String {
        format!(
            r#"{{"type":"osquery_result","machine":{{"platform":"{platform}"}},"payload":{{"name":"{name}","counter":{counter}}}}}"#
        )
    }

    #[test]
    fn what_stood_before_each_filter() {
        let own = "zentral/p/1f6c09aa";
        let specs = [
            spec(None, &[], false),
            spec(Some(own), &["linux"], false),
            spec(Some(own), &[], true),
            spec(None, &["windows"], false),
        ];
        let mut lines =
            vec![result(own, "macos", 1), result(own, "linux", 0), result("zentral/p/00000000", "linux", 1)];
        // Not canonical, and no event at all.
        lines.extend([result("zentral/pp/1", "linux", 1).replace(":", ": "), "[]".to_owned()]);
        let said = |lines: &[String], most| {
            probe::with_stack(|| {
                let mut gates = Gates::new(specs.iter().enumerate(), most);
                gates.see(lines.iter().map(String::as_bytes));
                gates.see(std::iter::empty());
                gates.stopped().map(|(probe, stopped)| format!("{probe}: {stopped}")).collect::<Vec<_>>()
            })
            .unwrap()
        };
        let want = [
            "1: 4 events, none reached the filter: 2 not its query's results, 1 out of scope, 1 of the first run of its \
             query (`first_run`); its query has changed: 1 result recorded as zentral/p/00000000 is not given to it",
            "3: 4 events, none reached the filter: 4 out of scope",
        ];
        assert_eq!(said(&lines, 100), want);
        let first = |n: usize| format!("{n}: the first 1 event, none reached the filter: 1 out of scope");
        assert_eq!(said(&lines, 1), [first(1), first(3)]);
        lines.extend([result(own, "linux", 1), result("x", "windows", 0)]);
        assert_eq!((said(&lines, 100), said(&[], 100)), (vec![], vec![]));
    }
}

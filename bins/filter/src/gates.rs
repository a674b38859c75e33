//! Why nothing came of a probe: what stood before its filter, event after event, or that the filter fails. The first is
//! counted by the engine itself, with probes that have the query and scope of those in question and let everything pass;
//! for the second jq runs over the first events that reached the filter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use event::json;
use probe::{FilterSet, NoModules, Quiet, Scope, Scratch, Spec};

use crate::tried::{Failing, Room, Sample, Shared};

/// Names of other queries that are told.
const NAMES_MAX: usize = 3;

/// Probes of which nothing has come yet.
pub struct Gates {
    /// Those with a query or scope, until enough events have reached their filters.
    waiting: Vec<Waiting>,
    set: Option<FilterSet>,
    scratch: Scratch,
    events: u64,
    most: u64,
    /// Those that every event reaches, and the first events.
    open: BTreeSet<usize>,
    first: Sample,
    /// Those that are no longer waited for, and the events that reached them.
    reached: BTreeMap<usize, Sample>,
    matched: BTreeSet<usize>,
    room: Room,
}

/// A probe and how far the events came.
struct Waiting {
    probe: usize,
    spec: Spec,
    past_query: u64,
    past_scope: u64,
    renamed: u64,
    names: BTreeSet<String>,
    reached: Sample,
}

/// The probes that stand for each in the set: past its query, its scope too, the first run too; another query of its name.
const STEPS: usize = 4;

impl Gates {
    /// Of these probes, known by their places; it looks at no more than `most` events.
    pub fn new<'s>(specs: impl Iterator<Item = (usize, &'s Spec)>, most: u64) -> Self {
        let (gated, open): (Vec<_>, Vec<_>) =
            specs.partition(|(_, spec)| spec.query_name.is_some() || !spec.scope.is_empty());
        let waiting = gated.into_iter().map(|(probe, spec)| Waiting {
            probe,
            spec: spec.clone(),
            past_query: 0,
            past_scope: 0,
            renamed: 0,
            names: BTreeSet::new(),
            reached: Sample::default(),
        });
        let waiting: Vec<Waiting> = waiting.collect();
        Self {
            set: set(&waiting),
            waiting,
            scratch: Scratch::default(),
            events: 0,
            most,
            open: open.into_iter().map(|(probe, _)| probe).collect(),
            first: Sample::default(),
            reached: BTreeMap::new(),
            matched: BTreeSet::new(),
            room: Room::default(),
        }
    }

    /// A probe chose an event: there is nothing to find out about it.
    pub fn matched(&mut self, probe: usize) {
        self.matched.insert(probe);
    }

    /// Looks at events, as long as there is anything to find out. On a thread that [`probe::with_stack`] started.
    pub fn see<'l>(&mut self, lines: impl Iterator<Item = &'l [u8]>) {
        let enough = self.waiting.is_empty() && (self.open.is_empty() || self.first.is_full());
        if enough || self.events >= self.most {
            return;
        }
        let Self { waiting, set: Some(set), scratch, events, most, first, room, .. } = self else { return };
        let mut runner = set.runner(scratch).without_contexts();
        for line in lines {
            if *events >= *most {
                break;
            }
            let canonical = json::is_canonical(line);
            let outcome = if canonical { runner.run(line, 0, &mut Quiet) } else { runner.naive(line, 0, &mut Quiet) };
            let Ok(outcome) = outcome else { continue };
            *events += 1;
            let mut shared = Shared::new(line);
            first.add(&mut shared, room);
            for found in outcome.found {
                let Some(one) = waiting.get_mut(found.probe / STEPS) else { continue };
                match found.probe % STEPS {
                    0 => one.past_query += 1,
                    1 => one.past_scope += 1,
                    2 => one.reached.add(&mut shared, room),
                    _ => one.renamed(line),
                }
            }
        }
        drop(runner);
        let known = |one: &mut Waiting| one.reached.is_full() || self.matched.contains(&one.probe);
        let known: Vec<Waiting> = self.waiting.extract_if(.., known).collect();
        if !known.is_empty() {
            self.reached.extend(known.into_iter().map(|one| (one.probe, one.reached)));
            self.set = self::set(&self.waiting);
        }
    }

    /// The probes whose filters fail, by place: those that chose nothing, at the first events that reached them. `set` has
    /// the probes that were given.
    pub fn failing(&self, set: &FilterSet) -> impl Iterator<Item = (usize, Failing)> {
        let open = self.open.iter().map(|probe| (*probe, &self.first));
        let waiting = self.waiting.iter().map(|one| (one.probe, &one.reached));
        let all = open.chain(waiting).chain(self.reached.iter().map(|(probe, sample)| (*probe, sample)));
        let silent = all.filter(|(probe, _)| !self.matched.contains(probe));
        silent.filter_map(move |(probe, sample)| Some((probe, sample.failing(set, probe)?)))
    }

    /// The probes whose filters no event reached, by place, and why. Nothing if there was no event.
    pub fn stopped(&self) -> impl Iterator<Item = (usize, Stopped)> {
        let (events, limited) = (self.events, self.events >= self.most);
        self.waiting.iter().filter(move |one| events > 0 && one.reached.is_empty()).map(move |one| {
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
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
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

    #[test]
    fn what_jq_never_ran_is_tried() {
        let event =
            |id: &str, a: u32, s: &str| format!(r#"{{"id":"{id}","machine":{{"platform":"macos"}},"a":{a},"s":{s}}}"#);
        let fails = r#".a == 1 and (.s | startswith("x"))"#;
        let linux = Scope { platforms: vec!["linux".into()], ..Scope::default() };
        let macos = Scope { platforms: vec!["macos".into()], ..Scope::default() };
        let specs = [
            Spec::bare("free", fails),
            Spec { scope: macos, ..Spec::bare("scoped", fails) },
            Spec { scope: linux, ..Spec::bare("stopped", fails) },
            Spec::bare("right", ".a == 3"),
            Spec::bare("matches", ".a == 1 or error"),
            Spec::bare("loops", "def f: f; .a == 1 and f"),
        ];
        let mut lines = vec![event("$(x)", 2, "1"), event("e-1", 1, "null"), event("e-2", 1, "\"y\"")];
        let said = |lines: &[String]| {
            probe::with_stack(|| {
                let set = FilterSet::build(specs.to_vec(), &NoModules).map_err(|_| "wrong").unwrap();
                let mut gates = Gates::new(specs.iter().enumerate(), 1000);
                gates.see(lines.iter().map(String::as_bytes));
                gates.matched(4);
                let mut scratch = Scratch::default();
                let mut runner = set.runner(&mut scratch);
                let ran = lines.iter().flat_map(|l| runner.run(l.as_bytes(), 0, &mut Quiet).unwrap().failures);
                assert!(ran.into_iter().all(|failure| ![0, 1].contains(&failure.probe)), "or it is counted anyway");
                let told = |(probe, f): (usize, Failing)| format!("{probe}: {f}; {}", f.advice("p"));
                gates.failing(&set).map(told).collect::<Vec<_>>()
            })
            .unwrap()
        };
        let got = said(&lines);
        assert_eq!(got.len(), 3, "{got:?}");
        for (said, want) in got.iter().zip([
            "0: its filter failed at 1 of 3 events that reached it: ",
            "5: its filter failed at 2 of 3 events that reached it: exceeded its limit of ",
            "1: its filter failed at 1 of 3 events that reached it: ",
        ]) {
            assert!(said.starts_with(want) && said.ends_with("; `grep e-1 FILE | zentral explain p`"), "{said}");
        }
        // Of many the first ones, and no id of a machine's own becomes a part of a command.
        lines = (0..40).map(|_| event("$(x)", 1, "{}")).collect();
        let got = said(&lines);
        let want = "0: its filter failed at 16 of the first 16 events that reached it: ";
        assert!(got[0].starts_with(want) && got[0].ends_with("; `zentral explain p < FILE`"), "{got:?}");
        assert_eq!(said(&[event("a", 3, "1")]), Vec::<String>::new());
    }
}

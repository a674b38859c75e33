//! Lines of strangers before the filter engine: it says what every filter says that runs alone.
//!
//! The filters are those of the differential test, at the borders of what an analysis may conclude; random filters are
//! its business, here a fuzzer that sees which way the engine takes chooses the lines.

use std::cell::RefCell;
use std::time::Duration;

use event::json;
use probe::{
    Decision, Failure, FilterSet, Limits, NoModules, Note, Outcome, Program, Quiet, Scratch, Spec, Why, compile, parse,
};

use super::big_stack::BigStack;
use super::show;

const FILTERS: &str = include_str!("../../../libs/probe/tests/differential/grammar/edges.jq");
/// Filters of a set.
const SET: usize = 30;

/// `data` is a byte that chooses a set of filters, then a line.
pub fn run(data: &[u8]) {
    static WORKER: BigStack = BigStack::new(check);
    WORKER.run(data);
}

/// A set, and each of its filters alone.
struct Both {
    engine: FilterSet,
    alone: Vec<Program>,
}

thread_local! {
    static SETS: RefCell<Vec<Both>> = RefCell::new(sets());
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

fn sets() -> Vec<Both> {
    let filters: Vec<&str> = FILTERS.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    filters.chunks(SET).map(set).collect()
}

fn set(filters: &[&str]) -> Both {
    let alone = filters.iter().map(|text| compile(text, "fuzz", &NoModules).expect("filters of our own")).collect();
    let specs = filters.iter().map(|text| spec(text)).collect();
    let engine = FilterSet::build(specs, &NoModules).expect("filters that compile alone").with_limits(limits());
    Both { engine, alone }
}

fn spec(text: &str) -> Spec {
    Spec { first_run: false, ..Spec::bare("fuzz", text) }
}

/// Small; CPU time would make runs differ, so it is no limit.
fn limits() -> Limits {
    Limits { steps: 5_000, cpu: Duration::from_secs(600), ..Limits::default() }
}

fn check(data: &[u8]) {
    let Some((choice, line)) = data.split_first() else { return };
    SETS.with_borrow(|sets| {
        SCRATCH.with_borrow_mut(|scratch| one(&sets[usize::from(*choice) % sets.len()], line, scratch));
    });
}

fn one(both: &Both, line: &[u8], scratch: &mut Scratch) {
    let mut runner = both.engine.runner(scratch);
    let note: &mut dyn Note = &mut Quiet;
    let mut canonical = Vec::new();
    if json::canonical(line, &mut canonical).is_err() {
        assert!(runner.naive(line, 0, note).is_err(), "no JSON, but an event: {}", show(line));
        // The stage never hands it on; whatever is said of it, it is said without a panic.
        let _ = runner.run(line, 0, note);
        return;
    }
    let ours = runner.run(&canonical, 0, note);
    let (Ok(event), Some(b'{')) = (parse(&canonical), canonical.first()) else {
        assert!(ours.is_err(), "no event, but {ours:?}: {}", show(&canonical));
        return;
    };
    let ours = ours.unwrap_or_else(|e| panic!("an event, but {e}: {}", show(&canonical)));
    let now_ms = json::get(&canonical, "received")
        .and_then(json::parse_str)
        .and_then(|t| t.parse().ok())
        .map_or(0, event::Time::ms);
    let alone: Vec<Decision> = both.alone.iter().map(|p| p.decide(&event, now_ms, &limits())).collect();
    compare(&alone, &ours, &canonical);
    if canonical != line {
        let naive = runner.naive(line, 0, note).unwrap_or_else(|e| panic!("an event, but {e}: {}", show(line)));
        compare(&alone, &naive, line);
    }
}

/// The same matches with the same contexts, and no failure that was none.
fn compare(alone: &[Decision], ours: &Outcome, line: &[u8]) {
    for (i, said) in alone.iter().enumerate() {
        let found = ours.found.iter().find(|f| f.probe == i).map(|f| &f.context);
        let wanted = if let Decision::Yes(context) = said { Some(context) } else { None };
        // Deciding in fewer steps is no fault.
        let exceeded = matches!(said, Decision::Exceeded(_));
        assert!(found == wanted || exceeded, "filter {i}: {said:?} alone, {found:?} in the set: {}", show(line));
    }
    for Failure { probe, why } in &ours.failures {
        let same = match (&alone[*probe], why) {
            (Decision::Failed(text), Why::Failed(ours)) => text == ours,
            (Decision::Exceeded(limit), Why::Exceeded(ours)) => limit == ours,
            _ => false,
        };
        assert!(same, "filter {probe}: {why:?}, but alone {:?}: {}", alone[*probe], show(line));
    }
}

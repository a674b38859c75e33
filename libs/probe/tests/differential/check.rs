//! The engine beside the naive way: the same matches, and no failure that the naive way has not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use event::json;
use probe::{FilterSet, Limits, Modules, Note, Outcome, ParseError, Spec};

use super::naive::{Naive, answer};

/// What is judged. The tests judge broken ones too, to see that they are found out.
pub trait Engine: Sync {
    fn run(&self, line: &[u8], now_ms: i64, note: &mut (dyn Note + Send)) -> Result<Outcome, ParseError>;
}

impl Engine for FilterSet {
    fn run(&self, line: &[u8], now_ms: i64, note: &mut (dyn Note + Send)) -> Result<Outcome, ParseError> {
        Self::run(self, line, now_ms, note)
    }
}

/// Makes an engine of probes.
pub type Build = fn(Vec<Spec>) -> Box<dyn Engine>;

/// The engine that ships.
pub fn real(specs: Vec<Spec>) -> Box<dyn Engine> {
    let set = FilterSet::build(specs, &modules()).unwrap_or_else(|e| panic!("each compiles alone, all do not: {e:?}"));
    Box::new(set.with_limits(limits()))
}

/// What filters may import here.
pub fn modules() -> impl Modules {
    super::grow::modules
}

/// Time is no limit, as runs would differ by it, and loops end sooner than in earnest.
pub fn limits() -> Limits {
    Limits { steps: 8_000, cpu: Duration::from_secs(3600), ..Limits::default() }
}

/// A thousand times as much.
fn no_limits() -> Limits {
    let limits = limits();
    Limits { steps: limits.steps * 1000, bytes: limits.bytes * 16, ..limits }
}

/// `now` of events without `received`.
pub const NOW_MS: i64 = 1_795_287_600_123;

/// Leaves some probes out, as quarantine does.
pub struct Off<'a>(pub &'a [usize]);

impl Note for Off<'_> {
    fn before(&mut self, probe: usize, _: &str) -> bool {
        !self.0.contains(&probe)
    }
}

/// The line as the stage hands it to the engine; nothing if it refuses it.
pub fn as_the_stage_does(line: &[u8]) -> Option<Vec<u8>> {
    if json::is_canonical(line) {
        return Some(line.to_vec());
    }
    let mut text = Vec::with_capacity(line.len());
    json::canonical(line, &mut text).ok()?;
    Some(text)
}

/// Numbers of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub pairs: u64,
    pub lines: u64,
    pub sets: u64,
    /// Pairs that match, pairs for which the engine ran jq, and pairs where the naive way failed.
    pub matches: u64,
    pub runs: u64,
    pub failures: u64,
    /// Pairs where only the naive way exceeded a limit.
    pub cheaper: u64,
    /// Lines that the stage refuses, and those that it rewrites.
    pub refused: u64,
    pub rewritten: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        let Self { pairs, lines, sets, matches, runs, failures, cheaper, refused, rewritten } = other;
        self.pairs += pairs;
        self.lines += lines;
        self.sets += sets;
        self.matches += matches;
        self.runs += runs;
        self.failures += failures;
        self.cheaper += cheaper;
        self.refused += refused;
        self.rewritten += rewritten;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |n: u64| n as f64 * 100.0 / self.pairs.max(1) as f64;
        write!(
            f,
            "{} pairs ({} sets, {} lines): {:.1} % match, {:.1} % fail, jq ran for {:.1} %; {} lines rewritten, {} refused; the engine was within a limit that the naive way exceeded: {}",
            self.pairs,
            self.sets,
            self.lines,
            percent(self.matches),
            percent(self.failures),
            percent(self.runs),
            self.rewritten,
            self.refused,
            self.cheaper
        )
    }
}

/// Asks both about one canonical line.
///
/// # Errors
/// What each of them says, if they differ.
pub fn line(
    engine: &dyn Engine,
    probes: &[&Naive],
    line: &[u8],
    off: &[usize],
    tally: &mut Tally,
) -> Result<(), String> {
    let naive = answer(probes, line, NOW_MS, &limits(), off);
    let ours = catch_unwind(AssertUnwindSafe(|| engine.run(line, NOW_MS, &mut Off(off))));
    let ours = ours.map_err(|_| "the engine panicked (its message stands above)".to_owned())?;
    tally.pairs += probes.len() as u64;
    tally.lines += 1;
    let (naive, ours) = match (naive, ours) {
        (Err(_), Err(_)) => return Ok(()),
        (Ok(naive), Ok(ours)) => (naive, ours),
        (naive, ours) => return Err(format!("naive: {naive:?}\nengine: {ours:?}")),
    };
    tally.matches += naive.found.len() as u64;
    tally.runs += ours.runs as u64;
    tally.failures += naive.failures.len() as u64;
    if same(&naive, &ours) {
        return Ok(());
    }
    // An engine that decides in fewer steps is not wrong.
    let patient = answer(probes, line, NOW_MS, &no_limits(), off);
    match patient {
        Ok(patient) if patient.found == ours.found && subset(&naive, &ours) => {
            tally.cheaper += 1;
            Ok(())
        }
        _ => Err(format!("naive: {}\nengine: {}", said(probes, &naive), said(probes, &ours))),
    }
}

fn same(naive: &Outcome, ours: &Outcome) -> bool {
    naive.found == ours.found && subset(naive, ours)
}

/// The engine may leave out a filter that cannot match, and so its failure; it must not invent one.
fn subset(naive: &Outcome, ours: &Outcome) -> bool {
    let mut theirs = naive.failures.iter();
    ours.failures.iter().all(|failure| theirs.any(|other| other == failure))
}

fn said(probes: &[&Naive], outcome: &Outcome) -> String {
    let name = |i: usize| probes.get(i).map_or("?", |p| p.spec.name.as_str());
    let mut parts: Vec<String> = outcome
        .found
        .iter()
        .map(|f| {
            format!(
                "{} key={:?} context={:?}{}",
                name(f.probe),
                f.key,
                f.context,
                if f.closes { " closes" } else { "" }
            )
        })
        .collect();
    parts.extend(outcome.failures.iter().map(|f| format!("{} {:?}", name(f.probe), f.why)));
    if parts.is_empty() { "nothing".into() } else { parts.join("\n        ") }
}

//! The engine beside the naive way: the same matches, and no failure that the naive way has not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use event::json;
use probe::{FilterSet, Found, Limits, Modules, Note, Outcome, ParseError, Scratch, Spec, Why};

use super::naive::{Naive, answer};

/// What an engine says of a line.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    Outcome(Outcome),
    /// The line is no event.
    Refused,
    /// Its message stands above.
    Panicked,
}

/// What is judged. The tests judge broken ones too, to see that they are found out.
pub trait Engine: Sync {
    /// Answers about lines in canonical form, one after the other; with `carried` also what a match carries.
    fn ask(&self, lines: &[&[u8]], off: &[usize], carried: bool, scratch: &mut Scratch) -> Vec<Said>;

    /// Answers about a line in any form.
    fn ask_any(&self, line: &[u8], off: &[usize], scratch: &mut Scratch) -> Said;

    /// The engine after a reload.
    fn reload(&self, specs: Vec<Spec>) -> Box<dyn Engine>;
}

impl Engine for FilterSet {
    fn ask(&self, lines: &[&[u8]], off: &[usize], carried: bool, scratch: &mut Scratch) -> Vec<Said> {
        let runner = self.runner(scratch);
        let mut runner = if carried { runner } else { runner.without_contexts() };
        lines.iter().map(|line| said(|| runner.run(line, NOW_MS, &mut Off(off)))).collect()
    }

    fn ask_any(&self, line: &[u8], off: &[usize], scratch: &mut Scratch) -> Said {
        let mut runner = self.runner(scratch);
        let naive = said(|| runner.naive(line, NOW_MS, &mut Off(off)));
        // The stage hands no such line to it; whatever it says, it must not panic.
        match said(|| runner.run(line, NOW_MS, &mut Off(off))) {
            Said::Panicked => Said::Panicked,
            _ => naive,
        }
    }

    fn reload(&self, specs: Vec<Spec>) -> Box<dyn Engine> {
        Box::new(Self::rebuild(self, specs, &modules()).unwrap_or_else(|e| panic!("{e:?}")).with_limits(limits()))
    }
}

fn said(run: impl FnOnce() -> Result<Outcome, ParseError>) -> Said {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(outcome)) => Said::Outcome(outcome),
        Ok(Err(_)) => Said::Refused,
        Err(_) => Said::Panicked,
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

/// Those of the stage; but time is no limit, as runs would differ by it.
pub fn limits() -> Limits {
    Limits { cpu: Duration::from_secs(3600), ..Limits::default() }
}

/// `now` of events without `received`.
pub const NOW_MS: i64 = 1_795_287_600_123;

/// Leaves some probes out, as quarantine does.
pub struct Off<'a>(pub &'a [usize]);

impl Note for Off<'_> {
    fn before(&mut self, probe: usize, _: &str) -> bool {
        !self.0.contains(&probe)
    }

    fn is_off(&self, probe: usize) -> bool {
        self.0.contains(&probe)
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
    /// Of these the pairs that exceeded a limit.
    pub exceeded: u64,
    /// Lines that the stage refuses, and those that it rewrites.
    pub refused: u64,
    pub rewritten: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        let Self { pairs, lines, sets, matches, runs, failures, exceeded, refused, rewritten } = other;
        self.pairs += pairs;
        self.lines += lines;
        self.sets += sets;
        self.matches += matches;
        self.runs += runs;
        self.failures += failures;
        self.exceeded += exceeded;
        self.refused += refused;
        self.rewritten += rewritten;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |n: u64| n as f64 * 100.0 / self.pairs.max(1) as f64;
        write!(
            f,
            "{} pairs ({} sets, {} lines): {:.1} % match, {:.1} % fail ({:.2} % at a limit), jq ran for {:.1} %; {} lines rewritten, {} refused",
            self.pairs,
            self.sets,
            self.lines,
            percent(self.matches),
            percent(self.failures),
            percent(self.exceeded),
            percent(self.runs),
            self.rewritten,
            self.refused,
        )
    }
}

/// Judges what the engine said of a line.
///
/// # Errors
/// What each of them says, where they differ.
pub fn judge(ours: &Said, probes: &[&Naive], line: &[u8], off: &[usize], tally: &mut Tally) -> Result<(), String> {
    let naive = answer(probes, line, NOW_MS, &limits(), off);
    tally.pairs += probes.len() as u64;
    tally.lines += 1;
    let (naive, ours) = match (naive, ours) {
        (Err(_), Said::Refused) => return Ok(()),
        (Ok(naive), Said::Outcome(ours)) => (naive, ours),
        (_, Said::Panicked) => return Err("the engine panicked (its message stands above)".into()),
        (naive, ours) => return Err(format!("naive: {:?}\nengine: {ours:?}", naive.err())),
    };
    tally.matches += naive.found.len() as u64;
    tally.runs += ours.runs as u64;
    tally.failures += naive.failures.len() as u64;
    tally.exceeded += naive.failures.iter().filter(|f| matches!(f.why, Why::Exceeded(_))).count() as u64;
    if naive.found == ours.found && subset(&naive, ours) {
        return Ok(());
    }
    let (naive, ours) = (listed(probes, &naive), listed(probes, ours));
    let only = |of: &[String], other: &[String]| {
        let only: Vec<&str> = of.iter().filter(|part| !other.contains(part)).map(String::as_str).collect();
        if only.is_empty() { "nothing more".to_owned() } else { only.join("\n        ") }
    };
    Err(format!("naive: {}\nengine: {}", only(&naive, &ours), only(&ours, &naive)))
}

pub fn found(said: &Said) -> Option<&[Found]> {
    match said {
        Said::Outcome(outcome) => Some(&outcome.found),
        _ => None,
    }
}

/// Whoever asks only which probes match hears of the same ones; and of those whose match cannot be written as JSON, as
/// nobody writes it.
///
/// # Errors
/// The probes that match only the one way.
pub fn same_probes(whole: &Said, bare: &Said) -> Result<(), String> {
    let (Said::Outcome(whole), Said::Outcome(bare)) = (whole, bare) else {
        return if whole == bare { Ok(()) } else { Err(format!("with contexts {whole:?}, without {bare:?}")) };
    };
    let which = |outcome: &Outcome| outcome.found.iter().map(|f| (f.probe, f.closes)).collect::<Vec<_>>();
    let (mut with, mut without) = (which(whole), which(bare));
    let unwritten = |i: usize| {
        let why = whole.failures.iter().filter(|f| f.probe == i).map(|f| &f.why);
        why.into_iter().any(|why| matches!(why, Why::Failed(text) if text.starts_with("output ")))
    };
    // Such a probe may close what it would open otherwise.
    let both = |l: &[(usize, bool)], r: &[(usize, bool)]| {
        l.iter().filter(|found| r.contains(found) || !unwritten(found.0)).copied().collect::<Vec<_>>()
    };
    (with, without) = (both(&with, &without), both(&without, &with));
    if with == without { Ok(()) } else { Err(format!("with contexts {with:?}, without {without:?}")) }
}

/// The engine may leave out a filter that cannot match, and so its failure; it must not invent one.
fn subset(naive: &Outcome, ours: &Outcome) -> bool {
    let mut theirs = naive.failures.iter();
    ours.failures.iter().all(|failure| theirs.any(|other| other == failure))
}

fn listed(probes: &[&Naive], outcome: &Outcome) -> Vec<String> {
    let name = |i: usize| probes.get(i).map_or("?", |p| p.spec.name.as_str());
    let found = outcome.found.iter().map(|f| {
        let closes = if f.closes { " closes" } else { "" };
        format!("{} key={:?} context={:?}{closes}", name(f.probe), f.key, f.context)
    });
    found.chain(outcome.failures.iter().map(|f| format!("{} {:?}", name(f.probe), f.why))).collect()
}

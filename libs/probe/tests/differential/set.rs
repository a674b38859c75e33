//! Sets of probes and the lines that they see: one part of a run, made from its number alone.

use probe::{Scope, Source, Spec};

use super::chance::Chance;
use super::check::{self, Build, Engine, Tally};
use super::grow::Grower;
use super::known::{Known, shipped};
use super::lines::{Lines, long};
use super::mutate::{combine, mutate};
use super::naive::Naive;
use super::shrink::Case;
use super::tree::Tree;
use super::value::J;

/// A probe whose filters are still trees.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub tree: Tree,
    pub until: Option<Tree>,
    /// All but the filters' texts.
    pub rest: Spec,
}

impl Plan {
    /// A probe that is nothing but its filter.
    pub fn bare(tree: Tree) -> Self {
        let rest = Spec {
            name: "p".into(),
            rev: String::new(),
            filter: Source { name: "probe p".into(), text: String::new() },
            until: None,
            by: None,
            severity: "major".into(),
            act: Vec::new(),
            scope: Scope::default(),
            query_name: None,
            first_run: false,
            shadow: false,
        };
        Self { tree, until: None, rest }
    }

    pub fn spec(&self) -> Spec {
        let name = self.rest.filter.name.clone();
        let until = self.until.as_ref().map(|t| Source { name: format!("{name}, until"), text: t.program() });
        let text = self.tree.program();
        Spec { rev: probe::rev(&text, ""), filter: Source { name, text }, until, ..self.rest.clone() }
    }

    pub fn naive(&self) -> Option<Naive> {
        Naive::new(self.spec(), &check::modules())
    }
}

/// What all parts of a run draw from.
pub struct Stock {
    pub grower: Grower,
    pub shipped: Vec<Known>,
    pub examples: Vec<J>,
    /// Hand-made filters at the borders.
    pub edges: Vec<Tree>,
}

/// Filters of one line each; lines that begin with `#` and empty ones are left out.
pub const EDGES: &str = include_str!("grammar/edges.jq");

pub fn edges() -> impl Iterator<Item = &'static str> {
    EDGES.lines().filter(|l| !l.is_empty() && !l.starts_with('#'))
}

impl Stock {
    pub fn new() -> Self {
        let shipped = shipped();
        let examples = shipped.iter().flat_map(|k| k.events.clone()).collect();
        Self { grower: Grower::new(), shipped, examples, edges: edges().filter_map(super::known::tree).collect() }
    }

    /// A filter: grown, or one that ships or was made by hand, changed.
    pub fn filter(&self, c: &mut Chance) -> Tree {
        let grower = &self.grower;
        match c.below(100) {
            0..64 => grower.filter(c),
            64..79 => mutate(&grower.filter(c), grower, c),
            // These take a hundred times as long as the others.
            79..80 => c.one(&self.shipped).tree.clone(),
            80..84 => mutate(&c.one(&self.shipped).tree, grower, c),
            84..89 => c.one(&self.edges).clone(),
            89..96 => mutate(c.one(&self.edges), grower, c),
            _ => {
                let (l, r) = (self.filter(c), self.filter(c));
                combine(l, r, c)
            }
        }
    }
}

const QUERIES: [&str; 3] = ["zentral/usb/1f6c09aa", "zentral/login/00ff00ff", "zentral/na\"me/\u{e9}"];
const BYS: &[&str] = &[
    "machine_key",
    " machine_key ",
    ".machine.hostname",
    ".payload.columns.path",
    ".payload",
    "empty",
    "error",
    ".tags[]",
    "1, 2",
    "\"x\" * 3000",
    "null",
    ".type, error",
];

/// A probe that compiles.
fn plan(stock: &Stock, i: usize, c: &mut Chance) -> (Plan, Naive) {
    loop {
        let words = |list: &[&str], c: &mut Chance| -> Vec<String> {
            (0..c.between(1, 2)).map(|_| c.pick(list).to_owned()).collect()
        };
        let mut scope = Scope::default();
        if c.percent(25) {
            match c.below(7) {
                0 | 1 => scope.platforms = words(&["macos", "linux", "windows"], c),
                2 => scope.units = words(&["berlin", "default", "lab"], c),
                3 => scope.tags = words(&["vip", "office", "lab"], c),
                4 => scope.not_platforms = words(&["macos", "linux"], c),
                5 => scope.not_units = words(&["berlin", "default"], c),
                _ => (scope.platforms, scope.not_tags) = (words(&["macos", "linux"], c), words(&["vip", "office"], c)),
            }
        }
        let query_name = c.percent(20).then(|| c.pick(&QUERIES).to_owned());
        let mut plan = Plan::bare(stock.filter(c));
        let name = format!("p{i}");
        plan.rest.filter.name = format!("probe {name}");
        plan.rest.by = c.percent(10).then(|| c.pick(BYS).to_owned());
        plan.rest.first_run = query_name.is_some() && c.percent(30);
        plan.rest = Spec { name, scope, query_name, ..plan.rest };
        plan.until = c.percent(8).then(|| stock.filter(c));
        if let Some(naive) = plan.naive() {
            return (plan, naive);
        }
    }
}

/// How many probes a set has.
fn size(c: &mut Chance) -> usize {
    match c.below(10) {
        0..3 => c.between(1, 5),
        3..7 => c.between(6, 60),
        _ => c.between(61, 300),
    }
}

/// Part `n` of a run: a set over some lines, reloaded in between now and then.
///
/// # Errors
/// The first difference.
pub fn part(stock: &Stock, seed: u64, n: u64, build: Build) -> Result<Tally, Box<Case>> {
    let c = &mut Chance::part(seed, n);
    let mut tally = Tally { sets: 1, ..Tally::default() };
    let with_long = c.percent(4);
    let size = if with_long { c.between(1, 20) } else { size(c) };
    let mut probes: Vec<(Plan, Naive)> = (0..size).map(|i| plan(stock, i, c)).collect();
    for round in 0..if c.percent(30) { 2 } else { 1 } {
        if round > 0 {
            // A reload: some are other ones, some go, some come.
            for _ in 0..c.between(1, 4) {
                let (at, new) = (c.below(probes.len()), plan(stock, 1000 + c.below(1000), c));
                match c.below(3) {
                    0 => probes[at] = new,
                    1 if probes.len() > 1 => drop(probes.remove(at)),
                    _ => probes.insert(at, new),
                }
            }
        }
        let engine = build(probes.iter().map(|(p, _)| p.spec()).collect());
        over_lines(stock, engine.as_ref(), &probes, with_long, &mut tally, c)?;
    }
    Ok(tally)
}

fn over_lines(
    stock: &Stock,
    engine: &dyn Engine,
    probes: &[(Plan, Naive)],
    with_long: bool,
    tally: &mut Tally,
    c: &mut Chance,
) -> Result<(), Box<Case>> {
    let trees: Vec<&Tree> = probes.iter().map(|(p, _)| &p.tree).collect();
    let queries = probes.iter().filter_map(|(p, _)| p.rest.query_name.clone()).collect();
    let from = Lines::new(&stock.grower.words, &stock.examples, &trees, queries);
    let naives: Vec<&Naive> = probes.iter().map(|(_, n)| n).collect();
    let off: Vec<usize> =
        if c.percent(15) { (0..probes.len()).filter(|_| c.percent(20)).collect() } else { Vec::new() };
    let case = |line: &[u8], text: String| {
        let plans = probes.iter().map(|(p, _)| p.clone()).collect();
        Box::new(Case { plans, line: line.to_vec(), off: off.clone(), text })
    };

    let mut kept = Vec::new();
    for i in 0..c.between(100, 300) {
        let raw = if with_long && i < 2 { long(&from.event(c), c) } else { from.line(c) };
        let Some(line) = check::as_the_stage_does(&raw) else {
            tally.refused += 1;
            continue;
        };
        if line != raw {
            tally.rewritten += 1;
            // What the stage never does: whatever comes of it, it must not be a panic.
            let thrown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                engine.run(&raw, check::NOW_MS, &mut probe::Quiet)
            }));
            if thrown.is_err() {
                return Err(case(&raw, "the engine panicked over a line that is not canonical".into()));
            }
        }
        check::line(engine, &naives, &line, &off, tally).map_err(|text| case(&line, text))?;
        kept.push(line);
    }
    if c.percent(25) {
        again(engine, &kept, &off).map_err(|(line, text)| case(&line, text))?;
    }
    Ok(())
}

/// What the engine learns on the way changes no answer, and two threads may ask at once.
fn again(engine: &dyn Engine, lines: &[Vec<u8>], off: &[usize]) -> Result<(), (Vec<u8>, String)> {
    let ask = |line: &Vec<u8>| engine.run(line, check::NOW_MS, &mut check::Off(off)).map(|o| o.found);
    let (forth, back): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
        let other = scope.spawn(|| probe::with_stack(|| lines.iter().rev().map(ask).collect::<Vec<_>>()).unwrap());
        let forth: Vec<_> = lines.iter().map(ask).collect();
        let mut back = other.join().unwrap();
        back.reverse();
        (forth, back)
    });
    for ((line, one), other) in lines.iter().zip(&forth).zip(&back) {
        if one != other {
            return Err((line.clone(), format!("asked twice, it says {one:?} and {other:?}")));
        }
    }
    Ok(())
}

//! Sets of probes and the lines that they see: one part of a run, made from its number alone.

use probe::{Scope, Scratch, Source, Spec};

use super::chance::Chance;
use super::check::{self, Build, Engine, Said, Tally};
use super::grow::Grower;
use super::known::{Known, shipped};
use super::lines::{Lines, MANY, long, swollen};
use super::mutate::{combine, mutate};
use super::naive::Naive;
use super::shrink::{Asked, Case};
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
    let mut engine = build(specs(&probes));
    let scratch = &mut Scratch::default();
    over_lines(stock, engine.as_ref(), &probes, with_long, scratch, &mut tally, c)?;
    if c.percent(30) {
        // A reload: some are other ones, some go, some come.
        for _ in 0..c.between(1, 4) {
            let (at, new) = (c.below(probes.len()), plan(stock, 1000 + c.below(1000), c));
            match c.below(3) {
                0 => probes[at] = new,
                1 if probes.len() > 1 => drop(probes.remove(at)),
                _ => probes.insert(at, new),
            }
        }
        engine = engine.reload(specs(&probes));
        over_lines(stock, engine.as_ref(), &probes, with_long, scratch, &mut tally, c)?;
    }
    Ok(tally)
}

fn specs(probes: &[(Plan, Naive)]) -> Vec<Spec> {
    probes.iter().map(|(plan, _)| plan.spec()).collect()
}

fn over_lines(
    stock: &Stock,
    engine: &dyn Engine,
    probes: &[(Plan, Naive)],
    with_long: bool,
    scratch: &mut Scratch,
    tally: &mut Tally,
    c: &mut Chance,
) -> Result<(), Box<Case>> {
    let trees: Vec<&Tree> = probes.iter().map(|(p, _)| &p.tree).collect();
    let queries = probes.iter().filter_map(|(p, _)| p.rest.query_name.clone()).collect();
    let from = Lines::new(&stock.grower.words, &stock.examples, &trees, queries);
    let naives: Vec<&Naive> = probes.iter().map(|(_, n)| n).collect();
    let off: Vec<usize> =
        if c.percent(15) { (0..probes.len()).filter(|_| c.percent(20)).collect() } else { Vec::new() };
    let case = |before: &[&[u8]], line: &[u8], asked: Asked, text: String| {
        let plans = probes.iter().map(|(p, _)| p.clone()).collect();
        let before = before.iter().map(|l| l.to_vec()).collect();
        Box::new(Case { plans, before, line: line.to_vec(), asked, off: off.clone(), text })
    };

    let mut lines = Vec::new();
    for i in 0..c.between(100, 300) {
        let raw = match i {
            0..2 if with_long => long(&from.event(c), c),
            2..20 if with_long => swollen(&from.event(c), *c.one(MANY), c),
            _ => from.line(c),
        };
        let canonical = check::as_the_stage_does(&raw);
        if canonical.as_ref() != Some(&raw) {
            // What came is asked about too, as it came.
            let said = engine.ask_any(&raw, &off, scratch);
            check::judge(&said, &naives, &raw, &off, tally).map_err(|text| case(&[], &raw, Asked::AsItCame, text))?;
        }
        tally.refused += u64::from(canonical.is_none());
        tally.rewritten += u64::from(canonical.as_ref().is_some_and(|l| *l != raw));
        lines.extend(canonical);
    }
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    // In pieces, as between two looks at what has been learned.
    let (mut said, mut rest) = (Vec::new(), lines.as_slice());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(c.between(1, 150).min(rest.len()));
        said.extend(engine.ask(piece, &off, true, scratch));
        rest = after;
    }
    for (i, (line, said)) in lines.iter().zip(&said).enumerate() {
        check::judge(said, &naives, line, &off, tally)
            .map_err(|text| case(&lines[..i], line, Asked::Canonical, text))?;
    }
    if c.percent(25) {
        again(engine, &lines, &said, &off).map_err(|(i, asked, text)| case(&lines, lines[i], asked, text))?;
    }
    Ok(())
}

/// What the engine has learned on the way changes no answer, two threads may ask at once, and one that asks only which
/// probes match hears of the same ones.
fn again(engine: &dyn Engine, lines: &[&[u8]], said: &[Said], off: &[usize]) -> Result<(), (usize, Asked, String)> {
    let back: Vec<&[u8]> = lines.iter().rev().copied().collect();
    let ask = |lines: &[&[u8]], carried| engine.ask(lines, off, carried, &mut Scratch::default());
    let (whole, mut bare) = std::thread::scope(|scope| {
        let other = scope.spawn(|| probe::with_stack(|| ask(&back, false)).unwrap());
        (ask(lines, true), other.join().unwrap())
    });
    bare.reverse();
    for (i, said) in said.iter().enumerate() {
        if check::found(&whole[i]) != check::found(said) {
            return Err((i, Asked::Canonical, format!("asked again, it says {:?}, and before {said:?}", whole[i])));
        }
        check::same_probes(said, &bare[i]).map_err(|text| (i, Asked::Which, text))?;
    }
    Ok(())
}

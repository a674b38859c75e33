//! Sets of probes and the lines that they see: one part of a run, made from its number alone.

use probe::{Scratch, Spec};

use super::chance::Chance;
use super::check::{self, Build, Engine, Said, Tally};
use super::hostile::{MANY, long, swollen};
use super::lines::Lines;
use super::naive::Naive;
use super::shrink::{Asked, Case};
use super::stock::{Plan, Stock, plan};
use super::tree::Tree;

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

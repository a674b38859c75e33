//! The engine against jq 1.6, and our reading of lines against its own.

use std::io::Write;

use event::json;
use probe::{Decision, FilterSet, Limits, NoModules, Quiet, compile, parse};

use super::chance::Chance;
use super::check::{NOW_MS, limits};
use super::hostile::hostile;
use super::jq;
use super::lines::Lines;
use super::shrink::{simpler_trees, simpler_values};
use super::stock::{Plan, Stock};
use super::tree::Tree;
use super::value::J;

/// Filters that see the same lines, and how many these are.
const FILTERS: usize = 16;
const LINES: usize = 600;

/// jq needs 30 ms to start: more tries to make a difference smaller are not made.
const TRIES: usize = 600;

/// Group `n` of a run: how many pairs were asked, and how many of them match.
///
/// # Errors
/// The first difference, made smaller.
pub fn group(stock: &Stock, seed: u64, n: u64) -> Result<(u64, u64), String> {
    let c = &mut Chance::part(seed ^ 0x6a71, n);
    let trees = filters(stock, c);
    let from = Lines::new(&stock.grower.words, &stock.examples, &trees.iter().collect::<Vec<_>>(), Vec::new());
    let events: Vec<J> =
        (0..LINES).map(|_| from.event(c)).filter(|e| matches!(e, J::Obj(_)) && alike(e) && shallow(e)).collect();
    let said = both(&trees, &events);
    let (mut pairs, mut matches) = (0, 0);
    for (tree, (ours, theirs)) in trees.iter().zip(&said) {
        let Some(theirs) = theirs else { continue };
        for ((event, ours), theirs) in events.iter().zip(ours).zip(&theirs.matches) {
            pairs += 1;
            matches += u64::from(*ours);
            if ours != theirs && differ(tree, event) {
                let (tree, event) = smaller(tree.clone(), event.clone());
                let (ours, theirs) = if *ours { ("a match", "none") } else { ("none", "a match") };
                return Err(format!(
                    "{}\nover {}\nwe say {ours}, jq {theirs} (seed {seed}, group {n})",
                    tree.program(),
                    event.text()
                ));
            }
        }
    }
    Ok((pairs, matches))
}

/// Filters that both speak.
fn filters(stock: &Stock, c: &mut Chance) -> Vec<Tree> {
    let mut trees = Vec::new();
    while trees.len() < FILTERS {
        let tree = stock.filter(c);
        let program = tree.program();
        if jq::speaks(&program) && tree.literals().into_iter().all(alike) && compile(&program, "t", &NoModules).is_ok()
        {
            trees.push(tree);
        }
    }
    trees
}

/// Does the value mean the same to both? To jq 1.6 all numbers are doubles texts end, for some functions, at a NUL,
/// and some letters are two without their case.
fn alike(value: &J) -> bool {
    match value {
        J::Num(text) => text.parse::<f64>().is_ok_and(|f| f == 0.0 || (1e-5..=9e15).contains(&f.abs())),
        J::Str(s) => !s.contains(['\0', '\u{df}', '\u{1e9e}', '\u{130}']),
        J::Arr(items) => items.iter().all(alike),
        J::Obj(members) => members.iter().all(|(k, v)| !k.contains('\0') && alike(v)),
        J::Null | J::Bool(_) => true,
    }
}

/// A context is an event's part with something around it, so the deepest ones have no context.
fn shallow(event: &J) -> bool {
    json::is_canonical(format!("[[[[{}]]]]", event.text()).as_bytes())
}

/// For each tree whether it matches each event, by the engine and by jq.
fn both(trees: &[Tree], events: &[J]) -> Vec<(Vec<bool>, Option<jq::Said>)> {
    let mut file = tempfile();
    let texts: Vec<String> = events.iter().map(J::text).collect();
    file.1.write_all(texts.join("\n").as_bytes()).unwrap();
    // What takes long in jq is no match here only because of a limit.
    let patient = Limits { steps: 10_000_000, outputs: 100_000, ..limits() };
    let set = FilterSet::build(trees.iter().map(|t| Plan::bare(t.clone()).spec()).collect(), &NoModules)
        .unwrap()
        .with_limits(patient);
    let mut ours = vec![vec![false; events.len()]; trees.len()];
    for (at, text) in texts.iter().enumerate() {
        if let Ok(outcome) = set.run(text.as_bytes(), NOW_MS, &mut Quiet) {
            outcome.found.iter().for_each(|f| ours[f.probe][at] = true);
        }
    }
    let theirs = trees.iter().map(|t| jq::decide(&t.program(), &file.0));
    let all = ours.into_iter().zip(theirs).collect();
    std::fs::remove_file(&file.0).unwrap();
    all
}

fn tempfile() -> (std::path::PathBuf, std::fs::File) {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("zentral-jq-{}-{n}.ndjson", std::process::id()));
    let file = std::fs::File::create(&path).unwrap();
    (path, file)
}

/// Do they differ, and is it no fault of jq 1.6?
fn differ(tree: &Tree, event: &J) -> bool {
    let program = tree.program();
    if !jq::speaks(&program) || compile(&program, "t", &NoModules).is_err() {
        return false;
    }
    let said = both(std::slice::from_ref(tree), std::slice::from_ref(event));
    let (ours, Some(theirs)) = &said[0] else { return false };
    match (ours.as_slice(), theirs.matches.as_slice()) {
        ([true], [false]) => !(theirs.failed && jq::may_fail_too_soon(&program)),
        ([false], [true]) => !(jq::may_catch_too_much(&program) && fails(&program, event)),
        _ => false,
    }
}

fn fails(program: &str, event: &J) -> bool {
    let event = parse(event.text().as_bytes()).unwrap();
    let decided = compile(program, "t", &NoModules).unwrap().decide(&event, NOW_MS, &limits());
    matches!(decided, Decision::Failed(_))
}

fn smaller(mut tree: Tree, mut event: J) -> (Tree, J) {
    let mut tries = 0;
    let mut fine = |tree: &Tree, event: &J| {
        tries += 1;
        tries < TRIES && differ(tree, event)
    };
    loop {
        if let Some(new) = simpler_trees(&tree).into_iter().find(|t| fine(t, &event)) {
            tree = new;
        } else if let Some(new) = simpler_values(&event).into_iter().find(|e| fine(&tree, e)) {
            event = new;
        } else {
            return (tree, event);
        }
    }
}

/// Hostile texts: what we make of each is what jq reads there. Returns how many were compared.
///
/// # Errors
/// The first text that jq reads as something else.
pub fn reading(stock: &Stock, seed: u64, texts: usize) -> Result<usize, String> {
    let c = &mut Chance::part(seed, 0x0bad);
    let from = Lines::new(&stock.grower.words, &stock.examples, &[], Vec::new());
    let mut lines: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    while lines.len() < texts {
        let raw = hostile(&from.event(c), c);
        let mut canonical = Vec::new();
        if json::canonical(&raw, &mut canonical).is_ok() {
            lines.push((raw, canonical));
        }
    }
    let theirs = jq::read(&lines.iter().map(|(raw, _)| raw.clone()).collect::<Vec<_>>());
    if theirs.len() != lines.len() {
        return Err(format!("{} texts are {} values to jq", lines.len(), theirs.len()));
    }
    for ((raw, canonical), theirs) in lines.iter().zip(&theirs) {
        let (ours, theirs) = (J::parse(canonical), J::parse(theirs.as_bytes()));
        if ours.as_ref().map(rounded) != theirs.as_ref().map(rounded) {
            let (raw, canonical) = (String::from_utf8_lossy(raw), String::from_utf8_lossy(canonical));
            return Err(format!(
                "{raw}\nis to us {canonical}\nbut to jq {}",
                theirs.map_or_else(String::new, |t| t.text())
            ));
        }
    }
    Ok(lines.len())
}

/// Members by name and numbers as jq 1.6 keeps them, to 17 digits and within the doubles.
fn rounded(value: &J) -> J {
    match value {
        J::Num(text) => {
            let f = text.parse::<f64>().unwrap().clamp(f64::MIN, f64::MAX);
            J::Num(format!("{f:.15e}"))
        }
        J::Arr(items) => J::Arr(items.iter().map(rounded).collect()),
        J::Obj(members) => {
            let mut members: Vec<_> = members.iter().map(|(k, v)| (k.clone(), rounded(v))).collect();
            members.sort_by(|l, r| l.0.cmp(&r.0));
            J::Obj(members)
        }
        other => other.clone(),
    }
}

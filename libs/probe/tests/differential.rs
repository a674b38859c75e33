//! The engine against every filter run naively, and both against jq 1.6: random filters over random and hostile events.
//!
//! `ZENTRAL_PAIRS` is how many pairs of a filter and a line are asked, `ZENTRAL_SEED` what they are made from. Half of
//! a run has a fixed seed, half one of the day; both are printed, and a difference says how to have it again.
//! `scripts/soak engine` asks many more.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]
#![allow(missing_docs, reason = "a test's own parts")]

#[path = "differential/against_jq.rs"]
mod against_jq;
#[path = "differential/broken.rs"]
mod broken;
#[path = "differential/chance.rs"]
mod chance;
#[path = "differential/check.rs"]
mod check;
#[path = "differential/grow.rs"]
mod grow;
#[path = "differential/hostile.rs"]
mod hostile;
#[path = "differential/jq.rs"]
mod jq;
#[path = "differential/known.rs"]
mod known;
#[path = "differential/large.rs"]
mod large;
#[path = "differential/lines.rs"]
mod lines;
#[path = "differential/mutate.rs"]
mod mutate;
#[path = "differential/naive.rs"]
mod naive;
#[path = "differential/set.rs"]
mod set;
#[path = "differential/shrink.rs"]
mod shrink;
#[path = "differential/stock.rs"]
mod stock;
#[path = "differential/tree.rs"]
mod tree;
#[path = "differential/value.rs"]
mod value;
#[path = "differential/words.rs"]
mod words;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use check::{Build, Tally};
use probe::{Scope, Spec};
use shrink::Case;

#[global_allocator]
static ALLOC: probe::alloc::Counting = probe::alloc::Counting;

/// Pairs of a run of the tests.
const PAIRS: u64 = 1_200_000;
/// Pairs that are asked of jq 1.6 too.
const JQ_PAIRS: u64 = 150_000;
/// The seed that never changes.
const SEED: u64 = 20_261_121;

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name}={v} is no number")))
}

/// The seeds of a run: the one that was asked for, or the fixed one and today's.
fn seeds() -> Vec<u64> {
    let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 86_400;
    from_env("ZENTRAL_SEED").map_or(vec![SEED, today], |seed| vec![seed])
}

/// Asks about so many pairs with all cores.
fn ask(seed: u64, pairs: u64, build: Build) -> Result<Tally, Box<Case>> {
    let (next, asked, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let sum = Mutex::new(Tally::default());
    let found: Mutex<Option<(u64, Box<Case>)>> = Mutex::new(None);
    let stock = stock::Stock::new();
    let work = || {
        while asked.load(Ordering::Relaxed) < pairs && !stop.load(Ordering::Relaxed) {
            let n = next.fetch_add(1, Ordering::Relaxed);
            match set::part(&stock, seed, n, build) {
                Ok(tally) => {
                    asked.fetch_add(tally.pairs, Ordering::Relaxed);
                    sum.lock().unwrap().add(&tally);
                }
                Err(case) => {
                    stop.store(true, Ordering::Relaxed);
                    found.lock().unwrap().get_or_insert((n, case));
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(|| probe::with_stack(work).unwrap())));
    });
    match found.into_inner().unwrap() {
        None => Ok(sum.into_inner().unwrap()),
        Some((n, mut case)) => {
            case.text = format!(
                "{}\nseed {seed}, part {n}: ZENTRAL_SEED={seed} cargo test -p probe --test differential engine",
                case.text
            );
            Err(case)
        }
    }
}

#[test]
fn engine_says_what_naive_runs_say() {
    let (seeds, pairs) = (seeds(), from_env("ZENTRAL_PAIRS").unwrap_or(PAIRS));
    for &seed in &seeds {
        let start = Instant::now();
        eprintln!("seed {seed}");
        match ask(seed, pairs / seeds.len() as u64, check::real) {
            Ok(tally) => {
                let rate = tally.pairs as f64 / start.elapsed().as_secs_f64();
                eprintln!("seed {seed}: {tally}; {rate:.0} pairs a second");
            }
            Err(case) => {
                let small = probe::with_stack(|| case.clone().shrunk(check::real)).unwrap();
                panic!("the engine differs.\n{}\n\nmade smaller:\n{small}\n", case.text);
            }
        }
    }
}

/// Hand-made filters over hand-made lines, all with all.
#[test]
fn borders_hold() {
    let lines: Vec<String> = include_str!("differential/words/edges.ndjson").lines().map(str::to_owned).collect();
    hold(|_| true, &lines);
}

/// Those about elements, where there are more of them than somebody counts.
#[test]
fn borders_hold_of_many_elements() {
    let long = |filler: &str, n: usize, last: &str| format!("[{}{last}]", format!("{filler},").repeat(n));
    let line = |n: usize| {
        let (tags, vips) = (long("\"osquery\"", n, "\"clock\""), long("\"lab\"", n, "\"vip\""));
        let rows = long(r#"{"name":"sshd"}"#, n, r#"{"name":"sudo","uid":"0"}"#);
        format!(
            r#"{{"type":"x","tags":{tags},"machine":{{"tags":{vips}}},"payload":{{"snapshot":{rows},"list":{tags}}}}}"#
        )
    };
    let about = |filter: &str| ["tags", "snapshot", "list"].iter().any(|word| filter.contains(word));
    hold(about, &[64, 65, 100, 101, 4097].map(line));
}

fn hold(about: fn(&str) -> bool, lines: &[String]) {
    let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    probe::with_stack(|| {
        let filters: Vec<&str> = stock::edges().filter(|f| about(f)).collect();
        let plans: Vec<stock::Plan> = filters.iter().map(|f| stock::Plan::bare(known::tree(f).unwrap())).collect();
        let mut tally = Tally::default();
        // Small sets have shortcuts of their own.
        let alone = plans.chunks(1).chain(plans.windows(3));
        for plans in std::iter::once(plans.as_slice()).chain(alone) {
            agree(plans, &lines, &mut tally);
        }
        eprintln!("{tally}");
    })
    .unwrap();
}

fn agree(plans: &[stock::Plan], lines: &[&[u8]], tally: &mut Tally) {
    let naives: Vec<naive::Naive> = plans.iter().map(|p| p.naive().unwrap()).collect();
    let refs: Vec<&naive::Naive> = naives.iter().collect();
    let engine = check::real(plans.iter().map(stock::Plan::spec).collect());
    let said = engine.ask(lines, &[], true, &mut probe::Scratch::default());
    for (line, said) in lines.iter().zip(said) {
        assert!(event::json::is_canonical(line), "{}", String::from_utf8_lossy(line));
        if let Err(text) = check::judge(&said, &refs, line, &[], tally) {
            let (plans, line) = (plans.to_vec(), line.to_vec());
            let asked = shrink::Asked::Canonical;
            let case = Case { plans, before: Vec::new(), line, asked, off: Vec::new(), text };
            panic!("the engine differs:\n{}", case.shrunk(check::real));
        }
    }
}

/// What the scope of a probe asks of tags, where there are more of them than the engine goes through.
#[test]
fn scopes_hold_of_many_tags() {
    let line = |n: usize, last: &str| {
        let tags = format!("[{}\"{last}\"]", "\"lab\",".repeat(n - 1));
        format!(r#"{{"type":"x","machine":{{"tags":{tags},"platform":"macos"}}}}"#)
    };
    let lines: Vec<String> =
        [100, 9_999, 10_000, 10_001, 20_000].iter().flat_map(|n| ["vip", "lab"].map(|last| line(*n, last))).collect();
    let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    let vip = || vec!["vip".to_owned()];
    let scopes = [
        Scope { tags: vip(), ..Scope::default() },
        Scope { not_tags: vip(), ..Scope::default() },
        Scope { tags: vip(), not_platforms: vec!["macos".to_owned()], ..Scope::default() },
    ];
    let plans: Vec<stock::Plan> = ["true", ".type == \"x\"", "{t: .type}", "false"]
        .iter()
        .flat_map(|filter| {
            scopes.iter().map(|scope| {
                let bare = stock::Plan::bare(known::tree(filter).unwrap());
                stock::Plan { rest: Spec { scope: scope.clone(), ..bare.rest.clone() }, ..bare }
            })
        })
        .collect();
    probe::with_stack(|| {
        let mut tally = Tally::default();
        // So many gates that what all of them went through is more than one may.
        let many: Vec<stock::Plan> = plans.iter().cycle().take(120).cloned().collect();
        for plans in plans.chunks(1).chain([plans.as_slice(), many.as_slice()]) {
            agree(plans, &lines, &mut tally);
        }
        eprintln!("{tally}");
    })
    .unwrap();
}

/// The more a filter has to look at, the nearer it comes to the limits of a run: where it would exceed them, the engine
/// must not know better.
#[test]
fn nothing_matches_beyond_its_limits() {
    probe::with_stack(|| {
        let (natives, others) = large::within_limits();
        eprintln!("{natives} filters decided without jq up to a size, {others} never");
        assert!(natives > 75, "{natives}");
    })
    .unwrap();
}

/// A test that cannot fail is none: engines with mistakes are found out, and what is printed can be read.
#[test]
fn broken_engines_are_found_out() {
    let all: [(&str, Build, bool); 8] = [
        ("texts", broken::texts, true),
        ("digits", broken::digits, true),
        ("learns", broken::learns, false),
        ("deaf", broken::deaf, false),
        ("stale", broken::stale, false),
        ("invents", broken::invents, true),
        ("panics", broken::panics, true),
        ("everywhere", broken::everywhere, true),
    ];
    for (name, build, small) in all {
        let case = ask(SEED, 400_000, build).expect_err(name);
        if small {
            let case = probe::with_stack(|| case.shrunk(build)).unwrap();
            eprintln!("{name}: {case}\n");
            assert_eq!(case.plans.len(), 1, "{name}");
            let length = case.plans[0].spec().filter.text.len() + case.line.len();
            assert!(length < 300, "{name}: {length} bytes");
        }
    }
}

#[test]
fn jq_says_the_same() {
    if !jq::is_there() {
        return;
    }
    let pairs = from_env("ZENTRAL_JQ_PAIRS").unwrap_or(JQ_PAIRS);
    let stock = stock::Stock::new();
    for seed in seeds() {
        let (mut asked, mut matches, mut n) = (0, 0, 0);
        while asked < pairs / seeds().len() as u64 {
            let (more, matched) =
                probe::with_stack(|| against_jq::group(&stock, seed, n)).unwrap().unwrap_or_else(|e| panic!("{e}"));
            (asked, matches, n) = (asked + more, matches + matched, n + 1);
        }
        eprintln!("seed {seed}: {asked} pairs as jq 1.6 says, {matches} of them match");
    }
}

/// What is hidden behind an escape or a second key is to us what it is to jq.
#[test]
fn lines_mean_what_jq_reads() {
    if !jq::is_there() {
        return;
    }
    let stock = stock::Stock::new();
    for seed in seeds() {
        let compared = against_jq::reading(&stock, seed, 2_000).unwrap_or_else(|e| panic!("{e}"));
        eprintln!("seed {seed}: {compared} texts");
    }
}

#[test]
fn shipped_filters_are_read_and_written_as_they_are() {
    let shipped = known::shipped();
    assert!(shipped.len() >= 12, "{} filters", shipped.len());
    probe::with_stack(|| {
        for known in &shipped {
            let of = |source: &str| {
                probe::compile(source, "t", &probe::NoModules).unwrap_or_else(|e| panic!("{e}\n{source}"))
            };
            let (original, tree) = (of(&known.source), of(&known.tree.program()));
            for event in &known.events {
                let event = probe::parse(event.text().as_bytes()).unwrap();
                let limits = check::limits();
                assert_eq!(original.decide(&event, 0, &limits), tree.decide(&event, 0, &limits), "{}", known.name);
            }
        }
        let edges: Vec<_> = stock::edges().collect();
        let refused: Vec<_> = edges.iter().filter(|e| probe::compile(e, "t", &probe::NoModules).is_err()).collect();
        assert!(refused.is_empty(), "{refused:#?}");
    })
    .unwrap();
}

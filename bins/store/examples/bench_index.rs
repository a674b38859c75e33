//! Indexes NDJSON events from a file and searches them; says how fast, how large, how much memory.
//!
//! `cargo run --release -p store --example bench_index -- FILE [EVENTS PER BATCH]`
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a measuring tool, which may stop at a mistake and prints its findings"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use store::index::{Head, Index, Verdict};
use store::query::parse;
use store::search::{Scope, Search};

/// Kinds of searches, from cheap to dear.
const SEARCHES: [&str; 10] = [
    "*",
    "type:osquery_result",
    "sudo",
    "payload.action:added",
    "payload.columns.path:firefox",
    "payload.columns.cmdline:docker AND machine.unit:engineering",
    "payload.columns.pid:[100 TO 200]",
    "\"--type=renderer\" NOT machine.platform:macos",
    "dcf1*",
    "payload.columns.sha256:*fcb3",
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let text = std::fs::read(&args[1]).unwrap();
    let batch: usize = args.get(2).map_or(7000, |n| n.parse().unwrap());
    let dir = std::env::temp_dir().join(format!("bench_index-{}", std::process::id()));
    let lines: Vec<&[u8]> = text.split(|&b| b == b'\n').filter(|l| !l.is_empty()).collect();
    let now = lines.iter().filter_map(|l| Head::read(l).ok()).map(|h| h.time).max().unwrap();
    let before = memory();
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut index = Index::new(&dir, Duration::from_secs(86_400 * 36_500));
    let (mut stored, mut peak) = (0, 0);
    for lines in lines.chunks(batch) {
        stored += index.store(lines, now).unwrap().iter().filter(|v| **v == Verdict::Stored).count();
        peak = peak.max(memory() - before);
    }
    let (took, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!(
        "{stored} of {} events, {} MB, {batch} a batch: {:.0}/s, {:.0} per CPU second; index {:.0} % of the input in {} parts; memory at most {} MB",
        lines.len(),
        text.len() / 1_000_000,
        stored as f64 / took,
        stored as f64 / cpu,
        100.0 * size(&dir) as f64 / text.len() as f64,
        parts(&dir),
        peak / 1000,
    );
    drop(index);
    let search = Search::new(&dir);
    for text in SEARCHES {
        let scope = Scope { query: parse(text).unwrap(), since: None, until: None, deadline: None };
        let first = Instant::now();
        let found = search.page(&scope, 100, None).unwrap().events.len();
        let (first, again) = (first.elapsed(), Instant::now());
        let count = search.count(&scope).unwrap().0;
        println!("{text}: {found} of {count}, page {:.1} ms, count {:.1} ms", ms(first), ms(again.elapsed()));
    }
    let scope = Scope { query: parse("*").unwrap(), since: None, until: None, deadline: None };
    for field in ["type", "machine.hostname", "payload.columns.cmdline"] {
        let start = Instant::now();
        let counts = search.count_by(&scope, field).unwrap();
        println!(
            "by {field}: {} values named, {} other, {:.1} ms",
            counts.values.len(),
            counts.other,
            ms(start.elapsed())
        );
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn parts(dir: &Path) -> usize {
    let days = std::fs::read_dir(dir).unwrap().map(|d| d.unwrap().path());
    days.flat_map(|d| std::fs::read_dir(d).unwrap())
        .filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "store"))
        .count()
}

fn size(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap());
    entries.map(|e| if e.path().is_dir() { size(&e.path()) } else { e.metadata().unwrap().len() }).sum()
}

/// Memory of our own (not of mapped files), in kB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|l| l.starts_with("RssAnon")).unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// CPU time of this process, threads included.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

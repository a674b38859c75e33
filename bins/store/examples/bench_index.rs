//! Indexes NDJSON events from a file and says how fast, how large, how much memory.
//!
//! `cargo run --release -p store --example bench_index -- FILE [BATCH]`
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "a measuring tool")]

use std::time::{Duration, Instant};

use event::Time;
use store::index::{Head, Index, Verdict};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let text = std::fs::read(&args[1]).unwrap();
    let batch: usize = args.get(2).map_or(4000, |n| n.parse().unwrap());
    let dir = std::env::temp_dir().join(format!("bench_index-{}", std::process::id()));
    let lines: Vec<&[u8]> = text.split(|&b| b == b'\n').filter(|l| !l.is_empty()).collect();
    let now = lines.iter().filter_map(|l| Head::read(l).ok()).map(|h| h.time).max().unwrap();
    let base = rss();
    let start = Instant::now();
    let mut index = Index::new(&dir, Duration::from_secs(86_400 * 36_500));
    let mut stored = 0;
    for lines in lines.chunks(batch) {
        stored += index.store(lines, now).unwrap().iter().filter(|v| **v == Verdict::Stored).count();
    }
    let took = start.elapsed();
    let cpu = cpu_seconds();
    println!(
        "{stored} of {} events, {} MB, batches of {batch}: {:.0}/s wall, {:.0}/s CPU ({cpu:.1} s), index {:.0} % of input, memory {} MB more than the {} MB input, {} segments",
        lines.len(), text.len() / 1_000_000, stored as f64 / took.as_secs_f64(), stored as f64 / cpu,
        100.0 * size(&dir) as f64 / text.len() as f64, (rss() - base) / 1000, base / 1000, segments(&dir),
    );
    drop(index);
    println!("now {}", Time::now());
    if args.get(3).is_none() {
        std::fs::remove_dir_all(&dir).unwrap();
    } else {
        println!("{}", dir.display());
    }
}

fn segments(dir: &std::path::Path) -> usize {
    std::fs::read_dir(dir).unwrap().flat_map(|d| std::fs::read_dir(d.unwrap().path()).unwrap())
        .filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "store")).count()
}

fn size(dir: &std::path::Path) -> u64 {
    std::fs::read_dir(dir).unwrap().map(|e| e.unwrap()).map(|e| if e.path().is_dir() { size(&e.path()) } else { e.metadata().unwrap().len() }).sum()
}

/// Peak anonymous and file memory in kB.
fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

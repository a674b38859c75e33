//! `many N < lines`: N probes over every line; says what building them and running one line costs.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for developers")]

use std::io::Read;
use std::time::Instant;

use probe::{FilterSet, NoModules, Quiet, Scope, Source, Spec, with_stack};

#[global_allocator]
static ALLOC: probe::alloc::Counting = probe::alloc::Counting;

fn spec(i: usize) -> Spec {
    let text = format!(
        r#".type == "osquery_result" and .payload.name == "pack_vuln_q{i}" and (.payload.columns.path // "" | test("^/tmp/{i}"))"#
    );
    Spec {
        name: format!("p{i}"),
        rev: probe::rev(&text, ""),
        filter: Source { name: format!("probe p{i}"), text },
        until: None,
        by: None,
        severity: "info".into(),
        act: Vec::new(),
        scope: Scope::default(),
        query_name: None,
        first_run: false,
        shadow: false,
    }
}

fn main() {
    let n: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1000);
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input).unwrap();
    with_stack(|| {
        let before = probe::alloc::live();
        let start = Instant::now();
        let set = FilterSet::build((0..n).map(spec).collect(), &NoModules).unwrap();
        let bytes = probe::alloc::live() - before;
        println!(
            "{n} probes built in {:?}, {} bytes each",
            start.elapsed(),
            bytes / isize::try_from(n.max(1)).unwrap()
        );
        let start = Instant::now();
        let (mut lines, mut runs, mut found) = (0u32, 0, 0);
        for line in input.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let outcome = set.run(line, 0, &mut Quiet).unwrap();
            lines += 1;
            runs += outcome.runs;
            found += outcome.found.len();
        }
        println!("{lines} lines, {runs} runs, {found} found, {:?} a line", start.elapsed() / lines.max(1));
    })
    .unwrap();
}

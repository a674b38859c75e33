//! `zentral test`: runs the examples beside each filter.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use pipe::cli::Global;
use pipe::config::Config;
use pipe::{Exit, StageError};
use probe::{Limits, examples};
use serde_json::json;

/// Command line of `test`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Filters (NAME.jq), their examples (NAME.ndjson) or folders of them [default: the filters of the configuration's
    /// probes, and the folder filters beside it]
    pub paths: Vec<PathBuf>,
    /// One JSON object a line instead of TAP
    #[arg(long)]
    pub json: bool,
}

/// Runs them.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("test");
    let config = match global.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let ran = probe::with_stack(|| test(&config, args));
    crate::finish(ran.unwrap_or_else(|e| Err(StageError::state(e.to_string()))))
}

fn test(config: &Config, args: &Args) -> Result<Exit, StageError> {
    let mut filters = Filters::default();
    for path in &args.paths {
        find(path, &mut filters)?;
    }
    if args.paths.is_empty() {
        let named = config.probes.values().filter_map(|probe| probe.filter.file.clone());
        named.filter(|filter| filter.with_extension("ndjson").exists()).for_each(|filter| filters.add(filter));
        let folder = config.base.join("filters");
        if folder.is_dir() {
            find(&folder, &mut filters)?;
        }
    }
    let mut report = Report { text: String::new(), json: args.json, count: 0, failed: 0 };
    for filter in filters.0.values() {
        one(config, filter, &mut report)?;
    }
    if report.count == 0 {
        return Err(StageError::usage("no examples found; they stand in NAME.ndjson beside NAME.jq"));
    }
    if !args.json {
        let _ = writeln!(report.text, "1..{}", report.count);
        let _ = writeln!(report.text, "# {} passed, {} failed", report.count - report.failed, report.failed);
    }
    pipe::write_stdout(report.text.as_bytes()).map_err(crate::stdout_error)?;
    Ok(if report.failed > 0 { Exit::No } else { Exit::Done })
}

/// Filters as people write their paths, by the path that is the same for all who mean the same file.
#[derive(Default)]
struct Filters(BTreeMap<PathBuf, PathBuf>);

impl Filters {
    fn add(&mut self, path: PathBuf) {
        self.0.entry(std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone())).or_insert(path);
    }
}

/// The filters that a path names; in a folder those that have examples.
fn find(path: &Path, filters: &mut Filters) -> Result<(), StageError> {
    let missing = |e: std::io::Error| StageError::usage(format!("{}: {e}", path.display()));
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(missing)?.filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() || path.extension().is_some_and(|e| e == "ndjson") {
                find(&path, filters)?;
            }
        }
        return Ok(());
    }
    std::fs::metadata(path).map_err(missing)?;
    filters.add(path.with_extension("jq"));
    Ok(())
}

struct Report {
    text: String,
    json: bool,
    count: usize,
    failed: usize,
}

impl Report {
    fn add(&mut self, filter: &Path, line: usize, ok: bool, why: &str, got: &str, want: &str) {
        self.count += 1;
        self.failed += usize::from(!ok);
        let place = format!("{}:{line}", filter.with_extension("ndjson").display());
        let _ = if self.json {
            writeln!(self.text, "{}", json!({"place": place, "ok": ok, "why": why, "got": got, "want": want}))
        } else if ok {
            writeln!(self.text, "ok {} - {place} {why}", self.count)
        } else {
            writeln!(self.text, "not ok {} - {place} {why}\n  ---\n  want: {want}\n  got: {got}\n  ...", self.count)
        };
    }
}

fn one(config: &Config, filter: &Path, report: &mut Report) -> Result<(), StageError> {
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|e| StageError::usage(format!("{}: {e}", path.display())));
    let (source, lines) = (read(filter)?, read(&filter.with_extension("ndjson"))?);
    // As in the pipeline, whichever folder the filter lies in.
    let modules = |path: &str| config.module(path);
    let program = probe::compile(&source, &filter.display().to_string(), &modules)
        .map_err(|e| StageError::usage(format!("\n{}", e.render())))?;
    match examples::parse(&lines) {
        Err(bad) => {
            for line in bad {
                report.add(filter, line.line, false, "is no example", &line.text, "an example");
            }
        }
        Ok(examples) => {
            for r in examples::run(&program, &examples, &Limits::default()) {
                report.add(filter, r.line, r.ok, &r.why, &r.got, &r.want);
            }
        }
    }
    Ok(())
}

//! `zentral test`: runs the examples beside each filter, keeps them true, and says what they do not exercise.

mod add;
mod file;
mod report;
mod update;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pipe::cli::Global;
use pipe::config::Config;
use pipe::{Exit, StageError};
use probe::clauses::{Clauses, Coverage, now};
use probe::examples::{self, Example};
use probe::{CompileError, Limits};

use report::{Ran, Report};

/// Command line of `test`.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Filters (NAME.jq), their examples (NAME.ndjson) or folders of them [default: the filters of the configuration's
    /// probes, and the folder filters beside it]
    pub paths: Vec<PathBuf>,
    /// One JSON object a line instead of TAP
    #[arg(long)]
    pub json: bool,
    /// Write what the filters say into the `match` of the examples that fail
    #[arg(long)]
    pub update: bool,
    /// Name the clauses of each filter that no example makes true, makes false or reaches
    #[arg(long)]
    pub coverage: bool,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Make a stored event an example of a filter
    Add(add::Args),
}

/// Runs them.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("test");
    let config = match global.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let ran = probe::with_stack(|| match &args.command {
        Some(Command::Add(args)) => add::add(&config, args),
        None => test(&config, args),
    });
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
    let mut report = Report::new(args.json);
    for filter in filters.0.values() {
        one(config, filter, args, &mut report)?;
    }
    if report.count() == 0 {
        return Err(StageError::usage("no examples found; they stand in NAME.ndjson beside NAME.jq"));
    }
    let failed = report.failed();
    pipe::write_stdout(report.end().as_bytes()).map_err(crate::stdout_error)?;
    Ok(if failed > 0 { Exit::No } else { Exit::Done })
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

fn one(config: &Config, filter: &Path, args: &Args, report: &mut Report) -> Result<(), StageError> {
    let beside = filter.with_extension("ndjson");
    let (source, lines) = (file::read(filter)?, file::read(&beside)?);
    // As in the pipeline, whichever folder the filter lies in.
    let modules = |path: &str| config.module(path);
    let name = filter.display().to_string();
    let program = probe::compile(&source, &name, &modules).map_err(wrong)?;
    let examples = match examples::parse(&lines) {
        Ok(examples) => examples,
        Err(bad) => {
            for line in bad {
                report.bad(&beside, line.line, &line.text);
            }
            return Ok(());
        }
    };
    let results = examples::run(&program, &examples, &Limits::default());
    // Compiled a second time only where somebody wants to know more.
    let look = args.coverage || results.iter().any(|r| !r.ok);
    let clauses = if look { Some(Clauses::new(&source, &name, &modules).map_err(wrong)?) } else { None };
    let mut coverage = clauses.as_ref().map(Coverage::new);
    let mut updates = BTreeMap::new();
    for (example, result) in examples.iter().zip(&results) {
        let explained = match &clauses {
            Some(clauses) if args.coverage || !result.ok => explain(clauses, example),
            _ => None,
        };
        if let (Some(coverage), Some(explained)) = (&mut coverage, &explained) {
            coverage.add(explained);
        }
        let change = if args.update && !result.ok { update::change(example, result) } else { None };
        let decided = match (&clauses, &explained) {
            (Some(clauses), Some(explained)) if !result.ok => report::decided(&name, clauses, explained),
            _ => None,
        };
        report.add(&beside, &Ran { result, decided, change: change.as_deref() });
        updates.extend(change.map(|value| (example.line, value)));
    }
    if !updates.is_empty() {
        file::replace(&beside, &update::apply(&lines, &updates)?)?;
    }
    if let (Some(coverage), true) = (&coverage, args.coverage) {
        report.coverage(filter, coverage);
    }
    Ok(())
}

/// What came of each clause over an example.
fn explain(clauses: &Clauses, example: &Example) -> Option<probe::clauses::Explained> {
    let event = probe::parse(example.event.as_bytes()).ok()?;
    Some(clauses.explain(&event, now(&event, 0), &Limits::default()))
}

fn wrong(e: CompileError) -> StageError {
    StageError::usage(format!("\n{}", e.render()))
}

//! `zentral test`: runs the examples beside each filter, keeps them true, and says what they do not exercise.

mod add;
mod file;
pub mod report;
mod update;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pipe::cli::Global;
use pipe::config::{Config, ProbeConf, is_name};
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
    /// Filters (NAME.jq), their examples (NAME.ndjson), folders of them, or names of probes [default: the configuration's
    /// probes, and the folder filters beside it]
    #[arg(value_name = "PATH|PROBE")]
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
        named(config, path, &mut filters)?;
    }
    if args.paths.is_empty() {
        config.probes.values().for_each(|conf| filters.probe(conf));
        let folder = config.base.join("filters");
        if folder.is_dir() {
            find(&folder, &mut filters)?;
        }
    }
    let mut report = Report::new(args.json);
    for filter in filters.with.values() {
        one(config, filter, args, &mut report)?;
    }
    for lacking in filters.without.values() {
        without(config, lacking, args, &mut report)?;
    }
    let (count, failed) = (report.count(), report.failed());
    pipe::write_stdout(report.end().as_bytes()).map_err(crate::stdout_error)?;
    if count == 0 {
        return Err(StageError::usage("no examples found; they stand in NAME.ndjson beside NAME.jq"));
    }
    Ok(if failed > 0 { Exit::No } else { Exit::Done })
}

/// What is to be tested.
#[derive(Default)]
struct Filters {
    /// Filters as people write their paths, by the path that is the same for all who mean the same file.
    with: BTreeMap<PathBuf, PathBuf>,
    /// Filters that have no examples, by what they are called.
    without: BTreeMap<String, Lacking>,
}

/// A filter without examples.
struct Lacking {
    /// `probe NAME`, or the file of a filter that was named itself.
    title: String,
    /// The file that holds the filter.
    file: Option<PathBuf>,
    /// Its text, if that stands in the configuration.
    text: String,
}

impl Filters {
    fn add(&mut self, path: PathBuf) {
        self.with.entry(std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone())).or_insert(path);
    }

    /// The filter of a probe, whether or not it has examples.
    fn probe(&mut self, conf: &ProbeConf) {
        match &conf.filter.file {
            Some(file) if file.with_extension("ndjson").exists() => self.add(file.clone()),
            file => self.lacks(format!("probe {}", conf.name), file.clone(), &conf.filter.source),
        }
    }

    fn lacks(&mut self, title: String, file: Option<PathBuf>, text: &str) {
        self.without.insert(title.clone(), Lacking { title, file, text: text.to_owned() });
    }
}

/// What a word names: a path that is there or, if there is none, a probe.
fn named(config: &Config, word: &Path, filters: &mut Filters) -> Result<(), StageError> {
    let name = word.to_str().filter(|name| is_name(name) && !word.exists());
    match name {
        None => find(word, filters),
        Some(name) => filter::probe(config, name).map(|conf| filters.probe(conf)).map_err(|e| {
            let text = format!("`{name}` is neither a file nor a folder, and {}", e.text);
            StageError { text, ..e }
        }),
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
    let filter = path.with_extension("jq");
    if path.with_extension("ndjson").exists() {
        filters.add(filter);
    } else {
        let text = file::read(&filter)?;
        filters.lacks(filter.display().to_string(), Some(filter), &text);
    }
    Ok(())
}

/// Says that a filter has no examples; its coverage is nothing at all.
fn without(config: &Config, lacking: &Lacking, args: &Args, report: &mut Report) -> Result<(), StageError> {
    report.without(&lacking.title, lacking.file.as_deref());
    if args.coverage {
        let name = lacking.file.as_ref().map_or_else(|| lacking.title.clone(), |file| file.display().to_string());
        let clauses = Clauses::new(&lacking.text, &name, &|path: &str| config.module(path)).map_err(wrong)?;
        report.coverage(&name, &Coverage::new(&clauses));
    }
    Ok(())
}

fn one(config: &Config, filter: &Path, args: &Args, report: &mut Report) -> Result<(), StageError> {
    let beside = filter.with_extension("ndjson");
    let (source, lines) = (file::read(filter)?, file::read(&beside)?);
    // As in the pipeline, whichever folder the filter lies in.
    let modules = |path: &str| config.module(path);
    let name = filter.display().to_string();
    let program = probe::compile(&source, &name, &modules).map_err(wrong)?;
    let (examples, bad) = examples::read(&lines);
    let mut bad = bad.iter().peekable();
    let results = examples::run(&program, &examples, &Limits::default());
    // Compiled a second time only where somebody wants to know more.
    let look = args.coverage || results.iter().any(|r| !r.ok);
    let clauses = if look { Some(Clauses::new(&source, &name, &modules).map_err(wrong)?) } else { None };
    let mut coverage = clauses.as_ref().map(Coverage::new);
    let mut updates = BTreeMap::new();
    for (example, result) in examples.iter().zip(&results) {
        while let Some(bad) = bad.next_if(|bad| bad.line < example.line) {
            report.bad(&beside, bad);
        }
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
    bad.for_each(|bad| report.bad(&beside, bad));
    if !updates.is_empty() {
        file::replace(&beside, &update::apply(&lines, &updates)?)?;
    }
    if let (Some(coverage), true) = (&coverage, args.coverage) {
        report.coverage(&name, coverage);
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

//! `zentral test`: runs the examples beside each filter, keeps them true, and says what they do not exercise.

mod add;
mod file;
mod list;
pub mod report;
mod update;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pipe::cli::Global;
use pipe::config::{Config, ProbeConf, is_name};
use pipe::{Exit, StageError};
use probe::clauses::{Clauses, Coverage, now};
use probe::examples::{self, Example, Lines};
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
    let Lines { examples, lists, bad } = examples::read(&lines);
    let results = examples::run(&program, &examples, &Limits::default());
    let listed = lists.iter().map(|list| list::run(config, filter, &program, list)).collect::<Result<Vec<_>, _>>()?;
    // Compiled a second time only where somebody wants to know more.
    let look = args.coverage || results.iter().any(|r| !r.ok) || listed.iter().any(|l| !l.result.ok);
    let clauses = if look { Some(Clauses::new(&source, &name, &modules).map_err(wrong)?) } else { None };
    let mut coverage = clauses.as_ref().map(Coverage::new);
    let mut updates = BTreeMap::new();
    for item in in_order(examples.iter().zip(&results), &listed, &bad) {
        let (result, events, key) = match &item {
            Item::Bad(bad) => {
                report.bad(&beside, bad);
                continue;
            }
            Item::One(example, result) => (*result, vec![example.event.as_str()], "match"),
            Item::List(list) => (&list.result, list.lines.iter().map(String::as_str).collect(), "acts"),
        };
        let change = match &item {
            Item::One(example, result) if !result.ok => update::change(example, result),
            Item::List(list) => list.change.clone(),
            _ => None,
        };
        let change = change.filter(|_| args.update);
        let differs = item.differs();
        let mut decided = None;
        for (n, event) in events.iter().enumerate() {
            let wanted = args.coverage || (!result.ok && n == differs);
            let Some(explained) = clauses.as_ref().filter(|_| wanted).and_then(|c| explain(c, event)) else { continue };
            if let Some(coverage) = &mut coverage {
                coverage.add(&explained);
            }
            if let Some(clauses) = clauses.as_ref().filter(|_| !result.ok && n == differs && item.is_about_the_filter())
            {
                decided = report::decided(&name, clauses, &explained);
            }
        }
        let list = if let Item::List(list) = &item { Some(*list) } else { None };
        report.add(&beside, &Ran { result, decided, change: change.as_deref(), list });
        updates.extend(change.map(|value| (result.line, (key, value))));
    }
    if !updates.is_empty() {
        file::replace(&beside, &update::apply(&lines, &updates)?)?;
    }
    if let (Some(coverage), true) = (&coverage, args.coverage) {
        report.coverage(&name, coverage);
    }
    Ok(())
}

/// A line of a file of examples.
enum Item<'i> {
    Bad(&'i examples::BadLine),
    One(&'i Example, &'i examples::ExampleResult),
    List(&'i list::Listed),
}

impl Item<'_> {
    /// Place of the event that is otherwise than asked.
    fn differs(&self) -> usize {
        if let Self::List(list) = self { list.differs.as_ref().map_or(0, |(n, _)| *n) } else { 0 }
    }

    /// Whether it is the filter that decided, not a condition on acting.
    fn is_about_the_filter(&self) -> bool {
        if let Self::List(list) = self { list.is_about_the_filter() } else { true }
    }
}

/// The lines as they stand in the file.
fn in_order<'i>(
    examples: impl Iterator<Item = (&'i Example, &'i examples::ExampleResult)>,
    listed: &'i [list::Listed],
    bad: &'i [examples::BadLine],
) -> Vec<Item<'i>> {
    let examples = examples.map(|(example, result)| (example.line, Item::One(example, result)));
    let lists = listed.iter().map(|list| (list.result.line, Item::List(list)));
    let mut all: Vec<(usize, Item<'i>)> =
        examples.chain(lists).chain(bad.iter().map(|bad| (bad.line, Item::Bad(bad)))).collect();
    all.sort_by_key(|(line, _)| *line);
    all.into_iter().map(|(_, item)| item).collect()
}

/// What came of each clause over an event.
fn explain(clauses: &Clauses, event: &str) -> Option<probe::clauses::Explained> {
    let event = probe::parse(event.as_bytes()).ok()?;
    Some(clauses.explain(&event, now(&event, 0), &Limits::default()))
}

fn wrong(e: CompileError) -> StageError {
    StageError::usage(format!("\n{}", e.render()))
}

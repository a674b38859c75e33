//! `zentral test add FILTER EVENT-ID yes|no`: a stored event becomes an example.

use std::path::{Path, PathBuf};

use pipe::config::{Config, nearest};
use pipe::{Exit, StageError};
use probe::clauses::{Clauses, now};
use probe::{Decision, Limits, examples};

use super::{file, report, wrong};
use crate::explain::find_event;

/// Command line of `test add`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// A file NAME.jq, or the name of a probe that has one
    pub filter: String,
    /// Id of a stored event; -: an event on stdin
    #[arg(value_name = "EVENT-ID")]
    pub event: String,
    /// Whether the filter has to match it
    #[arg(value_name = "yes|no")]
    pub want: Want,
    /// Why, for those who read the example
    #[arg(long, default_value = "", hide_default_value = true)]
    pub why: String,
    /// Add it although the filter says otherwise today
    #[arg(long)]
    pub force: bool,
}

/// What the filter has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Want {
    /// It matches
    #[value(alias = "true")]
    Yes,
    /// It does not match
    #[value(alias = "false")]
    No,
}

impl Want {
    fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
        }
    }
}

pub fn add(config: &Config, args: &Args) -> Result<Exit, StageError> {
    let filter = path(config, &args.filter)?;
    let source = file::read(&filter)?;
    let modules = |path: &str| config.module(path);
    let clauses = Clauses::new(&source, &filter.display().to_string(), &modules).map_err(wrong)?;
    let Some(found) = find_event(config, Some(args.event.as_str()).filter(|id| *id != "-"), "")? else {
        tracing::error!("no event with the id `{}` is stored or in a topic", args.event);
        return Ok(Exit::No);
    };
    let event = examples::bare(&found.line).ok_or_else(|| StageError::usage("the event is no JSON object"))?;
    let val =
        probe::parse(event.as_bytes()).map_err(|e| StageError::usage(format!("the event cannot be read: {e}")))?;

    let beside = filter.with_extension("ndjson");
    let before = if beside.exists() { file::read(&beside)? } else { String::new() };
    if let Some(same) = examples::with_event(&before, &val) {
        let asks = match &same.want {
            examples::Want::Match(false) => "no match",
            examples::Want::Match(true) => "a match",
            examples::Want::Context(_) => "a match with a context",
        };
        let place = format!("{}:{}", beside.display(), same.line);
        tracing::error!("{place} has this event already and asks for {asks}; change that line, or take it out first");
        return Ok(Exit::No);
    }
    let explained = clauses.explain(&val, now(&val, 0), &Limits::default());
    let says = match &explained.decision {
        Decision::Yes(_) => Ok("yes"),
        Decision::No => Ok("no"),
        Decision::Failed(text) => Err(format!("the filter failed: {text}")),
        Decision::Exceeded(limit) => Err(format!("the filter exceeded its limit of {limit}")),
    };
    if says.as_deref() != Ok(args.want.word()) && !args.force {
        let says = says.map_or_else(|e| e, |word| format!("the filter says {word}"));
        let decided = report::decided(&filter.display().to_string(), &clauses, &explained);
        let decided = decided.map_or(String::new(), |d| format!(": {d}"));
        tracing::error!("{says}{decided}; --force adds it all the same");
        return Ok(Exit::No);
    }
    let after = examples::added(&before, args.want == Want::Yes, &args.why, &event);
    file::replace(&beside, &after)?;
    let said = format!("{}:{} {}\n", beside.display(), after.lines().count(), args.want.word());
    pipe::write_stdout(said.as_bytes()).map_err(crate::stdout_error)?;
    Ok(Exit::Done)
}

/// The file of a filter: a path, or a probe's.
fn path(config: &Config, name: &str) -> Result<PathBuf, StageError> {
    let given = Path::new(name);
    if let Some(conf) = config.probes.get(name) {
        let file = conf.filter.file.clone();
        return file.ok_or_else(|| {
            StageError::usage(format!(
                "the filter of probe `{name}` stands in the configuration, and only a file has examples: move it to \
                 {name}.jq and write filter = \"{name}.jq\""
            ))
        });
    }
    match given.extension().and_then(|e| e.to_str()) {
        Some("jq" | "ndjson") => Ok(given.with_extension("jq")),
        _ => {
            let near = nearest(name, config.probes.keys().map(String::as_str));
            let text = format!("`{name}` is neither a file NAME.jq nor a probe of the configuration{near}");
            Err(StageError::usage(text))
        }
    }
}

//! `zentral explain`: an event's way, and for each probe, clause by clause, why it did or did not match.

mod deeds;
pub mod draw;
pub mod find;
mod gates;
pub mod records;
mod text;
pub mod verdict;

use std::io::IsTerminal as _;
use std::path::Path;

use clap::ColorChoice;
use draw::Paint;
use event::Time;
use find::Found;
use pipe::cli::Global;
use pipe::config::Config;
use pipe::{Exit, StageError};
use probe::Spec;
use serde_json::Value;
use verdict::{Says, Subject};

use crate::status::table::lines;

/// Command line of `explain`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Id of a stored event; -, or none: an event on stdin
    #[arg(value_name = "EVENT-ID")]
    pub event: Option<String>,
    /// Only this probe, or a file NAME.jq that no probe needs to have. It may stand alone: the event is on stdin then
    pub probe: Option<String>,
    /// One JSON object a line: the event's way, then each probe
    #[arg(long)]
    pub json: bool,
}

/// Explains: 0 if some probe matched, else 1.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("explain");
    let config = match global.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let ran = probe::with_stack(|| explain(&config, args, global.color));
    crate::finish(ran.unwrap_or_else(|e| Err(StageError::state(format!("cannot start a thread: {e}")))))
}

fn explain(config: &Config, args: &Args, color: ColorChoice) -> Result<Exit, StageError> {
    let (id, probe) = words(config, args);
    // A wrong name is said before stdin is waited for.
    let specs = specs(config, probe.as_deref())?;
    let Some(Found { line, place }) = find_event(config, id.as_deref())? else {
        tracing::error!("no event with the id `{}` is stored or in a topic", id.unwrap_or_default());
        return Ok(Exit::No);
    };
    let unreadable = |e: String| StageError::usage(format!("the event cannot be read: {e}"));
    let event: Value = serde_json::from_str(&line).map_err(|e| unreadable(e.to_string()))?;
    let val = probe::parse(line.as_bytes()).map_err(|e| unreadable(e.to_string()))?;
    let raw = find::raw(config, &event)?;
    let received = event.get("received").and_then(Value::as_str).and_then(|t| t.parse::<Time>().ok());
    let known = event.get("id").and_then(Value::as_str).map(|id| deeds::of(config, id, received));
    let subject = Subject::new(&line, &event, &val);
    let verdicts = verdict::all(config, specs, &subject, known.transpose()?.unwrap_or_default(), probe.is_some())?;
    let people = std::io::stdout().is_terminal() || color == ColorChoice::Always;
    let text = if args.json {
        let mut all = vec![("event", records::way(&event, &place, raw.as_ref()))];
        all.extend(verdicts.iter().map(|v| ("probe", records::probe(v))));
        lines(&all)
    } else {
        let paint = Paint(people && colours(color));
        text::way(&event, &place, raw.as_ref(), paint) + &text::probes(&verdicts, probe.is_some(), paint)
    };
    pipe::write_stdout(text.as_bytes()).map_err(crate::stdout_error)?;
    Ok(if verdicts.iter().any(|v| matches!(v.says, Says::Matched { .. })) { Exit::Done } else { Exit::No })
}

/// The id and the probe: a single word that is the name of a probe or a file is one, its event on stdin.
fn words(config: &Config, args: &Args) -> (Option<String>, Option<String>) {
    let is_probe = |word: &str| config.probes.contains_key(word) || word.ends_with(".jq");
    match (&args.event, &args.probe) {
        (Some(word), None) if is_probe(word) => (None, Some(word.clone())),
        (id, probe) => (id.clone().filter(|id| id != "-"), probe.clone()),
    }
}

/// The event of an id, or the one on stdin.
pub fn find_event(config: &Config, id: Option<&str>) -> Result<Option<Found>, StageError> {
    match id {
        Some(id) => find::by_id(config, id),
        None => find::on_stdin().map(Some),
    }
}

/// All probes, or the one that is named.
fn specs(config: &Config, named: Option<&str>) -> Result<Vec<Spec>, StageError> {
    let Some(name) = named else {
        if config.probes.is_empty() {
            return Err(StageError::usage("the configuration has no probes; name a file NAME.jq"));
        }
        return Ok(config.probes.values().map(|conf| filter::spec(config, conf)).collect());
    };
    if let Some(conf) = config.probes.get(name) {
        return Ok(vec![filter::spec(config, conf)]);
    }
    if !name.ends_with(".jq") {
        return Err(StageError::usage(format!("the configuration has no probe `{name}`")));
    }
    let text = std::fs::read_to_string(name).map_err(|e| StageError::usage(format!("{name}: {e}")))?;
    let stem = Path::new(name).file_stem().map_or(name.into(), |stem| stem.to_string_lossy());
    let rev = probe::rev(&text, "");
    Ok(vec![Spec { name: stem.into_owned(), rev, ..Spec::bare(name, text) }])
}

/// On a terminal, unless NO_COLOR or the flag says otherwise.
fn colours(color: ColorChoice) -> bool {
    match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    }
}

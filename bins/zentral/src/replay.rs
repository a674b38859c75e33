//! `zentral replay`: what came before, to be fed again through a pipe. It only prints.

pub mod events;
pub mod off;

use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::path::Path;

use event::Time;
use filter::Off;
use pipe::cli::Global;
use pipe::config::{Config, Place, StageKind, is_name, nearest};
use pipe::{Exit, StageError, Window};

use crate::cat::when;
use crate::progress::Progress;
use events::{Kind, Seen};

/// Command line of `replay`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Raw lines, as received (default)
    #[arg(long, conflicts_with_all = ["events", "refused"])]
    pub raw: bool,
    /// Events, as filter read them: without `probes`
    #[arg(long, conflicts_with = "refused")]
    pub events: bool,
    /// Lines that this stage refused, as they came; nobody wrote down when
    #[arg(long, value_name = "STAGE", conflicts_with_all = ["since", "until"])]
    pub refused: Option<String>,
    /// Only lines received since: an age such as 2h, or a time
    #[arg(long, value_name = "AGE|TIME")]
    pub since: Option<String>,
    /// Only lines received until: an age, or a time; a day, hour or minute with all of it
    #[arg(long, value_name = "AGE|TIME")]
    pub until: Option<String>,
}

/// Bytes that are gathered before they are written.
const WRITE: usize = 256 << 10;
/// Filters that are named because they were off; the rest is counted.
const NAMED: usize = 10;

/// Prints.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("replay");
    match global.load_or_last_good() {
        Ok(config) => crate::finish(print(&config, args)),
        Err(exit) => exit,
    }
}

fn print(config: &Config, args: &Args) -> Result<Exit, StageError> {
    if let Some(stage) = &args.refused {
        return refused(config, stage);
    }
    let (since, until) = (when(args.since.as_deref(), false)?, when(args.until.as_deref(), true)?);
    if args.events {
        let topics = events::topics(config);
        let mut off = Vec::new();
        for topic in &topics {
            let ours = |probe: &str, rev: &str| {
                config.probes.get(probe).is_some_and(|conf| filter::spec(config, conf).rev == rev)
            };
            off.extend(off::before(config, topic, since, ours)?);
        }
        let topics = topics.into_iter().map(|t| t.place).collect();
        window(config, topics, StageKind::Filter, since, until, |line, out| event(line, out, &mut off))?;
        tell(&off);
    } else {
        window(config, raw(config), StageKind::Receive, since, until, |line, out| out.extend_from_slice(line))?;
    }
    Ok(Exit::Done)
}

/// The topics that sources write to.
fn raw(config: &Config) -> Vec<&Place> {
    let stages = config.stages.iter().filter(|s| s.runs(StageKind::Receive));
    stages.filter_map(|s| s.to.as_ref()).filter(|place| place.is_topic()).collect()
}

/// Prints what `take` makes of each line of the window, topic after topic, each in its own order.
fn window(
    config: &Config,
    topics: Vec<&Place>,
    kind: StageKind,
    since: Option<Time>,
    until: Option<Time>,
    mut take: impl FnMut(&[u8], &mut Vec<u8>),
) -> Result<(), StageError> {
    if topics.is_empty() {
        return Err(StageError::usage(format!("the pipeline has no `{}`", kind.word())));
    }
    let mut windows = Vec::new();
    for place in topics {
        let window = Window::open(config, place, since, until, false)?;
        windows.push(window.ok_or_else(|| missing(config, place))?);
    }
    let total = windows.iter().map(Window::total).sum();
    let mut progress = Progress::new(Some(total), !std::io::stdout().is_terminal());
    let (mut out, mut before) = (Vec::with_capacity(2 * WRITE), 0);
    for mut window in windows {
        while let Some(lines) = window.read()? {
            for line in lines.bytes.split_inclusive(|b| *b == b'\n') {
                take(line, &mut out);
                if out.len() >= WRITE {
                    flush(&mut out)?;
                }
            }
            progress.at(before + window.done());
        }
        before += window.total();
    }
    flush(&mut out)
}

/// There is no such topic.
pub fn missing(config: &Config, place: &Place) -> StageError {
    StageError::usage(match place {
        Place::Topic(name) => {
            format!("there is no topic `{name}` yet: {} is not there", config.topic_dir(name).display())
        }
        _ => format!("there is no topic `{place}` yet: the brokers do not know it"),
    })
}

fn flush(out: &mut Vec<u8>) -> Result<(), StageError> {
    let written = pipe::write_stdout(out);
    out.clear();
    written.map_err(crate::stdout_error)
}

fn event(line: &[u8], out: &mut Vec<u8>, off: &mut Vec<Off>) {
    let before = out.len();
    match events::as_read(line.trim_ascii_end(), out) {
        Ok(Seen::Event(_)) => out.push(b'\n'),
        Ok(Seen::Word(word)) => {
            let why = match word.kind {
                Kind::Quarantined => "quarantined",
                Kind::SwitchedOff => "crash",
                Kind::Failed | Kind::Resumed => return,
            };
            let (why, reason) = (why.to_owned(), String::new());
            off.push(Off { probe: word.probe, rev: word.rev, why, event: word.event, reason });
        }
        Err(e) => {
            out.truncate(before);
            tracing::error!("a line of the topic is no event: {e}");
        }
    }
}

/// `filter` at the end of a pipe has no memory of this: the words are for whoever compares.
fn tell(off: &[Off]) {
    for Off { probe, rev, event, .. } in off.iter().take(NAMED) {
        tracing::warn!(
            "probe {probe} ({rev}) was off from event {event} on: what the hub did not run, a filter that reads these events may"
        );
    }
    if off.len() > NAMED {
        tracing::warn!("so it was {} times more", off.len() - NAMED);
    }
}

fn refused(config: &Config, stage: &str) -> Result<Exit, StageError> {
    if !is_name(stage) {
        return Err(StageError::usage(format!("`{stage}` is no name of a stage")));
    }
    let folder = config.data.join("refused");
    let known = stages_that_refuse(config, &folder);
    if !known.iter().any(|name| name == stage) {
        let near = nearest(stage, known.iter().map(String::as_str));
        let text = format!("there is no stage `{stage}`{near}; there are: {}", known.join(", "));
        return Err(StageError::usage(text));
    }
    for name in [format!("{stage}.ndjson.1"), format!("{stage}.ndjson")] {
        let path = folder.join(name);
        let fail = |e: std::io::Error| StageError::state(format!("{}: {e}", path.display()));
        let mut entries = match std::fs::File::open(&path) {
            Ok(file) => BufReader::new(file),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(fail(e)),
        };
        let mut line = Vec::new();
        while entries.read_until(b'\n', &mut line).map_err(fail)? > 0 {
            match pipe::refused_original(&line) {
                Some(mut original) => {
                    original.push(b'\n');
                    pipe::write_stdout(&original).map_err(crate::stdout_error)?;
                }
                None => tracing::warn!("{}: an entry that cannot be read", path.display()),
            }
            line.clear();
        }
    }
    Ok(Exit::Done)
}

/// The stages of the configuration, and those that have left lines behind, by name.
fn stages_that_refuse(config: &Config, folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = config.stages.iter().map(|stage| stage.name.clone()).collect();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let name = file.to_str().and_then(|file| file.strip_suffix(".ndjson").or(file.strip_suffix(".ndjson.1")));
        names.extend(name.map(str::to_owned));
    }
    names.sort_unstable();
    names.dedup();
    names
}

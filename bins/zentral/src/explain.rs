//! `zentral explain`: an event's way, and for each probe, clause by clause, why it did or did not match.

mod deeds;
pub mod draw;
pub mod find;
mod gates;
mod outlook;
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
use pipe::config::{Config, nearest};
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
    /// Only this probe, or a file NAME.jq that no probe needs to have. It may stand first, and alone: the event is on
    /// stdin then
    pub probe: Option<String>,
    /// One JSON object a line: the event's way, then each probe. Without it the output is text, in a pipe as well
    #[arg(long)]
    pub json: bool,
}

/// Characters of an event's id.
const ID_LENGTH: usize = 36;

/// Explains: 0 if some probe matched, else 1.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("explain");
    let config = match global.load_or_last_good() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let ran = probe::with_stack(|| explain(&config, args, global.color));
    crate::finish(ran.unwrap_or_else(|e| Err(StageError::state(format!("cannot start a thread: {e}")))))
}

fn explain(config: &Config, args: &Args, color: ColorChoice) -> Result<Exit, StageError> {
    let (id, probe) = words(args, |word| config.probes.contains_key(word) || word.ends_with(".jq"));
    // A wrong name is said before stdin is waited for.
    let specs = specs(config, probe.as_deref())?;
    let Some(Found { line, place }) = find_event(config, id.as_deref(), &advice(probe.as_deref()))? else {
        no_event(config, &id.unwrap_or_default(), probe.is_none());
        return Ok(Exit::No);
    };
    let unreadable = |e: String| StageError::usage(format!("the event cannot be read: {e}"));
    let event: Value = serde_json::from_str(&line).map_err(|e| unreadable(e.to_string()))?;
    let val = probe::parse(line.as_bytes()).map_err(|e| unreadable(e.to_string()))?;
    let raw = find::raw(config, &event)?;
    let received = event.get("received").and_then(Value::as_str).and_then(|t| t.parse::<Time>().ok());
    let id = event.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
    let known = id.map(|id| deeds::of(config, id, received));
    let subject = Subject::new(&line, &event, &val, place == find::STDIN);
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

/// The id and the probe, which may stand in either order. A word that is no probe's name or file is an id, if the other
/// one is; a single one of these has its event on stdin.
fn words(args: &Args, is_probe: impl Fn(&str) -> bool) -> (Option<String>, Option<String>) {
    let (event, probe) = match (args.event.as_deref(), args.probe.as_deref()) {
        (Some(word), None) if is_probe(word) => (None, Some(word)),
        (Some(word), Some(other)) if !is_probe(other) && (is_probe(word) || is_event(other) && !is_event(word)) => {
            (Some(other), Some(word))
        }
        other => other,
    };
    (event.filter(|id| *id != "-").map(str::to_owned), probe.map(str::to_owned))
}

/// Stdin, or an id as events have it.
fn is_event(word: &str) -> bool {
    word == "-" || (word.len() == ID_LENGTH && word.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
}

/// The event of an id, or the one on stdin; `advice` is what to do where there is none.
pub fn find_event(config: &Config, id: Option<&str>, advice: &str) -> Result<Option<Found>, StageError> {
    match id {
        Some(id) => find::by_id(config, id),
        None => find::on_stdin(advice).map(Some),
    }
}

/// Who names a probe alone most likely means: why did it match, or not?
fn advice(probe: Option<&str>) -> String {
    match probe {
        None => String::new(),
        Some(file) if file.ends_with(".jq") => {
            format!("; a stored one: zentral search '*' -n 1 | zentral explain {file}")
        }
        Some(name) => format!(
            "; what it matched last: zentral search probes.name:{name} -n 1 | zentral explain {name}; \
             any other event by its id: zentral explain EVENT-ID {name}"
        ),
    }
}

/// Says that there is no event of this id; a single word may have been meant for a probe.
fn no_event(config: &Config, id: &str, alone: bool) {
    let missing = format!("no event with the id `{id}` is stored or in a topic");
    if !alone || is_event(id) {
        return tracing::error!("{missing}");
    }
    let near = nearest(id, config.probes.keys().map(String::as_str));
    tracing::error!("{missing}, and the configuration has no probe of that name{near}");
}

/// All probes, or the one that is named.
fn specs(config: &Config, named: Option<&str>) -> Result<Vec<Spec>, StageError> {
    let Some(name) = named else {
        if config.probes.is_empty() {
            return Err(StageError::usage("the configuration has no probes; name a file NAME.jq"));
        }
        return Ok(config.probes.values().map(|conf| filter::spec(config, conf)).collect());
    };
    if !name.ends_with(".jq") {
        return Ok(vec![filter::spec(config, filter::probe(config, name)?)]);
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn words_in_either_order() {
        let id = "019f0000-0000-8000-8000-000000000001";
        for (given, want) in [
            (&[][..], [None, None]),
            (&["-"], [None, None]),
            (&["usb"], [None, Some("usb")]),
            (&["a.jq"], [None, Some("a.jq")]),
            (&[id], [Some(id), None]),
            (&["nosuch"], [Some("nosuch"), None]),
            (&["usb", "-"], [None, Some("usb")]),
            (&["-", "usb"], [None, Some("usb")]),
            (&["usb", id], [Some(id), Some("usb")]),
            (&[id, "usb"], [Some(id), Some("usb")]),
            (&["usb", "e1"], [Some("e1"), Some("usb")]),
            // Nobody's name: whichever looks like an id is one.
            (&["nosuch", id], [Some(id), Some("nosuch")]),
            (&[id, "nosuch"], [Some(id), Some("nosuch")]),
            (&["e1", "e2"], [Some("e1"), Some("e2")]),
        ] {
            let word = |i: usize| given.get(i).map(|word| (*word).to_owned());
            let args = Args { event: word(0), probe: word(1), json: false };
            let (event, probe) = words(&args, |word| word == "usb" || word.ends_with(".jq"));
            assert_eq!([event.as_deref(), probe.as_deref()], want, "{given:?}");
        }
    }
}

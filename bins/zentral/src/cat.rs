//! `zentral cat`: the committed lines of a topic.

use std::collections::VecDeque;
use std::time::Duration;

use event::Time;
use pipe::cli::Global;
use pipe::config::{Config, Place};
use pipe::{Exit, Signals, StageError, Window};
use probe::{Decision, Limits, Program};
use store::ask::{NO_TIME, moment};

use crate::replay::missing;

/// Command line of `cat`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The topic: topic:NAME, kafka:NAME, or NAME alone: as the stages of the configuration have it
    pub topic: String,
    /// Only lines received since: an age such as 2h, or a time
    #[arg(long, value_name = "AGE|TIME")]
    pub since: Option<String>,
    /// Only lines received until: an age, or a time; a day, hour or minute with all of it
    #[arg(long, value_name = "AGE|TIME")]
    pub until: Option<String>,
    /// Wait for more
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last N lines
    #[arg(short = 'n', long = "lines", value_name = "N")]
    pub lines: Option<usize>,
    /// Only lines that this jq program chooses
    #[arg(long = "where", value_name = "JQ")]
    pub where_: Option<String>,
    /// Print only how many there are
    #[arg(long)]
    pub count: bool,
}

/// How often a follower looks for more.
const POLL: Duration = Duration::from_millis(20);

/// Prints.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("cat");
    let config = match global.load_or_last_good() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let ran = probe::with_stack(|| {
        let choice = Choice::new(args, &config)?;
        let place = place(&config, &args.topic)?;
        let (since, until) = (when(args.since.as_deref(), false)?, when(args.until.as_deref(), true)?);
        let window = Window::open(&config, &place, since, until, args.follow)?;
        print(window.ok_or_else(|| missing(&config, &place))?, args, choice)
    });
    crate::finish(ran.unwrap_or_else(|e| Err(StageError::state(format!("cannot start a thread: {e}")))))
}

/// A topic by its name alone lies where the stages of the configuration say, else on disk.
fn place(config: &Config, text: &str) -> Result<Place, StageError> {
    let named = if text.contains(':') { text.to_owned() } else { format!("topic:{text}") };
    let place = Place::parse(&named).ok().filter(Place::is_topic);
    let place = place.ok_or_else(|| StageError::usage(format!("`{text}` is no name of a topic")))?;
    let known = |place: &Place| config.stages.iter().any(|s| s.from.iter().chain(s.outputs()).any(|p| p == place));
    let other = Place::Kafka(text.to_owned());
    Ok(if !known(&place) && known(&other) { other } else { place })
}

/// The lines of a topic that are asked for, to stdout.
fn print(mut window: Window, args: &Args, mut choice: Choice) -> Result<Exit, StageError> {
    let signals = Signals::listen().map_err(|e| StageError::state(e.to_string()))?;
    let (mut out, mut count) = (Vec::new(), 0u64);
    let mut last: VecDeque<Vec<u8>> = VecDeque::new();
    let mut tail = args.lines;
    while !signals.stopping() {
        let Some(lines) = window.read()? else {
            for line in last.drain(..) {
                out.extend_from_slice(&line);
            }
            tail = None;
            flush(&mut out)?;
            if !args.follow {
                break;
            }
            signals.waker.wait(POLL);
            continue;
        };
        for line in lines.bytes.split_inclusive(|b| *b == b'\n') {
            if !choice.takes(line) {
                continue;
            }
            count += 1;
            match (args.count, tail) {
                (true, _) => {}
                (false, Some(n)) => {
                    last.push_back(line.to_vec());
                    if last.len() > n {
                        last.pop_front();
                    }
                }
                (false, None) => out.extend_from_slice(line),
            }
        }
        flush(&mut out)?;
    }
    if args.count {
        out.extend_from_slice(format!("{count}\n").as_bytes());
        flush(&mut out)?;
    }
    Ok(Exit::Done)
}

fn flush(out: &mut Vec<u8>) -> Result<(), StageError> {
    if out.is_empty() {
        return Ok(());
    }
    let written = pipe::write_stdout(out);
    out.clear();
    written.map_err(crate::stdout_error)
}

/// Which lines are asked for.
struct Choice {
    program: Option<Program>,
}

impl Choice {
    fn new(args: &Args, config: &Config) -> Result<Self, StageError> {
        let modules = |path: &str| config.module(path);
        let compile = |text: &String| {
            probe::compile(text, "--where", &modules).map_err(|e| StageError::usage(format!("\n{}", e.render())))
        };
        Ok(Self { program: args.where_.as_ref().map(compile).transpose()? })
    }

    fn takes(&mut self, line: &[u8]) -> bool {
        let Some(program) = &self.program else { return true };
        let Ok(event) = probe::parse(line.trim_ascii_end()) else { return false };
        matches!(program.decide(&event, Time::now().ms(), &Limits::default()), Decision::Yes(_))
    }
}

/// What a word for a time means; with `end` its last moment.
pub fn when(text: Option<&str>, end: bool) -> Result<Option<Time>, StageError> {
    let Some(text) = text else { return Ok(None) };
    let time = moment(text, Time::now(), end);
    time.map(Some).ok_or_else(|| StageError::usage(format!("`{text}` is {NO_TIME}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_name_alone_is_a_topic_where_the_stages_have_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pipeline.toml");
        let stages = "[stage.receive]\nto = \"kafka:raw\"\n[stage.normalize]\nfrom = \"kafka:raw\"\nto = \"topic:e\"\n";
        std::fs::write(&file, format!("version = 1\n[kafka]\nbrokers = [\"127.0.0.1:9\"]\n{stages}")).unwrap();
        let (config, _) = Config::load(&file, None).map_err(|found| pipe::config::render(&found)).unwrap();
        for (text, want) in [
            ("raw", "kafka:raw"),
            ("topic:raw", "topic:raw"),
            ("kafka:e", "kafka:e"),
            ("e", "topic:e"),
            ("other", "topic:other"),
        ] {
            assert_eq!(place(&config, text).unwrap().to_string(), want);
        }
        for text in ["-", "Raw", "../raw", "topic:", "registry:changes", "x:raw"] {
            assert!(place(&config, text).unwrap_err().to_string().contains("no name of a topic"), "{text}");
        }
    }

    #[test]
    fn since_and_until_include_what_they_name() {
        let both = |text| when(Some(text), false).and_then(|since| Ok((since, when(Some(text), true)?)));
        let time = |text: &str| Some(text.parse::<Time>().unwrap());
        let day = (time("2026-11-21T00:00:00.000Z"), time("2026-11-21T23:59:59.999Z"));
        assert_eq!(both("2026-11-21").unwrap(), day);
        assert!(both("yesterday").unwrap_err().to_string().contains("neither an age"));
    }
}

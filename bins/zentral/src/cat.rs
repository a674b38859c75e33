//! `zentral cat`: the committed lines of a topic.

use std::path::Path;
use std::time::Duration;

use event::{Time, json};
use pipe::cli::Global;
use pipe::config::{Config, is_name};
use pipe::fs::RealFs;
use pipe::topic::{self, Start, TopicReader};
use pipe::{Exit, Signals, StageError};
use probe::{Decision, Limits, Program};
use store::ask::{NO_TIME, moment};

/// Command line of `cat`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Name of the topic, with or without `topic:`
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

/// Bytes read and written at a time.
const CHUNK: usize = 1 << 20;
/// How often a follower looks for more.
const POLL: Duration = Duration::from_millis(20);

/// Prints.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("cat");
    let config = match global.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let ran = probe::with_stack(|| {
        let choice = Choice::new(args, &config)?;
        let name = args.topic.strip_prefix("topic:").unwrap_or(&args.topic);
        if !is_name(name) {
            return Err(StageError::usage(format!("`{name}` is no name of a topic")));
        }
        let dir = config.topic_dir(name);
        if !dir.is_dir() {
            return Err(StageError::usage(format!("there is no topic `{name}` in {}", config.data.display())));
        }
        print(&dir, args, choice)
    });
    crate::finish(ran.unwrap_or_else(|e| Err(StageError::state(format!("cannot start a thread: {e}")))))
}

/// The lines of a topic that are asked for, to stdout.
fn print(dir: &Path, args: &Args, mut choice: Choice) -> Result<Exit, StageError> {
    let fail = |e: topic::Error| StageError::state(e.to_string());
    let age = |since: Time| Time::now().ms().saturating_sub(since.ms()).max(0);
    let start = choice.since.map_or(Start::First, |since| Start::Age(age(since)));
    let mut reader = TopicReader::open(RealFs::shared(), dir, start).map_err(fail)?;
    let signals = Signals::listen().map_err(|e| StageError::state(e.to_string()))?;
    let (mut out, mut count) = (Vec::new(), 0u64);
    let mut last: std::collections::VecDeque<Vec<u8>> = std::collections::VecDeque::new();
    let keep = |last: &mut std::collections::VecDeque<Vec<u8>>, line: &[u8], n: usize| {
        last.push_back(line.to_vec());
        if last.len() > n {
            last.pop_front();
        }
    };
    let mut tail = args.lines;
    while !signals.stopping() {
        let chunk = match reader.read(CHUNK) {
            Err(topic::Error::NotReady(_)) => None,
            Err(e) => {
                pass_over(&mut reader, e).map_err(fail)?;
                continue;
            }
            Ok(chunk) => chunk,
        };
        let Some(chunk) = chunk else {
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
        for line in chunk.bytes.split_inclusive(|b| *b == b'\n') {
            if !choice.takes(line) {
                continue;
            }
            count += 1;
            match (args.count, tail) {
                (true, _) => {}
                (false, Some(n)) => keep(&mut last, line, n),
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

/// Goes on behind what cannot be read: lines that are no longer kept, or a damaged one, which is told.
pub fn pass_over(reader: &mut TopicReader, e: topic::Error) -> Result<(), topic::Error> {
    match e {
        topic::Error::Gone { first } => reader.seek(first),
        topic::Error::CorruptAt { .. } if reader.skip_line()? > 0 => {
            tracing::error!("{e}; one line was passed over");
        }
        e => return Err(e),
    }
    Ok(())
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
    since: Option<Time>,
    until: Option<Time>,
    program: Option<Program>,
}

impl Choice {
    fn new(args: &Args, config: &Config) -> Result<Self, StageError> {
        let modules = |path: &str| config.module(path);
        let compile = |text: &String| {
            probe::compile(text, "--where", &modules).map_err(|e| StageError::usage(format!("\n{}", e.render())))
        };
        let program = args.where_.as_ref().map(compile).transpose()?;
        Ok(Self { since: when(args.since.as_deref(), false)?, until: when(args.until.as_deref(), true)?, program })
    }

    fn takes(&mut self, line: &[u8]) -> bool {
        if self.since.is_some() || self.until.is_some() {
            let received = json::get(line, "received").and_then(json::parse_str).and_then(|t| t.parse::<Time>().ok());
            let received = received.unwrap_or_default();
            if self.since.is_some_and(|s| received < s) || self.until.is_some_and(|u| received > u) {
                return false;
            }
        }
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
    fn since_and_until_include_what_they_name() {
        let both = |text| when(Some(text), false).and_then(|since| Ok((since, when(Some(text), true)?)));
        let (since, until) = both("2026-11-21").unwrap();
        let mut choice = Choice { since, until, program: None };
        for (received, taken) in [
            ("2026-11-20T23:59:59.999Z", false),
            ("2026-11-21T00:00:00.000Z", true),
            ("2026-11-21T23:59:59.999Z", true),
            ("2026-11-22T00:00:00.000Z", false),
        ] {
            assert_eq!(choice.takes(format!(r#"{{"received":"{received}"}}"#).as_bytes()), taken, "{received}");
        }
        assert!(both("yesterday").unwrap_err().to_string().contains("neither an age"));
    }
}

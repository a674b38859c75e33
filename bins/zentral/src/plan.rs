//! `zentral plan`: what a change of the configuration would have done: the probes of the old and of the new one over the
//! events that are kept.
//!
//! One thread reads, one runs what is the same in both, one each what is old and new, and this one compares. All work on
//! the same few blocks of events, in order, so that memory does not grow with the window.

mod compare;
mod judge;
mod messages;
mod off;
mod pairs;
mod report;
mod source;
mod text;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use event::Time;
use pipe::cli::{Global, complain};
use pipe::config::{Config, render};
use pipe::{Exit, StageError, Window};

use crate::cat::when;
use crate::check;
use crate::replay::events::{self, EventTopic};
use crate::replay::off::before;
use crate::status::table;
use crate::up::Copies;
use compare::Compared;
use pairs::{Pairs, Side};
use report::Report;
use source::{Block, Kept, Read};
use worker::{Tally, Told};

/// Command line of `plan`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// What to compare with: a pipeline.toml, a folder that holds one, or data/config/HASH [default: what the hub runs]
    pub old: Option<PathBuf>,
    /// Only events received since: an age such as 2h, or a time [default: 7d; of a file all]
    #[arg(long, value_name = "AGE|TIME")]
    pub since: Option<String>,
    /// Only events received until: an age, or a time; a day, hour or minute with all of it
    #[arg(long, value_name = "AGE|TIME")]
    pub until: Option<String>,
    /// Events recorded in this file, - for stdin, in place of those that are kept
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Matches shown of each kind and probe
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub samples: u8,
    /// Markdown, for the comment under a pull request
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// One JSON object a line, also on a terminal. In a pipe or a file it is that anyway, on a terminal tables
    #[arg(long)]
    pub json: bool,
}

/// How far back it looks if nothing is said.
const SINCE: &str = "7d";
/// Blocks of events that wait for a slower side.
const AHEAD: usize = 3;
/// Lots of matches that wait to be compared.
const TOLD: usize = 8;

/// Compares.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("plan");
    crate::finish(plan(global, args))
}

fn plan(global: &Global, args: &Args) -> Result<Exit, StageError> {
    let path = global.config_path().ok_or_else(|| StageError::usage("no pipeline.toml here; name one with -c"))?;
    let new = match check::load(&path, global.data.as_deref()) {
        Ok((config, _)) => config,
        Err(findings) => {
            complain(&render(&findings));
            return Err(StageError::usage("the new configuration is wrong"));
        }
    };
    let (old, old_name) = old(args.old.as_deref(), &new)?;
    let pairs = Pairs::of(&old, &new)?;
    let given = args.since.as_deref().or(if args.from.is_none() { Some(SINCE) } else { None });
    let (since, until) = (when(given, false)?, when(args.until.as_deref(), true)?);
    let (config, source, kept) = match &args.from {
        Some(file) => (&new, file.display().to_string(), Vec::new()),
        None => kept(&new, &old, &pairs, since)?,
    };
    let names = [old_name, path.display().to_string(), source];
    let report = if pairs.same() {
        Report::new(names, pairs, Read::default(), Default::default(), Compared::default())
    } else {
        let feed = |give: &mut dyn FnMut(Arc<Block>) -> bool| match &args.from {
            Some(file) => source::file(file, since, until, give),
            None => source::topics(config, &kept, since, until, give),
        };
        let (read, tallies, compared) = compare(&pairs, args.samples.into(), feed)?;
        Report::new(names, pairs, read, tallies, compared)
    };
    let text = match (args.markdown, table::for_people(args.json)) {
        (true, _) => text::markdown(&report),
        (false, true) => text::terminal(&report),
        (false, false) => report.lines(),
    };
    pipe::write_stdout(text.as_bytes()).map_err(crate::stdout_error)?;
    if report.is_unknown() {
        tracing::warn!("{}; give recorded ones with --from, or look further back with --since", report.sentence());
    }
    Ok(match (report.read.refused, report.is_same()) {
        (0, true) => Exit::Done,
        (0, false) => Exit::No,
        _ => Exit::Refused,
    })
}

/// The configuration to compare with, and its name. That it can be read and that its filters compile is enough.
fn old(named: Option<&Path>, new: &Config) -> Result<(Config, String), StageError> {
    let path = match named {
        None => Copies::of(&new.data).current(),
        // A folder is a copy, or one with a pipeline.toml in it.
        Some(path) if path.join("pipeline.toml").is_file() => path.join("pipeline.toml"),
        Some(path) => path.to_owned(),
    };
    if named.is_none() && !path.exists() {
        let text = format!(
            "nothing has run in {} yet, so there is no old configuration. Name one: `zentral plan FOLDER`, such as \
             `git worktree add FOLDER HEAD` makes; or a file with nothing but `version = 1`, to see all that the probes find",
            new.data.display()
        );
        return Err(StageError::usage(text));
    }
    let (config, _) = Config::load(&path, Some(&new.data)).map_err(|findings| {
        complain(&render(&findings));
        StageError::usage("the old configuration is wrong")
    })?;
    let copy = || std::fs::canonicalize(&path).ok().filter(|path| path.is_dir());
    Ok((config, copy().unwrap_or(path.clone()).display().to_string()))
}

/// The topics of events that there are, and whose they are: as the new configuration names them or, if it names others, the old one.
fn kept<'c>(
    new: &'c Config,
    old: &'c Config,
    pairs: &Pairs,
    since: Option<Time>,
) -> Result<(&'c Config, String, Vec<Kept>), StageError> {
    let (config, topics) = match there(new)? {
        topics if topics.is_empty() => (old, there(old)?),
        topics => (new, topics),
    };
    if topics.is_empty() {
        let text =
            format!("no filter has written events in {} yet; give recorded ones with --from", new.data.display());
        return Err(StageError::usage(text));
    }
    let name = topics.iter().map(|t| t.place.to_string()).collect::<Vec<_>>().join(", ");
    let has = |side: &Side, probe: &str, rev: &str| {
        (0..side.set.len()).filter_map(|i| side.set.spec(i)).any(|spec| spec.name == probe && spec.rev == rev)
    };
    let mut kept = Vec::new();
    for topic in topics {
        let ours = |probe: &str, rev: &str| has(&pairs.shared, probe, rev) || has(&pairs.old, probe, rev);
        let before = before(config, &topic, since, ours)?.into();
        kept.push(Kept { place: topic.place.clone(), before });
    }
    Ok((config, name, kept))
}

/// The topics of events that there are by now.
fn there(config: &Config) -> Result<Vec<EventTopic<'_>>, StageError> {
    let mut there = Vec::new();
    for topic in events::topics(config) {
        if Window::is_there(config, topic.place)? {
            there.push(topic);
        }
    }
    Ok(there)
}

type Give = SyncSender<Arc<Block>>;
type Take = Receiver<Arc<Block>>;

/// Runs all sides over what `feed` gives.
fn compare(
    pairs: &Pairs,
    samples: usize,
    feed: impl FnOnce(&mut dyn FnMut(Arc<Block>) -> bool) -> Result<Read, StageError> + Send,
) -> Result<(Read, [Tally; 3], Compared), StageError> {
    let (give, [shared, old, new, own]) = channels();
    let (shared_tells, shared_told) = sync_channel(TOLD);
    let (old_tells, old_told) = sync_channel(TOLD);
    let (new_tells, new_told) = sync_channel(TOLD);
    let run = |side: &Side, same, honours, blocks: Take, tells: SyncSender<Told>| {
        probe::with_stack(move || worker::run(side, same, honours, blocks, &tells))
            .unwrap_or_else(|e| Err(StageError::state(format!("cannot start a thread: {e}"))))
    };
    thread::scope(|scope| {
        let feeder = scope.spawn(move || feed(&mut |block| give.iter().all(|to| to.send(block.clone()).is_ok())));
        let shared = scope.spawn(|| run(&pairs.shared, true, true, shared, shared_tells));
        let old = scope.spawn(|| run(&pairs.old, false, true, old, old_tells));
        let new = scope.spawn(|| run(&pairs.new, false, false, new, new_tells));
        let compared = compare::run(&own, [&shared_told, &old_told, &new_told], pairs, samples);
        // Whoever still has something to say to this thread must not wait for it.
        drop((own, shared_told, old_told, new_told));
        let tallies = [joined(shared)?, joined(old)?, joined(new)?];
        let read = joined(feeder)?;
        Ok((read, tallies, compared))
    })
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T, StageError>>) -> Result<T, StageError> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A way to each of those who read the blocks.
fn channels() -> (Vec<Give>, [Take; 4]) {
    let mut give = Vec::new();
    let take = [(); 4].map(|()| {
        let (to, from) = sync_channel(AHEAD);
        give.push(to);
        from
    });
    (give, take)
}

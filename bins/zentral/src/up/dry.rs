//! `up --test`: the whole pipeline over recorded lines (raw ones, or events), actions dry, until every topic is read. A pipeline as a test.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use event::{LINE_MAX, Mistaken};
use pipe::cli::{Global, complain};
use pipe::config::{Config, Place, StageConf, StageKind, render};
use pipe::fs::RealFs;
use pipe::state::LOCK_WAIT;
use pipe::topic::{Kept, Options, Start, TopicReader, TopicWriter};
use pipe::{Exit, StageError};
use serde::Deserialize;
use serde_json::json;

use super::child::Programs;
use super::restarts::End;
use super::source::{Loaded, Source};
use super::{Args, Copies, home};
use crate::status::{Sums, report, sums, table};

/// Makes a stage keep its state and its topics in files, whatever its configuration says.
const FILES: &str = "--state-in-files";
/// Rounds over all stages at most: what comes of an action is normalised, filtered and stored, and there it ends.
const ROUNDS: usize = 100;
/// Bytes of a topic read at a time.
const READ_BYTES: usize = 1 << 20;

/// Runs it: 0, 1 if a sum is off, 3 if a line was refused.
pub fn run(global: &Global, mut source: Source, args: &Args) -> Result<Exit, StageError> {
    // Before a folder is made that the next try would find in its way.
    args.test.iter().try_for_each(|path| taken(path))?;
    let (data, _gone_at_the_end) = fresh(source.data.as_deref())?;
    source.data = Some(data.clone());
    let loaded = source.load().map_err(|findings| {
        complain(&render(&findings));
        StageError::usage("the configuration is wrong")
    })?;
    let Loaded { mut config, files } = loaded;
    config.keep_to_files().map_err(StageError::usage)?;
    // The files stand for all sources: nobody else is asked.
    let asked = [StageKind::Pull, StageKind::Foreign, StageKind::Console];
    config.stages.retain(|stage| !asked.into_iter().any(|kind| stage.runs(kind)));
    let _lock = home::open(&data)?;
    let copies = Copies::of(&data);
    let copied = copies.make(&files).and_then(|copy| copies.switch(&copy));
    copied.map_err(|e| StageError::state(format!("{}: {e}", copies.current().display())))?;
    let mut stages: Vec<&StageConf> = config.stages.iter().filter(|s| !s.runs(StageKind::Receive)).collect();
    stages.sort_by_key(|s| s.flow());
    for stage in &stages {
        pipe::record_start(&config, stage, Some(LOCK_WAIT), &|| false)?;
    }
    let left_out = write_raw(&config, &args.test)?;
    let programs = Programs::find(global).map_err(|e| StageError::state(format!("programs: {e}")))?;
    let sums = rounds(&config, &stages, &programs, &source.main)?;
    let counts = matches(&config)?;

    let people = table::for_people(false);
    let mut text = report::sums_text(&sums, people);
    text.push_str(&if people { people_counts(&counts) } else { line_counts(&counts) });
    pipe::write_stdout(text.as_bytes()).map_err(crate::stdout_error)?;
    for off in sums.off() {
        tracing::error!("off balance: {off}");
    }
    Ok(match (left_out + sums.refused() > 0, sums.ok() && sums.lag() == 0) {
        (true, _) => Exit::Refused,
        (false, false) => Exit::No,
        (false, true) => Exit::Done,
    })
}

/// A data folder with nothing in it: the one that was named, which then stays, or one that goes.
fn fresh(named: Option<&Path>) -> Result<(PathBuf, Option<tempfile::TempDir>), StageError> {
    let fail = |e: std::io::Error| StageError::state(format!("a fresh data folder: {e}"));
    match named {
        None => {
            let dir = tempfile::Builder::new().prefix("zentral-test-").tempdir().map_err(fail)?;
            Ok((dir.path().to_owned(), Some(dir)))
        }
        Some(dir) => {
            let empty = std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
            let text = || format!("--test needs a fresh data folder, and {} is not empty", dir.display());
            if empty { Ok((dir.to_owned(), None)) } else { Err(StageError::usage(text())) }
        }
    }
}

/// Refuses a file whose first line shows that `normalize` would refuse all of it.
fn taken(path: &Path) -> Result<(), StageError> {
    let broken = |e: std::io::Error| StageError::usage(format!("{}: {e}", path.display()));
    let mut line = Vec::new();
    next_line(&mut BufReader::new(File::open(path).map_err(broken)?), &mut line).map_err(broken)?;
    match Mistaken::of(&line) {
        None | Some(Mistaken::Raw) => Ok(()),
        Some(what) => {
            let file = path.display().to_string();
            Err(StageError::usage(format!("{file} line 1: {}", what.advice(&file))))
        }
    }
}

/// Puts the lines of the files where `receive` would; how many could not be taken.
fn write_raw(config: &Config, files: &[PathBuf]) -> Result<u64, StageError> {
    let to = config.stages.iter().find(|s| s.runs(StageKind::Receive)).and_then(|s| s.to.as_ref()?.topic());
    let to = to.ok_or_else(|| StageError::usage("the pipeline has no receive that raw lines could stand for"))?;
    let fail = |e| StageError::state(format!("topic:{to}: {e}"));
    let options = Options::default();
    let mut writer =
        TopicWriter::open(RealFs::shared(), &config.topic_dir(to), Kept::WholeLines, options).map_err(fail)?;
    let mut left_out = 0;
    for path in files {
        let broken = |e: std::io::Error| StageError::usage(format!("{}: {e}", path.display()));
        let mut reader = BufReader::with_capacity(256 << 10, File::open(path).map_err(broken)?);
        let (mut line, mut number) = (Vec::new(), 0);
        while let Some(whole) = next_line(&mut reader, &mut line).map_err(broken)? {
            number += 1;
            if !whole || line.contains(&0) {
                left_out += 1;
                let why = if whole { "a NUL byte in it" } else { "too long" };
                tracing::warn!("{} line {number}: {why}", path.display());
                continue;
            }
            writer.append(&line, 1).map_err(fail)?;
        }
    }
    writer.sync().map_err(fail)?;
    writer.publish().map_err(fail)?;
    Ok(left_out)
}

/// The next line with its newline, made up if the file ends without one; whether it is whole, that is, not too long.
pub fn next_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<Option<bool>> {
    line.clear();
    from.by_ref().take(LINE_MAX as u64 + 1).read_until(b'\n', line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        if line.len() > LINE_MAX {
            while !from.fill_buf()?.is_empty() {
                let rest = from.fill_buf()?;
                let end = rest.iter().position(|b| *b == b'\n');
                let used = end.map_or(rest.len(), |i| i + 1);
                from.consume(used);
                if end.is_some() {
                    break;
                }
            }
            return Ok(Some(false));
        }
        line.push(b'\n');
    }
    Ok(Some(true))
}

/// Runs each stage that has something to read to the end of it, until none has.
fn rounds(config: &Config, stages: &[&StageConf], programs: &Programs, main: &Path) -> Result<Sums, StageError> {
    let mut now = sums(config)?;
    for _ in 0..ROUNDS {
        let before = now.lag();
        for stage in stages {
            let behind = now.topics.iter().flat_map(|t| &t.readers).any(|r| r.reader == stage.name && r.lag > 0);
            if !behind {
                continue;
            }
            // Where age matters the lines are judged as on their own day, and nothing is sent.
            let judges_age = stage.runs(StageKind::Act) || stage.runs(StageKind::Store);
            let more: &[&str] = if judges_age { &["--once", FILES, "--recorded"] } else { &["--once", FILES] };
            let fail = |e: std::io::Error| StageError::state(format!("stage {}: {e}", stage.name));
            let mut child = programs.start(stage, None, config, main, &config.data, more).map_err(fail)?;
            let end = child.wait().map_err(fail)?;
            let code = if let End::Code(code) = end { Exit::of(code) } else { None };
            match code {
                Some(Exit::Done | Exit::No | Exit::Refused) => {}
                code => {
                    let exit = code.unwrap_or(Exit::State);
                    return Err(StageError { exit, text: format!("stage {}: {end}", stage.name) });
                }
            }
            now = sums(config)?;
        }
        if now.lag() == 0 || (before > 0 && now.lag() == before) {
            break;
        }
    }
    Ok(now)
}

/// Matches by probe, in all topics that hold matches.
fn matches(config: &Config) -> Result<BTreeMap<String, u64>, StageError> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(default)]
        probes: Vec<Match>,
    }
    #[derive(Deserialize)]
    struct Match {
        name: String,
    }
    let mut counts: BTreeMap<String, u64> = config.probes.keys().map(|name| (name.clone(), 0)).collect();
    let filters = config.stages.iter().filter(|s| s.runs(StageKind::Filter));
    for topic in filters.filter_map(|s| s.matches.as_ref().or(s.to.as_ref()).and_then(Place::topic)) {
        let fail = |e| StageError::state(format!("topic:{topic}: {e}"));
        let mut reader = TopicReader::open(RealFs::shared(), &config.topic_dir(topic), Start::First).map_err(fail)?;
        while let Some(chunk) = reader.read(READ_BYTES).map_err(fail)? {
            let lines = chunk.bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty());
            for found in lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok()).flat_map(|l| l.probes) {
                *counts.entry(found.name).or_default() += 1;
            }
        }
    }
    Ok(counts)
}

fn people_counts(counts: &BTreeMap<String, u64>) -> String {
    let rows: Vec<Vec<String>> = counts.iter().map(|(probe, n)| vec![probe.clone(), n.to_string()]).collect();
    format!("\n{}", table::table(&["probe", "matches"], &rows))
}

fn line_counts(counts: &BTreeMap<String, u64>) -> String {
    let records: Vec<_> = counts.iter().map(|(probe, n)| ("probe", json!({"probe": probe, "matches": n}))).collect();
    table::lines(&records)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_file() {
        let long = "x".repeat(LINE_MAX + 1);
        let check = |text: &str, want: &[(&str, bool)]| {
            let (mut reader, mut line) = (BufReader::with_capacity(7, text.as_bytes()), Vec::new());
            let mut found = Vec::new();
            while let Some(whole) = next_line(&mut reader, &mut line).unwrap() {
                found.push((if whole { String::from_utf8(line.clone()).unwrap() } else { "long".into() }, whole));
            }
            let want: Vec<_> = want.iter().map(|(l, w)| ((*l).to_owned(), *w)).collect();
            assert_eq!(found, want, "{:.20}", text);
        };
        check("", &[]);
        check("a\nb", &[("a\n", true), ("b\n", true)]);
        check("a\n\nb\n", &[("a\n", true), ("\n", true), ("b\n", true)]);
        check(&format!("a\n{long}\nb\n"), &[("a\n", true), ("long", false), ("b\n", true)]);
        check(&format!("a\n{long}"), &[("a\n", true), ("long", false)]);
        let longest = format!("{}\n", "y".repeat(LINE_MAX));
        check(&longest, &[(&longest, true)]);
    }
}

//! The examples beside a filter, and whether it says what they ask.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pipe::config::{Config, ProbeConf};
use probe::examples::{self, Lines};
use probe::{Limits, Program};
use schemars::JsonSchema;
use serde::Serialize;

use crate::text;

/// Bytes of a file of examples that is read.
const FILE_MAX: u64 = 4 << 20;
/// How long examples may run while somebody waits for the page.
const RUN_MAX: Duration = Duration::from_secs(1);
/// Examples that a page shows: those that fail before those that do not.
const SHOWN_MAX: usize = 50;

/// What is known of the examples of a filter.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "Examples")]
pub struct Checked {
    /// Examples that the filter agrees with.
    pub ok: usize,
    /// Those that it does not.
    pub failed: usize,
    /// Lines that are none.
    pub bad: usize,
    /// Lists of events, whose conditions `zentral test` knows.
    pub lists: usize,
    /// Those that were not run for want of time.
    pub left: usize,
    #[serde(rename = "examples")]
    pub rows: Vec<Row>,
    /// Why there is nothing to tell.
    pub why: Option<String>,
}

/// One example.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Example")]
pub struct Row {
    /// Line of the file, from 1.
    pub line: usize,
    pub why: String,
    pub want: String,
    pub got: String,
    pub ok: bool,
}

/// The file of examples of a probe; none: its filter stands in the configuration itself.
pub fn file(conf: &ProbeConf) -> Option<PathBuf> {
    conf.filter.file.as_ref().map(|file| file.with_extension("ndjson"))
}

/// Runs the examples of a probe over its filter, or over another text in its place.
pub fn check(config: &Config, conf: &ProbeConf, filter: &str) -> Checked {
    let fail = |why: String| Checked { why: Some(why), ..Checked::default() };
    let Some(file) = file(conf) else {
        return fail("Only a filter in a file NAME.jq has examples; this one stands in the configuration.".into());
    };
    let lines = match read(&file) {
        Ok(Some(lines)) => lines,
        Ok(None) => return Checked::default(),
        Err(why) => return fail(why),
    };
    of(config, &conf.name, filter, &lines)
}

/// Runs these lines of examples over a filter.
pub fn of(config: &Config, name: &str, filter: &str, lines: &str) -> Checked {
    match probe::compile(filter, name, &|path: &str| config.module(path)) {
        Ok(program) => run(&program, &examples::read(lines)),
        Err(_) => {
            let why = "The filter is wrong, so its examples cannot be run.".to_owned();
            Checked { why: Some(why), ..Checked::default() }
        }
    }
}

/// The text of a file of examples; none: there is none yet. The error is what to tell a person.
pub fn read(file: &Path) -> Result<Option<String>, String> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let fail = |e: std::io::Error| format!("{name} cannot be read: {e}");
    match std::fs::metadata(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fail(e)),
        Ok(found) if found.len() > FILE_MAX => {
            return Err(format!("{name} has more than {} MiB: see `zentral test`.", FILE_MAX >> 20));
        }
        Ok(_) => {}
    }
    std::fs::read_to_string(file).map(Some).map_err(fail)
}

fn run(program: &Program, lines: &Lines) -> Checked {
    let mut checked = Checked { bad: lines.bad.len(), lists: lines.lists.len(), ..Checked::default() };
    let begun = Instant::now();
    // One thread with a big stack for all of them.
    let ran = probe::with_stack(|| {
        let each = lines.examples.chunks(1).take_while(|_| begun.elapsed() < RUN_MAX);
        each.flat_map(|one| examples::run(program, one, &Limits::default())).collect::<Vec<_>>()
    });
    let results = ran.unwrap_or_default();
    checked.left = lines.examples.len() - results.len();
    checked.ok = results.iter().filter(|result| result.ok).count();
    checked.failed = results.len() - checked.ok;
    let (failed, ok): (Vec<_>, Vec<_>) = results.into_iter().partition(|result| !result.ok);
    let row = |result: examples::ExampleResult| Row {
        line: result.line,
        why: text::short(&result.why),
        want: text::short(&result.want),
        got: text::short(&result.got),
        ok: result.ok,
    };
    checked.rows = failed.into_iter().chain(ok).take(SHOWN_MAX).map(row).collect();
    checked.rows.sort_by_key(|row| row.line);
    checked
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    fn checked(lines: Option<&str>, filter: &str) -> Checked {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pipeline.toml");
        std::fs::write(&file, "version = 1\n[probe.a]\nfilter = \"a.jq\"\n").unwrap();
        std::fs::write(dir.path().join("a.jq"), "true").unwrap();
        if let Some(lines) = lines {
            std::fs::write(dir.path().join("a.ndjson"), lines).unwrap();
        }
        let config = Config::load(&file, None).unwrap().0;
        check(&config, &config.probes["a"], filter)
    }

    #[test]
    fn those_that_fail_are_seen_among_many() {
        let mut lines: String = (0..200).map(|_| "{\"match\":true,\"event\":{\"n\":1}}\n").collect();
        lines.push_str("{\"match\":true,\"why\":\"<b>\",\"event\":{\"n\":2}}\nbroken\n");
        lines.push_str("{\"acts\":[true],\"events\":[{\"event\":{}}]}\n");
        let all = checked(Some(&lines), ".n == 1");
        assert_eq!((all.ok, all.failed, all.bad, all.lists, all.left), (200, 1, 1, 1, 0));
        assert_eq!((all.rows.len(), all.rows.last().map(|r| (r.line, r.ok))), (SHOWN_MAX, Some((201, false))));
        let none = checked(None, "true");
        assert!(none.rows.is_empty() && none.why.is_none());
        assert!(checked(Some(&lines), ".n ==").why.is_some_and(|why| why.contains("wrong")));
    }

    #[test]
    fn nobody_waits_for_slow_examples() {
        let lines = "{\"match\":true,\"event\":{}}\n".repeat(2000);
        let begun = Instant::now();
        let slow = checked(Some(&lines), "[range(100000)] | length > 3");
        assert!(slow.left > 0 && begun.elapsed() < Duration::from_secs(20), "{slow:?} {:?}", begun.elapsed());
    }
}

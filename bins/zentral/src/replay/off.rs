//! Filters that the hub had switched off before a window begins.

use std::path::Path;

use event::Time;
use memchr::memmem;
use pipe::StageError;
use pipe::config::{Config, StageConf};
use pipe::fs::RealFs;
use pipe::topic::Window;
use registry::db::Db;

use super::events::{Kind, Seen, as_read};

/// A filter that was off before the first event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// Its probe.
    pub probe: String,
    /// Its text.
    pub rev: String,
    /// Id of the event at which it was switched off.
    pub event: String,
}

/// What a filter had switched off before the first event received `since`: what its state says is off now, unless the
/// topic tells from there on when that began. `ours` says which texts matter.
///
/// # Errors
/// State or topic cannot be read.
pub fn before(
    config: &Config,
    stage: &StageConf,
    dir: &Path,
    since: Option<Time>,
    ours: impl Fn(&str, &str) -> bool,
) -> Result<Vec<Before>, StageError> {
    let mut off = recorded(&config.state_file(stage))?;
    off.retain(|b| ours(&b.probe, &b.rev));
    if off.is_empty() {
        return Ok(off);
    }
    let fail = |e| StageError::state(format!("{}: {e}", dir.display()));
    let mut window = Window::open(RealFs::shared(), dir, since, None).map_err(fail)?;
    let finder = memmem::Finder::new(b"\"type\":\"filter_");
    let mut event = Vec::new();
    while let Some(lines) = window.read().map_err(fail)?.filter(|_| !off.is_empty()) {
        for at in finder.find_iter(lines) {
            let start = lines.get(..at).and_then(|l| memchr::memrchr(b'\n', l)).map_or(0, |i| i + 1);
            let line = lines.get(start..).unwrap_or_default();
            let line = line.get(..memchr::memchr(b'\n', line).unwrap_or(line.len())).unwrap_or_default();
            event.clear();
            if let Ok(Seen::Word(word)) = as_read(line, &mut event)
                && matches!(word.kind, Kind::Quarantined | Kind::SwitchedOff)
            {
                off.retain(|b| (&b.probe, &b.rev) != (&word.probe, &word.rev));
            }
        }
    }
    Ok(off)
}

/// What the state of a filter says is off.
fn recorded(state: &Path) -> Result<Vec<Before>, StageError> {
    let fail = |e| StageError::state(format!("{}: {e}", state.display()));
    let Some(db) = Db::open_read_only(state).map_err(fail)? else { return Ok(Vec::new()) };
    if db.query("SELECT 1 FROM sqlite_master WHERE name = 'failures'", &[]).map_err(fail)?.is_empty() {
        return Ok(Vec::new());
    }
    let rows = db.query("SELECT probe, rev, event FROM failures WHERE off IS NOT NULL ORDER BY probe", &[]);
    let text = |row: &registry::db::Row, i| row.text(i).to_owned();
    let before = |row| Before { probe: text(row, 0), rev: text(row, 1), event: text(row, 2) };
    Ok(rows.map_err(fail)?.iter().map(before).collect())
}

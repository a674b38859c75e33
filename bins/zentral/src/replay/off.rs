//! Filters that the hub had switched off before a window begins.

use event::Time;
use filter::Off;
use memchr::memmem;
use pipe::config::Config;
use pipe::{StageError, Window};

use super::events::{EventTopic, Kind, Seen, as_read};

/// What a filter had switched off before the first event received `since`: what its state says is off now, unless the
/// topic tells from there on when that began. `ours` says which texts matter.
///
/// # Errors
/// State or topic cannot be read.
pub fn before(
    config: &Config,
    topic: &EventTopic<'_>,
    since: Option<Time>,
    ours: impl Fn(&str, &str) -> bool,
) -> Result<Vec<Off>, StageError> {
    let state = config.state(topic.stage);
    let mut off = filter::off(&state).map_err(|e| StageError::of(&state, e))?;
    off.retain(|b| ours(&b.probe, &b.rev));
    if off.is_empty() {
        return Ok(off);
    }
    let Some(mut window) = Window::open(config, topic.place, since, None, false)? else { return Ok(off) };
    let finder = memmem::Finder::new(b"\"type\":\"filter_");
    let mut event = Vec::new();
    while let Some(lines) = window.read()?.filter(|_| !off.is_empty()) {
        let lines = lines.bytes;
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

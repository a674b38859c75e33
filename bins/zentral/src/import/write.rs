//! Where imported probes go: `DIR/probes/NAME.toml`, `DIR/filters/NAME.jq` and its examples.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use pipe::StageError;

use super::draft::Ready;
use super::toml::Place;

/// What became of the files of a probe.
pub enum Written {
    /// These were written.
    Files(Vec<PathBuf>),
    /// They were there, the same.
    Same,
    /// This one was there with other words in it; nothing was written.
    Other(PathBuf),
}

/// Writes the files of a probe; over others only with `force`.
pub fn write(ready: &Ready, dir: &Path, force: bool) -> Result<Written, StageError> {
    let name = &ready.name;
    let examples: String = ready.examples.iter().map(|example| format!("{example}\n")).collect();
    // The filter goes first: a table that is there names one that is there.
    let files = [
        (dir.join(format!("filters/{name}.jq")), ready.filter_text()),
        (dir.join(format!("filters/{name}.ndjson")), examples),
        (dir.join(format!("probes/{name}.toml")), ready.table(&Place::File(&format!("../filters/{name}.jq")))),
    ];
    let mut write = Vec::new();
    for (path, text) in &files {
        match std::fs::read(path) {
            Ok(old) if old == text.as_bytes() => {}
            Ok(_) if !force => return Ok(Written::Other(path.clone())),
            Err(e) if e.kind() != ErrorKind::NotFound && !force => return Ok(Written::Other(path.clone())),
            _ => write.push((path, text)),
        }
    }
    if write.is_empty() {
        return Ok(Written::Same);
    }
    for (path, text) in &write {
        let fail = |e: std::io::Error| StageError::usage(format!("{}: {e}", path.display()));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(fail)?;
        }
        std::fs::write(path, text).map_err(fail)?;
    }
    Ok(Written::Files(write.into_iter().map(|(path, _)| path.clone()).collect()))
}

//! The folder of one UTC day, and what becomes of it: made, moved aside when broken, deleted when old.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use event::Time;
use tantivy::directory::MmapDirectory;
use tantivy::directory::error::{OpenDirectoryError, OpenReadError};
use tantivy::{Index, TantivyError};

use super::schema::{self, SCHEMA};

/// Milliseconds of a day.
pub const DAY_MS: i64 = 86_400_000;

/// A UTC day, as days since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

impl Day {
    /// The day of a moment.
    pub fn of(time: Time) -> Self {
        Self(time.ms().div_euclid(DAY_MS))
    }

    /// From a folder's name, `2026-11-21` and nothing else.
    pub fn parse(name: &str) -> Option<Self> {
        let (from, to) = crate::query::when::parse(name)?;
        (name.len() == 10 && to - from == DAY_MS - 1).then(|| Self(from.div_euclid(DAY_MS)))
    }

    /// Its first millisecond since 1970.
    pub fn start(self) -> i64 {
        self.0.saturating_mul(DAY_MS)
    }

    /// The first millisecond after it.
    pub fn end(self) -> i64 {
        self.start().saturating_add(DAY_MS)
    }

    /// Where its index lies below `dir`.
    pub fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.to_string())
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&Time::from_ms(self.start()).day())
    }
}

/// The days that have an index below `dir`, newest first. A folder that is not there holds none.
pub fn list(dir: &Path) -> io::Result<Vec<Day>> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut days = Vec::new();
    for entry in entries {
        days.extend(entry?.file_name().to_str().and_then(Day::parse));
    }
    days.sort_unstable_by(|a, b| b.cmp(a));
    Ok(days)
}

/// Opens the index of a day for writing, making it if there is none.
pub fn open(dir: &Path, day: Day) -> Result<Index, TantivyError> {
    let path = day.path(dir);
    if !path.is_dir() {
        fs::create_dir_all(&path)?;
        sync(dir)?;
    }
    let index = Index::builder()
        .schema(SCHEMA.0.clone())
        .settings(schema::settings())
        .open_or_create(MmapDirectory::open(&path).map_err(TantivyError::from)?)?;
    schema::register(&index);
    Ok(index)
}

/// Moves a broken day out of the way, for somebody to look at; its new name.
pub fn set_aside(dir: &Path, day: Day, now: Time) -> io::Result<PathBuf> {
    let aside = dir.join(format!("{day}.broken-{}", now.ms()));
    fs::rename(day.path(dir), &aside)?;
    sync(dir)?;
    Ok(aside)
}

/// Deletes what belongs to days that end before `oldest` (milliseconds since 1970), broken ones and remains of
/// earlier deletions included; the days that are gone.
pub fn delete_before(dir: &Path, oldest: i64) -> io::Result<Vec<Day>> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut gone = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some((head, rest)) = name.to_str().and_then(|n| n.split_at_checked(10)) else { continue };
        let Some(day) = Day::parse(head) else { continue };
        let remains = rest == ".gone";
        if !remains && (day.end() > oldest || !(rest.is_empty() || rest.starts_with(".broken-"))) {
            continue;
        }
        let mut path = entry.path();
        if rest.is_empty() {
            // Readers look for whole days only: the name goes first, then the files.
            let away = dir.join(format!("{day}.gone"));
            fs::rename(&path, &away)?;
            path = away;
            gone.push(day);
        }
        fs::remove_dir_all(&path)?;
    }
    Ok(gone)
}

fn sync(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// Whether an error says that the files are not what was written, rather than that they could not be reached.
pub fn is_damage(error: &TantivyError) -> bool {
    match error {
        TantivyError::DataCorruption(_)
        | TantivyError::IncompatibleIndex(_)
        | TantivyError::SchemaError(_)
        | TantivyError::DeserializeError(_)
        | TantivyError::FieldNotFound(_)
        | TantivyError::OpenReadError(OpenReadError::FileDoesNotExist(_) | OpenReadError::IncompatibleIndex(_)) => true,
        TantivyError::OpenDirectoryError(e) => matches!(e, OpenDirectoryError::NotADirectory(_)),
        TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. }) => is_damaged_file(io_error),
        TantivyError::IoError(e) => is_damaged_file(e),
        _ => false,
    }
}

fn is_damaged_file(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn days_and_their_names() {
        let day = Day::parse("2026-11-21").unwrap();
        assert_eq!(day.to_string(), "2026-11-21");
        assert_eq!(Day::of("2026-11-21T23:59:59.999Z".parse().unwrap()), day);
        assert_eq!(Day::of("1969-12-31T23:59:59.999Z".parse().unwrap()).to_string(), "1969-12-31");
        for name in ["2026-11", "2026-11-21T00", "2026-11-21.gone", "2026-11-31", "x"] {
            assert_eq!(Day::parse(name), None, "{name}");
        }
    }
}

//! The crash note: which filter is about to run over which event, in a small file that survives the process.
//!
//! A filter that kills the process (a stack or an allocation that no bound caught) is the suspect at the next start.
//! Only if the process dies again while exactly that run is under way is the filter switched off, so that a process
//! killed from outside accuses nobody: between the suspect's runs the note says nothing of it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of the file; a note is padded with spaces.
const NOTE: usize = 256;

/// The note of a stage; without a file (at a shell) nothing is noted.
#[derive(Debug, Default)]
pub(crate) struct CrashNote {
    file: Option<File>,
    suspect: Option<(String, String)>,
    written: bool,
}

/// What the last process left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It ended between two batches.
    Nothing,
    /// It died during this run (probe, event) for the first time.
    Suspect(String, String),
    /// It died in the same run again.
    Guilty(String, String),
}

impl CrashNote {
    pub(crate) fn open(path: &Path) -> std::io::Result<(Self, Left)> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut text = vec![0; NOTE];
        let read = file.read_at(&mut text, 0)?;
        text.truncate(read);
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut words = text.split_ascii_whitespace();
        let left = match (words.next(), words.next(), words.next()) {
            (Some("1"), Some(probe), Some(event)) => Left::Suspect(probe.to_owned(), event.to_owned()),
            (Some("2"), Some(probe), Some(event)) => Left::Guilty(probe.to_owned(), event.to_owned()),
            _ => Left::Nothing,
        };
        let mut note = Self { file: Some(file), suspect: None, written: true };
        if let Left::Suspect(probe, event) = &left {
            note.suspect = Some((probe.clone(), event.clone()));
        }
        note.clear();
        Ok((note, left))
    }

    /// `probe` (its name) will now run over `event` (its id).
    pub(crate) fn before(&mut self, probe: &str, event: &str) {
        let again = self.suspect.as_ref().is_some_and(|(p, e)| p == probe && e == event);
        // Once there is a suspect only its own run is noted, until the batch has passed.
        if self.suspect.is_none() || again {
            self.write(if again { '2' } else { '1' }, probe, event);
        }
    }

    /// It came back.
    pub(crate) fn after(&mut self, probe: &str) {
        if self.suspect.as_ref().is_some_and(|(p, _)| p == probe) && self.written {
            self.suspect = None;
            self.clear();
        }
    }

    /// The batch is through.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.written) {
            self.write('0', "-", "-");
            self.written = false;
        }
    }

    fn write(&mut self, count: char, probe: &str, event: &str) {
        let Some(file) = &self.file else { return };
        let mut text = format!("{count} {probe} {event}");
        // The id of a hostile event may be anything; what does not fit cannot be recognised again, and does not matter.
        text.retain(|c| c == ' ' || c.is_ascii_graphic());
        text.truncate(NOTE - 1);
        // No fsync: the note is against the death of the process, not of the machine.
        self.written = file.write_all_at(format!("{text:<width$}\n", width = NOTE - 1).as_bytes(), 0).is_ok();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn only_a_second_death_in_the_same_run_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("note");
        let open = || CrashNote::open(&path).unwrap();
        let (mut note, left) = open();
        assert_eq!(left, Left::Nothing);
        note.before("usb", "e1");
        note.before("usb", "e2"); // dies here
        let (mut note, left) = open();
        assert_eq!(left, Left::Suspect("usb".into(), "e2".into()));
        note.before("usb", "e1"); // killed from outside, not in the suspect's run
        let (mut note, left) = open();
        assert_eq!(left, Left::Nothing);
        note.before("usb", "e2"); // dies
        drop(note);
        let (mut note, _) = open();
        note.before("usb", "e2"); // dies again
        let (mut note, left) = open();
        assert_eq!(left, Left::Guilty("usb".into(), "e2".into()));
        note.before("usb", "e3");
        note.after("usb");
        note.clear();
        assert_eq!(open().1, Left::Nothing);
    }
}

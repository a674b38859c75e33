//! The crash note: which filter is about to run over which event, in a small file that survives the process.
//!
//! A filter that kills the process (a stack or an allocation that no bound caught) is the suspect at the next start.
//! Only if the process dies again while exactly that run is under way is the filter switched off, so that a process
//! killed from outside accuses nobody: between the suspect's runs the note says nothing of it.

use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of the file; a note is padded with spaces.
const NOTE: usize = 256;

/// The note of a stage; without a file (at a shell) nothing is noted.
#[derive(Debug, Default)]
pub(crate) struct CrashNote {
    file: Option<File>,
    suspects: Vec<Run>,
    written: bool,
}

/// A filter over an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// Of all three, whole: the id of a hostile event may be anything, and what is kept of it below is for people.
    hash: u64,
    pub(crate) probe: String,
    pub(crate) rev: String,
    pub(crate) event: String,
}

/// What the last process left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It ended between two batches.
    Nothing,
    /// It died during this run for the first time.
    Suspect(Run),
    /// It died in the same run again.
    Guilty(Run),
}

impl CrashNote {
    /// Opens or creates the note. Whoever is guilty stays in it until the next run is noted, so that it is not forgotten
    /// before it is switched off.
    pub(crate) fn open(path: &Path) -> std::io::Result<(Self, Left)> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut text = vec![0; NOTE];
        let read = file.read_at(&mut text, 0)?;
        text.truncate(read);
        let left = read_note(&String::from_utf8_lossy(&text));
        let mut note = Self { file: Some(file), suspects: Vec::new(), written: true };
        if let Left::Suspect(run) = &left {
            note.suspects.push(run.clone());
        }
        if !matches!(left, Left::Guilty(_)) {
            note.clear();
        }
        Ok((note, left))
    }

    /// Suspects of other threads' notes, whose runs may come to this thread now.
    pub(crate) fn watch(&mut self, suspects: &[Run]) {
        self.suspects = suspects.to_vec();
    }

    /// `probe` (its name), of this `rev`, will now run over `event` (its id).
    pub(crate) fn before(&mut self, probe: &str, rev: &str, event: &str) {
        if self.file.is_none() {
            return;
        }
        let hash = hash(probe, rev, event);
        let again = self.suspects.iter().any(|run| run.hash == hash);
        // Once there is a suspect only its own run is noted, until the batch has passed.
        if self.suspects.is_empty() || again {
            let count = if again { '2' } else { '1' };
            self.write(&format!("{count} {hash:016x} {rev} {probe} {event}"));
        }
    }

    /// It came back.
    pub(crate) fn after(&mut self, probe: &str) {
        if self.written && self.suspects.iter().any(|run| run.probe == probe) {
            self.suspects.retain(|run| run.probe != probe);
            self.clear();
        }
    }

    /// The batch is through.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.written) {
            self.write("0");
            self.written = false;
        }
    }

    fn write(&mut self, text: &str) {
        let Some(file) = &self.file else { return };
        let plain = |b: u8| if b == b' ' || b.is_ascii_graphic() { b } else { b'?' };
        let mut note: Vec<u8> = text.bytes().take(NOTE - 1).map(plain).collect();
        note.resize(NOTE - 1, b' ');
        note.push(b'\n');
        // No fsync: the note is against the death of the process, not of the machine.
        self.written = file.write_all_at(&note, 0).is_ok();
    }
}

fn read_note(text: &str) -> Left {
    let mut words = text.splitn(5, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (count, hash, rev, probe, event) = (word(), word(), word(), word(), word());
    let Ok(hash) = u64::from_str_radix(hash, 16) else { return Left::Nothing };
    let run = Run { hash, probe: probe.to_owned(), rev: rev.to_owned(), event: event.trim_end().to_owned() };
    match count {
        "1" => Left::Suspect(run),
        "2" => Left::Guilty(run),
        _ => Left::Nothing,
    }
}

/// The same in every process of one build; after an upgrade a suspect is forgotten.
fn hash(probe: &str, rev: &str, event: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (probe, rev, event).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn only_a_second_death_in_the_same_run_counts() {
        let long = "x".repeat(300);
        for id in ["e2", "", "two words", "ümlaut", long.as_str()] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("note");
            let open = || CrashNote::open(&path).unwrap();
            let suspect = |left: &Left| matches!(left, Left::Suspect(run) if run.probe == "usb" && run.rev == "r1");
            let (mut note, left) = open();
            assert_eq!(left, Left::Nothing);
            note.before("usb", "r1", "e1");
            note.before("usb", "r1", id); // dies here
            let (mut note, left) = open();
            assert!(suspect(&left), "{left:?}");
            note.before("usb", "r1", "e1"); // killed from outside, not in the suspect's run
            let (mut note, left) = open();
            assert_eq!(left, Left::Nothing);
            note.before("usb", "r1", id); // dies
            let (mut note, left) = open();
            assert!(suspect(&left), "{left:?}");
            note.before("usb", "r2", id); // another text: not the suspect
            assert_eq!(open().1, Left::Nothing);
            let (mut note, _) = open();
            note.before("usb", "r1", id); // dies
            let (mut note, _) = open();
            note.before("usb", "r1", id); // dies again
            let left = open().1;
            assert!(matches!(&left, Left::Guilty(run) if run.rev == "r1"), "{id}: {left:?}");
            let (mut note, left) = open();
            assert!(matches!(left, Left::Guilty(_)), "until something runs");
            note.before("usb", "r1", "e3");
            note.after("usb");
            note.clear();
            assert_eq!(open().1, Left::Nothing);
        }
    }
}

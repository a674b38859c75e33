//! The crash note: which filter is about to run over which event, in a small file that survives the process.
//!
//! A filter that kills the process (a stack or an allocation that no bound caught) is the suspect at the next start, and
//! with it whatever ran on other threads. Only if the process dies again while exactly that run is under way, alone, is
//! the filter switched off, so that neither a process killed from outside nor a neighbour accuses anybody: between the
//! suspects' runs the note says nothing of them.

use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes of the file; a note is padded with spaces.
const NOTE: usize = 256;
/// Bytes of lines within which the run of a suspect comes again, if it does: the lines that were not committed when the
/// process died are read again first, and a commit shares far fewer.
const SUSPECTED: usize = 64 << 20;

/// The note of a stage; without a file (at a shell) nothing is noted.
#[derive(Debug, Default)]
pub(crate) struct CrashNote {
    file: Option<File>,
    suspects: Vec<Run>,
    /// Bytes of lines for which they still are.
    suspected: usize,
    /// The suspect that runs.
    running: Option<u64>,
    written: bool,
}

/// The notes of a stage, a file for each thread.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// The first one is that of the thread that watches the suspects.
    pub(crate) notes: Vec<CrashNote>,
    /// Runs that killed the process twice.
    pub(crate) guilty: Vec<Run>,
}

impl Notes {
    /// Opens the notes for so many threads, and reads those that more threads left.
    pub(crate) fn open(run: &Path, stage: &str, threads: usize) -> Result<Self, (PathBuf, std::io::Error)> {
        let first = run.join(format!("{stage}.note"));
        std::fs::create_dir_all(run).map_err(|e| (run.to_owned(), e))?;
        let mut paths = vec![first];
        paths.extend((1..threads).map(|thread| run.join(format!("{stage}.{thread}.note"))));
        for entry in std::fs::read_dir(run).into_iter().flatten().flatten() {
            // A name of a stage has no dot: what stands between two of them is the number of a thread.
            let name = entry.file_name();
            let rest = name.to_str().and_then(|name| name.strip_prefix(stage)?.strip_prefix('.'));
            let number = rest.and_then(|rest| rest.strip_suffix(".note")?.parse::<usize>().ok());
            if number.is_some_and(|thread| thread >= threads.max(1)) {
                paths.push(entry.path());
            }
        }
        let (mut all, mut suspects) = (Self::default(), Vec::new());
        for path in paths {
            let (note, left) = CrashNote::open(&path).map_err(|e| (path, e))?;
            all.notes.push(note);
            match left {
                Left::Nothing => {}
                Left::Suspect(run) => suspects.push(run),
                Left::Guilty(run) => all.guilty.push(run),
            }
        }
        all.notes.truncate(threads.max(1));
        if let Some(first) = all.notes.first_mut() {
            first.watch(suspects);
        }
        Ok(all)
    }
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
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut text = vec![0; NOTE];
        let read = file.read_at(&mut text, 0)?;
        text.truncate(read);
        let left = read_note(&String::from_utf8_lossy(&text));
        let mut note = Self { file: Some(file), written: true, ..Self::default() };
        if !matches!(left, Left::Guilty(_)) {
            note.clear();
        }
        Ok((note, left))
    }

    /// Runs during which the process died.
    fn watch(&mut self, suspects: Vec<Run>) {
        (self.suspects, self.suspected) = (suspects, SUSPECTED);
    }

    /// Whether the run of a suspect may be among the next lines, so many bytes.
    pub(crate) fn suspects_within(&mut self, bytes: usize) -> bool {
        if self.suspected == 0 {
            self.suspects.clear();
        }
        self.suspected = self.suspected.saturating_sub(bytes);
        !self.suspects.is_empty()
    }

    /// `probe` (its name), of this `rev`, will now run over `event` (its id).
    pub(crate) fn before(&mut self, probe: &str, rev: &str, event: &str) {
        if self.file.is_none() {
            return;
        }
        let hash = hash(probe, rev, event);
        let again = self.suspects.iter().any(|run| run.hash == hash);
        // While there are suspects only their own runs are noted.
        self.running = again.then_some(hash);
        if self.suspects.is_empty() || again {
            let count = if again { '2' } else { '1' };
            self.write(&format!("{count} {hash:016x} {rev} {probe} {event}"));
        }
    }

    /// It came back.
    pub(crate) fn after(&mut self) {
        if let Some(hash) = self.running.take() {
            self.suspects.retain(|run| run.hash != hash);
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
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    /// What the process left, and the note of the next one.
    fn open(dir: &Path) -> (CrashNote, Option<Run>, Option<Run>) {
        let Notes { mut notes, mut guilty } = Notes::open(dir, "sift", 1).unwrap();
        let note = notes.remove(0);
        let suspect = note.suspects.first().cloned();
        (note, suspect, guilty.pop())
    }

    #[test]
    fn only_a_second_death_in_the_same_run_counts() {
        let long = "x".repeat(300);
        for id in ["e2", "", "two words", "ümlaut", long.as_str()] {
            let dir = tempfile::tempdir().unwrap();
            let open = || open(dir.path());
            let (mut note, suspect, guilty) = open();
            assert_eq!((suspect, guilty), (None, None));
            note.before("usb", "r1", "e1");
            note.before("usb", "r1", id); // dies here
            let (mut note, suspect, _) = open();
            assert!(suspect.is_some_and(|run| run.probe == "usb" && run.rev == "r1"));
            note.before("usb", "r1", "e1"); // killed from outside, not in the suspect's run
            let (mut note, suspect, guilty) = open();
            assert_eq!((suspect, guilty), (None, None));
            note.before("usb", "r1", id); // dies
            let (mut note, suspect, _) = open();
            assert!(suspect.is_some());
            note.before("usb", "r2", id); // another text: not the suspect
            assert_eq!(open().1, None);
            let (mut note, ..) = open();
            note.before("usb", "r1", id); // dies
            let (mut note, ..) = open();
            note.before("usb", "r1", id); // dies again
            let guilty = open().2;
            assert!(guilty.is_some_and(|run| run.rev == "r1"), "{id}");
            let (mut note, _, guilty) = open();
            assert!(guilty.is_some(), "until something runs");
            note.before("usb", "r1", "e3");
            note.after();
            note.clear();
            assert_eq!(open().2, None);
        }
    }

    #[test]
    fn suspects_of_all_threads_are_watched_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let open = |threads| Notes::open(dir.path(), "sift", threads).unwrap();
        std::fs::write(dir.path().join("sifter.3.note"), "1 00 r other e\n").unwrap();
        let mut notes = open(4).notes;
        for (note, probe) in notes.iter_mut().zip(["slow", "slow", "deadly", "idle"]).skip(1) {
            note.before(probe, "r", "e1"); // the process dies in all of them
        }
        // Fewer cores now, and two of the suspects are the same run.
        let mut notes = open(2).notes;
        assert_eq!(notes.len(), 2);
        let first = &mut notes[0];
        assert!(first.suspects_within(1));
        for probe in ["slow", "idle"] {
            first.before(probe, "r", "e2");
            first.after();
            first.before(probe, "r", "e1");
            first.after();
        }
        assert_eq!(first.suspects.len(), 1);
        first.before("deadly", "r", "e1"); // dies again
        assert_eq!(open(2).guilty.iter().map(|run| run.probe.as_str()).collect::<Vec<_>>(), ["deadly"]);
        assert!(!open(4).notes[0].suspects_within(1), "the others are cleared");
    }

    #[test]
    fn a_suspect_that_never_comes_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).0.before("usb", "r1", "e1");
        let (mut note, suspect, _) = open(dir.path());
        assert!(suspect.is_some() && note.suspects_within(SUSPECTED - 1) && note.suspects_within(9));
        assert!(!note.suspects_within(9));
        note.before("usb", "r1", "e2");
        assert!(open(dir.path()).1.is_some(), "it takes notes again");
    }
}

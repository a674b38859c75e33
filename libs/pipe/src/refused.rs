//! `refused/STAGE.ndjson`: lines that could not be understood, with the reason, to be fed again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::fs::{File, Fs, Mode};
use crate::out::Complaint;

/// Bytes at which the file is put aside as `STAGE.ndjson.1`, in place of an older one.
const FILE_MAX: u64 = 256 << 20;
/// Bytes read at a time while the last whole line is looked for.
const LOOK: u64 = 64 << 10;

/// The file. Its length is recorded with the positions, so that a repeat after a crash leaves no double.
pub(crate) struct Refused {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    path: PathBuf,
    file: Option<Box<dyn File>>,
    length: u64,
    max: u64,
}

impl Refused {
    /// `recorded` is what the state holds of its length. A state that holds nothing (it was lost) cuts nothing but a
    /// torn last line.
    pub(crate) fn open(fs: &Arc<dyn Fs>, path: &Path, recorded: Option<u64>) -> io::Result<Self> {
        let dir = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let mut refused = Self { fs: fs.clone(), dir, path: path.to_owned(), file: None, length: 0, max: FILE_MAX };
        let file = match fs.open(path, Mode::Read) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(refused),
            _ => fs.open(path, Mode::Write)?,
        };
        let there = file.len()?;
        refused.length = match recorded {
            Some(length) => there.min(length),
            None => whole_lines(&*file, there)?,
        };
        if refused.length < there {
            file.set_len(refused.length)?;
        }
        refused.file = Some(file);
        Ok(refused)
    }

    /// Its length, to be recorded.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Whether it is time to [`rotate`](Self::rotate).
    pub(crate) fn is_full(&self) -> bool {
        self.length > self.max
    }

    /// Puts the file aside, durably; a length of 0 is to be recorded before the next [`write`](Self::write). Until it
    /// is, a start finds no file, and that is as good.
    pub(crate) fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        self.fs.rename(&self.path, &self.path.with_extension("ndjson.1"))?;
        self.fs.sync_dir(&self.dir)?;
        self.length = 0;
        Ok(())
    }

    /// Adds lines; durable when this returns. The new length is to be recorded.
    pub(crate) fn write(&mut self, input: &str, complaints: &[Complaint]) -> io::Result<()> {
        let mut text = Vec::new();
        for c in complaints {
            let mut entry = json!({"reason": c.reason, "text": c.text, "input": input, "number": c.number});
            if let Some(entry) = entry.as_object_mut() {
                if let Some(stage) = c.stage {
                    entry.insert("stage".into(), stage.into());
                }
                match std::str::from_utf8(&c.line) {
                    Ok(line) => entry.insert("line".into(), line.into()),
                    Err(_) => entry.insert("base64".into(), STANDARD.encode(&c.line).into()),
                };
            }
            text.extend_from_slice(entry.to_string().as_bytes());
            text.push(b'\n');
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                self.fs.create_dir(&self.dir)?;
                let file = self.fs.open(&self.path, Mode::Write)?;
                self.fs.sync_dir(&self.dir)?;
                none.insert(file)
            }
        };
        file.write_at(&text, self.length)?;
        file.sync()?;
        self.length += text.len() as u64;
        Ok(())
    }
}

/// Where the last whole line of a file of this length ends.
fn whole_lines(file: &dyn File, length: u64) -> io::Result<u64> {
    let (mut end, mut block) = (length, Vec::new());
    while end > 0 {
        let start = end.saturating_sub(LOOK);
        block.resize(usize::try_from(end - start).unwrap_or(0), 0);
        let mut got = 0;
        while got < block.len() {
            let n = file.read_at(block.get_mut(got..).unwrap_or_default(), start + got as u64)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            got += n;
        }
        if let Some(i) = memchr::memrchr(b'\n', &block) {
            return Ok(start + i as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The original line of an entry of the file.
pub fn original(entry: &[u8]) -> Option<Vec<u8>> {
    let entry: serde_json::Value = serde_json::from_slice(entry).ok()?;
    match (entry.get("line").and_then(|l| l.as_str()), entry.get("base64").and_then(|b| b.as_str())) {
        (Some(line), _) => Some(line.as_bytes().to_vec()),
        (None, Some(text)) => STANDARD.decode(text).ok(),
        (None, None) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::topic::sim::SimFs;

    fn complaint(n: u64) -> Complaint {
        Complaint {
            stage: None,
            number: n,
            reason: "not_json",
            text: "no".into(),
            line: format!("line {n}").into_bytes(),
        }
    }

    /// The lines held in both files, in order.
    fn held(fs: &Arc<dyn Fs>, path: &Path) -> Vec<u64> {
        let mut numbers = Vec::new();
        for path in [path.with_extension("ndjson.1"), path.to_owned()] {
            let Ok(file) = fs.open(&path, Mode::Read) else { continue };
            let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
            assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
            for line in bytes.split_inclusive(|b| *b == b'\n') {
                let original = String::from_utf8(original(line).unwrap()).unwrap();
                numbers.push(original.strip_prefix("line ").unwrap().parse().unwrap());
            }
        }
        numbers
    }

    /// One life: goes on from the committed number until it stops; `committed` is (lines, length) as the state holds it.
    fn live(fs: &SimFs, path: &Path, committed: &mut (u64, Option<u64>)) -> io::Result<()> {
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let mut refused = Refused::open(&shared, path, committed.1)?;
        refused.max = 300;
        let from = committed.0;
        let mut commit = |lines, length| {
            let (done, alive) = fs.step();
            if done {
                *committed = (lines, Some(length));
            }
            if alive { Ok(lines) } else { Err(io::Error::other("stopped")) }
        };
        let mut at = commit(from, refused.length())?;
        while at < 12 {
            if refused.is_full() {
                refused.rotate()?;
                commit(at, refused.length())?;
            }
            refused.write("topic:raw", &[complaint(at), complaint(at + 1)])?;
            at = commit(at + 2, refused.length())?;
        }
        Ok(())
    }

    #[test]
    fn no_stop_loses_or_doubles_a_line() {
        let path = Path::new("/refused/x.ndjson");
        let mut stops = 0;
        for seed in 0..40 {
            for stop in 1.. {
                let fs = SimFs::new(seed);
                let mut committed = (0, None);
                fs.stop_at(stop);
                let ended = live(&fs, path, &mut committed);
                fs.stop_at(u64::MAX);
                let power = seed % 2 == 0;
                let next = fs.spawn();
                if power {
                    fs.crash(seed ^ stop)
                } else {
                    fs.kill()
                }
                let next = if power { fs.spawn() } else { next };
                live(&next, path, &mut committed).unwrap();
                let shared: Arc<dyn Fs> = Arc::new(next);
                let held = held(&shared, path);
                let first = held.first().copied().unwrap();
                assert_eq!(held, (first..12).collect::<Vec<_>>(), "seed {seed}, stop {stop}");
                assert!(first <= 8, "more than the older file is gone: {held:?}");
                if ended.is_ok() {
                    break;
                }
                stops += 1;
            }
        }
        assert!(stops > 1000, "{stops}");
    }

    #[test]
    fn a_lost_record_cuts_only_a_torn_line() {
        let (fs, path) = (SimFs::new(1), Path::new("/refused/x.ndjson"));
        live(&fs, path, &mut (0, None)).unwrap();
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let before = held(&shared, path);
        fs.tamper(path, |data| data.extend_from_slice(b"{\"reason\":"));
        Refused::open(&shared, path, None).unwrap();
        assert_eq!(held(&shared, path), before);
    }
}

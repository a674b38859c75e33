//! A topic's folder in any state: opening, reading and going on never panic, and what a writer accepts can be used.
//!
//! The input, so that a person can make one (`fuzz/README.md` says it again):
//! a byte of flags (1: the writer has state, 2: its state has a sealed segment, 4: it deletes what is read), the recorded end (offset u16, line u8),
//! then files until the end: a byte that says which, a length (u16), the contents. All numbers little-endian.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipe::fs::{Fs, Mode};
use pipe::topic::sim::SimFs;
use pipe::topic::{Error, Kept, Mark, Options, Policy, Sealed, Start, TopicReader, TopicWriter, verify};

/// Reads of one reader: no file here is longer than 64 KiB, so more would be an endless loop.
const READS_MAX: usize = 70_000;
/// Lines appended after a recovery.
const LINES: usize = 8;
/// Bytes of a segment: four of those lines.
const SEGMENT: u64 = 48;
/// Bytes per read, small so that lines cross it.
const READ_BYTES: usize = 64;

/// `data` is a folder and what the writer's state says, in the form above.
pub fn run(data: &[u8]) {
    let dir = PathBuf::from("topics/raw");
    let machine = SimFs::new(1);
    let mut input = Input(data);
    let flags = input.byte();
    let recorded = Mark { offset: u64::from(input.word()), line: u64::from(input.byte()) };
    fill(&machine, &dir, input);

    // Readers do not wait for a recovery.
    let fs: Arc<dyn Fs> = Arc::new(machine.spawn());
    for start in [Start::First, Start::Last, Start::Age(0), Start::At(recorded)] {
        if let Ok(mut reader) = TopicReader::open(Arc::clone(&fs), &dir, start) {
            let _ = read_all(&mut reader);
        }
    }

    let kept = if flags & 1 == 1 { Kept::Recorded(recorded) } else { Kept::WholeLines };
    let sealed = if flags & 2 == 2 {
        vec![Sealed { first: Mark::START, end: recorded, sha256: "0".repeat(64), chain: "0".repeat(64) }]
    } else {
        Vec::new()
    };
    let options = Options { seal_bytes: SEGMENT, sealed: sealed.clone(), ..Options::default() };
    let _ = verify(fs.as_ref(), &dir, &sealed);
    let mut writer = match TopicWriter::open(Arc::clone(&fs), &dir, kept, options.clone()) {
        Ok(writer) => writer,
        Err(error) => {
            assert!(!matches!(error, Error::Locked(_)), "{error}");
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    if let Kept::Recorded(mark) = kept {
        assert_eq!(writer.end(), mark);
    }
    let mut options = options;
    options.sealed.extend(writer.sealed());
    options.sealed.extend(go_on(&fs, &dir, &mut writer, flags & 4 == 4));
    let end = writer.end();
    drop(writer);

    // What it left is in order: recovery finds the same end, whichever way it looks.
    for kept in [Kept::Recorded(end), Kept::WholeLines] {
        match TopicWriter::open(Arc::clone(&fs), &dir, kept, options.clone()) {
            Ok(again) => assert_eq!(again.end().offset, end.offset, "{kept:?}"),
            Err(e) => panic!("{kept:?}: {e}"),
        }
    }
}

/// Lines appended after a recovery come back, alone and in order, to a reader that stood at its end; what is read may be
/// compressed, and with `deletes` deleted, behind it. Returns the segments sealed on the way.
fn go_on(fs: &Arc<dyn Fs>, dir: &Path, writer: &mut TopicWriter, deletes: bool) -> Vec<Sealed> {
    let before = writer.end();
    assert!(writer.first() <= before && writer.synced() == before);
    let mut all = TopicReader::open(Arc::clone(fs), dir, Start::First).unwrap_or_else(|e| panic!("{e}"));
    let from = all.mark();
    // Old contents may be damaged in ways no crash makes; what is read is whole lines, and never beyond the end.
    if let Ok(read) = read_all(&mut all) {
        assert_eq!(from.offset + read.len() as u64, before.offset);
    }
    let mut reader = TopicReader::open(Arc::clone(fs), dir, Start::At(before)).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(read_all(&mut reader).unwrap_or_else(|e| panic!("{e}")), b"");

    let mut sealed = Vec::new();
    for i in 0..LINES {
        let line = format!("{{\"line\":{i}}}\n").into_bytes();
        match writer.append(&line, 1) {
            // A folder that begins at an absurd offset has no room for more; nothing was written.
            Err(Error::Refused(_)) if before.max(writer.end()).offset > u64::from(u32::MAX) => return sealed,
            other => other.unwrap_or_else(|e| panic!("append: {e}")),
        }
        writer.sync().unwrap_or_else(|e| panic!("sync: {e}"));
        sealed.extend(writer.sealed());
        writer.publish().unwrap_or_else(|e| panic!("publish: {e}"));
        assert_eq!(read_all(&mut reader).unwrap_or_else(|e| panic!("{e}")), line);
        let policy = Policy {
            keep_age_ms: i64::MAX,
            keep_size: if deletes { SEGMENT } else { u64::MAX },
            limit: u64::MAX,
            reserve: 0,
            free_space: u64::MAX,
            now_ms: fs.now_ms(),
        };
        // Old damage may stand in its way.
        let _ = writer.maintain(&[reader.mark().offset], &policy);
    }
    assert_eq!(reader.mark(), writer.end());
    sealed
}

/// Everything up to the end; an error ends it.
fn read_all(reader: &mut TopicReader) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    for _ in 0..READS_MAX {
        let before = reader.mark();
        let Some(chunk) = reader.read(READ_BYTES)? else {
            let (bytes, _) = reader.lag()?;
            assert_eq!(bytes, 0, "no more lines, but it lags");
            return Ok(all);
        };
        assert!(chunk.bytes.ends_with(b"\n"), "half a line");
        assert_eq!((chunk.from, chunk.to.offset), (before, before.offset + chunk.bytes.len() as u64));
        all.extend_from_slice(chunk.bytes);
        let to = chunk.to;
        assert_eq!(reader.mark(), to);
    }
    panic!("reads without an end");
}

/// Makes the files.
fn fill(machine: &SimFs, dir: &Path, mut input: Input<'_>) {
    let mut next = 0u64;
    while !input.0.is_empty() {
        let (which, length) = (input.byte(), usize::from(input.word()));
        let mut contents = input.take(length);
        let name = match which % 8 {
            0 => "head".to_owned(),
            1 => "first".to_owned(),
            2 => "lock".to_owned(),
            3 => segment(next, ""),
            4 => segment(next, ".zst"),
            5 => {
                let (offset, rest) = contents.split_at(contents.len().min(8));
                contents = rest;
                let mut bytes = [0; 8];
                bytes.iter_mut().zip(offset).for_each(|(to, from)| *to = *from);
                segment(u64::from_le_bytes(bytes), "")
            }
            6 => segment(next, ".tmp"),
            _ => "notes.txt".to_owned(),
        };
        if which % 8 == 3 || which % 8 == 4 {
            next += contents.len() as u64;
        }
        let written = machine.open(&dir.join(name), Mode::Fresh).and_then(|file| {
            file.write_at(contents, 0)?;
            file.sync()
        });
        written.expect("a disk in memory");
    }
    machine.sync_dir(dir).expect("a disk in memory");
}

fn segment(offset: u64, ending: &str) -> String {
    format!("{offset:020}.ndjson{ending}")
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (front, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        front
    }

    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn word(&mut self) -> u16 {
        u16::from(self.byte()) | u16::from(self.byte()) << 8
    }
}

//! The plain behaviour of a topic, on a real disk where nothing has to go wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod upkeep;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::sim::SimFs;
use super::*;
use crate::fs::RealFs;

const SMALL: u64 = 64;

fn options(sealed: &[Sealed]) -> Options {
    Options { seal_bytes: SMALL, seal_age_ms: SEAL_AGE_MS, sealed: sealed.to_vec(), ..Options::default() }
}

fn open(fs: &Arc<dyn Fs>, dir: &Path, kept: Kept) -> TopicWriter {
    TopicWriter::open(Arc::clone(fs), dir, kept, options(&[])).unwrap()
}

fn policy() -> Policy {
    let now_ms = RealFs.now_ms();
    Policy { keep_age_ms: 1 << 40, keep_size: u64::MAX, limit: u64::MAX, reserve: 0, free_space: u64::MAX, now_ms }
}

/// Lines `0`, `1`, … of 16 bytes each.
fn lines(numbers: std::ops::Range<u64>) -> Vec<u8> {
    numbers.flat_map(|n| format!("{{\"n\":{n:>9}}}\n").into_bytes()).collect()
}

/// Appends, syncs and publishes; the segments sealed.
fn put(writer: &mut TopicWriter, numbers: std::ops::Range<u64>) -> Vec<Sealed> {
    for n in numbers {
        writer.append(&lines(n..n + 1), 1).unwrap();
    }
    writer.sync().unwrap();
    let sealed = writer.sealed();
    writer.publish().unwrap();
    sealed
}

fn get(reader: &mut TopicReader) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let before = reader.mark();
        let Some(chunk) = reader.read(40).unwrap() else { return all };
        assert_eq!((chunk.from, chunk.to.offset), (before, before.offset + chunk.bytes.len() as u64));
        assert_eq!(chunk.to.line - chunk.from.line, chunk.lines);
        all.extend_from_slice(chunk.bytes);
    }
}

fn mark(line: u64) -> Mark {
    Mark { offset: line * 16, line }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|n| n.starts_with('0'));
    names.sort();
    names.iter().map(|n| n.trim_start_matches('0').to_owned()).collect()
}

#[test]
fn lines_come_back_once_they_are_published() {
    let tmp = tempfile::tempdir().unwrap();
    let (fs, dir) = (RealFs::shared(), tmp.path().join("topics/raw"));
    let mut reader = TopicReader::open(fs.clone(), &dir, Start::Last).unwrap();
    assert_eq!(get(&mut reader), b"");
    let mut writer = open(&fs, &dir, Kept::WholeLines);
    assert!(matches!(TopicWriter::open(fs.clone(), &dir, Kept::WholeLines, options(&[])), Err(Error::Locked(_))));
    writer.append(&lines(0..3), 3).unwrap();
    assert_eq!(get(&mut reader), b"");
    assert_eq!(writer.sync().unwrap(), mark(3));
    assert_eq!(get(&mut reader), b"");
    writer.publish().unwrap();
    assert_eq!(reader.lag().unwrap(), (48, 3));
    assert_eq!(get(&mut reader), lines(0..3));
    put(&mut writer, 3..10);
    assert_eq!(names(&dir), [".ndjson", "64.ndjson", "128.ndjson"]);
    assert_eq!(get(&mut reader), lines(3..10));
    writer.append(&lines(10..20), 10).unwrap(); // longer than a segment
    put(&mut writer, 20..20);
    assert_eq!(names(&dir), [".ndjson", "64.ndjson", "128.ndjson", "160.ndjson", "224.ndjson", "288.ndjson"]);
    assert_eq!(get(&mut reader), lines(10..20));
    for (start, want) in
        [(Start::First, 0..20), (Start::At(mark(7)), 7..20), (Start::Last, 20..20), (Start::Age(9999), 0..20)]
    {
        let mut reader = TopicReader::open(fs.clone(), &dir, start).unwrap();
        assert_eq!(reader.mark(), mark(want.start), "{start:?}");
        assert_eq!(get(&mut reader), lines(want), "{start:?}");
    }
}

#[test]
fn what_is_no_whole_line_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let mut writer = open(&RealFs::shared(), tmp.path(), Kept::WholeLines);
    for (bytes, count) in [(&b"{}"[..], 1), (b"{}\n", 2), (b"{}\n{}\n", 1), (b"", 1), (b"{\0}\n", 1), (b"{}\n{", 1)] {
        assert!(matches!(writer.append(bytes, count), Err(Error::Refused(_))), "{bytes:?}");
    }
    writer.append(b"", 0).unwrap();
    assert_eq!(writer.end(), Mark::START);
}

#[test]
fn a_recorded_end_is_kept_to_the_byte() {
    let tmp = tempfile::tempdir().unwrap();
    let fs = RealFs::shared();
    let check = |start: u64, kept: u64, want: Result<u64, u64>| {
        let dir = tmp.path().join(format!("{start}-{kept}"));
        let sealed = put(&mut open(&fs, &dir, Kept::WholeLines), 0..start);
        let known: Vec<_> = sealed.into_iter().filter(|s| s.end.line <= kept).collect();
        match (TopicWriter::open(fs.clone(), &dir, Kept::Recorded(mark(kept)), options(&known)), want) {
            (Ok(mut writer), Ok(end)) => {
                assert_eq!((writer.end(), writer.first()), (mark(end), Mark::START));
                let sealed = [known, put(&mut writer, kept..kept + 9)].concat();
                let mut reader = TopicReader::open(fs.clone(), &dir, Start::First).unwrap();
                assert_eq!(get(&mut reader), lines(0..kept + 9));
                assert_eq!(reader.mark(), mark(kept + 9));
                verify(fs.as_ref(), &dir, &sealed).unwrap().unwrap();
                assert!(sealed.len() >= 2 && sealed.windows(2).all(|w| w[0].end == w[1].first));
            }
            (Err(Error::Beyond { at, end, .. }), Err(have)) => assert_eq!((at, end), (kept * 16, have * 16)),
            (other, _) => panic!("{start} {kept}: {:?}", other.err()),
        }
    };
    for (start, kept) in [(0, 0), (3, 3), (3, 1), (3, 0), (4, 4), (5, 4), (9, 8), (9, 6), (9, 0), (12, 12)] {
        check(start, kept, Ok(kept));
    }
    check(3, 4, Err(3));
    check(0, 1, Err(0));
    check(8, 9, Err(8));
}

#[test]
fn whole_lines_survive_whatever_lies_behind_them() {
    let tmp = tempfile::tempdir().unwrap();
    let fs = RealFs::shared();
    let check = |name: &str, harm: &dyn Fn(&Path), want: u64| {
        let dir = tmp.path().join(name);
        put(&mut open(&fs, &dir, Kept::WholeLines), 0..6);
        harm(&dir);
        let mut writer = open(&fs, &dir, Kept::WholeLines);
        assert_eq!(writer.end(), mark(want), "{name}");
        put(&mut writer, want..want + 5);
        assert_eq!(get(&mut TopicReader::open(fs.clone(), &dir, Start::First).unwrap()), lines(0..want + 5), "{name}");
    };
    let newest = |dir: &Path| dir.join("00000000000000000064.ndjson");
    let add = |path: &Path, bytes: &[u8]| fs::write(path, [&fs::read(path).unwrap(), bytes].concat()).unwrap();
    check("clean", &|_| (), 6);
    check("torn", &|dir| add(&newest(dir), b"{\"n\":"), 6);
    check("zeros", &|dir| add(&newest(dir), &[0; 100]), 6);
    check("zeros-and-newline", &|dir| add(&newest(dir), b"{\0\0}\n{}\n"), 6);
    check("unpublished", &|dir| add(&newest(dir), &lines(6..8)), 8);
    check("empty-newest", &|dir| fs::write(dir.join("00000000000000000096.ndjson"), b"").unwrap(), 6);
    check("garbage-head", &|dir| fs::write(dir.join("head"), b"{\"offset\":1").unwrap(), 6);
    check("no-head", &|dir| fs::remove_file(dir.join("head")).unwrap(), 6);
    check("unfinished", &|dir| fs::write(dir.join("00000000000000000000.ndjson.zst.tmp"), b"?").unwrap(), 6);
    check(
        "missing-newest",
        &|dir| {
            fs::remove_file(newest(dir)).unwrap();
            fs::remove_file(dir.join("head")).unwrap();
        },
        4,
    );
    // Readers were told of more than is there: going on would give other lines the same places.
    let dir = tmp.path().join("less");
    put(&mut open(&fs, &dir, Kept::WholeLines), 0..6);
    fs::remove_file(newest(&dir)).unwrap();
    let less = TopicWriter::open(fs.clone(), &dir, Kept::WholeLines, options(&[]));
    assert!(matches!(less, Err(Error::Beyond { at: 96, end: 64, .. })), "{:?}", less.err());
}

#[test]
fn a_line_too_long_is_named_and_skipped() {
    let tmp = tempfile::tempdir().unwrap();
    let (fs, dir) = (RealFs::shared(), tmp.path());
    let mut writer = TopicWriter::open(fs.clone(), dir, Kept::WholeLines, Options::default()).unwrap();
    let mut long = vec![b'x'; event::LINE_MAX + 1];
    *long.last_mut().unwrap() = b'\n';
    writer.append(&long, 1).unwrap(); // one byte below the limit
    long.insert(0, b'x');
    long.insert(0, b'x');
    writer.append(&[b"{}\n", long.as_slice(), b"[]\n"].concat(), 3).unwrap();
    writer.sync().unwrap();
    writer.publish().unwrap();
    let mut reader = TopicReader::open(fs, dir, Start::First).unwrap();
    assert_eq!(reader.read(1).unwrap().unwrap().bytes.len(), event::LINE_MAX + 1);
    assert_eq!(reader.read(usize::MAX).unwrap().unwrap().bytes, b"{}\n");
    let at = event::LINE_MAX as u64 + 4;
    assert!(matches!(reader.read(9), Err(Error::CorruptAt { offset, .. }) if offset == at));
    assert_eq!(reader.skip_line().unwrap(), long.len() as u64);
    assert_eq!(reader.read(9).unwrap().unwrap().bytes, b"[]\n");
    assert_eq!((reader.mark().line, reader.skip_line().unwrap()), (4, 0));
}

#[test]
fn a_full_disk_takes_nothing_and_a_failed_fsync_ends_it() {
    let (sim, dir) = (SimFs::new(1), Path::new("t"));
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let mut writer = open(&fs, dir, Kept::WholeLines);
    put(&mut writer, 0..1);
    sim.full_after(Some(7));
    assert!(matches!(writer.append(&lines(1..2), 1), Err(Error::Io { .. })));
    assert!(matches!(writer.append(&lines(1..4), 3), Err(Error::Io { .. })));
    sim.full_after(Some(40));
    assert!(matches!(writer.append(&lines(1..4), 3), Err(Error::Io { .. })), "two and a half lines fit");
    sim.full_after(None);
    put(&mut writer, 1..2);
    drop(writer);
    let mut writer = open(&fs, dir, Kept::WholeLines);
    assert_eq!(writer.end(), mark(2), "nothing of what was not appended lies behind");
    put(&mut writer, 2..6);
    assert_eq!(get(&mut TopicReader::open(fs.clone(), dir, Start::First).unwrap()), lines(0..6));
    writer.append(&lines(6..7), 1).unwrap();
    sim.stop_at(sim.ops() + 1);
    assert!(matches!(writer.sync(), Err(Error::Io { .. })));
    assert!(matches!(writer.append(&lines(7..8), 1), Err(Error::Poisoned(_))));
    assert!(matches!(writer.publish(), Err(Error::Poisoned(_))));
}

#[test]
fn a_reader_beyond_the_end_waits_for_the_writer_only() {
    let (sim, dir) = (SimFs::new(1), Path::new("t"));
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let mut writer = open(&fs, dir, Kept::WholeLines);
    put(&mut writer, 0..3);
    let stale = sim.contents(&dir.join("head")).unwrap();
    fs.sync_dir(dir).unwrap();
    put(&mut writer, 3..6);
    sim.crash(0);
    let fs: Arc<dyn Fs> = Arc::new(sim.spawn());
    // As if the disk had kept the older head, whole.
    fs.open(&dir.join("head"), crate::fs::Mode::Write).unwrap();
    sim.tamper(&dir.join("head"), |data| data.clone_from(&stale));
    let beyond = |at| match TopicReader::open(fs.clone(), dir, Start::At(at)).unwrap().read(99) {
        Err(Error::Beyond { recovered, .. }) => Some(recovered),
        other => {
            other.unwrap();
            None
        }
    };
    assert_eq!((beyond(mark(6)), beyond(mark(3))), (Some(false), None));
    let _writer = open(&fs, dir, Kept::WholeLines);
    assert_eq!((beyond(mark(6)), beyond(mark(7))), (None, Some(true)));
}

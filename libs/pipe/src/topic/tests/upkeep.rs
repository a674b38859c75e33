//! Upkeep: compression, deletion, the chain, and what recovery makes of them.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn read_segments_are_compressed_and_deleted() {
    let tmp = tempfile::tempdir().unwrap();
    let (fs, dir) = (RealFs::shared(), tmp.path());
    let mut writer = open(&fs, dir, Kept::WholeLines);
    let mut sealed = put(&mut writer, 0..18);
    let (mut slow, mut late) = (
        TopicReader::open(fs.clone(), dir, Start::First).unwrap(),
        TopicReader::open(fs.clone(), dir, Start::First).unwrap(),
    );
    assert_eq!(slow.read(20).unwrap().unwrap().bytes, lines(0..1)); // holds the first segment open
    for (claims, want) in
        [(&[0, 999][..], None), (&[63, 300], None), (&[130, 999], Some(0)), (&[130], Some(64)), (&[130], None)]
    {
        assert_eq!(writer.maintain(claims, &policy()).unwrap().compressed, want, "{claims:?}");
    }
    assert_eq!(names(dir), [".ndjson.zst", "64.ndjson.zst", "128.ndjson", "192.ndjson", "256.ndjson"]);
    assert_eq!(writer.bytes(), topic_bytes(fs.as_ref(), dir).unwrap());
    assert_eq!(get(&mut slow), lines(1..18));
    let mut mid = TopicReader::open(fs.clone(), dir, Start::At(mark(6))).unwrap();
    assert_eq!(get(&mut mid), lines(6..18));
    assert_eq!(verify(fs.as_ref(), dir, &sealed).unwrap().unwrap().segments, 4);

    let tight = Policy { keep_size: 0, ..policy() };
    assert_eq!(writer.maintain(&[130, 999], &tight).unwrap().deleted, 2);
    assert_eq!(writer.first(), mark(8));
    assert_eq!(late.read(64).err().map(|e| e.to_string()), Some("the first line kept is line 8 at 128".into()));
    late.seek(mark(8));
    assert_eq!(get(&mut late), lines(8..18));
    // No reader at all, and no room: even the open segment goes, but never the topic's end.
    let full = Policy { free_space: 9, reserve: 10, ..policy() };
    let done = writer.maintain(&[], &full).unwrap();
    assert!(done.sealed && done.deleted == 1, "as much as gives the reserve back: {done:?}");
    sealed.extend(writer.sealed());
    writer.publish().unwrap();
    assert_eq!(writer.maintain(&[], &tight).unwrap().deleted, 2);
    assert_eq!(names(dir), ["288.ndjson"]);
    drop(writer);
    fs::remove_file(dir.join("head")).unwrap();
    let mut writer = TopicWriter::open(fs.clone(), dir, Kept::WholeLines, options(&[])).unwrap();
    assert_eq!((writer.first(), writer.end()), (mark(18), mark(18)), "known from the file `first`");
    writer = {
        drop(writer);
        TopicWriter::open(fs.clone(), dir, Kept::WholeLines, options(&sealed)).unwrap()
    };
    sealed.extend(put(&mut writer, 18..30));
    assert_eq!(verify(fs.as_ref(), dir, &sealed).unwrap().unwrap(), Verified { records: 7, segments: 2, bytes: 128 });
}

#[test]
fn an_older_state_takes_a_compressed_segment_back() {
    let tmp = tempfile::tempdir().unwrap();
    let (fs, dir) = (RealFs::shared(), tmp.path());
    let mut writer = open(&fs, dir, Kept::WholeLines);
    put(&mut writer, 0..9);
    while writer.maintain(&[], &policy()).unwrap().more {}
    drop(writer);
    assert_eq!(names(dir), [".ndjson.zst", "64.ndjson.zst", "128.ndjson"]);
    let mut writer = open(&fs, dir, Kept::Recorded(mark(6)));
    assert_eq!(names(dir), [".ndjson.zst", "64.ndjson"]);
    put(&mut writer, 6..7);
    assert_eq!(get(&mut TopicReader::open(fs.clone(), dir, Start::First).unwrap()), lines(0..7));
}

#[test]
fn damage_to_a_sealed_segment_is_found() {
    let dir = Path::new("t");
    let check = |want: &str, at: u64, harm: &dyn Fn(&SimFs, &mut Vec<Sealed>)| {
        let sim = SimFs::new(1);
        let fs: Arc<dyn Fs> = Arc::new(sim.clone());
        let mut sealed = put(&mut open(&fs, dir, Kept::WholeLines), 0..18);
        harm(&sim, &mut sealed);
        let found = verify(fs.as_ref(), dir, &sealed).unwrap().unwrap_err();
        assert!(found.what.contains(want) && found.first == mark(at), "{want}: {found:?}");
    };
    let second = segment::path(dir, 64, false);
    check("another hash", 4, &|sim, _| sim.tamper(&second, |data| data[9] ^= 1));
    check("another length", 4, &|sim, _| sim.tamper(&second, |data| data.truncate(48)));
    check("another number", 4, &|sim, _| sim.tamper(&second, |data| data[9] = b'\n'));
    check("missing", 4, &|sim, _| sim.remove(&second).unwrap());
    check("chain is broken", 4, &|_, sealed| sealed[1].sha256 = sealed[0].sha256.clone());
    check("does not begin", 8, &|_, sealed| drop(sealed.remove(1)));
}

#[test]
fn the_topic_s_end_is_never_deleted_and_a_sealed_segment_never_reopened() {
    let (sim, dir) = (SimFs::new(1), Path::new("t"));
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let full = Policy { limit: 0, ..policy() };
    let mut writer = open(&fs, dir, Kept::WholeLines);
    put(&mut writer, 0..3);
    assert!(writer.maintain(&[], &full).unwrap().sealed);
    let mut sealed = put(&mut writer, 3..3);
    drop(writer);
    assert_eq!(sealed.len(), 1);
    sim.remove(&segment::path(dir, 48, false)).unwrap(); // the empty segment that tells the end
    let mut writer = TopicWriter::open(fs.clone(), dir, Kept::Recorded(mark(3)), options(&sealed)).unwrap();
    assert_eq!(writer.maintain(&[], &full).unwrap().deleted, 0);
    sealed.extend(put(&mut writer, 3..8));
    assert_eq!(verify(fs.as_ref(), dir, &sealed).unwrap().unwrap(), Verified { records: 2, segments: 2, bytes: 112 });
    assert_eq!(get(&mut TopicReader::open(fs.clone(), dir, Start::First).unwrap()), lines(0..8));
}

#[test]
fn a_disk_full_to_the_last_byte_can_be_emptied() {
    let (sim, dir) = (SimFs::new(1), Path::new("t"));
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let options = Options { seal_bytes: 1024, ..options(&[]) };
    let mut writer = TopicWriter::open(fs.clone(), dir, Kept::WholeLines, options).unwrap();
    put(&mut writer, 0..200);
    sim.full_after(Some(0));
    let done = writer.maintain(&[], &policy()).unwrap();
    assert_eq!((done.compressed, done.more), (None, false), "no room to compress is no error");
    let done = writer.maintain(&[], &Policy { reserve: 1500, free_space: 0, ..policy() }).unwrap();
    assert_eq!((done.deleted, done.freed, writer.first()), (2, 2048, mark(128)));
    sim.full_after(None);
    let later = Policy { now_ms: policy().now_ms + maintain::PACK_PAUSE_MS + 1, ..policy() };
    assert_eq!(writer.maintain(&[], &later).unwrap().compressed, Some(2048));
    assert_eq!(get(&mut TopicReader::open(fs, dir, Start::First).unwrap()), lines(128..200));
}

#[test]
fn a_thread_beside_compresses_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let fs = crate::fs::RealFs::shared();
    let beside = || Options { seal_bytes: 1024, pack_beside: true, ..Options::default() };
    let mut writer = TopicWriter::open(fs.clone(), dir.path(), Kept::WholeLines, beside()).unwrap();
    put(&mut writer, 0..200);
    assert!(!writer.maintain(&[], &policy()).unwrap().more, "it gets on by itself");
    // Whatever the thread has come to: the next writer begins anew.
    drop(writer);
    let mut writer = TopicWriter::open(fs.clone(), dir.path(), Kept::WholeLines, beside()).unwrap();
    put(&mut writer, 200..201);
    let (mut compressed, begun) = (Vec::new(), Instant::now());
    while compressed.len() < 3 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{compressed:?}");
        let done = writer.maintain(&[], &policy()).unwrap();
        compressed.extend(done.compressed);
        assert_eq!(done.more, done.compressed.is_some_and(|first| first < 2048), "the next one is begun at once");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(compressed, [0, 1024, 2048], "in order, all but the newest");
    assert_eq!(get(&mut TopicReader::open(fs, dir.path(), Start::First).unwrap()), lines(0..201));
}

#[test]
fn age_counts_from_the_last_line_of_a_segment() {
    let (sim, dir, hour) = (SimFs::new(1), Path::new("t"), SEAL_AGE_MS);
    let fs: Arc<dyn Fs> = Arc::new(sim.clone());
    let mut writer = open(&fs, dir, Kept::WholeLines);
    let aged = |writer: &mut TopicWriter, keep_age_ms| {
        writer.maintain(&[], &Policy { keep_age_ms, now_ms: sim.now_ms(), ..policy() }).unwrap()
    };
    put(&mut writer, 0..1);
    sim.pass(hour - 1);
    put(&mut writer, 1..2);
    sim.pass(1);
    put(&mut writer, 2..3); // the first segment is an hour old
    assert!(!aged(&mut writer, i64::MAX).sealed);
    sim.pass(hour);
    assert!(aged(&mut writer, i64::MAX).sealed);
    put(&mut writer, 3..3);
    assert_eq!(
        (aged(&mut writer, i64::MAX).compressed, topic_bytes(fs.as_ref(), dir).unwrap()),
        (Some(32), writer.bytes())
    );
    drop(writer);
    let listed: Vec<_> = segment::list(fs.as_ref(), dir).unwrap().iter().map(|s| (s.first, s.packed)).collect();
    assert_eq!(listed, [(0, true), (32, true), (48, false)]);
    // Compressing and a restart do not make them younger.
    let age = |ms: i64| Start::Age(ms - segment::MARGIN_MS);
    let first = |ms| TopicReader::open(fs.clone(), dir, age(ms)).unwrap().mark();
    assert_eq!((first(hour - 1), first(hour), first(hour + 1)), (mark(3), mark(2), mark(0)));
    let mut writer = open(&fs, dir, Kept::WholeLines);
    writer.sealed();
    writer.publish().unwrap();
    assert_eq!((aged(&mut writer, hour + 1).deleted, aged(&mut writer, hour).deleted), (0, 1));
    assert_eq!(writer.first(), mark(2));
}

#[test]
fn a_file_that_is_a_little_older_than_its_lines_is_read_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let fs = RealFs::shared();
    let mut writer = open(&fs, dir.path(), Kept::WholeLines);
    put(&mut writer, 0..1);
    let path = segment::path(dir.path(), 0, false);
    let late = std::time::SystemTime::now() - Duration::from_millis(50);
    std::fs::File::options().write(true).open(path).unwrap().set_modified(late).unwrap();
    for age in [0, 10] {
        assert_eq!(TopicReader::open(fs.clone(), dir.path(), Start::Age(age)).unwrap().mark(), mark(0));
    }
}

#[test]
fn a_segment_that_is_being_compressed_goes_without_anybody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let fs = RealFs::shared();
    let options = Options { seal_bytes: 24 << 20, pack_beside: true, ..Options::default() };
    let mut writer = TopicWriter::open(fs, dir.path(), Kept::WholeLines, options).unwrap();
    let line = [vec![b'x'; 1 << 20], vec![b'\n']].concat();
    (0..50).for_each(|_| writer.append(&line, 1).unwrap());
    put(&mut writer, 0..1);
    assert_eq!(writer.maintain(&[], &policy()).unwrap().compressed, None);
    let (tight, begun) = (Policy { keep_size: 0, ..policy() }, Instant::now());
    let mut deleted = 0;
    while deleted < 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{deleted} are gone");
        let done = writer.maintain(&[], &tight).unwrap();
        deleted += done.deleted;
        assert_eq!(done.compressed, None);
        std::thread::sleep(Duration::from_millis(1));
    }
    let left = names(dir.path());
    assert!(left.len() == 1 && left.iter().all(|name| !name.ends_with(".tmp")), "{left:?}");
    assert_eq!(writer.pack_from_ms, i64::MIN, "to be told to stop is no failure");
}

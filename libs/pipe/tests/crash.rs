//! Histories of a topic on a disk that stops at any operation and loses power: nothing acknowledged is lost, nothing is
//! doubled or torn, and no reader ever saw what its writer takes back.
//!
//! `ZENTRAL_CRASH_HISTORIES` sets how many (10,000), `ZENTRAL_CRASH_SEED` runs one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::path::PathBuf;
use std::sync::Arc;

use pipe::fs::Fs;
use pipe::topic::sim::{Random, SimFs};
use pipe::topic::{Error, Kept, Mark, Options, Policy, Sealed, Start, TopicReader, TopicWriter, verify};

const HISTORIES: u64 = 10_000;
/// Every so many histories one is repeated with a stop at each of its operations.
const SWEEP_EVERY: u64 = 40;
/// Actions in one history, over all its crashes.
const ACTIONS: u64 = 60;

/// What the writer's and the reader's transactions have recorded; it cannot be lost.
#[derive(Default)]
struct Recorded {
    end: Mark,
    sealed: Vec<Sealed>,
    position: Mark,
}

struct World {
    machine: SimFs,
    dir: PathBuf,
    random: Random,
    /// The writer has state; else its fsync is its commit.
    with_state: bool,
    /// The owner keeps the records of sealed segments.
    with_records: bool,
    seal_bytes: u64,
    db: Recorded,
    /// All lines ever appended and not taken back.
    all: Vec<u8>,
    serial: u64,
    /// Up to here the lines were acknowledged.
    acked: u64,
    /// Up to here some reader has seen them.
    seen: u64,
    /// The power was cut and the writer has not recovered since.
    stale: bool,
    /// A recovery without state was interrupted: it may have told readers of whole lines that nobody had acknowledged.
    told_more: bool,
    writer: Option<(SimFs, TopicWriter)>,
    reader: Option<(SimFs, TopicReader)>,
}

/// One history; with `stop` its writer or reader stops at that operation, else at random ones. Returns the operations it
/// took.
fn history(seed: u64, stop: Option<u64>, lie: bool) -> u64 {
    let _say = Say(seed, stop);
    let mut world = World::new(seed);
    if lie {
        world.machine.lie();
    }
    if let Some(op) = stop {
        world.machine.stop_at(op);
    }
    let random_stops = stop.is_none() && !seed.is_multiple_of(SWEEP_EVERY);
    for _ in 0..ACTIONS {
        if random_stops && world.random.one_in(8) {
            let op = world.machine.ops() + 1 + world.random.below(25);
            world.machine.stop_at(op);
        }
        world.act();
        if random_stops && world.random.one_in(60) {
            world.power_cut();
        }
        world.bury();
    }
    let ops = world.machine.ops();
    world.machine.stop_at(u64::MAX);
    world.finish();
    ops
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        Self {
            machine: SimFs::new(random.number()),
            dir: PathBuf::from("topics/raw"),
            with_state: random.one_in(2),
            with_records: !random.one_in(4),
            seal_bytes: 30 + random.below(300),
            random,
            db: Recorded::default(),
            all: Vec::new(),
            serial: 0,
            acked: 0,
            seen: 0,
            stale: false,
            told_more: false,
            writer: None,
            reader: None,
        }
    }

    fn act(&mut self) {
        self.open_reader();
        if self.writer.is_none() && !self.random.one_in(3) {
            self.open_writer();
        }
        match self.random.below(16) {
            0..5 => self.append(),
            5..9 => self.commit(),
            9..12 => self.read(),
            12 => self.commit_position(),
            13 | 14 => self.maintain(),
            _ => {
                self.machine.pass(i64::try_from(self.random.below(4_000_000)).unwrap());
                self.stray_reader();
            }
        }
    }

    /// Ends what has stopped, by a kill or a power cut.
    fn bury(&mut self) {
        let stopped = |p: &Option<SimFs>| p.as_ref().is_some_and(SimFs::stopped);
        let (writer, reader) = (self.writer.as_ref().map(|w| w.0.clone()), self.reader.as_ref().map(|r| r.0.clone()));
        if (stopped(&writer) || stopped(&reader)) && self.random.one_in(2) {
            self.power_cut();
            return;
        }
        if let Some(process) = writer.filter(SimFs::stopped) {
            process.kill();
            self.writer = None;
        }
        if let Some(process) = reader.filter(SimFs::stopped) {
            process.kill();
            self.reader = None;
        }
    }

    fn power_cut(&mut self) {
        self.machine.crash(self.random.number());
        (self.writer, self.reader, self.stale) = (None, None, true);
    }

    fn open_writer(&mut self) {
        let process = self.machine.spawn();
        let kept = if self.with_state { Kept::Recorded(self.db.end) } else { Kept::WholeLines };
        let sealed = if self.with_records { self.db.sealed.clone() } else { Vec::new() };
        let options = Options { seal_bytes: self.seal_bytes, seal_age_ms: 3_600_000, sealed };
        match TopicWriter::open(Arc::new(process.clone()), &self.dir, kept, options) {
            Ok(writer) => {
                self.check_recovered(&writer);
                self.writer = Some((process, writer));
            }
            Err(e) if !process.stopped() => panic!("the writer cannot recover: {e}"),
            Err(_) => {
                self.told_more = !self.with_state;
                if self.random.one_in(2) { self.power_cut() } else { process.kill() }
            }
        }
    }

    /// What recovery must have done, seen on the disk itself.
    fn check_recovered(&mut self, writer: &TopicWriter) {
        let (first, end) = (writer.first(), writer.end());
        if self.with_state {
            assert_eq!(end, self.db.end, "the recorded end");
        }
        assert!(
            self.acked <= end.offset && end.offset <= self.all.len() as u64,
            "{} acknowledged, {end:?}",
            self.acked
        );
        assert!(self.seen <= end.offset, "a reader saw {} and {} is kept", self.seen, end.offset);
        self.all.truncate(end.offset as usize);
        assert!(self.all.last().is_none_or(|b| *b == b'\n'), "a torn line is kept");
        assert_eq!(end, self.mark(end.offset), "lines at the end");
        assert_eq!(first, self.mark(first.offset), "lines at the front");
        assert!(first.offset <= self.db.position.offset, "deleted before it was read");
        let mut at = first.offset;
        let mut names: Vec<String> = self.machine_list();
        names.sort();
        for name in names {
            let mut data = self.machine.contents(&self.dir.join(&name)).unwrap();
            assert!(!name.ends_with(".tmp"), "{name} is left over");
            let Some((digits, ending)) = name.split_once('.') else { continue };
            if ending == "ndjson.zst" {
                data = zstd::decode_all(data.as_slice()).expect("a whole archive");
            }
            assert_eq!(digits, format!("{at:020}"), "a hole or a double");
            let end = at as usize + data.len();
            assert_eq!(self.all.get(at as usize..end), Some(data.as_slice()), "other lines in {name}");
            at = end as u64;
        }
        assert_eq!(at, end.offset, "all lines are on the disk");
        (self.stale, self.told_more) = (false, false);
        // What was kept is promised now: readers may see it.
        self.acked = end.offset;
        let head = TopicReader::open(Arc::new(self.machine.spawn()), &self.dir, Start::Last).unwrap().mark();
        assert_eq!(head, end, "the head is where the lines end");
    }

    fn machine_list(&self) -> Vec<String> {
        self.machine.spawn().list(&self.dir).unwrap().into_iter().map(|e| e.name).collect()
    }

    fn mark(&self, offset: u64) -> Mark {
        let before = &self.all[..offset as usize];
        Mark { offset, line: before.iter().filter(|b| **b == b'\n').count() as u64 }
    }

    fn append(&mut self) {
        let Some((process, writer)) = &mut self.writer else { return };
        let (mut lines, count) = (Vec::new(), 1 + self.random.below(5));
        for _ in 0..count {
            self.serial += 1;
            match self.random.below(5) {
                0 => lines.extend_from_slice(b"{}\n"),
                1 => lines.extend_from_slice(
                    format!("{{\"n\":{},\"x\":\"{}\"}}\n", self.serial, "y".repeat(self.random.below(250) as usize))
                        .as_bytes(),
                ),
                _ => lines.extend_from_slice(format!("{{\"n\":{}}}\n", self.serial).as_bytes()),
            }
        }
        let before = self.all.len();
        self.all.extend_from_slice(&lines);
        let room = self.random.below(2 * lines.len() as u64);
        let full = self.random.one_in(12);
        self.machine.full_after(full.then_some(room));
        let done = writer.append(&lines, count);
        self.machine.full_after(None);
        if done.is_ok() || process.stopped() {
            return;
        }
        assert!(full, "{done:?}");
        if writer.append(b"", 0).is_ok() {
            self.all.truncate(before); // taken back
        } else {
            process.kill(); // half of it could not be taken back: the process ends, recovery decides
            self.writer = None;
        }
    }

    /// The commit, in the order of the design.
    fn commit(&mut self) {
        let Some((process, writer)) = &mut self.writer else { return };
        let Ok(mark) = writer.sync() else { return assert!(process.stopped()) };
        assert_eq!(mark.offset, self.all.len() as u64);
        if !self.with_state {
            self.acked = mark.offset;
        }
        let sealed = writer.sealed();
        let (done, lived) = if self.with_state || !sealed.is_empty() { process.step() } else { (true, true) };
        if done {
            self.db.end = mark;
            self.db.sealed.extend(sealed);
            self.acked = mark.offset;
        }
        if lived && let Err(e) = writer.publish() {
            assert!(process.stopped(), "{e}");
        }
    }

    fn maintain(&mut self) {
        let Some((process, writer)) = &mut self.writer else { return };
        let any = |random: &mut Random, n| if random.one_in(2) { u64::MAX } else { random.below(n) };
        let policy = Policy {
            keep_age_ms: i64::try_from(self.random.below(8_000_000)).unwrap(),
            keep_size: any(&mut self.random, 2000),
            limit: any(&mut self.random, 2000),
            reserve: self.random.below(1000),
            free_space: any(&mut self.random, 1000),
            now_ms: process.now_ms(),
        };
        let done = writer.maintain(&[self.db.position.offset, u64::MAX], &policy);
        assert!(done.is_ok() || process.stopped(), "{done:?}");
    }

    fn open_reader(&mut self) {
        if self.reader.is_none() {
            let process = self.machine.spawn();
            match TopicReader::open(Arc::new(process.clone()), &self.dir, Start::At(self.db.position)) {
                Ok(reader) => self.reader = Some((process, reader)),
                Err(e) => panic!("the reader cannot open: {e}"),
            }
        }
    }

    fn read(&mut self) {
        let Some((process, mut reader)) = self.reader.take() else { return };
        let max = 1 + self.random.below(300) as usize;
        match reader.read(max) {
            Ok(None) => {}
            Ok(Some(chunk)) => {
                let (from, to) = (chunk.from.offset as usize, chunk.to.offset as usize);
                assert!(
                    chunk.to.offset <= self.acked || self.told_more,
                    "a reader sees {to}, acknowledged is {}",
                    self.acked
                );
                assert_eq!(self.all.get(from..to), Some(chunk.bytes), "other lines");
                assert_eq!((chunk.from, chunk.to), (self.mark(chunk.from.offset), self.mark(chunk.to.offset)));
                self.seen = self.seen.max(chunk.to.offset);
            }
            Err(Error::Beyond { recovered: false, .. }) if self.stale => {}
            Err(e) => assert!(process.stopped(), "{e}"),
        }
        self.reader = Some((process, reader));
    }

    fn commit_position(&mut self) {
        let Some((process, reader)) = &self.reader else { return };
        if process.step().0 {
            self.db.position = reader.mark();
        }
    }

    /// A reader without a claim, from anywhere to the end.
    fn stray_reader(&mut self) {
        if self.writer.as_ref().is_none_or(|(process, _)| process.stopped()) {
            return;
        }
        let fs: Arc<dyn Fs> = Arc::new(self.machine.spawn());
        let start =
            [Start::First, Start::Age(5_000_000), Start::At(Mark::START), Start::Last][self.random.below(4) as usize];
        let mut reader = TopicReader::open(fs, &self.dir, start).unwrap();
        let head = reader.head().unwrap().unwrap().clone();
        assert!(head.end.offset <= self.acked, "head leads the record");
        assert_eq!((head.first, head.end), (self.mark(head.first.offset), self.mark(head.end.offset)));
        loop {
            match reader.read(100) {
                Ok(None) => break,
                Ok(Some(chunk)) => {
                    let (from, to) = (chunk.from.offset as usize, chunk.to.offset as usize);
                    assert_eq!(self.all.get(from..to), Some(chunk.bytes), "other lines");
                    assert_eq!((chunk.from, chunk.to), (self.mark(chunk.from.offset), self.mark(chunk.to.offset)));
                }
                Err(Error::Gone { first }) => reader.seek(first),
                Err(e) => panic!("{e}"),
            }
        }
        assert_eq!(reader.mark(), head.end);
        self.seen = self.seen.max(head.end.offset);
    }

    /// After all crashes: everything acknowledged is read in order, and the chain holds.
    fn finish(&mut self) {
        self.power_cut();
        self.open_writer();
        for _ in 0..3 {
            self.append();
            self.commit();
            self.maintain();
        }
        self.stray_reader();
        self.open_reader();
        while self.reader.as_ref().unwrap().1.mark().offset < self.acked {
            self.read();
        }
        if self.with_records {
            let found = verify(&self.machine.spawn(), &self.dir, &self.db.sealed).unwrap();
            assert_eq!(found.map(|v| v.records), Ok(self.db.sealed.len() as u64));
        }
    }
}

/// Names the history when an assertion fails in it.
struct Say(u64, Option<u64>);

impl Drop for Say {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("history ZENTRAL_CRASH_SEED={} stopped at {:?}", self.0, self.1);
        }
    }
}

/// A history, and every so often the same one stopped at each of its operations. Returns how many were run.
fn histories(seed: u64) -> u64 {
    let ops = history(seed, None, false);
    if !seed.is_multiple_of(SWEEP_EVERY) {
        return 1;
    }
    for op in 1..=ops {
        history(seed, Some(op), false);
    }
    1 + ops
}

#[test]
fn nothing_acknowledged_is_lost() {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().expect("a number"));
    if let Some(seed) = number("ZENTRAL_CRASH_SEED") {
        histories(seed);
        return;
    }
    let want = number("ZENTRAL_CRASH_HISTORIES").unwrap_or(HISTORIES);
    let (mut seed, mut done) = (0, 0);
    while done < want {
        done += histories(seed);
        seed += 1;
    }
    eprintln!("{done} histories, {seed} seeds");
}

#[test]
fn a_disk_that_lies_about_fsync_is_found_out() {
    let failed = (1..=100).filter(|seed| std::panic::catch_unwind(|| history(*seed, None, true)).is_err()).count();
    assert!(failed > 50, "only {failed} of 100 histories noticed");
}

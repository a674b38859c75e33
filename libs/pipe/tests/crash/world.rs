//! A writer and a reader of a topic on one machine, and what they do.

use std::path::Path;
use std::sync::Arc;

use pipe::fs::Fs;
use pipe::topic::sim::{Random, SimFs};
use pipe::topic::{Kept, Mark, Options, Policy, TopicReader, TopicWriter};

use crate::lines::{Counts, Facts};

/// The topic's folder.
pub const DIR: &str = "topics/raw";

pub struct World {
    pub machine: SimFs,
    pub random: Random,
    pub kind: Kind,
    pub facts: Facts,
    pub writer: Option<(SimFs, TopicWriter)>,
    pub reader: Option<(SimFs, TopicReader)>,
    /// Stops since the history's own course.
    pub depth: u32,
    pub counts: Counts,
}

/// What is the same all through a history.
#[derive(Clone, Copy)]
pub struct Kind {
    /// The writer has state; else its fsync is its commit.
    pub with_state: bool,
    /// The owner keeps the records of sealed segments.
    pub with_records: bool,
    pub seal_bytes: u64,
    /// A thread compresses.
    pub pack_beside: bool,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        Self {
            machine: SimFs::new(random.number()),
            kind: Kind {
                with_state: random.one_in(2),
                with_records: !random.one_in(4),
                seal_bytes: 30 + random.below(300),
                pack_beside: random.one_in(4),
            },
            random,
            facts: Facts::default(),
            writer: None,
            reader: None,
            depth: 0,
            counts: Counts::default(),
        }
    }

    /// One thing that happens.
    pub fn act(&mut self) {
        self.open_reader();
        if self.writer.is_none() && !self.random.one_in(3) {
            self.open_writer();
        }
        match self.random.below(17) {
            0..5 => self.append(),
            5..9 => self.commit(),
            9..12 => self.read(),
            12 => self.commit_position(),
            13 | 14 => self.maintain(),
            15 => self.append_in_parts(),
            _ => {
                self.machine.pass(i64::try_from(self.random.below(4_000_000)).unwrap());
                self.stray_reader();
            }
        }
        self.bury();
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

    pub fn power_cut(&mut self) {
        self.machine.crash(self.random.number());
        (self.writer, self.reader, self.facts.stale) = (None, None, true);
    }

    /// Starts the writer: recovery.
    pub fn open_writer(&mut self) {
        let process = self.machine.spawn();
        let kept = if self.kind.with_state { Kept::Recorded(self.facts.db.end) } else { Kept::WholeLines };
        let sealed = if self.kind.with_records { self.facts.db.sealed.clone() } else { Vec::new() };
        let Kind { seal_bytes, pack_beside, .. } = self.kind;
        let options = Options { seal_bytes, seal_age_ms: 3_600_000, sealed, pack_beside };
        let opened = TopicWriter::open(Arc::new(process.clone()), Path::new(DIR), kept, options);
        let told_more = std::mem::replace(&mut self.facts.told_more, !self.kind.with_state);
        self.branch();
        match opened {
            Ok(writer) => {
                self.facts.told_more = told_more;
                self.check_recovered(&writer);
                self.writer = Some((process, writer));
            }
            Err(e) if !process.stopped() => panic!("the writer cannot recover: {e}"),
            Err(_) => {
                if self.random.one_in(2) {
                    self.power_cut()
                } else {
                    process.kill()
                }
            }
        }
    }

    pub fn append(&mut self) {
        let Some((process, writer)) = &mut self.writer else { return };
        let (mut lines, count) = (Vec::new(), 1 + self.random.below(5));
        for _ in 0..count {
            self.facts.serial += 1;
            let n = self.facts.serial;
            match self.random.below(5) {
                0 => lines.extend_from_slice(b"{}\n"),
                1 => {
                    let x = "y".repeat(self.random.below(250) as usize);
                    lines.extend_from_slice(format!("{{\"n\":{n},\"x\":\"{x}\"}}\n").as_bytes());
                }
                _ => lines.extend_from_slice(format!("{{\"n\":{n}}}\n").as_bytes()),
            }
        }
        let before = self.facts.all.len();
        self.facts.all.push(&lines);
        let room = self.random.below(2 * lines.len() as u64);
        let full = self.random.one_in(12);
        self.machine.full_after(full.then_some(room));
        let done = writer.append(&lines, count);
        self.machine.full_after(None);
        let (stopped, usable) = (process.stopped(), writer.append(b"", 0).is_ok());
        self.branch();
        if done.is_ok() || stopped {
            return;
        }
        assert!(full, "{done:?}");
        if usable {
            self.facts.all.truncate(before); // taken back
        } else if let Some((process, _)) = self.writer.take() {
            process.kill(); // half of it could not be taken back: the process ends, recovery decides
        }
    }

    /// Batches that share a commit: what the first gave is durable before the second comes, and nothing of it counts yet.
    fn append_in_parts(&mut self) {
        for _ in 0..1 + self.random.below(3) {
            self.append();
            let Some((process, writer)) = self.writer.as_mut().filter(|w| !w.0.stopped()) else { return };
            let (synced, stopped) = (writer.sync(), process.stopped());
            self.branch();
            assert!(synced.is_ok() || stopped, "{synced:?}");
            if stopped {
                return;
            }
        }
        self.append();
        if self.writer.as_ref().is_some_and(|w| !w.0.stopped()) {
            self.commit();
        }
    }

    /// The commit, in the order of the design.
    pub fn commit(&mut self) {
        let Some((process, mut writer)) = self.writer.take() else { return };
        let synced = writer.sync();
        self.branch();
        if let Ok(mark) = synced {
            self.record(&process, &mut writer, mark);
        } else {
            assert!(process.stopped(), "{synced:?}");
        }
        self.writer = Some((process, writer));
    }

    fn record(&mut self, process: &SimFs, writer: &mut TopicWriter, mark: Mark) {
        assert_eq!(mark.offset, self.facts.all.len());
        if !self.kind.with_state {
            self.facts.acked = mark.offset;
        }
        let sealed = writer.sealed();
        self.counts.sealed += sealed.len() as u64;
        let needed = self.kind.with_state || !sealed.is_empty();
        let (done, lived) = if needed { process.step() } else { (true, true) };
        self.branch();
        if done {
            self.facts.db.end = mark;
            self.facts.db.sealed.extend(sealed);
            self.facts.acked = mark.offset;
        }
        if lived {
            let published = writer.publish();
            self.branch();
            assert!(published.is_ok() || process.stopped(), "{published:?}");
        }
    }

    pub fn maintain(&mut self) {
        self.look_after();
        if self.kind.pack_beside {
            // What a thread has made is put in its place by the next round.
            self.look_after();
        }
    }

    fn look_after(&mut self) {
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
        let done = writer.maintain(&[self.facts.db.position.offset, u64::MAX], &policy);
        assert!(done.is_ok() || process.stopped(), "{done:?}");
        let done = done.unwrap_or_default();
        // What a thread does to the disk comes in one order with all else.
        writer.wait_for_packing();
        self.counts.compressed += u64::from(done.compressed.is_some());
        self.counts.deleted += done.deleted;
        self.branch();
    }
}

//! What must hold after a recovery and at the end.

use std::path::Path;
use std::sync::Arc;

use pipe::fs::Fs;
use pipe::topic::{Mark, Start, TopicReader, TopicWriter, verify};

use crate::world::{DIR, World};

impl World {
    /// What recovery must have done, seen on the disk itself.
    pub fn check_recovered(&mut self, writer: &TopicWriter) {
        self.counts.recoveries += 1;
        let (first, end) = (writer.first(), writer.end());
        let facts = &mut self.facts;
        if self.kind.with_state {
            assert_eq!(end, facts.db.end, "the recorded end");
        }
        let (acked, seen, all) = (facts.acked, facts.seen, facts.all.len());
        assert!(acked <= end.offset && end.offset <= all, "{acked} acknowledged of {all}, {end:?}");
        assert!(seen <= end.offset, "a reader saw {seen} and {} is kept", end.offset);
        facts.all.truncate(end.offset); // fails within a line
        assert_eq!(end, facts.all.mark(end.offset), "lines at the end");
        assert_eq!(first, facts.all.mark(first.offset), "lines at the front");
        assert!(first.offset <= facts.db.position.offset, "deleted before it was read");
        (facts.stale, facts.told_more) = (false, false);
        // What was kept is promised now: readers may see it.
        facts.acked = end.offset;
        self.check_segments(first, end);
        let head = TopicReader::open(Arc::new(self.machine.spawn()), Path::new(DIR), Start::Last).unwrap().mark();
        assert_eq!(head, end, "the head is where the lines end");
    }

    /// The segments hold all lines that are kept, each once, and nothing else.
    fn check_segments(&self, first: Mark, end: Mark) {
        let mut at = first.offset;
        let mut names: Vec<_> =
            self.machine.spawn().list(Path::new(DIR)).unwrap().into_iter().map(|e| e.name).collect();
        names.sort();
        for name in names {
            assert!(!name.ends_with(".tmp"), "{name} is left over");
            let Some((digits, ending)) = name.split_once('.') else { continue };
            let mut data = self.machine.contents(&Path::new(DIR).join(&name)).unwrap();
            if ending == "ndjson.zst" {
                data = zstd::decode_all(data.as_slice()).expect("a whole archive");
            }
            assert_eq!(digits, format!("{at:020}"), "a hole or a double");
            self.facts.all.check(at, &data, &name);
            at += data.len() as u64;
        }
        assert_eq!(at, end.offset, "all lines are on the disk");
    }

    /// The writer goes on, everything acknowledged is read in order, and the chain holds.
    pub fn finish(&mut self) {
        self.append();
        self.commit();
        self.maintain();
        self.stray_reader();
        self.open_reader();
        while self.reader.as_ref().unwrap().1.mark().offset < self.facts.acked {
            self.read();
        }
        // Hashing takes a quarter of the time; the bytes themselves are compared after each recovery.
        if self.kind.with_records && (self.depth == 0 || self.random.one_in(3)) {
            let found = verify(&self.machine.spawn(), Path::new(DIR), &self.facts.db.sealed).unwrap();
            assert_eq!(found.map(|v| v.records), Ok(self.facts.db.sealed.len() as u64));
        }
    }
}

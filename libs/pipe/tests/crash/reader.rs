//! The reader with its recorded position, and one without; neither may see what is not promised.

use std::path::Path;
use std::sync::Arc;

use pipe::fs::Fs;
use pipe::topic::{Error, Mark, Start, TopicReader};

use crate::world::{DIR, World};

impl World {
    /// Starts the reader at its recorded position.
    pub fn open_reader(&mut self) {
        if self.reader.is_none() {
            self.open_reader_at(self.facts.db.position);
        }
    }

    pub fn open_reader_at(&mut self, at: Mark) {
        let process = self.machine.spawn();
        match TopicReader::open(Arc::new(process.clone()), Path::new(DIR), Start::At(at)) {
            Ok(reader) => self.reader = Some((process, reader)),
            Err(e) => panic!("the reader cannot open: {e}"),
        }
    }

    pub fn read(&mut self) {
        let Some((process, reader)) = &mut self.reader else { return };
        let facts = &mut self.facts;
        match reader.read(1 + self.random.below(300) as usize) {
            Ok(None) => {}
            Ok(Some(chunk)) => {
                let (to, acked) = (chunk.to.offset, facts.acked);
                assert!(to <= acked || facts.told_more, "a reader sees {to}, acknowledged is {acked}");
                facts.all.check(chunk.from.offset, chunk.bytes, "a chunk");
                assert_eq!((chunk.from, chunk.to), (facts.all.mark(chunk.from.offset), facts.all.mark(to)));
                facts.seen = facts.seen.max(to);
            }
            Err(Error::Beyond { recovered: false, .. }) if facts.stale => {}
            Err(e) => assert!(process.stopped(), "{e}"),
        }
    }

    pub fn commit_position(&mut self) {
        let Some((process, reader)) = &self.reader else { return };
        let (done, mark) = (process.step().0, reader.mark());
        self.branch();
        if done {
            self.facts.db.position = mark;
        }
    }

    /// A reader without a claim, from anywhere to the end.
    pub fn stray_reader(&mut self) {
        if self.writer.as_ref().is_none_or(|(process, _)| process.stopped()) {
            return;
        }
        let fs: Arc<dyn Fs> = Arc::new(self.machine.spawn());
        let starts = [Start::First, Start::Age(5_000_000), Start::At(Mark::START), Start::Last];
        let mut reader = TopicReader::open(fs, Path::new(DIR), starts[self.random.below(4) as usize]).unwrap();
        let head = reader.head().unwrap().unwrap().clone();
        let facts = &mut self.facts;
        assert!(head.end.offset <= facts.acked, "head leads the record");
        assert_eq!((head.first, head.end), (facts.all.mark(head.first.offset), facts.all.mark(head.end.offset)));
        loop {
            match reader.read(100) {
                Ok(None) => break,
                Ok(Some(chunk)) => {
                    facts.all.check(chunk.from.offset, chunk.bytes, "a chunk");
                    let marks = (facts.all.mark(chunk.from.offset), facts.all.mark(chunk.to.offset));
                    assert_eq!((chunk.from, chunk.to), marks);
                }
                Err(Error::Gone { first }) => reader.seek(first),
                Err(e) => panic!("{e}"),
            }
        }
        assert_eq!(reader.mark(), head.end);
        facts.seen = facts.seen.max(head.end.offset);
    }
}

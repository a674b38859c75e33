//! What the lines of the topic must be, and what was promised of them.

use pipe::topic::{Mark, Sealed};

/// All lines ever appended and not taken back.
#[derive(Default, Clone)]
pub struct Lines {
    bytes: Vec<u8>,
    /// The offset after each line.
    ends: Vec<u64>,
}

impl Lines {
    pub fn push(&mut self, lines: &[u8]) {
        let ends = lines.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i as u64 + 1);
        let before = self.bytes.len() as u64;
        self.ends.extend(ends.map(|end| before + end));
        self.bytes.extend_from_slice(lines);
    }

    pub fn truncate(&mut self, end: u64) {
        let lines = self.mark(end).line;
        self.ends.truncate(lines as usize);
        self.bytes.truncate(end as usize);
    }

    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The place at this offset, which must lie between two lines.
    pub fn mark(&self, offset: u64) -> Mark {
        let line = if offset == 0 { 0 } else { self.ends.binary_search(&offset).expect("within a line") as u64 + 1 };
        Mark { offset, line }
    }

    /// These bytes must be the lines at this offset.
    pub fn check(&self, at: u64, bytes: &[u8], place: &str) {
        assert_eq!(self.bytes.get(at as usize..at as usize + bytes.len()), Some(bytes), "other lines in {place}");
    }
}

/// What the writer's and the reader's transactions have recorded; it cannot be lost.
#[derive(Default, Clone)]
pub struct Recorded {
    pub end: Mark,
    pub sealed: Vec<Sealed>,
    pub position: Mark,
}

/// What is known outside of the disk.
#[derive(Default, Clone)]
pub struct Facts {
    pub db: Recorded,
    pub all: Lines,
    /// Lines ever made.
    pub serial: u64,
    /// Up to here the lines were acknowledged.
    pub acked: u64,
    /// Up to here some reader has seen them.
    pub seen: u64,
    /// The power was cut and the writer has not recovered since.
    pub stale: bool,
    /// A recovery without state was interrupted: it may have told readers of whole lines that nobody had acknowledged.
    pub told_more: bool,
}

/// What was done, to be said at the end.
#[derive(Default, Clone, Copy, Debug)]
pub struct Counts {
    /// Operations of histories, each of which was stopped at.
    pub stops: u64,
    /// Operations of the recoveries after those stops that were stopped at, too.
    pub stops_again: u64,
    /// Recoveries that came to their end and were checked.
    pub recoveries: u64,
    /// Segments, over all branches.
    pub sealed: u64,
    pub compressed: u64,
    pub deleted: u64,
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.stops += other.stops;
        self.stops_again += other.stops_again;
        self.recoveries += other.recoveries;
        self.sealed += other.sealed;
        self.compressed += other.compressed;
        self.deleted += other.deleted;
    }
}

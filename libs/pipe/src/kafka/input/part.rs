//! Where we stand in a partition.

use crate::state::{Held, Position};
use crate::topic::Mark;

/// A partition that is ours to read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Part {
    /// Its mark counts messages: the next one's offset.
    pub(super) position: Position,
    /// Where the state says that we stand; none: it says nothing yet.
    pub(super) recorded: Option<Held>,
    /// How often it was taken over, the last time by us.
    pub(super) taken: u64,
    /// With `--once`: what lies at or behind this is not read.
    pub(super) stop_at: u64,
    pub(super) ended: bool,
}

impl Part {
    pub(super) fn next(&self) -> u64 {
        self.position.mark.offset
    }

    pub(super) fn held(&self) -> Held {
        Held { pos: self.next(), taken: self.taken }
    }

    pub(super) fn move_to(&mut self, offset: u64) {
        self.position.mark = Mark { offset, line: offset };
    }
}

/// Of a reader that starts at this message.
pub(super) fn position(at: u64) -> Position {
    Position { mark: Mark { offset: at, line: at }, start_line: at, ..Position::default() }
}

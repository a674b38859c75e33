//! What all who read a topic have in common.

/// What a partition has where a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// The next message, or it is yet to come.
    Next,
    /// So many messages of it are no longer kept, from there on.
    Gone(u64),
    /// It ends before that: the topic was made anew.
    Anew,
}

/// What is there of `next`, in a partition that begins at `low` and ends at `high`.
pub(super) fn still_kept(next: u64, low: u64, high: u64) -> Kept {
    match next {
        next if next > high => Kept::Anew,
        next if next < low => Kept::Gone(low - next),
        _ => Kept::Next,
    }
}

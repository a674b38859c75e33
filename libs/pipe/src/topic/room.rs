//! Whether there is room for an append: who stops first when the disk fills.

/// Who wants to write. Sources give way first, what must not be lost last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Sources that try again: stop at the reserve.
    Source,
    /// Sources that never try again (Jamf, webhooks): stop at 3/4 of it.
    NoRetry,
    /// Stages between topics: stop at 1/2.
    Between,
    /// act's outcomes, and all state: stop at 1/4.
    Outcome,
}

/// The room a topic has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes the topic takes.
    pub bytes: u64,
    /// Bytes it may take.
    pub limit: u64,
    /// Bytes free on its disk.
    pub free: u64,
    /// Bytes that should stay free.
    pub reserve: u64,
}

impl Room {
    /// Whether a writer of this class may append now.
    pub fn allows(&self, class: Class) -> bool {
        let quarters = match class {
            Class::Source => 4,
            Class::NoRetry => 3,
            Class::Between => 2,
            Class::Outcome => 1,
        };
        let stops_at_limit = matches!(class, Class::Source | Class::Between);
        let space = self.free > self.reserve / 4 * quarters;
        space && !(stops_at_limit && self.bytes >= self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_stop_one_after_the_other() {
        let check = |bytes, free, want: [bool; 4]| {
            let room = Room { bytes, limit: 100, free, reserve: 400 };
            let classes = [Class::Source, Class::NoRetry, Class::Between, Class::Outcome];
            assert_eq!(classes.map(|c| room.allows(c)), want, "{room:?}");
        };
        check(99, 401, [true, true, true, true]);
        check(100, 401, [false, true, false, true]);
        check(0, 400, [false, true, true, true]);
        check(0, 300, [false, false, true, true]);
        check(0, 200, [false, false, false, true]);
        check(0, 100, [false, false, false, false]);
        check(0, 0, [false, false, false, false]);
    }
}

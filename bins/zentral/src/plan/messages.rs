//! Messages by action and day, old and new: of each match that is acted upon one, of a digest one for all that it gathers.

use std::collections::BTreeMap;

use event::Time;

/// Days that are counted one by one: events of a file may be of any day.
const DAYS_MAX: usize = 400;
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// How many, by action. Of a pair the first is of the old configuration, the second of the new one.
#[derive(Debug, Default)]
pub struct Messages {
    /// All of them.
    pub all: Vec<[u64; 2]>,
    /// By UTC day (days since 1970) on which they go out.
    pub days: BTreeMap<i64, Vec<[u64; 2]>>,
    /// For how long an action gathers, in ms, and when what it has gathered goes out.
    digests: Vec<[Option<Gathering>; 2]>,
}

#[derive(Debug, Clone, Copy)]
struct Gathering {
    time: i64,
    due: i64,
}

impl Messages {
    /// Of actions that gather for so long, in ms.
    pub fn new(digests: &[[Option<i64>; 2]]) -> Self {
        let gathering = |time: Option<i64>| time.map(|time| Gathering { time, due: i64::MIN });
        Self {
            all: vec![[0; 2]; digests.len()],
            days: BTreeMap::new(),
            digests: digests.iter().map(|sides| sides.map(gathering)).collect(),
        }
    }

    /// A match that was received then asks for these actions, in the configurations of which it is one.
    pub fn ask(&mut self, acts: &[usize], received: Time, of: [bool; 2]) {
        for act in acts {
            for side in (0..2).filter(|side| of.get(*side) == Some(&true)) {
                let digest = self.digests.get_mut(*act).and_then(|sides| sides.get_mut(side)?.as_mut());
                let at = match digest {
                    None => received.ms(),
                    Some(digest) if received.ms() < digest.due => continue,
                    Some(digest) => {
                        digest.due = received.ms().saturating_add(digest.time);
                        digest.due
                    }
                };
                self.count(*act, side, at.div_euclid(DAY_MS));
            }
        }
    }

    fn count(&mut self, act: usize, side: usize, day: i64) {
        let actions = self.all.len();
        let room = self.days.len() < DAYS_MAX || self.days.contains_key(&day);
        let on_day = room.then(|| self.days.entry(day).or_insert_with(|| vec![[0; 2]; actions]));
        for counts in self.all.get_mut(act).into_iter().chain(on_day.and_then(|day| day.get_mut(act))) {
            if let Some(count) = counts.get_mut(side) {
                *count += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_one_message_on_the_day_on_which_it_goes_out() {
        let mut messages = Messages::new(&[[None, Some(60_000)], [None, None]]);
        for ms in [DAY_MS - 30_000, DAY_MS, DAY_MS + 29_999, DAY_MS + 30_000, DAY_MS + 10, 3 * DAY_MS] {
            messages.ask(&[0], Time::from_ms(ms), [true, true]);
        }
        messages.ask(&[0, 1], Time::from_ms(0), [true, false]);
        assert_eq!(messages.all, [[7, 3], [1, 0]]);
        let days: Vec<_> = messages.days.iter().map(|(day, counts)| (*day, counts.first().copied())).collect();
        assert_eq!(days, [(0, Some([2, 0])), (1, Some([4, 2])), (3, Some([1, 1]))]);
    }
}

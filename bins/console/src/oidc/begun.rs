//! Who is on the way to the provider and back. It is kept in memory: after a restart they begin anew.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::app::held;

/// How long somebody may take at the provider.
pub const HOLDS: Duration = Duration::from_secs(600);
/// People on the way at the same time; the one who has been longest gives way. Each takes some 3 kB at most.
const MAX: usize = 10_000;
/// Of these from one network: nobody pushes out all others.
const OF_NETWORK_MAX: usize = 200;

/// What was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Random; comes back with the person.
    pub state: String,
    /// Random; comes back within the token.
    pub nonce: String,
    /// Random; the provider has seen only its SHA-256 (PKCE).
    pub verifier: String,
    /// The cookie of the browser that began.
    pub visit: String,
    /// Where they go then: a page of ours.
    pub next: String,
    /// The network they come from.
    pub network: String,
    /// When, in ms since 1970.
    pub at: i64,
}

/// All of them, the oldest first.
#[derive(Debug, Default)]
pub struct Waiting(Mutex<VecDeque<(Instant, Begun)>>);

impl Waiting {
    /// One more.
    pub fn add(&self, begun: Begun) {
        let mut all = held(&self.0);
        while all.front().is_some_and(|(at, _)| at.elapsed() > HOLDS) || all.len() >= MAX {
            all.pop_front();
        }
        if all.iter().filter(|(_, one)| one.network == begun.network).count() >= OF_NETWORK_MAX
            && let Some(oldest) = all.iter().position(|(_, one)| one.network == begun.network)
        {
            all.remove(oldest);
        }
        all.push_back((Instant::now(), begun));
    }

    /// What was begun with this state, by this browser and not long ago. It is good for once, whoever brings it.
    pub fn take(&self, state: &str, visit: Option<&str>) -> Option<Begun> {
        let mut all = held(&self.0);
        let place = all.iter().position(|(_, one)| one.state == state)?;
        let (at, begun) = all.remove(place)?;
        (at.elapsed() <= HOLDS && visit == Some(begun.visit.as_str())).then_some(begun)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn begun(n: usize, network: &str) -> Begun {
        let (state, visit, network) = (format!("s{n}"), format!("v{n}"), network.to_owned());
        Begun { state, visit, network, nonce: String::new(), verifier: String::new(), next: "/".into(), at: 0 }
    }

    #[test]
    fn good_for_once_and_for_one_browser() {
        let all = Waiting::default();
        (0..5).for_each(|n| all.add(begun(n, "a")));
        assert_eq!(all.take("s1", Some("v1")), Some(begun(1, "a")));
        assert_eq!(all.take("s1", Some("v1")), None, "it was used");
        assert_eq!(all.take("s2", Some("v1")), None, "another browser");
        assert_eq!(all.take("s2", Some("v2")), None, "whoever brought it first");
        assert_eq!(all.take("s3", None), None);
        assert_eq!(all.take("", Some("")), None);
        held(&all.0).iter_mut().for_each(|(at, _)| *at -= HOLDS + Duration::from_secs(1));
        assert_eq!(all.take("s4", Some("v4")), None, "too late");
    }

    #[test]
    fn no_more_than_there_is_room_for() {
        let all = Waiting::default();
        all.add(begun(0, "b"));
        (1..=OF_NETWORK_MAX + 1).for_each(|n| all.add(begun(n, "a")));
        assert!(all.take("s1", Some("v1")).is_none(), "the oldest of that network");
        assert!(all.take("s2", Some("v2")).is_some() && all.take("s0", Some("v0")).is_some());
        (0..MAX + 10).for_each(|n| all.add(begun(n, &n.to_string())));
        assert_eq!(held(&all.0).len(), MAX);
    }
}

//! What goes wrong for a while is said when it begins, once a minute while it lasts, and when it is over.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// It is said at most so often, whether it lasts or comes and goes.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// A trouble that is met at each try until it is over. Whoever meets it asks whether to say so.
#[derive(Debug, Default)]
pub struct Lasting {
    /// The last time.
    said: Mutex<Option<Instant>>,
    /// It lasts, and that has been said.
    lasts: AtomicBool,
}

impl Lasting {
    /// Nothing is wrong.
    pub const fn new() -> Self {
        Self { said: Mutex::new(None), lasts: AtomicBool::new(false) }
    }

    /// It was met; whether to say so.
    pub fn goes_on(&self) -> bool {
        self.goes_on_at(Instant::now())
    }

    fn goes_on_at(&self, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_some_and(|at| now.saturating_duration_since(at) < SAY_EVERY) {
            return false;
        }
        *said = Some(now);
        self.lasts.store(true, Ordering::Relaxed);
        true
    }

    /// All is well; whether to say that it is over, which is so if it was said to last. Costs nothing to ask.
    pub fn is_over(&self) -> bool {
        self.lasts.load(Ordering::Relaxed) && self.lasts.swap(false, Ordering::Relaxed)
    }

    /// What came of a try, if it did not fail; says the error, or that it is over, where that is to be said.
    pub fn tell<T, E: Display>(&self, what: &str, tried: Result<T, E>) -> Option<T> {
        match &tried {
            Ok(_) if self.is_over() => tracing::info!("{what}: it is well again"),
            Err(error) if self.goes_on() => tracing::warn!("{what}: {error}"),
            _ => {}
        }
        tried.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_when_it_begins_each_minute_while_it_lasts_and_when_it_is_over() {
        let (lasting, begun) = (Lasting::new(), Instant::now());
        assert!(!lasting.is_over(), "it has not begun");
        let said: Vec<u64> =
            (0..180).filter(|second| lasting.goes_on_at(begun + Duration::from_secs(*second))).collect();
        assert_eq!(said, [0, 60, 120]);
        assert!(lasting.is_over());
        assert!(!lasting.is_over(), "that was said");
    }

    #[test]
    fn what_comes_and_goes_is_said_no_more_often() {
        let (lasting, begun) = (Lasting::new(), Instant::now());
        let mut said = (0, 0);
        for second in 0..120 {
            said.0 += usize::from(lasting.goes_on_at(begun + Duration::from_secs(second)));
            said.1 += usize::from(lasting.is_over());
        }
        assert_eq!(said, (2, 2));
    }
}

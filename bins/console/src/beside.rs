//! What pages show and takes as long to read as many pages: all machines of a large fleet, the figures of thousands of
//! probes. It is kept for some seconds and read again beside them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::app::held;

/// How old they may be before they are read again.
const AGAIN: Duration = Duration::from_secs(5);
/// How old they may be to be shown while they are read again.
const STALE: Duration = Duration::from_secs(30);

/// What was read last.
pub struct Beside<T> {
    kept: Mutex<Kept<T>>,
    /// Held by whoever reads: one at a time.
    turn: Mutex<()>,
    /// Somebody reads beside the pages.
    beside: AtomicBool,
}

struct Kept<T> {
    /// When reading began, and what it gave.
    last: Option<(Instant, Arc<T>)>,
    /// How often it was forgotten: what was read across that is not kept.
    forgotten: u64,
}

impl<T> Default for Beside<T> {
    fn default() -> Self {
        let kept = Mutex::new(Kept { last: None, forgotten: 0 });
        Self { kept, turn: Mutex::default(), beside: AtomicBool::default() }
    }
}

impl<T: Send + Sync + 'static> Beside<T> {
    /// As it was 5 s ago at most, or half a minute ago while it is read again. `what` is for the log.
    pub fn known<E: std::fmt::Display>(
        self: &Arc<Self>,
        what: &'static str,
        read: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<Arc<T>, E> {
        let last = held(&self.kept).last.clone();
        let Some((at, known)) = last.filter(|(at, _)| at.elapsed() < STALE) else { return self.read(read) };
        if at.elapsed() >= AGAIN && !self.beside.swap(true, Ordering::AcqRel) {
            let fleet = self.clone();
            std::thread::spawn(move || {
                if let Err(e) = fleet.read(read) {
                    tracing::warn!("{what}: cannot be read again: {e}");
                }
                fleet.beside.store(false, Ordering::Release);
            });
        }
        Ok(known)
    }

    /// What was read is not so any more: somebody changed it by a page, and looks for it on the next.
    pub fn forget(&self) {
        let mut kept = held(&self.kept);
        kept.last = None;
        kept.forgotten += 1;
    }

    fn read<E>(&self, read: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let _turn = held(&self.turn);
        let (last, forgotten) = {
            let kept = held(&self.kept);
            (kept.last.clone(), kept.forgotten)
        };
        // Who had the turn before has read them.
        if let Some((_, known)) = last.filter(|(at, _)| at.elapsed() < AGAIN) {
            return Ok(known);
        }
        let begun = Instant::now();
        let known = Arc::new(read()?);
        let mut kept = held(&self.kept);
        if kept.forgotten == forgotten {
            kept.last = Some((begun, known.clone()));
        }
        Ok(known)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use registry::db::Homes;
    use registry::known::{Known, Unread};

    use super::*;

    fn reader(
        dir: &tempfile::TempDir,
        times: &Arc<AtomicUsize>,
    ) -> impl FnOnce() -> Result<Known, Unread> + Send + use<> {
        let (homes, times) = (Homes::new(dir.path(), None), times.clone());
        move || {
            times.fetch_add(1, Ordering::Relaxed);
            Known::open(&homes, &|_| Vec::new())
        }
    }

    fn age(fleet: &Beside<Known>, by: Duration) {
        let mut kept = held(&fleet.kept);
        let (at, known) = kept.last.take().unwrap();
        kept.last = Some((at.checked_sub(by).unwrap(), known));
    }

    #[test]
    fn they_are_read_once_then_beside_and_anew_when_forgotten() {
        let (dir, times, fleet) = (tempfile::tempdir().unwrap(), Arc::default(), Arc::new(Beside::default()));
        let ask = || fleet.known("machines", reader(&dir, &times)).unwrap();
        let read = |want: usize| {
            let until = Instant::now() + Duration::from_secs(20);
            while times.load(Ordering::Relaxed) < want || fleet.beside.load(Ordering::Acquire) {
                assert!(Instant::now() < until);
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(times.load(Ordering::Relaxed), want);
        };
        let first = ask();
        assert!(Arc::ptr_eq(&first, &ask()), "it is young");
        read(1);
        age(&fleet, AGAIN);
        assert!(Arc::ptr_eq(&first, &ask()), "it is shown while it is read again");
        read(2);
        let second = ask();
        assert!(!Arc::ptr_eq(&first, &second));
        age(&fleet, STALE);
        assert!(!Arc::ptr_eq(&second, &ask()), "it is too old to be shown");
        read(3);
        fleet.forget();
        ask();
        read(4);
    }

    #[test]
    fn what_was_read_across_a_change_is_not_kept() {
        let (dir, times, fleet) = (tempfile::tempdir().unwrap(), Arc::default(), Arc::new(Beside::default()));
        let (inner, changed) = (reader(&dir, &times), fleet.clone());
        fleet
            .known("machines", move || {
                changed.forget();
                inner()
            })
            .unwrap();
        fleet.known("machines", reader(&dir, &times)).unwrap();
        assert_eq!(times.load(Ordering::Relaxed), 2);
    }
}

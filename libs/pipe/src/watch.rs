//! Rings when a topic has new lines, so that a reader that waits need not look at its heads more often than it does.
//!
//! Only a help: where the system tells nothing (no inotify, too many watches) the reader looks every [`PAUSE`] all the same.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::Waker;

/// The longest that a reader rests after work, and how often one without work looks by itself.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);
/// How often folders that are not there yet are looked for, and the end of the reader is noticed.
#[cfg(target_os = "linux")]
const TICK: Duration = Duration::from_secs(1);

/// Watches the folders of topics as long as it lives.
pub(crate) struct Watch(Arc<Worked>);

struct Worked {
    since: Instant,
    /// Until when the reader rests, in µs since then.
    rest: AtomicU64,
}

impl Watch {
    /// `waker` is rung when the head of a topic in one of these folders was replaced.
    pub(crate) fn start(dirs: Vec<PathBuf>, waker: Waker) -> Self {
        let worked = Arc::new(Worked { since: Instant::now(), rest: AtomicU64::new(0) });
        if !dirs.is_empty() {
            let of = Arc::downgrade(&worked);
            // Without a thread there is only no help.
            let _ = std::thread::Builder::new().name("watch".into()).spawn(move || watch(dirs, &waker, &of));
        }
        Self(worked)
    }

    /// The reader has worked, for so long. For as long it is not rung, or every commit of the writer before it would cost
    /// it a commit of its own: a busy machine shares its commits, a quiet one is prompt.
    pub(crate) fn worked(&self, took: Duration) {
        let rest = self.0.since.elapsed() + PAUSE.min(took);
        self.0.rest.store(micros(rest), Ordering::Relaxed);
    }
}

impl Worked {
    fn rests_for(&self) -> Duration {
        Duration::from_micros(self.rest.load(Ordering::Relaxed).saturating_sub(micros(self.since.elapsed())))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(target_os = "linux")]
fn watch(mut missing: Vec<PathBuf>, waker: &Waker, of: &Weak<Worked>) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};

    let Ok(told) = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) else { return };
    let mut events = [0; 4096];
    loop {
        missing.retain(|dir| add_watch(&told, dir, WatchFlags::MOVED_TO | WatchFlags::ONLYDIR).is_err());
        let tick = Timespec::try_from(TICK).ok();
        let _ = poll(&mut [PollFd::new(&told, PollFlags::IN)], tick.as_ref());
        let Some(worked) = of.upgrade() else { return };
        // Which of them it was does not matter, nor how often.
        let mut any = false;
        while rustix::io::read(&told, &mut events).is_ok_and(|n| n > 0) {
            any = true;
        }
        if any {
            std::thread::sleep(worked.rests_for());
            waker.ring();
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn watch(_: Vec<PathBuf>, _: &Waker, _: &Weak<Worked>) {}

#[cfg(test)]
#[cfg(target_os = "linux")]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_head_rings_and_after_work_a_little_later() {
        let dir = tempfile::tempdir().unwrap();
        let late = dir.path().join("later");
        let waker = Waker::default();
        let watch = Watch::start(vec![dir.path().to_owned(), late.clone()], waker.clone());
        let replace = |dir: &std::path::Path| {
            std::fs::write(dir.join("head.tmp"), "x").unwrap();
            std::fs::rename(dir.join("head.tmp"), dir.join("head")).unwrap();
        };
        let rings = |dir: &std::path::Path| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(20) {
                replace(dir);
                if waker.wait(Duration::from_millis(50)) {
                    return true;
                }
            }
            false
        };
        assert!(rings(dir.path()));
        std::fs::create_dir(&late).unwrap();
        assert!(rings(&late), "a folder that came later");
        // Nothing is on its way any more.
        while waker.wait(Duration::from_millis(500)) {}
        for took in [Duration::from_millis(5), Duration::from_secs(60)] {
            let begun = Instant::now();
            watch.worked(took);
            replace(dir.path());
            assert!(waker.wait(Duration::from_secs(20)));
            // Its clock counts whole µs.
            let rest = begun.elapsed() + Duration::from_micros(2);
            assert!(rest >= PAUSE.min(took), "after {took:?} it was rung within {rest:?}");
        }
    }
}

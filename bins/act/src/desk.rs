//! Work that may hang for ever (a share that is away, a lock that another holds), and that nothing ends.
//!
//! So each action has a thread of its own for it, where nobody else waits, and tries no further while its last piece of
//! work has not come back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::actions::Answer;

type Job = Box<dyn FnOnce() + Send>;
/// Of the work under way: whether nobody waits for it any more.
type UnderWay = Arc<Mutex<Option<Arc<AtomicBool>>>>;

/// The thread that works; it ends with the action.
pub struct Desk {
    to: Sender<Job>,
    under_way: UnderWay,
}

/// Why no work was done, or nobody knows whether it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    /// The last piece of work has not come back: nothing was begun.
    Busy,
    /// It broke off.
    Broken,
}

impl From<Away> for Answer {
    fn from(away: Away) -> Self {
        match away {
            Away::Busy => Self::later(None, "the last write has not come back"),
            Away::Broken => Self::unsure("internal fault of the action"),
        }
    }
}

/// Says that nobody waits any more.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Desk {
    /// Starts the thread.
    pub fn start(name: &str) -> std::io::Result<Self> {
        let (to, jobs) = channel::<Job>();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Ok(job) = jobs.recv() {
                job();
            }
        })?;
        Ok(Self { to, under_way: UnderWay::default() })
    }

    /// What the work gives. Work whose turn comes when nobody waits any more is not begun.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Away> {
        let lock = |under_way: &UnderWay| under_way.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if lock(&self.under_way).is_some_and(|gone| gone.load(Ordering::Acquire)) {
            return Err(Away::Busy);
        }
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting(Arc::default());
        let (gone, under_way) = (waiting.0.clone(), self.under_way.clone());
        let job = move || {
            if gone.load(Ordering::Acquire) {
                return;
            }
            *under_way.lock().unwrap_or_else(PoisonError::into_inner) = Some(gone);
            let result = work();
            *under_way.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let _ = answer.send(result);
        };
        // Where the thread is gone, the answer is as well.
        let _ = self.to.send(Box::new(job));
        let result = answered.await.map_err(|_| Away::Broken);
        drop(waiting);
        result
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn work_that_hangs_holds_up_no_other_desk() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let desk = Desk::start("t").unwrap();
            assert_eq!(desk.run(|| 7).await, Ok(7));
            let (free, held) = channel::<()>();
            let hangs = desk.run(move || held.recv().is_ok());
            assert!(tokio::time::timeout(Duration::from_millis(50), hangs).await.is_err());
            assert_eq!(desk.run(|| 8).await, Err(Away::Busy));
            assert_eq!(Desk::start("u").unwrap().run(|| 8).await, Ok(8));
            free.send(()).unwrap();
            let mut again = Err(Away::Busy);
            for _ in 0..1_000 {
                again = desk.run(|| 9).await;
                if again.is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert_eq!(again, Ok(9));
        });
    }
}

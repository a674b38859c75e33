//! Work that may hang for ever (a share that is away, a lock that another holds), and that nothing ends.
//!
//! So each action has a thread of its own for it, where nobody else waits, and tries no further while its last piece of
//! work has not come back.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::actions::Answer;

type Job = Box<dyn FnOnce() + Send>;
/// Of the work under way: how far it is.
type UnderWay = Arc<Mutex<Option<Turn>>>;

/// How far a piece of work is: whether it begins and whether it is given up is decided once, and by one of both.
#[derive(Clone, Default)]
struct Turn(Arc<AtomicU8>);

/// There is none, or it waits for its turn.
const WAITS: u8 = 0;
/// It has begun.
const BEGUN: u8 = 1;
/// Nobody waits for it any more, and it had begun.
const ALONE: u8 = 2;
/// The same, and it never begins.
const NEVER: u8 = 3;

impl Turn {
    fn passes(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::Acquire) == state
    }
}

tokio::task_local! {
    /// The last piece of work that a try wanted to have done.
    static LAST: Mutex<Option<Turn>>;
}

/// What a try gives within its time; the error says whether work of its was begun, if it had any for a desk.
pub async fn within<T>(limit: Duration, trying: impl Future<Output = T>) -> Result<T, bool> {
    let last = async {
        let tried = tokio::time::timeout(limit, trying).await;
        tried.map_err(|_| LAST.with(|last| last.lock().unwrap_or_else(PoisonError::into_inner).take()))
    };
    let given = LAST.scope(Mutex::default(), last).await;
    given.map_err(|turn| turn.is_none_or(|turn| !turn.is(NEVER)))
}

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
struct Waiting(Turn);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.passes(WAITS, NEVER) || self.0.passes(BEGUN, ALONE);
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
        if lock(&self.under_way).is_some_and(|turn| turn.is(ALONE)) {
            return Err(Away::Busy);
        }
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting(Turn::default());
        let (turn, under_way) = (waiting.0.clone(), self.under_way.clone());
        let _ = LAST.try_with(|last| {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn.clone());
        });
        let job = move || {
            if !turn.passes(WAITS, BEGUN) {
                return;
            }
            *under_way.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
            // What breaks off ends neither the thread nor what comes after it.
            let result = catch_unwind(AssertUnwindSafe(work));
            *under_way.lock().unwrap_or_else(PoisonError::into_inner) = None;
            if let Ok(result) = result {
                let _ = answer.send(result);
            }
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
    fn work_that_breaks_off_ends_alone() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let desk = Desk::start("t").unwrap();
            assert_eq!(desk.run(|| unreachable!("on purpose")).await, Err::<(), _>(Away::Broken));
            assert_eq!(desk.run(|| 7).await, Ok(7));
        });
    }

    #[test]
    fn work_whose_turn_never_came_is_known_not_to_be_done() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let desk = Desk::start("t").unwrap();
            let (free, held) = channel::<()>();
            let (soon, late) = (Duration::from_millis(50), Duration::from_secs(60));
            let first = within(late, desk.run(move || held.recv().is_ok()));
            let second = async {
                let given_up = within(soon, desk.run(|| unreachable!("it was given up"))).await;
                free.send(()).unwrap();
                given_up
            };
            assert_eq!(tokio::join!(first, second), (Ok(Ok(true)), Err::<Result<(), _>, _>(false)));
            let (_free, held) = channel::<()>();
            assert_eq!(within(soon, desk.run(move || held.recv().is_ok())).await, Err(true));
            assert_eq!(within(soon, std::future::pending::<()>()).await, Err(true), "work of another kind");
        });
    }

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

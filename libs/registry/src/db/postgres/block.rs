//! From a thread that waits to the runtime on which connections live.
//!
//! A blocking face over the asynchronous driver that may be called from any thread, even from one that runs tasks: the
//! connection is driven by a thread of its own, the caller sleeps until it is woken.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use super::DbError;

/// The runtime of all connections of this process, made when the first is opened.
pub(super) fn handle() -> Result<&'static Handle, DbError> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let make = || {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("postgres").enable_all().build();
        runtime.map_err(|e| format!("cannot start a thread: {e}"))
    };
    RUNTIME.get_or_init(make).as_ref().map(Runtime::handle).map_err(|e| DbError::Other(e.clone()))
}

struct Sleeper(Thread);

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for an answer of the server, no longer than `limit`.
pub(super) fn wait<T>(limit: Duration, answer: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    let _runtime = handle()?.enter();
    let mut answer = pin!(tokio::time::timeout(limit, answer));
    let waker = Waker::from(Arc::new(Sleeper(std::thread::current())));
    loop {
        match answer.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(Ok(answer)) => return answer,
            Poll::Ready(Err(_)) => {
                return Err(DbError::Unreachable(format!("the server gave no answer within {} s", limit.as_secs())));
            }
            Poll::Pending => std::thread::park(),
        }
    }
}

//! Filters run on a thread with a big stack: evaluation and the freeing of what it built recurse.
//!
//! The address space is reserved, not used: a filter that needs 100 KiB of stack costs 100 KiB.

use std::cell::Cell;
use std::panic::resume_unwind;
use std::thread;

/// Bytes of stack, virtual, of a thread made by [`with_stack`].
pub const STACK: usize = 256 << 20;
/// How much of it evaluation may use at most; the rest is for dropping deep iterators and contexts.
const EVALUATION: usize = STACK / 4;

thread_local! {
    // Address at the entry of `with_stack`, 0 elsewhere.
    static TOP: Cell<usize> = const { Cell::new(0) };
}

/// An address within the caller's frame.
#[inline]
pub(crate) fn here() -> usize {
    let mark = 0u8;
    std::hint::black_box(&raw const mark) as usize
}

/// Does this thread have the big stack?
pub(crate) fn is_big() -> bool {
    TOP.get() != 0
}

/// The lowest address that evaluation may reach, given that it may use `depth` bytes from here.
pub(crate) fn floor(depth: usize) -> usize {
    here().saturating_sub(depth).max(TOP.get().saturating_sub(EVALUATION))
}

/// Runs `work` on a thread with a stack of [`STACK`] bytes, or right here if this thread has one already.
///
/// A panic of `work` goes on in the caller.
///
/// # Errors
/// The thread could not be started (address space, number of threads).
pub fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    if is_big() {
        return Ok(work());
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("filter".into()).stack_size(STACK).spawn_scoped(scope, || {
            TOP.set(here());
            work()
        })?;
        Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

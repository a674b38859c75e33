//! A counting allocator: how many bytes this thread has allocated and not freed.
//!
//! A binary that runs filters installs it, so that the limit on bytes holds:
//! `#[global_allocator] static ALLOC: probe::alloc::Counting = probe::alloc::Counting;`.
//! Without it [`live`] stays 0 and only the checks before big allocations (string repetition, `explode` …) work.
#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait; the proof stands at the implementation")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with a counter per thread.
pub struct Counting;

thread_local! {
    // Const and without a destructor: reading it never allocates and works while a thread ends.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

/// Bytes allocated minus bytes freed by this thread; negative where it frees what another one allocated.
#[inline]
pub fn live() -> isize {
    LIVE.with(Cell::get)
}

#[inline]
fn count(bytes: isize) {
    // A wrapped counter would only make the limit wrong, never memory unsound; the allocator must not panic.
    LIVE.with(|live| live.set(live.get().wrapping_add(bytes)));
}

#[inline]
fn size(bytes: usize) -> isize {
    // `Layout` promises at most isize::MAX bytes.
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

// SAFETY: every method hands its arguments unchanged to `System`, which fulfils the contract of `GlobalAlloc`, and
// returns what `System` returned. Besides that only a thread-local integer changes; that neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(size(layout.size()));
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(size(layout.size()));
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-size(layout.size()));
        // SAFETY: `at` came from `System`, because all our allocations do, with this layout by the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new: usize) -> *mut u8 {
        count(size(new).wrapping_sub(size(layout.size())));
        // SAFETY: as for `dealloc`; the caller promises that `new` is valid for the layout's alignment.
        unsafe { System.realloc(at, layout, new) }
    }
}

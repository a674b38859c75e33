//! Who compresses: the thread that appends, step by step between commits, or one beside it, which is told to give way.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::Error;
use super::pack::{Packed, Packing};

/// How much of the processor a thread beside leaves to others, as `nice` counts.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// A segment being compressed.
pub(super) enum Packer {
    /// By whoever calls.
    Here(Box<Packing>),
    /// By a thread of its own.
    Beside(Beside),
}

/// The thread.
pub(super) struct Beside {
    first: u64,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Option<Packed>, Error>>>,
}

impl Packer {
    /// Begins with a segment; `beside`: on a thread, if there can be one.
    pub fn new(packing: Packing, dir: &Path, beside: bool) -> Self {
        let first = packing.first();
        if !beside {
            return Self::Here(Box::new(packing));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let (told, dir) = (stop.clone(), dir.to_path_buf());
        let thread = std::thread::Builder::new().name("pack".into()).spawn(move || pack(packing, &dir, &told));
        Self::Beside(Beside { first, stop, thread: thread.ok() })
    }

    /// The segment's first offset.
    pub fn first(&self) -> u64 {
        match self {
            Self::Here(packing) => packing.first(),
            Self::Beside(beside) => beside.first,
        }
    }

    /// Whether a thread is at it.
    pub fn is_under_way_beside(&self) -> bool {
        matches!(self, Self::Beside(beside) if !beside.ended())
    }

    /// Tells it to stop; whether it may be dropped without waiting.
    pub fn stop(&self) -> bool {
        match self {
            Self::Here(_) => true,
            Self::Beside(beside) => {
                beside.stop.store(true, Ordering::Relaxed);
                beside.ended()
            }
        }
    }

    /// Goes on, or looks how far the thread is; the segment, once it is compressed and durable.
    pub fn step(self, dir: &Path) -> Result<Step, Error> {
        match self {
            Self::Here(mut packing) => {
                if packing.step(dir)? {
                    packing.seal(dir).map(Step::Done)
                } else {
                    Ok(Step::Under(Self::Here(packing)))
                }
            }
            Self::Beside(mut beside) => {
                if !beside.ended() {
                    return Ok(Step::Under(Self::Beside(beside)));
                }
                let ended = beside.thread.take().and_then(|thread| thread.join().ok());
                match ended {
                    Some(packed) => Ok(packed?.map_or(Step::Stopped, Step::Done)),
                    None => Ok(Step::Lost),
                }
            }
        }
    }
}

/// How far a packer is.
pub(super) enum Step {
    /// It goes on.
    Under(Packer),
    /// The segment is compressed.
    Done(Packed),
    /// It was told to.
    Stopped,
    /// There is no thread to be had, or it ended without a word.
    Lost,
}

impl Beside {
    fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Beside {
    /// Waits until it no longer writes: the next one uses the same file.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn pack(mut packing: Packing, dir: &Path, stop: &AtomicBool) -> Result<Option<Packed>, Error> {
    // Of the thread alone; elsewhere it is the whole process that would give way.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICE);
    while !packing.step(dir)? {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
    }
    packing.seal(dir).map(Some)
}

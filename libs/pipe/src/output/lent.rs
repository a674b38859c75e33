//! A topic lent to a thread that appends to it, while the stage goes on with the lines that come next.

use std::thread::JoinHandle;

use super::TopicOutput;
use crate::StageError;

/// A topic that is being appended to. Whoever drops it waits for the thread.
pub(crate) struct Lent(Option<JoinHandle<Back>>);

/// What comes back: the topic, the lines' memory, and whether they were appended.
pub(crate) struct Back {
    pub(crate) topic: Box<TopicOutput>,
    pub(crate) memory: Vec<u8>,
    pub(crate) done: Result<(), StageError>,
}

impl Lent {
    /// Appends `count` whole lines, and has the disk begin with them: the sync at the commit then waits for the last few.
    pub(crate) fn new(mut topic: Box<TopicOutput>, mut lines: Vec<u8>, count: u64) -> Result<Self, StageError> {
        let append = move || {
            let done = topic.append(&lines, count).and_then(|()| topic.sync().map(|_| ()));
            lines.clear();
            Back { topic, memory: lines, done }
        };
        let thread = std::thread::Builder::new().name("append".into()).spawn(append);
        // The topic is gone with the thread that there is not: the process ends, as after any write that failed.
        thread.map(|thread| Self(Some(thread))).map_err(|e| StageError::state(format!("cannot start a thread: {e}")))
    }

    /// Waits for it.
    pub(crate) fn back(mut self) -> Result<Back, StageError> {
        let ended = self.0.take().and_then(|thread| thread.join().ok());
        ended.ok_or_else(|| StageError::state("the thread that appends has ended"))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            let _ = thread.join();
        }
    }
}

//! Filters run on a thread with a big stack: one for all inputs of a target, as making one takes far longer than a run,
//! above all with a sanitizer.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use probe::with_stack;

/// Where its inputs go, and who says that one is done.
type Worker = (Sender<Vec<u8>>, Receiver<()>);

/// The thread of a target, which does `work` with each input.
pub struct BigStack {
    worker: Mutex<Option<Worker>>,
    work: fn(&[u8]),
}

impl BigStack {
    pub const fn new(work: fn(&[u8])) -> Self {
        Self { worker: Mutex::new(None), work }
    }

    /// Returns when the work with this input is done; panics if it did.
    pub fn run(&self, data: &[u8]) {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let (inputs, done) = worker.take().unwrap_or_else(|| self.start());
        inputs.send(data.to_vec()).expect("the thread waits for inputs");
        // It does not answer if a check failed: then the next input gets a new one.
        done.recv().expect("a finding (its message stands above)");
        *worker = Some((inputs, done));
    }

    fn start(&self) -> (Sender<Vec<u8>>, Receiver<()>) {
        let ((inputs, inbox), (tell, done)) = (channel::<Vec<u8>>(), channel());
        let work = self.work;
        std::thread::spawn(move || {
            with_stack(|| {
                for data in inbox {
                    work(&data);
                    if tell.send(()).is_err() {
                        break;
                    }
                }
            })
        });
        (inputs, done)
    }
}

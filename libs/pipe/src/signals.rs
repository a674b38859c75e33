//! Stop and reload: SIGTERM and SIGINT, SIGHUP, and the end of the supervisor's pipe.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals as Incoming;

use crate::config::DRAIN;
use crate::exit::Exit;
use crate::notify;
use crate::wake::Waker;

/// What was asked of this process so far.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    /// The process ends with whoever was asked: it is not one of several in it.
    whole: bool,
    /// Rung at each signal.
    pub waker: Waker,
}

impl Signals {
    /// Listens to SIGTERM and SIGINT (stop), SIGHUP (reload). A second stop, or 20 s after the first, ends the process
    /// at once: what is not committed then is read again at the next start.
    pub fn listen() -> std::io::Result<Self> {
        let signals = Self { whole: true, ..Self::default() };
        let mut incoming = Incoming::new([SIGTERM, SIGINT, SIGHUP])?;
        let seen = signals.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in incoming.forever() {
                if signal == SIGHUP {
                    seen.reload();
                } else if seen.stopping() {
                    end_now();
                } else {
                    seen.stop();
                }
            }
        })?;
        Ok(signals)
    }

    /// Stops when stdin ends: under `up` it is a pipe whose other end the supervisor holds.
    pub fn follow_stdin(&self) -> std::io::Result<()> {
        let signals = self.clone();
        std::thread::Builder::new().name("parent".into()).spawn(move || {
            let mut byte = [0u8; 64];
            while matches!(std::io::stdin().read(&mut byte), Ok(n) if n > 0) {}
            if !signals.stopping() {
                tracing::debug!("asked to finish by the end of stdin");
            }
            signals.stop();
        })?;
        Ok(())
    }

    /// Asks for the end: finish, commit, exit; with a deadline where it is that of the process.
    pub fn stop(&self) {
        if self.stop.swap(true, Ordering::AcqRel) {
            return;
        }
        self.waker.ring();
        if !self.whole {
            return;
        }
        notify::stopping();
        let _ = std::thread::Builder::new().name("deadline".into()).spawn(|| {
            std::thread::sleep(DRAIN);
            tracing::warn!("not finished within {} s: ending now", DRAIN.as_secs());
            end_now();
        });
    }

    /// Asks for a reload.
    pub(crate) fn reload(&self) {
        self.reload.store(true, Ordering::Release);
        self.waker.ring();
    }

    /// Whether the end was asked for.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Whether a reload was asked for since the last question.
    pub fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::AcqRel)
    }
}

#[expect(clippy::exit, reason = "the second signal and the deadline end the process wherever it is")]
fn end_now() -> ! {
    std::process::exit(Exit::Done as i32)
}

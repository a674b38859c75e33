//! Signals of the supervisor as events of its loop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::supervisor::Event;

/// Tells the end of stdin as an order to stop; the flag says that it came.
pub fn follow_stdin(to: Sender<Event>) -> io::Result<Arc<AtomicBool>> {
    let ended = Arc::new(AtomicBool::new(false));
    let seen = ended.clone();
    std::thread::Builder::new().name("parent".into()).spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        seen.store(true, Ordering::Release);
        let _ = to.send(Event::Stop);
    })?;
    Ok(ended)
}

/// Listens from now on.
pub fn listen(to: Sender<Event>) -> io::Result<()> {
    let mut incoming = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGCHLD])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in incoming.forever() {
            let event = match signal {
                SIGCHLD => Event::ChildEnded,
                SIGHUP => Event::Reload,
                _ => Event::Stop,
            };
            if to.send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

//! Signals of the supervisor as events of its loop.

use std::io;
use std::sync::mpsc::Sender;

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::supervisor::Event;

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

//! Looks every second, and when asked, whether the files of the configuration have changed; nobody else does.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use pipe::config::render;

use super::doubts::Doubts;
use super::source::{Loaded, Source, Stamp};
use super::supervisor::Event;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Files must rest so long before they are read: an editor may be half way through.
const SETTLE: Duration = Duration::from_millis(200);
/// How often files are read at most until they rest.
const SETTLE_TRIES: usize = 25;
/// While the files are broken they are read again so often: what is missing may lie where nobody looks.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// Starts looking. `broken` is what was said of the files at start, if they were broken. Whoever sends asks for a look.
pub fn start(source: Source, loaded: Loaded, broken: Option<String>, events: Sender<Event>) -> io::Result<Sender<()>> {
    let (ask, asked) = channel();
    let stamp = source.stamp(&loaded);
    let doubts = Doubts::of(loaded.config.data.clone());
    let watch = Watch { source, loaded, stamp, broken, read: Instant::now(), events, doubts };
    std::thread::Builder::new().name("watch".into()).spawn(move || watch.run(&asked))?;
    Ok(ask)
}

struct Watch {
    source: Source,
    /// The last configuration that was right.
    loaded: Loaded,
    stamp: Stamp,
    /// What was last said about broken files.
    broken: Option<String>,
    read: Instant,
    events: Sender<Event>,
    doubts: Doubts,
}

impl Watch {
    fn run(mut self, asked: &Receiver<()>) {
        loop {
            let asked = match asked.recv_timeout(LOOK_EVERY) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.doubts.look();
            let changed = self.source.stamp(&self.loaded) != self.stamp;
            let again = self.broken.is_some() && self.read.elapsed() >= RETRY_EVERY;
            if !(asked || changed || again) {
                continue;
            }
            let found = self.read_at_rest(changed);
            self.read = Instant::now();
            match found {
                Ok(loaded) => {
                    let was_broken = self.broken.take().is_some();
                    self.loaded = loaded;
                    let event =
                        Event::Config { loaded: Box::new(self.loaded.clone()), asked, changed: changed || was_broken };
                    if self.events.send(event).is_err() {
                        return;
                    }
                }
                Err(text) => {
                    if asked || self.broken.as_ref() != Some(&text) {
                        tracing::error!("not reloaded, the last good configuration goes on:\n{text}");
                    }
                    self.broken = Some(text.clone());
                    if self.events.send(Event::Refused(text)).is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Reads the files when they do not change any more.
    fn read_at_rest(&mut self, changed: bool) -> Result<Loaded, String> {
        let mut found = Err(String::new());
        for _ in 0..SETTLE_TRIES {
            if changed {
                std::thread::sleep(SETTLE);
            }
            self.stamp = self.source.stamp(&self.loaded);
            found = self.source.load().map_err(|findings| render(&findings));
            let known = found.as_ref().unwrap_or(&self.loaded);
            let after = self.source.stamp(known);
            let rests = after == self.stamp;
            self.stamp = after;
            if rests {
                break;
            }
            if let Ok(loaded) = &found {
                // Other files by now: read once more, knowing all of them.
                self.loaded = loaded.clone();
            }
        }
        found
    }
}

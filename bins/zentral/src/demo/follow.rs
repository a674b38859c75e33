//! Follows the topic of matches and shows each of them as it comes.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use event::Event;
use pipe::fs::RealFs;
use pipe::topic::{Error, Start, TopicReader};
use serde_json::Value;

use super::screen::{self, DIM, Screen};

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;
/// How often it looks for more.
const POLL: Duration = Duration::from_millis(50);

/// The matches so far.
#[derive(Debug, Default)]
pub struct Matches {
    seen: HashSet<(String, String)>,
    /// Distinct matches of each probe.
    pub probes: BTreeMap<String, usize>,
    /// Deliveries of distinct matches, by action.
    pub deliveries: BTreeMap<String, usize>,
    /// Matches that came again with the same id: an agent's retry.
    pub again: usize,
    /// Why the topic cannot be read, once it cannot.
    pub failed: Option<String>,
}

impl Matches {
    /// Distinct ones.
    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// Notes what a line says; the lines to show for it.
    fn take(&mut self, event: &Event, screen: &Screen) -> Vec<String> {
        let mut lines = Vec::new();
        for probe in &event.probes {
            if !self.seen.insert((event.id.clone(), probe.name.clone())) {
                self.again += 1;
                continue;
            }
            *self.probes.entry(probe.name.clone()).or_default() += 1;
            for action in &probe.act {
                *self.deliveries.entry(action.clone()).or_default() += 1;
            }
            let context = probe.context.as_ref().and_then(|c| serde_json::from_str::<Value>(c.get()).ok());
            let title = context.as_ref().and_then(|c| c.get("title")?.as_str()).unwrap_or(&probe.name);
            let machine = event.machine.as_ref();
            let host = machine.and_then(|m| m.hostname.as_deref().or_else(|| m.key())).unwrap_or("-");
            lines.push(format!(
                "{} {} {} {}",
                screen.paint(screen::severity(&probe.severity), &format!("{:<8}", probe.severity)),
                screen.paint(DIM, &format!("{:<24}", probe.name)),
                screen.paint(DIM, &format!("{host:<13}")),
                screen.paint(screen::PLAIN, title),
            ));
        }
        lines
    }
}

/// The follower's thread.
pub struct Follower {
    matches: Arc<Mutex<Matches>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Begins at the first line of the topic, which need not be there yet.
    pub fn start(topic: PathBuf, screen: Screen) -> Result<Self, String> {
        let (matches, stop) = (Arc::<Mutex<Matches>>::default(), Arc::<AtomicBool>::default());
        let (to, stopping) = (matches.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("follow".into())
            .spawn(move || {
                if let Err(e) = follow(&topic, &to, &screen, &stopping) {
                    to.lock().unwrap_or_else(PoisonError::into_inner).failed = Some(e.to_string());
                }
            })
            .map_err(|e| format!("cannot start a thread: {e}"))?;
        Ok(Self { matches, stop, thread: Some(thread) })
    }

    /// Looks at the matches so far.
    pub fn with<T>(&self, look: impl FnOnce(&Matches) -> T) -> T {
        look(&self.matches.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn follow(topic: &std::path::Path, to: &Mutex<Matches>, screen: &Screen, stop: &AtomicBool) -> Result<(), Error> {
    let mut reader: Option<TopicReader> = None;
    while !stop.load(Ordering::Relaxed) {
        let open = match &mut reader {
            Some(open) => open,
            None => match TopicReader::open(RealFs::shared(), topic, Start::First) {
                Ok(open) => reader.insert(open),
                Err(Error::NotReady(_)) => {
                    std::thread::sleep(POLL);
                    continue;
                }
                Err(e) => return Err(e),
            },
        };
        match open.read(CHUNK) {
            Ok(Some(chunk)) => {
                let events = chunk.bytes.split(|b| *b == b'\n').filter_map(|line| Event::parse(line).ok());
                for event in events {
                    let lines = to.lock().unwrap_or_else(PoisonError::into_inner).take(&event, screen);
                    lines.iter().for_each(|line| screen.line(line));
                }
            }
            Ok(None) | Err(Error::NotReady(_)) => std::thread::sleep(POLL),
            // A writer that was killed has not put its end right yet.
            Err(Error::Beyond { recovered: false, .. }) => std::thread::sleep(POLL),
            Err(Error::Gone { first }) => open.seek(first),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

//! Where the events come from: the topics that filters wrote, or a file of recorded events; cut into blocks.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use event::{Mistaken, Time, json};
use pipe::config::{Config, Place};
use pipe::{StageError, Window};

use crate::progress::Progress;
use crate::replay::events::{Seen, Word, as_read};
use crate::replay::missing;
use crate::up::next_line;

/// Bytes of events that are handed on together.
const BLOCK: usize = 512 << 10;

/// Events in the order in which the filter read them.
#[derive(Debug, Default)]
pub struct Block {
    text: Vec<u8>,
    lines: Vec<(usize, usize, Time)>,
    /// What the filter said, each with the number of events of this block before it.
    pub words: Vec<(usize, Word)>,
    /// Another filter's events begin: what it had switched off before them.
    pub fresh: Option<Arc<[filter::Off]>>,
}

impl Block {
    /// How many events there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// An event and when it was received.
    pub fn line(&self, i: usize) -> (&[u8], Time) {
        let (from, to, received) = self.lines.get(i).copied().unwrap_or_default();
        (self.text.get(from..to).unwrap_or_default(), received)
    }

    /// Adds the event that a canonical line holds, if it was received in time.
    fn add(&mut self, line: &[u8], within: impl Fn(Time) -> bool) -> Result<(), json::JsonError> {
        let from = self.text.len();
        match as_read(line, &mut self.text) {
            Ok(Seen::Event(received)) if within(received) => self.lines.push((from, self.text.len(), received)),
            Ok(Seen::Event(_)) => self.text.truncate(from),
            Ok(Seen::Word(word)) => self.words.push((self.lines.len(), word)),
            Err(e) => {
                self.text.truncate(from);
                return Err(e);
            }
        }
        Ok(())
    }
}

/// A topic of events that a filter wrote.
pub struct Kept {
    /// Where it lies.
    pub place: Place,
    /// What its filter had switched off before the first event.
    pub before: Arc<[filter::Off]>,
}

/// What was read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Read {
    /// Events.
    pub events: u64,
    /// Lines that are no events.
    pub refused: u64,
    /// The earliest and the latest time at which one of them was received.
    pub span: Option<(Time, Time)>,
}

/// Hands blocks on; `give` says whether anybody still wants them.
struct Blocks<'g> {
    block: Block,
    read: Read,
    give: &'g mut dyn FnMut(Arc<Block>) -> bool,
}

impl Blocks<'_> {
    /// False: nobody wants more.
    fn flush(&mut self) -> bool {
        let block = std::mem::take(&mut self.block);
        if block.lines.is_empty() && block.words.is_empty() && block.fresh.is_none() {
            return true;
        }
        self.read.events += block.len() as u64;
        for (_, _, received) in &block.lines {
            let (first, last) = self.read.span.get_or_insert((*received, *received));
            (*first, *last) = ((*first).min(*received), (*last).max(*received));
        }
        (self.give)(Arc::new(block))
    }

    fn is_full(&self) -> bool {
        self.block.text.len() >= BLOCK
    }

    fn refuse(&mut self, place: &str, why: &str) {
        self.read.refused += 1;
        tracing::error!("{place}: {why}");
    }
}

/// The events of the topics that were received from `since` to `until`.
pub fn topics(
    config: &Config,
    kept: &[Kept],
    since: Option<Time>,
    until: Option<Time>,
    give: &mut dyn FnMut(Arc<Block>) -> bool,
) -> Result<Read, StageError> {
    let mut windows = Vec::new();
    for kept in kept {
        let window = Window::open(config, &kept.place, since, until, false)?;
        windows.push(window.ok_or_else(|| missing(config, &kept.place))?);
    }
    let mut progress = Progress::new(Some(windows.iter().map(Window::total).sum()), true);
    let mut blocks = Blocks { block: Block::default(), read: Read::default(), give };
    let mut before = 0;
    for (kept, mut window) in kept.iter().zip(windows) {
        blocks.block.fresh = Some(kept.before.clone());
        while let Some(lines) = window.read()? {
            for line in lines.bytes.split_inclusive(|b| *b == b'\n') {
                if let Err(e) = blocks.block.add(line.trim_ascii_end(), |_| true) {
                    blocks.refuse(&kept.place.to_string(), &e.to_string());
                }
                if blocks.is_full() && !blocks.flush() {
                    return Ok(blocks.read);
                }
            }
            progress.at(before + window.done());
        }
        if !blocks.flush() {
            break;
        }
        before += window.total();
    }
    Ok(blocks.read)
}

/// The events of a file, `-` for stdin. Its lines are nobody's promise: they are checked as `filter` checks them.
pub fn file(
    path: &Path,
    since: Option<Time>,
    until: Option<Time>,
    give: &mut dyn FnMut(Arc<Block>) -> bool,
) -> Result<Read, StageError> {
    let fail = |e: io::Error| StageError::usage(format!("{}: {e}", path.display()));
    let (mut from, total): (Box<dyn BufRead>, Option<u64>) = if path.as_os_str() == "-" {
        (Box::new(BufReader::with_capacity(BLOCK, io::stdin())), None)
    } else {
        let file = File::open(path).map_err(fail)?;
        let meta = file.metadata().map_err(fail)?;
        (Box::new(BufReader::with_capacity(BLOCK, file)), meta.is_file().then_some(meta.len()))
    };
    let name = if path.as_os_str() == "-" { "FILE".to_owned() } else { path.display().to_string() };
    let mut progress = Progress::new(total, true);
    let mut blocks = Blocks { block: Block::default(), read: Read::default(), give };
    blocks.block.fresh = Some(Arc::new([]));
    let within = |received| since.is_none_or(|since| received >= since) && until.is_none_or(|until| received <= until);
    let (mut line, mut canonical, mut number, mut done) = (Vec::new(), Vec::new(), 0u64, 0u64);
    while let Some(whole) = next_line(&mut from, &mut line).map_err(fail)? {
        number += 1;
        done += line.len() as u64;
        let text = line.trim_ascii();
        let added = match (whole, text.is_empty()) {
            (false, _) => Err("the line is too long".to_owned()),
            (true, true) => Ok(()),
            (true, false) => {
                canonical.clear();
                let read = json::canonical(text, &mut canonical).map_err(|e| e.to_string());
                read.and_then(|()| event(&canonical, &name))
                    .and_then(|()| blocks.block.add(&canonical, within).map_err(|e| e.to_string()))
            }
        };
        if let Err(why) = added {
            let place = format!("{} line {number}", path.display());
            // The first line tells of what kind all of them are.
            if number == 1 && Mistaken::of(text).is_some() {
                return Err(StageError::usage(format!("{place}: {why}")));
            }
            blocks.refuse(&place, &why);
        }
        if blocks.is_full() {
            progress.at(done);
            if !blocks.flush() {
                return Ok(blocks.read);
            }
        }
    }
    blocks.flush();
    Ok(blocks.read)
}

/// There are other lines with objects, but no filter has ever seen one.
fn event(line: &[u8], file: &str) -> Result<(), String> {
    if !line.starts_with(b"{") {
        return Err("no JSON object".to_owned());
    }
    Mistaken::of(line).map_or(Ok(()), |what| Err(what.advice(file)))
}

//! What a topic holds of a time: the lines that were received within it, in order.
//!
//! The end of the topic is the one at the start: whoever reads a window of a topic that is being written comes to an end.
//! Segments that were last written well before the window are not opened.

use std::path::Path;
use std::sync::Arc;

use event::{Time, received};

use super::{Error, Mark, SEAL_BYTES, Start, TopicReader, segment};
use crate::fs::Fs;

/// Bytes read at a time.
const CHUNK: usize = 512 << 10;
/// After so many bytes received later than the window, the rest is too: what different stages write to one topic may
/// stand a little out of order, but hardly by a whole segment.
const LATER_MAX: u64 = SEAL_BYTES;

/// Reads the lines of a window; takes no lock and leaves no trace.
pub struct Window {
    reader: TopicReader,
    since: Option<Time>,
    until: Option<Time>,
    /// Offsets where the reading began and where it ends.
    from: u64,
    to: u64,
    /// Bytes since the last line that was not too late.
    later: u64,
    lines: Vec<u8>,
}

impl Window {
    /// Lines received from `since` to `until`, both included; all of them where nothing is said.
    ///
    /// # Errors
    /// As [`TopicReader::open`].
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, since: Option<Time>, until: Option<Time>) -> Result<Self, Error> {
        let mut reader = TopicReader::open(fs.clone(), dir, Start::First)?;
        let head = reader.head()?.cloned();
        let to = head.as_ref().map_or(0, |head| head.end.offset);
        if let (Some(since), Some(head)) = (since, head) {
            let files = segment::list(fs.as_ref(), dir)?;
            let young = segment::since(&files, head.first.offset, since.ms());
            // Nobody asks for the numbers of lines here, and to count them would be to read them.
            reader.seek(Mark { offset: young.map_or(to, |first| first.min(to)), line: 0 });
        }
        let from = reader.mark().offset;
        Ok(Self { reader, since, until, from, to, later: 0, lines: Vec::new() })
    }

    /// The next lines of the window, each with its newline; `None` at its end. Lines that are damaged or no longer kept
    /// are passed over with a word in the log.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn read(&mut self) -> Result<Option<&[u8]>, Error> {
        self.lines.clear();
        while self.lines.is_empty() {
            let left = self.to.saturating_sub(self.reader.mark().offset);
            if left == 0 {
                return Ok(None);
            }
            if self.later > LATER_MAX {
                let text = "lines in a row came after the time that was asked for";
                tracing::warn!(
                    "{} MiB of {text}; the {left} bytes behind them were not looked through",
                    LATER_MAX >> 20
                );
                // Once is enough.
                self.to = self.reader.mark().offset;
                return Ok(None);
            }
            match self.reader.read(usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK))) {
                Ok(None) => return Ok(None),
                Ok(Some(chunk)) if self.since.is_none() && self.until.is_none() => {
                    self.lines.extend_from_slice(chunk.bytes);
                }
                Ok(Some(chunk)) => {
                    for line in chunk.bytes.split_inclusive(|b| *b == b'\n') {
                        // 1970 if it does not say.
                        let received = received(line).unwrap_or_default();
                        let late = self.until.is_some_and(|until| received > until);
                        self.later = if late { self.later + line.len() as u64 } else { 0 };
                        if !late && self.since.is_none_or(|since| received >= since) {
                            self.lines.extend_from_slice(line);
                        }
                    }
                }
                Err(Error::Gone { first }) => {
                    let gone = first.offset.saturating_sub(self.reader.mark().offset);
                    tracing::warn!("{gone} bytes were passed over, they are no longer kept");
                    self.reader.seek(first);
                }
                Err(e @ Error::CorruptAt { .. }) => {
                    if self.reader.skip_line()? == 0 {
                        return Err(e);
                    }
                    tracing::error!("{e}; one line was passed over");
                }
                Err(e) => return Err(e),
            }
        }
        Ok(Some(&self.lines))
    }

    /// Bytes that lie between the beginning and the end.
    pub fn total(&self) -> u64 {
        self.to - self.from
    }

    /// How many of them were read.
    pub fn done(&self) -> u64 {
        self.reader.mark().offset.saturating_sub(self.from)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use event::json;

    use super::*;
    use crate::fs::RealFs;
    use crate::topic::{Kept, Options, TopicWriter};

    fn at(hour: i64) -> Time {
        Time::from_ms(1_800_000_000_000 + hour * 3_600_000)
    }

    /// A topic with a segment for each list of hours, last written in its last one.
    fn topic(dir: &Path, segments: &[&[i64]]) {
        let options = Options { seal_bytes: 1, ..Options::default() };
        let mut writer = TopicWriter::open(RealFs::shared(), dir, Kept::WholeLines, options).unwrap();
        for hours in segments {
            let lines: String = hours.iter().map(|h| format!("{{\"n\":{h},\"received\":\"{}\"}}\n", at(*h))).collect();
            writer.append(lines.as_bytes(), hours.len() as u64).unwrap();
            writer.sync().unwrap();
        }
        writer.publish().unwrap();
        for (file, hours) in segment::list(&RealFs, dir).unwrap().iter().zip(segments) {
            let path = segment::path(dir, file.first, false);
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(at(*hours.last().unwrap()).ms() as u64);
            std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        }
    }

    fn read(window: &mut Window) -> Vec<i64> {
        let mut all = Vec::new();
        while let Some(lines) = window.read().unwrap() {
            let lines = lines.split(|b| *b == b'\n').filter(|l| !l.is_empty());
            all.extend(lines.map(|l| std::str::from_utf8(json::get(l, "n").unwrap()).unwrap().parse::<i64>().unwrap()));
        }
        all
    }

    #[test]
    fn only_the_lines_of_the_window_and_only_its_segments() {
        let dir = tempfile::tempdir().unwrap();
        topic(dir.path(), &[&[1, 2, 3], &[6, 5, 7], &[10, 11]]);
        let all: u64 = segment::list(&RealFs, dir.path()).unwrap().iter().map(|s| s.disk).sum();
        let check = |since: Option<i64>, until: Option<i64>, want: &[i64], skipped: u64| {
            let mut window = Window::open(RealFs::shared(), dir.path(), since.map(at), until.map(at)).unwrap();
            assert_eq!(read(&mut window), want, "{since:?} to {until:?}");
            assert_eq!(all - window.total(), skipped, "{since:?} to {until:?}");
            assert_eq!(window.done(), window.total());
        };
        let segments: Vec<u64> = segment::list(&RealFs, dir.path()).unwrap().iter().map(|s| s.first).collect();
        check(None, None, &[1, 2, 3, 6, 5, 7, 10, 11], 0);
        check(Some(2), Some(6), &[2, 3, 6, 5], 0);
        check(Some(6), None, &[6, 7, 10, 11], segments.get(1).copied().unwrap());
        // What was written a little before may say that it came a little later.
        check(Some(4), Some(5), &[5], 0);
        check(Some(10), Some(10), &[10], segments.get(2).copied().unwrap());
        check(Some(13), None, &[], all);
        check(None, Some(0), &[], 0);
    }

    #[test]
    fn lines_that_come_later_are_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let fs = RealFs::shared();
        let mut writer = TopicWriter::open(fs.clone(), dir.path(), Kept::WholeLines, Options::default()).unwrap();
        let mut put = |n: i64| {
            writer.append(format!("{{\"n\":{n},\"received\":\"{}\"}}\n", at(n)).as_bytes(), 1).unwrap();
            writer.sync().unwrap();
            writer.publish().unwrap();
        };
        put(1);
        let mut window = Window::open(fs, dir.path(), None, Some(at(9))).unwrap();
        put(2);
        assert_eq!(read(&mut window), [1]);
    }

    #[test]
    fn much_that_comes_later_is_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let fs = RealFs::shared();
        let mut writer = TopicWriter::open(fs.clone(), dir.path(), Kept::WholeLines, Options::default()).unwrap();
        let mut put = |hour: i64, pad: usize| {
            let text = format!("{{\"n\":{hour},\"received\":\"{}\",\"x\":\"{}\"}}\n", at(hour), "x".repeat(pad));
            writer.append(text.as_bytes(), 1).unwrap();
        };
        put(1, 0);
        (0..10).for_each(|_| put(9, 4_000_000));
        put(2, 0);
        (0..20).for_each(|_| put(9, 4_000_000));
        put(3, 0);
        writer.sync().unwrap();
        writer.publish().unwrap();
        let mut window = Window::open(fs, dir.path(), None, Some(at(5))).unwrap();
        let all = window.total();
        assert_eq!(read(&mut window), [1, 2], "a few are passed over, many are not");
        assert!(window.total() < all && window.done() == window.total() && window.read().unwrap().is_none());
    }
}

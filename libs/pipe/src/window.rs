//! What a topic holds of a time: the lines that were received within it, in order; on disk or in Kafka.
//!
//! The end of the topic is the one at the start: whoever reads a window of a topic that is being written comes to an end,
//! unless it is followed. What was written well before the window is not looked at. Nothing is locked, no position is
//! kept, no trace is left.

use event::{Time, received};

use crate::StageError;
use crate::config::{Config, Place};
use crate::fs::RealFs;
use crate::kafka::View;
use crate::topic::{Error, SEAL_BYTES, Start, TopicReader};

/// Bytes read at a time.
const CHUNK: usize = 512 << 10;
/// After so many bytes received later than the window, the rest is too: what different stages write to one topic may
/// stand a little out of order, but hardly by a whole segment.
const LATER_MAX: u64 = SEAL_BYTES;
/// By how much the clocks of those who receive a line and of those who write it may differ, in ms.
const CLOCKS_MS: i64 = 600_000;

/// Reads the lines of a window.
pub struct Window {
    /// As in `from`: `topic:raw`.
    name: String,
    kind: Kind,
    since: Option<Time>,
    until: Option<Time>,
    follows: bool,
    /// Bytes since the last line that was not too late.
    later: u64,
    lines: Vec<u8>,
    /// Where lines begin in `lines`, and where they lie; of lines that lie in a row on disk the first.
    begins: Vec<(usize, Spot)>,
}

enum Kind {
    Disk {
        reader: Box<TopicReader>,
        /// Offsets where the reading began and where it ends.
        from: u64,
        to: u64,
    },
    Kafka(Box<View>),
}

/// Where a line lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spot {
    /// In Kafka: its partition.
    pub partition: Option<i32>,
    /// Bytes of the topic before it; in Kafka the number of its message.
    pub offset: u64,
}

/// Lines, each with its newline, and where they lie.
pub struct Lines<'a> {
    /// One after the other.
    pub bytes: &'a [u8],
    begins: &'a [(usize, Spot)],
}

impl Lines<'_> {
    /// Where the line lies that begins at this byte.
    pub fn spot(&self, at: usize) -> Spot {
        let before = self.begins.partition_point(|(begin, _)| *begin <= at);
        let (begin, spot) = self.begins.get(before.saturating_sub(1)).copied().unwrap_or_default();
        Spot { offset: spot.offset + (at - begin) as u64, ..spot }
    }
}

impl Window {
    /// Whether there is such a topic.
    ///
    /// # Errors
    /// The brokers do not answer.
    pub fn is_there(config: &Config, place: &Place) -> Result<bool, StageError> {
        match place {
            Place::Kafka(name) => Ok(crate::kafka::look(config, name)?.is_some()),
            Place::Topic(name) => Ok(config.topic_dir(name).is_dir()),
            Place::Standard | Place::Changes => Ok(false),
        }
    }

    /// Lines received from `since` to `until`, both included; all of them where nothing is said. Whoever `follows` comes
    /// to no end. None: there is no such topic.
    ///
    /// # Errors
    /// The topic cannot be read, or the brokers do not answer.
    pub fn open(
        config: &Config,
        place: &Place,
        since: Option<Time>,
        until: Option<Time>,
        follows: bool,
    ) -> Result<Option<Self>, StageError> {
        let Some(kind) = begin(config, place, Begin::Since(since), follows)? else { return Ok(None) };
        Ok(Some(Self::of(place, kind, (since, until), follows)))
    }

    /// What comes from now on. None: there is no such topic.
    ///
    /// # Errors
    /// As [`Window::open`].
    pub fn from_now(config: &Config, place: &Place) -> Result<Option<Self>, StageError> {
        let kind = begin(config, place, Begin::End, true)?;
        Ok(kind.map(|kind| Self::of(place, kind, (None, None), true)))
    }

    fn of(place: &Place, kind: Kind, (since, until): (Option<Time>, Option<Time>), follows: bool) -> Self {
        let (lines, begins) = (Vec::new(), Vec::new());
        Self { name: place.to_string(), kind, since, until, follows, later: 0, lines, begins }
    }

    /// The next lines of the window; `None` at its end, or if there is nothing now for whoever follows. Lines that are
    /// damaged, too long or no longer kept are passed over with a word in the log.
    ///
    /// # Errors
    /// As [`Window::open`].
    pub fn read(&mut self) -> Result<Option<Lines<'_>>, StageError> {
        self.lines.clear();
        self.begins.clear();
        while self.lines.is_empty() {
            if self.later > LATER_MAX && !self.follows {
                tracing::warn!(
                    "{}: {} MiB of lines in a row came after the time that was asked for; what lies behind them was not \
                     looked through",
                    self.name,
                    LATER_MAX >> 20
                );
                self.end_here();
                break;
            }
            let more = if matches!(self.kind, Kind::Kafka(_)) { self.messages()? } else { self.chunk()? };
            if !more {
                break;
            }
        }
        let Self { lines, begins, .. } = self;
        Ok((!lines.is_empty()).then_some(Lines { bytes: lines, begins }))
    }

    /// The end of the window is where it is now.
    fn end_here(&mut self) {
        self.later = 0;
        match &mut self.kind {
            Kind::Disk { reader, to, .. } => *to = reader.mark().offset,
            Kind::Kafka(view) => view.end_here(),
        }
    }

    /// Takes the lines of a chunk on disk; false: there is none.
    fn chunk(&mut self) -> Result<bool, StageError> {
        let Kind::Disk { reader, to, .. } = &mut self.kind else { return Ok(false) };
        let fail = |e: Error| StageError::state(format!("{}: {e}", self.name));
        let left = to.saturating_sub(reader.mark().offset);
        if left == 0 {
            return Ok(false);
        }
        match reader.read(usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK))) {
            Ok(None) => return Ok(false),
            Ok(Some(chunk)) => {
                let spot = |at: usize| Spot { partition: None, offset: chunk.from.offset + at as u64 };
                if self.since.is_none() && self.until.is_none() {
                    self.begins.push((self.lines.len(), spot(0)));
                    self.lines.extend_from_slice(chunk.bytes);
                    return Ok(true);
                }
                let mut at = 0;
                for line in chunk.bytes.split_inclusive(|b| *b == b'\n') {
                    if wanted(line, self.since, self.until, &mut self.later) {
                        self.begins.push((self.lines.len(), spot(at)));
                        self.lines.extend_from_slice(line);
                    }
                    at += line.len();
                }
            }
            Err(Error::NotReady(_)) if self.follows => return Ok(false),
            Err(Error::Gone { first }) => {
                let gone = first.offset.saturating_sub(reader.mark().offset);
                tracing::warn!("{}: {gone} bytes were passed over, they are no longer kept", self.name);
                reader.seek(first);
            }
            Err(e @ Error::CorruptAt { .. }) => {
                if reader.skip_line().map_err(fail)? == 0 {
                    return Err(fail(e));
                }
                tracing::error!("{e}; one line was passed over");
            }
            Err(e) => return Err(fail(e)),
        }
        Ok(true)
    }

    /// Takes messages of Kafka; false: there is none.
    fn messages(&mut self) -> Result<bool, StageError> {
        let Kind::Kafka(view) = &mut self.kind else { return Ok(false) };
        let mut any = false;
        while self.lines.len() < CHUNK && (self.follows || self.later <= LATER_MAX) {
            let Some((partition, message)) = view.next()? else { break };
            any = true;
            let spot = Spot { partition: Some(partition), offset: message.offset };
            if wanted(&message.line, self.since, self.until, &mut self.later) {
                self.begins.push((self.lines.len(), spot));
                self.lines.extend_from_slice(&message.line);
            }
        }
        Ok(any)
    }

    /// How much lies between the beginning and the end: bytes, in Kafka messages.
    pub fn total(&self) -> u64 {
        match &self.kind {
            Kind::Disk { from, to, .. } => to - from,
            Kind::Kafka(view) => view.total(),
        }
    }

    /// How much of that was read.
    pub fn done(&self) -> u64 {
        match &self.kind {
            Kind::Disk { reader, from, .. } => reader.mark().offset.saturating_sub(*from),
            Kind::Kafka(view) => view.done(),
        }
    }
}

/// Where the reading begins.
enum Begin {
    /// A little before what was received then, or at the first line kept.
    Since(Option<Time>),
    /// Behind the last line.
    End,
}

/// None: there is no such topic.
fn begin(config: &Config, place: &Place, at: Begin, follows: bool) -> Result<Option<Kind>, StageError> {
    match place {
        Place::Topic(topic) => {
            let dir = config.topic_dir(topic);
            if !dir.is_dir() {
                return Ok(None);
            }
            let start = if matches!(at, Begin::End) { Start::Last } else { Start::First };
            let since = if let Begin::Since(since) = at { since } else { None };
            let open = TopicReader::open(RealFs::shared(), &dir, start);
            let sought = open.and_then(|mut reader| Ok((reader.seek_since(since)?, reader)));
            let ((from, to), reader) = sought.map_err(|e| StageError::state(format!("{place}: {e}")))?;
            Ok(Some(Kind::Disk { reader: Box::new(reader), from, to: if follows { u64::MAX } else { to } }))
        }
        Place::Kafka(topic) => {
            let age = |since: Time| Time::now().ms().saturating_sub(since.ms()).saturating_add(CLOCKS_MS).max(0);
            let start = match at {
                Begin::Since(since) => since.map_or(Start::First, |since| Start::Age(age(since))),
                Begin::End => Start::Last,
            };
            Ok(View::open(config, topic, start, follows)?.map(|view| Kind::Kafka(Box::new(view))))
        }
        Place::Standard | Place::Changes => Err(StageError::usage(format!("{place} is no topic"))),
    }
}

/// Whether a line was received within the time; `later` counts the bytes of those in a row that were after it.
fn wanted(line: &[u8], since: Option<Time>, until: Option<Time>, later: &mut u64) -> bool {
    if since.is_none() && until.is_none() {
        return true;
    }
    // 1970 if it does not say.
    let received = received(line).unwrap_or_default();
    let late = until.is_some_and(|until| received > until);
    *later = if late { *later + line.len() as u64 } else { 0 };
    !late && since.is_none_or(|since| received >= since)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use event::json;

    use std::path::Path;

    use super::*;
    use crate::topic::{Kept, Options, TopicWriter, segment};

    fn at(hour: i64) -> Time {
        Time::from_ms(1_800_000_000_000 + hour * 3_600_000)
    }

    /// A configuration whose data is there, the topic `t`, and its folder.
    fn place(dir: &Path) -> (Config, Place, std::path::PathBuf) {
        let config = Config::empty(Some(dir));
        let folder = config.topic_dir("t");
        (config, Place::Topic("t".into()), folder)
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
            let lines = lines.bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty());
            all.extend(lines.map(|l| std::str::from_utf8(json::get(l, "n").unwrap()).unwrap().parse::<i64>().unwrap()));
        }
        all
    }

    #[test]
    fn only_the_lines_of_the_window_and_only_its_segments() {
        let dir = tempfile::tempdir().unwrap();
        let (config, place, folder) = place(dir.path());
        topic(&folder, &[&[1, 2, 3], &[6, 5, 7], &[10, 11]]);
        let all: u64 = segment::list(&RealFs, &folder).unwrap().iter().map(|s| s.disk).sum();
        let check = |since: Option<i64>, until: Option<i64>, want: &[i64], skipped: u64| {
            let mut window = Window::open(&config, &place, since.map(at), until.map(at), false).unwrap().unwrap();
            assert_eq!(read(&mut window), want, "{since:?} to {until:?}");
            assert_eq!(all - window.total(), skipped, "{since:?} to {until:?}");
            assert_eq!(window.done(), window.total());
        };
        let segments: Vec<u64> = segment::list(&RealFs, &folder).unwrap().iter().map(|s| s.first).collect();
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
        let (config, place, folder) = place(dir.path());
        let mut writer = TopicWriter::open(RealFs::shared(), &folder, Kept::WholeLines, Options::default()).unwrap();
        let mut put = |n: i64| {
            writer.append(format!("{{\"n\":{n},\"received\":\"{}\"}}\n", at(n)).as_bytes(), 1).unwrap();
            writer.sync().unwrap();
            writer.publish().unwrap();
        };
        put(1);
        let mut window = Window::open(&config, &place, None, Some(at(9)), false).unwrap().unwrap();
        put(2);
        let mut follower = Window::open(&config, &place, None, Some(at(9)), true).unwrap().unwrap();
        assert_eq!((read(&mut window), read(&mut follower)), (vec![1], vec![1, 2]));
        put(3);
        assert_eq!((read(&mut window), read(&mut follower)), (vec![], vec![3]));
    }

    #[test]
    fn each_line_lies_where_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let (config, place, folder) = place(dir.path());
        assert!(Window::open(&config, &place, None, None, false).unwrap().is_none(), "there is no such topic");
        topic(&folder, &[&[1, 2, 3], &[6, 5, 7]]);
        for (since, want) in [(None, [1, 2, 3, 6, 5, 7].as_slice()), (Some(at(3)), &[3, 6, 5, 7])] {
            let mut window = Window::open(&config, &place, since, None, false).unwrap().unwrap();
            let mut found = Vec::new();
            while let Some(lines) = window.read().unwrap() {
                let mut begin = 0;
                for line in lines.bytes.split_inclusive(|b| *b == b'\n') {
                    let spot = lines.spot(begin);
                    begin += line.len();
                    // Every line of this topic is of one length, but for the hour.
                    found.push((
                        std::str::from_utf8(json::get(line, "n").unwrap()).unwrap().parse::<u64>().unwrap(),
                        spot,
                    ));
                    assert_eq!((spot.offset % line.len() as u64, spot.partition), (0, None));
                }
            }
            assert_eq!(found.iter().map(|(n, _)| *n).collect::<Vec<_>>(), want);
            assert!(found.is_sorted_by_key(|(_, spot)| spot.offset));
        }
    }

    #[test]
    fn much_that_comes_later_is_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let (config, place, folder) = place(dir.path());
        let mut writer = TopicWriter::open(RealFs::shared(), &folder, Kept::WholeLines, Options::default()).unwrap();
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
        let mut window = Window::open(&config, &place, None, Some(at(5)), false).unwrap().unwrap();
        let all = window.total();
        assert_eq!(read(&mut window), [1, 2], "a few are passed over, many are not");
        assert!(window.total() < all && window.done() == window.total() && window.read().unwrap().is_none());
    }
}

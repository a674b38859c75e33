//! The stage loop on disk topics: what a batch gives is bounded in memory and exact after a stop.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::path::Path;
use std::sync::Arc;

use pipe::config::{Config, Place, StageKind};
use pipe::fs::RealFs;
use pipe::topic::{Kept, Options, Start, TopicReader, TopicWriter};
use pipe::{Exit, Job, Line, Metrics, Out, Signals, Stage, StageError, run};
use registry::db::Tx;

/// Gives `rows` lines of 64 KiB for each line, and stops before it has given the one with this number.
struct Rows {
    rows: usize,
    stop_before: usize,
}

impl Stage for Rows {
    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, _: &mut Tx<'_>) -> Result<(), StageError> {
        let mut given = 0;
        for line in lines {
            for row in 0..self.rows {
                if given == self.stop_before {
                    return Err(StageError::state("stopped"));
                }
                let mut text = format!("{} {row} ", String::from_utf8_lossy(line.bytes));
                text.extend(std::iter::repeat_n('x', 64 << 10));
                out.line(0, text.as_bytes()).unwrap();
                given += 1;
            }
            out.done();
        }
        Ok(())
    }
}

fn job(data: &Path) -> Job {
    let place = |name: &str| Place::Topic(name.into());
    Job {
        name: "rows".into(),
        kind: StageKind::Normalize,
        from: vec![place("raw")],
        to: vec![Some(place("events"))],
        state: Some((&data.join("state/rows.db")).into()),
        start: None,
        once: true,
        config: Arc::new(Config::empty(Some(data))),
        instance: None,
        reload: None,
        signals: Signals::default(),
        metrics: Metrics::new("rows"),
    }
}

fn lines(data: &Path) -> Vec<String> {
    let mut reader = TopicReader::open(RealFs::shared(), &data.join("topics/events"), Start::First).unwrap();
    let mut lines = Vec::new();
    while let Some(chunk) = reader.read(1 << 20).unwrap() {
        let head = |line: &[u8]| String::from_utf8(line[..line.len().min(9)].to_vec()).unwrap();
        lines.extend(chunk.bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(head));
    }
    lines
}

#[test]
fn a_batch_that_gives_much_is_written_on_the_way_and_counts_only_when_committed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let raw = data.join("topics/raw");
    std::fs::create_dir_all(&raw).unwrap();
    let mut writer = TopicWriter::open(RealFs::shared(), &raw, Kept::WholeLines, Options::default()).unwrap();
    writer.append(b"a\nb\nc\n", 3).unwrap();
    writer.sync().unwrap();
    writer.publish().unwrap();
    drop(writer);

    let mut stage = Rows { rows: 200, stop_before: 500 };
    assert_eq!(run(&mut stage, job(data)), Exit::State);
    let there: u64 =
        std::fs::read_dir(data.join("topics/events")).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    assert!(there > 20 << 20, "it was held in memory: {there} bytes on disk");
    assert_eq!(lines(data), [""; 0], "not committed, so nobody reads it");

    stage.stop_before = usize::MAX;
    assert_eq!(run(&mut stage, job(data)), Exit::Done);
    let want: Vec<String> = ["a", "b", "c"]
        .iter()
        .flat_map(|l| (0..200).map(move |row| format!("{l} {row} xxxxxxxxx")[..9].to_owned()))
        .collect();
    assert_eq!(lines(data), want);
}

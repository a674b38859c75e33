#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests may panic")]

use super::*;
use pipe::state::Position;
use pipe::topic::{Kept, Options, Policy, TopicWriter};

const PIPELINE: &str = r#"
version = 1
[stage.receive]
to = "topic:raw"
[stage.normalize]
from = "topic:raw"
to = "topic:events"
[stage.sift]
run = "filter"
from = "topic:raw"
to = "topic:sifted"
lag = "skip"
"#;

fn at(line: u64) -> Mark {
    Mark { offset: line * 4, line }
}

/// Ten lines of four bytes in `raw`, of which the first `gone` are no longer kept.
fn pipeline(gone: u64) -> (tempfile::TempDir, Config) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pipeline.toml"), PIPELINE).unwrap();
    let (config, _) = Config::load(&dir.path().join("pipeline.toml"), None).expect("it is right");
    std::fs::create_dir_all(config.data.join("state")).unwrap();
    let options = Options { seal_bytes: 8, ..Options::default() };
    let mut writer = TopicWriter::open(RealFs::shared(), &config.topic_dir("raw"), Kept::WholeLines, options).unwrap();
    for _ in 0..10 {
        writer.append(b"{ }\n", 1).unwrap();
        writer.sync().unwrap();
        writer.sealed();
        writer.publish().unwrap();
    }
    if gone > 0 {
        let tight =
            Policy { keep_age_ms: 0, keep_size: 0, limit: 1, reserve: 0, free_space: 1 << 30, now_ms: i64::MAX };
        writer.maintain(&[gone * 4], &tight).unwrap();
    }
    (dir, config)
}

#[test]
fn the_sum_of_a_topic() {
    // normalize at (mark, start, read, skipped), sift without a record.
    let check = |gone: u64, mark: Mark, counts: (u64, u64, u64), want: Result<(u64, &str), &str>| {
        let (_dir, config) = pipeline(gone);
        let (start_line, read, skipped) = counts;
        let position = Position { mark, start_line, read, skipped };
        put_position(
            &config.data.join("state/normalize.db"),
            "raw",
            &position,
            &[("in", "", read), ("done", "", read)],
        );
        let sums = sums(&config).unwrap();
        let (topic, reader) = (&sums.topics[0], &sums.topics[0].readers[0]);
        assert_eq!((topic.topic.as_str(), topic.written, topic.gone), ("raw", Some(10), Some(gone)));
        match want {
            Ok((lag, held_by)) => {
                assert_eq!((reader.lag, reader.why.clone(), reader.ok), (lag, None, true), "{counts:?}");
                assert_eq!(topic.held_by.as_deref(), Some(held_by), "{counts:?}");
                assert!(sums.ok() && sums.off().is_empty(), "{:?}", sums.off());
            }
            Err(why) => {
                assert!(reader.why.as_ref().unwrap().contains(why), "{:?}", reader.why);
                assert!(!sums.ok() && !sums.off().is_empty());
            }
        }
        let other = &topic.readers[1];
        assert_eq!((other.start, other.lag, other.ok), (gone, 10 - gone, true), "no record: from the first line kept");
    };
    check(0, at(4), (0, 4, 0), Ok((6, "sift")));
    check(0, at(10), (3, 5, 2), Ok((0, "sift")));
    check(4, at(6), (0, 6, 0), Ok((4, "sift")));
    check(0, at(4), (0, 5, 0), Err("10 written, but 0 before it + 5 read + 0 skipped + 6 lag"));
    check(0, at(11), (0, 11, 0), Err("beyond the end"));
    check(4, at(3), (0, 3, 0), Err("1 lines that it has not read are no longer kept"));
    // A mark that says another line number than lies there: the lines themselves are counted.
    check(0, Mark { offset: 16, line: 5 }, (0, 5, 0), Err("10 written"));
}

#[test]
fn whoever_may_skip_will() {
    let (_dir, config) = pipeline(4);
    let position = Position { mark: at(2), start_line: 1, read: 1, skipped: 0 };
    put_position(&config.data.join("state/sift.db"), "raw", &position, &[("in", "", 1), ("done", "", 1)]);
    let sums = sums(&config).unwrap();
    let sift = &sums.topics[0].readers[1];
    assert_eq!((sift.skipped, sift.lag, sift.ok), (2, 6, true), "{sift:?}");
    assert_eq!((sums.lag(), sums.refused(), sums.topics[0].full), (12, 0, false));
}

#[test]
fn the_sum_of_a_stage() {
    let check = |counters: &[(&str, &str, u64)], want: Option<&str>| {
        let (_dir, config) = pipeline(0);
        let position = Position { mark: at(4), read: 4, ..Position::default() };
        put_position(&config.data.join("state/normalize.db"), "raw", &position, counters);
        let sums = sums(&config).unwrap();
        let found = sums.stages[0].why.clone().unwrap_or_default();
        assert_eq!(want.is_none(), sums.ok(), "{counters:?}");
        assert!(want.map_or(found.is_empty(), |w| found.contains(w)), "{counters:?}: {found}");
    };
    check(&[("in", "", 4), ("done", "", 1), ("ignored", "a", 1), ("ignored", "b", 1), ("refused", "c", 1)], None);
    check(&[("in", "", 4), ("done", "", 1), ("ignored", "a", 1)], Some("4 lines in, 2 verdicts"));
    check(&[("in", "", 3), ("done", "", 3)], Some("4 lines read, 3 counted"));
    check(&[], Some("4 lines read, 0 counted"));
}

#[test]
fn what_a_joined_stage_was_given_came_in() {
    let check = |given: u64, taken: u64, done: u64, want: Option<&str>| {
        let (dir, _) = pipeline(0);
        let text = "version = 1\n[stage.receive]\nto = \"topic:raw\"\n[stage.sift]\nrun = \"normalize | filter\"\n\
                    from = \"topic:raw\"\nto = \"topic:events\"\n";
        std::fs::write(dir.path().join("pipeline.toml"), text).unwrap();
        let (config, _) = Config::load(&dir.path().join("pipeline.toml"), None).expect("it is right");
        let position = Position { mark: at(5), start_line: 0, read: 5, skipped: 0 };
        let later = [("filter/given", "", given), ("filter/in", "", taken), ("filter/done", "", done)];
        let counters: Vec<_> = [("in", "", 5), ("done", "", 5)].into_iter().chain(later).collect();
        put_position(&config.data.join("state/normalize.db"), "raw", &position, &counters);
        let stages = sums(&config).unwrap().stages;
        let told: Vec<_> = stages.iter().map(|s| (s.stage.as_str(), s.taken, s.why.as_deref())).collect();
        assert_eq!(told, [("sift", 5, None), ("sift: filter", taken, want)]);
    };
    check(7, 7, 7, None);
    check(7, 2, 2, Some("7 lines given to it, 2 counted"));
    check(7, 7, 6, Some("7 lines in, 6 verdicts"));
}

//! A topic as a stage writes it, at its limit: what the readers' claims hold and what may go, also when the power goes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic")]

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use pipe::config::{Config, TopicConf};
use pipe::fs::Fs;
use pipe::state::{self, Position};
use pipe::topic::sim::{Random, SimFs};
use pipe::topic::{Class, Error, Kept, Mark, SEAL_AGE_MS, Sealed, Start, TopicReader, verify};
use pipe::{Metrics, TopicOutput};
use registry::db::Db;

const PIPELINE: &str = r#"
version = 1
[stage.receive]
to = "topic:raw"
[stage.patient]
run = "filter"
from = "topic:raw"
to = "topic:patient"
[stage.hasty]
run = "filter"
from = "topic:raw"
to = "topic:hasty"
lag = "skip"
"#;

/// Lines in one segment, and bytes of a line.
const BATCH: u64 = 4;
const LINE: u64 = 16;

struct World {
    _tmp: tempfile::TempDir,
    config: Config,
    sim: SimFs,
    metrics: Metrics,
    /// What the writer's transactions have recorded.
    db: Db,
    end: Mark,
}

/// Lines `0`, `1`, … of 16 bytes each.
fn lines(numbers: Range<u64>) -> Vec<u8> {
    numbers.flat_map(|n| format!("{{\"n\":{n:>9}}}\n").into_bytes()).collect()
}

fn mark(line: u64) -> Mark {
    Mark { offset: line * LINE, line }
}

impl World {
    fn new(limit: u64) -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("pipeline.toml");
        std::fs::write(&file, PIPELINE).unwrap();
        let (mut config, _) = Config::load(&file, Some(&tmp.path().join("data"))).unwrap();
        config.topics.defaults = TopicConf { limit, reserve: 0, ..TopicConf::default() };
        std::fs::create_dir_all(config.data.join("state")).unwrap();
        let (db, end) = (Db::memory(&[state::SCHEMA]).unwrap(), Mark::START);
        Self { _tmp: tmp, config, sim: SimFs::new(1), metrics: Metrics::new("receive"), db, end }
    }

    fn dir(&self) -> PathBuf {
        self.config.topic_dir("raw")
    }

    fn sealed(&self) -> Vec<Sealed> {
        state::segments(&self.db, "raw").unwrap()
    }

    fn open(&self, sim: &SimFs, class: Class) -> TopicOutput {
        let fs: Arc<dyn Fs> = Arc::new(sim.spawn());
        let kept = Kept::Recorded(self.end);
        TopicOutput::open(&fs, &self.config, "raw", class, kept, self.sealed()).unwrap()
    }

    fn commit(&mut self, output: &mut TopicOutput) {
        self.end = output.sync().unwrap();
        output.record_sealed(&mut self.db).unwrap();
        output.publish().unwrap();
    }

    /// Appends batches, each to a segment of its own.
    fn put(&mut self, batches: Range<u64>) {
        let mut output = self.open(&self.sim, Class::Source);
        for n in batches {
            self.sim.pass(SEAL_AGE_MS);
            output.append(&lines(n * BATCH..(n + 1) * BATCH), BATCH).unwrap();
            self.commit(&mut output);
        }
    }

    /// A reader has read so many batches.
    fn read(&self, stage: &str, batches: u64) {
        let mut db = Db::open(self.config.state(self.config.stage(stage).unwrap()), &[state::SCHEMA]).unwrap();
        let at = Position { mark: mark(batches * BATCH), ..Position::default() };
        let mut tx = db.begin().unwrap();
        state::set_position(&mut tx, "topic:raw", &at).unwrap();
        tx.commit().unwrap();
    }

    /// Looks after the topic (once a start, as it is done once a second); whether there is room then.
    fn look_after(&mut self, class: Class) -> bool {
        let mut output = self.open(&self.sim, class);
        output.maintain(&self.metrics).unwrap();
        self.commit(&mut output);
        output.has_room(&self.metrics)
    }

    /// The batches that are kept whole, read from the first line kept.
    fn kept(&self, sim: &SimFs) -> Range<u64> {
        let mut reader = TopicReader::open(Arc::new(sim.spawn()), &self.dir(), Start::First).unwrap();
        let first = reader.mark();
        let mut all = Vec::new();
        while let Some(chunk) = reader.read(100).unwrap() {
            all.extend_from_slice(chunk.bytes);
        }
        assert_eq!(all, lines(first.line..self.end.line));
        first.line / BATCH..self.end.line / BATCH
    }
}

#[test]
fn at_the_limit_only_a_patient_reader_holds_lines() {
    let mut world = World::new(5 * BATCH * LINE);
    world.put(0..4);
    world.read("patient", 2);
    assert!(world.look_after(Class::Source));
    assert_eq!(world.kept(&world.sim), 0..4, "the hasty one holds all as long as there is room");
    world.put(4..6);
    assert!(world.look_after(Class::Source), "the hasty one is passed over");
    let kept = world.kept(&world.sim);
    assert!(kept.start > 0 && kept.start <= 2, "{kept:?}");
    let mut hasty = TopicReader::open(Arc::new(world.sim.spawn()), &world.dir(), Start::At(Mark::START)).unwrap();
    assert!(matches!(hasty.read(99), Err(Error::Gone { first }) if first == mark(kept.start * BATCH)));

    world.put(6..9);
    world.look_after(Class::Source);
    assert!(!world.look_after(Class::Source), "the patient one holds five batches and more");
    assert!(world.look_after(Class::NoRetry), "the limit is for those who come again");
    assert_eq!(world.kept(&world.sim), 2..9);
    world.read("patient", 6);
    assert!(world.look_after(Class::Source));
    let kept = world.kept(&world.sim);
    assert!((3..=6).contains(&kept.start), "{kept:?}");
    verify(&world.sim.spawn(), &world.dir(), &world.sealed()).unwrap().unwrap();
}

#[test]
fn what_a_claim_holds_survives_a_stop_at_any_operation_of_the_upkeep() {
    let mut world = World::new(5 * BATCH * LINE);
    world.put(0..7);
    let claim = 4;
    world.read("patient", claim);
    world.sim.keep_stops();
    let (mut stops, mut deleted) = (0, 0);
    for _ in 0..3 {
        let mut output = world.open(&world.sim, Class::Source);
        output.maintain(&world.metrics).unwrap();
        let before = world.sealed();
        output.record_sealed(&mut world.db).unwrap();
        assert_eq!(world.sealed(), before, "nothing that its transaction would have to know");
        output.publish().unwrap();
        for (machine, cut) in world.sim.take_stops().into_iter().zip(0..) {
            stops += 1;
            machine.stop_at(u64::MAX);
            if cut % 4 == 0 {
                machine.kill()
            } else {
                machine.crash(Random(stops).number())
            }
            let mut again = world.open(&machine, Class::Source);
            again.maintain(&world.metrics).unwrap();
            let kept = world.kept(&machine);
            assert!(kept.start <= claim && kept.end == 7, "{kept:?}");
            deleted += kept.start;
            drop(again);
        }
    }
    assert!(stops > 30 && deleted > 0, "{stops} stops, {deleted} deleted");
    assert!(world.kept(&world.sim).start > 0);
}

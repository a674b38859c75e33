//! What no broker can be made to decide at a given moment.

use rdkafka::consumer::ConsumerContext as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaRespErr;
use tempfile::TempDir;

use super::*;
use crate::Waker;
use crate::topic::Start;

/// An instance that reads what it is told, of a topic without messages.
struct Reading {
    input: KafkaInput,
    db: Db,
    _dir: TempDir,
    _cluster: MockCluster<'static, DefaultProducerContext>,
}

fn reading() -> Reading {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t.raw", 3, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pipeline.toml");
    let brokers = cluster.bootstrap_servers();
    std::fs::write(&file, format!("version = 1\n[kafka]\nbrokers = [\"{brokers}\"]\nprefix = \"t.\"\n")).unwrap();
    let config = Arc::new(Config::load(&file, Some(dir.path())).unwrap().0);
    let mut db = Db::memory(&[state::SCHEMA]).unwrap();
    let reader = Reader {
        stage: "counts",
        instance: Some(1),
        start: Start::First,
        once: false,
        keeps: true,
        follows: true,
        waker: Waker::default(),
    };
    let input = KafkaInput::open(&config, "raw", &mut db, &reader).unwrap();
    Reading { input, db, _dir: dir, _cluster: cluster }
}

impl Reading {
    /// As a batch that ends there does; whether it was committed.
    fn commits(&mut self, partition: i32, end: u64) -> bool {
        self.input.parts.get_mut(&partition).unwrap().move_to(end);
        let mut tx = self.db.begin().unwrap();
        if !self.input.record(&mut tx).unwrap() {
            return false;
        }
        tx.commit().unwrap();
        self.input.committed();
        true
    }
}

#[test]
fn what_was_found_again_is_written_down_though_another_is_taken_over_first() {
    let mut one = reading();
    one.input.take_over(&[0], &mut one.db).unwrap();
    // The topic was longer once.
    assert!(one.commits(0, 7));
    one.input.find_again().unwrap();
    one.input.take_over(&[1], &mut one.db).unwrap();
    assert!(one.commits(0, 2), "nobody else reads it");
    let held = state::held(&one.db, "kafka:raw").unwrap();
    assert_eq!(held.get(&0).map(|(_, held)| held.pos), Some(2));
}

#[test]
fn partitions_are_taken_over_in_their_order() {
    let one = reading();
    let mut list = TopicPartitionList::new();
    for partition in [2, 0, 1] {
        list.add_partition("t.raw", partition);
    }
    let what = RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    one.input.group.rebalance(one.input.client().unwrap(), what, &mut list);
    assert_eq!(one.input.group.next(), Some(Change::Assigned(vec![0, 1, 2])));
}

#[test]
fn a_topic_that_lacks_a_partition_is_named() {
    let mut one = reading();
    let error = one.input.take_over(&[3], &mut one.db).unwrap_err();
    assert_eq!(error.text, "kafka topic t.raw: it has no partition 3");
}

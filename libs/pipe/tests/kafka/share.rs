//! Several instances of a stage share the partitions of what they read, and one state.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use registry::db::Db;
use rustix::process::Signal;

use crate::hub::{Hub, broker, wait_for};

const LINES: usize = 9000;

fn line(n: usize) -> (String, Vec<u8>) {
    (format!("k{}", n % 23), format!("line {n} {}", "x".repeat(n % 200)).into_bytes())
}

#[test]
fn partitions_that_change_hands_in_the_middle_of_batches_change_nothing() {
    let Some(broker) = broker() else { return };
    let hub = Hub::new(&broker, "share", "properties = { \"session.timeout.ms\" = \"6000\" }");
    hub.make("in", "5242880");
    hub.write("in", (0..LINES).map(line));
    let mut first = hub.process(1);
    wait_for("the first instance", 40, || !hub.seen().is_empty());
    // Others come and go, politely and not.
    for (turn, signal) in [Signal::TERM, Signal::KILL, Signal::TERM].into_iter().enumerate() {
        let other = u32::try_from(turn).unwrap() + 2;
        let mut other = (hub.process(other), other);
        wait_for("its share", 60, || hub.shares(other.1) > 0 || hub.seen().len() == LINES);
        std::thread::sleep(Duration::from_millis(400));
        other.0.signal(signal);
        other.0.end();
    }
    wait_for("all lines", 120, || hub.seen().len() == LINES);
    first.signal(Signal::TERM);
    assert_eq!(first.end(), Some(0), "{}", hub.log(1));
    hub.assert_exact(LINES);
}

#[test]
fn the_late_commit_of_one_that_slept_is_refused() {
    let Some(broker) = broker() else { return };
    let hub = Hub::new(&broker, "slept", "properties = { \"session.timeout.ms\" = \"6000\" }");
    hub.make("in", "5242880");
    hub.write("in", (0..LINES).map(line));
    // It has lines in its memory that it has not looked at.
    let mut sleeper = hub.process_with(1, &[("TEST_RESTS", "1")]);
    wait_for("the first lines", 40, || hub.seen().len() > 100);
    // Not within a transaction: the others would wait for it, in one file.
    loop {
        sleeper.signal(Signal::STOP);
        if Db::open(&hub.state(), &[]).is_ok_and(|mut db| db.begin().is_ok()) {
            break;
        }
        sleeper.signal(Signal::CONT);
        std::thread::sleep(Duration::from_millis(7));
    }
    assert!(hub.seen().len() < LINES, "it was too fast for this test");
    let mut other = hub.process(2);
    wait_for("the rest by another", 120, || hub.seen().len() == LINES);
    sleeper.signal(Signal::CONT);
    // Either it goes on with what it has in memory, and its commit is refused; or it hears first that it has lost its
    // partitions. If it ended it is started again, as its supervisor would.
    std::thread::sleep(Duration::from_secs(5));
    if !sleeper.alive() {
        assert_eq!(sleeper.end(), Some(4), "{}", hub.log(1));
        assert!(hub.log(1).contains("is read by another instance now"), "{}", hub.log(1));
        sleeper = hub.process(1);
    }
    hub.write("in", (LINES..LINES + 500).map(line));
    wait_for("what came later", 60, || hub.seen().len() == LINES + 500);
    for process in [&mut sleeper, &mut other] {
        process.signal(Signal::TERM);
        assert_eq!(process.end(), Some(0), "{}{}", hub.log(1), hub.log(2));
    }
    hub.assert_exact(LINES + 500);
}

/// Says so, whatever becomes of the test.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A member that reads nothing comes and goes all the time, so that no batch ends in the assignment that it began in.
#[test]
fn a_rebalance_in_the_middle_of_every_batch_changes_nothing() {
    // About ten lines fill a batch.
    const AHEAD: usize = 40;
    const GUESTS: usize = 8;
    let Some(broker) = broker() else { return };
    let hub = Hub::new(
        &broker,
        "restless",
        "properties = { \"session.timeout.ms\" = \"6000\", \"heartbeat.interval.ms\" = \"200\" }",
    );
    hub.make("in", "5242880");
    let line = |n: usize| (format!("k{}", n % 23), format!("line {n} {}", "x".repeat(400)).into_bytes());
    let mut stage = hub.process_with(1, &[("TEST_PAUSE_MS", "500")]);
    let (done, came) = (AtomicBool::new(false), AtomicUsize::new(0));
    let written = std::thread::scope(|scope| {
        let guests = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let guest: BaseConsumer = hub
                    .client()
                    .set("group.id", hub.group())
                    .set("partition.assignment.strategy", "cooperative-sticky")
                    .set("enable.auto.commit", "false")
                    .set("session.timeout.ms", "6000")
                    .set("heartbeat.interval.ms", "200")
                    .create()
                    .unwrap();
                guest.subscribe(&[&hub.topic("in")]).unwrap();
                while guest.assignment().unwrap().count() == 0 && !done.load(Ordering::Acquire) {
                    let _ = guest.poll(Duration::from_millis(20));
                }
                came.fetch_add(usize::from(guest.assignment().unwrap().count() > 0), Ordering::AcqRel);
                let before = hub.shares(1);
                drop(guest);
                // What it held is read on by the stage, for a batch.
                while hub.shares(1) == before && !done.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        let over = Over(&done);
        let begun = Instant::now();
        let mut written = 0;
        // There is always something to read, until enough of them came: however slow the machine is.
        while came.load(Ordering::Acquire) < GUESTS {
            assert!(
                begun.elapsed() < Duration::from_secs(300),
                "{} came: {}",
                came.load(Ordering::Acquire),
                hub.log(1)
            );
            if hub.seen().len() + AHEAD > written {
                hub.write("in", (written..written + AHEAD).map(line));
                written += AHEAD;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        wait_for("all lines", 180, || hub.seen().len() == written);
        drop(over);
        guests.join().unwrap();
        written
    });
    stage.signal(Signal::TERM);
    assert_eq!(stage.end(), Some(0), "{}", hub.log(1));
    hub.assert_exact(written);
    let gave = hub.log(1).matches("gave away partitions").count();
    assert!(gave >= GUESTS - 1, "{gave} of {GUESTS}");
}

#[test]
fn a_second_process_of_the_same_instance_is_told() {
    let Some(broker) = broker() else { return };
    let hub = Hub::new(&broker, "same", "");
    hub.make("in", "5242880");
    let mut first = hub.process(1);
    wait_for("the first", 40, || hub.shares(1) > 0);
    let mut second = hub.process(1);
    hub.write("in", (0..LINES / 9).map(line));
    wait_for("the lines", 60, || hub.seen().len() == LINES / 9);
    // A dying predecessor is waited for, and this one does not die.
    assert_eq!(second.end(), Some(5), "{}", hub.log(1));
    assert!(hub.log(1).contains("counts-1.lock: held by another process"), "{}", hub.log(1));
    first.signal(Signal::TERM);
    assert_eq!(first.end(), Some(0), "{}", hub.log(1));
    hub.assert_exact(LINES / 9);
}

/// Where the group of the hub's stage is known to stand, all partitions together, and how many members it has.
fn of_group(hub: &Hub) -> (i64, usize) {
    let looker: BaseConsumer = hub.client().set("group.id", hub.group()).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_range(&hub.topic("in"), 0, 2);
    let known = looker.committed_offsets(list, Duration::from_secs(10)).unwrap();
    let known = known.elements().iter().filter_map(|part| part.offset().to_raw()).filter(|at| *at >= 0).sum();
    let groups = looker.fetch_group_list(Some(&hub.group()), Duration::from_secs(10)).unwrap();
    (known, groups.groups().iter().map(|group| group.members().len()).sum())
}

#[test]
fn two_hubs_on_one_cluster_are_two_groups() {
    let Some(broker) = broker() else { return };
    let (one, other) = (Hub::new(&broker, "one", ""), Hub::new(&broker, "other", ""));
    let hubs = [(&one, 900), (&other, 90)];
    let mut stages = Vec::new();
    for (hub, lines) in hubs {
        hub.make("in", "5242880");
        hub.write("in", (0..lines).map(line));
        stages.push(hub.process(0));
        wait_for("its lines", 40, || hub.seen().len() == lines);
    }
    for (hub, lines) in hubs {
        wait_for("what the group is told", 20, || of_group(hub) == (i64::try_from(lines).unwrap(), 1));
    }
    // Neither was disturbed by the other: a member that comes is a new turn for all.
    let turns = |hub: &Hub| hub.log(0).matches("a new turn of the group").count();
    assert_eq!((turns(&one), turns(&other)), (1, 1), "{}", one.log(0));
    for stage in &mut stages {
        stage.signal(Signal::TERM);
        assert_eq!(stage.end(), Some(0), "{}{}", one.log(0), other.log(0));
    }
}

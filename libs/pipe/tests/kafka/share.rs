//! Several instances of a stage share the partitions of what they read, and one state.

use std::time::Duration;

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
        let part = |log: String| log.contains("reads partitions");
        wait_for("its share", 60, || part(hub.log(other.1)) || hub.seen().len() == LINES);
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

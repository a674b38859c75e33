//! Several instances of a stage share the partitions of what they read, and one state.

use std::time::Duration;

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
    let mut sleeper = hub.process(1);
    wait_for("the first lines", 40, || hub.seen().len() > 100);
    sleeper.signal(Signal::STOP);
    assert!(hub.seen().len() < LINES, "it was too fast for this test");
    let mut other = hub.process(2);
    wait_for("the rest by another", 120, || hub.seen().len() == LINES);
    sleeper.signal(Signal::CONT);
    // Either it was in the middle of a batch, whose commit is refused; or between two, and it joins again.
    hub.write("in", (LINES..LINES + 500).map(line));
    wait_for("what came later", 60, || hub.seen().len() == LINES + 500);
    for process in [&mut sleeper, &mut other] {
        process.signal(Signal::TERM);
        let end = process.end();
        assert!(matches!(end, Some(0 | 4)), "{end:?}\n{}", hub.log(1));
    }
    hub.assert_exact(LINES + 500);
}

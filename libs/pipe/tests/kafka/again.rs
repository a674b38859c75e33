//! Who was away and comes back goes on at once, and does not wait until the group has given up whom it knew before.

use std::time::Duration;

use rustix::process::Signal;

use crate::hub::{Hub, broker, wait_for};
use crate::server::Server;

/// Of a session of 30 s, which is what there is when nothing is said.
const AT_ONCE: u64 = 15;

fn line(n: usize) -> (String, Vec<u8>) {
    (format!("k{}", n % 23), format!("line {n}").into_bytes())
}

#[test]
fn a_stage_that_was_killed_goes_on_at_once() {
    let Some(broker) = broker() else { return };
    // One that is alone, and one of two.
    for instance in [0, 2] {
        let hub = Hub::new(&broker, &format!("again{instance}"), "");
        hub.make("in", "5242880");
        hub.write("in", (0..200).map(line));
        let mut other = (instance > 0).then(|| hub.process(1));
        let mut stage = hub.process(instance);
        wait_for("its share", 60, || hub.shares(instance) > 0);
        wait_for("the first lines", 60, || hub.seen().len() == 200);
        stage.signal(Signal::KILL);
        stage.end();
        let before = hub.shares(instance);
        stage = hub.process(instance);
        wait_for("its share again", AT_ONCE, || hub.shares(instance) > before);
        hub.write("in", (200..400).map(line));
        wait_for("the others", AT_ONCE, || hub.seen().len() == 400);
        for process in other.iter_mut().chain([&mut stage]) {
            process.signal(Signal::TERM);
            assert_eq!(process.end(), Some(0), "{}", hub.log(instance));
        }
        hub.assert_exact(400);
    }
}

/// The group outlives its brokers; its members think by then that they are none.
#[test]
fn brokers_that_were_away_for_longer_than_a_session_are_gone_on_with_at_once() {
    if broker().is_none() {
        return;
    }
    let server = Server::start("kafka", "away");
    let broker = server.variable("ZENTRAL_TEST_KAFKA").unwrap();
    let hub = Hub::new(&broker, "away", "properties = { \"session.timeout.ms\" = \"20000\" }");
    for topic in ["in", "out"] {
        hub.make(topic, "5242880");
    }
    hub.write("in", (0..200).map(line));
    let mut stages = [hub.process(1), hub.process(2)];
    wait_for("the first lines", 60, || hub.seen().len() == 200);
    wait_for("a share for both", 60, || (1..3).all(|n| hub.shares(n) > 0));
    server.kill();
    std::thread::sleep(Duration::from_secs(25));
    server.go_on();
    hub.write("in", (200..400).map(line));
    wait_for("the others", 12, || hub.seen().len() == 400);
    for stage in &mut stages {
        stage.signal(Signal::TERM);
        assert_eq!(stage.end(), Some(0), "{}{}", hub.log(1), hub.log(2));
    }
    hub.assert_exact(400);
}

//! Death at any point.

use std::time::Duration;

use rustix::process::Signal;

use crate::hub::{Hub, broker, wait_for};

/// Lines of the test, and how often the stage dies.
const LINES: usize = 6000;
const DEATHS: usize = 12;

#[test]
fn after_any_death_nothing_is_missing_and_nothing_counted_twice() {
    let Some(broker) = broker() else { return };
    let hub = Hub::new(&broker, "deaths", "");
    hub.make("in", "5242880");
    let line = |n: usize| (format!("k{}", n % 11), format!("line {n} {}", "x".repeat(n % 300)).into_bytes());
    hub.write("in", (0..LINES).map(line));
    for death in 0..DEATHS {
        let mut stage = hub.process(0);
        let before = hub.seen().len();
        // Now and then it dies before it reads, mostly while it does.
        if death % 4 != 0 {
            wait_for("progress", 40, || hub.seen().len() > before || hub.seen().len() == LINES || !stage.alive());
        }
        std::thread::sleep(Duration::from_millis(37 * (death as u64 % 9)));
        stage.signal(Signal::KILL);
        stage.end();
    }
    let mut stage = hub.process(0);
    wait_for("all lines", 120, || hub.seen().len() == LINES);
    stage.signal(Signal::TERM);
    assert_eq!(stage.end(), Some(0), "{}", hub.log(0));
    hub.assert_exact(LINES);
    // A line may be there again, but none is missing.
    let mut out: Vec<Vec<u8>> = hub.read("out").into_iter().map(|(_, _, line)| line).collect();
    out.sort();
    out.dedup();
    assert_eq!(out.len(), LINES);
}

//! Where readers start, while another process holds the state.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::time::Duration;

use pipe::config::Config;
use pipe::fs::RealFs;
use pipe::{Exit, record_start, state};

const TEXT: &str = "version = 1\n[stage.receive]\nto = \"topic:raw\"\n[stage.act]\nfrom = \"topic:raw\"\n";

#[test]
fn nobody_is_waited_for_when_all_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pipeline.toml");
    std::fs::write(&file, TEXT).unwrap();
    let (config, _) = Config::load(&file, None).unwrap();
    let act = config.stage("act").unwrap();
    let (lock, go_on) = (config.state_lock(&config.state(act)), || false);
    let hold = || state::lock(&RealFs::shared(), &lock, Some(Duration::ZERO), &go_on).unwrap();

    let held = hold();
    let first = record_start(&config, act, Some(Duration::ZERO), &go_on).unwrap_err();
    assert_eq!(first.exit, Exit::State, "a position is missing, and another holds the state");
    let stopped = record_start(&config, act, None, &|| true).unwrap_err();
    assert_eq!(stopped.exit, Exit::Done, "told to go while it waited");
    drop(held);

    record_start(&config, act, Some(Duration::ZERO), &go_on).unwrap();
    let _held = hold();
    record_start(&config, act, Some(Duration::ZERO), &go_on).unwrap();
}

#[test]
fn whoever_holds_the_state_may_record_for_both() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pipeline.toml");
    std::fs::write(&file, TEXT).unwrap();
    let (config, _) = Config::load(&file, None).unwrap();
    let act = config.stage("act").unwrap();
    let lock = config.state_lock(&config.state(act));
    let held = std::cell::RefCell::new(Some(state::lock(&RealFs::shared(), &lock, None, &|| false).unwrap()));
    // The first records, and goes on holding the state: the second, which looks now and then, need not wait on.
    let recorded = std::cell::Cell::new(false);
    let first = || {
        if !recorded.replace(true) {
            held.take();
            record_start(&config, act, None, &|| false).unwrap();
            held.replace(Some(state::lock(&RealFs::shared(), &lock, None, &|| false).unwrap()));
        }
        false
    };
    record_start(&config, act, Some(Duration::from_secs(10)), &first).unwrap();
    assert!(recorded.get());
}

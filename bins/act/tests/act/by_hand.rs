//! The services as somebody runs them by hand: each takes what an action with the printed table sends.

use pipe::Exit;

use crate::fakes::by_hand;
use crate::hub::{Hub, fresh, new_id};

#[test]
fn every_service_runs_and_answers_its_action() {
    for name in by_hand::names() {
        let started = by_hand::start(name, 0).unwrap().unwrap();
        assert!(started.toml.contains(&started.url), "{name}: {}", started.toml);
        let hub = Hub::new(&started.toml);
        let found = pipe::config::render(&act::check(&hub.config, &hub.texts(), true));
        assert_eq!(found, "", "{name}");
        // A computer that the Jamf server knows.
        hub.feed(&[fresh(&new_id(), &[name]).replace("\"C02\"", "\"C02X00002\"")]);
        assert_eq!(hub.run(), Exit::Done);
        let told = hub.told();
        assert_eq!((told.len(), &told[0].1["outcome"]), (1, &"done".into()), "{name}: {told:?}");
    }
    assert!(by_hand::start("nobody", 0).unwrap().is_none());
}

/// Every file of the folder is one of them, or what they stand on.
#[test]
fn no_service_is_forgotten() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fakes");
    let names = by_hand::names();
    for file in std::fs::read_dir(folder).unwrap() {
        let name = file.unwrap().path().file_stem().unwrap().to_string_lossy().replace('_', "-");
        let below = ["by-hand", "http", "mail", "mod", "tickets"].contains(&name.as_str());
        let name = if name == "smtp" { "email" } else { &name };
        assert!(below || names.contains(&name), "{name}");
    }
}

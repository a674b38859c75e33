//! Several instances of a stage share a state in PostgreSQL (`ZENTRAL_TEST_POSTGRES=URL`), from wherever they run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]

use std::path::Path;
use std::time::Duration;

use pipe::{Exit, StageError, state};
use registry::db::{self, Db, Home, Homes, Schema, Server};

const NEXT: Schema = Schema { name: "next", migrations: &["CREATE TABLE next (n BIGINT NOT NULL)"] };

/// A state of this test's own; none: it is skipped, but never in CI.
fn home(name: &str) -> Option<Home> {
    let Ok(url) = std::env::var("ZENTRAL_TEST_POSTGRES") else {
        assert!(std::env::var_os("CI").is_none(), "ZENTRAL_TEST_POSTGRES is not set");
        eprintln!("skipped: no PostgreSQL (scripts/services start postgres)");
        return None;
    };
    let name = format!("{name}-{}", std::process::id());
    Some(Homes::new(Path::new("/nowhere"), Some(Server::parse(&url).unwrap())).state(&name))
}

fn share(home: &Home, schemas: &[Schema], instance: u32) -> Result<Db, StageError> {
    state::share(home, schemas, instance, Some(Duration::from_millis(500)), &|| false)
}

#[test]
fn the_same_instance_of_another_host_is_told() {
    let Some(home) = home("twice") else { return };
    let (one, two) = (share(&home, &[state::SCHEMA], 1).unwrap(), share(&home, &[state::SCHEMA], 2).unwrap());
    let error = share(&home, &[state::SCHEMA], 1).unwrap_err();
    assert!(error.exit == Exit::State && error.text.contains("instance 1 runs already"), "{error}");
    drop(one);
    let begun = std::time::Instant::now();
    while share(&home, &[state::SCHEMA], 1).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "who ends makes room");
    }
    drop(two);
    db::drop(&home).unwrap();
}

#[test]
fn tables_are_changed_by_one_alone() {
    let Some(home) = home("change") else { return };
    let owner = state::open(&home, &[state::SCHEMA], None, &|| false).unwrap();
    let both = [state::SCHEMA, NEXT];
    let error = share(&home, &both, 1).unwrap_err();
    assert!(error.text.contains("changes its tables"), "{error}");
    assert!(!owner.has_table("next").unwrap());
    drop(owner);
    std::thread::scope(|scope| {
        let (home, both) = (&home, &both);
        let patient = move |n| state::share(home, both, n, Some(Duration::from_secs(20)), &|| false);
        let all: Vec<_> =
            (1..=4).map(|n| scope.spawn(move || patient(n).unwrap().has_table("next").unwrap())).collect();
        assert!(all.into_iter().all(|thread| thread.join().unwrap()));
    });
    db::drop(&home).unwrap();
}

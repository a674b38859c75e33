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

/// Waits for others that end.
fn patient(home: &Home, schemas: &[Schema], instance: u32) -> Db {
    state::share(home, schemas, instance, Some(Duration::from_secs(20)), &|| false).unwrap()
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

/// A stage with one process, or work on the whole.
fn open(home: &Home, schemas: &[Schema]) -> Result<Db, StageError> {
    state::open(home, schemas, Some(Duration::from_millis(500)), &|| false)
}

/// Whoever records where a new input starts.
fn beside(home: &Home, schemas: &[Schema]) -> Result<Db, StageError> {
    state::open_beside(home, schemas, Some(Duration::from_millis(500)), &|| false)
}

/// What one process remembers of a state, others must not change under it: `replicas` may differ from host to host while
/// a configuration is rolled out.
#[test]
fn one_process_and_instances_keep_each_other_out() {
    let Some(home) = home("alone") else { return };
    let owner = open(&home, &[state::SCHEMA]).unwrap();
    let error = share(&home, &[state::SCHEMA], 1).unwrap_err();
    assert!(error.exit == Exit::State && error.text.contains("has it alone"), "{error}");
    drop(owner);
    let instance = patient(&home, &[state::SCHEMA], 1);
    let error = open(&home, &[state::SCHEMA]).unwrap_err();
    assert!(error.exit == Exit::State && error.text.contains("by instances of a stage"), "{error}");
    // Who tried in vain holds nothing against other instances; nor does a start that is recorded beside them.
    let other = patient(&home, &[state::SCHEMA], 2);
    let begun = std::time::Instant::now();
    let starter = loop {
        match beside(&home, &[state::SCHEMA]) {
            Err(_) if begun.elapsed() < Duration::from_secs(20) => {}
            other => break other.unwrap(),
        }
    };
    let third = share(&home, &[state::SCHEMA], 3).unwrap();
    drop(starter);
    // Tables are not changed under them by that either.
    while let Err(error) = beside(&home, &[state::SCHEMA]) {
        assert!(begun.elapsed() < Duration::from_secs(40), "{error}");
    }
    beside(&home, &[state::SCHEMA, NEXT]).unwrap_err();
    assert!(!third.has_table("next").unwrap());
    drop((instance, other, third));
    while open(&home, &[state::SCHEMA]).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "who ends makes room");
    }
    db::drop(&home).unwrap();
}

#[test]
fn tables_are_changed_by_one_alone() {
    let Some(home) = home("change") else { return };
    let owner = state::open(&home, &[state::SCHEMA], None, &|| false).unwrap();
    let both = [state::SCHEMA, NEXT];
    let error = share(&home, &both, 1).unwrap_err();
    assert!(error.text.contains("has it alone"), "{error}");
    assert!(!owner.has_table("next").unwrap());
    drop(owner);
    let older = patient(&home, &[state::SCHEMA], 9);
    let error = share(&home, &both, 1).unwrap_err();
    assert!(error.text.contains("has it alone") && !older.has_table("next").unwrap(), "{error}");
    drop(older);
    std::thread::scope(|scope| {
        let (home, both) = (&home, &both);
        let all: Vec<_> =
            (1..=4).map(|n| scope.spawn(move || patient(home, both, n).has_table("next").unwrap())).collect();
        assert!(all.into_iter().all(|thread| thread.join().unwrap()));
    });
    db::drop(&home).unwrap();
}

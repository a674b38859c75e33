//! What a URL says, which of its hosts is spoken to, and what a role may.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use registry::db::{self, Db, Homes, Server};

use super::{V1, homes, keys, name, put, url, with};

/// A password that is not escaped as it should be is told to nobody, neither in an error nor as the name of a host.
#[test]
fn a_url_that_is_wrong_tells_no_password() {
    for bad in [
        "mysql://u:s3cret@b/c",
        "postgres://u:s3cret@h/",
        "postgres://u:s3cret@h/d?sslmode=maybe",
        "postgres://u:s3cret@h/d?sslmode=require&sslrootcert=%",
        "postgres://u:s3cret@h:x/d",
        "postgres://u:s3cret/d",
        "postgres://u:a@s3cret@h/d",
        "postgres://u:a?s3cret@h/d",
        "postgres://u:a?s3cret=1@h/d",
        "postgres://u:a?sslmode=s3cret@h/d",
        "postgres://u:a&s3cret@h/",
        "postgres://u:a/s3cret@h",
        "postgres://u:%s3cret@[h/d",
    ] {
        let why = Server::parse(bad).unwrap_err();
        assert!(!why.contains("s3cret"), "{bad}: {why}");
    }
    for (good, label) in [
        ("postgres://u:s3cret%40@h/d", "postgres h:5432/d"),
        ("postgres://u:s3cret/%3f@h:1,[::1]:2/d?target_session_attrs=read-write", "postgres h:1,::1:2/d"),
        ("postgres://u:s3cret@/d?host=/run/postgresql", "postgres /run/postgresql:5432/d"),
    ] {
        assert_eq!(Server::parse(good).unwrap().to_string(), label);
    }
}

/// One that hangs takes connections and never answers; one is gone; the third is well.
#[test]
fn a_host_that_says_nothing_keeps_nobody_from_the_next() {
    let Some(url) = url() else { return };
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (place, _) = url.rsplit_once('/').unwrap();
    let place = place.rsplit_once(['@', '/']).unwrap().1;
    let hosts = format!("{},127.0.0.1:1,{place}", silent.local_addr().unwrap());
    let begun = Instant::now();
    let home = homes(&(with(&url, None, Some(&hosts)) + "?target_session_attrs=read-write")).state(&name("hosts"));
    put(&mut Db::open(&home, &[V1]).unwrap(), "a", 1).unwrap();
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(8) && took < Duration::from_secs(30),
        "{took:?}: the silent one was asked first"
    );
    db::drop(&home).unwrap();
}

/// A stage's role owns a schema and may make none.
#[test]
fn a_schema_that_is_there_needs_no_leave_to_make_one() {
    let Some(url) = url() else { return };
    let desk = homes(&url).state(&name("desk"));
    let mut admin = Db::open(&desk, &[]).unwrap();
    let state = name("leave");
    let role = format!("zentral_{}", state.replace('-', "_"));
    let mut run = |sql: String| {
        let mut tx = admin.begin().unwrap();
        tx.execute(&sql, &[]).unwrap();
        tx.commit().unwrap();
    };
    run(format!("CREATE ROLE {role} LOGIN"));
    run(format!("GRANT {role} TO CURRENT_USER"));
    run(format!("CREATE SCHEMA {role} AUTHORIZATION {role}"));
    let home = homes(&with(&url, Some(&role), None)).state(&state);
    let mut db = Db::open(&home, &[V1]).unwrap();
    put(&mut db, "a", 1).unwrap();
    assert_eq!(keys(&db), ["a"]);
    drop(db);
    run(format!("DROP SCHEMA {role} CASCADE"));
    run(format!("DROP ROLE {role}"));
    db::drop(&desk).unwrap();
}

/// A name of the longest length does not fit a schema, and is found again by a backup.
#[test]
fn a_long_name_comes_back() {
    let Some(url) = url() else { return };
    let server = homes(&url);
    let long = format!("{}-{}", name("long"), "x".repeat(63))[..63].to_owned();
    let (short, long) = (server.state(&name("short")), server.state(&long));
    for home in [&short, &long] {
        put(&mut Db::open(home, &[V1]).unwrap(), "a", 1).unwrap();
    }
    let all = server.all().unwrap();
    for home in [&short, &long] {
        let found = all.iter().find(|other| other.name() == home.name()).unwrap();
        assert_eq!(found.to_string(), home.to_string());
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("state")).unwrap();
    let copy = Homes::new(dir.path(), None).state(long.name());
    db::copy(&long, &copy, &[V1]).unwrap();
    if !db::proof::is_on() {
        assert!(copy.file().unwrap().ends_with(format!("state/{}.db", long.name())));
    }
    db::drop(&short).unwrap();
    db::drop(&long).unwrap();
}

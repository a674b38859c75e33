//! State on a real PostgreSQL server: `ZENTRAL_TEST_POSTGRES` names one, and a role that may make others and databases.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests may panic")]

mod server;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use event::{Machine, Time};
use registry::db::{self, Db, DbError, Homes, Schema, Server, Watched};
use registry::{changes, tags};
use serde_json::json;

const V1_SQL: &str = "CREATE TABLE t (k TEXT PRIMARY KEY, n BIGINT)";
const V1: Schema = Schema { name: "t", migrations: &[V1_SQL] };
const V2: Schema = Schema { name: "t", migrations: &[V1_SQL, "ALTER TABLE t ADD COLUMN x TEXT NOT NULL DEFAULT ''"] };

/// The server's URL; none where there is none and nobody promised one.
fn url() -> Option<String> {
    let url = std::env::var("ZENTRAL_TEST_POSTGRES").ok();
    if url.is_none() {
        assert!(std::env::var_os("CI").is_none(), "ZENTRAL_TEST_POSTGRES is not set");
        eprintln!("skipped: no PostgreSQL (scripts/services start postgres)");
    }
    url
}

fn homes(url: &str) -> Homes {
    Homes::new(std::path::Path::new("/nowhere"), Some(Server::parse(url).unwrap()))
}

/// A name that no other test has.
fn name(word: &str) -> String {
    let mut random = [0; 6];
    getrandom::fill(&mut random).unwrap();
    format!("{word}-{}", random.map(|b| format!("{b:02x}")).concat())
}

/// The URL with another host and port, or another login.
fn with(url: &str, login: Option<&str>, place: Option<&str>) -> String {
    let rest = url.split_once("://").unwrap().1;
    let (place_of, path) = rest.split_once('/').unwrap();
    let (login_of, host) = place_of.split_once('@').unwrap_or(("postgres", place_of));
    format!("postgres://{}@{}/{path}", login.unwrap_or(login_of), place.unwrap_or(host))
}

/// The same server at an address of another name.
fn elsewhere(server: String) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let far = std::net::TcpStream::connect(&server).unwrap();
            for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
    address
}

fn put(db: &mut Db, key: &str, n: i64) -> Result<(), DbError> {
    let mut tx = db.begin()?;
    tx.execute("INSERT INTO t (k, n) VALUES ($1, $2)", &[key.into(), n.into()])?;
    tx.commit()
}

fn keys(db: &Db) -> Vec<String> {
    db.query("SELECT k FROM t ORDER BY k", &[]).unwrap().iter().map(|row| row.text(0).to_owned()).collect()
}

/// Hands bytes on to the server, until it is told to cut everything.
struct Wire {
    port: u16,
    cut: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    fn to(url: &str) -> Self {
        let place = url.split_once("://").unwrap().1.split_once('/').unwrap().0;
        let place = place.rsplit_once('@').map_or(place, |(_, host)| host).to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cut, streams) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let wire = Self { port, cut: cut.clone(), streams: streams.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if cut.load(Ordering::SeqCst) {
                    continue;
                }
                let server = TcpStream::connect(&place).unwrap();
                let ways = [(&client, &server), (&server, &client)];
                for (from, to) in ways.map(|(from, to)| (from.try_clone().unwrap(), to.try_clone().unwrap())) {
                    std::thread::spawn(move || pass(from, to));
                }
                streams.lock().unwrap().extend([client, server]);
            }
        });
        wire
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.streams.lock().unwrap().drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }

    fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(n) = from.read(&mut bytes)
        && n > 0
        && to.write_all(bytes.get(..n).unwrap()).is_ok()
    {}
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_state_is_migrated_and_a_newer_one_refused() {
    let Some(url) = url() else { return };
    let home = homes(&url).state(&name("newer"));
    assert!(Db::open_read_only(&home).unwrap().is_none(), "nobody made it by looking");
    let mut old = Db::open(&home, &[V1]).unwrap();
    put(&mut old, "a", 1).unwrap();
    let new = Db::open(&home, &[V2]).unwrap();
    assert_eq!(new.query("SELECT x FROM t", &[]).unwrap().len(), 1);
    let error = Db::open(&home, &[V1]).unwrap_err();
    assert!(matches!(error, DbError::Newer { schema: "t", found: 2, known: 1 }), "{error}");
    let seen = Db::open_read_only(&home).unwrap().unwrap();
    assert!(seen.has_table("t").unwrap() && seen.has_column("t", "x").unwrap() && !seen.has_column("t", "y").unwrap());
    db::drop(&home).unwrap();
}

#[test]
fn texts_are_in_the_order_of_their_bytes_and_hold_what_may_be_said() {
    let Some(url) = url() else { return };
    let home = homes(&url).state(&name("order"));
    let mut db = Db::open(&home, &[V1]).unwrap();
    for key in ["b", "B", "é", "a\0b", "_"] {
        put(&mut db, key, i64::MAX).unwrap();
    }
    assert_eq!(keys(&db), ["B", "_", "a\u{fffd}b", "b", "é"]);
    let sum = db.query("SELECT SUM(n), COUNT(*) FROM t WHERE k < $1", &["a".into()]);
    assert!(sum.is_err(), "a sum beyond 64 bits is an error in both databases");
    let found = db.query("SELECT n FROM t WHERE k = $1", &["a\0b".into()]).unwrap();
    assert_eq!(found.first().unwrap().int(0), i64::MAX);
    db::drop(&home).unwrap();
}

/// The connection breaks at each moment of a transaction: what was begun is gone, what comes after is right.
#[test]
fn a_connection_that_breaks_costs_what_was_not_committed() {
    let Some(url) = url() else { return };
    let wire = Wire::to(&url);
    let home = homes(&with(&url, None, Some(&format!("127.0.0.1:{}", wire.port)))).state(&name("broken"));
    let mut db = Db::open(&home, &[V1]).unwrap();
    put(&mut db, "before", 1).unwrap();
    let mut tx = db.begin().unwrap();
    tx.execute("INSERT INTO t (k, n) VALUES ('lost', 1)", &[]).unwrap();
    wire.cut();
    let error = tx.commit().unwrap_err();
    assert!(matches!(error, DbError::Unreachable(_)), "{error}");
    let error = put(&mut db, "no", 1).unwrap_err();
    assert!(matches!(error, DbError::Unreachable(_)), "{error}");
    wire.mend();
    put(&mut db, "after", 1).unwrap();
    assert_eq!(keys(&db), ["after", "before"]);

    // Whoever owned it does not go on over another connection: the lock may be somebody else's by now.
    assert!(db.own().unwrap());
    wire.cut();
    wire.mend();
    while db.query("SELECT 1", &[]).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let error = put(&mut db, "stale", 1).unwrap_err();
    assert!(matches!(error, DbError::Unreachable(_)) && db.is_lost(), "{error}");
    let next = Db::open(&home, &[V1]).unwrap();
    let begun = std::time::Instant::now();
    while !next.own().unwrap() {
        assert!(begun.elapsed().as_secs() < 20, "the lock of a broken connection is let go");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(keys(&next), ["after", "before"]);
    db::drop(&home).unwrap();
}

/// What a restart, a failover or an administrator does: the server itself ends the session.
#[test]
fn a_server_that_ends_sessions_is_spoken_to_again() {
    let Some(url) = url() else { return };
    let home = homes(&url).state(&name("ended"));
    let mut db = Db::open(&home, &[V1]).unwrap();
    let other = Db::open(&home, &[V1]).unwrap();
    let end = |pid: i64| {
        other.query("SELECT pg_terminate_backend($1)", &[pid.into()]).unwrap();
    };
    let pid = db.query("SELECT pg_backend_pid()", &[]).unwrap().first().unwrap().int(0);
    let mut tx = db.begin().unwrap();
    tx.execute("INSERT INTO t (k, n) VALUES ('lost', 1)", &[]).unwrap();
    end(pid);
    let error = tx.commit().unwrap_err();
    assert!(matches!(error, DbError::Unreachable(_)), "{error}");
    put(&mut db, "kept", 1).unwrap();
    assert_eq!(keys(&db), ["kept"]);
    db::drop(&home).unwrap();
}

#[test]
fn one_owner_and_one_writer_at_a_time() {
    let Some(url) = url() else { return };
    let home = homes(&url).state(&name("owner"));
    let (mut one, mut two) = (Db::open(&home, &[V1]).unwrap(), Db::open(&home, &[V1]).unwrap());
    assert!(one.own().unwrap() && !two.own().unwrap());
    let mut tx = one.begin().unwrap();
    // It begins with its first statement: until then it holds nobody up.
    put(&mut two, "early", 1).unwrap();
    tx.query("SELECT 1", &[]).unwrap();
    let error = put(&mut two, "a", 1).unwrap_err();
    assert!(matches!(error, DbError::Busy), "after 10 s: {error}");
    drop(tx);
    put(&mut two, "a", 1).unwrap();
    // Instances share it beside an owner who records their start, and nobody works on the whole meanwhile.
    assert!(two.own_as(1).unwrap());
    put(&mut two, "b", 1).unwrap();
    assert!(!one.is_alone().unwrap());
    drop(two);
    let begun = std::time::Instant::now();
    while !one.is_alone().unwrap() {
        assert!(begun.elapsed().as_secs() < 20, "one that ends lets go");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let two = Db::open(&home, &[V1]).unwrap();
    assert!(!two.own_as(1).unwrap(), "somebody works on the whole");
    drop(one);
    while !two.own_as(1).unwrap() {
        assert!(begun.elapsed().as_secs() < 40, "and is shared again");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let begun = std::time::Instant::now();
    while !two.own().unwrap() {
        assert!(begun.elapsed().as_secs() < 20, "an owner that ends lets go");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    db::drop(&home).unwrap();
}

/// Two write changes side by side, one reads all the while: it never sees a number whose predecessor comes later.
#[test]
fn changes_become_visible_in_order() {
    const EACH: u64 = 60;
    let Some(url) = url() else { return };
    let home = homes(&url).state(&name("changes"));
    drop(Db::open(&home, &[tags::SCHEMA, changes::SCHEMA]).unwrap());
    let write = |who: usize| {
        let mut db = Db::open(&home, &[tags::SCHEMA, changes::SCHEMA]).unwrap();
        for i in 0..EACH {
            let mut tx = db.begin().unwrap();
            let machine = Machine { serial_number: Some(format!("{who}")), ..Machine::default() };
            changes::say(&mut tx, changes::TAGGED, machine, &json!({"i": i}), Time::from_ms(1)).unwrap();
            if i % 7 == 3 {
                std::thread::sleep(std::time::Duration::from_millis(3));
            }
            // Some change their mind.
            if i % 5 == 4 { drop(tx) } else { tx.commit().unwrap() }
        }
    };
    let all = EACH / 5 * 4 * 2;
    std::thread::scope(|scope| {
        let writers = [0, 1].map(|who| scope.spawn(move || write(who)));
        let mut watched = Watched::new(&home);
        let (mut seen, mut at) = (0, None);
        while seen < all {
            let Some((db, version)) = watched.look().unwrap() else { continue };
            if at == Some(version) {
                assert!(!writers.iter().all(|w| w.is_finished()) || changes::last(db).unwrap() > seen || seen == all);
                continue;
            }
            at = Some(version);
            for (n, _) in changes::since(db, seen, 1000).unwrap() {
                assert_eq!(n, seen + 1, "no number is left out");
                seen = n;
            }
        }
    });
    db::drop(&home).unwrap();
}

#[test]
fn who_is_not_let_in_is_told_why_and_no_password() {
    let Some(url) = url() else { return };
    let admin = Db::open(homes(&url).state(&name("roles")), &[]).unwrap();
    let run = |sql: &str| admin.query(sql, &[]).unwrap();
    let role = name("r").replace('-', "_");
    run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'right' CONNECTION LIMIT 1"));
    run(&format!("ALTER ROLE {role} SET default_transaction_read_only = on"));
    let login = |password: &str| homes(&with(&url, Some(&format!("{role}:{password}")), None));

    // No right to make a schema: said, and it is nothing that passes.
    let error = Db::open(login("right").state("none"), &[V1]).unwrap_err();
    assert!(matches!(error, DbError::Other(_)) && error.to_string().contains("permission denied"), "{error}");
    // The connection before is still being ended by the server: at most one is let in.
    let begun = std::time::Instant::now();
    let held = loop {
        match Server::parse(&with(&url, Some(&format!("{role}:right")), None)).unwrap().try_out() {
            Ok(()) => break login("right").all(),
            Err(_) => assert!(begun.elapsed().as_secs() < 20),
        }
    };
    drop(held);
    // Too many connections pass.
    let wait = |_: &DbError| std::thread::sleep(std::time::Duration::from_millis(50));
    let one = loop {
        match Db::open_read_only(login("right").registry()) {
            Err(e) if matches!(e, DbError::Unreachable(_)) => wait(&e),
            other => break other,
        }
    };
    drop(one);
    for (bad, word) in [
        (with(&url, None, Some("127.0.0.1:1")), "127.0.0.1:1"),
        (with(&url, Some("nobody-of-this-name:s3cret"), None), "nobody-of-this-name"),
    ] {
        let error = Db::open(homes(&bad).state("x"), &[]).unwrap_err().to_string();
        assert!(error.contains(word) && !error.contains("s3cret"), "{error}");
    }
    run(&format!("DROP ROLE {role}"));
}

/// A server that was made the follower of another takes no writes: it passes, when the other one is found.
#[test]
fn a_server_that_only_reads_is_waited_for() {
    let Some(url) = url() else { return };
    let home = homes(&url).state(&name("readonly"));
    let db = Db::open(&home, &[V1]).unwrap();
    let mut reader = Db::open_read_only(&home).unwrap().unwrap();
    drop(db);
    let mut tx = reader.begin().unwrap();
    // `begin` asks for a transaction that writes, which a follower refuses; here the session is told so.
    tx.query("SELECT set_config('transaction_read_only', 'on', true)", &[]).unwrap();
    let error = tx.execute("INSERT INTO t (k, n) VALUES ('a', 1)", &[]).unwrap_err();
    assert!(matches!(error, DbError::Unreachable(_)), "{error}");
    drop(tx);
    assert!(keys(&reader).is_empty());
    db::drop(&home).unwrap();
}

/// From a file to the server and back: the same rows, each counted.
#[test]
fn a_state_moves_to_the_server_and_back() {
    let Some(url) = url() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (files, server) = (Homes::new(dir.path(), None), homes(&url));
    let state = name("move");
    std::fs::create_dir(dir.path().join("state")).unwrap();
    let (from, to, back) = (files.state(&state), server.state(&state), files.registry());
    let mut db = Db::open(&from, &[V2]).unwrap();
    for n in 0..1234 {
        put(&mut db, &format!("{n:04}"), n).unwrap();
    }
    let error = db::copy(&from, &to, &[V1]).unwrap_err();
    assert!(matches!(error, DbError::Newer { .. }), "{error}");
    assert!(!db::is_used(&to).unwrap(), "all of it or nothing");
    for (from, to) in [(&from, &to), (&to, &back)] {
        let copied = db::copy(from, to, &[V2]).unwrap();
        assert_eq!(copied.first().map(|table| (table.table.as_str(), table.rows)), Some(("t", 1234)));
        assert!(db::copy(from, to, &[V2]).is_err(), "there is one already");
    }
    let all = |home| {
        let db = Db::open_read_only(home).unwrap().unwrap();
        db.query("SELECT k, n, x FROM t ORDER BY k", &[]).unwrap()
    };
    assert_eq!(all(&from), all(&back));
    assert_eq!(db::check(&to).unwrap(), db::check(&back).unwrap());
    assert!(server.all().unwrap().iter().any(|home| home.name() == state));
    db::drop(&to).unwrap();
}

/// `ZENTRAL_TEST_POSTGRES_TLS` names a server with TLS and passwords, `…_TLS_CA` its authority.
#[test]
fn a_certificate_is_verified() {
    let (Ok(url), Ok(ca)) = (std::env::var("ZENTRAL_TEST_POSTGRES_TLS"), std::env::var("ZENTRAL_TEST_POSTGRES_TLS_CA"))
    else {
        assert!(std::env::var_os("CI").is_none(), "ZENTRAL_TEST_POSTGRES_TLS is not set");
        eprintln!("skipped: no PostgreSQL with TLS (scripts/services start postgres-tls)");
        return;
    };
    let user = std::env::var("ZENTRAL_TEST_POSTGRES_TLS_USER").unwrap();
    let password = std::fs::read_to_string(std::env::var("ZENTRAL_TEST_POSTGRES_TLS_PASSWORD_FILE").unwrap()).unwrap();
    let port = url.rsplit_once('/').unwrap().0.rsplit_once(':').unwrap().1;
    let login = format!("{user}:{}", password.trim());
    let plain = &with(&url, Some(&login), Some(&format!("localhost:{port}")));
    let tried = |url: &str| Server::parse(url).unwrap().try_out();
    tried(&format!("{plain}?sslmode=verify-full&sslrootcert={ca}")).unwrap();
    let error = tried(&format!("{plain}?sslmode=require")).unwrap_err();
    assert!(
        matches!(error, DbError::Other(_)) && error.to_string().contains("certificate"),
        "of nobody we know: {error}"
    );
    // The certificate is of `localhost` and 127.0.0.1, and of nobody else.
    let other = with(plain, None, Some(&elsewhere(format!("127.0.0.1:{port}")).to_string()));
    let error = tried(&format!("{other}?sslmode=require&sslrootcert={ca}")).unwrap_err();
    assert!(matches!(error, DbError::Other(_)) && error.to_string().contains("not valid for name"), "{error}");
    let wrong = with(plain, Some(&format!("{user}:wr0ng")), None);
    let error = tried(&format!("{wrong}?sslmode=require&sslrootcert={ca}")).unwrap_err().to_string();
    assert!(error.contains("password") && !error.contains("wr0ng"), "{error}");
    for bad in ["/nowhere/ca.pem", "/etc/hostname"] {
        let why = Server::parse(&format!("{plain}?sslmode=require&sslrootcert={bad}")).unwrap_err();
        assert!(why.contains(bad), "{why}");
    }
}

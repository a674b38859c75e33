//! The database of the state goes: it is killed, has no connection left, takes no writes, another takes its place, it hangs.
//! Agents send all the while. Nothing that was answered 200 is lost, nothing is acted upon twice, what is wrong is shown, and all
//! goes on by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::agent::{self, Agent, record};
use support::database::{server, sql};
use support::hub::{Hub, free_port, signal, wait_for};
use support::plain::ask;
use support::receiver::{self, Receiver, Reply};
use support::services::Own;

/// How long until all is well again: a stage that failed several times waits up to a minute.
const WELL: u64 = 150;

const SERVERS: [&str; 2] = ["postgres", "postgres-standby"];

/// A server and one that follows it, of this test alone.
fn pair() -> Own {
    let [first, second] = SERVERS;
    let mut own = Own::start(&[first], "failover");
    own.add(&[second]);
    // What is committed is on both: without it a failover may lose what was acknowledged, whoever the client is.
    let admin = admin(&own, first);
    sql(&admin, "ALTER SYSTEM SET synchronous_standby_names = '*'");
    sql(&admin, "SELECT pg_reload_conf()");
    own
}

fn admin(own: &Own, kind: &str) -> String {
    format!("postgres://postgres@{}/postgres", own.address(kind))
}

fn url(own: &Own) -> String {
    let [first, second] = SERVERS.map(|kind| own.address(kind));
    format!("postgres://zentral@{first},{second}/zentral?target_session_attrs=read-write")
}

/// No record takes so long, whatever happens to the database.
const TAKEN: Duration = Duration::from_secs(300);

/// Tells [`send`] to stop, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Sends one record after the other until it is told to stop, each until it was taken.
fn send(mut agent: Agent, stop: &AtomicBool, taken: &AtomicUsize) {
    let mut n = 0;
    while !stop.load(Ordering::SeqCst) {
        // As it was when it happened: with another time it would be another.
        let (begun, record) = (Instant::now(), [record(n)]);
        while !matches!(agent.log(&record), Ok(true)) {
            assert!(begun.elapsed() < TAKEN, "record {n} is not taken");
            assert!(agent.node_key.is_some(), "the agent was told that it is not known");
            std::thread::sleep(Duration::from_millis(50));
        }
        n += 1;
        taken.store(n, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What is said of a hub whose database is away: by `zentral status`, and to Prometheus.
fn shows(hub: &Hub, metrics: u16) -> bool {
    let status = hub.run(&["status", "--json"]);
    let said = String::from_utf8(status.stdout).unwrap();
    let gauges = ask(&format!("127.0.0.1:{metrics}"), "GET", "/metrics", b"");
    status.status.code() == Some(1)
        && said.contains("\"ok\":false")
        && said.contains("postgres 127.0.0.1")
        && gauges.is_ok_and(|(_, text)| String::from_utf8_lossy(&text).contains("\nzentral_database_up 0"))
}

/// What is stored and acted upon of a hub whose stages are in this database. Each tenth record is acted upon.
fn hub_on(url: &str, receiver: &Receiver, metrics: u16) -> Hub {
    let mut hub = Hub::new(&format!(
        "\n[registry]\npostgres = {{ env = \"ZENTRAL_DATABASE_URL\" }}\n\
         [action.hook]\nkind = \"http\"\nurl = \"http://127.0.0.1:{}/in\"\nbody = '{{n: .event.payload.columns.n}}'\n\
         [probe.tenth]\nfilter = '.payload.name == \"t\" and .payload.columns.n % 10 == 0'\nact = [\"hook\"]\n",
        receiver.port
    ));
    hub.edit(|text| text.replace("127.0.0.1:9473", &format!("127.0.0.1:{metrics}")));
    hub.env("ZENTRAL_DATABASE_URL", url);
    hub
}

/// All that was taken is stored once, and was acted upon once.
fn assert_each_once(hub: &Hub, receiver: &Receiver, taken: usize) {
    let all: Vec<u64> = (0..taken as u64).collect();
    let stored = || agent::numbers(&hub.events("*"));
    hub.wait("all to be stored", 60, || stored().len() >= all.len());
    assert_eq!(stored(), all, "each once");
    let tenths: Vec<u64> = all.iter().copied().step_by(10).collect();
    let acted = || receiver::numbers(receiver.seen.lock().unwrap().taken.values());
    hub.wait("all to be acted upon", 60, || acted().len() >= tenths.len());
    assert_eq!(acted(), tenths, "each once");
    hub.wait("all is well", 60, || hub.run(&["status"]).status.success());
}

#[test]
fn a_database_that_goes_costs_nothing_but_time() {
    if server().is_none() {
        return;
    }
    let pair = pair();
    let [first, second] = SERVERS;
    let receiver = Receiver::start(|_, _| Reply::Answer(200, "", "ok"));
    let metrics = free_port();
    let mut hub = hub_on(&url(&pair), &receiver, metrics);
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret(), "GONE1");
    hub.start();
    hub.wait("the agent to enrol", 60, || agent.enrol().is_ok());

    let (stop, taken) = (AtomicBool::new(false), AtomicUsize::new(0));
    let log = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| send(agent, &stop, &taken));
        let well = |what: &str| {
            let before = taken.load(Ordering::SeqCst);
            let begun = Instant::now();
            let on = || taken.load(Ordering::SeqCst) > before + 20;
            wait_for(what, Duration::from_secs(WELL), || hub.log(), || on() && hub.run(&["status"]).status.success());
            log.lock().unwrap().push(format!("{what}: {} s", begun.elapsed().as_secs()));
        };
        let shown = |what: &str| wait_for(what, Duration::from_secs(60), || hub.log(), || shows(&hub, metrics));
        let all_out = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'zentral'";
        well("begun");

        pair.restart_killed(first).join().unwrap();
        well("after a crash");

        let primary = admin(&pair, first);
        sql(&primary, "ALTER ROLE zentral CONNECTION LIMIT 0");
        sql(&primary, all_out);
        shown("no connection left");
        sql(&primary, "ALTER ROLE zentral CONNECTION LIMIT -1");
        well("with connections again");

        sql(&primary, "ALTER DATABASE zentral SET default_transaction_read_only = on");
        sql(&primary, all_out);
        shown("no writes");
        sql(&primary, "ALTER DATABASE zentral RESET default_transaction_read_only");
        well("with writes again");

        // The one that follows reads only, until it is told to take the other's place.
        pair.kill(first);
        shown("only the one that follows");
        assert_eq!(sql(&admin(&pair, second), "SELECT pg_promote()"), "t");
        well("after a failover");
    });
    eprintln!("{}", log.lock().unwrap().join(", "));
    assert_each_once(&hub, &receiver, taken.load(Ordering::SeqCst));
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
}

/// Longer than a statement may take (65 s).
const HANGS: Duration = Duration::from_secs(75);

/// A server whose processes all sleep, until this is dropped: it takes connections and says nothing.
struct Asleep {
    since: Instant,
    processes: Vec<i32>,
}

impl Asleep {
    fn new(admin: &str) -> Self {
        let file = sql(admin, "SELECT pg_read_file('postmaster.pid')");
        let first: i32 = file.lines().next().unwrap().parse().unwrap();
        // It makes no more of them.
        assert!(signal(first, Signal::STOP));
        let others = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
        let all: Vec<i32> = others.split_whitespace().map(|pid| pid.parse().unwrap()).chain([first]).collect();
        assert!(all.len() > 10, "{all:?}");
        all.iter().for_each(|pid| _ = signal(*pid, Signal::STOP));
        Self { since: Instant::now(), processes: all }
    }
}

impl Drop for Asleep {
    fn drop(&mut self) {
        self.processes.iter().for_each(|pid| _ = signal(*pid, Signal::CONT));
    }
}

#[test]
fn a_database_that_hangs_costs_nothing_but_time() {
    if server().is_none() {
        return;
    }
    let own = Own::start(&["postgres"], "hangs");
    let at = own.address("postgres");
    let receiver = Receiver::start(|_, _| Reply::Answer(200, "", "ok"));
    let metrics = free_port();
    let mut hub = hub_on(&format!("postgres://zentral@{at}/zentral"), &receiver, metrics);
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret(), "HANG1");
    hub.start();
    hub.wait("the agent to enrol", 60, || agent.enrol().is_ok());
    let (stop, taken) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| send(agent, &stop, &taken));
        let sent = |more: usize| {
            let before = taken.load(Ordering::SeqCst);
            hub.wait("records to be taken", WELL, || taken.load(Ordering::SeqCst) > before + more);
        };
        sent(100);
        let asleep = Asleep::new(&format!("postgres://postgres@{at}/postgres"));
        hub.wait("it to be shown", 60, || shows(&hub, metrics));
        // Whoever asks it something gives up and says so. A stage that has nothing to read asks nothing: all that comes later
        // waits at `receive`.
        let noticed = |stage: &str| {
            let log = std::fs::read_to_string(hub.path("up.log")).unwrap();
            log.lines().any(|line| line.starts_with(&format!("zentral {stage}: ")) && line.contains("no answer within"))
        };
        hub.wait("receive and act", 120, || noticed("receive") && noticed("act"));
        // No statement that was begun before is waited for any more.
        hub.wait("the limit of a statement", 120, || asleep.since.elapsed() > HANGS);
        let all = ["receive", "normalize", "filter", "act", "store"];
        eprintln!("noticed by {:?}", all.iter().filter(|stage| noticed(stage)).collect::<Vec<_>>());
        drop(asleep);
        let begun = Instant::now();
        sent(100);
        hub.wait("all is well", WELL, || hub.run(&["status"]).status.success());
        eprintln!("all is well after {} s", begun.elapsed().as_secs());
    });
    assert_each_once(&hub, &receiver, taken.load(Ordering::SeqCst));
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
}

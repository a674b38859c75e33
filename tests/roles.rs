//! Each stage with a role of its own in PostgreSQL: it works, and writes nothing but what is its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::process::{Child, Stdio};

use rustix::process::Signal;
use support::agent::{Agent, record};
use support::database::{Database, server, sql, try_sql};
use support::hub::{Hub, signal};

const STAGES: [&str; 5] = ["receive", "normalize", "filter", "act", "store"];
/// What a match does is written to the registry by `act`.
const TABLES: &str = "\n[registry]\npostgres = { env = \"ZENTRAL_DATABASE_URL\" }\n\
    [action.mark]\nkind = \"tag\"\nadd = [\"marked\"]\n\
    [probe.hit]\nfilter = '.payload.columns.n == \"1\" or .payload.columns.n == 1'\nact = [\"mark\"]\n";

/// Every stage as a process of its own, each with its own login.
struct Stages(Vec<Child>);

impl Stages {
    fn start(hub: &Hub, database: &Database) -> Self {
        let start = |stage: &&str| {
            let log = std::fs::OpenOptions::new().create(true).append(true).open(hub.path("up.log")).unwrap();
            let mut command = hub.command(&["run", stage]);
            command.env("ZENTRAL_DATABASE_URL", database.url(&format!("zentral_{stage}")));
            command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
        };
        Self(STAGES.iter().map(start).collect())
    }

    /// Each ends when it is told to, and says that all went well.
    fn stop(mut self) {
        for (child, stage) in self.0.drain(..).zip(STAGES) {
            assert!(signal(child.id() as i32, Signal::TERM), "{stage} has ended before");
            let out = child.wait_with_output().unwrap();
            assert!(out.status.success(), "{stage}: {}", out.status);
        }
    }
}

impl Drop for Stages {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The tables outside of its own schema that a role may write.
fn writes(database: &Database, stage: &str) -> Vec<String> {
    let script = format!(
        "SELECT tablename FROM pg_tables WHERE schemaname LIKE 'zentral~_%' ESCAPE '~' \
         AND schemaname <> 'zentral_{stage}' AND has_table_privilege('zentral_{stage}', \
         schemaname || '.' || tablename, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') ORDER BY 1"
    );
    sql(&database.url("zentral"), &script).lines().map(str::to_owned).collect()
}

fn tagged(hub: &Hub, serial: &str) -> bool {
    String::from_utf8_lossy(&hub.run(&["machine", "show", serial]).stdout).contains("\"marked\"")
}

#[test]
fn each_stage_works_with_its_own_role_and_writes_no_other_state() {
    let Some(server) = server() else { return };
    let database = Database::new(&server, "roles");
    let mut hub = Hub::new(TABLES);
    hub.env("ZENTRAL_DATABASE_URL", &database.url("zentral"));
    // Twice: it is run again when a stage was added.
    for _ in 0..2 {
        sql(&database.url("zentral"), &hub.ok(&["state", "roles"]));
        hub.ok(&["state", "migrate"]);
    }
    let (secret, ca) = (hub.secret(), hub.ca());
    let stages = Stages::start(&hub, &database);
    hub.wait("receive", 60, || hub.path("data/run/receive.addr").exists());
    let mut agent = Agent::new(&ca, hub.port, &secret, "ROLE1");
    hub.wait("the agent to enrol", 60, || agent.enrol().is_ok());
    assert!(agent.log(&[record(0), record(1)]).unwrap());
    let key = agent.node_key.clone();
    hub.wait("the match to tag its machine", 60, || tagged(&hub, "ROLE1"));
    // What `act` wrote comes back to `normalize`, and all of it is stored.
    hub.wait("the tag to be an event", 60, || hub.run(&["search", "type:machine_tag", "-n", "1"]).status.success());

    for stage in STAGES {
        let allowed: &[&str] = match stage {
            "act" => &["changes", "live_queries", "machine_tags", "made_rules", "made_rules_moved", "orders", "writes"],
            _ => &[],
        };
        assert_eq!(writes(&database, stage), allowed, "{stage}");
        let own = database.url(&format!("zentral_{stage}"));
        assert_eq!(sql(&own, "SELECT count(*) FROM zentral_registry.enrolments"), "1", "{stage} reads");
        for script in [
            "CREATE SCHEMA zentral_more",
            "CREATE TABLE zentral_registry.more (n BIGINT)",
            "DELETE FROM zentral_registry.enrolments",
            "SET ROLE zentral",
        ] {
            let out = try_sql(&own, script);
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(!out.status.success() && said.contains("permission denied"), "{stage}: {script}: {said}");
        }
    }
    // It faces the network, and can make no rule for anybody.
    let rule = try_sql(
        &database.url("zentral_receive"),
        "INSERT INTO zentral_registry.made_rules SELECT * FROM zentral_registry.made_rules",
    );
    assert!(String::from_utf8_lossy(&rule.stderr).contains("permission denied"));
    stages.stop();

    // A restored state belongs to its stages as before.
    hub.ok(&["state", "backup", "copy"]);
    hub.ok(&["state", "restore", "copy"]);
    let stages = Stages::start(&hub, &database);
    let mut second = Agent::new(&ca, hub.port, &secret, "ROLE2");
    hub.wait("another to enrol", 60, || second.enrol().is_ok());
    // The first over a new connection, with the key of before.
    hub.wait("the first", 60, || matches!(agent.log(&[record(2)]), Ok(true)));
    assert_eq!(agent.node_key, key, "it is known as before");
    assert!(second.log(&[record(1)]).unwrap());
    hub.wait("the other machine to be tagged", 60, || tagged(&hub, "ROLE2"));
    stages.stop();
    drop(hub);
    let roles: Vec<String> = STAGES.iter().map(|stage| format!("zentral_{stage}")).collect();
    drop(database);
    for role in roles.iter().map(String::as_str).chain(["zentral_reader"]) {
        // Those of another run of this test may still be in use.
        try_sql(&server, &format!("DROP ROLE {role}"));
    }
}

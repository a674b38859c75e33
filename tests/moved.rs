//! A hub that outgrows its files: its state moves to PostgreSQL, and no agent notices.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may panic"
)]

mod support;

use std::path::Path;

use registry::db::{Db, Homes, Server};
use serde_json::Value;
use support::agent::{Agent, record};
use support::hub::Hub;

/// A database of its own, gone at the end.
struct Database {
    admin: Db,
    name: String,
    url: String,
}

impl Database {
    fn make(url: &str) -> Self {
        let name = format!("moved_{}", std::process::id());
        let homes = Homes::new(Path::new("/nowhere"), Some(Server::parse(url).unwrap()));
        let admin = Db::open(homes.state("moved-admin"), &[]).unwrap();
        let database = Self { admin, url: format!("{}/{name}", url.rsplit_once('/').unwrap().0), name };
        database.run(&format!("CREATE DATABASE {}", database.name));
        database
    }

    fn run(&self, sql: &str) {
        self.admin.query(sql, &[]).unwrap();
    }

    /// What a server that is started again, or an administrator, does to every connection.
    fn end_sessions(&self) {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
        self.admin.query(sql, &[self.name.as_str().into()]).unwrap();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.admin.query(&format!("DROP DATABASE {} WITH (FORCE)", self.name), &[]);
    }
}

#[test]
fn state_moves_to_a_server_and_agents_keep_talking() {
    let Ok(url) = std::env::var("ZENTRAL_TEST_POSTGRES") else {
        assert!(std::env::var_os("CI").is_none(), "ZENTRAL_TEST_POSTGRES is not set");
        eprintln!("skipped: no PostgreSQL (scripts/services start postgres)");
        return;
    };
    let probe = "\n[probe.seen]\nscope = { tags = [\"vip\"] }\nfilter = '.type == \"osquery_result\"'\n";
    let mut hub = Hub::new(probe);
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret(), "MOVED1");
    hub.start();
    hub.wait("the hub to answer", 30, || agent.enrol().is_ok());
    hub.ok(&["machine", "tag", "MOVED1", "vip"]);
    for n in 0..3 {
        assert!(agent.log(&[record(n)]).unwrap());
    }
    hub.wait("the matches", 30, || hub.matched("seen") == 3);

    let database = Database::make(&url);
    hub.env("ZENTRAL_DATABASE_URL", &database.url);
    let file = hub.path("scaled.toml");
    let text = std::fs::read_to_string(hub.path("pipeline.toml")).unwrap();
    std::fs::write(&file, text + "\n[registry]\npostgres = { env = \"ZENTRAL_DATABASE_URL\" }\n").unwrap();
    let refused = hub.run(&["--config", "scaled.toml", "state", "copy"]);
    assert_eq!(refused.status.code(), Some(5), "`up` runs");
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
    std::fs::rename(file, hub.path("pipeline.toml")).unwrap();

    let lines = |text: &str| -> Vec<Value> { text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() };
    let copied = lines(&hub.ok(&["state", "copy"]));
    let names: Vec<&str> = copied.iter().map(|line| line["state"].as_str().unwrap()).collect();
    assert_eq!(names, ["registry", "act", "filter", "normalize", "receive", "store"]);
    assert!(copied.iter().all(|line| line["at"].as_str().unwrap().contains("schema zentral_")), "{copied:?}");
    assert_eq!(hub.run(&["state", "copy"]).status.code(), Some(5), "there is one already");
    let checked = lines(&hub.ok(&["state", "check"]));
    assert!(checked.len() == 6 && checked.iter().all(|line| line["ok"] == true), "{checked:?}");
    // Whoever still looked there would find nothing.
    for file in ["data/registry.db", "data/state"] {
        std::fs::rename(hub.path(file), hub.path(&format!("{file}.old"))).unwrap();
    }

    hub.start();
    hub.wait("the same key to be taken", 60, || agent.log(&[record(3)]).is_ok_and(|taken| taken));
    hub.wait("the tag to hold", 30, || hub.matched("seen") == 4);
    for n in 4..8 {
        hub.wait("busy to pass", 60, || agent.log(&[record(n)]).is_ok_and(|taken| taken));
        database.end_sessions();
    }
    hub.wait("each to match once", 60, || hub.matched("seen") == 8);
    hub.wait("both sums to hold", 60, || hub.run(&["status"]).status.success());
    assert!(!hub.path("data/registry.db").exists() && hub.matched("seen") == 8);

    let kept = hub.path("kept");
    hub.ok(&["state", "backup", kept.to_str().unwrap()]);
    assert_eq!(hub.run(&["state", "restore", kept.to_str().unwrap()]).status.code(), Some(5), "`up` runs");
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
    hub.ok(&["state", "restore", kept.to_str().unwrap()]);
    hub.start();
    hub.wait("the key to be taken again", 60, || agent.log(&[record(8)]).is_ok_and(|taken| taken));
    hub.wait("the last match", 30, || hub.matched("seen") == 9);
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
    assert!(!hub.log().contains(&database.url), "no URL, which may hold a password");
}

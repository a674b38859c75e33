//! A database of its own on a real PostgreSQL server.

use std::process::{Command, Output, Stdio};

/// The server that `scripts/services start postgres` started; none where there is none and nobody promised one.
pub fn server() -> Option<String> {
    let url = std::env::var("ZENTRAL_TEST_POSTGRES").ok();
    if url.is_none() {
        assert!(std::env::var_os("CI").is_none(), "ZENTRAL_TEST_POSTGRES is not set");
        eprintln!("skipped: no PostgreSQL (scripts/services start postgres)");
    }
    url
}

/// Made for a test, and dropped with it.
pub struct Database {
    server: String,
    pub name: String,
}

impl Database {
    pub fn new(server: &str, word: &str) -> Self {
        let database = Self { server: server.to_owned(), name: format!("{word}_{}", std::process::id()) };
        sql(server, &format!("CREATE DATABASE {}", database.name));
        database
    }

    /// Its URL, for this role; on the server nobody needs a password.
    pub fn url(&self, role: &str) -> String {
        let place = self.server.split_once("://").unwrap().1.split_once('/').unwrap().0;
        let place = place.rsplit_once('@').map_or(place, |(_, host)| host);
        format!("postgres://{role}@{place}/{}", self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        try_sql(&self.server, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

/// What psql prints of a script, without frames.
pub fn sql(url: &str, script: &str) -> String {
    let out = try_sql(url, script);
    assert!(out.status.success(), "{script}\n{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// The same where it may fail.
pub fn try_sql(url: &str, script: &str) -> Output {
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url]).stdin(Stdio::piped());
    let mut child = psql.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("psql comes with PostgreSQL");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

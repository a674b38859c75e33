//! The tests of state on PostgreSQL: with `ZENTRAL_TEST_STATE=postgres` in the environment every file of a test is a
//! schema of the database at `ZENTRAL_TEST_POSTGRES`, and memory is its temporary one. What is shipped looks at no such variable.

use std::path::Path;
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

use super::home::Kind;
use super::postgres::Server;

/// Whether tests run on PostgreSQL: what only SQLite can do is not asked then.
pub fn is_on() -> bool {
    server().is_some()
}

/// Waits until a server would be asked again whether somebody wrote; a file always is.
pub fn rest() {
    if is_on() {
        std::thread::sleep(super::watch::ASKED_EVERY);
    }
}

fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let make = || {
        if !cfg!(debug_assertions) {
            return None;
        }
        std::env::var("ZENTRAL_TEST_STATE").ok().filter(|word| word == "postgres")?;
        let url = std::env::var("ZENTRAL_TEST_POSTGRES").unwrap_or_default();
        #[allow(clippy::panic, reason = "a test that cannot have its database has failed")]
        Some(Server::parse(&url).unwrap_or_else(|why| panic!("ZENTRAL_TEST_POSTGRES: {why}")))
    };
    SERVER.get_or_init(make).as_ref()
}

/// The schema that stands for this file.
pub(super) fn schema_of(path: &Path) -> Option<Kind> {
    let server = server()?;
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // The folder may be named in two ways; the file need not be there.
    let folder = whole.parent().and_then(|folder| folder.canonicalize().ok());
    let whole = folder.and_then(|folder| Some(folder.join(whole.file_name()?))).unwrap_or(whole);
    let hash = Sha256::digest(whole.as_os_str().as_encoded_bytes());
    let hash: String = hash.iter().take(12).map(|b| format!("{b:02x}")).collect();
    Some(Kind::Schema(server.clone(), format!("proof_{hash}")))
}

/// The schema that stands for memory: it goes with the connection.
pub(super) fn memory() -> Option<Kind> {
    Some(Kind::Schema(server()?.clone(), "pg_temp".to_owned()))
}

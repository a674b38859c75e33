//! Where a state is: a file of its own, or a schema of a PostgreSQL database.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::DbError;
use super::postgres::Server;

/// What the schemas of a hub begin with.
const PREFIX: &str = "zentral_";

/// Where one state is.
#[derive(Debug, Clone)]
pub struct Home(pub(super) Kind);

#[derive(Debug, Clone)]
pub(super) enum Kind {
    File(PathBuf),
    Schema(Arc<Server>, String),
}

impl Home {
    /// The file, where the state is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Kind::File(path) => Some(path),
            Kind::Schema(..) => None,
        }
    }
}

impl std::fmt::Display for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kind::File(path) => path.display().fmt(f),
            Kind::Schema(server, schema) => write!(f, "{server}, schema {schema}"),
        }
    }
}

impl From<&Path> for Home {
    fn from(path: &Path) -> Self {
        #[cfg(debug_assertions)]
        if let Some(schema) = super::proof::schema_of(path) {
            return schema;
        }
        Self(Kind::File(path.to_owned()))
    }
}

impl From<&PathBuf> for Home {
    fn from(path: &PathBuf) -> Self {
        Self::from(path.as_path())
    }
}

impl From<&Self> for Home {
    fn from(home: &Self) -> Self {
        home.clone()
    }
}

/// Where the states of a hub are.
#[derive(Debug, Clone)]
pub struct Homes {
    data: PathBuf,
    server: Option<Arc<Server>>,
}

impl Homes {
    /// Files in the data folder.
    pub fn files(data: &Path) -> Self {
        Self { data: data.to_owned(), server: None }
    }

    /// Schemas of the database at `url` (`postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=require&sslrootcert=FILE`);
    /// nothing is connected yet. The error is a lower-case fragment without the URL, which holds a password.
    pub fn postgres(data: &Path, url: &str) -> Result<Self, String> {
        Ok(Self { data: data.to_owned(), server: Some(Arc::new(Server::parse(url)?)) })
    }

    /// Whether states are schemas of a server that others reach too.
    pub fn is_shared(&self) -> bool {
        self.server.is_some()
    }

    /// The state that people, the console and actions write: `registry`.
    pub fn registry(&self) -> Home {
        self.at(self.data.join("registry.db"), "registry")
    }

    /// The state of this name, of a stage.
    pub fn state(&self, name: &str) -> Home {
        self.at(self.data.join("state").join(format!("{name}.db")), name)
    }

    fn at(&self, file: PathBuf, name: &str) -> Home {
        match &self.server {
            None => Home::from(&file),
            Some(server) => Home(Kind::Schema(server.clone(), schema(name))),
        }
    }

    /// Connects once, for whoever checks the configuration.
    pub fn try_out(&self) -> Result<(), DbError> {
        self.server.as_ref().map_or(Ok(()), |server| server.try_out())
    }
}

/// The schema of a state: `-` is nothing that PostgreSQL takes in a name without quotes.
pub(super) fn schema(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('-', "_"))
}

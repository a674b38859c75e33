//! Where a state is: a file of its own, or a schema of a PostgreSQL database.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::DbError;
use super::postgres::{self, Server};

/// What the schemas of a hub begin with.
const PREFIX: &str = "zentral_";
/// The name of the state that several write; no stage may have it.
pub const REGISTRY: &str = "registry";
/// Bytes of a name in PostgreSQL (`NAMEDATALEN` less one).
const NAME_MAX: usize = 63;

/// Where one state is.
#[derive(Debug, Clone)]
pub struct Home {
    pub(super) kind: Kind,
    name: String,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    File(PathBuf),
    Schema(Server, String),
}

impl Home {
    pub(super) fn of(kind: Kind, name: &str) -> Self {
        Self { kind, name: name.to_owned() }
    }

    /// Its name: `act` of `act.db`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the name can be read from the schema, or has to be written to it.
    pub(super) fn is_plain(&self) -> bool {
        match &self.kind {
            Kind::File(_) => true,
            Kind::Schema(_, schema) => !schema.starts_with(PREFIX) || plain_name(schema) == self.name,
        }
    }

    /// Whether it is the state that people, the console and actions write.
    pub fn is_registry(&self) -> bool {
        self.name == REGISTRY
    }

    /// The file, where the state is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.kind {
            Kind::File(path) => Some(path),
            Kind::Schema(..) => None,
        }
    }
}

impl std::fmt::Display for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Kind::File(path) => path.display().fmt(f),
            Kind::Schema(server, schema) => write!(f, "{server}, schema {schema}"),
        }
    }
}

impl From<&Path> for Home {
    fn from(path: &Path) -> Self {
        let kind = Kind::File(path.to_owned());
        let kind = super::proof::schema_of(path).unwrap_or(kind);
        Self::of(kind, &path.file_stem().unwrap_or_default().to_string_lossy())
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

/// Where the states of a hub are: files in its data folder, or schemas of one database.
#[derive(Debug, Clone)]
pub struct Homes {
    data: PathBuf,
    server: Option<Server>,
}

impl Homes {
    /// Files in the data folder, unless a server is named.
    pub fn new(data: &Path, server: Option<Server>) -> Self {
        Self { data: data.to_owned(), server }
    }

    /// The state that people, the console and actions write.
    pub fn registry(&self) -> Home {
        self.at(self.data.join("registry.db"), REGISTRY)
    }

    /// Whether several processes may own a state together; a file has one owner.
    pub fn are_shared(&self) -> bool {
        self.server.is_some()
    }

    /// The state of this name, of a stage.
    pub fn state(&self, name: &str) -> Home {
        self.at(self.data.join("state").join(format!("{name}.db")), name)
    }

    /// All states that are there, by name.
    ///
    /// # Errors
    /// The folder cannot be read, or the server does not answer.
    pub fn all(&self) -> Result<Vec<Home>, DbError> {
        let Some(server) = &self.server else { return self.all_files() };
        let home = |(name_of, comment): (String, Option<String>)| {
            // What somebody else wrote there is no name.
            let name = comment.filter(|name| schema(name) == name_of).unwrap_or_else(|| plain_name(&name_of));
            Home::of(Kind::Schema(server.clone(), name_of), &name)
        };
        Ok(postgres::schemas(server, PREFIX)?.into_iter().map(home).collect())
    }

    fn all_files(&self) -> Result<Vec<Home>, DbError> {
        let registry = self.registry();
        let mut all = Vec::from_iter(Some(registry).filter(|home| home.file().is_none_or(Path::exists)));
        let folder = self.data.join("state");
        let entries = match std::fs::read_dir(&folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(all),
            other => other.map_err(|e| DbError::Other(format!("{}: {e}", folder.display())))?,
        };
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|path| path.extension().is_some_and(|end| end == "db"));
        files.sort();
        all.extend(files.iter().map(Home::from));
        Ok(all)
    }

    fn at(&self, file: PathBuf, name: &str) -> Home {
        match &self.server {
            None => Home::from(&file),
            Some(server) => Home::of(Kind::Schema(server.clone(), schema(name)), name),
        }
    }
}

/// The name that was made a schema, if it was not too long for one.
fn plain_name(schema: &str) -> String {
    schema.strip_prefix(PREFIX).unwrap_or(schema).replace('_', "-")
}

/// The schema of a state of this name. `-` is nothing that PostgreSQL takes in a name without quotes, and what is longer than it
/// takes would be cut, so that two might become one.
pub fn schema(name: &str) -> String {
    let whole = format!("{PREFIX}{}", name.replace('-', "_"));
    if whole.len() <= NAME_MAX {
        return whole;
    }
    let hash: String = Sha256::digest(name).iter().take(6).map(|b| format!("{b:02x}")).collect();
    let front: String = whole.chars().take(NAME_MAX - hash.len() - 1).collect();
    format!("{front}_{hash}")
}

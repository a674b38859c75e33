//! Why something is not done.

use registry::db::DbError;

/// Why something is not done.
#[derive(Debug)]
pub enum Refused {
    /// What was asked for is wrong: which part of it, and why.
    Asked(&'static str, String),
    /// There is no enrolment of this id.
    Unknown(String),
    /// The enrolment of this id was revoked.
    Revoked(String),
    /// The configuration, or a file that it names, does not let a package be made.
    Config(String),
    /// The key of the hub cannot be read or made.
    Key(String),
    /// The registry cannot be read or written.
    Db(DbError),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Asked(part, why) => write!(f, "{part}: {why}"),
            Self::Unknown(id) => write!(f, "there is no enrolment `{id}`"),
            Self::Revoked(id) => write!(f, "enrolment `{id}` is revoked"),
            Self::Config(why) | Self::Key(why) => f.write_str(why),
            Self::Db(e) => write!(f, "registry: {e}"),
        }
    }
}

impl std::error::Error for Refused {}

impl From<DbError> for Refused {
    fn from(error: DbError) -> Self {
        Self::Db(error)
    }
}

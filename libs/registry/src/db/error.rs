//! What can be wrong with state.

/// What went wrong with a state.
#[derive(Debug)]
pub enum DbError {
    /// The state was written by a newer program.
    Newer {
        /// Name of the schema.
        schema: &'static str,
        /// Its number in the state.
        found: i64,
        /// The highest number this program knows.
        known: i64,
    },
    /// Another process holds the state longer than 10 s.
    Busy,
    /// The disk is full; what was being written is not there.
    Full,
    /// The database server does not answer, has no connection left, or takes no writes now. Whether a commit that ended
    /// so was made is not known: whoever gets this reads the state again before it goes on.
    Unreachable(String),
    /// Anything else the database says.
    Other(String),
}

impl std::fmt::Display for DbError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Newer { schema, found, known } => {
                write!(f, "schema `{schema}` has number {found}, this program knows up to {known}")
            }
            Self::Busy => f.write_str("the state is held by another process"),
            Self::Full => f.write_str("no room left for the state"),
            Self::Unreachable(text) | Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for DbError {}

//! The exit codes: an interface (contract § 3).

use std::process::ExitCode;

use registry::db::{DbError, Home};

/// What a program's end means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The answer is no: nothing matched, a test failed, unhealthy.
    No = 1,
    /// Usage, configuration or a filter is wrong; said with file, line, caret.
    Usage = 2,
    /// Done, but some lines were refused; wins over 0 and 1.
    Refused = 3,
    /// The other side could not be reached in time.
    Unreachable = 4,
    /// State: locked by another, newer schema, position beyond the topic, fsync failed.
    State = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// The meaning of another process's exit code, if it is one of ours.
    pub fn of(code: i32) -> Option<Self> {
        [Self::Done, Self::No, Self::Usage, Self::Refused, Self::Unreachable, Self::State]
            .into_iter()
            .find(|e| *e as i32 == code)
    }
}

/// Why a stage cannot go on: what is said, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageError {
    /// The exit code.
    pub exit: Exit,
    /// A lower-case fragment with the place in it.
    pub text: String,
}

impl StageError {
    /// With the code for a wrong configuration.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, text: text.into() }
    }

    /// With the code for state that cannot be used.
    pub fn state(text: impl Into<String>) -> Self {
        Self { exit: Exit::State, text: text.into() }
    }

    /// With the code for another side that does not answer.
    pub fn unreachable(text: impl Into<String>) -> Self {
        Self { exit: Exit::Unreachable, text: text.into() }
    }
}

impl StageError {
    /// What went wrong with the state that is there.
    pub fn of(home: &Home, error: DbError) -> Self {
        let text = format!("{home}: {error}");
        Self { text, ..Self::from(error) }
    }
}

impl std::fmt::Display for StageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for StageError {}

impl From<DbError> for StageError {
    fn from(error: DbError) -> Self {
        let text = format!("state: {error}");
        match error {
            // A full disk passes, a server comes back, and whoever writes now is done some time: the supervisor starts the
            // stage again, with growing pauses.
            DbError::Full | DbError::Unreachable(_) | DbError::Busy => Self::unreachable(text),
            _ => Self::state(text),
        }
    }
}

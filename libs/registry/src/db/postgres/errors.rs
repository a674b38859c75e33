//! What the server says, in the words of [`DbError`].

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::DbError;

/// What an error of the driver means.
pub(super) fn told(error: &Error) -> DbError {
    let Some(code) = error.code() else {
        return if is_ours(error) { DbError::Other(reason(error)) } else { DbError::Unreachable(reason(error)) };
    };
    match *code {
        SqlState::LOCK_NOT_AVAILABLE
        | SqlState::QUERY_CANCELED
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::T_R_SERIALIZATION_FAILURE => DbError::Busy,
        SqlState::DISK_FULL => DbError::Full,
        SqlState::READ_ONLY_SQL_TRANSACTION
        | SqlState::TOO_MANY_CONNECTIONS
        | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
        | SqlState::OUT_OF_MEMORY => DbError::Unreachable(reason(error)),
        // A connection that broke; a server that goes, starts or ends sessions.
        _ if code.code().starts_with("08") || code.code().starts_with("57P") => DbError::Unreachable(reason(error)),
        _ => DbError::Other(reason(error)),
    }
}

/// Whether it will be the same the next time, though the server said nothing: a value that cannot be sent or read, a
/// login that is not complete, a certificate that is not to be trusted. The driver tells these by their texts only.
fn is_ours(error: &Error) -> bool {
    let text = error.to_string();
    ["error serializing", "error deserializing", "error encoding", "invalid configuration", "authentication error"]
        .iter()
        .any(|begin| text.starts_with(begin))
        || (text.contains("TLS") && reason(error).contains("certificate"))
}

/// The server's own words, or the chain of causes; never a value that was bound.
pub(super) fn reason(error: &Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{} ({})", db.message(), db.code().code());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}

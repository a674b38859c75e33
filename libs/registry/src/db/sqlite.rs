//! SQLite: a file, or memory.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, OpenFlags, TransactionBehavior};

use super::{BUSY_TIMEOUT, DbError, Params, Row, Value};

/// Prepared statements kept per file.
const STATEMENTS_KEPT: usize = 64;
/// Between two tries for what SQLite does not wait for.
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// The journal is WAL with `synchronous=FULL`: a commit that returned survives a power cut.
pub(super) fn open(path: &Path) -> Result<Connection, DbError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    keep_wal(&connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    keep_statements(&connection);
    Ok(connection)
}

/// Several processes may be the first to open a file. For its turn to change the journal SQLite does not wait as it waits
/// for others' writes: it says at once that the file is busy.
fn keep_wal(connection: &Connection) -> Result<(), DbError> {
    let begun = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL").map_err(DbError::from) {
            Err(DbError::Busy) if begun.elapsed() < BUSY_TIMEOUT => std::thread::sleep(BETWEEN_TRIES),
            done => return done,
        }
    }
}

pub(super) fn memory() -> Result<Connection, DbError> {
    let connection = Connection::open_in_memory()?;
    keep_statements(&connection);
    Ok(connection)
}

pub(super) fn open_read_only(path: &Path) -> Result<Connection, DbError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    keep_statements(&connection);
    Ok(connection)
}

fn keep_statements(connection: &Connection) {
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
}

pub(super) fn begin(connection: &mut Connection) -> Result<rusqlite::Transaction<'_>, DbError> {
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

pub(super) fn query(connection: &Connection, sql: &str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
    rows(connection.prepare_cached(sql)?, params)
}

pub(super) fn execute(connection: &Connection, sql: &str, params: Params<'_>) -> Result<u64, DbError> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, params)?;
    Ok(statement.raw_execute()? as u64)
}

pub(super) fn version(connection: &Connection) -> Result<i64, DbError> {
    Ok(connection.pragma_query_value(None, "data_version", |row| row.get(0))?)
}

fn rows(mut statement: CachedStatement<'_>, params: Params<'_>) -> Result<Vec<Row>, DbError> {
    bind(&mut statement, params)?;
    let columns = statement.column_count();
    let mut rows = statement.raw_query();
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(Row(values(row, columns)?));
    }
    Ok(all)
}

/// Hands on one row after the other.
pub(super) fn each(
    connection: &Connection,
    sql: &str,
    take: &mut dyn FnMut(Vec<Value>) -> Result<(), DbError>,
) -> Result<(), DbError> {
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        take(values(row, columns)?)?;
    }
    Ok(())
}

fn values(row: &rusqlite::Row<'_>, columns: usize) -> Result<Vec<Value>, DbError> {
    let mut values = Vec::with_capacity(columns);
    for i in 0..columns {
        values.push(match row.get_ref(i)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(n) => Value::Int(n),
            ValueRef::Real(n) => Value::Real(n),
            ValueRef::Text(s) => Value::Text(String::from_utf8_lossy(s).into_owned()),
            ValueRef::Blob(b) => Value::Blob(b.to_vec()),
        });
    }
    Ok(values)
}

/// `$1` is a name to SQLite and a place to PostgreSQL: bound by name, it means the same in both.
fn bind(statement: &mut CachedStatement<'_>, params: Params<'_>) -> Result<(), DbError> {
    for (i, value) in params.iter().enumerate() {
        if let Some(place) = statement.parameter_index(&format!("${}", i + 1))? {
            statement.raw_bind_parameter(place, value)?;
        }
    }
    Ok(())
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(n) => ValueRef::Integer(*n),
            Self::Real(n) => ValueRef::Real(*n),
            Self::Text(s) => ValueRef::Text(s.as_bytes()),
            Self::Blob(b) => ValueRef::Blob(b),
        }))
    }
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => Self::Busy,
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            _ => Self::Other(error.to_string()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn many_may_be_the_first_to_open_a_file() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..50 {
            let path = dir.path().join(format!("{n}.db"));
            std::thread::scope(|scope| {
                let all: Vec<_> = (0..8).map(|_| scope.spawn(|| open(&path).map(drop))).collect();
                all.into_iter().for_each(|one| one.join().unwrap().unwrap());
            });
        }
    }
}

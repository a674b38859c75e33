//! A state file and its transactions: the one place that knows which database it is.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, OpenFlags, TransactionBehavior};

/// How long a statement waits for another writer of the same file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Prepared statements kept per file.
const STATEMENTS_KEPT: usize = 64;

/// Tables that belong together, with their history. The number of the schema is the number of its migrations; an
/// older file is migrated, a newer one refused.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Name under which the number is kept; several schemas may share a file.
    pub name: &'static str,
    /// SQL scripts, oldest first; never changed, only added to.
    pub migrations: &'static [&'static str],
}

/// What went wrong with a state file.
#[derive(Debug)]
pub enum DbError {
    /// The file was written by a newer program.
    Newer {
        /// Name of the schema.
        schema: &'static str,
        /// Its number in the file.
        found: i64,
        /// The highest number this program knows.
        known: i64,
    },
    /// Another process holds the file longer than [`BUSY_TIMEOUT`] (10 s).
    Busy,
    /// The disk is full; what was being written is not there.
    Full,
    /// Anything else the database says.
    Other(String),
}

impl std::fmt::Display for DbError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Newer { schema, found, known } => {
                write!(f, "schema `{schema}` has number {found}, this program knows up to {known}")
            }
            Self::Busy => f.write_str("the state file is held by another process"),
            Self::Full => f.write_str("no room left for the state file"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for DbError {}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => Self::Busy,
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            _ => Self::Other(error.to_string()),
        }
    }
}

/// A value going in or coming out.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// BIGINT; also booleans (0, 1) and milliseconds.
    Int(i64),
    /// DOUBLE PRECISION.
    Real(f64),
    /// TEXT.
    Text(String),
    /// BYTEA.
    Blob(Vec<u8>),
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Int(n)
    }
}
impl From<u32> for Value {
    fn from(n: u32) -> Self {
        Self::Int(n.into())
    }
}
impl From<u64> for Value {
    /// Offsets and counts; what does not fit an i64 cannot occur on a disk.
    fn from(n: u64) -> Self {
        Self::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }
}
impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Int(b.into())
    }
}
impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Self::Text(s.to_owned())
    }
}
impl From<&String> for Value {
    fn from(s: &String) -> Self {
        Self::Text(s.clone())
    }
}
impl From<String> for Value {
    fn from(s: String) -> Self {
        Self::Text(s)
    }
}
impl From<Vec<u8>> for Value {
    fn from(b: Vec<u8>) -> Self {
        Self::Blob(b)
    }
}
impl From<&[u8]> for Value {
    fn from(b: &[u8]) -> Self {
        Self::Blob(b.to_vec())
    }
}
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
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

/// Values for `$1`, `$2`, … of a statement.
pub type Params<'a> = &'a [Value];

/// One row of an answer; columns count from 0. A column that is not there, or of another type, reads as empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(Vec<Value>);

impl Row {
    /// All columns.
    pub fn values(&self) -> &[Value] {
        &self.0
    }

    /// The column as a number; 0 if it is none.
    pub fn int(&self, i: usize) -> i64 {
        self.opt_int(i).unwrap_or(0)
    }

    /// The column as a number that is never negative (an offset, a count).
    pub fn uint(&self, i: usize) -> u64 {
        u64::try_from(self.int(i)).unwrap_or(0)
    }

    /// The column as a number, if it is one.
    pub fn opt_int(&self, i: usize) -> Option<i64> {
        match self.0.get(i) {
            Some(Value::Int(n)) => Some(*n),
            _ => None,
        }
    }

    /// The column as text; empty if it is none.
    pub fn text(&self, i: usize) -> &str {
        self.opt_text(i).unwrap_or("")
    }

    /// The column as text, if it is text.
    pub fn opt_text(&self, i: usize) -> Option<&str> {
        match self.0.get(i) {
            Some(Value::Text(s)) => Some(s),
            _ => None,
        }
    }

    /// The column as bytes; empty if it holds none.
    pub fn blob(&self, i: usize) -> &[u8] {
        match self.0.get(i) {
            Some(Value::Blob(b)) => b,
            Some(Value::Text(s)) => s.as_bytes(),
            _ => &[],
        }
    }
}

/// A state file.
#[derive(Debug)]
pub struct Db(Connection);

impl Db {
    /// Opens the file for writing, makes it if need be, and brings its tables up to date.
    ///
    /// The journal is WAL with `synchronous=FULL`: a commit that returned survives a power cut.
    pub fn open(path: &Path, schemas: &[Schema]) -> Result<Self, DbError> {
        let mut db = Self(Connection::open(path)?);
        db.0.busy_timeout(BUSY_TIMEOUT)?;
        db.0.pragma_update(None, "journal_mode", "WAL")?;
        db.0.pragma_update(None, "synchronous", "FULL")?;
        db.set_up(schemas)?;
        Ok(db)
    }

    /// State that lives as long as the process: a stage between pipes.
    pub fn memory(schemas: &[Schema]) -> Result<Self, DbError> {
        let mut db = Self(Connection::open_in_memory()?);
        db.set_up(schemas)?;
        Ok(db)
    }

    /// Opens another's file to look at; `None` if it does not exist yet.
    pub fn open_read_only(path: &Path) -> Result<Option<Self>, DbError> {
        if !path.exists() {
            return Ok(None);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Self(Connection::open_with_flags(path, flags)?);
        db.0.busy_timeout(BUSY_TIMEOUT)?;
        db.0.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        Ok(Some(db))
    }

    fn set_up(&mut self, schemas: &[Schema]) -> Result<(), DbError> {
        self.0.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        let mut tx = self.begin()?;
        tx.execute("CREATE TABLE IF NOT EXISTS schemas (name TEXT PRIMARY KEY, number BIGINT NOT NULL)", &[])?;
        for schema in schemas {
            tx.migrate(schema)?;
        }
        // A process that was killed within a commit leaves one of which nobody knows: the next connection does not see
        // it, and the one after all are gone would find it in the WAL. It is overwritten here, before anybody acts on
        // what was read. The value is never read; a page is written.
        tx.0.pragma_update(None, "user_version", 0)?;
        tx.commit()
    }

    /// A transaction that writes; a second writer of the file waits.
    pub fn begin(&mut self) -> Result<Tx<'_>, DbError> {
        Ok(Tx(self.0.transaction_with_behavior(TransactionBehavior::Immediate)?))
    }

    /// Reads outside a transaction.
    pub fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
        rows(self.0.prepare_cached(sql)?, params)
    }

    /// Changes whenever another connection changed the file; cheap enough to ask once per batch.
    pub fn version(&self) -> Result<i64, DbError> {
        Ok(self.0.pragma_query_value(None, "data_version", |row| row.get(0))?)
    }

    /// Copies the whole state to a new file, while it is in use.
    pub fn backup(&self, to: &Path) -> Result<(), DbError> {
        let mut copy = Connection::open(to)?;
        let backup = rusqlite::backup::Backup::new(&self.0, &mut copy)?;
        Ok(backup.run_to_completion(1000, Duration::from_millis(1), None)?)
    }
}

/// One transaction; dropped without [`Tx::commit`] it leaves nothing.
#[derive(Debug)]
pub struct Tx<'a>(rusqlite::Transaction<'a>);

impl Tx<'_> {
    /// Runs one statement; the number of rows it changed.
    pub fn execute(&mut self, sql: &str, params: Params<'_>) -> Result<u64, DbError> {
        let mut statement = self.0.prepare_cached(sql)?;
        bind(&mut statement, params)?;
        Ok(statement.raw_execute()? as u64)
    }

    /// Runs one statement that answers with rows.
    pub fn query(&mut self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
        rows(self.0.prepare_cached(sql)?, params)
    }

    /// Makes it durable.
    pub fn commit(self) -> Result<(), DbError> {
        Ok(self.0.commit()?)
    }

    fn migrate(&mut self, schema: &Schema) -> Result<(), DbError> {
        let found = self.query("SELECT number FROM schemas WHERE name = $1", &[schema.name.into()])?;
        let found = found.first().map_or(0, |row| row.int(0));
        let known = i64::try_from(schema.migrations.len()).unwrap_or(i64::MAX);
        if found > known {
            return Err(DbError::Newer { schema: schema.name, found, known });
        }
        for script in schema.migrations.iter().skip(usize::try_from(found).unwrap_or(0)) {
            self.0.execute_batch(script)?;
        }
        if found < known {
            self.execute(
                "INSERT INTO schemas (name, number) VALUES ($1, $2) \
                 ON CONFLICT (name) DO UPDATE SET number = excluded.number",
                &[schema.name.into(), known.into()],
            )?;
        }
        Ok(())
    }
}

/// Whether a file that is only looked at has the tables of this schema.
pub fn has_schema(db: &Db, schema: &Schema) -> Result<bool, DbError> {
    let none = db.query("SELECT 1 FROM sqlite_master WHERE name = 'schemas'", &[])?.is_empty();
    if none {
        return Ok(false);
    }
    Ok(!db.query("SELECT 1 FROM schemas WHERE name = $1", &[schema.name.into()])?.is_empty())
}

fn rows(mut statement: CachedStatement<'_>, params: Params<'_>) -> Result<Vec<Row>, DbError> {
    bind(&mut statement, params)?;
    let columns = statement.column_count();
    let mut rows = statement.raw_query();
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
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
        all.push(Row(values));
    }
    Ok(all)
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    const V1: Schema = Schema { name: "t", migrations: &["CREATE TABLE t (k TEXT PRIMARY KEY, n BIGINT, b BYTEA)"] };
    const V2: Schema = Schema {
        name: "t",
        migrations: &["CREATE TABLE t (k TEXT PRIMARY KEY, n BIGINT, b BYTEA)", "ALTER TABLE t ADD COLUMN x TEXT"],
    };

    /// A kill after a commit's frames were written, and before others were told of them; somebody reads all the while.
    #[test]
    fn what_a_killed_commit_left_does_not_come_back() {
        use std::os::unix::fs::FileExt as _;
        const HEADER: usize = 96;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let mut killed = Db::open(&path, &[V1]).unwrap();
        let put = |db: &mut Db, key: &str| {
            let mut tx = db.begin().unwrap();
            tx.execute("INSERT INTO t (k, n) VALUES ($1, 1)", &[key.into()]).unwrap();
            tx.commit().unwrap();
        };
        put(&mut killed, "done");
        let reader = Db::open_read_only(&path).unwrap().unwrap();
        let keys = |db: &Db| -> Vec<String> {
            db.query("SELECT k FROM t ORDER BY k", &[]).unwrap().iter().map(|row| row.text(0).to_owned()).collect()
        };
        assert_eq!(keys(&reader), ["done"]);
        let shared = std::fs::File::options().read(true).write(true).open(dir.path().join("a.db-shm")).unwrap();
        let mut header = [0; HEADER];
        shared.read_exact_at(&mut header, 0).unwrap();
        put(&mut killed, "unknown");
        shared.write_all_at(&header, 0).unwrap();
        std::mem::forget(killed);

        let next = Db::open(&path, &[V1]).unwrap();
        assert_eq!(keys(&next), ["done"]);
        // All are killed; whoever comes then finds the file and the WAL.
        let later = tempfile::tempdir().unwrap();
        for name in ["a.db", "a.db-wal"] {
            std::fs::copy(dir.path().join(name), later.path().join(name)).unwrap();
        }
        assert_eq!(keys(&Db::open(&later.path().join("a.db"), &[V1]).unwrap()), ["done"]);
    }

    #[test]
    fn values_go_in_and_come_out() {
        let mut db = Db::memory(&[V1]).unwrap();
        let mut tx = db.begin().unwrap();
        let sql =
            "INSERT INTO t (b, n, k) VALUES ($3, $2, $1) ON CONFLICT (k) DO UPDATE SET n = excluded.n RETURNING n";
        let rows = tx.query(sql, &["a".into(), 7u64.into(), vec![0xff].into()]).unwrap();
        assert_eq!(rows.first().unwrap().int(0), 7);
        tx.commit().unwrap();
        let rows = db.query("SELECT k, n, b, NULL FROM t", &[]).unwrap();
        let row = rows.first().unwrap();
        assert_eq!((row.text(0), row.int(1), row.blob(2), row.opt_text(3)), ("a", 7, &[0xff][..], None));
        assert_eq!(db.begin().unwrap().execute("DELETE FROM t", &[]).unwrap(), 1);
        assert_eq!(db.query("SELECT 1 FROM t", &[]).unwrap().len(), 1, "no commit, no change");
    }

    #[test]
    fn older_files_are_migrated_newer_ones_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        assert!(Db::open_read_only(&path).unwrap().is_none());
        drop(Db::open(&path, &[V1]).unwrap());
        let db = Db::open(&path, &[V2]).unwrap();
        let seen = Db::open_read_only(&path).unwrap().unwrap();
        let before = seen.version().unwrap();
        drop(db);
        let error = Db::open(&path, &[V1]).unwrap_err();
        assert!(matches!(error, DbError::Newer { schema: "t", found: 2, known: 1 }), "{error}");
        let mut db = Db::open(&path, &[V2]).unwrap();
        let mut tx = db.begin().unwrap();
        tx.execute("INSERT INTO t (k) VALUES ('x')", &[]).unwrap();
        tx.commit().unwrap();
        assert_ne!(seen.version().unwrap(), before);
        db.backup(&dir.path().join("copy.db")).unwrap();
        assert_eq!(
            Db::open(&dir.path().join("copy.db"), &[V2]).unwrap().query("SELECT k FROM t", &[]).unwrap().len(),
            1
        );
    }
}

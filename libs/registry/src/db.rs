//! A state and its transactions: the one place that knows which database it is in.

mod copy;
mod error;
mod home;
mod postgres;
pub mod proof;
mod sqlite;
mod value;
mod watch;

use std::time::Duration;

pub use copy::{Copied, check, copy, drop, is_used, known};
pub use error::DbError;
use home::Kind;
pub use home::{Home, Homes, REGISTRY, schema};
use postgres::Postgres;
pub use postgres::Server;
pub use value::{Params, Row, Value};
pub use watch::{Version, Watched};

/// How long a statement waits for another writer of the same state.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Tables that belong together, with their history. The number of the schema is the number of its migrations; an
/// older state is migrated, a newer one refused.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// Name under which the number is kept; several schemas may share a state.
    pub name: &'static str,
    /// SQL scripts, oldest first; never changed, only added to.
    pub migrations: &'static [&'static str],
}

/// A state: a file of SQLite's, or a schema of a PostgreSQL database.
#[derive(Debug)]
pub struct Db(Engine);

#[derive(Debug)]
enum Engine {
    Sqlite(rusqlite::Connection),
    Postgres(Box<Postgres>),
}

impl Db {
    /// Opens the state for writing, makes it if need be, and brings its tables up to date. A commit that returned
    /// survives a power cut.
    pub fn open(home: impl Into<Home>, schemas: &[Schema]) -> Result<Self, DbError> {
        let home = home.into();
        let mut db = Self(match &home.kind {
            Kind::File(path) => Engine::Sqlite(sqlite::open(path)?),
            Kind::Schema(server, schema) => {
                let db = Postgres::open(server.clone(), schema, false)?;
                Engine::Postgres(Box::new(if home.is_plain() { db } else { db.named(home.name()) }))
            }
        });
        db.bring_up_to_date(schemas)?;
        Ok(db)
    }

    /// State that lives as long as the process: a stage between pipes.
    pub fn memory(schemas: &[Schema]) -> Result<Self, DbError> {
        if let Some(kind) = proof::memory() {
            return Self::open(Home::of(kind, "memory"), schemas);
        }
        let mut db = Self(Engine::Sqlite(sqlite::memory()?));
        db.bring_up_to_date(schemas)?;
        Ok(db)
    }

    /// Opens another's state to look at; `None` if it does not exist yet.
    pub fn open_read_only(home: impl Into<Home>) -> Result<Option<Self>, DbError> {
        match home.into().kind {
            Kind::File(path) if !path.exists() => Ok(None),
            Kind::File(path) => Ok(Some(Self(Engine::Sqlite(sqlite::open_read_only(&path)?)))),
            Kind::Schema(server, schema) => {
                let db = Postgres::open(server, &schema, true)?;
                Ok(db.is_there()?.then(|| Self(Engine::Postgres(Box::new(db)))))
            }
        }
    }

    /// Takes the state for this process, for as long as this lives; false if another has it. A file is its owner's by
    /// the lock beside it, which holds on one machine only.
    pub fn own(&self) -> Result<bool, DbError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(true),
            Engine::Postgres(db) => db.own(),
        }
    }

    /// As [`Db::own`], for one of several instances that write the state together: false if this very instance runs
    /// already, here or on another host, or if somebody works on the state as a whole.
    pub fn own_as(&self, instance: u32) -> Result<bool, DbError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(true),
            Engine::Postgres(db) => db.own_as(instance),
        }
    }

    /// Gives back what [`Db::own`] took.
    pub fn disown(&self) -> Result<(), DbError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(db) => db.disown(),
        }
    }

    /// Whether no instance has it ([`Db::own_as`]), nor will as long as this lives.
    pub fn is_alone(&self) -> Result<bool, DbError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(true),
            Engine::Postgres(db) => db.is_alone(),
        }
    }

    /// Whether what [`Db::own`] took was lost with the connection: whoever remembers what was in the state must begin
    /// anew.
    pub fn is_lost(&self) -> bool {
        match &self.0 {
            Engine::Sqlite(_) => false,
            Engine::Postgres(db) => db.is_lost(),
        }
    }

    /// Makes tables that are not there yet, and brings others to what this program knows.
    pub fn bring_up_to_date(&mut self, schemas: &[Schema]) -> Result<(), DbError> {
        if let Engine::Postgres(db) = &self.0 {
            db.make()?;
            if self.is_up_to_date(schemas)? {
                // Whoever may not change tables needs no leave to.
                return Ok(());
            }
        }
        let mut tx = self.begin()?;
        if let Running::Sqlite(_) = tx.0 {
            tx.execute("CREATE TABLE IF NOT EXISTS schemas (name TEXT PRIMARY KEY, number BIGINT NOT NULL)", &[])?;
        }
        for schema in schemas {
            tx.migrate(schema)?;
        }
        if let Running::Sqlite(tx) = &tx.0 {
            // A process that was killed within a commit leaves one of which nobody knows: the next connection does not
            // see it, and the one after all are gone would find it in the WAL. It is overwritten here, before anybody
            // acts on what was read. The value is never read; a page is written.
            tx.pragma_update(None, "user_version", 0)?;
        }
        tx.commit()
    }

    /// Whether [`Db::bring_up_to_date`] has nothing to do.
    pub fn is_up_to_date(&self, schemas: &[Schema]) -> Result<bool, DbError> {
        let numbers = self.query("SELECT name, number FROM schemas", &[])?;
        let known = |schema: &Schema| i64::try_from(schema.migrations.len()).unwrap_or(i64::MAX);
        Ok(schemas.iter().all(|s| numbers.iter().any(|row| row.text(0) == s.name && row.int(1) == known(s))))
    }

    /// A transaction that writes; a second writer of the state waits.
    pub fn begin(&mut self) -> Result<Tx<'_>, DbError> {
        Ok(Tx(match &mut self.0 {
            Engine::Sqlite(connection) => Running::Sqlite(sqlite::begin(connection)?),
            Engine::Postgres(db) => Running::Postgres(db.begin()?),
        }))
    }

    /// The same beside other writers, of whom each has rows of its own: it waits only for rows that another has written
    /// and not committed. A file has one writer all the same.
    pub fn begin_beside(&mut self) -> Result<Tx<'_>, DbError> {
        Ok(Tx(match &mut self.0 {
            Engine::Sqlite(connection) => Running::Sqlite(sqlite::begin(connection)?),
            Engine::Postgres(db) => Running::Postgres(db.begin_beside()?),
        }))
    }

    /// Reads outside a transaction.
    pub fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
        match &self.0 {
            Engine::Sqlite(connection) => sqlite::query(connection, sql, params),
            Engine::Postgres(db) => db.query(sql, params),
        }
    }

    /// Changes whenever another connection changed the state; cheap enough to ask once per batch.
    pub fn version(&self) -> Result<i64, DbError> {
        match &self.0 {
            Engine::Sqlite(connection) => sqlite::version(connection),
            Engine::Postgres(db) => db.version(),
        }
    }

    /// Whether there is a table of this name.
    pub fn has_table(&self, table: &str) -> Result<bool, DbError> {
        let sql = match &self.0 {
            Engine::Sqlite(_) => "SELECT 1 FROM sqlite_master WHERE name = $1",
            Engine::Postgres(_) => "SELECT 1 WHERE to_regclass($1) IS NOT NULL",
        };
        Ok(!self.query(sql, &[table.into()])?.is_empty())
    }

    /// Whether there is a table of this name, and a column of that name in it.
    pub fn has_column(&self, table: &str, column: &str) -> Result<bool, DbError> {
        let sql = match &self.0 {
            Engine::Sqlite(_) => "SELECT 1 FROM pragma_table_info($1) WHERE name = $2",
            Engine::Postgres(_) => {
                "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped"
            }
        };
        Ok(!self.query(sql, &[table.into(), column.into()])?.is_empty())
    }
}

/// One transaction; dropped without [`Tx::commit`] it leaves nothing. After a statement that failed nothing more can be
/// done in it.
#[derive(Debug)]
pub struct Tx<'a>(Running<'a>);

#[derive(Debug)]
enum Running<'a> {
    Sqlite(rusqlite::Transaction<'a>),
    Postgres(postgres::Open<'a>),
}

impl Tx<'_> {
    /// Runs one statement; the number of rows it changed.
    pub fn execute(&mut self, sql: &str, params: Params<'_>) -> Result<u64, DbError> {
        match &mut self.0 {
            Running::Sqlite(tx) => sqlite::execute(tx, sql, params),
            Running::Postgres(tx) => tx.execute(sql, params),
        }
    }

    /// Runs one statement that answers with rows.
    pub fn query(&mut self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
        match &mut self.0 {
            Running::Sqlite(tx) => sqlite::query(tx, sql, params),
            Running::Postgres(tx) => tx.query(sql, params),
        }
    }

    /// Makes it durable. An error [`DbError::Unreachable`] leaves open whether it is.
    pub fn commit(self) -> Result<(), DbError> {
        match self.0 {
            Running::Sqlite(tx) => Ok(tx.commit()?),
            Running::Postgres(tx) => tx.commit(),
        }
    }

    fn migrate(&mut self, schema: &Schema) -> Result<(), DbError> {
        let found = self.query("SELECT number FROM schemas WHERE name = $1", &[schema.name.into()])?;
        let found = found.first().map_or(0, |row| row.int(0));
        let known = i64::try_from(schema.migrations.len()).unwrap_or(i64::MAX);
        if found > known {
            return Err(DbError::Newer { schema: schema.name, found, known });
        }
        for script in schema.migrations.iter().skip(usize::try_from(found).unwrap_or(0)) {
            match &mut self.0 {
                Running::Sqlite(tx) => tx.execute_batch(script)?,
                Running::Postgres(tx) => tx.batch(&postgres::adapted(script))?,
            }
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

/// Whether a state that is only looked at has the tables of this schema.
pub fn has_schema(db: &Db, schema: &Schema) -> Result<bool, DbError> {
    if !db.has_table("schemas")? {
        return Ok(false);
    }
    Ok(!db.query("SELECT 1 FROM schemas WHERE name = $1", &[schema.name.into()])?.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests;

//! One schema of a PostgreSQL database, over one connection.

mod bind;
mod block;
mod errors;
mod script;
mod server;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use super::{BUSY_TIMEOUT, DbError, Params, Row, Value};
use errors::told;
pub(super) use script::adapted;
pub use server::Server;

/// How long one statement may take; the server ends it a little earlier.
const STATEMENT_LIMIT: Duration = Duration::from_secs(65);
/// Prepared statements kept per connection.
const STATEMENTS_KEPT: usize = 256;
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
/// The table whose number says that somebody wrote. Its first number is the time, so that a state that was put back
/// never shows one that was seen before.
pub(super) const WRITES: &str = "writes";

/// A schema and the connection to it, which is made anew when it broke, unless a lock hung on it.
pub(super) struct Postgres {
    server: Server,
    schema: String,
    /// The name of the state, which its schema shows to whoever looks for states where it does not say it already.
    name: Option<String>,
    read_only: bool,
    owned: Cell<bool>,
    session: RefCell<Option<Session>>,
}

struct Session {
    client: Client,
    statements: HashMap<String, Statement>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres").field("server", &self.server).field("schema", &self.schema).finish()
    }
}

impl Postgres {
    /// Connects. A schema that is not there is made, unless it is only to be read.
    pub(super) fn open(server: Server, schema: &str, read_only: bool) -> Result<Self, DbError> {
        let session = RefCell::new(None);
        let (schema, owned) = (schema.to_owned(), Cell::new(false));
        let db = Self { server, schema, name: None, read_only, owned, session };
        db.with(|_| Ok(()))?;
        Ok(db)
    }

    /// What [`Postgres::make`] writes to a schema whose name does not say which state it is.
    pub(super) fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Whether tables of ours are in the schema.
    pub(super) fn is_there(&self) -> Result<bool, DbError> {
        let sql = "SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'schemas'";
        let schema = if self.is_temporary() { return Ok(true) } else { self.schema.as_str() };
        Ok(!self.query(sql, &[schema.into()])?.is_empty())
    }

    /// Makes the schema and the tables that every one has. Whoever may not create one needs it to be there.
    pub(super) fn make(&self) -> Result<(), DbError> {
        if self.is_temporary() || !self.is_there()? {
            let mut script = String::new();
            // Even with IF NOT EXISTS the server asks for leave to make schemas, which a stage's role does not have.
            let known = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
            if !self.is_temporary() && self.query(known, &[self.schema.as_str().into()])?.is_empty() {
                script = format!("CREATE SCHEMA IF NOT EXISTS {};", self.schema);
            }
            if let Some(name) = &self.name {
                let _ = write!(script, "COMMENT ON SCHEMA {} IS '{}';", self.schema, name.replace('\'', "''"));
            }
            script.push_str(&format!(
                "CREATE TABLE IF NOT EXISTS schemas (name TEXT COLLATE \"C\" PRIMARY KEY, number BIGINT NOT NULL);
                CREATE TABLE IF NOT EXISTS {WRITES} (one BIGINT PRIMARY KEY, n BIGINT NOT NULL);
                INSERT INTO {WRITES} VALUES (1, (extract(epoch from clock_timestamp()) * 1000000)::BIGINT)
                ON CONFLICT (one) DO NOTHING;"
            ));
            let begin = self.begin_sql();
            return self.with(|session| session.begin(&format!("{begin};{script}COMMIT")));
        }
        Ok(())
    }

    fn is_temporary(&self) -> bool {
        self.schema == "pg_temp"
    }

    /// A session that is alive, and what is done with it.
    fn with<T>(&self, work: impl FnOnce(&mut Session) -> Result<T, DbError>) -> Result<T, DbError> {
        let mut place = self.session.borrow_mut();
        if place.as_ref().is_none_or(|session| session.client.is_closed()) {
            if self.owned.get() {
                // The lock went with the connection: another may hold it now.
                return Err(self.ended());
            }
            *place = Some(self.connect()?);
        }
        self.work(&mut place, work)
    }

    /// Never over a new connection: that one knows nothing of the transaction.
    fn within<T>(&self, work: impl FnOnce(&mut Session) -> Result<T, DbError>) -> Result<T, DbError> {
        self.work(&mut self.session.borrow_mut(), work)
    }

    fn work<T>(
        &self,
        place: &mut Option<Session>,
        work: impl FnOnce(&mut Session) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let Some(session) = place else { return Err(self.ended()) };
        let done = work(session);
        if matches!(done, Err(DbError::Unreachable(_))) {
            // Whatever it is doing now, nobody goes on with it.
            *place = None;
        }
        done
    }

    fn ended(&self) -> DbError {
        DbError::Unreachable(format!("{}: the connection has ended", self.server))
    }

    fn connect(&self) -> Result<Session, DbError> {
        let mut session = Session { client: self.server.connect()?, statements: HashMap::new() };
        let (busy, limit) = (BUSY_TIMEOUT.as_millis(), STATEMENT_LIMIT.as_millis() - 5000);
        // Whoever holds a lock and sleeps must not hold up the others for ever.
        session.batch(&format!(
            "SET search_path TO {}; SET lock_timeout = {busy}; SET statement_timeout = {limit};
            SET idle_in_transaction_session_timeout = {limit}; SET default_transaction_read_only = {};
            SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
            self.schema,
            if self.read_only { "on" } else { "off" }
        ))?;
        if !self.read_only {
            // Whoever puts a state in its place for a stage does it as that stage, so that its tables are the stage's.
            session.batch(&format!(
                "SELECT set_config('role', pg_get_userbyid(nspowner), false) FROM pg_namespace \
                 WHERE nspname = '{}' AND pg_has_role(nspowner, 'MEMBER')",
                self.schema
            ))?;
        }
        Ok(session)
    }

    /// Whether no instance has the state, nor will as long as this connection lives.
    pub(super) fn is_alone(&self) -> Result<bool, DbError> {
        self.with(|session| session.lock("pg_try_advisory_lock", key("share", &self.schema)))
    }

    /// The state's lock, as long as this connection lives: false if another has it.
    pub(super) fn own(&self) -> Result<bool, DbError> {
        let got = self.with(|session| session.lock("pg_try_advisory_lock", key("own", &self.schema)))?;
        self.owned.set(self.owned.get() || got);
        Ok(got)
    }

    /// As [`Postgres::own`], of one of several: its number is its own, the rest is shared.
    pub(super) fn own_as(&self, instance: u32) -> Result<bool, DbError> {
        let number = key(&format!("instance {instance}"), &self.schema);
        let got = self.with(|session| {
            if !session.lock("pg_try_advisory_lock", number)? {
                return Ok(false);
            }
            if session.lock("pg_try_advisory_lock_shared", key("share", &self.schema))? {
                return Ok(true);
            }
            session.batch(&format!("SELECT pg_advisory_unlock({number})")).map(|()| false)
        })?;
        self.owned.set(self.owned.get() || got);
        Ok(got)
    }

    pub(super) fn disown(&self) -> Result<(), DbError> {
        // Of what is not held the server only says so.
        let keys = [key("own", &self.schema).into(), key("share", &self.schema).into()];
        self.query("SELECT pg_advisory_unlock($1), pg_advisory_unlock($2)", &keys)?;
        self.owned.set(false);
        Ok(())
    }

    pub(super) fn is_lost(&self) -> bool {
        self.owned.get() && self.session.borrow().as_ref().is_none_or(|session| session.client.is_closed())
    }

    /// A transaction that writes; a second writer of the schema waits until it is over, so that numbers that are given
    /// within it become visible in order.
    pub(super) fn begin(&self) -> Result<Open<'_>, DbError> {
        self.open_with(self.begin_sql())
    }

    /// The same beside other writers of the schema.
    pub(super) fn begin_beside(&self) -> Result<Open<'_>, DbError> {
        self.open_with(BEGIN.to_owned())
    }

    /// A look at the whole as it is at one moment: that of the first statement.
    pub(super) fn look(&self) -> Result<Open<'_>, DbError> {
        self.open_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned())
    }

    fn open_with(&self, begin: String) -> Result<Open<'_>, DbError> {
        // What is done before the first statement is done by the owner, as far as is known here.
        if self.is_lost() {
            return Err(self.ended());
        }
        Ok(Open { db: self, now: Now::Before(begin), wrote: false })
    }

    fn begin_sql(&self) -> String {
        if self.is_temporary() {
            // Nobody else can see it.
            return BEGIN.to_owned();
        }
        format!("{BEGIN}; SELECT pg_advisory_xact_lock({})", key("write", &self.schema))
    }

    pub(super) fn query(&self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
        self.with(|session| session.query(sql, params))
    }

    pub(super) fn version(&self) -> Result<i64, DbError> {
        Ok(self.query("SELECT n FROM writes", &[])?.first().map_or(0, |row| row.int(0)))
    }
}

impl Session {
    fn batch(&mut self, script: &str) -> Result<(), DbError> {
        let client = &self.client;
        block::wait(STATEMENT_LIMIT, async { client.batch_execute(script).await.map_err(|e| told(&e)) })
    }

    /// Takes an advisory lock, if nobody else has it.
    fn lock(&mut self, how: &str, key: i64) -> Result<bool, DbError> {
        let rows = self.fetch(&format!("SELECT {how}({key})"))?;
        Ok(rows.first().is_some_and(|row| row.int(0) == 1))
    }

    /// A script that begins a transaction, which is over if the script fails.
    fn begin(&mut self, script: &str) -> Result<(), DbError> {
        self.batch(script).or_else(|why| match why {
            DbError::Unreachable(_) => Err(why),
            why => self.batch("ROLLBACK").and(Err(why)),
        })
    }

    fn query(&mut self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
        let statement = self.prepared(sql)?;
        let (client, params) = (&self.client, places(params, &statement)?);
        let rows = async { client.query(&statement, &params).await.map_err(|e| told(&e)) };
        block::wait(STATEMENT_LIMIT, rows)?.iter().map(row).collect()
    }

    fn fetch(&mut self, sql: &str) -> Result<Vec<Row>, DbError> {
        let client = &self.client;
        let rows = async { client.query(sql, &[]).await.map_err(|e| told(&e)) };
        block::wait(STATEMENT_LIMIT, rows)?.iter().map(row).collect()
    }

    fn execute(&mut self, sql: &str, params: Params<'_>) -> Result<u64, DbError> {
        let statement = self.prepared(sql)?;
        let (client, params) = (&self.client, places(params, &statement)?);
        block::wait(STATEMENT_LIMIT, async { client.execute(&statement, &params).await.map_err(|e| told(&e)) })
    }

    fn prepared(&mut self, sql: &str) -> Result<Statement, DbError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let client = &self.client;
        let statement = block::wait(STATEMENT_LIMIT, async { client.prepare(sql).await.map_err(|e| told(&e)) })?;
        if self.statements.len() >= STATEMENTS_KEPT {
            self.statements.clear();
        }
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// SQLite takes more values than a statement has places; so does this.
fn places<'a>(params: Params<'a>, statement: &Statement) -> Result<Vec<&'a (dyn ToSql + Sync)>, DbError> {
    let places = statement.params().len();
    let params = params.get(..places).ok_or_else(|| DbError::Other(format!("{places} values are asked for")))?;
    Ok(params.iter().map(|value| value as &(dyn ToSql + Sync)).collect())
}

fn row(row: &tokio_postgres::Row) -> Result<Row, DbError> {
    let value = |i| row.try_get::<_, Value>(i).map_err(|e| DbError::Other(errors::reason(&e)));
    (0..row.len()).map(value).collect::<Result<_, _>>().map(Row)
}

/// The schemas of this beginning that hold a state, each with what was written to it by [`Postgres::make`].
pub(super) fn schemas(server: &Server, prefix: &str) -> Result<Vec<(String, Option<String>)>, DbError> {
    let db = Postgres::open(server.clone(), "pg_catalog", true)?;
    let sql = "SELECT nspname, obj_description(n.oid, 'pg_namespace') FROM pg_tables JOIN pg_namespace n \
               ON nspname = schemaname WHERE tablename = 'schemas' AND starts_with(nspname, $1) ORDER BY nspname";
    let rows = db.query(sql, &[prefix.into()])?;
    Ok(rows.iter().map(|row| (row.text(0).to_owned(), row.opt_text(1).map(str::to_owned))).collect())
}

/// Takes away all that is in a schema. The schema stays, with its owner and who may do what in it.
pub(super) fn drop(server: &Server, schema: &str) -> Result<(), DbError> {
    let db = Postgres::open(server.clone(), schema, false)?;
    let mut tx = db.begin()?;
    let sql = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = $1";
    for row in tx.query(sql, &[schema.into()])? {
        tx.batch(&format!("DROP TABLE {schema}.{} CASCADE", row.text(0)))?;
    }
    tx.wrote = false;
    tx.commit()
}

/// The number of a lock: advisory locks have no names.
fn key(what: &str, schema: &str) -> i64 {
    let hash = Sha256::digest(format!("zentral {what} {schema}"));
    hash.iter().take(8).fold(0, |n: i64, byte| n.wrapping_shl(8) | i64::from(*byte))
}

/// A transaction. The server hears of it with its first statement: whoever has outward work to do before that, such as
/// sending a batch to a store that takes its time, keeps nobody waiting and is not cut off for doing nothing.
pub(super) struct Open<'a> {
    db: &'a Postgres,
    now: Now,
    wrote: bool,
}

enum Now {
    /// What begins it.
    Before(String),
    Within,
    Over,
}

impl std::fmt::Debug for Open<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.db.fmt(f)
    }
}

impl Open<'_> {
    fn within<T>(&mut self, work: impl FnOnce(&mut Session) -> Result<T, DbError>) -> Result<T, DbError> {
        if let Now::Before(script) = &self.now {
            self.db.with(|session| session.begin(script))?;
            self.now = Now::Within;
        }
        self.db.within(work)
    }

    pub(super) fn execute(&mut self, sql: &str, params: Params<'_>) -> Result<u64, DbError> {
        self.wrote = true;
        self.within(|session| session.execute(sql, params))
    }

    pub(super) fn query(&mut self, sql: &str, params: Params<'_>) -> Result<Vec<Row>, DbError> {
        self.wrote |= !sql.trim_start().starts_with("SELECT");
        self.within(|session| session.query(sql, params))
    }

    /// Hands on one row after the other, some hundred fetched at a time.
    pub(super) fn each(
        &mut self,
        sql: &str,
        take: &mut dyn FnMut(Vec<Value>) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        self.within(|session| session.batch(&format!("DECLARE rows NO SCROLL CURSOR FOR {sql}")))?;
        loop {
            // Not kept: the next cursor of this name has other columns.
            let fetched = self.within(|session| session.fetch("FETCH 500 FROM rows"))?;
            if fetched.is_empty() {
                break;
            }
            fetched.into_iter().try_for_each(|row| take(row.0))?;
        }
        self.within(|session| session.batch("CLOSE rows"))
    }

    pub(super) fn batch(&mut self, script: &str) -> Result<(), DbError> {
        self.wrote = true;
        self.within(|session| session.batch(script))
    }

    pub(super) fn commit(mut self) -> Result<(), DbError> {
        // One message, so that nobody else waits a turn longer for the lock.
        let script = match self.wrote {
            true => format!("UPDATE {WRITES} SET n = n + 1; COMMIT"),
            false => "COMMIT".to_owned(),
        };
        if matches!(self.now, Now::Within) {
            self.within(|session| session.batch(&script))?;
        }
        self.now = Now::Over;
        Ok(())
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if matches!(self.now, Now::Within) && self.db.within(|session| session.batch("ROLLBACK")).is_err() {
            *self.db.session.borrow_mut() = None;
        }
    }
}

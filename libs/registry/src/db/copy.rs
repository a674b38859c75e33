//! A whole state from one place to another: a backup, its return, a move from files to a server.

use super::home::Kind;
use super::{Db, DbError, Engine, Home, Params, Row, Running, Schema, Tx, Value, postgres, sqlite};

/// Rows of one statement.
const ROWS_AT_ONCE: usize = 100;
const NUMBERS: &str = "SELECT name, number FROM schemas ORDER BY name";

/// What is in a table that was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its name.
    pub table: String,
    /// Rows in it, counted on both sides.
    pub rows: u64,
}

/// Copies a state as it is at one moment to where none is yet; all of it or nothing. `known` are the schemas of this
/// program: the tables are made by their migrations, as far as the state has come.
///
/// # Errors
/// There is none to copy, there is one already where it is to go, it holds a schema that this program does not know, or
/// one of the two databases fails.
pub fn copy(from: &Home, to: &Home, known: &[Schema]) -> Result<Vec<Copied>, DbError> {
    let other = |text: String| DbError::Other(text);
    let mut source = Db::open_read_only(from)?.ok_or_else(|| other(format!("{from} is not there")))?;
    if is_used(to)? {
        return Err(other(format!("{to} is there already")));
    }
    let mut source = source.look()?;
    let schemas = held(from, &source.query(NUMBERS, &[])?, known)?;
    let mut target = Db::open(to, &[])?;
    let mut target = target.begin()?;
    for schema in &schemas {
        target.migrate(schema)?;
    }
    let mut copied = Vec::new();
    for (table, columns) in source.tables()? {
        let rows = source.copy_table(&table, &columns, &mut target)?;
        let count = format!("SELECT COUNT(*) FROM {table}");
        let count = |tx: &mut Tx<'_>| Ok::<_, DbError>(tx.query(&count, &[])?.first().map_or(0, |row| row.uint(0)));
        let (had, has) = (count(&mut source)?, count(&mut target)?);
        if had != has || has != rows {
            return Err(other(format!("{table}: {had} rows were to be copied, {has} are there")));
        }
        copied.push(Copied { table, rows });
    }
    target.commit()?;
    Ok(copied)
}

/// Whether this program knows all that is in a state.
///
/// # Errors
/// It holds a schema of another or a newer program, or it cannot be read.
pub fn known(home: &Home, known: &[Schema]) -> Result<(), DbError> {
    let Some(db) = Db::open_read_only(home)? else { return Ok(()) };
    held(home, &db.query(NUMBERS, &[])?, known).map(|_| ())
}

/// The schemas that a state holds, as far as it has come with each.
fn held(home: &Home, numbers: &[Row], known: &[Schema]) -> Result<Vec<Schema>, DbError> {
    let mut held = Vec::new();
    for row in numbers {
        let (name, found) = (row.text(0), row.int(1));
        let schema = known
            .iter()
            .find(|schema| schema.name == name)
            .ok_or_else(|| DbError::Other(format!("{home} holds `{name}`, which this program does not know")))?;
        let Some(migrations) = usize::try_from(found).ok().and_then(|n| schema.migrations.get(..n)) else {
            let known = i64::try_from(schema.migrations.len()).unwrap_or(i64::MAX);
            return Err(DbError::Newer { schema: schema.name, found, known });
        };
        held.push(Schema { name: schema.name, migrations });
    }
    Ok(held)
}

/// Whether there is a state with anything of ours in it.
pub fn is_used(home: &Home) -> Result<bool, DbError> {
    let Some(db) = Db::open_read_only(home)? else { return Ok(false) };
    Ok(db.has_table("schemas")? && !db.query("SELECT 1 FROM schemas", &[])?.is_empty())
}

/// Takes a state away, if it is there.
pub fn drop(home: &Home) -> Result<(), DbError> {
    match &home.kind {
        Kind::File(path) => {
            for end in ["", "-wal", "-shm"] {
                let mut file = path.as_os_str().to_owned();
                file.push(end);
                match std::fs::remove_file(&file) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        return Err(DbError::Other(format!("{}: {e}", file.display())));
                    }
                    _ => {}
                }
            }
            Ok(())
        }
        Kind::Schema(server, schema) => postgres::drop(server, schema),
    }
}

/// Whether what the state says of itself can be read: each table, its rows counted.
///
/// # Errors
/// A page or a row cannot be read.
pub fn check(home: &Home) -> Result<Vec<Copied>, DbError> {
    let Some(mut db) = Db::open_read_only(home)? else { return Ok(Vec::new()) };
    if let Engine::Sqlite(connection) = &db.0 {
        let said = sqlite::query(connection, "PRAGMA integrity_check(1)", &[])?;
        let said = said.first().map_or("", |row| row.text(0));
        if said != "ok" {
            return Err(DbError::Other(format!("{home}: {said}")));
        }
    }
    let mut tx = db.look()?;
    let mut all = Vec::new();
    for (table, _) in tx.tables()? {
        let rows = tx.query(&format!("SELECT COUNT(*) FROM {table}"), &[])?;
        all.push(Copied { table, rows: rows.first().map_or(0, |row| row.uint(0)) });
    }
    Ok(all)
}

impl Db {
    /// A look at the whole as it is at one moment.
    fn look(&mut self) -> Result<Tx<'_>, DbError> {
        Ok(Tx(match &mut self.0 {
            Engine::Sqlite(connection) => Running::Sqlite(connection.transaction()?),
            Engine::Postgres(db) => Running::Postgres(db.look()?),
        }))
    }
}

impl Tx<'_> {
    /// The tables and their columns, without those that each database has of its own.
    fn tables(&mut self) -> Result<Vec<(String, Vec<String>)>, DbError> {
        let sql = match &self.0 {
            Running::Sqlite(_) => {
                "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c \
                 WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY t.name, c.cid"
            }
            Running::Postgres(_) => {
                "SELECT table_name::TEXT, column_name::TEXT FROM information_schema.columns \
                 WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position"
            }
        };
        let mut all: Vec<(String, Vec<String>)> = Vec::new();
        for row in self.query(sql, &[])? {
            let (table, column) = (row.text(0), row.text(1).to_owned());
            match all.last_mut() {
                Some((last, columns)) if last == table => columns.push(column),
                _ => all.push((table.to_owned(), vec![column])),
            }
        }
        all.retain(|(table, _)| table != "schemas" && table != postgres::WRITES);
        Ok(all)
    }

    fn copy_table(&mut self, table: &str, columns: &[String], to: &mut Tx<'_>) -> Result<u64, DbError> {
        let names = columns.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let (mut rows, mut values) = (0, Vec::new());
        let mut take = |row: Vec<Value>| -> Result<(), DbError> {
            values.extend(row);
            rows += 1;
            if values.len() >= ROWS_AT_ONCE * columns.len() {
                to.put(table, &names, columns.len(), &values)?;
                values.clear();
            }
            Ok(())
        };
        let sql = format!("SELECT {names} FROM {table}");
        match &mut self.0 {
            Running::Sqlite(tx) => sqlite::each(tx, &sql, &mut take)?,
            Running::Postgres(tx) => tx.each(&sql, &mut take)?,
        }
        if !values.is_empty() {
            to.put(table, &names, columns.len(), &values)?;
        }
        Ok(rows)
    }

    fn put(&mut self, table: &str, names: &str, width: usize, values: Params<'_>) -> Result<(), DbError> {
        let row = |first: usize| {
            let places = (1..=width).map(|i| format!("${}", first * width + i)).collect::<Vec<_>>().join(", ");
            format!("({places})")
        };
        let rows = (0..values.len() / width.max(1)).map(row).collect::<Vec<_>>().join(", ");
        self.execute(&format!("INSERT INTO {table} ({names}) VALUES {rows}"), values).map(|_| ())
    }
}

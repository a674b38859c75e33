//! What `pull` remembers: when all machines were told last, which the server knows, and which are to be asked for.

use event::Time;

use crate::db::{Db, DbError, Schema, Tx, has_schema};

/// Its tables: when sources were asked, and what of them is known.
pub const SCHEMA: Schema = Schema {
    name: "pull",
    migrations: &["CREATE TABLE pulled (source TEXT PRIMARY KEY, at BIGINT NOT NULL); \
        CREATE TABLE known (source TEXT NOT NULL, id BIGINT NOT NULL, PRIMARY KEY (source, id)); \
        CREATE TABLE wanted (source TEXT NOT NULL, id BIGINT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (source, id));"],
};

/// The most machines that wait to be asked for; the next full inventory brings the others.
const WANTED_MAX: i64 = 50_000;

/// What is known of one source, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pulled {
    /// When all machines were told last.
    pub at: Option<Time>,
    /// Machines that were told once.
    pub known: u64,
    /// Machines that wait to be asked for.
    pub wanted: u64,
}

/// What is known of this source.
pub fn of(db: &Db, source: &str) -> Result<Pulled, DbError> {
    if !has_schema(db, &SCHEMA)? {
        return Ok(Pulled::default());
    }
    let number =
        |sql| Ok::<_, DbError>(db.query(sql, &[source.into()])?.first().map(|row| row.uint(0)).unwrap_or_default());
    let at = db.query("SELECT at FROM pulled WHERE source = $1", &[source.into()])?;
    Ok(Pulled {
        at: at.first().map(|row| Time::from_ms(row.int(0))),
        known: number("SELECT COUNT(*) FROM known WHERE source = $1")?,
        wanted: number("SELECT COUNT(*) FROM wanted WHERE source = $1")?,
    })
}

/// When all machines were told last, in ms since 1970.
pub fn pulled(tx: &mut Tx<'_>, source: &str) -> Result<Option<i64>, DbError> {
    let rows = tx.query("SELECT at FROM pulled WHERE source = $1", &[source.into()])?;
    Ok(rows.first().map(|row| row.int(0)))
}

/// All machines were told, as they were at this time.
pub fn set_pulled(tx: &mut Tx<'_>, source: &str, at: i64) -> Result<(), DbError> {
    let sql = "INSERT INTO pulled (source, at) VALUES ($1, $2) ON CONFLICT (source) DO UPDATE SET at = excluded.at";
    tx.execute(sql, &[source.into(), at.into()])?;
    tx.execute("DELETE FROM wanted WHERE source = $1 AND at <= $2", &[source.into(), at.into()])?;
    Ok(())
}

/// Whether this machine was told once.
pub fn is_known(tx: &mut Tx<'_>, source: &str, id: i64) -> Result<bool, DbError> {
    let rows = tx.query("SELECT 1 FROM known WHERE source = $1 AND id = $2", &[source.into(), id.into()])?;
    Ok(!rows.is_empty())
}

/// This machine is to be asked for; false: too many are.
pub fn want(tx: &mut Tx<'_>, source: &str, id: i64, at: i64) -> Result<bool, DbError> {
    let rows = tx.query("SELECT COUNT(*) FROM wanted WHERE source = $1", &[source.into()])?;
    if rows.first().is_some_and(|row| row.int(0) >= WANTED_MAX) {
        return Ok(false);
    }
    let sql = "INSERT INTO wanted (source, id, at) VALUES ($1, $2, $3) ON CONFLICT (source, id) DO UPDATE SET at = excluded.at";
    tx.execute(sql, &[source.into(), id.into(), at.into()])?;
    Ok(true)
}

/// Some that are to be asked for, those that wait longest first.
pub fn wanted(tx: &mut Tx<'_>, source: &str, most: i64) -> Result<Vec<i64>, DbError> {
    let sql = "SELECT id FROM wanted WHERE source = $1 ORDER BY at, id LIMIT $2";
    Ok(tx.query(sql, &[source.into(), most.into()])?.iter().map(|row| row.int(0)).collect())
}

/// This machine was told as it was at `asked`, or is not there (`known`). What was wanted since then stays wanted.
pub fn told(tx: &mut Tx<'_>, source: &str, id: i64, asked: i64, known: bool) -> Result<(), DbError> {
    let sql = "DELETE FROM wanted WHERE source = $1 AND id = $2 AND at <= $3";
    tx.execute(sql, &[source.into(), id.into(), asked.into()])?;
    let sql = match known {
        true => "INSERT INTO known (source, id) VALUES ($1, $2) ON CONFLICT (source, id) DO NOTHING",
        false => "DELETE FROM known WHERE source = $1 AND id = $2",
    };
    tx.execute(sql, &[source.into(), id.into()])?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_people_are_told_of_a_source() {
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        assert_eq!(of(&db, "jamf").unwrap(), Pulled::default());
        let mut tx = db.begin().unwrap();
        set_pulled(&mut tx, "jamf", 5).unwrap();
        told(&mut tx, "jamf", 1, 5, true).unwrap();
        want(&mut tx, "jamf", 1, 6).unwrap();
        want(&mut tx, "jamf", 2, 6).unwrap();
        want(&mut tx, "sal", 1, 6).unwrap();
        tx.commit().unwrap();
        assert_eq!(of(&db, "jamf").unwrap(), Pulled { at: Some(Time::from_ms(5)), known: 1, wanted: 2 });
        assert_eq!(of(&Db::memory(&[]).unwrap(), "jamf").unwrap(), Pulled::default(), "an older file");
    }
}

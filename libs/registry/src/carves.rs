//! Carves of files that agents were asked for: which are awaited, begun and finished, in `receive.db`.

use crate::db::{Db, DbError, Row, Schema, Tx};

/// The table of `receive.db`.
pub const SCHEMA: Schema = Schema {
    name: "carves",
    migrations: &["CREATE TABLE carves (
            session TEXT PRIMARY KEY, carve TEXT NOT NULL, machine TEXT NOT NULL, block TEXT NOT NULL,
            request TEXT NOT NULL, path TEXT NOT NULL, count BIGINT, block_size BIGINT, size BIGINT,
            moved BIGINT NOT NULL, finished BIGINT);"],
};

/// One carve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carve {
    /// What the agent names it by once it has begun: 256 random bits.
    pub session: String,
    /// The agent's own id of it.
    pub carve: String,
    /// The machine key.
    pub machine: String,
    /// The machine block of its raw lines, as JSON.
    pub block: String,
    /// The query that asked for it, in the agent's words.
    pub request: String,
    /// Paths of the files.
    pub path: String,
    /// What was announced when it began.
    pub announced: Option<Announced>,
    /// When it was last heard of (ms since 1970).
    pub moved: i64,
    /// When it was whole.
    pub finished: Option<i64>,
}

/// What an agent announces of a carve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// Blocks.
    pub count: u64,
    /// Bytes of each but the last.
    pub block_size: u64,
    /// Bytes of all.
    pub size: u64,
}

/// Writes a carve down.
pub fn put(tx: &mut Tx<'_>, carve: &Carve) -> Result<(), DbError> {
    let sql = "INSERT INTO carves (session, carve, machine, block, request, path, count, block_size, size, moved, finished) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (session) DO UPDATE SET \
               count = excluded.count, block_size = excluded.block_size, size = excluded.size, moved = excluded.moved, \
               finished = excluded.finished";
    let announced = |of: fn(&Announced) -> u64| carve.announced.as_ref().map(of).into();
    let values = [
        carve.session.as_str().into(),
        carve.carve.as_str().into(),
        carve.machine.as_str().into(),
        carve.block.as_str().into(),
        carve.request.as_str().into(),
        carve.path.as_str().into(),
        announced(|a| a.count),
        announced(|a| a.block_size),
        announced(|a| a.size),
        carve.moved.into(),
        carve.finished.into(),
    ];
    tx.execute(sql, &values).map(|_| ())
}

/// Forgets carves that were not heard of since.
pub fn forget(tx: &mut Tx<'_>, since: i64) -> Result<(), DbError> {
    tx.execute("DELETE FROM carves WHERE moved < $1", &[since.into()]).map(|_| ())
}

/// All that are remembered.
pub fn all(db: &Db) -> Result<Vec<Carve>, DbError> {
    let sql =
        "SELECT session, carve, machine, block, request, path, count, block_size, size, moved, finished FROM carves";
    let carve = |row: &Row| Carve {
        session: row.text(0).to_owned(),
        carve: row.text(1).to_owned(),
        machine: row.text(2).to_owned(),
        block: row.text(3).to_owned(),
        request: row.text(4).to_owned(),
        path: row.text(5).to_owned(),
        announced: row.opt_int(6).map(|_| Announced { count: row.uint(6), block_size: row.uint(7), size: row.uint(8) }),
        moved: row.int(9),
        finished: row.opt_int(10),
    };
    Ok(db.query(sql, &[])?.iter().map(carve).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_carve_is_kept_through_its_life() {
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        let mut carve = Carve {
            session: "s".into(),
            carve: "c".into(),
            machine: "m".into(),
            block: "{}".into(),
            request: "r".into(),
            path: "/a,/b".into(),
            announced: None,
            moved: 5,
            finished: None,
        };
        let put = |db: &mut Db, carve: &Carve| {
            let mut tx = db.begin().unwrap();
            super::put(&mut tx, carve).unwrap();
            forget(&mut tx, 5).unwrap();
            tx.commit().unwrap();
            all(db).unwrap()
        };
        assert_eq!(put(&mut db, &carve), [carve.clone()]);
        carve.announced = Some(Announced { count: 3, block_size: 8192, size: 20_000 });
        (carve.moved, carve.finished) = (6, Some(7));
        assert_eq!(put(&mut db, &carve), [carve.clone()]);
        carve.moved = 4;
        assert!(put(&mut db, &carve).is_empty());
    }
}

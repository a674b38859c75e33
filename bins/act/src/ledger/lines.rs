//! The lines that rows of the ledger refer to: each is kept once, as long as a row needs it.

use registry::db::{DbError, Tx};
use sha2::{Digest, Sha256};

use crate::hash::hex;

/// A line that rows may refer to.
pub struct KeptLine {
    /// The hash of the line.
    pub id: String,
    /// The line.
    pub bytes: Vec<u8>,
}

impl KeptLine {
    /// Not kept yet.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { id: hex(Sha256::new_with_prefix(&bytes)), bytes }
    }
}

/// Keeps a line; the same one is kept once.
pub fn keep(tx: &mut Tx<'_>, line: &KeptLine) -> Result<(), DbError> {
    let sql = "INSERT INTO lines (id, line) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
    tx.execute(sql, &[line.id.as_str().into(), line.bytes.as_slice().into()]).map(|_| ())
}

/// The row needs its line no more; the line goes with the last row that needs it.
pub(super) fn free(tx: &mut Tx<'_>, id: &str) -> Result<(), DbError> {
    let sql = "DELETE FROM lines WHERE id = (SELECT line_id FROM ledger WHERE id = $1) \
               AND NOT EXISTS (SELECT 1 FROM ledger WHERE line_id = lines.id AND id <> $1)";
    tx.execute(sql, &[id.into()])?;
    tx.execute("UPDATE ledger SET line_id = NULL WHERE id = $1", &[id.into()]).map(|_| ())
}

/// The row is about another line from now on.
pub fn change_line(tx: &mut Tx<'_>, id: &str, line: &KeptLine) -> Result<(), DbError> {
    free(tx, id)?;
    keep(tx, line)?;
    let sql = "UPDATE ledger SET line_id = $2 WHERE id = $1";
    tx.execute(sql, &[id.into(), line.id.as_str().into()]).map(|_| ())
}

/// Forgets the lines that no row refers to.
pub(super) fn forget(tx: &mut Tx<'_>) -> Result<(), DbError> {
    let sql = "DELETE FROM lines WHERE NOT EXISTS (SELECT 1 FROM ledger WHERE line_id = lines.id)";
    tx.execute(sql, &[]).map(|_| ())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use registry::db::{Db, Schema};

    use super::*;
    use crate::ledger::{Delivery, SCHEMA, State, Which, dead, due, end, forget, insert, remove, row};

    fn lines(tx: &mut Tx<'_>) -> i64 {
        tx.query("SELECT COUNT(*) FROM lines", &[]).unwrap().first().unwrap().int(0)
    }

    #[test]
    fn a_line_is_kept_once_and_as_long_as_it_is_needed() {
        let event = crate::call::tests::call(r#"{"v":1,"id":"e1","type":"t","time":"2026-11-21T19:00:00.123Z","received":"2026-11-21T19:00:03.001Z","source":"s","payload":{}}"#).event;
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        let tx = &mut db.begin().unwrap();
        let of = KeptLine::new(b"{}".to_vec());
        let rows: Vec<Delivery> = ["x", "y", "z"].iter().map(|to| Delivery::new(&event, "p", "a", to, 0)).collect();
        for (row, seq) in rows.iter().zip(1..) {
            assert!(insert(tx, row, Some(&of.id), State::Pending, seq, 10).unwrap());
            keep(tx, &of).unwrap();
        }
        let [x, y, z] = &rows[..] else { unreachable!() };
        assert_eq!((lines(tx), row(tx, &rows.last().unwrap().id).unwrap().unwrap().line.as_slice()), (1, &b"{}"[..]));
        end(tx, &x.id, State::Done, "", 11).unwrap();
        assert!(row(tx, &x.id).unwrap().unwrap().line.is_empty());
        end(tx, &y.id, State::Dead, "no", 11).unwrap();
        remove(tx, &z.id).unwrap();
        assert_eq!((lines(tx), dead(tx, &y.id).unwrap().unwrap().line.as_slice()), (1, &b"{}"[..]));
        forget(tx, 11).unwrap();
        assert_eq!(lines(tx), 0);
    }

    #[test]
    fn an_older_file_keeps_its_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("act.db");
        let old = Schema { migrations: SCHEMA.migrations.get(..1).unwrap(), ..SCHEMA };
        let mut db = Db::open(&path, &[old]).unwrap();
        let mut tx = db.begin().unwrap();
        for (id, state, line) in [("r1", "pending", "'{\"a\":1}'"), ("r2", "done", "NULL")] {
            let sql = format!(
                "INSERT INTO ledger (id, idem, event, probe, action, target, state, due, seq, tries, round, received, \
                 created, updated, expires, error, nonce, line) \
                 VALUES ('{id}', 'k', '{id}', 'p', 'a', '', '{state}', 1, 1, 0, 0, 1, 1, 1, 1, '', 0, {line})"
            );
            tx.execute(&sql, &[]).unwrap();
        }
        tx.commit().unwrap();
        drop(db);
        let mut db = Db::open(&path, &[SCHEMA]).unwrap();
        let tx = &mut db.begin().unwrap();
        let waiting = due(tx, "a", 1, Which::All, 9).unwrap();
        assert_eq!((lines(tx), row(tx, &waiting[0].0).unwrap().unwrap().line.as_slice()), (1, &b"{\"a\":1}"[..]));
    }
}

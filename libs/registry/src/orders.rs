//! Orders to `act`: the command line writes them here, `act` carries them out in its own file (design § 4).

use crate::db::{Db, DbError};

/// One order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its own id.
    pub id: String,
    /// `retry` or `drop`.
    pub verb: String,
    /// Id of the dead letter.
    pub target: String,
}

/// Writes an order down. `act` takes each id once.
pub fn give(db: &mut Db, verb: &str, target: &str, now: i64) -> Result<(), DbError> {
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).map_err(|e| DbError::Other(format!("no random numbers: {e}")))?;
    let id: String = random.iter().map(|b| format!("{b:02x}")).collect();
    let mut tx = db.begin()?;
    let sql = "INSERT INTO orders (id, verb, target, created) VALUES ($1, $2, $3, $4)";
    tx.execute(sql, &[id.into(), verb.into(), target.into(), now.into()])?;
    tx.commit()
}

/// Every order not older than `since` (ms since 1970), oldest first; whoever carries them out remembers which it did.
pub fn list(db: &Db, since: i64) -> Result<Vec<Order>, DbError> {
    let sql = "SELECT id, verb, target FROM orders WHERE created >= $1 ORDER BY created, id";
    let order = |row: &crate::db::Row| Order {
        id: row.text(0).to_owned(),
        verb: row.text(1).to_owned(),
        target: row.text(2).to_owned(),
    };
    Ok(db.query(sql, &[since.into()])?.iter().map(order).collect())
}

//! What the queries of probes cost machines, in `state/normalize.db`: of each machine and query the latest figures, and of each
//! query how many machines it costs how much.
//!
//! The figures are those of osquery's table `osquery_schedule`, which an agent may make up: each is bounded, and of a fleet
//! the middle is told, which no single machine moves. They are written down anew only when they are others by a good part,
//! for they are told every hour and hardly ever change.

use std::collections::BTreeMap;

use crate::db::{Db, DbError, Row, Tx};
use crate::inventory::Reader;

/// The tables, of the schema of results.
pub(crate) const TABLES: &str = "CREATE TABLE prices (
        machine TEXT NOT NULL, query TEXT NOT NULL, cpu BIGINT NOT NULL, memory BIGINT NOT NULL, output BIGINT NOT NULL,
        denied BIGINT NOT NULL, PRIMARY KEY (machine, query));
    CREATE INDEX prices_dearest ON prices (query, denied, cpu);
    CREATE TABLE price_counts (
        query TEXT NOT NULL, step BIGINT NOT NULL, n BIGINT NOT NULL, PRIMARY KEY (query, step));";

/// Figures are told apart in steps: four to each doubling.
const STEPS: u32 = 4;
/// The step of a query that has not been run to its end yet.
const NEVER: i64 = -1;
/// Where machines are counted on which the query is denied, whatever it cost them.
const DENIED: i64 = -2;

/// What a query costs a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Microseconds of processor time of one run; none: it has not been run to its end.
    pub cpu: Option<u64>,
    /// Bytes that the agent holds more after a run.
    pub memory: u64,
    /// Bytes of rows that a run gives.
    pub output: u64,
    /// The agent's watchdog has stopped it and does not run it for a day.
    pub denied: bool,
}

/// What a query costs a fleet; as records tell it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
pub struct Summary {
    /// Machines that tell what it costs.
    pub machines: u64,
    /// Microseconds of processor time of one run on the machine in the middle, right to about an eighth.
    #[serde(rename = "median_us")]
    pub median: u64,
    /// The same on the dearest machine.
    #[serde(rename = "worst_us")]
    pub worst: u64,
    /// Machines on which it is denied.
    pub denied: u64,
}

/// The step of a figure.
fn step(n: u64) -> i64 {
    if n < u64::from(STEPS) {
        return i64::try_from(n).unwrap_or(0);
    }
    let octave = n.ilog2();
    let part = (n >> (octave - STEPS.ilog2())) & u64::from(STEPS - 1);
    i64::from((octave - 1) * STEPS) + i64::try_from(part).unwrap_or(0)
}

/// The figure in the middle of a step.
fn middle(step: i64) -> u64 {
    let Ok(step) = u32::try_from(step) else { return 0 };
    if step < STEPS {
        return step.into();
    }
    let (octave, part) = (step / STEPS + 1, u64::from(step % STEPS));
    let width = 1u64.checked_shl(octave - STEPS.ilog2()).unwrap_or(u64::MAX);
    (u64::from(STEPS) + part).saturating_mul(width).saturating_add(width / 2)
}

/// Microseconds as milliseconds.
#[expect(clippy::cast_precision_loss, reason = "a time for people, of a day at most")]
pub fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

impl Price {
    /// Milliseconds of processor time of one run; none: it has not been run to its end.
    pub fn cpu_ms(&self) -> Option<f64> {
        self.cpu.map(ms)
    }

    /// Where it is counted.
    fn counted(&self) -> impl Iterator<Item = i64> {
        let cost = self.cpu.map_or(NEVER, step);
        [Some(cost), self.denied.then_some(DENIED)].into_iter().flatten()
    }

    /// Whether the other is much the same.
    fn is_like(&self, other: &Self) -> bool {
        let of = |price: &Self| (price.cpu.map(step), step(price.memory), step(price.output), price.denied);
        of(self) == of(other)
    }

    fn of(row: &Row, at: usize) -> Self {
        let whole = |n: i64| u64::try_from(n).unwrap_or(0);
        Self {
            cpu: u64::try_from(row.int(at)).ok(),
            memory: whole(row.int(at + 1)),
            output: whole(row.int(at + 2)),
            denied: row.int(at + 3) != 0,
        }
    }
}

/// How many machines more there are in each step of each query, to be written down once a batch: in one order by all who
/// write, so that none waits for another that waits for it.
#[derive(Debug, Default)]
pub struct Moved(BTreeMap<(String, i64), i64>);

impl Moved {
    fn count(&mut self, query: &str, price: &Price, by: i64) {
        for step in price.counted() {
            *self.0.entry((query.to_owned(), step)).or_default() += by;
        }
    }

    /// Writes them down.
    pub fn flush(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        for ((query, step), by) in std::mem::take(&mut self.0).into_iter().filter(|(_, by)| *by != 0) {
            let sql = "INSERT INTO price_counts (query, step, n) VALUES ($1, $2, $3) \
                       ON CONFLICT (query, step) DO UPDATE SET n = price_counts.n + excluded.n";
            tx.execute(sql, &[query.into(), step.into(), by.into()])?;
        }
        Ok(())
    }
}

/// Keeps what the queries of a machine cost it, by name; what it tells no more goes.
pub fn put(tx: &mut Tx<'_>, machine: &str, told: &[(&str, Price)], moved: &mut Moved) -> Result<(), DbError> {
    let known = of_machine(tx, machine)?;
    for (query, price) in &known {
        if !told.iter().any(|(name, _)| name == query) {
            tx.execute(
                "DELETE FROM prices WHERE machine = $1 AND query = $2",
                &[machine.into(), query.as_str().into()],
            )?;
            moved.count(query, price, -1);
        }
    }
    for (query, price) in told {
        let before = known.iter().find(|(name, _)| name == query).map(|(_, price)| price);
        if before.is_some_and(|before| before.is_like(price)) {
            continue;
        }
        let sql = "INSERT INTO prices (machine, query, cpu, memory, output, denied) VALUES ($1, $2, $3, $4, $5, $6) \
                   ON CONFLICT (machine, query) DO UPDATE SET cpu = excluded.cpu, memory = excluded.memory, \
                   output = excluded.output, denied = excluded.denied";
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let cpu = price.cpu.map_or(NEVER, whole);
        let (memory, output, denied) = (whole(price.memory), whole(price.output), i64::from(price.denied));
        let values = [machine.into(), (*query).into(), cpu.into(), memory.into(), output.into(), denied.into()];
        tx.execute(sql, &values)?;
        if let Some(before) = before {
            moved.count(query, before, -1);
        }
        moved.count(query, price, 1);
    }
    Ok(())
}

/// What its queries cost a machine, by name.
pub fn of_machine(tx: &mut impl Reader, machine: &str) -> Result<Vec<(String, Price)>, DbError> {
    let sql = "SELECT query, cpu, memory, output, denied FROM prices WHERE machine = $1 ORDER BY query";
    Ok(tx.rows(sql, &[machine.into()])?.iter().map(|row| (row.text(0).to_owned(), Price::of(row, 1))).collect())
}

/// What each query costs the fleet, by name; nothing from a state of before.
pub fn all(db: &Db) -> Result<BTreeMap<String, Summary>, DbError> {
    let mut all = BTreeMap::new();
    if !db.has_table("price_counts")? {
        return Ok(all);
    }
    let rows = db.query("SELECT query, step, n FROM price_counts WHERE n > 0 ORDER BY query, step", &[])?;
    for of_one in rows.chunk_by(|a, b| a.text(0) == b.text(0)) {
        let mut summary = Summary::default();
        let mut steps = Vec::new();
        for row in of_one {
            let n = u64::try_from(row.int(2)).unwrap_or(0);
            match row.int(1) {
                DENIED => summary.denied = n,
                NEVER => {}
                step => {
                    summary.machines += n;
                    steps.push((step, n));
                }
            }
        }
        let mut before = 0;
        let half = summary.machines.div_ceil(2);
        let found = steps.iter().find(|(_, n)| {
            before += n;
            before >= half
        });
        summary.median = found.map_or(0, |(step, _)| middle(*step));
        summary.worst = steps.last().map_or(0, |(step, _)| middle(*step));
        if let Some(row) = of_one.first() {
            all.insert(row.text(0).to_owned(), summary);
        }
    }
    Ok(all)
}

/// The machines that a query costs most, those on which it is denied first; at most so many.
pub fn dearest(db: &Db, query: &str, n: u64) -> Result<Vec<(String, Price)>, DbError> {
    if !db.has_table("prices")? {
        return Ok(Vec::new());
    }
    let sql = "SELECT machine, cpu, memory, output, denied FROM prices WHERE query = $1 \
               ORDER BY denied DESC, cpu DESC, machine LIMIT $2";
    let n = i64::try_from(n).unwrap_or(i64::MAX);
    let rows = db.query(sql, &[query.into(), n.into()])?;
    Ok(rows.iter().map(|row| (row.text(0).to_owned(), Price::of(row, 1))).collect())
}

/// Forgets a machine.
pub(crate) fn forget(tx: &mut Tx<'_>, machine: &str) -> Result<(), DbError> {
    let mut moved = Moved::default();
    put(tx, machine, &[], &mut moved)?;
    moved.flush(tx)
}

/// Forgets the queries that are not among these.
pub(crate) fn retain(tx: &mut Tx<'_>, keeps: impl Fn(&str) -> bool) -> Result<(), DbError> {
    for row in tx.query("SELECT DISTINCT query FROM price_counts ORDER BY query", &[])? {
        if !keeps(row.text(0)) {
            for table in ["prices", "price_counts"] {
                tx.execute(&format!("DELETE FROM {table} WHERE query = $1"), &[row.text(0).into()])?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::results::{Table, forget, rename, retain};

    fn price(ms: u64, denied: bool) -> Price {
        Price { cpu: Some(ms * 1000), memory: 4096, output: 100, denied }
    }

    #[test]
    fn a_step_is_a_quarter_of_a_doubling() {
        let mut last = -1;
        for n in (0..5000).chain([1 << 20, 86_400_000_000, u64::MAX / 2]) {
            let (of, middle) = (step(n), middle(step(n)));
            assert!(of >= last, "{n}");
            assert!(middle.abs_diff(n) <= n / 7, "{n} {middle}");
            last = of;
        }
    }

    fn keep(tx: &mut Tx<'_>, machine: &str, told: &[(&str, Price)]) -> Result<(), DbError> {
        let mut moved = Moved::default();
        put(tx, machine, told, &mut moved)?;
        moved.flush(tx)
    }

    #[test]
    fn the_middle_is_no_single_machines() {
        let mut db = Db::memory(&[crate::results::SCHEMA, crate::inventory::SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        for n in 0..99 {
            keep(&mut tx, &format!("M{n:02}"), &[("zentral/a", price(20, false)), ("zentral/b", price(n, n == 7))])
                .unwrap();
        }
        // Who makes figures up.
        keep(&mut tx, "EVIL", &[("zentral/a", Price { cpu: Some(86_400_000_000), ..price(0, true) })]).unwrap();
        let never = Price { cpu: None, ..price(0, true) };
        keep(&mut tx, "NEW", &[("zentral/a", never)]).unwrap();
        tx.commit().unwrap();
        let told = all(&db).unwrap();
        let (a, b) = (told["zentral/a"], told["zentral/b"]);
        assert_eq!((a.machines, a.denied, b.machines, b.denied), (100, 2, 99, 1));
        assert!(a.median.abs_diff(20_000) < 2_500 && b.median.abs_diff(49_000) < 6_000, "{a:?} {b:?}");
        assert!(a.worst > 70_000_000_000, "{a:?}");
        let first: Vec<_> = dearest(&db, "zentral/a", 3).unwrap().into_iter().map(|(machine, _)| machine).collect();
        assert_eq!(first, ["EVIL", "NEW", "M00"]);
        assert_eq!(
            dearest(&db, "zentral/b", 2).unwrap(),
            [("M07".into(), price(7, true)), ("M98".into(), price(98, false))]
        );
    }

    #[test]
    fn what_goes_is_counted_no_more() {
        let mut db = Db::memory(&[crate::results::SCHEMA, crate::inventory::SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        for machine in ["A", "B", "C", "D"] {
            keep(&mut tx, machine, &[("zentral/a", price(10, machine == "A")), ("zentral/b", price(1, false))])
                .unwrap();
        }
        keep(&mut tx, "A", &[("zentral/a", price(500, false))]).unwrap();
        forget(&mut tx, "B").unwrap();
        rename(&mut tx, "C", "D").unwrap();
        tx.commit().unwrap();
        let told = all(&db).unwrap();
        assert_eq!((told["zentral/a"].machines, told["zentral/a"].denied, told["zentral/b"].machines), (2, 0, 1));
        assert_eq!(dearest(&db, "zentral/b", 9).unwrap(), [("D".into(), price(1, false))]);
        let mut tx = db.begin().unwrap();
        // Much the same is not written.
        keep(
            &mut tx,
            "D",
            &[("zentral/a", Price { cpu: Some(10_100), ..price(0, false) }), ("zentral/b", price(1, false))],
        )
        .unwrap();
        assert_eq!(of_machine(&mut tx, "D").unwrap()[0], ("zentral/a".into(), price(10, false)));
        retain(&mut tx, |table, query, _| table == Table::Prices && query == "zentral/b").unwrap();
        tx.commit().unwrap();
        assert_eq!(all(&db).unwrap().keys().collect::<Vec<_>>(), ["zentral/b"]);
        assert!(dearest(&db, "zentral/a", 9).unwrap().is_empty());
    }
}

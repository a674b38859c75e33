//! What the results of queries say of machines, in `state/normalize.db`: the tags that they give, how checks stand, how far
//! the count of a query's runs is, and when each query was last run.

use event::Time;

use crate::db::{Db, DbError, Row, Schema, Tx};
use crate::inventory::Reader;
use crate::tags::Tags;

/// The tables.
pub const SCHEMA: Schema = Schema {
    name: "results",
    migrations: &["CREATE TABLE query_tags (
            machine TEXT NOT NULL, query TEXT NOT NULL, tag TEXT NOT NULL, taken BIGINT NOT NULL, said BIGINT NOT NULL,
            held BIGINT NOT NULL, PRIMARY KEY (machine, query));
        CREATE TABLE query_tags_moved (one BIGINT PRIMARY KEY, n BIGINT NOT NULL);
        CREATE TABLE checks (
            machine TEXT NOT NULL, query TEXT NOT NULL, name TEXT NOT NULL, taken BIGINT NOT NULL, said BIGINT NOT NULL,
            status BIGINT NOT NULL, PRIMARY KEY (machine, query));
        CREATE TABLE compliance (machine TEXT PRIMARY KEY, status BIGINT NOT NULL);
        CREATE TABLE run_counts (
            machine TEXT NOT NULL, query TEXT NOT NULL, epoch BIGINT NOT NULL, counter BIGINT NOT NULL, at BIGINT NOT NULL,
            PRIMARY KEY (machine, query));
        CREATE TABLE query_runs (
            query TEXT PRIMARY KEY, last BIGINT NOT NULL, heard BIGINT NOT NULL, awake BIGINT NOT NULL,
            silent BIGINT NOT NULL);", crate::prices::TABLES],
};

/// Tables with a row per machine and more.
const OF_MACHINES: [&str; 4] = ["query_tags", "checks", "compliance", "run_counts"];
/// Those of them with rows per query.
const OF_QUERIES: [&str; 3] = ["query_tags", "checks", "run_counts"];

/// How a check stands, mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// All is well.
    Ok,
    /// It will be known.
    Pending,
    /// It is not known.
    Unknown,
    /// It is not well.
    Failed,
    /// It is not about this machine.
    OutOfScope,
}

impl Status {
    const ALL: [(Self, i64, &'static str); 5] = [
        (Self::Ok, 0, "OK"),
        (Self::Pending, 100, "PENDING"),
        (Self::Unknown, 200, "UNKNOWN"),
        (Self::Failed, 300, "FAILED"),
        (Self::OutOfScope, 400, "OUT_OF_SCOPE"),
    ];

    /// The word for it.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(status, ..)| *status == self).map_or("", |(.., word)| word)
    }

    /// What this word means, in capitals or not.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(.., own)| own.eq_ignore_ascii_case(word.trim())).map(|(status, ..)| *status)
    }

    fn number(self) -> i64 {
        Self::ALL.iter().find(|(status, ..)| *status == self).map_or(0, |(_, number, _)| *number)
    }

    fn of_number(number: i64) -> Self {
        Self::ALL.iter().find(|(_, own, _)| *own == number).map_or(Self::Unknown, |(status, ..)| *status)
    }

    /// How a machine stands whose checks stand so: as the worst of those that are about it.
    pub fn of_all(all: &[Self]) -> Option<Self> {
        let about = all.iter().copied().filter(|status| *status != Self::OutOfScope).max();
        about.or(all.first().copied())
    }
}

/// When a machine was as a result says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct When {
    /// The time that is believed, which is that of the receipt if the agent's clock is wrong.
    pub taken: Time,
    /// The time that the agent said, in ms since 1970: it decides between results that came together.
    pub said: i64,
}

impl When {
    fn of(row: &Row, column: usize) -> Self {
        Self { taken: Time::from_ms(row.int(column)), said: row.int(column + 1) }
    }
}

/// What the newest result of a query says of a machine's tag: when, and whether it has it.
pub fn tag_by(tx: &mut Tx<'_>, machine: &str, query: &str) -> Result<Option<(When, bool)>, DbError> {
    let sql = "SELECT taken, said, held FROM query_tags WHERE machine = $1 AND query = $2";
    let rows = tx.query(sql, &[machine.into(), query.into()])?;
    Ok(rows.first().map(|row| (When::of(row, 0), row.int(2) != 0)))
}

/// Keeps that. `machine`'s tags are others then if this is true.
pub fn put_tag(tx: &mut Tx<'_>, machine: &str, query: &str, tag: &str, at: When, held: bool) -> Result<bool, DbError> {
    let before = has_tag(tx, machine, tag)?;
    let sql = "INSERT INTO query_tags (machine, query, tag, taken, said, held) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT (machine, query) DO UPDATE SET tag = excluded.tag, taken = excluded.taken, \
               said = excluded.said, held = excluded.held";
    let held = i64::from(held);
    let (taken, said) = (at.taken.ms().into(), at.said.into());
    tx.execute(sql, &[machine.into(), query.into(), tag.into(), taken, said, held.into()])?;
    moved(tx, machine, tag, before)
}

/// Whether a query gives this machine the tag.
fn has_tag(tx: &mut Tx<'_>, machine: &str, tag: &str) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM query_tags WHERE machine = $1 AND tag = $2 AND held = 1";
    Ok(!tx.query(sql, &[machine.into(), tag.into()])?.is_empty())
}

/// Whoever keeps a copy of the tags sees that they are others, if this machine's are.
fn moved(tx: &mut Tx<'_>, machine: &str, tag: &str, before: bool) -> Result<bool, DbError> {
    let now = has_tag(tx, machine, tag)?;
    if before != now {
        raise(tx)?;
        if !now {
            crate::inventory::unseen_with(tx, machine, tag)?;
        }
    }
    Ok(before != now)
}

/// Whoever keeps a copy of the tags looks at them again.
fn raise(tx: &mut Tx<'_>) -> Result<(), DbError> {
    let sql = "INSERT INTO query_tags_moved (one, n) VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET \
               n = query_tags_moved.n + 1";
    tx.execute(sql, &[]).map(|_| ())
}

/// The tags that queries give a machine.
pub fn tags(tx: &mut impl Reader, machine: &str) -> Result<Vec<String>, DbError> {
    let sql = "SELECT DISTINCT tag FROM query_tags WHERE machine = $1 AND held = 1 ORDER BY tag";
    Ok(tx.rows(sql, &[machine.into()])?.iter().map(|row| row.text(0).to_owned()).collect())
}

/// Those of all machines.
pub fn all_tags(db: &Db) -> Result<Tags, DbError> {
    let mut all = Tags::new();
    if !crate::db::has_schema(db, &SCHEMA)? {
        return Ok(all);
    }
    let sql = "SELECT DISTINCT machine, tag FROM query_tags WHERE held = 1 ORDER BY machine, tag";
    for row in db.query(sql, &[])? {
        all.entry(row.text(0).to_owned()).or_default().push(row.text(1).to_owned());
    }
    Ok(all)
}

/// A number that is another when tags that queries give are others.
pub fn tags_moved(db: &Db) -> Result<i64, DbError> {
    if !crate::db::has_schema(db, &SCHEMA)? {
        return Ok(0);
    }
    Ok(db.query("SELECT n FROM query_tags_moved", &[])?.first().map_or(0, |row| row.int(0)))
}

/// How a check stands on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The query whose snapshots tell it.
    pub query: String,
    /// Its name.
    pub name: String,
    /// When it was so.
    pub at: When,
    /// How it stands.
    pub status: Status,
}

/// How a machine's checks stand.
pub fn checks(tx: &mut impl Reader, machine: &str) -> Result<Vec<Check>, DbError> {
    let sql = "SELECT query, name, taken, said, status FROM checks WHERE machine = $1 ORDER BY name, query";
    Ok(tx.rows(sql, &[machine.into()])?.iter().map(of_row).collect())
}

/// How the check of one query stands.
pub fn check(tx: &mut Tx<'_>, machine: &str, query: &str) -> Result<Option<Check>, DbError> {
    let sql = "SELECT query, name, taken, said, status FROM checks WHERE machine = $1 AND query = $2";
    Ok(tx.query(sql, &[machine.into(), query.into()])?.first().map(of_row))
}

fn of_row(row: &Row) -> Check {
    Check {
        query: row.text(0).to_owned(),
        name: row.text(1).to_owned(),
        at: When::of(row, 2),
        status: Status::of_number(row.int(4)),
    }
}

/// Keeps how a check stands.
pub fn put_check(tx: &mut Tx<'_>, machine: &str, check: &Check) -> Result<(), DbError> {
    let sql = "INSERT INTO checks (machine, query, name, taken, said, status) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT (machine, query) DO UPDATE SET name = excluded.name, taken = excluded.taken, \
               said = excluded.said, status = excluded.status";
    let values = [
        machine.into(),
        check.query.as_str().into(),
        check.name.as_str().into(),
        check.at.taken.ms().into(),
        check.at.said.into(),
        check.status.number().into(),
    ];
    tx.execute(sql, &values).map(|_| ())
}

/// How a machine stands as a whole, as it was last said.
pub fn compliance(tx: &mut impl Reader, machine: &str) -> Result<Option<Status>, DbError> {
    let rows = tx.rows("SELECT status FROM compliance WHERE machine = $1", &[machine.into()])?;
    Ok(rows.first().map(|row| Status::of_number(row.int(0))))
}

/// Looks how a machine stands as a whole; before and now, if that is another.
#[expect(clippy::type_complexity, reason = "two of the same")]
pub fn renew_compliance(tx: &mut Tx<'_>, machine: &str) -> Result<Option<(Option<Status>, Option<Status>)>, DbError> {
    let before = compliance(tx, machine)?;
    let all: Vec<Status> = checks(tx, machine)?.iter().map(|check| check.status).collect();
    let now = Status::of_all(&all);
    if before == now {
        return Ok(None);
    }
    match now {
        None => tx.execute("DELETE FROM compliance WHERE machine = $1", &[machine.into()])?,
        Some(now) => {
            let sql = "INSERT INTO compliance (machine, status) VALUES ($1, $2) \
                       ON CONFLICT (machine) DO UPDATE SET status = excluded.status";
            tx.execute(sql, &[machine.into(), now.number().into()])?
        }
    };
    Ok(Some((before, now)))
}

/// How far the count of a query's runs is on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The epoch.
    pub epoch: i64,
    /// The number of the last run.
    pub counter: i64,
    /// When it was.
    pub at: Time,
}

/// That of one query.
pub fn count(tx: &mut Tx<'_>, machine: &str, query: &str) -> Result<Option<Count>, DbError> {
    let sql = "SELECT epoch, counter, at FROM run_counts WHERE machine = $1 AND query = $2";
    let rows = tx.query(sql, &[machine.into(), query.into()])?;
    Ok(rows.first().map(|r| Count { epoch: r.int(0), counter: r.int(1), at: Time::from_ms(r.int(2)) }))
}

/// Keeps it.
pub fn put_count(tx: &mut Tx<'_>, machine: &str, query: &str, count: Count) -> Result<(), DbError> {
    let sql = "INSERT INTO run_counts (machine, query, epoch, counter, at) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (machine, query) DO UPDATE SET epoch = excluded.epoch, counter = excluded.counter, \
               at = excluded.at";
    let Count { epoch, counter, at } = count;
    tx.execute(sql, &[machine.into(), query.into(), epoch.into(), counter.into(), at.ms().into()]).map(|_| ())
}

/// When a query was run, and who would have run it since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The last run on any machine; before the first: since when it has been asked for.
    pub last: Time,
    /// When a machine that is to run it was last heard of.
    pub heard: Time,
    /// How long since the last run there was one of them, in ms.
    pub awake: i64,
    /// That nobody runs it was said.
    pub silent: bool,
}

/// The runs of all queries, by name.
pub fn runs(tx: &mut impl Reader) -> Result<Vec<(String, Run)>, DbError> {
    let rows = tx.rows("SELECT query, last, heard, awake, silent FROM query_runs ORDER BY query", &[])?;
    let run = |row: &Row| Run {
        last: Time::from_ms(row.int(1)),
        heard: Time::from_ms(row.int(2)),
        awake: row.int(3),
        silent: row.int(4) != 0,
    };
    Ok(rows.iter().map(|row| (row.text(0).to_owned(), run(row))).collect())
}

/// Keeps those of one.
pub fn put_run(tx: &mut Tx<'_>, query: &str, run: Run) -> Result<(), DbError> {
    let sql = "INSERT INTO query_runs (query, last, heard, awake, silent) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (query) DO UPDATE SET last = excluded.last, heard = excluded.heard, \
               awake = excluded.awake, silent = excluded.silent";
    let values =
        [query.into(), run.last.ms().into(), run.heard.ms().into(), run.awake.into(), i64::from(run.silent).into()];
    tx.execute(sql, &values).map(|_| ())
}

/// A query is asked for no more.
pub fn forget_run(tx: &mut Tx<'_>, query: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM query_runs WHERE query = $1", &[query.into()]).map(|_| ())
}

/// What went with the queries that are no more.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Machines and tags that they have no more.
    pub tags: Vec<(String, String, String)>,
    /// Machines that had checks that are no more.
    pub checked: Vec<String>,
}

/// Forgets what queries told that are not among these: names with the tag that each gives, if it gives one.
pub fn retain(tx: &mut Tx<'_>, keeps: impl Fn(Table, &str, &str) -> bool) -> Result<Gone, DbError> {
    let mut gone = Gone::default();
    for row in tx.query("SELECT DISTINCT query, tag FROM query_tags ORDER BY query, tag", &[])? {
        let (query, tag) = (row.text(0), row.text(1));
        if keeps(Table::Tags, query, tag) {
            continue;
        }
        let values = [query.into(), tag.into()];
        let sql = "SELECT machine FROM query_tags WHERE query = $1 AND tag = $2 AND held = 1 ORDER BY machine";
        let had = tx.query(sql, &values)?;
        tx.execute("DELETE FROM query_tags WHERE query = $1 AND tag = $2", &values)?;
        for machine in had.iter().map(|row| row.text(0)) {
            if moved(tx, machine, tag, true)? {
                gone.tags.push((machine.to_owned(), tag.to_owned(), query.to_owned()));
            }
        }
    }
    for row in tx.query("SELECT DISTINCT query FROM checks ORDER BY query", &[])? {
        let query = row.text(0);
        if !keeps(Table::Checks, query, "") {
            let had = tx.query("SELECT machine FROM checks WHERE query = $1", &[query.into()])?;
            tx.execute("DELETE FROM checks WHERE query = $1", &[query.into()])?;
            gone.checked.extend(had.iter().map(|row| row.text(0).to_owned()));
        }
    }
    gone.checked.sort();
    gone.checked.dedup();
    for row in tx.query("SELECT DISTINCT query FROM run_counts ORDER BY query", &[])? {
        if !keeps(Table::Counters, row.text(0), "") {
            tx.execute("DELETE FROM run_counts WHERE query = $1", &[row.text(0).into()])?;
        }
    }
    crate::prices::retain(tx, |query| keeps(Table::Prices, query, ""))?;
    Ok(gone)
}

/// A table in which queries have rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Of tags.
    Tags,
    /// Of checks.
    Checks,
    /// Of counted runs.
    Counters,
    /// Of what queries cost.
    Prices,
}

/// A machine has told a better key.
pub fn rename(tx: &mut Tx<'_>, from: &str, to: &str) -> Result<(), DbError> {
    if !tags(tx, from)?.is_empty() {
        raise(tx)?;
    }
    for table in OF_QUERIES {
        let sql = format!(
            "UPDATE {table} SET machine = $2 WHERE machine = $1 AND NOT EXISTS \
             (SELECT 1 FROM {table} AS other WHERE other.machine = $2 AND other.query = {table}.query)"
        );
        tx.execute(&sql, &[from.into(), to.into()])?;
    }
    let sql = "UPDATE compliance SET machine = $2 WHERE machine = $1 AND NOT EXISTS \
               (SELECT 1 FROM compliance AS other WHERE other.machine = $2)";
    tx.execute(sql, &[from.into(), to.into()])?;
    forget(tx, from)
}

/// Nothing is known of this machine any more.
pub fn forget(tx: &mut Tx<'_>, machine: &str) -> Result<(), DbError> {
    // Another machine may come under its key.
    if !tags(tx, machine)?.is_empty() {
        raise(tx)?;
    }
    crate::prices::forget(tx, machine)?;
    for table in OF_MACHINES {
        tx.execute(&format!("DELETE FROM {table} WHERE machine = $1"), &[machine.into()])?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn only_a_machine_with_tags_takes_any_with_it() {
        let mut db = Db::memory(&[SCHEMA, crate::inventory::SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        let moved = |tx: &mut Tx<'_>| {
            tx.query("SELECT n FROM query_tags_moved", &[]).unwrap().first().map_or(0, |row| row.int(0))
        };
        let at = When { taken: Time::from_ms(1), said: 1 };
        put_tag(&mut tx, "C02", "zentral/a", "vip", at, true).unwrap();
        put_tag(&mut tx, "C03", "zentral/a", "vip", at, false).unwrap();
        assert_eq!(moved(&mut tx), 1);
        rename(&mut tx, "C03", "C04").unwrap();
        forget(&mut tx, "C04").unwrap();
        assert_eq!(moved(&mut tx), 1, "it had none");
        rename(&mut tx, "C02", "C05").unwrap();
        assert_eq!((moved(&mut tx), tags(&mut tx, "C05").unwrap()), (2, vec!["vip".to_owned()]));
        forget(&mut tx, "C05").unwrap();
        assert_eq!(moved(&mut tx), 3);
    }
}

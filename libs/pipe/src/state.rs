//! The loop's own tables in a stage's state file: positions, output lengths, sealed segments, counters.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use registry::db::{Db, DbError, Home, Schema, Tx};

use crate::fs::{Fs, Guard};
use crate::topic::{Mark, Sealed};
use crate::{Exit, StageError};

/// The tables that every stage's state has. Positions are keyed by (input, partition): a disk topic has one partition.
pub const SCHEMA: Schema = Schema {
    name: "loop",
    migrations: &[
        "CREATE TABLE positions (
            input TEXT NOT NULL, partition BIGINT NOT NULL, pos BIGINT NOT NULL, line BIGINT NOT NULL,
            start_line BIGINT NOT NULL, read_lines BIGINT NOT NULL, skipped BIGINT NOT NULL,
            PRIMARY KEY (input, partition));
        CREATE TABLE outputs (topic TEXT PRIMARY KEY, pos BIGINT NOT NULL, line BIGINT NOT NULL);
        CREATE TABLE segments (
            topic TEXT NOT NULL, first_pos BIGINT NOT NULL, first_line BIGINT NOT NULL,
            end_pos BIGINT NOT NULL, end_line BIGINT NOT NULL, sha256 TEXT NOT NULL, chain TEXT NOT NULL,
            PRIMARY KEY (topic, first_pos));
        CREATE TABLE counters (name TEXT NOT NULL, reason TEXT NOT NULL, n BIGINT NOT NULL, PRIMARY KEY (name, reason));",
        // How often a partition was taken over: whoever had it before can no longer move it.
        "ALTER TABLE positions ADD COLUMN taken BIGINT NOT NULL DEFAULT 0;",
    ],
};

/// How long a lock held by a dying predecessor is waited for.
pub const LOCK_WAIT: Duration = Duration::from_secs(30);
/// How often a state that another host has is asked for.
const OWN_EVERY: Duration = Duration::from_millis(100);

/// Where a reader stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// After the last line that was committed.
    pub mark: Mark,
    /// Lines of the topic before the reader's start.
    pub start_line: u64,
    /// Lines read since.
    pub read: u64,
    /// Lines passed over since.
    pub skipped: u64,
}

/// Takes the lock of a state, a file; `wait` none: for ever (a second `act` takes over when the first ends). A `stop`
/// while it waits is an error with the exit code 0.
pub fn lock(
    fs: &Arc<dyn Fs>,
    path: &Path,
    wait: Option<Duration>,
    stop: &dyn Fn() -> bool,
) -> Result<Guard, StageError> {
    let fail = |what: String| StageError::state(format!("{}: {what}", path.display()));
    if let Some(dir) = path.parent() {
        fs.create_dir(dir).map_err(|e| fail(e.to_string()))?;
    }
    let begun = Instant::now();
    loop {
        if let Some(guard) = fs.lock(path).map_err(|e| fail(e.to_string()))? {
            return Ok(guard);
        }
        if stop() {
            // Asked to go while nothing was begun: a polite end.
            return Err(StageError { exit: Exit::Done, text: "stopped while waiting for the state".into() });
        }
        if wait.is_some_and(|wait| begun.elapsed() >= wait) {
            return Err(fail("held by another process".into()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Opens a state whose lock beside it was taken, for one alone: where it is on a server neither another host has it then
/// nor instances of a stage ([`share`]), and none gets it meanwhile. `wait` and `stop` as in [`lock`].
pub fn open(
    home: &Home,
    schemas: &[Schema],
    wait: Option<Duration>,
    stop: &dyn Fn() -> bool,
) -> Result<Db, StageError> {
    own(home, schemas, "held by another process, or by instances of a stage", wait, stop, Db::is_alone)
}

/// As [`open`], but instances may go on beside it: for whoever writes rows that none of them has yet. Tables of another
/// version are not changed under them.
pub fn open_beside(
    home: &Home,
    schemas: &[Schema],
    wait: Option<Duration>,
    stop: &dyn Fn() -> bool,
) -> Result<Db, StageError> {
    let may = |db: &Db| Ok(db.is_up_to_date(schemas)? || db.is_alone()?);
    own(home, schemas, "held by another process", wait, stop, may)
}

fn own(
    home: &Home,
    schemas: &[Schema],
    held: &str,
    wait: Option<Duration>,
    stop: &dyn Fn() -> bool,
    may: impl Fn(&Db) -> Result<bool, DbError>,
) -> Result<Db, StageError> {
    let mut db = Db::open(home, &[]).map_err(|e| StageError::of(home, e))?;
    let mut owned = false;
    until(home, held, wait, stop, || {
        owned = owned || db.own()?;
        Ok(owned && may(&db)?)
    })?;
    // Not before: another version may work on its tables.
    db.bring_up_to_date(schemas).map_err(|e| StageError::of(home, e))?;
    Ok(db)
}

/// As [`open`], for one of several instances that share the state, which nobody has alone then. Tables of another version
/// are changed by one of them, while the others wait.
pub fn share(
    home: &Home,
    schemas: &[Schema],
    instance: u32,
    wait: Option<Duration>,
    stop: &dyn Fn() -> bool,
) -> Result<Db, StageError> {
    let mut db = Db::open(home, &[]).map_err(|e| StageError::of(home, e))?;
    let held = format!("instance {instance} runs already, here or on another host, or another process has it alone");
    until(home, &held, wait, stop, || {
        if db.is_up_to_date(schemas)? {
            return db.own_as(instance);
        }
        if db.own()? {
            // Not under those who still know the old ones.
            if db.is_alone()? {
                db.bring_up_to_date(schemas)?;
            }
            db.disown()?;
        }
        Ok(false)
    })?;
    Ok(db)
}

/// Asks for a state until it is got.
fn until(
    home: &Home,
    held: &str,
    wait: Option<Duration>,
    stop: &dyn Fn() -> bool,
    mut got: impl FnMut() -> Result<bool, DbError>,
) -> Result<(), StageError> {
    let begun = Instant::now();
    while !got().map_err(|e| StageError::of(home, e))? {
        if stop() {
            return Err(StageError { exit: Exit::Done, text: "stopped while waiting for the state".into() });
        }
        if wait.is_some_and(|wait| begun.elapsed() >= wait) {
            return Err(StageError::state(format!("{home}: {held}")));
        }
        std::thread::sleep(OWN_EVERY);
    }
    Ok(())
}

/// Whether every one of these inputs has a position, as far as can be seen without a lock.
pub fn recorded(home: &Home, inputs: &[String]) -> bool {
    let Ok(Some(db)) = Db::open_read_only(home) else { return false };
    inputs.iter().all(|input| matches!(position(&db, input), Ok(Some(_))))
}

/// Where this reader stands; none: it has not started. Of an input with several partitions: in the first.
pub fn position(db: &Db, input: &str) -> Result<Option<Position>, DbError> {
    Ok(positions(db, input)?.remove(&0))
}

/// The same within a transaction.
pub fn position_within(tx: &mut Tx<'_>, input: &str) -> Result<Option<Position>, DbError> {
    let sql = "SELECT pos, line, start_line, read_lines, skipped FROM positions WHERE input = $1 AND partition = 0";
    let of = |row: &registry::db::Row| {
        let mark = Mark { offset: row.uint(0), line: row.uint(1) };
        Position { mark, start_line: row.uint(2), read: row.uint(3), skipped: row.uint(4) }
    };
    Ok(tx.query(sql, &[input.into()])?.first().map(of))
}

/// Where this reader stands in each partition.
pub fn positions(db: &Db, input: &str) -> Result<BTreeMap<i32, Position>, DbError> {
    let sql = "SELECT partition, pos, line, start_line, read_lines, skipped FROM positions WHERE input = $1";
    let of = |row: &registry::db::Row| {
        let mark = Mark { offset: row.uint(1), line: row.uint(2) };
        let position = Position { mark, start_line: row.uint(3), read: row.uint(4), skipped: row.uint(5) };
        (i32::try_from(row.int(0)).unwrap_or(i32::MAX), position)
    };
    Ok(db.query(sql, &[input.into()])?.iter().map(of).collect())
}

/// Writes down where this reader stands.
pub fn set_position(tx: &mut Tx<'_>, input: &str, at: &Position) -> Result<(), DbError> {
    let sql = "INSERT INTO positions (input, partition, pos, line, start_line, read_lines, skipped) \
               VALUES ($1, 0, $2, $3, $4, $5, $6) ON CONFLICT (input, partition) DO UPDATE SET pos = excluded.pos, \
               line = excluded.line, start_line = excluded.start_line, read_lines = excluded.read_lines, \
               skipped = excluded.skipped";
    let values = [
        input.into(),
        at.mark.offset.into(),
        at.mark.line.into(),
        at.start_line.into(),
        at.read.into(),
        at.skipped.into(),
    ];
    tx.execute(sql, &values).map(|_| ())
}

/// Where a partition stands that several may read, one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The next message's offset.
    pub pos: u64,
    /// How often it was taken over.
    pub taken: u64,
}

/// As [`positions`], and how often each partition was taken over.
pub fn held(db: &Db, input: &str) -> Result<BTreeMap<i32, (Position, Held)>, DbError> {
    let sql = "SELECT partition, pos, line, start_line, read_lines, skipped, taken FROM positions WHERE input = $1";
    let of = |row: &registry::db::Row| {
        let mark = Mark { offset: row.uint(1), line: row.uint(2) };
        let position = Position { mark, start_line: row.uint(3), read: row.uint(4), skipped: row.uint(5) };
        (i32::try_from(row.int(0)).unwrap_or(i32::MAX), (position, Held { pos: mark.offset, taken: row.uint(6) }))
    };
    Ok(db.query(sql, &[input.into()])?.iter().map(of).collect())
}

/// Moves a reader of a partition that others may read as well: only from where we think it stands (`from`; none: it has
/// not started), and `taken` is how often it was taken over with that. False: somebody else has moved it or taken it over,
/// and the partition is theirs.
pub fn move_position(
    tx: &mut Tx<'_>,
    input: &str,
    partition: i32,
    from: Option<Held>,
    at: &Position,
    taken: u64,
) -> Result<bool, DbError> {
    let sql = match from {
        None => {
            "INSERT INTO positions (input, partition, pos, line, start_line, read_lines, skipped, taken) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (input, partition) DO NOTHING"
        }
        Some(_) => {
            "UPDATE positions SET pos = $3, line = $4, start_line = $5, read_lines = $6, skipped = $7, taken = $8 \
             WHERE input = $1 AND partition = $2 AND pos = $9 AND taken = $10"
        }
    };
    let mut values = vec![
        input.into(),
        i64::from(partition).into(),
        at.mark.offset.into(),
        at.mark.line.into(),
        at.start_line.into(),
        at.read.into(),
        at.skipped.into(),
        taken.into(),
    ];
    values.extend(from.into_iter().flat_map(|from| [from.pos.into(), from.taken.into()]));
    Ok(tx.execute(sql, &values)? == 1)
}

/// Adds lines to the recorded end of an output that several may write.
pub fn add_output(tx: &mut Tx<'_>, name: &str, lines: u64) -> Result<(), DbError> {
    let sql = "INSERT INTO outputs (topic, pos, line) VALUES ($1, $2, $2) \
               ON CONFLICT (topic) DO UPDATE SET pos = outputs.pos + excluded.pos, line = outputs.line + excluded.line";
    tx.execute(sql, &[name.into(), lines.into()]).map(|_| ())
}

/// The recorded end of an output.
pub fn output(db: &Db, name: &str) -> Result<Option<Mark>, DbError> {
    let rows = db.query("SELECT pos, line FROM outputs WHERE topic = $1", &[name.into()])?;
    Ok(rows.first().map(|row| Mark { offset: row.uint(0), line: row.uint(1) }))
}

/// Records the end of an output.
pub fn set_output(tx: &mut Tx<'_>, name: &str, end: Mark) -> Result<(), DbError> {
    let sql = "INSERT INTO outputs (topic, pos, line) VALUES ($1, $2, $3) \
               ON CONFLICT (topic) DO UPDATE SET pos = excluded.pos, line = excluded.line";
    tx.execute(sql, &[name.into(), end.offset.into(), end.line.into()]).map(|_| ())
}

/// The sealed segments of an output, in order.
pub fn segments(db: &Db, topic: &str) -> Result<Vec<Sealed>, DbError> {
    let sql = "SELECT first_pos, first_line, end_pos, end_line, sha256, chain FROM segments WHERE topic = $1 \
               ORDER BY first_pos";
    let sealed = |row: &registry::db::Row| Sealed {
        first: Mark { offset: row.uint(0), line: row.uint(1) },
        end: Mark { offset: row.uint(2), line: row.uint(3) },
        sha256: row.text(4).to_owned(),
        chain: row.text(5).to_owned(),
    };
    Ok(db.query(sql, &[topic.into()])?.iter().map(sealed).collect())
}

/// Records sealed segments.
pub fn add_segments(tx: &mut Tx<'_>, topic: &str, sealed: &[Sealed]) -> Result<(), DbError> {
    for s in sealed {
        let sql = "INSERT INTO segments (topic, first_pos, first_line, end_pos, end_line, sha256, chain) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (topic, first_pos) DO NOTHING";
        let values = [
            topic.into(),
            s.first.offset.into(),
            s.first.line.into(),
            s.end.offset.into(),
            s.end.line.into(),
            s.sha256.as_str().into(),
            s.chain.as_str().into(),
        ];
        tx.execute(sql, &values)?;
    }
    Ok(())
}

/// Adds to a counter that survives restarts: the stage sum is made of these.
pub fn count(tx: &mut Tx<'_>, name: &str, reason: &str, n: u64) -> Result<(), DbError> {
    if n == 0 {
        return Ok(());
    }
    let sql = "INSERT INTO counters (name, reason, n) VALUES ($1, $2, $3) \
               ON CONFLICT (name, reason) DO UPDATE SET n = counters.n + excluded.n";
    tx.execute(sql, &[name.into(), reason.into(), n.into()]).map(|_| ())
}

/// All counters as (name, reason, n).
pub fn counters(db: &Db) -> Result<Vec<(String, String, u64)>, DbError> {
    let rows = db.query("SELECT name, reason, n FROM counters ORDER BY name, reason", &[])?;
    Ok(rows.iter().map(|r| (r.text(0).to_owned(), r.text(1).to_owned(), r.uint(2))).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_late_moves_nothing() {
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        let at = |offset| Position { mark: Mark { offset, line: offset }, ..Position::default() };
        let mut moved = |partition, from: Option<(u64, u64)>, to, taken| {
            let from = from.map(|(pos, taken)| Held { pos, taken });
            let mut tx = db.begin().unwrap();
            let moved = move_position(&mut tx, "kafka:raw", partition, from, &at(to), taken).unwrap();
            tx.commit().unwrap();
            moved
        };
        assert!(moved(0, None, 10, 1));
        assert!(!moved(0, None, 20, 1), "somebody has started it");
        assert!(moved(1, None, 5, 1));
        assert!(moved(0, Some((10, 1)), 20, 1));
        assert!(!moved(0, Some((10, 1)), 20, 1), "it was moved");
        assert!(moved(0, Some((20, 1)), 20, 2), "taken over where it stands");
        assert!(!moved(0, Some((20, 1)), 30, 1), "it is another's, though nothing was read since");
        assert!(moved(0, Some((20, 2)), 30, 2));
        assert_eq!(held(&db, "kafka:raw").unwrap().get(&0).map(|(_, held)| *held), Some(Held { pos: 30, taken: 2 }));
        let positions = positions(&db, "kafka:raw").unwrap();
        assert_eq!(positions.into_iter().map(|(p, at)| (p, at.mark.offset)).collect::<Vec<_>>(), [(0, 30), (1, 5)]);
    }
}

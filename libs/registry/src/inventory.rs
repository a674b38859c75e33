//! What is known of machines, in `state/normalize.db`: the last snapshot of each source, 30 days of what changed, when
//! each source last saw each machine, and the machine as a whole.

pub mod past;

use std::io::Read as _;

use event::inventory::{Change, Merged, Snapshot, Told, merge};
use event::{Machine, Time};

use crate::db::{Db, DbError, Row, Schema, Tx, Value};

/// The tables of the inventory.
pub const SCHEMA: Schema = Schema {
    name: "inventory",
    migrations: &["CREATE TABLE snapshots (
            machine TEXT NOT NULL, source TEXT NOT NULL, kind TEXT NOT NULL, taken BIGINT NOT NULL,
            hash BYTEA NOT NULL, body BYTEA NOT NULL, PRIMARY KEY (machine, source));
        CREATE TABLE sightings (
            machine TEXT NOT NULL, source TEXT NOT NULL, first BIGINT NOT NULL, seen BIGINT NOT NULL,
            silent BIGINT NOT NULL, tags TEXT NOT NULL, PRIMARY KEY (machine, source));
        CREATE TABLE by_hand (machine TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (machine, tag));
        CREATE INDEX sightings_seen ON sightings (silent, seen);
        CREATE TABLE history (
            machine TEXT NOT NULL, source TEXT NOT NULL, taken BIGINT NOT NULL, received BIGINT NOT NULL,
            changes BYTEA NOT NULL);
        CREATE INDEX history_machine ON history (machine, received);
        CREATE INDEX history_received ON history (received);
        CREATE TABLE merged (
            machine TEXT PRIMARY KEY, block TEXT NOT NULL, learned BIGINT NOT NULL, said BIGINT NOT NULL,
            due BIGINT NOT NULL);
        CREATE INDEX merged_due ON merged (due);
        CREATE TABLE listening (one BIGINT PRIMARY KEY, minute BIGINT NOT NULL, since BIGINT NOT NULL);"],
};

/// Tables with a row or more per machine.
const OF_MACHINES: [&str; 5] = ["snapshots", "sightings", "by_hand", "history", "merged"];
/// zstd's own default: a snapshot shrinks to about a tenth.
const LEVEL: i32 = 3;
/// A snapshot came out of a line; one that says it is longer than some of those is damaged.
const BODY_MAX: u64 = 64 << 20;

/// The last snapshot of one source.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// The kind of the source.
    pub kind: String,
    /// The hash of what it said last.
    pub hash: Vec<u8>,
    /// What is known by it.
    pub snapshot: Snapshot,
}

/// When a source saw a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The machine key.
    pub machine: String,
    /// The source.
    pub source: String,
    /// The first time.
    pub first: Time,
    /// The last time.
    pub seen: Time,
    /// It was said to be silent since.
    pub silent: bool,
    /// The tags that it had then.
    pub tags: Vec<String>,
}

/// Changes of one snapshot, as they are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// The source.
    pub source: String,
    /// When the machine was as it says.
    pub taken: Time,
    /// When the hub heard of it.
    pub received: Time,
    /// What changed; none: it was the first.
    pub changes: Vec<Change>,
}

/// A source saw a machine, which had these tags.
pub fn sight(tx: &mut Tx<'_>, machine: &str, source: &str, at: Time, tags: &[String]) -> Result<(), DbError> {
    let sql = "INSERT INTO sightings (machine, source, first, seen, silent, tags) VALUES ($1, $2, $3, $3, 0, $4) \
               ON CONFLICT (machine, source) DO UPDATE SET seen = excluded.seen, silent = 0, tags = excluded.tags \
               WHERE sightings.seen < excluded.seen";
    tx.execute(sql, &[machine.into(), source.into(), at.ms().into(), tags.join(",").into()]).map(|_| ())
}

/// A machine was given a tag by hand, or it was taken away.
pub fn tag(tx: &mut Tx<'_>, machine: &str, tag: &str, given: bool) -> Result<(), DbError> {
    let values = [machine.into(), tag.into()];
    if given {
        let sql = "INSERT INTO by_hand (machine, tag) VALUES ($1, $2) ON CONFLICT (machine, tag) DO NOTHING";
        return tx.execute(sql, &values).map(|_| ());
    }
    tx.execute("DELETE FROM by_hand WHERE machine = $1 AND tag = $2", &values)?;
    unseen_with(tx, machine, tag)
}

/// A machine has lost a tag that it was last seen with.
pub(crate) fn unseen_with(tx: &mut Tx<'_>, machine: &str, tag: &str) -> Result<(), DbError> {
    for seen in sightings(tx, Some(machine))?.into_iter().filter(|seen| seen.tags.iter().any(|had| had == tag)) {
        let rest: Vec<String> = seen.tags.into_iter().filter(|had| had != tag).collect();
        let sql = "UPDATE sightings SET tags = $3 WHERE machine = $1 AND source = $2";
        tx.execute(sql, &[machine.into(), seen.source.into(), rest.join(",").into()])?;
    }
    Ok(())
}

/// The tags that a machine was given by hand.
pub fn by_hand(tx: &mut Tx<'_>, machine: &str) -> Result<Vec<String>, DbError> {
    let rows = tx.query("SELECT tag FROM by_hand WHERE machine = $1 ORDER BY tag", &[machine.into()])?;
    Ok(rows.iter().map(|row| row.text(0).to_owned()).collect())
}

/// The tags of a machine as they were last said, by its lines, by hand and by queries.
pub fn tags(tx: &mut Tx<'_>, machine: &str) -> Result<Vec<String>, DbError> {
    let mut tags = by_hand(tx, machine)?;
    tags.extend(crate::results::tags(tx, machine)?);
    tags.extend(sightings(tx, Some(machine))?.into_iter().flat_map(|seen| seen.tags));
    tags.sort();
    tags.dedup();
    Ok(tags)
}

/// Those who have not been seen since `before` and of whom that was not said yet; from now on it is said.
pub fn fall_silent(tx: &mut Tx<'_>, before: Time) -> Result<Vec<Sighting>, DbError> {
    let sql = "UPDATE sightings SET silent = 1 WHERE silent = 0 AND seen < $1 \
               RETURNING machine, source, first, seen, silent, tags";
    let mut all: Vec<Sighting> = tx.query(sql, &[before.ms().into()])?.iter().map(sighting).collect();
    all.sort_by(|a, b| (a.seen, &a.machine, &a.source).cmp(&(b.seen, &b.machine, &b.source)));
    Ok(all)
}

fn sighting(row: &Row) -> Sighting {
    Sighting {
        machine: row.text(0).to_owned(),
        source: row.text(1).to_owned(),
        first: Time::from_ms(row.int(2)),
        seen: Time::from_ms(row.int(3)),
        silent: row.int(4) != 0,
        tags: row.text(5).split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
    }
}

/// When and by whom machines were seen; all machines without `machine`.
pub fn sightings(tx: &mut impl Reader, machine: Option<&str>) -> Result<Vec<Sighting>, DbError> {
    let rows = match machine {
        Some(machine) => tx.rows(SIGHTINGS_OF_ONE, &[machine.into()])?,
        None => tx.rows(SIGHTINGS_OF_ALL, &[])?,
    };
    Ok(rows.iter().map(sighting).collect())
}

/// Ages of a sighting by which machines are counted: a word for people, and milliseconds.
pub const HEARD_WITHIN: [(&str, i64); 3] = [("1d", 86_400_000), ("7d", 7 * 86_400_000), ("30d", 30 * 86_400_000)];

/// How many machines a source has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The source.
    pub source: String,
    /// Machines seen within each of [`HEARD_WITHIN`].
    pub within: [u64; HEARD_WITHIN.len()],
    /// Machines of which was said that they are silent.
    pub silent: u64,
}

/// By source: how many machines it has seen of late. Reads the whole table.
pub fn heard(reader: &mut impl Reader, now: Time) -> Result<Vec<Heard>, DbError> {
    let sql = "SELECT source, COUNT(CASE WHEN seen >= $1 THEN 1 END), COUNT(CASE WHEN seen >= $2 THEN 1 END), \
               COUNT(CASE WHEN seen >= $3 THEN 1 END), COUNT(CASE WHEN silent = 1 THEN 1 END) \
               FROM sightings GROUP BY source ORDER BY source";
    let since = HEARD_WITHIN.map(|(_, age)| now.ms().saturating_sub(age).into());
    let rows = reader.rows(sql, &since)?;
    let heard = |row: &Row| Heard {
        source: row.text(0).to_owned(),
        within: std::array::from_fn(|i| row.uint(1 + i)),
        silent: row.uint(1 + HEARD_WITHIN.len()),
    };
    Ok(rows.iter().map(heard).collect())
}

// Two texts: with one that holds for both the whole table would be read for each machine.
const SIGHTINGS_OF_ONE: &str =
    "SELECT machine, source, first, seen, silent, tags FROM sightings WHERE machine = $1 ORDER BY source";
const SIGHTINGS_OF_ALL: &str =
    "SELECT machine, source, first, seen, silent, tags FROM sightings ORDER BY machine, source";

/// Whether any source has seen a machine.
pub fn is_seen(tx: &mut Tx<'_>, machine: &str) -> Result<bool, DbError> {
    Ok(!tx.query(SEEN, &[machine.into()])?.is_empty())
}

const SEEN: &str = "SELECT 1 FROM sightings WHERE machine = $1 LIMIT 1";

/// When the last snapshot of a source was taken, and its hash.
pub fn last(tx: &mut Tx<'_>, machine: &str, source: &str) -> Result<Option<(Time, Vec<u8>)>, DbError> {
    let sql = "SELECT taken, hash FROM snapshots WHERE machine = $1 AND source = $2";
    let rows = tx.query(sql, &[machine.into(), source.into()])?;
    Ok(rows.first().map(|row| (Time::from_ms(row.int(0)), row.blob(1).to_vec())))
}

/// The last snapshots of a machine, by source.
pub fn snapshots(tx: &mut impl Reader, machine: &str) -> Result<Vec<Kept>, DbError> {
    let sql = "SELECT kind, hash, taken, body FROM snapshots WHERE machine = $1 ORDER BY source";
    tx.rows(sql, &[machine.into()])?.iter().map(kept).collect()
}

/// The last snapshot of one source.
pub fn snapshot(tx: &mut Tx<'_>, machine: &str, source: &str) -> Result<Option<Kept>, DbError> {
    let sql = "SELECT kind, hash, taken, body FROM snapshots WHERE machine = $1 AND source = $2";
    tx.query(sql, &[machine.into(), source.into()])?.first().map(kept).transpose()
}

fn kept(row: &Row) -> Result<Kept, DbError> {
    let mut snapshot: Snapshot = unpacked(row.blob(3))?;
    snapshot.taken = Time::from_ms(row.int(2));
    Ok(Kept { kind: row.text(0).to_owned(), hash: row.blob(1).to_vec(), snapshot })
}

/// Keeps a snapshot as the last one of its source.
pub fn keep(tx: &mut Tx<'_>, machine: &str, kept: &Kept) -> Result<(), DbError> {
    let sql = "INSERT INTO snapshots (machine, source, kind, taken, hash, body) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT (machine, source) DO UPDATE SET kind = excluded.kind, taken = excluded.taken, \
               hash = excluded.hash, body = excluded.body";
    let s = &kept.snapshot;
    let values = [
        machine.into(),
        s.source.as_str().into(),
        kept.kind.as_str().into(),
        s.taken.ms().into(),
        kept.hash.clone().into(),
        packed(s)?.into(),
    ];
    tx.execute(sql, &values).map(|_| ())
}

/// The last snapshot said the same again.
pub fn again(tx: &mut Tx<'_>, machine: &str, source: &str, taken: Time, hash: &[u8]) -> Result<(), DbError> {
    let sql = "UPDATE snapshots SET taken = $3, hash = $4 WHERE machine = $1 AND source = $2";
    tx.execute(sql, &[machine.into(), source.into(), taken.ms().into(), hash.into()]).map(|_| ())
}

/// Writes down what changed.
pub fn remember(tx: &mut Tx<'_>, machine: &str, past: &Past) -> Result<(), DbError> {
    let sql = "INSERT INTO history (machine, source, taken, received, changes) VALUES ($1, $2, $3, $4, $5)";
    let values = [
        machine.into(),
        past.source.as_str().into(),
        past.taken.ms().into(),
        past.received.ms().into(),
        packed(&past.changes)?.into(),
    ];
    tx.execute(sql, &values).map(|_| ())
}

/// Forgets what changed before `before`.
pub fn forget_past(tx: &mut Tx<'_>, before: Time) -> Result<(), DbError> {
    tx.execute("DELETE FROM history WHERE received < $1", &[before.ms().into()]).map(|_| ())
}

/// What changed on a machine, oldest first.
pub fn past(tx: &mut impl Reader, machine: &str) -> Result<Vec<Past>, DbError> {
    let sql =
        "SELECT source, taken, received, changes FROM history WHERE machine = $1 ORDER BY received, source, taken";
    tx.rows(sql, &[machine.into()])?.iter().map(past_of).collect()
}

fn past_of(row: &Row) -> Result<Past, DbError> {
    Ok(Past {
        source: row.text(0).to_owned(),
        taken: Time::from_ms(row.int(1)),
        received: Time::from_ms(row.int(2)),
        changes: unpacked(row.blob(3))?,
    })
}

/// The machine as its sources tell it together, with where each part comes from.
pub fn merged(tx: &mut impl Reader, machine: &str) -> Result<Merged, DbError> {
    let (kept, seen) = (snapshots(tx, machine)?, sightings(tx, Some(machine))?);
    let seen = |source: &str| seen.iter().find(|s| s.source == source).map(|s| s.seen);
    let told = |kept: &'_ Kept| seen(&kept.snapshot.source).unwrap_or(kept.snapshot.taken);
    let told: Vec<Told<'_>> =
        kept.iter().map(|kept| Told { kind: &kept.kind, seen: told(kept), snapshot: &kept.snapshot }).collect();
    Ok(merge(&told))
}

/// The machine as a whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Whole {
    /// Its block in events.
    pub block: Machine,
    /// When that was learned.
    pub learned: Time,
    /// When it was last said, in ms since 1970.
    pub said: i64,
    /// When it is to be said again, in ms since 1970; 0: when it changes.
    pub due: i64,
}

/// The machine as a whole, if any source told anything of it.
pub fn whole(tx: &mut impl Reader, machine: &str) -> Result<Option<Whole>, DbError> {
    let sql = "SELECT block, learned, said, due FROM merged WHERE machine = $1";
    Ok(tx.rows(sql, &[machine.into()])?.first().map(|row| Whole {
        block: serde_json::from_str(row.text(0)).unwrap_or_default(),
        learned: Time::from_ms(row.int(1)),
        said: row.int(2),
        due: row.int(3),
    }))
}

/// Keeps the machine as a whole.
pub fn put_whole(tx: &mut Tx<'_>, machine: &str, whole: &Whole) -> Result<(), DbError> {
    let sql = "INSERT INTO merged (machine, block, learned, said, due) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (machine) DO UPDATE SET block = excluded.block, learned = excluded.learned, \
               said = excluded.said, due = excluded.due";
    let block = serde_json::to_string(&whole.block).map_err(|e| DbError::Other(e.to_string()))?;
    let values = [machine.into(), block.into(), whole.learned.ms().into(), whole.said.into(), whole.due.into()];
    tx.execute(sql, &values).map(|_| ())
}

/// The blocks of all machines as a whole, by key.
pub fn blocks(tx: &mut impl Reader) -> Result<Vec<(String, Machine)>, DbError> {
    let rows = tx.rows("SELECT machine, block FROM merged ORDER BY machine", &[])?;
    let block = |row: &Row| (row.text(0).to_owned(), serde_json::from_str(row.text(1)).unwrap_or_default());
    Ok(rows.iter().map(block).collect())
}

/// Machines that are to be said again by now.
pub fn due(tx: &mut Tx<'_>, now: Time) -> Result<Vec<String>, DbError> {
    let sql = "SELECT machine FROM merged WHERE due > 0 AND due <= $1 ORDER BY due, machine";
    Ok(tx.query(sql, &[now.ms().into()])?.iter().map(|row| row.text(0).to_owned()).collect())
}

/// The minute (since 1970) up to which lines were read, and since when there was never a long pause in them.
pub fn listening(tx: &mut Tx<'_>) -> Result<Option<(i64, i64)>, DbError> {
    let rows = tx.query("SELECT minute, since FROM listening", &[])?;
    Ok(rows.first().map(|row| (row.int(0), row.int(1))))
}

/// Writes that down.
pub fn listened(tx: &mut Tx<'_>, minute: i64, since: i64) -> Result<(), DbError> {
    let sql = "INSERT INTO listening (one, minute, since) VALUES (1, $1, $2) \
               ON CONFLICT (one) DO UPDATE SET minute = excluded.minute, since = excluded.since";
    tx.execute(sql, &[minute.into(), since.into()]).map(|_| ())
}

/// A machine has told a better key: what was known under the old one is known under the new one. Where both were known,
/// the new one holds.
pub fn rename(tx: &mut Tx<'_>, from: &str, to: &str) -> Result<(), DbError> {
    for table in ["snapshots", "sightings"] {
        let sql = format!(
            "UPDATE {table} SET machine = $2 WHERE machine = $1 AND NOT EXISTS \
             (SELECT 1 FROM {table} AS other WHERE other.machine = $2 AND other.source = {table}.source)"
        );
        tx.execute(&sql, &[from.into(), to.into()])?;
    }
    let sql = "UPDATE by_hand SET machine = $2 WHERE machine = $1 AND NOT EXISTS \
               (SELECT 1 FROM by_hand AS other WHERE other.machine = $2 AND other.tag = by_hand.tag)";
    tx.execute(sql, &[from.into(), to.into()])?;
    tx.execute("UPDATE history SET machine = $2 WHERE machine = $1", &[from.into(), to.into()])?;
    let sql = "UPDATE merged SET machine = $2 WHERE machine = $1 AND NOT EXISTS \
               (SELECT 1 FROM merged AS other WHERE other.machine = $2)";
    tx.execute(sql, &[from.into(), to.into()])?;
    forget(tx, from)
}

/// Nothing is known of this machine any more.
pub fn forget(tx: &mut Tx<'_>, machine: &str) -> Result<(), DbError> {
    for table in OF_MACHINES {
        tx.execute(&format!("DELETE FROM {table} WHERE machine = $1"), &[machine.into()])?;
    }
    Ok(())
}

/// Who can be asked: a transaction of the owner, or a file that is only looked at.
pub trait Reader {
    /// See [`Db::query`].
    fn rows(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, DbError>;
}

impl Reader for Tx<'_> {
    fn rows(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        self.query(sql, params)
    }
}

impl Reader for &Db {
    fn rows(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>, DbError> {
        self.query(sql, params)
    }
}

fn packed(value: &impl serde::Serialize) -> Result<Vec<u8>, DbError> {
    let text = serde_json::to_vec(value).map_err(|e| DbError::Other(e.to_string()))?;
    zstd::bulk::compress(&text, LEVEL).map_err(|e| DbError::Other(format!("zstd: {e}")))
}

fn unpacked<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, DbError> {
    let damaged = |e: &dyn std::fmt::Display| DbError::Other(format!("a snapshot is damaged: {e}"));
    let mut text = Vec::new();
    let plain = zstd::stream::read::Decoder::new(bytes).map_err(|e| damaged(&e))?;
    plain.take(BODY_MAX).read_to_end(&mut text).map_err(|e| damaged(&e))?;
    serde_json::from_slice(&text).map_err(|e| damaged(&e))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn looking_at_one_machine_reads_no_other() {
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        // How PostgreSQL goes about it depends on how much there is.
        for sql in [SIGHTINGS_OF_ONE, SEEN].into_iter().filter(|_| !crate::db::proof::is_on()) {
            let plan = tx.query(&format!("EXPLAIN QUERY PLAN {sql}"), &["C02".into()]).unwrap();
            let plan: Vec<&str> = plan.iter().map(|row| row.text(3)).collect();
            assert!(plan.iter().all(|step| step.starts_with("SEARCH sightings")), "{plan:?}");
        }
        for machine in ["C03", "C02"] {
            sight(&mut tx, machine, "osquery", Time::from_ms(1), &[]).unwrap();
        }
        let seen = |tx: &mut Tx<'_>, of: Option<&str>| -> Vec<String> {
            sightings(tx, of).unwrap().into_iter().map(|seen| seen.machine).collect()
        };
        assert_eq!(
            (seen(&mut tx, None), seen(&mut tx, Some("C03"))),
            (vec!["C02".into(), "C03".into()], vec!["C03".into()])
        );
        assert!(is_seen(&mut tx, "C02").unwrap() && !is_seen(&mut tx, "C04").unwrap());
    }

    #[test]
    fn machines_are_counted_by_when_they_were_seen() {
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        let now = Time::from_ms(100 * 86_400_000);
        for (machine, source, days) in
            [("a", "osquery", 0), ("b", "osquery", 3), ("c", "osquery", 40), ("a", "santa", 8)]
        {
            sight(&mut tx, machine, source, Time::from_ms(now.ms() - days * 86_400_000), &[]).unwrap();
        }
        fall_silent(&mut tx, Time::from_ms(now.ms() - 30 * 86_400_000)).unwrap();
        let of = |source: &str, within, silent| Heard { source: source.to_owned(), within, silent };
        assert_eq!(heard(&mut tx, now).unwrap(), [of("osquery", [1, 2, 2], 1), of("santa", [0, 0, 1], 0)]);
    }
}

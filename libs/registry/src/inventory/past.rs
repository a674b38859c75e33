//! A machine as it was: the last snapshots of its sources, and what changed since taken back.

use std::collections::BTreeMap;

use event::Time;
use event::inventory::{Things, things, undo};

use super::{Kept, Past, Reader, past_of, snapshots};
use crate::db::{DbError, Row};

/// How long changes are kept, in ms: as long as `normalize` remembers them.
pub const KEPT_MS: i64 = 30 * 86_400_000;
/// Changes that are taken back for one look at a source: some tenths of a second.
const UNDONE_MAX: usize = 200_000;
/// Snapshots whose changes are read at a time.
const STEP: u64 = 50;

/// Which changes are wanted, the newest first.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Of this source only.
    pub source: Option<&'a str>,
    /// Those that the hub heard of by then.
    pub until: Time,
    /// So many of them are left out.
    pub skip: u64,
    /// At most so many.
    pub n: u64,
}

/// A source and how far back it is known what it told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The source.
    pub source: String,
    /// When its last snapshot was taken.
    pub taken: Time,
    /// Since when every change is known.
    pub since: Time,
    /// Before that it had told nothing; else what was before is not kept.
    pub whole: bool,
}

/// What a source had told of a machine by some time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Then {
    /// The things that there were, by kind.
    pub things: Things,
    /// Changes that could not be taken back, for what they left is not there.
    pub misfits: usize,
    /// The time that this is of, if there are too many changes to go back all the way.
    pub stopped: Option<Time>,
}

/// What changed on a machine, snapshot by snapshot.
pub fn page(reader: &mut impl Reader, machine: &str, wanted: Wanted<'_>) -> Result<Vec<Past>, DbError> {
    let order = "received DESC, taken DESC, source, changes";
    let (limit, skip) = (wanted.n.into(), wanted.skip.into());
    let until = wanted.until.ms().into();
    let rows = match wanted.source {
        None => {
            let sql = format!(
                "SELECT source, taken, received, changes FROM history WHERE machine = $1 AND received <= $2 \
                 ORDER BY {order} LIMIT $3 OFFSET $4"
            );
            reader.rows(&sql, &[machine.into(), until, limit, skip])?
        }
        Some(source) => {
            let sql = format!(
                "SELECT source, taken, received, changes FROM history WHERE machine = $1 AND received <= $2 \
                 AND source = $5 ORDER BY {order} LIMIT $3 OFFSET $4"
            );
            reader.rows(&sql, &[machine.into(), until, limit, skip, source.into()])?
        }
    };
    rows.iter().map(past_of).collect()
}

/// The sources that know a machine, and how far back each is known. `now` decides what is too old to be kept.
pub fn reach(reader: &mut impl Reader, machine: &str, now: Time) -> Result<Vec<Reach>, DbError> {
    let sql = "SELECT source, taken FROM snapshots WHERE machine = $1 ORDER BY source";
    let sources: Vec<(String, Time)> = reader.rows(sql, &[machine.into()])?.iter().map(taken).collect();
    let horizon = Time::from_ms(now.ms().saturating_sub(KEPT_MS));
    let sql = "SELECT source, taken, received, changes FROM history WHERE machine = $1 AND source = $2 \
               ORDER BY taken, received LIMIT 1";
    let reach = |(source, taken): (String, Time)| {
        let oldest = reader.rows(sql, &[machine.into(), source.as_str().into()])?;
        let first = oldest.first().map(past_of).transpose()?.filter(|past| past.changes.is_empty());
        let since = first.as_ref().map_or(horizon, |past| past.received);
        Ok(Reach { source, taken, since, whole: first.is_some() })
    };
    sources.into_iter().map(reach).collect()
}

fn taken(row: &Row) -> (String, Time) {
    (row.text(0).to_owned(), Time::from_ms(row.int(1)))
}

/// What each source had told by `at`. Who asks for a time before its [`Reach`] gets what was known at that.
pub fn then(reader: &mut impl Reader, machine: &str, at: Time) -> Result<BTreeMap<String, Then>, DbError> {
    let mut all = BTreeMap::new();
    for kept in snapshots(reader, machine)? {
        all.insert(kept.snapshot.source.clone(), of_source(reader, machine, &kept, at)?);
    }
    Ok(all)
}

fn of_source(reader: &mut impl Reader, machine: &str, kept: &Kept, at: Time) -> Result<Then, DbError> {
    // A source tells in the order of `taken`: an older snapshot than the one held is not taken.
    let sql = "SELECT source, taken, received, changes FROM history WHERE machine = $1 AND source = $2 \
               AND received > $3 ORDER BY taken DESC, received DESC, changes LIMIT $4 OFFSET $5";
    let source = kept.snapshot.source.as_str();
    let (mut then, mut undone, mut skip) = (Then { things: things(&kept.snapshot), ..Then::default() }, 0, 0);
    loop {
        let values = [machine.into(), source.into(), at.ms().into(), STEP.into(), skip.into()];
        let rows = reader.rows(sql, &values)?;
        for row in &rows {
            let past = past_of(row)?;
            if past.changes.is_empty() {
                // The first that it told: before there was nothing.
                then.things.clear();
                return Ok(then);
            }
            undone += past.changes.len();
            if undone > UNDONE_MAX {
                then.stopped = Some(past.received);
                return Ok(then);
            }
            // Backwards too: of one snapshot the last change first.
            let misfits = past.changes.iter().rev().filter(|change| !undo(&mut then.things, change)).count();
            then.misfits += misfits;
        }
        if (rows.len() as u64) < STEP {
            return Ok(then);
        }
        skip += STEP;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use event::Machine;
    use event::inventory::{Snapshot, diff};
    use serde_json::{Value, json};

    use super::*;
    use crate::db::Db;
    use crate::inventory::{SCHEMA, keep, remember};

    /// Minutes after 2026.
    fn at(minute: i64) -> Time {
        Time::from_ms(1_767_225_600_000 + minute * 60_000)
    }

    fn snapshot(minute: i64, apps: &[(&str, &str)], users: Option<&[&str]>) -> Snapshot {
        let object = |value: Value| value.as_object().unwrap().clone();
        let apps = apps.iter().map(|(id, version)| object(json!({"bundle_id": id, "version": version}))).collect();
        let mut parts: BTreeMap<String, Vec<_>> = [("osx_app".to_owned(), apps)].into();
        if let Some(users) = users {
            parts.insert("user".to_owned(), users.iter().map(|name| object(json!({"username": name}))).collect());
        }
        let mut made = Snapshot { source: "osquery".into(), taken: at(minute), machine: Machine::default(), parts };
        made.tidy();
        made
    }

    /// What a source told, minute by minute, as `normalize` keeps it.
    fn told(db: &mut Db, all: &[Snapshot]) -> Vec<Things> {
        let mut tx = db.begin().unwrap();
        let (mut last, mut states) = (None::<Snapshot>, Vec::new());
        for snapshot in all {
            let new = last.as_ref().map_or(snapshot.clone(), |old| snapshot.clone().over(old));
            let changes = last.as_ref().map_or(Vec::new(), |old| diff(old, &new));
            let past = Past { source: "osquery".into(), taken: new.taken, received: new.taken, changes };
            remember(&mut tx, "C02", &past).unwrap();
            keep(&mut tx, "C02", &Kept { kind: "osquery".into(), hash: vec![], snapshot: new.clone() }).unwrap();
            states.push(things(&new));
            last = Some(new);
        }
        tx.commit().unwrap();
        states
    }

    fn without_empty(mut things: Things) -> Things {
        things.retain(|_, of| !of.is_empty());
        things
    }

    #[test]
    fn every_state_comes_back() {
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        // More than are read at a time; things come, go, change, and a kind is told that was not.
        let version = |n: i64| format!("{}", n / 3);
        let all: Vec<Snapshot> = (1..=120)
            .map(|n| {
                let some = format!("app{}", n % 7);
                let users: Option<&[&str]> = if n < 30 { None } else { Some(&["ada", "bob"]) };
                snapshot(n, &[("zentral", &version(n)), (&some, "1")], users)
            })
            .collect();
        let states = told(&mut db, &all);
        for (n, want) in (1..).zip(&states) {
            let found = then(&mut &db, "C02", at(n)).unwrap().remove("osquery").unwrap();
            assert_eq!((without_empty(found.things), found.misfits), (want.clone(), 0), "minute {n}");
        }
        let before = then(&mut &db, "C02", at(0)).unwrap().remove("osquery").unwrap();
        assert_eq!(before, Then::default(), "it had told nothing");
        let reach = reach(&mut &db, "C02", at(130)).unwrap();
        assert_eq!(reach, [Reach { source: "osquery".into(), taken: at(120), since: at(1), whole: true }]);
        // Page by page, the newest first, whatever comes meanwhile.
        let page = |skip| {
            let wanted = Wanted { source: Some("osquery"), until: at(100), skip, n: 7 };
            super::page(&mut &db, "C02", wanted).unwrap().iter().map(|past| past.taken).collect::<Vec<_>>()
        };
        assert_eq!(page(0), (94..=100).rev().map(at).collect::<Vec<_>>());
        assert_eq!(page(98), [at(2), at(1)]);
        let other = Wanted { source: Some("munki"), until: at(100), skip: 0, n: 7 };
        assert_eq!(super::page(&mut &db, "C02", other).unwrap(), []);
    }

    #[test]
    fn what_is_not_kept_is_not_made_up() {
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        told(
            &mut db,
            &[snapshot(1, &[("a", "1")], None), snapshot(2, &[("a", "2")], None), snapshot(3, &[("a", "3")], None)],
        );
        let mut tx = db.begin().unwrap();
        tx.execute("DELETE FROM history WHERE received <= $1", &[at(2).ms().into()]).unwrap();
        tx.commit().unwrap();
        let now = Time::from_ms(at(3).ms() + KEPT_MS);
        let reach = reach(&mut &db, "C02", now).unwrap();
        assert_eq!(reach, [Reach { source: "osquery".into(), taken: at(3), since: at(3), whole: false }]);
        let oldest = then(&mut &db, "C02", at(0)).unwrap().remove("osquery").unwrap();
        assert_eq!(oldest.things, things(&snapshot(2, &[("a", "2")], None)), "what was known at its reach");
    }
}

//! Digests: many matches, one message. The matches of one action and target are gathered over its `digest` time, from the
//! first one's `received` on; what is kept of them is bounded, whatever comes: a count, a hash, the first ids and lines.

use event::Event;
use pipe::StageError;
use registry::db::{Row, Tx};
use sha2::{Digest as _, Sha256};

use crate::conditions::short;
use crate::hash;
use crate::incidents::rank;
use crate::told::{EVENTS_MAX, IDS_MAX, Kept};

/// The most bytes of lines that one digest keeps.
const BYTES_MAX: u64 = 1 << 20;
/// One whose time was over before its last match was read is told when no more came for so long, in ms: who reads what
/// has piled up makes as few messages of it as if it had been there in time.
const SETTLED: i64 = 1000;

/// Matches that are told of as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// 20 hex digits.
    pub id: String,
    /// The action.
    pub action: String,
    /// Whom it goes to.
    pub target: String,
    /// The probe of the first match.
    pub probe: String,
    /// The event of the first match.
    pub event: String,
    /// When that was received, in ms since 1970.
    pub received: i64,
    /// When it is to be told.
    pub due: i64,
    /// How many.
    pub count: u64,
    /// Of all of them: no other digest has it.
    pub hash: String,
    /// The first ids.
    pub ids: Vec<String>,
    /// The highest severity.
    pub severity: String,
    /// What the first match told, as a row keeps it.
    told: String,
    bytes: u64,
}

const COLUMNS: &str = "id, action, target, probe, event, received, due, count, hash, ids, severity, told, bytes";

fn read(row: &Row) -> Digest {
    let text = |i| row.text(i).to_owned();
    Digest {
        id: text(0),
        action: text(1),
        target: text(2),
        probe: text(3),
        event: text(4),
        received: row.int(5),
        due: row.int(6),
        count: row.uint(7),
        hash: text(8),
        ids: serde_json::from_str(row.text(9)).unwrap_or_default(),
        severity: text(10),
        told: text(11),
        bytes: row.uint(12),
    }
}

impl Digest {
    /// What a row of the ledger keeps of it.
    pub fn kept(&self) -> Kept {
        if self.count == 1 {
            return Kept::read(&self.told);
        }
        Kept { count: self.count, ids: self.ids.clone(), ..Kept::plain() }
    }

    /// Tells deliveries of other members apart, also if the first is the same.
    pub fn nonce(&self) -> u64 {
        u64::from_str_radix(self.hash.get(..15).unwrap_or_default(), 16).unwrap_or(0)
    }

    /// Takes a match in; when the digest may be told, by the clock, if no other comes.
    fn take_in(&mut self, member: &Member<'_>, now: i64, tx: &mut Tx<'_>) -> Result<i64, StageError> {
        let Member { event, probe, line, nonce, .. } = *member;
        if rank(member.severity()) >= rank(&self.severity) {
            self.severity = member.severity().to_owned();
        }
        let members = Sha256::new_with_prefix(&self.hash);
        self.hash = hash::hex(hash::with(members, &[event.id.as_str(), probe, &nonce.to_string()]));
        let n = self.count;
        self.count += 1;
        if self.ids.len() < IDS_MAX {
            self.ids.push(event.id.clone());
        }
        let bytes = self.bytes.saturating_add(line.len() as u64);
        if n < EVENTS_MAX as u64 && (bytes <= BYTES_MAX || n == 0) {
            let machine = short(event.machine.as_ref().and_then(|m| m.key()).unwrap_or_default());
            let sql = "INSERT INTO digest_lines (digest, n, machine, received, line) VALUES ($1, $2, $3, $4, $5)";
            let received = event.received.ms();
            tx.execute(sql, &[self.id.as_str().into(), n.into(), machine.into(), received.into(), line.into()])?;
            self.bytes = bytes;
        }
        let tell = if now < self.due { self.due } else { now.saturating_add(SETTLED) };
        let sql =
            "UPDATE digests SET count = $2, hash = $3, ids = $4, severity = $5, bytes = $6, tell = $7 WHERE id = $1";
        let ids = serde_json::to_string(&self.ids).unwrap_or_default();
        let values = [
            self.id.as_str().into(),
            self.count.into(),
            self.hash.as_str().into(),
            ids.into(),
            self.severity.as_str().into(),
            self.bytes.into(),
            tell.into(),
        ];
        tx.execute(sql, &values)?;
        Ok(tell)
    }
}

/// A match that is to be told with others.
pub struct Member<'a> {
    /// The event with the one probe.
    pub event: &'a Event,
    /// Its line.
    pub line: &'a [u8],
    /// Name of the probe.
    pub probe: &'a str,
    /// Tells what was done by hand apart; else 0.
    pub nonce: u64,
    /// What it would tell alone, as a row keeps it.
    pub told: String,
}

impl Member<'_> {
    fn severity(&self) -> &str {
        self.event.probes.first().map_or("", |probe| probe.severity.as_str())
    }
}

/// What a match made of the digest of its action and target.
pub struct Added {
    /// One that is full of time: it is to be told now.
    pub over: Option<Digest>,
    /// Whether a new one was begun.
    pub begun: bool,
    /// When the one that the match is in may be told, if no other comes.
    pub tell: i64,
}

/// Takes a match in. `time` is how long a digest gathers, in ms; it is `now` by the clock.
pub fn add(
    action: &str,
    target: &str,
    time: i64,
    member: &Member<'_>,
    now: i64,
    tx: &mut Tx<'_>,
) -> Result<Added, StageError> {
    let received = member.event.received.ms();
    let sql = format!("SELECT {COLUMNS} FROM digests WHERE action = $1 AND target = $2 AND sealed = 0");
    let open = tx.query(&sql, &[action.into(), target.into()])?.first().map(read);
    let (over, open) = match open {
        Some(digest) if received >= digest.due => {
            seal(&digest, tx)?;
            (Some(digest), None)
        }
        open => (None, open),
    };
    let begun = open.is_none();
    let mut digest = match open {
        Some(digest) => digest,
        None => begin(action, target, member, received.saturating_add(time), tx)?,
    };
    let tell = digest.take_in(member, now, tx)?;
    Ok(Added { over, begun, tell })
}

fn begin(action: &str, target: &str, member: &Member<'_>, due: i64, tx: &mut Tx<'_>) -> Result<Digest, StageError> {
    let id = hash::short(hash::of(&[action, target, member.probe, &member.event.id, &member.nonce.to_string()]));
    let digest = Digest {
        id,
        action: action.to_owned(),
        target: target.to_owned(),
        probe: member.probe.to_owned(),
        event: member.event.id.clone(),
        received: member.event.received.ms(),
        due,
        count: 0,
        hash: String::new(),
        ids: Vec::new(),
        severity: String::new(),
        told: member.told.clone(),
        bytes: 0,
    };
    // Of the same member there was one a month ago, at the most: nothing of it may stay.
    for sql in ["DELETE FROM digest_lines WHERE digest = $1", "DELETE FROM digests WHERE id = $1"] {
        tx.execute(sql, &[digest.id.as_str().into()])?;
    }
    let sql = format!(
        "INSERT INTO digests ({COLUMNS}, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '', '[]', '', $8, 0, 0)"
    );
    let of = &digest;
    let texts = [&of.id, &of.action, &of.target, &of.probe, &of.event];
    let mut values: Vec<registry::db::Value> = texts.into_iter().map(|text| text.as_str().into()).collect();
    values.extend([of.received.into(), of.due.into(), of.told.as_str().into()]);
    tx.execute(&sql, &values)?;
    Ok(digest)
}

/// The highest severity of a digest.
pub fn severity(tx: &mut Tx<'_>, id: &str) -> Result<String, StageError> {
    let rows = tx.query("SELECT severity FROM digests WHERE id = $1", &[id.into()])?;
    Ok(rows.first().map(|row| row.text(0).to_owned()).unwrap_or_default())
}

/// No more goes in.
pub fn seal(digest: &Digest, tx: &mut Tx<'_>) -> Result<(), StageError> {
    tx.execute("UPDATE digests SET sealed = 1 WHERE id = $1", &[digest.id.as_str().into()])?;
    Ok(())
}

/// Those that may be told, at most `limit`.
pub fn due(tx: &mut Tx<'_>, now: i64, limit: u64) -> Result<Vec<Digest>, StageError> {
    let sql = format!("SELECT {COLUMNS} FROM digests WHERE sealed = 0 AND tell <= $1 ORDER BY due, id LIMIT $2");
    Ok(tx.query(&sql, &[now.into(), limit.into()])?.iter().map(read).collect())
}

/// How many gather, and when the first of them may be told.
pub fn open(tx: &mut Tx<'_>) -> Result<(u64, i64), StageError> {
    let rows = tx.query("SELECT COUNT(*), MIN(tell) FROM digests WHERE sealed = 0", &[])?;
    Ok(rows.first().map_or((0, i64::MAX), |row| (row.uint(0), row.opt_int(1).unwrap_or(i64::MAX))))
}

/// The matches that are kept whole, oldest first.
pub fn events(tx: &mut Tx<'_>, id: &str) -> Result<Vec<Event>, StageError> {
    let rows = tx.query("SELECT line FROM digest_lines WHERE digest = $1 ORDER BY n", &[id.into()])?;
    Ok(rows.iter().filter_map(|row| Event::parse(row.blob(0)).ok()).collect())
}

/// Forgets those that were told of and began before, and the lines of those that nobody waits for any more.
pub fn forget(tx: &mut Tx<'_>, before: i64) -> Result<(), StageError> {
    tx.execute("DELETE FROM digests WHERE sealed = 1 AND received < $1", &[before.into()])?;
    let sql = "DELETE FROM digest_lines WHERE NOT EXISTS (SELECT 1 FROM ledger WHERE ledger.digest = digest_lines.digest \
               AND ledger.digest <> '' AND ledger.line_id IS NOT NULL) AND NOT EXISTS (SELECT 1 FROM digests WHERE id = digest AND sealed = 0)";
    tx.execute(sql, &[])?;
    Ok(())
}

/// Forgets the lines of a machine that was forgotten.
pub fn forget_machine(tx: &mut Tx<'_>, machine: &str, until: i64) -> Result<(), StageError> {
    let sql = "DELETE FROM digest_lines WHERE machine = $1 AND received <= $2";
    tx.execute(sql, &[machine.into(), until.into()])?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use registry::db::Db;

    use super::*;
    use crate::ledger::SCHEMA;

    /// Whoever reads an hour's matches at once makes of them what would have been made in time.
    #[test]
    fn what_piled_up_is_told_as_what_came_in_time() {
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        let tx = &mut db.begin().unwrap();
        let event = |n: i64| {
            let received = event::Time::from_ms(n * 100);
            let line = r#"{"v":1,"id":"eN","type":"t","time":"T","received":"T","source":"s","payload":{}}"#;
            Event::parse(line.replace("eN", &format!("e{n}")).replace('T', &received.to_string()).as_bytes()).unwrap()
        };
        let put = |n: i64, now: i64, tx: &mut Tx<'_>| {
            let event = event(n);
            let member = Member { event: &event, line: b"{}", probe: "p", nonce: 0, told: String::new() };
            add("a", "", 10_000, &member, now, tx).unwrap()
        };
        // In time: told when its time is over.
        assert_eq!(put(0, 50, tx).tell, 10_000);
        // Late: while more comes nothing is told, but for what is full of time.
        let (mut now, mut full) = (3_600_000, Vec::new());
        for n in 1..250 {
            now += 500;
            full.extend(put(n, now, tx).over.map(|digest| digest.count));
            assert!(due(tx, now, 9).unwrap().is_empty(), "at {n}");
        }
        assert_eq!((full, open(tx).unwrap()), (vec![100, 100], (1, now + SETTLED)));
        assert_eq!(due(tx, now + SETTLED, 9).unwrap()[0].count, 50);
    }
}

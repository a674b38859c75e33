//! Digests: many matches, one message. The matches of one action and target are gathered over its `digest` time, from the
//! first one's `received` on; what is kept of them is bounded, whatever comes: a count, a hash, the first ids and lines.

use event::Event;
use pipe::StageError;
use registry::db::{Row, Tx};
use sha2::{Digest as _, Sha256};

use crate::told::{EVENTS_MAX, IDS_MAX, Kept};

/// The most bytes of lines that one digest keeps.
const BYTES_MAX: u64 = 1 << 20;

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
    bytes: u64,
}

const COLUMNS: &str = "id, action, target, probe, event, received, due, count, hash, ids, bytes";

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
        bytes: row.uint(10),
    }
}

impl Digest {
    /// What a row of the ledger keeps of it.
    pub fn kept(&self) -> Kept {
        if self.count == 1 {
            return Kept::plain();
        }
        Kept { count: self.count, ids: self.ids.clone(), ..Kept::plain() }
    }

    /// Tells deliveries of other members apart, also if the first is the same.
    pub fn nonce(&self) -> u64 {
        u64::from_str_radix(self.hash.get(..15).unwrap_or_default(), 16).unwrap_or(0)
    }

    fn take_in(&mut self, event: &Event, probe: &str, line: &[u8], tx: &mut Tx<'_>) -> Result<(), StageError> {
        let mut hash = Sha256::new_with_prefix(&self.hash);
        for part in [event.id.as_str(), probe] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        self.hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let n = self.count;
        self.count += 1;
        if self.ids.len() < IDS_MAX {
            self.ids.push(event.id.clone());
        }
        let bytes = self.bytes.saturating_add(line.len() as u64);
        if n < EVENTS_MAX as u64 && (bytes <= BYTES_MAX || n == 0) {
            let machine = event.machine.as_ref().and_then(|m| m.key()).unwrap_or_default();
            let sql = "INSERT INTO digest_lines (digest, n, machine, received, line) VALUES ($1, $2, $3, $4, $5)";
            let received = event.received.ms();
            tx.execute(sql, &[self.id.as_str().into(), n.into(), machine.into(), received.into(), line.into()])?;
            self.bytes = bytes;
        }
        let sql = "UPDATE digests SET count = $2, hash = $3, ids = $4, bytes = $5 WHERE id = $1";
        let ids = serde_json::to_string(&self.ids).unwrap_or_default();
        let values =
            [self.id.as_str().into(), self.count.into(), self.hash.as_str().into(), ids.into(), self.bytes.into()];
        tx.execute(sql, &values)?;
        Ok(())
    }
}

/// What a match made of the digest of its action and target.
pub struct Added {
    /// One that is full of time: it is to be told now.
    pub over: Option<Digest>,
    /// Whether a new one was begun.
    pub begun: bool,
    /// When the one that the match is in is due.
    pub due: i64,
}

/// Takes a match in. `time` is how long a digest gathers, in ms.
pub fn add(
    action: &str,
    target: &str,
    time: i64,
    event: &Event,
    line: &[u8],
    tx: &mut Tx<'_>,
) -> Result<Added, StageError> {
    let received = event.received.ms();
    let probe = event.probes.first().map_or("", |probe| probe.name.as_str());
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
        None => begin(action, target, probe, event, received.saturating_add(time), tx)?,
    };
    digest.take_in(event, probe, line, tx)?;
    Ok(Added { over, begun, due: digest.due })
}

fn begin(
    action: &str,
    target: &str,
    probe: &str,
    event: &Event,
    due: i64,
    tx: &mut Tx<'_>,
) -> Result<Digest, StageError> {
    let mut hash = Sha256::new();
    for part in [action, target, probe, &event.id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let id: String = hash.finalize().iter().take(10).map(|byte| format!("{byte:02x}")).collect();
    let digest = Digest {
        id,
        action: action.to_owned(),
        target: target.to_owned(),
        probe: probe.to_owned(),
        event: event.id.clone(),
        received: event.received.ms(),
        due,
        count: 0,
        hash: String::new(),
        ids: Vec::new(),
        bytes: 0,
    };
    let sql = format!(
        "INSERT INTO digests ({COLUMNS}, sealed) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '', '[]', 0, 0) \
         ON CONFLICT (id) DO UPDATE SET due = excluded.due, sealed = 0, count = 0, hash = '', ids = '[]', bytes = 0"
    );
    let of = &digest;
    let texts = [&of.id, &of.action, &of.target, &of.probe, &of.event];
    let mut values: Vec<registry::db::Value> = texts.into_iter().map(|text| text.as_str().into()).collect();
    values.extend([of.received.into(), of.due.into()]);
    tx.execute(&sql, &values)?;
    Ok(digest)
}

/// No more goes in.
pub fn seal(digest: &Digest, tx: &mut Tx<'_>) -> Result<(), StageError> {
    tx.execute("UPDATE digests SET sealed = 1 WHERE id = $1", &[digest.id.as_str().into()])?;
    Ok(())
}

/// Those that are due, at most `limit`.
pub fn due(tx: &mut Tx<'_>, now: i64, limit: u64) -> Result<Vec<Digest>, StageError> {
    let sql = format!("SELECT {COLUMNS} FROM digests WHERE sealed = 0 AND due <= $1 ORDER BY due, id LIMIT $2");
    Ok(tx.query(&sql, &[now.into(), limit.into()])?.iter().map(read).collect())
}

/// How many gather, and when the first of them is due.
pub fn open(tx: &mut Tx<'_>) -> Result<(u64, i64), StageError> {
    let rows = tx.query("SELECT COUNT(*), MIN(due) FROM digests WHERE sealed = 0", &[])?;
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
               AND ledger.line_id IS NOT NULL) AND NOT EXISTS (SELECT 1 FROM digests WHERE id = digest AND sealed = 0)";
    tx.execute(sql, &[])?;
    Ok(())
}

/// Forgets the lines of a machine that was forgotten.
pub fn forget_machine(tx: &mut Tx<'_>, machine: &str, until: i64) -> Result<(), StageError> {
    let sql = "DELETE FROM digest_lines WHERE machine = $1 AND received <= $2";
    tx.execute(sql, &[machine.into(), until.into()])?;
    Ok(())
}

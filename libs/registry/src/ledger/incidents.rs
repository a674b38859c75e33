//! Incidents as people see them.

use event::Time;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::db::{Db, DbError, Row};

/// Rows that one page looks through; whoever wants further ones goes on from its cursor.
const LOOKED_MAX: usize = 5_000;
/// Rows of a query.
const AT_ONCE: u64 = 500;

const COLUMNS: &str =
    "id, probe, key, severity, status, title, machine, event, act, opened, last, closed, count, owner, comment";

/// An incident. All times are ms since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incident {
    /// 20 hex digits.
    pub id: String,
    /// The probe.
    pub probe: String,
    /// What it is about, as the probe's `by` says; without one the key of a machine.
    pub key: String,
    /// The highest so far.
    pub severity: String,
    /// `open`, `taken` or `closed`.
    pub status: String,
    /// What its last match was called.
    pub title: String,
    /// Key of the machine of its first match; empty: of none, or of one that was forgotten.
    pub machine: String,
    /// The event that opened it.
    pub event: String,
    /// Names of the actions that are told.
    pub act: Vec<String>,
    /// When its first match was received.
    pub opened: i64,
    /// When the last one was.
    pub last: i64,
    /// When it was closed; 0: it is not.
    pub closed: i64,
    /// Matches.
    pub count: u64,
    /// Who takes care; empty: nobody said so.
    pub owner: String,
    /// The last comment.
    pub comment: String,
}

impl Incident {
    /// As the command line and the console tell it.
    pub fn told(&self) -> Told {
        let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Told {
            id: self.id.clone(),
            probe: self.probe.clone(),
            key: self.key.clone(),
            severity: self.severity.clone(),
            title: self.title.clone(),
            machine: self.machine.clone(),
            event: self.event.clone(),
            act: self.act.clone(),
            status: self.status.clone(),
            opened: Time::from_ms(self.opened),
            last: Time::from_ms(self.last),
            count: self.count,
            by: said(&self.owner),
            comment: said(&self.comment),
            closed: (self.closed != 0).then(|| Time::from_ms(self.closed)),
        }
    }

    /// The same as a line.
    pub fn line(&self) -> Value {
        serde_json::to_value(self.told()).unwrap_or_default()
    }
}

/// An incident as people and programs are told of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Incident")]
pub struct Told {
    /// 20 hex digits.
    pub id: String,
    /// The probe.
    pub probe: String,
    /// What it is about, as the probe's `by` says; without one the key of a machine.
    pub key: String,
    /// The highest so far.
    pub severity: String,
    /// What its last match was called.
    pub title: String,
    /// Key of the machine of its first match; empty: of none, or of one that was forgotten.
    pub machine: String,
    /// The event that opened it.
    pub event: String,
    /// Names of the actions that are told.
    pub act: Vec<String>,
    /// `open`, `taken` or `closed`.
    pub status: String,
    /// When its first match was received.
    pub opened: Time,
    /// When the last one was.
    pub last: Time,
    /// Matches.
    pub count: u64,
    /// Who takes care.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The last comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// When it was closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<Time>,
}

fn read(row: &Row) -> Incident {
    let text = |i| row.text(i).to_owned();
    Incident {
        id: text(0),
        probe: text(1),
        key: text(2),
        severity: text(3),
        status: text(4),
        title: text(5),
        machine: text(6),
        event: text(7),
        act: serde_json::from_str(row.text(8)).unwrap_or_default(),
        opened: row.int(9),
        last: row.int(10),
        closed: row.int(11),
        count: row.uint(12),
        owner: text(13),
        comment: text(14),
    }
}

/// All that are not closed, or all that are still known; the last seen first.
pub fn list(db: &Db, all: bool) -> Result<Vec<Incident>, DbError> {
    let which = if all { "" } else { " WHERE status <> 'closed'" };
    let rows = db.query(&format!("SELECT {COLUMNS} FROM incidents{which} ORDER BY last DESC, id"), &[])?;
    Ok(rows.iter().map(read).collect())
}

/// Where a page ended: when its last incident was last seen, and its id.
pub type Cursor = (i64, String);

/// A page of those that `takes`, the last seen first: at most `n`, and where the next page begins, if there may be more.
/// `closed`: of those that are over, else of those that are not.
pub fn page(
    db: &Db,
    closed: bool,
    after: Option<Cursor>,
    n: usize,
    takes: &dyn Fn(&Incident) -> bool,
) -> Result<(Vec<Incident>, Option<Cursor>), DbError> {
    let which = if closed { "status = 'closed'" } else { "status <> 'closed'" };
    let sql = format!(
        "SELECT {COLUMNS} FROM incidents WHERE {which} AND (last < $1 OR (last = $1 AND id > $2)) \
         ORDER BY last DESC, id LIMIT $3"
    );
    let (mut found, mut looked, mut at) = (Vec::new(), 0, after.unwrap_or((i64::MAX, String::new())));
    loop {
        let rows = db.query(&sql, &[at.0.into(), at.1.as_str().into(), AT_ONCE.into()])?;
        for incident in rows.iter().map(read) {
            let here = (incident.last, incident.id.clone());
            if takes(&incident) {
                if found.len() >= n {
                    return Ok((found, Some(at)));
                }
                found.push(incident);
            }
            at = here;
        }
        looked += rows.len();
        if (rows.len() as u64) < AT_ONCE {
            return Ok((found, None));
        }
        if looked >= LOOKED_MAX {
            return Ok((found, Some(at)));
        }
    }
}

/// The one of this id.
pub fn find(db: &Db, id: &str) -> Result<Option<Incident>, DbError> {
    let rows = db.query(&format!("SELECT {COLUMNS} FROM incidents WHERE id = $1"), &[id.into()])?;
    Ok(rows.first().map(read))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::ledger::SCHEMA;

    fn add(db: &mut Db, n: i64, status: &str) {
        let mut tx = db.begin().unwrap();
        let sql = "INSERT INTO incidents (id, probe, key, severity, status, title, machine, event, act, opened, last, told, \
                   closed, count, words, owner, comment) \
                   VALUES ($1, 'p', 'k' || $1, 'major', $2, 't', 'm', 'e', '[\"a\"]', 1, $3, 1, $4, 7, '', 'ada', '')";
        let closed = if status == "closed" { 9i64 } else { 0 };
        // Two and two were last seen at the same time.
        tx.execute(sql, &[format!("i{n:03}").into(), status.into(), (n / 2).into(), closed.into()]).unwrap();
        tx.commit().unwrap();
    }

    #[test]
    fn each_stands_on_one_page() {
        let mut db = Db::memory(&[SCHEMA]).unwrap();
        for n in 0..11 {
            add(&mut db, n, ["open", "taken", "closed"].into_iter().cycle().nth(usize::try_from(n).unwrap()).unwrap());
        }
        for (closed, takes, want) in [
            (false, (|_: &Incident| true) as fn(&Incident) -> bool, "i010 i009 i006 i007 i004 i003 i000 i001"),
            (true, |_| true, "i008 i005 i002"),
            (false, |one| one.status == "taken", "i010 i007 i004 i001"),
            (false, |_| false, ""),
        ] {
            let (mut all, mut after) = (Vec::new(), None);
            loop {
                let (page, next) = page(&db, closed, after, 3, &takes).unwrap();
                assert!(page.len() == 3 || next.is_none(), "a page is full, or the last");
                all.extend(page.into_iter().map(|one| one.id));
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            assert_eq!(all.join(" "), want);
        }
        let one = find(&db, "i002").unwrap().unwrap();
        assert_eq!((one.line()["by"].as_str(), one.line()["closed"].is_string()), (Some("ada"), true));
        assert_eq!(
            (find(&db, "x").unwrap(), list(&db, false).unwrap().len(), list(&db, true).unwrap().len()),
            (None, 8, 11)
        );
    }
}

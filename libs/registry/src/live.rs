//! Live queries: the command line and the console ask in `registry.db`, `receive` hands out and remembers to whom in `receive.db`.

use event::Time;
use serde_json::json;

use crate::db::{Db, DbError, Row, Schema, Tx};
use crate::enrolments::ServerKey;
use crate::users::{self, By};

/// The table of `registry.db`.
pub const QUERIES: Schema = Schema {
    name: "live",
    migrations: &[
        "CREATE TABLE live_queries (
            id TEXT PRIMARY KEY, sql TEXT NOT NULL, scope TEXT NOT NULL, until BIGINT NOT NULL, max BIGINT,
            cancelled BIGINT, created BIGINT NOT NULL);",
        "ALTER TABLE live_queries ADD COLUMN tag TEXT;
        ALTER TABLE live_queries ADD COLUMN run_of TEXT;",
        "ALTER TABLE live_queries ADD COLUMN cause TEXT;",
        "CREATE INDEX live_queries_by_cause ON live_queries (cause) WHERE cause IS NOT NULL;
        CREATE INDEX live_queries_by_end ON live_queries (until);",
        "ALTER TABLE live_queries ADD COLUMN who TEXT;",
    ],
};
/// The number of the migration with which [`QUERIES`] has all its columns.
const COLUMNS: u64 = 3;
/// The table of `receive.db`.
pub const DELIVERIES: Schema = Schema {
    name: "live_deliveries",
    migrations: &["CREATE TABLE live_deliveries (
            query TEXT NOT NULL, machine TEXT NOT NULL, given BIGINT NOT NULL, answered BIGINT,
            PRIMARY KEY (query, machine));"],
};
/// Live queries that may wait at a time.
pub const OPEN_MAX: usize = 1000;
/// Of these, those that actions ask: people are never kept from asking by a probe that matches everything.
pub const OF_ACTIONS_MAX: usize = 800;
/// How long ended ones are kept, in ms.
const KEPT_MS: i64 = 7 * 86_400_000;
/// The same of those that actions ask, which may be many.
const OF_ACTIONS_KEPT_MS: i64 = 86_400_000;
/// Hex digits of a query's id: 12 of the ms since 1970 when it was made, and 8 random ones.
const ID_LEN: usize = 20;
/// Hex digits of the mark of a delivery.
const MARK_LEN: usize = 8;

/// A live query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Its id.
    pub id: String,
    /// The SQL.
    pub sql: String,
    /// The machines that are asked, as JSON.
    pub scope: String,
    /// When it ends (ms since 1970).
    pub until: i64,
    /// The most machines that are asked.
    pub max: Option<u64>,
}

/// What the answers to a live query mean beyond their rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Means {
    /// The tag of machines on which it gives rows.
    pub tag: Option<String>,
    /// The query, as it is called in schedules with its revision, of which this is a run.
    pub run_of: Option<String>,
    /// What led an action to ask, as the JSON of an event's `cause`.
    pub cause: Option<String>,
}

/// Asks; the id of the query. Ended ones are forgotten on the way.
pub fn ask(db: &mut Db, sql: &str, scope: &str, until: i64, max: Option<u64>, now: i64) -> Result<String, DbError> {
    ask_for(db, sql, &Means::default(), scope, until, max, now)
}

/// Asks for something. What an action has asked once for a cause it does not ask again: the query is the same.
pub fn ask_for(
    db: &mut Db,
    sql: &str,
    means: &Means,
    scope: &str,
    until: i64,
    max: Option<u64>,
    now: i64,
) -> Result<String, DbError> {
    let mut tx = db.begin()?;
    let id = write(&mut tx, &Ask { sql, means, scope, until, max }, None, now)?;
    tx.commit()?;
    Ok(id)
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The SQL.
    pub sql: &'a str,
    /// What answers mean.
    pub means: &'a Means,
    /// The machines that are asked, as JSON.
    pub scope: &'a str,
    /// When it ends, in ms since 1970.
    pub until: i64,
    /// The most machines that are asked.
    pub max: Option<u64>,
}

/// Asks for somebody, and writes down who asked how many `machines`.
pub fn ask_by(tx: &mut Tx<'_>, ask: &Ask<'_>, machines: u64, by: &By, now: Time) -> Result<String, DbError> {
    let id = write(tx, ask, Some(&by.who), now.ms())?;
    let scope: serde_json::Value = serde_json::from_str(ask.scope).unwrap_or_default();
    let what = json!({"query": id, "sql": ask.sql, "scope": scope, "machines": machines,
        "until": Time::from_ms(ask.until), "max": ask.max});
    users::audit(tx, by, "query_asked", what, now)?;
    Ok(id)
}

/// Asks nobody more, and writes down who said so; `false`: it had ended.
pub fn cancel_by(tx: &mut Tx<'_>, id: &str, by: &By, now: Time) -> Result<bool, DbError> {
    let sql = "UPDATE live_queries SET cancelled = $2 WHERE id = $1 AND cancelled IS NULL AND until > $2";
    let open = tx.execute(sql, &[id.into(), now.ms().into()])? > 0;
    if open {
        users::audit(tx, by, "query_cancelled", json!({"query": id}), now)?;
    }
    Ok(open)
}

fn write(tx: &mut Tx<'_>, ask: &Ask<'_>, who: Option<&str>, now: i64) -> Result<String, DbError> {
    let Ask { sql, means, scope, until, max } = *ask;
    let mut random = [0u8; 4];
    getrandom::fill(&mut random).map_err(|e| DbError::Other(format!("no random numbers: {e}")))?;
    let id = format!("{:012x}{:08x}", now.max(0) & 0xffff_ffff_ffff, u32::from_ne_bytes(random));
    tx.execute("DELETE FROM live_queries WHERE until < $1", &[(now - KEPT_MS).into()])?;
    let of_actions = "DELETE FROM live_queries WHERE until < $1 AND cause IS NOT NULL";
    tx.execute(of_actions, &[(now - OF_ACTIONS_KEPT_MS).into()])?;
    if let Some(cause) = means.cause.as_deref() {
        let asked = "SELECT id FROM live_queries WHERE cause = $1 AND sql = $2 AND scope = $3 AND until > $4 AND cancelled IS NULL";
        if let Some(row) = tx.query(asked, &[cause.into(), sql.into(), scope.into(), now.into()])?.first() {
            return Ok(row.text(0).to_owned());
        }
    }
    let open = "SELECT COUNT(*) FROM live_queries WHERE until > $1 AND cancelled IS NULL";
    let most = if means.cause.is_some() { OF_ACTIONS_MAX } else { OPEN_MAX };
    if tx.query(open, &[now.into()])?.first().is_some_and(|row| row.uint(0) >= most as u64) {
        return Err(DbError::Other(format!("{most} live queries wait already")));
    }
    tx.execute(
        "INSERT INTO live_queries (id, sql, scope, until, max, created, tag, run_of, cause, who) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &[
            id.as_str().into(),
            sql.into(),
            scope.into(),
            until.into(),
            max.into(),
            now.into(),
            means.tag.as_deref().into(),
            means.run_of.as_deref().into(),
            means.cause.as_deref().into(),
            who.into(),
        ],
    )?;
    Ok(id)
}

/// A live query that somebody asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What was asked. Ids are in the order of time.
    pub query: Query,
    /// When (ms since 1970).
    pub created: i64,
    /// When somebody ended it.
    pub cancelled: Option<i64>,
    /// Who asked, as in [`By`]; none: of an older version.
    pub who: Option<String>,
}

impl Asked {
    /// Whether machines are still asked.
    pub fn is_open(&self, now: i64) -> bool {
        self.cancelled.is_none() && self.query.until > now
    }
}

const ASKED: &str = "SELECT id, sql, scope, until, max, created, cancelled, who FROM live_queries WHERE cause IS NULL";

fn asked(row: &Row) -> Asked {
    let (created, cancelled, who) = (row.int(5), row.opt_int(6), row.opt_text(7).map(str::to_owned));
    Asked { query: query(row), created, cancelled, who }
}

/// What people asked, the last first: at most `n`, those before the id `before` if it is not empty; of one of them, or of
/// all. The registry has to be up to date.
pub fn asked_by(db: &Db, who: Option<&str>, before: &str, n: u64) -> Result<Vec<Asked>, DbError> {
    let sql = format!("{ASKED} AND ($1 = '' OR who = $1) AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT $3");
    let rows = db.query(&sql, &[who.unwrap_or_default().into(), before.into(), n.into()])?;
    Ok(rows.iter().map(asked).collect())
}

/// The one of this id that somebody asked.
pub fn find(db: &Db, id: &str) -> Result<Option<Asked>, DbError> {
    Ok(db.query(&format!("{ASKED} AND id = $1"), &[id.into()])?.first().map(asked))
}

/// How many machines were given a query, and how many of them answered. A state of an older version says none.
pub fn given(db: &Db, id: &str) -> Result<(u64, u64), DbError> {
    if !crate::db::has_schema(db, &DELIVERIES)? {
        return Ok((0, 0));
    }
    let rows = db.query("SELECT COUNT(*), COUNT(answered) FROM live_deliveries WHERE query = $1", &[id.into()])?;
    Ok(rows.first().map_or((0, 0), |row| (row.uint(0), row.uint(1))))
}

/// Nobody more is asked.
pub fn cancel(db: &mut Db, id: &str, now: i64) -> Result<(), DbError> {
    let mut tx = db.begin()?;
    tx.execute("UPDATE live_queries SET cancelled = $2 WHERE id = $1", &[id.into(), now.into()])?;
    tx.commit()
}

/// The queries that wait for machines, oldest first. A registry in which nobody ever asked has none.
pub fn open(db: &Db, now: i64) -> Result<Vec<Query>, DbError> {
    if db.query("SELECT 1 FROM schemas WHERE name = $1", &[QUERIES.name.into()])?.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT id, sql, scope, until, max FROM live_queries WHERE until > $1 AND cancelled IS NULL ORDER BY id";
    Ok(db.query(sql, &[now.into()])?.iter().map(query).collect())
}

fn query(row: &Row) -> Query {
    Query {
        id: row.text(0).to_owned(),
        sql: row.text(1).to_owned(),
        scope: row.text(2).to_owned(),
        until: row.int(3),
        max: row.opt_int(4).and_then(|max| u64::try_from(max).ok()),
    }
}

/// What the answers to a query mean, also once it has ended.
pub fn means(db: &Db, id: &str) -> Result<Means, DbError> {
    // A file of an older version has no such columns until somebody asks.
    let current = [QUERIES.name.into(), COLUMNS.into()];
    if db.query("SELECT 1 FROM schemas WHERE name = $1 AND number >= $2", &current)?.is_empty() {
        return Ok(Means::default());
    }
    let rows = db.query("SELECT tag, run_of, cause FROM live_queries WHERE id = $1", &[id.into()])?;
    let means = |row: &Row| {
        let text = |n| row.opt_text(n).map(str::to_owned);
        Means { tag: text(0), run_of: text(1), cause: text(2) }
    };
    Ok(rows.first().map(means).unwrap_or_default())
}

/// When a query was made (ms since 1970), as its id says.
pub fn made(id: &str) -> Option<i64> {
    i64::from_str_radix(id.get(..12)?, 16).ok()
}

/// The name under which a machine is given a query: nobody else can name it.
pub fn name(key: &ServerKey, query: &str, machine: &str) -> String {
    format!("{query}-{}", mark(key, query, machine))
}

/// The query that this name is of, if it was given to this machine.
pub fn named<'n>(key: &ServerKey, name: &'n str, machine: &str) -> Option<&'n str> {
    let (query, theirs) = name.split_once('-')?;
    if query.len() != ID_LEN || theirs.len() != MARK_LEN || !query.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (mark(key, query, machine) == theirs).then_some(query)
}

fn mark(key: &ServerKey, query: &str, machine: &str) -> String {
    key.mark(&["live", query, machine]).iter().take(MARK_LEN / 2).map(|b| format!("{b:02x}")).collect()
}

/// That a machine was given a query, and whether it has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The query.
    pub query: String,
    /// The machine key.
    pub machine: String,
    /// When (ms since 1970).
    pub given: i64,
    /// When it answered.
    pub answered: Option<i64>,
}

/// Writes deliveries down; those given before `since` are forgotten.
pub fn deliver(tx: &mut Tx<'_>, all: &[Delivery], since: i64) -> Result<(), DbError> {
    let sql = "INSERT INTO live_deliveries (query, machine, given, answered) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (query, machine) DO UPDATE SET given = excluded.given, answered = excluded.answered";
    for one in all {
        let values = [one.query.as_str().into(), one.machine.as_str().into(), one.given.into(), one.answered.into()];
        tx.execute(sql, &values)?;
    }
    tx.execute("DELETE FROM live_deliveries WHERE given < $1", &[since.into()]).map(|_| ())
}

/// The deliveries since `since`.
pub fn deliveries(db: &Db, since: i64) -> Result<Vec<Delivery>, DbError> {
    let sql = "SELECT query, machine, given, answered FROM live_deliveries WHERE given >= $1";
    let delivery = |row: &Row| Delivery {
        query: row.text(0).to_owned(),
        machine: row.text(1).to_owned(),
        given: row.int(2),
        answered: row.opt_int(3),
    };
    Ok(db.query(sql, &[since.into()])?.iter().map(delivery).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_query_waits_until_it_ends() {
        let mut db = Db::memory(&[QUERIES]).unwrap();
        let ask = |db: &mut Db, sql, until, now| ask(db, sql, "{}", until, Some(5), now).unwrap();
        let (a, b) = (ask(&mut db, "select 1", 100, 10), ask(&mut db, "select 2", 200, 11));
        assert_eq!((made(&a), a.len()), (Some(10), ID_LEN));
        let waiting = |db: &Db, now| open(db, now).unwrap().into_iter().map(|q| q.sql).collect::<Vec<_>>();
        assert_eq!(waiting(&db, 50), ["select 1", "select 2"]);
        assert_eq!(waiting(&db, 150), ["select 2"]);
        cancel(&mut db, &b, 20).unwrap();
        assert_eq!(waiting(&db, 50), ["select 1"]);
        ask(&mut db, "select 3", KEPT_MS + 300, KEPT_MS + 201);
        assert_eq!(db.query("SELECT 1 FROM live_queries", &[]).unwrap().len(), 1, "ended ones go");
        assert!(open(&Db::memory(&[]).unwrap(), 0).unwrap().is_empty());
        for _ in 1..OPEN_MAX {
            ask(&mut db, "select 4", KEPT_MS * 2, KEPT_MS + 201);
        }
        assert!(super::ask(&mut db, "x", "{}", KEPT_MS * 2, None, KEPT_MS + 202).is_err());
    }

    #[test]
    fn what_a_query_means_is_known_when_it_has_ended() {
        let mut db = Db::memory(&[QUERIES]).unwrap();
        let means = Means { tag: Some("vip".into()), run_of: Some("zentral/a/0".into()), cause: Some("{}".into()) };
        let id = ask_for(&mut db, "select 1", &means, "{}", 100, None, 10).unwrap();
        cancel(&mut db, &id, 20).unwrap();
        assert_eq!((super::means(&db, &id).unwrap(), super::means(&db, "x").unwrap()), (means, Means::default()));
        let old = Schema { migrations: &QUERIES.migrations[..1], ..QUERIES };
        assert_eq!(super::means(&Db::memory(&[old]).unwrap(), &id).unwrap(), Means::default(), "of an older version");
        let full = usize::try_from(COLUMNS).unwrap();
        let with_columns = Schema { migrations: &QUERIES.migrations[..full], ..QUERIES };
        let db = Db::memory(&[with_columns]).unwrap();
        db.query("SELECT tag, run_of, cause FROM live_queries", &[]).unwrap();
        assert_eq!(super::means(&db, &id).unwrap(), Means::default());
    }

    #[test]
    fn an_action_asks_once_for_a_cause_and_leaves_room_for_people() {
        let mut db = Db::memory(&[QUERIES]).unwrap();
        let mut ask = |n: usize, sql: &str| {
            let means = Means { cause: Some(format!("{{\"event\":\"e{n}\"}}")), ..Means::default() };
            ask_for(&mut db, sql, &means, "{}", 1_000, None, 10)
        };
        let id = ask(0, "select 1").unwrap();
        assert_eq!(ask(0, "select 1").unwrap(), id);
        assert_ne!(ask(0, "select 2").unwrap(), id);
        for n in 2..OF_ACTIONS_MAX {
            ask(n, "select 1").unwrap();
        }
        assert!(ask(OF_ACTIONS_MAX, "select 1").is_err());
        assert_eq!(ask(0, "select 1").unwrap(), id);
        super::ask(&mut db, "select 1", "{}", 1_000, None, 10).unwrap();
    }

    #[test]
    fn what_actions_ask_is_found_by_its_cause_and_goes_after_a_day() {
        let mut db = Db::memory(&[QUERIES]).unwrap();
        let ask = |db: &mut Db, cause: Option<&str>, until, now| {
            let means = Means { cause: cause.map(str::to_owned), ..Means::default() };
            ask_for(db, "select 1", &means, "{}", until, None, now).unwrap()
        };
        let (of_action, of_person) = (ask(&mut db, Some("{}"), 100, 10), ask(&mut db, None, 100, 10));
        ask(&mut db, Some("{1}"), OF_ACTIONS_KEPT_MS * 2, OF_ACTIONS_KEPT_MS + 100);
        assert_eq!(means(&db, &of_action).unwrap().cause.as_deref(), Some("{}"), "not before");
        ask(&mut db, Some("{2}"), OF_ACTIONS_KEPT_MS * 2, OF_ACTIONS_KEPT_MS + 101);
        let there = |id: &str| db.query("SELECT 1 FROM live_queries WHERE id = $1", &[id.into()]).unwrap().len();
        assert_eq!((there(&of_action), there(&of_person)), (0, 1));
        if crate::db::proof::is_on() {
            return;
        }
        let plan = |sql: &str| {
            let rows = db.query(&format!("EXPLAIN QUERY PLAN {sql}"), &[]).unwrap();
            rows.iter().map(|row| row.text(3).to_owned()).collect::<Vec<_>>().join("; ")
        };
        let by_cause = plan("SELECT id FROM live_queries WHERE cause = 'x' AND sql = '' AND until > 1");
        assert!(by_cause.contains("live_queries_by_cause"), "{by_cause}");
        let by_end = plan("DELETE FROM live_queries WHERE until < 1 AND cause IS NOT NULL");
        assert!(by_end.contains("USING INDEX"), "{by_end}");
    }

    #[test]
    fn what_people_asked_is_known_with_who_asked() {
        let mut db = Db::memory(&[QUERIES, DELIVERIES, crate::changes::SCHEMA]).unwrap();
        let means = Means::default();
        let by = |who: &str| By { who: who.to_owned(), ip: None };
        let mut ids = Vec::new();
        for (who, at) in [("user:ada", 10), ("user:bob", 20), ("user:ada", 30)] {
            let mut tx = db.begin().unwrap();
            let ask = Ask { sql: "select 1", means: &means, scope: "{}", until: 100, max: None };
            ids.push(ask_by(&mut tx, &ask, 7, &by(who), Time::from_ms(at)).unwrap());
            tx.commit().unwrap();
        }
        let of_action = Means { cause: Some("{}".into()), ..Means::default() };
        let other = ask_for(&mut db, "select 2", &of_action, "{}", 100, None, 40).unwrap();
        let listed = |who, before: &str, n| {
            asked_by(&db, who, before, n).unwrap().into_iter().map(|one| one.query.id).collect::<Vec<_>>()
        };
        assert_eq!(listed(None, "", 9), [ids[2].clone(), ids[1].clone(), ids[0].clone()]);
        assert_eq!(
            (listed(Some("user:ada"), "", 1), listed(None, &ids[2], 1)),
            (vec![ids[2].clone()], vec![ids[1].clone()])
        );
        assert_eq!(find(&db, &other).unwrap(), None, "an action asked");
        assert!(find(&db, &ids[0]).unwrap().unwrap().is_open(99) && !find(&db, &ids[0]).unwrap().unwrap().is_open(100));
        let mut tx = db.begin().unwrap();
        deliver(&mut tx, &[Delivery { query: ids[0].clone(), machine: "m".into(), given: 5, answered: None }], 0)
            .unwrap();
        assert!(cancel_by(&mut tx, &ids[0], &by("user:bob"), Time::from_ms(50)).unwrap());
        assert!(!cancel_by(&mut tx, &ids[0], &by("user:bob"), Time::from_ms(51)).unwrap(), "it has ended");
        assert!(!cancel_by(&mut tx, &ids[1], &by("user:bob"), Time::from_ms(100)).unwrap());
        tx.commit().unwrap();
        assert_eq!((given(&db, &ids[0]).unwrap(), find(&db, &ids[0]).unwrap().unwrap().cancelled), ((1, 0), Some(50)));
        let told = crate::changes::since(&db, 0, 9).unwrap();
        let told: Vec<serde_json::Value> = told.iter().map(|(_, line)| serde_json::from_slice(line).unwrap()).collect();
        assert_eq!(
            (told.len(), &told[1]["payload"]["by"], &told[1]["payload"]["machines"]),
            (4, &json!("user:bob"), &json!(7))
        );
        assert_eq!(told[3]["payload"]["action"], "query_cancelled");
    }

    #[test]
    fn a_name_is_of_one_machine() {
        let (key, other) = (ServerKey([1; 32]), ServerKey([2; 32]));
        let id = "0123456789ab01234567";
        let own = name(&key, id, "C02");
        assert_eq!(named(&key, &own, "C02"), Some(id));
        assert_eq!(named(&key, &own, "C03"), None);
        assert_eq!(named(&other, &own, "C02"), None);
        for foreign in ["", "1", "999999", "-", &own.replace('-', ""), &format!("{own}0"), &format!("x{own}")] {
            assert_eq!(named(&key, foreign, "C02"), None, "{foreign}");
        }
    }

    #[test]
    fn deliveries_are_kept_for_a_while() {
        let mut db = Db::memory(&[DELIVERIES]).unwrap();
        let one = |given, answered| Delivery { query: "q".into(), machine: "m".into(), given, answered };
        for (delivery, since) in [(one(5, None), 0), (one(5, Some(7)), 5)] {
            let mut tx = db.begin().unwrap();
            deliver(&mut tx, std::slice::from_ref(&delivery), since).unwrap();
            tx.commit().unwrap();
            assert_eq!(deliveries(&db, 5).unwrap(), [delivery]);
        }
        let mut tx = db.begin().unwrap();
        deliver(&mut tx, &[], 6).unwrap();
        tx.commit().unwrap();
        assert!(deliveries(&db, 0).unwrap().is_empty());
    }
}

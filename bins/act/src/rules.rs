//! The rules for Santa that actions made, as `zentral act rules` sees them; and how those go that hold no longer.

use event::Time;
use registry::changes;
use registry::db::{Db, DbError, Home};
use registry::made_rules::{self, MadeRule};
use serde_json::{Value, json};

use crate::incidents;

/// All that hold, oldest first, a JSON object each.
pub fn list(registry: impl Into<Home>, now: Time) -> Result<Vec<Value>, DbError> {
    Ok(all(&registry.into())?.iter().filter(|made| made.holds_at(now.ms())).map(shown).collect())
}

fn all(registry: &Home) -> Result<Vec<MadeRule>, DbError> {
    Db::open_read_only(registry)?.map_or_else(|| Ok(Vec::new()), |db| made_rules::all(&db))
}

fn shown(made: &MadeRule) -> Value {
    let read = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    let mut shown = json!({"id": made.id(), "rule": read(&made.rule)});
    let optional = |text: &str| (!text.is_empty()).then(|| Value::from(text));
    let more = [
        ("machine", optional(&made.machine)),
        ("scope", (!made.scope.is_empty()).then(|| read(&made.scope))),
        ("action", optional(&made.action)),
        ("probe", optional(&made.probe)),
        ("event", optional(&made.event)),
        ("incident", optional(&made.incident)),
        ("since", serde_json::to_value(Time::from_ms(made.at)).ok()),
        ("until", made.until.and_then(|until| serde_json::to_value(Time::from_ms(until)).ok())),
    ];
    if let Some(map) = shown.as_object_mut() {
        map.extend(more.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    shown
}

/// Takes rules away that `words` name: whole ids or unambiguous beginnings; what went. The inner error names the word
/// that fits none or several; then nothing went.
pub fn remove(registry: impl Into<Home>, words: &[String], now: Time) -> Result<Result<Vec<Value>, String>, DbError> {
    let registry = registry.into();
    let known = all(&registry)?;
    let mut chosen: Vec<&MadeRule> = Vec::new();
    for word in words {
        let mut hits = known.iter().filter(|made| !word.is_empty() && made.id().starts_with(word.as_str()));
        match (hits.next(), hits.next()) {
            (Some(made), None) => chosen.push(made),
            (None, _) => return Ok(Err(format!("no rule has the id `{word}`"))),
            (Some(_), Some(_)) => return Ok(Err(format!("several rules' ids begin with `{word}`"))),
        }
    }
    let mut db = open(&registry)?;
    let mut tx = db.begin()?;
    let mut gone = Vec::new();
    for made in chosen {
        if made_rules::remove(&mut tx, &made.id(), now)? > 0 {
            gone.push(shown(made));
        }
    }
    tx.commit()?;
    Ok(Ok(gone))
}

/// Takes away what has come to its end by this time (ms since 1970), and says so; nothing is written if there is nothing.
pub fn sweep(registry: &Home, now: i64) -> Result<(), DbError> {
    let Some(db) = Db::open_read_only(registry)? else { return Ok(()) };
    if !made_rules::is_due(&db, now)? {
        return Ok(());
    }
    drop(db);
    let mut db = open(registry)?;
    let mut tx = db.begin()?;
    made_rules::expire(&mut tx, Time::from_ms(now))?;
    tx.commit()
}

/// Takes away what was made for incidents that are over by this state, whatever became of the deliveries that would have
/// done it: they may have died, or their action is there no more.
pub fn reconcile(registry: &Home, state: &Home, now: i64) -> Result<(), DbError> {
    let Some(db) = Db::open_read_only(registry)? else { return Ok(()) };
    let named = made_rules::incidents(&db)?;
    drop(db);
    let Some(db) = Db::open_read_only(state)?.filter(|_| !named.is_empty()) else { return Ok(()) };
    let over = incidents::over(&db, named)?;
    if over.is_empty() {
        return Ok(());
    }
    let mut db = open(registry)?;
    let mut tx = db.begin()?;
    for incident in &over {
        made_rules::close_all(&mut tx, incident, Time::from_ms(now))?;
    }
    tx.commit()
}

fn open(registry: &Home) -> Result<Db, DbError> {
    Db::open(registry, &[made_rules::SCHEMA, changes::SCHEMA])
}

//! What the conditions of a probe would say of a match that came now: asked of a copy of what `act` remembers of its key,
//! so that looking changes nothing.

use act::conditions::{Conditions, Decision, Rules, key_of};
use act::conf::Configured;
use act::ledger::SCHEMA;
use act::told::Kept;
use act::{incidents, texts_through};
use event::{ProbeMatch, Time};
use pipe::StageError;
use pipe::config::{Config, ProbeConf, StageKind};
use registry::db::{Db, Tx, Value};
use serde_json::json;

use super::deeds;
use super::verdict::Incident;
use crate::judge;

/// What would become of a match.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// What its actions would be told; none: nothing, for this reason.
    pub would: Result<Kept, String>,
    /// What would keep single actions from being done at once, by action.
    pub waits: Vec<(String, String)>,
}

impl Outlook {
    /// In words.
    pub fn words(&self) -> String {
        match &self.would {
            Err(why) => format!("it would be held back: {why}"),
            Ok(Kept { state: None, count: 0 | 1, .. }) => "it would be acted upon".to_owned(),
            Ok(Kept { state: None, count, .. }) => format!("it would be acted upon, as {count} matches"),
            Ok(Kept { state: Some(state), count, incident, .. }) => {
                let id = incident.as_ref().map(|incident| incident.id.as_str()).unwrap_or_default();
                let matches = crate::status::table::plural(*count, "match");
                format!("it would be acted upon: incident {id} {}, {matches}", state.word())
            }
        }
    }

    /// For programs.
    pub fn record(&self) -> serde_json::Value {
        let waits: Vec<serde_json::Value> =
            self.waits.iter().map(|(action, why)| json!({"action": action, "waits": why})).collect();
        match &self.would {
            Err(why) => json!({"act": false, "why": why, "actions": waits}),
            Ok(kept) => {
                json!({"act": true, "state": kept.state.map(|s| s.word()), "count": kept.count, "actions": waits})
            }
        }
    }
}

/// What would become of this match of a probe, received then. None: nothing would, it asks for nothing.
pub fn of(
    config: &Config,
    conf: &ProbeConf,
    matched: &ProbeMatch,
    line: &[u8],
    id: &str,
    received: Time,
) -> Result<Option<Outlook>, StageError> {
    let rules = Rules::of(conf);
    if conf.shadow || (conf.act.is_empty() && rules.window.is_none() && !rules.until) {
        return Ok(None);
    }
    let stage = config.stages.iter().find(|stage| stage.runs(StageKind::Act));
    let state = stage.map(|stage| deeds::state(config, stage)).transpose()?.flatten();
    let event = judge::event(line, id.to_owned(), received);
    if let Some(why) = muted(state.as_ref(), &conf.name, received)? {
        return Ok(Some(Outlook { would: Err(why), waits: Vec::new() }));
    }
    let mut db = Db::memory(&[SCHEMA])?;
    let mut tx = db.begin()?;
    if let Some(state) = &state {
        let of: [Value; 2] = [conf.name.as_str().into(), key_of(&event, matched).into()];
        copy(state, &mut tx, "throttles", "probe, key, since", "", &of)?;
        copy(state, &mut tx, "windows", "probe, key, event, received", "", &of)?;
        let columns = format!("{}, closed", incidents::columns());
        copy(state, &mut tx, "incidents", &columns, " AND status <> 'closed'", &of)?;
    }
    let conditions: Conditions = [(conf.name.clone(), rules)].into_iter().collect();
    let would = match conditions.decide(&event, matched, &mut conf.act.clone(), &mut Vec::new(), &mut tx)? {
        Decision::Act(kept) => Ok(kept),
        Decision::Held(_, why) => Err(why),
    };
    let mut waits = Vec::new();
    for action in conf.act.iter().filter(|_| would.is_ok()) {
        waits.extend(wait(config, state.as_ref(), action, &matched.severity, received)?);
    }
    Ok(Some(Outlook { would, waits }))
}

fn copy(from: &Db, to: &mut Tx<'_>, table: &str, columns: &str, more: &str, of: &[Value; 2]) -> Result<(), StageError> {
    let rows = from.query(&format!("SELECT {columns} FROM {table} WHERE probe = $1 AND key = $2{more}"), of)?;
    for row in rows {
        let places: Vec<String> = (1..=row.values().len()).map(|n| format!("${n}")).collect();
        let sql = format!("INSERT INTO {table} ({columns}) VALUES ({})", places.join(", "));
        to.execute(&sql, row.values())?;
    }
    Ok(())
}

/// Until when a probe or action is muted for what is received then.
fn muted(state: Option<&Db>, name: &str, received: Time) -> Result<Option<String>, StageError> {
    let Some(state) = state else { return Ok(None) };
    let sql = "SELECT until FROM mutes WHERE name = $1 AND since <= $2 AND until > $2";
    let rows = state.query(sql, &[name.into(), received.ms().into()])?;
    Ok(rows.first().map(|row| format!("muted until {}", Time::from_ms(row.int(0)))))
}

/// What keeps an action from being done at once: a mute, its brake, a digest, quiet hours.
fn wait(
    config: &Config,
    state: Option<&Db>,
    action: &str,
    severity: &str,
    received: Time,
) -> Result<Vec<(String, String)>, StageError> {
    let mut all = Vec::new();
    if let Some(muted) = muted(state, action, received)? {
        return Ok(vec![(action.to_owned(), muted)]);
    }
    let stopped = match state {
        Some(state) => state.query("SELECT since, why FROM stopped WHERE action = $1", &[action.into()])?,
        None => Vec::new(),
    };
    all.extend(stopped.first().map(|row| deeds::stopped(row.int(0), row.text(1), action)));
    let texts = config.files.clone().map(texts_through);
    let configured = config.actions.get(action).zip(texts).and_then(|(s, t)| Configured::read(s, config, &t).ok());
    if let Some(common) = configured.map(|configured| configured.common) {
        if let Some(time) = common.digest {
            let sql = "SELECT MIN(due) FROM digests WHERE action = $1 AND sealed = 0 AND due > $2";
            let due = match state {
                Some(state) => state.query(sql, &[action.into(), received.ms().into()])?,
                None => Vec::new(),
            };
            let begun = due.first().and_then(|row| row.opt_int(0));
            let own = received.ms().saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
            all.push(format!("gathered into a digest until {}", Time::from_ms(begun.unwrap_or(own))));
        }
        let quiet = common.quiet.and_then(|quiet| quiet.until(Time::now().ms(), severity));
        all.extend(quiet.map(|until| format!("quiet hours until {}", Time::from_ms(until))));
    }
    Ok(all.into_iter().map(|why| (action.to_owned(), why)).collect())
}

/// The incident that a match received then is about: the last one of its key that was open.
pub fn incident(
    config: &Config,
    matched: &ProbeMatch,
    line: &[u8],
    received: Time,
) -> Result<Option<Incident>, StageError> {
    let key = key_of(&judge::event(line, String::new(), received), matched);
    let sql = "SELECT id, status, opened, last, count FROM incidents WHERE probe = $1 AND key = $2 AND opened <= $3 \
               AND (status <> 'closed' OR closed >= $3) ORDER BY opened DESC LIMIT 1";
    for stage in config.stages.iter().filter(|stage| stage.runs(StageKind::Act)) {
        let Some(state) = deeds::state(config, stage)? else { continue };
        let of = [matched.name.as_str().into(), key.as_str().into(), received.ms().into()];
        if let Some(row) = state.query(sql, &of)?.first() {
            let (opened, last) = (Time::from_ms(row.int(2)), Time::from_ms(row.int(3)));
            let (id, status) = (row.text(0).to_owned(), row.text(1).to_owned());
            return Ok(Some(Incident { id, status, opened, last, count: row.uint(4) }));
        }
    }
    Ok(None)
}

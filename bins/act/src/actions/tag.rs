//! Tags given to the machine of the match, or taken away, as `zentral machine tag` does.

use std::sync::Arc;
use std::time::Duration;

use event::{Cause, Event, Machine, Time};
use pipe::config::{Settings, is_name};
use registry::db::{Db, DbError, Home, Tx};
use registry::{changes, tags};
use serde_json::{Map, Value, json};

use super::{Action, Answer, Kind, Opening, Reading, Sending, Showing, Spec};
use crate::call::Call;
use crate::desk::Desk;
use crate::noted::{self, names};
use crate::told::Phase;

/// The kind.
pub const KIND: Kind =
    Kind { name: "tag", repeatable: true, timeout: Duration::from_secs(30), changes_machines: false, read };

/// Changes of a machine's tags that are looked through for one of a try that was cut off.
const LAST_MAX: u64 = 256;

#[derive(Clone)]
struct Tag {
    add: Vec<String>,
    remove: Vec<String>,
    undo: bool,
}

fn read(settings: &mut Settings, _: &Reading<'_>) -> Option<Box<dyn Spec>> {
    if !settings.has("add") && !settings.has("remove") {
        settings.fail("", "needs the key `add` or `remove`: lists of tags");
    }
    let (add, remove) = (settings.strings("add"), settings.strings("remove"));
    for (key, tags) in [("add", &add), ("remove", &remove)] {
        if let Some(odd) = tags.iter().find(|tag| !is_name(tag)) {
            settings.fail(key, format!("`{odd}` is no tag ([a-z0-9][a-z0-9-]{{0,62}})"));
        }
    }
    if let Some(both) = add.iter().find(|tag| remove.contains(tag)) {
        settings.fail("remove", format!("`{both}` is to be given as well"));
    }
    if settings.has("digest") {
        settings.fail("digest", "does not fit: each machine is tagged on its own");
    }
    let undo = settings.bool("undo").unwrap_or(false);
    Some(Box::new(Tag { add, remove, undo }))
}

impl Spec for Tag {
    fn open(&self, opening: &Opening<'_>) -> Result<Arc<dyn Action>, String> {
        let desk = Desk::start("tag").map_err(|e| format!("cannot start a thread: {e}"))?;
        Ok(Arc::new(Live { of: self.clone(), registry: opening.registry.to_owned(), desk }))
    }
}

struct Live {
    of: Tag,
    registry: Home,
    desk: Desk,
}

/// What is to be done.
#[derive(Default)]
struct Order {
    cause: Cause,
    parts: Vec<Part>,
}

/// What is to be done to one machine.
#[derive(Default)]
struct Part {
    key: String,
    /// None: another than that of the match.
    machine: Option<Machine>,
    add: Vec<String>,
    remove: Vec<String>,
}

impl Live {
    fn order(&self, call: &Call) -> Result<Order, String> {
        if call.event.type_ == changes::TAGGED && call.event.cause.is_some() {
            return Err("the match is a tag that an action gave: every chain ends after one turn".to_owned());
        }
        let machine = call.event.machine.clone().unwrap_or_default();
        let key = machine.key().map(str::to_owned);
        let parts = if call.told.state == Some(Phase::Closed) {
            let notes = if self.of.undo { noted::all(call.told.reference.as_ref()) } else { Vec::new() };
            let part = |note: &Value| {
                let of = note.get("id")?.as_str()?.to_owned();
                let machine = (key.as_ref() == Some(&of)).then(|| machine.clone());
                Some(Part { key: of, machine, add: names(note, "removed"), remove: names(note, "added") })
            };
            notes.iter().filter_map(part).collect()
        } else {
            let key = key.ok_or("the match names no machine")?;
            if self.of.undo && noted::is_full(call.told.reference.as_ref()) {
                return Err("the incident has changed so many machines that no more could be undone".to_owned());
            }
            vec![Part { key, machine: Some(machine), add: self.of.add.clone(), remove: self.of.remove.clone() }]
        };
        Ok(Order { cause: call.cause(), parts })
    }
}

/// What was given and taken, a note for each machine.
fn carry_out(registry: &Home, order: &Order) -> Result<Vec<Map<String, Value>>, DbError> {
    let mut db = Db::open(registry, &[tags::SCHEMA, changes::SCHEMA])?;
    let (mut tx, now) = (db.begin()?, Time::now());
    let notes = order.parts.iter().map(|part| carry_out_part(&mut tx, &order.cause, part, now)).collect();
    tx.commit()?;
    notes
}

/// The tags that were given and taken: those of which it was not so before this delivery.
fn carry_out_part(tx: &mut Tx<'_>, cause: &Cause, part: &Part, now: Time) -> Result<Map<String, Value>, DbError> {
    let machine = match &part.machine {
        Some(machine) => machine.clone(),
        // As it was known when its tags were changed.
        None => {
            let last = changes::last_of(tx, &part.key, changes::TAGGED, 1)?.pop();
            let known = last.and_then(|event| event.machine);
            known.unwrap_or_else(|| Machine { serial_number: Some(part.key.clone()), ..Machine::default() })
        }
    };
    // What is so already may be of this very delivery, by a try that was cut off before anybody noted it.
    let last = changes::last_of(tx, &part.key, changes::TAGGED, LAST_MAX)?;
    let ours = |tag: &str, action: &str| {
        let says = |event: &Event| serde_json::from_str::<Value>(event.payload.get()).unwrap_or_default();
        let last = last.iter().map(|event| (event, says(event))).find(|(_, said)| said.get("tag") == Some(&tag.into()));
        last.is_some_and(|(event, said)| {
            event.cause.as_ref() == Some(cause) && said.get("action") == Some(&action.into())
        })
    };
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for tag in &part.add {
        if tags::add_for(tx, &part.key, tag, machine.clone(), now, Some(cause.clone()))? || ours(tag, "added") {
            added.push(tag.clone());
        }
    }
    for tag in &part.remove {
        if tags::remove_for(tx, &part.key, tag, machine.clone(), now, Some(cause.clone()))? || ours(tag, "removed") {
            removed.push(tag.clone());
        }
    }
    let note = [("id", part.key.clone().into()), ("added", added.into()), ("removed", removed.into())];
    Ok(note.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

impl Live {
    /// What is noted: for an incident, all that this action changed for it; once it is over, what was undone.
    fn note(&self, call: &Call, notes: Vec<Map<String, Value>>) -> Option<Value> {
        let before = call.told.reference.as_ref().filter(|_| self.of.undo && call.told.state != Some(Phase::Closed));
        notes.into_iter().rev().fold(before.cloned(), |note, fresh| Some(noted::with(note.as_ref(), fresh, &["id"])))
    }
}

impl Action for Live {
    fn send<'a>(&'a self, call: &'a Call) -> Sending<'a> {
        Box::pin(async move {
            let order = match self.order(call) {
                Ok(order) => order,
                Err(why) => return Answer::never(None, why),
            };
            if order.parts.is_empty() {
                return Answer::done(None);
            }
            let registry = self.registry.clone();
            match self.desk.run(move || carry_out(&registry, &order)).await {
                Ok(Ok(notes)) => Answer { reference: self.note(call, notes), ..Answer::done(None) },
                Ok(Err(error)) => Answer::later(None, format!("registry.db: {error}")),
                Err(away) => away.into(),
            }
        })
    }

    fn show<'a>(&'a self, call: &'a Call) -> Showing<'a> {
        Box::pin(async move {
            let order = self.order(call)?;
            let show = |part: &Part| json!({"machine": part.key, "add": part.add, "remove": part.remove});
            let mut shown: Vec<Value> = order.parts.iter().map(show).collect();
            Ok(match shown.len() {
                0 => json!({}),
                1 => shown.pop().unwrap_or_default(),
                _ => shown.into(),
            })
        })
    }

    fn keeps_reference(&self) -> bool {
        self.of.undo
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_a_try_did_that_was_cut_off_is_still_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = Home::from(&dir.path().join("registry.db"));
        let order = |event: &str| {
            let text = |text: &str| text.to_owned();
            let machine = Machine { serial_number: Some(text("C02")), ..Machine::default() };
            let (add, remove) = (vec![text("rogue")], vec![text("trusted")]);
            let cause = Cause { event: text(event), action: text("t"), ..Cause::default() };
            Order { cause, parts: vec![Part { key: text("C02"), machine: Some(machine), add, remove }] }
        };
        let mut db = Db::open(&path, &[tags::SCHEMA, changes::SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        tags::add(&mut tx, "C02", "trusted", Machine::default(), Time::now()).unwrap();
        tx.commit().unwrap();
        let first = carry_out(&path, &order("e1")).unwrap();
        let last = changes::last(&db).unwrap();
        assert_eq!((&first[0]["added"], &first[0]["removed"]), (&json!(["rogue"]), &json!(["trusted"])));
        assert_eq!(carry_out(&path, &order("e1")).unwrap(), first, "the same delivery again");
        assert_eq!(changes::last(&db).unwrap(), last, "which changes nothing");
        let other = carry_out(&path, &order("e2")).unwrap();
        assert_eq!((&other[0]["added"], &other[0]["removed"]), (&json!([]), &json!([])));
        // Somebody took it and gave it by hand meanwhile: it is theirs.
        let mut tx = db.begin().unwrap();
        let machine = Machine { serial_number: Some("C02".into()), ..Machine::default() };
        tags::remove(&mut tx, "C02", "rogue", machine.clone(), Time::now()).unwrap();
        tags::add(&mut tx, "C02", "rogue", machine, Time::now()).unwrap();
        tx.commit().unwrap();
        let again = carry_out(&path, &order("e1")).unwrap();
        assert_eq!((&again[0]["added"], &again[0]["removed"]), (&json!([]), &json!(["trusted"])));
    }
}

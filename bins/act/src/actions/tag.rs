//! Tags given to the machine of the match, or taken away, as `zentral machine tag` does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use event::{Cause, Machine, Time};
use pipe::config::{Settings, is_name};
use registry::db::{Db, DbError};
use registry::{changes, tags};
use serde_json::{Map, Value, json};

use super::{Action, Answer, Kind, Opening, Reading, Sending, Showing, Spec};
use crate::call::Call;
use crate::desk::Desk;
use crate::told::Phase;

/// The kind.
pub const KIND: Kind =
    Kind { name: "tag", repeatable: true, timeout: Duration::from_secs(30), changes_machines: false, read };

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
    registry: PathBuf,
    desk: Desk,
}

/// What is to be done to one machine.
#[derive(Default)]
struct Order {
    key: String,
    machine: Machine,
    cause: Cause,
    add: Vec<String>,
    remove: Vec<String>,
}

impl Live {
    fn order(&self, call: &Call) -> Result<Order, String> {
        if call.event.type_ == changes::TAGGED && call.event.cause.is_some() {
            return Err("the match is a tag that an action gave: every chain ends after one turn".to_owned());
        }
        let machine = call.event.machine.clone().unwrap_or_default();
        let key = machine.key().ok_or("the match names no machine")?.to_owned();
        let (add, remove) = match call.told.state {
            Some(Phase::Closed) => {
                let noted = call.told.reference.as_ref().filter(|_| self.of.undo);
                let of = |word: &str| noted.map(|noted| names(noted, word)).unwrap_or_default();
                (of("removed"), of("added"))
            }
            _ => (self.of.add.clone(), self.of.remove.clone()),
        };
        Ok(Order { key, machine, cause: call.cause(), add, remove })
    }
}

fn names(noted: &Value, word: &str) -> Vec<String> {
    let list = noted.get(word).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The tags that were given and taken: those of which it was not so already.
fn carry_out(registry: &Path, order: &Order) -> Result<(Vec<String>, Vec<String>), DbError> {
    let mut db = Db::open(registry, &[tags::SCHEMA, changes::SCHEMA])?;
    let (mut tx, now) = (db.begin()?, Time::now());
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    let cause = || Some(order.cause.clone());
    for tag in &order.add {
        if tags::add_for(&mut tx, &order.key, tag, order.machine.clone(), now, cause())? {
            added.push(tag.clone());
        }
    }
    for tag in &order.remove {
        if tags::remove_for(&mut tx, &order.key, tag, order.machine.clone(), now, cause())? {
            removed.push(tag.clone());
        }
    }
    tx.commit()?;
    Ok((added, removed))
}

/// What is noted: for an incident, all that this action changed for it.
fn note(call: &Call, key: &str, changed: (Vec<String>, Vec<String>)) -> Value {
    let mut note: Map<String, Value> = [("id".to_owned(), key.into())].into_iter().collect();
    for (word, fresh) in [("added", changed.0), ("removed", changed.1)] {
        let mut all = call.told.reference.as_ref().map(|noted| names(noted, word)).unwrap_or_default();
        all.extend(fresh);
        note.insert(word.to_owned(), all.into());
    }
    note.into()
}

impl Action for Live {
    fn send<'a>(&'a self, call: &'a Call) -> Sending<'a> {
        Box::pin(async move {
            let order = match self.order(call) {
                Ok(order) => order,
                Err(why) => return Answer::never(None, why),
            };
            if order.add.is_empty() && order.remove.is_empty() {
                return Answer::done(None);
            }
            let (registry, key) = (self.registry.clone(), order.key.clone());
            match self.desk.run(move || carry_out(&registry, &order)).await {
                Ok(Ok(changed)) => Answer::done(None).noting(note(call, &key, changed)),
                Ok(Err(error)) => Answer::later(None, format!("registry.db: {error}")),
                Err(away) => away.into(),
            }
        })
    }

    fn show<'a>(&'a self, call: &'a Call) -> Showing<'a> {
        Box::pin(async move {
            let order = self.order(call)?;
            Ok(json!({"machine": order.key, "add": order.add, "remove": order.remove}))
        })
    }

    fn keeps_reference(&self) -> bool {
        self.of.undo
    }
}

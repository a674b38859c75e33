//! What the state of the hub knows of machines: who may speak (`receive.db`), the inventory (`normalize.db`), tags by hand
//! (`registry.db`). Read only, beside a running `up` or without one.

pub mod csv;

use std::collections::{BTreeMap, BTreeSet};

use event::{Machine, Time};
use serde_json::{Map, Value, json};

use crate::db::{Db, DbError, Home, Homes, Schema, has_schema};
use crate::inventory::Past;
use crate::inventory::past::{self, Reach, Then, Wanted};
use crate::pending::{self, Pending};
use crate::{inventory, machines, prices, results, santa, tags};

/// All machines, as they were when they were read. What there is to say of one alone is read when it is asked for.
pub struct Known {
    machines: BTreeMap<String, One>,
    normalize: Home,
    receiving: Home,
}

/// One machine.
#[derive(Debug, Default)]
struct One {
    block: Machine,
    /// When each source saw it: first, last.
    sources: BTreeMap<String, (Time, Time)>,
}

/// The state that cannot be read, and why.
#[derive(Debug)]
pub struct Unread {
    /// Which one.
    pub home: Home,
    /// Why.
    pub error: DbError,
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.home, self.error)
    }
}

/// Whom a name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nobody.
    None,
    /// The machine of this key.
    One(String),
    /// Several; the keys of two.
    Several(String, String),
}

impl Known {
    /// As it is now. `unit_tags` are the tags that the machines of a unit have by the configuration.
    pub fn open(homes: &Homes, unit_tags: &dyn Fn(&str) -> Vec<String>) -> Result<Self, Unread> {
        let (normalize, receive, registry) = (homes.state("normalize"), homes.state("receive"), homes.registry());
        let mut all: BTreeMap<String, One> = BTreeMap::new();
        let inventory = look(&normalize, &inventory::SCHEMA)?;
        if let Some(db) = &inventory {
            for (key, block) in inventory::blocks(&mut &*db).map_err(of(&normalize))? {
                all.entry(key).or_default().block = block;
            }
            for (key, tags) in results::all_tags(db).map_err(of(&normalize))? {
                all.entry(key).or_default().block.tags.extend(tags);
            }
            for s in inventory::sightings(&mut &*db, None).map_err(of(&normalize))? {
                all.entry(s.machine).or_default().sources.insert(s.source, (s.first, s.seen));
            }
        }
        let enrolled = look(&receive, &machines::SCHEMA)?;
        if let Some(db) = &enrolled {
            for listed in machines::list(db).map_err(of(&receive))? {
                let one = all.entry(listed.machine.key().to_owned()).or_default();
                let (enrolled, heard) = (Time::from_ms(listed.enrolled), Time::from_ms(listed.last_seen));
                let seen = one.sources.entry(listed.source).or_insert((enrolled, heard));
                *seen = (seen.0.min(enrolled), seen.1.max(heard));
                fill(&mut one.block, listed.machine);
            }
        }
        if let Some(db) = look(&registry, &tags::SCHEMA)? {
            for (key, tags) in tags::all(&db).map_err(of(&registry))? {
                // Tags of a machine that nobody knows yet wait for it.
                if let Some(one) = all.get_mut(&key) {
                    one.block.tags.extend(tags);
                }
            }
        }
        for (key, one) in &mut all {
            let unit = one.block.unit.as_deref();
            one.block.tags.extend(unit.map(unit_tags).unwrap_or_default());
            one.block.tags.sort();
            one.block.tags.dedup();
            if one.block.key().is_none() {
                one.block.serial_number = Some(key.clone());
            }
        }
        Ok(Self { machines: all, normalize, receiving: receive })
    }

    /// The keys of all.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.machines.keys()
    }

    /// All of them: the key, what is said of it in its events, and when it was seen last.
    pub fn each(&self) -> impl Iterator<Item = (&str, &Machine, Option<Time>)> {
        self.machines.iter().map(|(key, one)| {
            let seen = one.sources.values().map(|(_, last)| *last).max();
            (key.as_str(), &one.block, seen)
        })
    }

    /// The key of the machine that is called so: by its key, else by its hardware UUID or host name if only one has it.
    pub fn find(&self, name: &str) -> Found {
        if self.machines.contains_key(name) {
            return Found::One(name.to_owned());
        }
        let is = |value: &Option<String>| value.as_ref().is_some_and(|value| value.eq_ignore_ascii_case(name));
        let called =
            |one: &One| is(&one.block.serial_number) || is(&one.block.hardware_uuid) || is(&one.block.hostname);
        let found: Vec<&String> = self.machines.iter().filter(|(_, one)| called(one)).map(|(key, _)| key).collect();
        match found.as_slice() {
            [] => Found::None,
            [key] => Found::One((*key).clone()),
            [a, b, ..] => Found::Several((*a).clone(), (*b).clone()),
        }
    }

    /// Whether this source knows it.
    pub fn has_source(&self, key: &str, source: &str) -> bool {
        self.machines.get(key).is_some_and(|one| one.sources.contains_key(source))
    }

    /// All of them once for each source that knows them: the key, what is said of it in its events, the source, and when
    /// that heard it last.
    pub fn heard(&self) -> impl Iterator<Item = (&str, &Machine, &str, Time)> {
        self.machines.iter().flat_map(|(key, one)| {
            one.sources.iter().map(move |(source, (_, last))| (key.as_str(), &one.block, source.as_str(), *last))
        })
    }

    /// The sources that know it.
    pub fn sources(&self, key: &str) -> impl Iterator<Item = &str> {
        self.machines.get(key).into_iter().flat_map(|one| one.sources.keys().map(String::as_str))
    }

    /// What `state/receive.db` tells; none while there is no such state.
    pub fn enrolled<T>(&self, ask: impl FnOnce(&Db) -> Result<T, DbError>) -> Result<Option<T>, Unread> {
        let db = look(&self.receiving, &machines::SCHEMA)?;
        db.as_ref().map(ask).transpose().map_err(of(&self.receiving))
    }

    /// What `state/normalize.db` tells; none while there is no such state.
    pub fn inventory<T>(&self, ask: impl FnOnce(&Db) -> Result<T, DbError>) -> Result<Option<T>, Unread> {
        let db = look(&self.normalize, &inventory::SCHEMA)?;
        db.as_ref().map(ask).transpose().map_err(of(&self.normalize))
    }

    /// Its block in events.
    pub fn block(&self, key: &str) -> Machine {
        self.machines.get(key).map(|one| one.block.clone()).unwrap_or_default()
    }

    /// What `machine list` tells of it.
    pub fn line(&self, key: &str) -> Map<String, Value> {
        let mut line = Map::new();
        let Some(one) = self.machines.get(key) else { return line };
        line.insert("key".into(), key.into());
        if let Ok(Value::Object(block)) = serde_json::to_value(&one.block) {
            line.extend(block);
        }
        for list in ["tags", "groups"] {
            line.entry(list).or_insert_with(|| json!([]));
        }
        let sources: BTreeSet<&String> = one.sources.keys().collect();
        line.insert("sources".into(), json!(sources));
        line.insert("first_seen".into(), json!(one.sources.values().map(|(first, _)| first).min()));
        line.insert("last_seen".into(), json!(one.sources.values().map(|(_, last)| last).max()));
        line
    }

    /// All that is known of one: its line, what waits, what its sources tell, what changed.
    pub fn whole(&self, key: &str) -> Result<Map<String, Value>, Unread> {
        let details = self.details()?;
        let mut whole = self.line(key);
        whole.extend(details.waits(key)?);
        whole.extend(details.parts(key)?);
        whole.insert("history".into(), details.history(key)?);
        Ok(whole)
    }

    /// Where to ask for more of single machines.
    pub fn details(&self) -> Result<Details<'_>, Unread> {
        let inventory = look(&self.normalize, &inventory::SCHEMA)?;
        Ok(Details { known: self, inventory, receive: look(&self.receiving, &machines::SCHEMA)? })
    }
}

/// The state, open: what it holds of single machines.
pub struct Details<'k> {
    known: &'k Known,
    inventory: Option<Db>,
    receive: Option<Db>,
}

impl Details<'_> {
    /// The enrolments as this machine that wait for somebody's leave, or have it and have not come again.
    pub fn pending(&self, key: &str) -> Result<Vec<Pending>, Unread> {
        self.receive.as_ref().map_or(Ok(Vec::new()), |db| pending::of(db, key)).map_err(of(&self.known.receiving))
    }

    /// What was ordered of it and is not done, and what waits for an order.
    pub fn waits(&self, key: &str) -> Result<Map<String, Value>, Unread> {
        let mut waits = Map::new();
        if let Some(db) = &self.receive {
            waits.extend(
                santa::ordered(db, key)
                    .map_err(of(&self.known.receiving))?
                    .map(|kind| ("sync".to_owned(), kind.into())),
            );
        }
        let told = |one: Pending| {
            json!({"source": one.source, "hardware": one.hardware, "why": one.why, "first": one.first, "last": one.last,
                "approved": one.approved})
        };
        let pending: Vec<Value> = self.pending(key)?.into_iter().map(told).collect();
        if !pending.is_empty() {
            waits.insert("pending".to_owned(), pending.into());
        }
        Ok(waits)
    }

    /// What its sources tell: of each field who told it, of each source when, and all things by kind.
    pub fn parts(&self, key: &str) -> Result<Map<String, Value>, Unread> {
        self.told(key).map_err(of(&self.known.normalize))
    }

    fn told(&self, key: &str) -> Result<Map<String, Value>, DbError> {
        let mut parts = Map::new();
        let seen = self.known.machines.get(key).map(|one| &one.sources);
        let mut seen: BTreeMap<String, Value> = seen
            .into_iter()
            .flatten()
            .map(|(source, (first, last))| (source.clone(), json!({"first_seen": first, "last_seen": last})))
            .collect();
        let Some(db) = &self.inventory else {
            parts.insert("seen".into(), json!(seen));
            return Ok(parts);
        };
        for kept in inventory::snapshots(&mut &*db, key)? {
            if let Some(Value::Object(of)) = seen.get_mut(&kept.snapshot.source) {
                of.insert("taken".into(), json!(kept.snapshot.taken));
                of.insert("counts".into(), json!(kept.snapshot.counts()));
            }
        }
        if has_schema(db, &results::SCHEMA)? {
            let checks = results::checks(&mut &*db, key)?;
            let one = |check: &results::Check| json!({"check": check.name, "status": check.status.word(), "time": check.at.taken});
            let whole = results::compliance(&mut &*db, key)?;
            parts.insert("compliance".into(), json!(whole.map(results::Status::word)));
            parts.insert("checks".into(), checks.iter().map(one).collect());
        }
        if db.has_table("prices")? {
            let one = |(query, price): (String, prices::Price)| {
                let prices::Price { memory, output, denied, .. } = price;
                json!({"query": query, "cpu_ms": price.cpu_ms(), "memory": memory, "output": output, "denied": denied})
            };
            parts.insert("prices".into(), prices::of_machine(&mut &*db, key)?.into_iter().map(one).collect());
        }
        let merged = inventory::merged(&mut &*db, key)?;
        let things: BTreeMap<&String, _> = merged.parts.iter().map(|(kind, part)| (kind, &part.objects)).collect();
        let told: BTreeMap<&String, _> = merged.parts.iter().map(|(kind, part)| (kind, &part.sources)).collect();
        parts.insert("seen".into(), json!(seen));
        parts.insert("fields".into(), json!(merged.fields));
        parts.insert("told_by".into(), json!(told));
        parts.insert("parts".into(), json!(things));
        Ok(parts)
    }

    /// What changed on it in the last 30 days, oldest first.
    pub fn history(&self, key: &str) -> Result<Value, Unread> {
        let Some(db) = &self.inventory else { return Ok(json!([])) };
        let past = inventory::past(&mut &*db, key).map_err(of(&self.known.normalize))?;
        let one = |past: &inventory::Past| json!({"source": past.source, "taken": past.taken, "received": past.received, "changes": past.changes});
        Ok(past.iter().map(one).collect())
    }

    /// The snapshots of it that changed something, the newest first.
    pub fn past(&self, key: &str, wanted: Wanted<'_>) -> Result<Vec<Past>, Unread> {
        let Some(db) = &self.inventory else { return Ok(Vec::new()) };
        past::page(&mut &*db, key, wanted).map_err(of(&self.known.normalize))
    }

    /// Its sources, and how far back it is known what each told.
    pub fn reach(&self, key: &str, now: Time) -> Result<Vec<Reach>, Unread> {
        let Some(db) = &self.inventory else { return Ok(Vec::new()) };
        past::reach(&mut &*db, key, now).map_err(of(&self.known.normalize))
    }

    /// What each source had told of it by `at`.
    pub fn then(&self, key: &str, at: Time) -> Result<BTreeMap<String, Then>, Unread> {
        let Some(db) = &self.inventory else { return Ok(BTreeMap::new()) };
        past::then(&mut &*db, key, at).map_err(of(&self.known.normalize))
    }
}

/// What its enrolment says, where the inventory says nothing.
fn fill(block: &mut Machine, enrolled: machines::Machine) {
    for (have, known) in [
        (&mut block.serial_number, enrolled.serial),
        (&mut block.hardware_uuid, enrolled.uuid),
        (&mut block.hostname, enrolled.hostname),
        (&mut block.platform, enrolled.platform),
        (&mut block.os_version, enrolled.os_version),
        (&mut block.unit, Some(enrolled.unit).filter(|unit| !unit.is_empty())),
    ] {
        if have.is_none() {
            *have = known;
        }
    }
    block.tags.extend(enrolled.tags);
}

/// A state file with these tables; none if it is not there, or of an older version.
fn look(home: &Home, schema: &Schema) -> Result<Option<Db>, Unread> {
    let Some(db) = Db::open_read_only(home).map_err(of(home))? else { return Ok(None) };
    Ok(has_schema(&db, schema).map_err(of(home))?.then_some(db))
}

fn of(home: &Home) -> impl Fn(DbError) -> Unread + '_ {
    |error| Unread { home: home.clone(), error }
}

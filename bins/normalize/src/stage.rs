//! Raw lines to events, with what is known of the machine filled in. Lines that are events already pass.

use std::borrow::Cow;
use std::sync::Arc;

use event::inventory::Snapshot;
use event::{Event, Machine, Raw, json};
use pipe::config::{Config, render};
use pipe::{Context, Line, Out, Stage, StageError};
use registry::changes;
use registry::db::{Schema, Tx};
use sources::Run;

use crate::direct::{Direct, Way};
use crate::geo::Geo;
use crate::inventory::{Inventory, SILENT, Taken};
use crate::machines::{Machines, SCHEMA};
use crate::programs::{Programs, Why};
use crate::results::Results;

/// Bytes of raw lines that share a commit when they are there already.
const COMMIT_BYTES: usize = 16 << 20;

/// The stage.
pub struct Normalize {
    machines: Option<Machines>,
    inventory: Option<Inventory>,
    results: Option<Results>,
    /// The name of the stage, whose table says when a machine is silent.
    name: String,
    config: Option<Arc<Config>>,
    programs: Programs,
    direct: Direct,
    buffer: Vec<u8>,
}

impl Normalize {
    /// `state`: remember machines, so that later lines of one carry its host name, platform, unit.
    pub fn new(state: bool) -> Self {
        Self {
            machines: state.then(Machines::default),
            inventory: state.then(|| Inventory::new(SILENT)),
            results: state.then(Results::default),
            name: String::new(),
            config: None,
            programs: Programs::default(),
            direct: Direct::default(),
            buffer: Vec::new(),
        }
    }

    fn one(&mut self, line: &Line<'_>, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        if line.bytes.trim_ascii().is_empty() {
            out.ignored("blank");
            return Ok(());
        }
        if self.short(line, out, tx)? { Ok(()) } else { self.long(line, out, tx) }
    }

    /// Most lines: one event, which is a copy but for what stands around it. False: it is not so plain.
    fn short(&mut self, line: &Line<'_>, out: &mut Out, tx: &mut Tx<'_>) -> Result<bool, StageError> {
        self.buffer.clear();
        let (known, config, results) = (&mut self.machines, &self.config, &mut self.results);
        let add = |machine| complete(known.as_mut(), config.as_deref(), machine, tx);
        let more = |run: &Run<'_>, machine: Option<&str>, time| {
            results.as_mut().is_some_and(|results| results.means_more(run, machine, time))
        };
        if self.direct.write(line.bytes, &mut self.buffer, add, more)? == Way::Long {
            return Ok(false);
        }
        match out.line(0, &self.buffer) {
            Ok(()) => out.done(),
            Err(_) => out.refused(line, "too_long", TOO_LONG),
        }
        out.relieve(tx)?;
        Ok(true)
    }

    /// Any line.
    fn long(&mut self, line: &Line<'_>, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let is_raw = json::members(line.bytes).filter_map(Result::ok).any(|(key, _)| key == b"body");
        if !is_raw {
            return self.pass(line, out, tx);
        }
        let raw = match Raw::parse(line.bytes) {
            Ok(raw) => raw,
            Err(e) => {
                out.refused(line, "not_raw", e.to_string());
                return Ok(());
            }
        };
        let config = self.config.clone();
        let kind = config.as_ref().map_or(raw.source.as_str(), |config| config.source_kind(&raw.source));
        let Some(source) = sources::by_name(kind) else {
            out.refused(line, "unknown_source", format!("there is no source `{}`", raw.source));
            return Ok(());
        };
        // What was due before this line does not know yet what it tells.
        let mut due = match &mut self.inventory {
            Some(inventory) => inventory.tick(tx, raw.received)?,
            None => Vec::new(),
        };
        if let Some(results) = &mut self.results {
            due.extend(results.settle(tx, raw.received)?);
        }
        write(&self.completed(due, tx)?, out, &mut self.buffer, tx)?;
        if let Some(machines) = &mut self.machines {
            let facts = source.facts(&raw);
            if let Some(results) = self.results.as_mut().filter(|_| facts.is_some()) {
                results.write_counts(tx)?;
            }
            let learned = machines.learn(tx, &raw, kind, facts.as_ref())?;
            for key in [raw.machine.key().filter(|_| learned.another), learned.renamed.as_deref()].into_iter().flatten()
            {
                self.direct.forget_one(key);
            }
            if let (Some(results), Some(old)) = (&mut self.results, &learned.renamed) {
                let events = results.renamed(tx, &raw, old)?;
                write(&self.completed(events, tx)?, out, &mut self.buffer, tx)?;
            }
        }
        let told = source.translate(&raw).and_then(|events| match source.snapshot(&raw) {
            Some(Err(e)) => Err(e),
            Some(Ok(snapshot)) => Ok((events, Some(snapshot))),
            None => Ok((events, None)),
        });
        match told {
            Ok((mut events, snapshot)) => {
                if let Err((reason, why)) = self.shape(&raw.source, &mut events) {
                    out.refused(line, reason, why);
                    return Ok(());
                }
                let nothing = self.take(&raw, kind, snapshot, &mut events, tx)?;
                if let Some(results) = self.results.as_mut().filter(|_| kind == sources::osquery::NAME) {
                    let machine = match raw.kind == "request" && results.ask_for_groups() {
                        true => Cow::Owned(complete(
                            self.machines.as_mut(),
                            self.config.as_deref(),
                            raw.machine.clone(),
                            tx,
                        )?),
                        false => Cow::Borrowed(&raw.machine),
                    };
                    results.take(tx, &raw, &machine, &mut events)?;
                }
                // `receive` says the tags of those who enrol with it; who was pulled, or calls for others, has none.
                if raw.request.is_none() || !source.comes_again() {
                    add_tags_by_hand(self.machines.is_some(), &mut events, tx)?;
                }
                put(&self.completed(events, tx)?, nothing, line, out, &mut self.buffer, tx)?;
            }
            Err(e) => out.refused(line, e.reason, e.text),
        }
        Ok(())
    }

    /// What the line tells of the inventory; why it gives nothing, if it gives nothing.
    fn take(
        &mut self,
        raw: &Raw,
        kind: &str,
        snapshot: Option<Snapshot>,
        events: &mut Vec<Event>,
        tx: &mut Tx<'_>,
    ) -> Result<&'static str, StageError> {
        let (Some(inventory), Some(machines)) = (&self.inventory, &mut self.machines) else { return Ok("empty") };
        let Some(snapshot) = snapshot else {
            inventory.sight(tx, raw)?;
            return Ok("empty");
        };
        if let Some(key) = raw.machine.key().or_else(|| snapshot.machine.key()) {
            machines.know(tx, key)?;
        }
        let (taken, key) = inventory.take(tx, raw, kind, snapshot, events)?;
        if let Some(key) = key
            && machines.renewed(tx, &key)?
        {
            self.direct.forget_one(&key);
        }
        Ok(match taken {
            Taken::New => "empty",
            Taken::Same => "unchanged",
            Taken::Older => "older",
            Taken::Nobody => "no_machine",
        })
    }

    /// Events with what is known of their machines, and where they came from.
    fn completed(&mut self, mut events: Vec<Event>, tx: &mut Tx<'_>) -> Result<Vec<Event>, StageError> {
        for event in &mut events {
            event.request.iter_mut().for_each(|request| self.direct.geo.add(request));
            if let Some(machine) = event.machine.take() {
                event.machine = Some(complete(self.machines.as_mut(), self.config.as_deref(), machine, tx)?);
            }
        }
        Ok(events)
    }

    /// What an event says that the hub was told to do.
    fn obey(&mut self, event: &Event, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let (Some(machines), Some(key)) = (&mut self.machines, event.machine.as_ref().and_then(Machine::key)) else {
            return Ok(());
        };
        match event.type_.as_str() {
            changes::FORGOTTEN => {
                machines.forget(tx, key)?;
                self.direct.forget_one(key);
                self.results.iter_mut().for_each(|results| results.forget(key));
            }
            changes::TAGGED => {
                let of = |name| json::get(event.payload.get().as_bytes(), name).and_then(json::parse_str);
                // What a query has done is known where it was decided.
                if let (Some(action), Some(tag), None) = (of("action"), of("tag"), of("by")) {
                    registry::inventory::tag(tx, key, &tag, action == "added")?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// An event of a program that names its machine and no more gets what is known of it, as those of agents do.
    fn fill(&mut self, event: &mut Event, tx: &mut Tx<'_>) -> Result<(), StageError> {
        let bare = |machine: &mut Machine| machine.platform.is_none() && machine.unit.is_none();
        if event.cause.is_none()
            && let Some(machine) = event.machine.take_if(bare)
        {
            event.machine = Some(complete(self.machines.as_mut(), self.config.as_deref(), machine, tx)?);
            add_tags_by_hand(self.machines.is_some(), std::slice::from_mut(event), tx)?;
        }
        Ok(())
    }

    /// What the programs of the source's table make of its events.
    fn shape(&self, source: &str, events: &mut Vec<Event>) -> Result<(), Why> {
        let mut kept = Vec::with_capacity(events.len());
        for mut event in events.drain(..) {
            if self.programs.apply(source, &mut event)? {
                kept.push(event);
            }
        }
        *events = kept;
        Ok(())
    }

    /// Another configuration holds from now on.
    fn configure(&mut self, config: &Arc<Config>) -> Result<(), StageError> {
        let stage = config.stage(&self.name);
        // What cannot be read leaves the old configuration in force.
        let programs = Programs::read(config).map_err(|found| StageError::usage(render(&found)))?;
        let geo = stage.and_then(|stage| stage.geo.as_deref()).map(Geo::open).transpose();
        self.direct.locate(geo.map_err(StageError::usage)?.unwrap_or_default());
        self.programs = programs;
        self.config = Some(config.clone());
        self.direct.forget();
        self.results.iter_mut().for_each(|results| results.configure(config));
        if let Some(inventory) = &mut self.inventory {
            let said = stage.and_then(|stage| stage.silent);
            inventory.silent_after(said.and_then(|after| i64::try_from(after.as_millis()).ok()).unwrap_or(SILENT));
        }
        Ok(())
    }

    /// A line that is an event already: canonical, and otherwise as it is.
    fn pass(&mut self, line: &Line<'_>, out: &mut Out, tx: &mut Tx<'_>) -> Result<(), StageError> {
        self.buffer.clear();
        let checked = Event::parse(line.bytes).map_err(|e| e.to_string()).and_then(|event| {
            let mut payload = Vec::new();
            json::canonical(event.payload.get().as_bytes(), &mut payload).map_err(|e| format!("payload: {e}"))?;
            Ok((event, payload))
        });
        match checked {
            Err(why) => {
                out.refused(line, "not_an_event", why);
                Ok(())
            }
            Ok((mut event, payload)) => {
                let text = String::from_utf8(payload).ok();
                if let Some(payload) = text.and_then(|t| serde_json::value::RawValue::from_string(t).ok()) {
                    event.payload = payload;
                }
                self.obey(&event, tx)?;
                self.fill(&mut event, tx)?;
                put(&[event], "empty", line, out, &mut self.buffer, tx)
            }
        }
    }
}

/// Why a line is refused of which an event is too long.
const TOO_LONG: &str = "an event of it is longer than a line may be";

/// Fills in what is known of the machine, and the tags of its unit.
fn complete(
    known: Option<&mut Machines>,
    config: Option<&Config>,
    mut machine: Machine,
    tx: &mut Tx<'_>,
) -> Result<Machine, StageError> {
    if let Some(known) = known {
        known.complete(tx, &mut machine)?;
    }
    if let Some(config) = config {
        add_tags_of_unit(&mut machine, config);
        add_groups_of_user(&mut machine, config);
    }
    Ok(machine)
}

fn add_groups_of_user(machine: &mut Machine, config: &Config) {
    for group in machine.user.as_deref().into_iter().flat_map(|user| config.groups_of(user)) {
        if !machine.groups.contains(group) {
            machine.groups.push(group.clone());
        }
    }
}

fn add_tags_by_hand(state: bool, events: &mut [Event], tx: &mut Tx<'_>) -> Result<(), StageError> {
    for machine in events.iter_mut().filter(|_| state).filter_map(|event| event.machine.as_mut()) {
        let Some(key) = machine.key() else { continue };
        let mut given = registry::inventory::by_hand(tx, key)?;
        given.extend(registry::results::tags(tx, key)?);
        given.sort();
        given.dedup();
        let more: Vec<String> = given.into_iter().filter(|tag| !machine.tags.contains(tag)).collect();
        machine.tags.extend(more);
    }
    Ok(())
}

pub(crate) fn add_tags_of_unit(machine: &mut Machine, config: &Config) {
    let unit = machine.unit.as_ref().and_then(|unit| config.units.get(unit));
    for tag in unit.iter().flat_map(|unit| &unit.tags) {
        if !machine.tags.contains(tag) {
            machine.tags.push(tag.clone());
        }
    }
}

/// The events of one line; `nothing` is why it gives none, if it does.
pub(crate) fn put(
    events: &[Event],
    nothing: &'static str,
    line: &Line<'_>,
    out: &mut Out,
    buffer: &mut Vec<u8>,
    tx: &mut Tx<'_>,
) -> Result<(), StageError> {
    if events.is_empty() {
        out.ignored(nothing);
    } else if write(events, out, buffer, tx)? {
        out.done();
    } else {
        out.refused(line, "too_long", TOO_LONG);
    }
    Ok(())
}

/// Writes events; false: one of them was too long for a line.
fn write(events: &[Event], out: &mut Out, buffer: &mut Vec<u8>, tx: &mut Tx<'_>) -> Result<bool, StageError> {
    let mut whole = true;
    for event in events {
        buffer.clear();
        event.write(buffer);
        whole &= out.line(0, buffer).is_ok();
        out.relieve(tx)?;
    }
    Ok(whole)
}

/// What its state holds beside positions.
pub const SCHEMAS: &[Schema] = &[SCHEMA, registry::inventory::SCHEMA, registry::results::SCHEMA];

impl Stage for Normalize {
    fn schemas(&self) -> Vec<Schema> {
        SCHEMAS.to_vec()
    }

    fn start(&mut self, context: &Context, _: &mut Tx<'_>) -> Result<(), StageError> {
        self.name.clone_from(&context.name);
        self.configure(&context.config)
    }

    fn batch(&mut self, lines: &[Line<'_>], out: &mut Out, state: &mut Tx<'_>) -> Result<(), StageError> {
        for line in lines {
            self.one(line, out, state)?;
        }
        self.results.as_mut().map_or(Ok(()), |results| results.flush(state))?;
        Ok(())
    }

    fn commit_bytes(&self) -> usize {
        COMMIT_BYTES
    }

    fn others_wrote(&mut self) {
        self.machines.iter_mut().for_each(|machines| *machines = Machines::default());
        self.direct.forget();
        self.results.iter_mut().for_each(Results::others_wrote);
    }

    /// When machines were heard last, and when queries were run, is of no one machine.
    fn turn(&mut self) {
        self.inventory.iter_mut().for_each(Inventory::turn);
        self.results.iter_mut().for_each(Results::turn);
    }

    fn reload(&mut self, config: &Arc<Config>) -> Result<(), StageError> {
        self.configure(config)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use registry::db::Db;
    use serde_json::json;
    use sources::Source as _;

    fn config(text: &str) -> Arc<Config> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.toml");
        std::fs::write(&path, format!("version = 1\n{text}")).unwrap();
        Config::load(&path, None).unwrap().0.into()
    }

    fn raw(kind: &str, tags: &[&str], body: serde_json::Value) -> Raw {
        let machine = json!({"serial_number": "C02", "unit": "berlin", "tags": tags});
        let line = json!({"v": 1, "id": "x", "source": "osquery", "kind": kind, "received": "2026-01-06T08:00:00Z",
            "machine": machine, "body": body});
        Raw::parse(line.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_tag_that_people_and_a_query_give_is_said_once() {
        let mut db = Db::memory(&Normalize::new(true).schemas()).unwrap();
        let mut tx = db.begin().unwrap();
        for tag in ["a", "z"] {
            registry::inventory::tag(&mut tx, "C02", tag, true).unwrap();
        }
        let at = registry::results::When { taken: event::Time::from_ms(1), said: 1 };
        registry::results::put_tag(&mut tx, "C02", "zentral/q", "a", at, true).unwrap();
        let raw = raw("result", &[], json!({"columns": {}}));
        let mut events = sources::osquery::SOURCE.translate(&raw).unwrap();
        add_tags_by_hand(true, &mut events, &mut tx).unwrap();
        assert_eq!(events[0].machine.as_ref().unwrap().tags, ["a", "z"]);
    }

    #[test]
    fn what_another_instance_has_learned_is_said_after_a_takeover() {
        let mut db = Db::memory(&Normalize::new(true).schemas()).unwrap();
        let mut tx = db.begin().unwrap();
        let (mut ours, mut others) = (Normalize::new(true), Normalize::new(true));
        let learn = |stage: &mut Normalize, tx: &mut Tx<'_>, received: &str, name: &str| {
            let raw =
                Raw { received: received.parse().unwrap(), ..raw("enroll", &[], json!({"host_identifier": name})) };
            let facts = sources::osquery::SOURCE.facts(&raw);
            stage.machines.as_mut().unwrap().learn(tx, &raw, "osquery", facts.as_ref()).unwrap();
        };
        let line = br#"{"v":1,"id":"01a1ff7a-cbfb-8000-8000-000000000001","source":"osquery","kind":"result","received":"2026-01-06T08:00:00.000Z","machine":{"serial_number":"C02"},"body":{"name":"q","hostIdentifier":"x","unixTime":1767686400,"epoch":0,"counter":5,"columns":{"n":"1"},"action":"added"}}"#;
        let said = |stage: &mut Normalize, tx: &mut Tx<'_>| {
            let (known, mut buffer) = (&mut stage.machines, Vec::new());
            let add = |machine| complete(known.as_mut(), None, machine, tx);
            assert_eq!(stage.direct.write(line, &mut buffer, add, |_, _, _| false).unwrap(), Way::Written);
            json::get(json::get(&buffer, "machine").unwrap(), "hostname")
                .and_then(json::parse_str)
                .unwrap()
                .into_owned()
        };
        learn(&mut ours, &mut tx, "2026-01-06T08:00:00Z", "mac");
        assert_eq!(said(&mut ours, &mut tx), "mac");
        learn(&mut others, &mut tx, "2026-01-06T09:00:00Z", "renamed");
        assert_eq!(said(&mut ours, &mut tx), "mac", "it remembers");
        ours.others_wrote();
        assert_eq!(said(&mut ours, &mut tx), "renamed");
    }

    #[test]
    fn a_tag_goes_when_it_is_taken_away() {
        let mut db = Db::memory(&Normalize::new(true).schemas()).unwrap();
        let mut tx = db.begin().unwrap();
        let mut stage = Normalize::new(true);
        let tags = |stage: &mut Normalize, tx: &mut Tx<'_>, raw: &Raw| {
            let facts = sources::osquery::SOURCE.facts(raw);
            stage.machines.as_mut().unwrap().learn(tx, raw, "osquery", facts.as_ref()).unwrap();
            let event = sources::osquery::SOURCE.translate(raw).unwrap().remove(0);
            let (known, config) = (stage.machines.as_mut(), stage.config.as_deref());
            let machine = complete(known, config, event.machine.unwrap(), tx).unwrap();
            (machine.tags, machine.hostname)
        };
        stage.reload(&config("[unit.berlin]\ntags = [\"office\"]\n")).unwrap();
        let enrol = raw("enroll", &["vip"], json!({"host_identifier": "mac"}));
        let both = vec!["vip".to_owned(), "office".to_owned()];
        assert_eq!(tags(&mut stage, &mut tx, &enrol), (both, Some("mac".into())));
        let result = raw("result", &[], json!({"columns": {}}));
        assert_eq!(
            tags(&mut stage, &mut tx, &result),
            (vec!["office".to_owned()], Some("mac".into())),
            "no vip any more"
        );
        stage.reload(&config("[unit.berlin]\n")).unwrap();
        assert_eq!(tags(&mut stage, &mut tx, &result), (Vec::new(), Some("mac".into())), "nor an office");
    }
}

use std::collections::{BTreeMap, BTreeSet};

use event::inventory::{ADDS_UP, Action, Change, Things, apply, precedence, things};
use proptest::prelude::*;
use registry::db::Db;
use serde_json::{Value, json};

use super::*;

const MINUTE: i64 = 60_000;
/// A day at midnight, so that minutes count from there.
const START: i64 = 20_000 * 86_400_000;

struct Hub(Db, Inventory);

impl Hub {
    fn new() -> Self {
        let schemas = [machines::SCHEMA, state::SCHEMA, registry::results::SCHEMA];
        Self(Db::memory(&schemas).unwrap(), Inventory::new(SILENT))
    }

    fn restart(&mut self) {
        self.1 = Inventory::new(SILENT);
    }

    /// What is said at this minute, in short, and what came of the snapshot.
    fn line(
        &mut self,
        minute: i64,
        key: &str,
        source: &str,
        snapshot: Option<Snapshot>,
    ) -> (Vec<Event>, Option<Taken>) {
        let mut tx = self.0.begin().unwrap();
        let raw = raw(minute, key, source);
        let mut events = self.1.tick(&mut tx, raw.received).unwrap();
        let taken = match snapshot {
            Some(snapshot) => Some(self.1.take(&mut tx, &raw, source, snapshot, &mut events).unwrap().0),
            None => {
                self.1.sight(&mut tx, &raw).unwrap();
                None
            }
        };
        tx.commit().unwrap();
        (events, taken)
    }

    fn told(&mut self, minute: i64, key: &str, source: &str, parts: Value) -> Vec<String> {
        short(&self.line(minute, key, source, Some(snapshot(minute, parts))).0)
    }

    fn heard(&mut self, minute: i64, key: &str) -> Vec<String> {
        short(&self.line(minute, key, "osquery", None).0)
    }
}

fn raw(minute: i64, key: &str, source: &str) -> Raw {
    let received = Time::from_ms(START + minute * MINUTE);
    let machine = json!({"serial_number": key, "unit": "berlin"});
    let line = json!({"v": 1, "id": format!("01a1ff7a-cbfb-8000-8000-{minute:012}"), "source": source, "kind": "inventory",
        "received": received, "machine": machine, "body": {}});
    Raw::parse(line.to_string().as_bytes()).unwrap()
}

fn snapshot(minute: i64, parts: Value) -> Snapshot {
    Snapshot {
        source: "overwritten".into(),
        taken: Time::from_ms(START + minute * MINUTE),
        machine: Machine::default(),
        parts: serde_json::from_value(parts).unwrap(),
    }
}

fn payload(event: &Event) -> Value {
    serde_json::from_str(event.payload.get()).unwrap()
}

/// `type action version`.
fn short(events: &[Event]) -> Vec<String> {
    let word = |value: &Value| value.as_str().map(|word| format!(" {word}")).unwrap_or_default();
    let one = |event: &Event| {
        let p = payload(event);
        let what = format!("{}{}{}", event.type_, word(&p["action"]), word(&p["object"]["version"]));
        if event.type_ == "machine_silent" { what + &word(&event.machine.as_ref().unwrap().key().into()) } else { what }
    };
    events.iter().map(one).collect()
}

#[test]
fn a_machine_is_told_once_and_then_what_changes() {
    let mut hub = Hub::new();
    let os = |version: &str| json!({"os_version": [{"version": version}]});
    assert_eq!(hub.told(0, "C02", "osquery", os("1")), ["inventory_machine_added", "inventory_machine"]);
    assert_eq!(hub.told(1, "C02", "osquery", os("1")), [""; 0]);
    assert_eq!(hub.line(1, "C02", "osquery", Some(snapshot(0, os("9")))).1, Some(Taken::Older));
    assert_eq!(hub.told(2, "C02", "osquery", os("2")), ["inventory_os_version_update changed 2"]);
    hub.restart();
    assert_eq!(hub.told(3, "C02", "munki", os("3")), ["inventory_machine_added"], "the machine was said an hour ago");
    for minute in 4..60 {
        assert_eq!(hub.heard(minute, "C03"), [""; 0]);
    }
    hub.restart();
    let (events, _) = hub.line(60, "C03", "osquery", None);
    assert_eq!(short(&events), ["inventory_machine"]);
    let (p, event) = (payload(&events[0]), &events[0]);
    assert_eq!(
        (p["parts"]["os_version"]["objects"][0]["version"].as_str(), p["sources"].as_array().unwrap().len()),
        (Some("2"), 2)
    );
    assert_eq!(
        (p["fields"]["unit"].as_str(), p["first_seen"].as_str()),
        (Some("osquery"), Some("2024-10-04T00:00:00.000Z"))
    );
    assert_eq!((event.source.as_str(), event.machine.as_ref().unwrap().unit.as_deref()), ("zentral", Some("berlin")));
    assert_eq!(hub.heard(61, "C03"), [""; 0], "once");
    // What is told from the future is told now.
    let taken = |hub: &mut Hub, at, minute| hub.line(minute, "C02", "osquery", Some(snapshot(at, os("4")))).1;
    assert_eq!(taken(&mut hub, 9_999, 62), Some(Taken::New));
    assert_eq!(taken(&mut hub, 63, 63), Some(Taken::Same));
    let nobody = Snapshot { machine: Machine::default(), ..snapshot(0, os("1")) };
    let mut tx = hub.0.begin().unwrap();
    let raw = Raw { machine: Machine::default(), ..raw(64, "", "osquery") };
    assert_eq!(hub.1.take(&mut tx, &raw, "osquery", nobody, &mut Vec::new()).unwrap(), (Taken::Nobody, None));
}

#[test]
fn silence_is_said_once_and_a_pause_is_nobody_elses() {
    let mut hub = Hub::new();
    let day = SILENT / MINUTE;
    let mut said = Vec::new();
    for minute in (0..3 * day).step_by(10) {
        if minute % 100 == 0 {
            hub.restart();
        }
        if minute == 0 || minute == 2 * day {
            assert_eq!(hub.heard(minute, "C02"), [""; 0]);
        }
        let (events, _) = hub.line(minute, "C03", "osquery", None);
        said.extend(
            events
                .iter()
                .map(|e| (minute, short(std::slice::from_ref(e)).remove(0), e.time, payload(e)["last_seen"].clone())),
        );
    }
    let at = |minute: i64| Time::from_ms(START + minute * MINUTE);
    let silent = "machine_silent C02".to_owned();
    assert_eq!(said, [(day + 10, silent, at(day), json!(at(0)))]);
    // The hub hears nobody for two days: that is not each machine's silence, which begins when it hears again.
    let back = 5 * day;
    assert_eq!(hub.heard(back, "C04"), [""; 0]);
    let mut said = Vec::new();
    for minute in (back..back + 2 * day).step_by(10) {
        said.extend(hub.heard(minute, "C04").into_iter().map(|what| (minute, what)));
    }
    let both = ["machine_silent C02".to_owned(), "machine_silent C03".to_owned()];
    assert_eq!(said, both.map(|what| (back + day, what)));
}

#[test]
fn what_the_hub_says_itself_has_the_tags_that_were_last_said() {
    let mut hub = Hub::new();
    hub.heard(0, "C02");
    let mut tx = hub.0.begin().unwrap();
    let tags = |tx: &mut Tx<'_>| state::tags(tx, "C02").unwrap();
    let said = ["vip".to_owned(), "office".to_owned()];
    state::sight(&mut tx, "C02", "osquery", Time::from_ms(START + 1), &said).unwrap();
    for _ in 0..2 {
        state::tag(&mut tx, "C02", "lab", true).unwrap();
    }
    assert_eq!(tags(&mut tx), ["lab", "office", "vip"]);
    state::tag(&mut tx, "C02", "vip", false).unwrap();
    assert_eq!(
        (tags(&mut tx), state::by_hand(&mut tx, "C02").unwrap()),
        (vec!["lab".into(), "office".into()], vec!["lab".into()])
    );
    tx.commit().unwrap();
    let silent =
        (0..=SILENT / MINUTE + 10).step_by(10).find_map(|minute| hub.line(minute, "C03", "osquery", None).0.pop());
    let machine = silent.unwrap().machine.unwrap();
    assert_eq!((machine.key(), machine.tags.join(" ").as_str()), (Some("C02"), "lab office"));
    let mut tx = hub.0.begin().unwrap();
    state::rename(&mut tx, "C02", "C04").unwrap();
    assert_eq!(state::tags(&mut tx, "C04").unwrap(), ["lab", "office"]);
    state::forget(&mut tx, "C04").unwrap();
    assert_eq!(state::tags(&mut tx, "C04").unwrap(), [""; 0]);
}

#[test]
fn what_was_known_by_its_uuid_is_known_by_its_serial_number() {
    let mut hub = Hub::new();
    let apps = json!({"osx_app": [{"bundle_id": "a", "version": "1"}]});
    hub.told(0, "UUID", "osquery", apps.clone());
    hub.told(0, "UUID", "jamf", apps.clone());
    hub.told(1, "C02", "jamf", json!({"disk": []}));
    let mut tx = hub.0.begin().unwrap();
    state::rename(&mut tx, "UUID", "C02").unwrap();
    tx.commit().unwrap();
    assert_eq!(hub.told(2, "C02", "osquery", apps), ["inventory_machine_update changed"], "its key, nothing else");
    let mut tx = hub.0.begin().unwrap();
    assert_eq!(state::sightings(&mut tx, Some("UUID")).unwrap(), []);
    assert_eq!(state::snapshots(&mut tx, "C02").unwrap().len(), 2);
    assert_eq!(state::past(&mut tx, "C02").unwrap().len(), 4);
    state::forget(&mut tx, "C02").unwrap();
    assert_eq!((state::sightings(&mut tx, None).unwrap(), state::past(&mut tx, "C02").unwrap()), (vec![], vec![]));
    assert_eq!(state::whole(&mut tx, "C02").unwrap(), None);
}

#[test]
fn the_past_is_kept_for_thirty_days() {
    let mut hub = Hub::new();
    let day = 1440;
    for at in 0..40 {
        hub.told(at * day + 5, "C02", "osquery", json!({"os_version": [{"version": at.to_string()}]}));
    }
    let mut tx = hub.0.begin().unwrap();
    let past = state::past(&mut tx, "C02").unwrap();
    assert_eq!((past.len(), past[0].changes[0].object["version"].as_str()), (31, Some("9")));
}

#[test]
fn what_does_not_fit_into_a_line_is_told_in_many() {
    let mut hub = Hub::new();
    let long = "x".repeat(10_000);
    let apps: Vec<Value> =
        (0..420).map(|n| json!({"bundle_id": n.to_string(), "version": "1", "about": long})).collect();
    let (events, _) =
        hub.line(0, "C02", "osquery", Some(snapshot(0, json!({"osx_app": apps, "disk": [{"name": "a"}]}))));
    let mut out = Vec::new();
    for event in &events {
        out.clear();
        event.write(&mut out);
        assert!(out.len() < event::LINE_MAX);
    }
    assert_eq!(events.len(), 1 + 421 + 1);
    assert_eq!(payload(&events[0])["counts"], json!({"osx_app": 420, "disk": 1}));
    assert!(events[1..422].iter().all(|e| payload(e)["first"] == json!(true)));
    let machine = payload(&events[422]);
    assert_eq!((&machine["counts"]["osx_app"], machine["parts"].as_object().unwrap().len()), (&json!(420), 1));
}

/// Carries out what the events of one source say.
fn carried_out(events: &[Event], known: &mut BTreeMap<(String, String), Things>) -> Result<(), TestCaseError> {
    for event in events {
        let p = payload(event);
        let machine = event.machine.as_ref().and_then(Machine::key).unwrap_or_default().to_owned();
        let of = (machine, event.source.clone());
        if event.type_ == "inventory_machine_added" {
            let new = json!({"source": p["source"], "taken": p["taken"], "machine": p["machine"], "parts": p["parts"]});
            let new: Snapshot = serde_json::from_value(new).unwrap();
            prop_assert!(known.insert(of, things(&new)).is_none(), "added twice");
        } else if event.type_.starts_with("inventory_") && event.type_ != "inventory_machine" {
            let kind = p["kind"].as_str().unwrap().to_owned();
            prop_assert_eq!(&event.type_, &format!("inventory_{kind}_update"));
            let object = |key: &str| p[key].as_object().cloned();
            let action: Action = serde_json::from_value(p["action"].clone()).unwrap();
            let change = Change { kind, action, object: object("object").unwrap(), was: object("was"), first: false };
            prop_assert!(apply(known.entry(of).or_default(), &change), "{:?}", change);
        }
    }
    Ok(())
}

/// The machine as a whole has what the first source in the order has that tells a kind, or what all have together.
fn whole(tx: &mut Tx<'_>, key: &str, known: &BTreeMap<(String, String), Things>) -> Result<(), TestCaseError> {
    for (kind, part) in state::merged(tx, key).unwrap().parts {
        let mut tell: Vec<(&str, &BTreeMap<String, _>)> = known
            .iter()
            .filter(|((machine, _), _)| machine == key)
            .filter_map(|((_, source), things)| Some((source.as_str(), things.get(&kind)?)))
            .collect();
        tell.sort_by_key(|(source, _)| precedence(&kind, source));
        if !ADDS_UP.contains(&kind.as_str()) {
            tell.truncate(1);
        }
        let sources: Vec<&str> = tell.iter().map(|(source, _)| *source).collect();
        // A kind of which nothing is left, and nothing was ever said but that, is told by nobody's event.
        if !part.objects.is_empty() {
            let sources_of: Vec<&str> =
                part.sources.iter().map(String::as_str).filter(|s| sources.contains(s)).collect();
            prop_assert_eq!(&sources_of, &sources);
            let have: BTreeSet<String> = part.objects.iter().map(|object| json!(object).to_string()).collect();
            let told: BTreeSet<String> = tell.iter().flat_map(|(_, of)| of.keys().cloned()).collect();
            prop_assert_eq!(have, told);
        }
    }
    Ok(())
}

fn parts() -> impl Strategy<Value = Value> {
    let object =
        ("[ab]", 0..3u8).prop_map(|(name, version)| json!({"bundle_id": name, "version": version.to_string()}));
    let kind = prop::sample::select(vec!["osx_app", "os_version", "disk", "group"]);
    prop::collection::btree_map(kind, prop::collection::vec(object, 0..4), 0..4).prop_map(|parts| json!(parts))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Any sequence of snapshots from four sources of two machines, some late, some repeated, with restarts between them:
    /// what the events say, carried out, is what is kept; each machine as a whole is made of that; and no id is given to two
    /// events.
    #[test]
    fn events_carried_out_give_what_is_kept(
        lines in prop::collection::vec((0..4usize, 0..2usize, parts(), 0..3i64, any::<bool>()), 1..24),
    ) {
        let (mut hub, mut known) = (Hub::new(), BTreeMap::new());
        let mut ids = BTreeMap::new();
        for (n, (source, machine, parts, late, restart)) in lines.into_iter().enumerate() {
            if restart {
                hub.restart();
            }
            let source = ["osquery", "munki", "jamf", "door"][source];
            let key = ["C02", "C03"][machine];
            let minute = i64::try_from(n).unwrap() * 25;
            let (events, _) = hub.line(minute, key, source, Some(snapshot(minute - late * 30, parts)));
            for event in &events {
                let p = event.payload.get().to_owned();
                prop_assert!(ids.insert(event.id.clone(), p.clone()).is_none(), "{}", p);
            }
            carried_out(&events, &mut known)?;
        }
        let mut tx = hub.0.begin().unwrap();
        for key in ["C02", "C03"] {
            whole(&mut tx, key, &known)?;
            for kept in state::snapshots(&mut tx, key).unwrap() {
                let mut have = things(&kept.snapshot);
                let mut told = known.remove(&(key.to_owned(), kept.snapshot.source.clone())).unwrap();
                for all in [&mut have, &mut told] {
                    all.retain(|_, of| !of.is_empty());
                }
                prop_assert_eq!(told, have);
            }
        }
        prop_assert!(known.is_empty());
    }
}

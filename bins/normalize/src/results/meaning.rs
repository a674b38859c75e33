//! Tags that queries give, and how checks stand.

use event::{Event, Machine, Raw, Time};
use registry::db::{DbError, Tx};
use registry::results::{self as state, Check, Status, Table, When};
use serde_json::{Value, json};
use sources::osquery::{Live, Ran, Rows, STATUS_COLUMN};

use super::queries::{Queries, Query};
use crate::inventory::{of_hub, of_line};

/// What gives a tag that a live query gives.
const LIVE: &str = "live/";
/// What is kept as the agent's time of a result whose time is the hub's.
const BY_HUB: i64 = 0;

/// What all rows of a query, or of an answer to one, mean.
pub(super) fn take(
    tx: &mut Tx<'_>,
    (raw, key): (&Raw, &str),
    query: Option<&Query>,
    ran: &Ran,
    parts: &mut Parts,
    events: &mut Vec<Event>,
) -> Result<(), DbError> {
    let Some(rows) = ran.rows() else { return Ok(()) };
    let at = When { taken: ran.time.min(raw.received), said: ran.said.unwrap_or(BY_HUB) };
    if let Some((query, tag)) = query.and_then(|query| Some((&query.query, query.tag.as_ref()?))) {
        events.extend(tagged(tx, raw, key, (query, tag), at, !rows.is_empty())?);
    }
    if let Some(query) = query.filter(|query| query.compliance) {
        let status = match &ran.live {
            Some(live) => parts.take(key, live, worst(rows)),
            None => Some(worst(rows)),
        };
        if let Some(status) = status {
            check(tx, raw, key, query, (ran, at, status), events)?;
        }
    }
    if let Some(tag) = ran.live.as_ref().and_then(|live| live.tag.as_ref()) {
        events.extend(tagged(tx, raw, key, (&format!("{LIVE}{tag}"), tag), at, !rows.is_empty())?);
    }
    Ok(())
}

fn tagged(
    tx: &mut Tx<'_>,
    raw: &Raw,
    key: &str,
    (query, tag): (&str, &str),
    at: When,
    held: bool,
) -> Result<Option<Event>, DbError> {
    if state::tag_by(tx, key, query)?.is_some_and(|(before, _)| !is_newer(at, before, raw.received)) {
        return Ok(None);
    }
    if !state::put_tag(tx, key, query, tag, at, held)? {
        return Ok(None);
    }
    Ok(of_line(raw, registry::changes::TAGGED, &tag_payload(tag, query, held), Vec::new()))
}

/// `by` tells it from what people did by hand.
fn tag_payload(tag: &str, query: &str, held: bool) -> Value {
    json!({"action": if held { "added" } else { "removed" }, "tag": tag, "by": query})
}

fn check(
    tx: &mut Tx<'_>,
    raw: &Raw,
    key: &str,
    query: &Query,
    (ran, at, status): (&Ran, When, Status),
    events: &mut Vec<Event>,
) -> Result<(), DbError> {
    let known = state::check(tx, key, &query.query)?;
    if known.as_ref().is_some_and(|known| !is_newer(at, known.at, raw.received)) {
        return Ok(());
    }
    let previous = known.as_ref().map(|known| known.status);
    let (name, of) = (query.check.clone(), query.query.clone());
    state::put_check(tx, key, &Check { query: of, name, at, status })?;
    if previous == Some(status) {
        return Ok(());
    }
    let mut payload = json!({"check": query.check, "query": query.query, "status": status.word(),
        "previous_status": previous.map(Status::word)});
    if let (Some(live), Some(payload)) = (&ran.live, payload.as_object_mut()) {
        payload.insert("run".to_owned(), live.id.as_str().into());
    }
    let tags = || vec!["osquery".to_owned(), "compliance".to_owned()];
    let event = of_line(raw, "osquery_check_status_updated", &payload, Vec::new());
    events.extend(event.map(|event| Event { tags: tags(), ..event }));
    events.extend(renewed(tx, raw, key)?);
    Ok(())
}

/// Looks how the machine of a line stands as a whole.
pub(super) fn renewed(tx: &mut Tx<'_>, raw: &Raw, key: &str) -> Result<Option<Event>, DbError> {
    let Some((before, now)) = state::renew_compliance(tx, key)? else { return Ok(None) };
    let event = of_line(raw, MACHINE, &changed(now, before), Vec::new());
    Ok(event.map(|event| Event { tags: vec!["compliance".to_owned()], ..event }))
}

/// Whether a result is newer than the one that is known. Answers have the time of the hub and scheduled results that of the
/// agent, whose clock may be wrong: of one and the other, the one that came later is newer.
fn is_newer(new: When, known: When, received: Time) -> bool {
    match (new.said == BY_HUB, known.said == BY_HUB) {
        (true, false) => new.taken >= known.taken,
        (false, true) => received > known.taken,
        _ => new > known,
    }
}

/// The worst row so far of an answer whose rows come in several lines, one after the other.
#[derive(Debug, Default)]
pub(super) struct Parts(Option<Part>);

#[derive(Debug)]
struct Part {
    machine: String,
    live: String,
    number: i64,
    worst: Status,
}

impl Parts {
    /// With the last part: how all of them stand. An answer of which a part was missed says nothing.
    fn take(&mut self, machine: &str, live: &Live, status: Status) -> Option<Status> {
        let before = self.0.take().filter(|before| {
            before.machine == machine && before.live == live.id && before.number.checked_add(1) == Some(live.part)
        });
        let worst = match before {
            Some(before) => before.worst.max(status),
            None if live.part == 1 => status,
            None => return None,
        };
        if live.part >= live.parts {
            return Some(worst);
        }
        self.0 = Some(Part { machine: machine.to_owned(), live: live.id.clone(), number: live.part, worst });
        None
    }
}

/// The type of the event by which a machine as a whole stands otherwise.
const MACHINE: &str = "machine_compliance_change";

fn changed(now: Option<Status>, before: Option<Status>) -> Value {
    json!({"status": now.map(Status::word), "previous_status": before.map(Status::word)})
}

/// As the worst row says; a row that says nothing that is known, and no row at all: it is not known.
fn worst(rows: Rows<'_>) -> Status {
    let all = rows.column(STATUS_COLUMN).map(|word| word.and_then(|word| Status::of_word(&word)));
    all.map(|status| status.unwrap_or(Status::Unknown)).max().unwrap_or(Status::Unknown)
}

/// Takes away what queries gave that are no more.
pub(super) fn retain(tx: &mut Tx<'_>, queries: &Queries, now: Time) -> Result<Vec<Event>, DbError> {
    let of = |name: &str| queries.all().iter().find(|query| query.query == name);
    let gone = state::retain(tx, |table, name, tag| match table {
        Table::Tags => name.starts_with(LIVE) || of(name).is_some_and(|query| query.tag.as_deref() == Some(tag)),
        Table::Checks => of(name).is_some_and(|query| query.compliance),
        Table::Counters => of(name).is_some_and(|query| query.counted),
        Table::Prices => queries.find_name(name).is_some(),
    })?;
    let mut events = Vec::new();
    for (key, tag, query) in &gone.tags {
        let payload = tag_payload(tag, query, false);
        events.extend(of_hub(key, registry::changes::TAGGED, block(tx, key)?, now, now, &payload));
    }
    for key in &gone.checked {
        if let Some((before, now_is)) = state::renew_compliance(tx, key)? {
            let event = of_hub(key, MACHINE, block(tx, key)?, now, now, &changed(now_is, before));
            events.extend(event.map(|event| Event { tags: vec!["compliance".to_owned()], ..event }));
        }
    }
    Ok(events)
}

/// The block of a machine that did not speak itself.
fn block(tx: &mut Tx<'_>, key: &str) -> Result<Machine, DbError> {
    crate::inventory::block(tx, key)
}

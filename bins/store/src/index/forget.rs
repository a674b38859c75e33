//! Which events are about machines that were forgotten.

use event::{Machine, Time};
use tantivy::Index;
use tantivy::collector::Count;

use super::schema::SCHEMA;
use crate::query::Query;
use crate::search::compile::compile;

const SERIAL: &str = "machine.serial_number";
const UUID: &str = "machine.hardware_uuid";
const HOSTNAME: &str = "machine.hostname";

/// A machine that was forgotten.
#[derive(Debug, Clone)]
pub struct Gone {
    /// What was known of it.
    pub machine: Machine,
    /// When that was said: what was received after it is about one that came back.
    pub at: Time,
}

/// Events of any of them that were received until then; none: of nobody. What a machine is known by now it may have told only later, so events that have
/// no more than its hardware UUID are its own too. A host name is another's as well: it counts where it is the key.
pub fn query(gone: &[Gone]) -> Option<Query> {
    let mut any = Vec::new();
    for Gone { machine, at } in gone {
        let mut own = |field: &str, value: Option<&String>, without: &[&str]| {
            let Some(value) = value.filter(|value| !value.is_empty()) else { return };
            let equal = Query::Match { field: Some(field.to_owned()), text: value.clone() };
            let absent = without.iter().map(|name| Query::Not(Box::new(Query::Exists((*name).to_owned()))));
            let before = Query::Range { field: "received".to_owned(), from: None, to: Some(at.to_string()) };
            any.push(Query::And([equal, before].into_iter().chain(absent).collect()));
        };
        own(SERIAL, machine.serial_number.as_ref(), &[]);
        own(UUID, machine.hardware_uuid.as_ref(), &[SERIAL]);
        if machine.serial_number.is_none() && machine.hardware_uuid.is_none() {
            own(HOSTNAME, machine.hostname.as_ref(), &[SERIAL, UUID]);
        }
    }
    (!any.is_empty()).then_some(Query::Or(any))
}

/// Whether an index holds such events.
pub fn holds(index: &Index, query: &Query) -> tantivy::Result<bool> {
    let searcher = index.reader()?.searcher();
    Ok(searcher.search(&*compile(query, &SCHEMA.1), &Count)? > 0)
}

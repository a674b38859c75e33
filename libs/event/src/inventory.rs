//! What sources know of machines beyond their names: lists of things, kind by kind; what changed between two looks at one
//! machine, and one machine out of several looks.

mod diff;
mod kinds;
mod merge;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::{Machine, Time};

pub use diff::{Action, Change, Things, apply, between, diff, things, undo};
pub use kinds::{ADDS_UP, KINDS, MACHINE, identity};
pub use merge::{Merged, Part, STALE_MS, Told, merge, precedence};

/// What one source says of one machine at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The source: the name of its table in the configuration.
    pub source: String,
    /// When the machine was as it says.
    pub taken: Time,
    /// The machine, with what the source knows of it: platform, version of the operating system.
    pub machine: Machine,
    /// What it has, by kind (`os_version`, `disk`, `osx_app`, …; see [`KINDS`]). A kind that is not here was not told this
    /// time: what was known of it stays. A kind with an empty list has none.
    pub parts: BTreeMap<String, Vec<Map<String, Value>>>,
}

impl Snapshot {
    /// In the one form that is kept and compared: things sorted and each once, their keys sorted, nothing empty in them.
    /// Neither the order in which a source tells things nor its habit of saying `""` is a change; nor is what never rests,
    /// such as the free space of a disk.
    pub fn tidy(&mut self) {
        self.parts.retain(|kind, _| kinds::restless(kind) != Some(&[]));
        for (kind, objects) in &mut self.parts {
            for key in kinds::restless(kind).unwrap_or_default() {
                objects.iter_mut().for_each(|object| _ = object.shift_remove(*key));
            }
            let texts: BTreeMap<String, Map<String, Value>> = std::mem::take(objects)
                .into_iter()
                .map(tidy)
                .filter(|object| !object.is_empty())
                .map(|object| (text(&object), object))
                .collect();
            *objects = texts.into_values().collect();
        }
    }

    /// This look over an older one: what was not told this time is what was known.
    pub fn over(mut self, old: &Self) -> Self {
        for (kind, objects) in &old.parts {
            self.parts.entry(kind.clone()).or_insert_with(|| objects.clone());
        }
        let (new, old) = (&mut self.machine, &old.machine);
        for (have, known) in [
            (&mut new.serial_number, &old.serial_number),
            (&mut new.hardware_uuid, &old.hardware_uuid),
            (&mut new.hostname, &old.hostname),
            (&mut new.platform, &old.platform),
            (&mut new.os_version, &old.os_version),
            (&mut new.unit, &old.unit),
            (&mut new.user, &old.user),
        ] {
            if have.is_none() {
                have.clone_from(known);
            }
        }
        self
    }

    /// Of a tidy one: equal if it says the same, whenever it says it.
    pub fn hash(&self) -> [u8; 32] {
        // Plain structs: this cannot fail, and if it did, the looks would be compared thing by thing.
        let said = serde_json::to_vec(&(&self.machine, &self.parts)).unwrap_or_default();
        Sha256::digest(said).into()
    }

    /// How many things it has of each kind.
    pub fn counts(&self) -> BTreeMap<&str, usize> {
        self.parts.iter().map(|(kind, objects)| (kind.as_str(), objects.len())).collect()
    }
}

fn tidy(mut object: Map<String, Value>) -> Map<String, Value> {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    object.retain(|_, value| !empty(value));
    object.values_mut().for_each(Value::sort_all_objects);
    object.sort_keys();
    object
}

/// The text of a thing, which is what it is compared by.
fn text(object: &Map<String, Value>) -> String {
    // A map of values that came from JSON: this cannot fail.
    serde_json::to_string(object).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;

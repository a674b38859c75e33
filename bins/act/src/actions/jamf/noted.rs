//! What was changed for an incident, so that its end undoes this and no more: who was a member before stays one, and the
//! computers are those of the matches, whichever machine the end is told by.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call::Call;

/// Changes of one incident, at most.
const CHANGES_MAX: usize = 200;

/// A computer that was put into a group or out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The group's number.
    pub group: u64,
    /// The computer's.
    pub computer: u64,
    /// Whether it was put into it.
    pub into: bool,
}

/// What was noted so far.
#[derive(Debug, Default)]
pub struct Noted {
    /// The changes.
    pub all: Vec<Moved>,
    /// Something is to be noted that was not before.
    new: bool,
}

impl Noted {
    /// Of the incident that is told of.
    pub fn of(call: &Call) -> Self {
        let all = call.told.reference.as_ref().and_then(|noted| noted.get("changed").cloned());
        Self { all: all.and_then(|all| serde_json::from_value(all).ok()).unwrap_or_default(), new: false }
    }

    /// One more is to be made; an error if there are too many.
    pub fn add(&mut self, moved: Moved) -> Result<(), String> {
        if self.all.contains(&moved) {
            return Ok(());
        }
        if self.all.len() >= CHANGES_MAX {
            return Err(format!("{CHANGES_MAX} computers were moved for this incident already"));
        }
        self.all.push(moved);
        self.new = true;
        Ok(())
    }

    /// These are left.
    pub fn leave(&mut self, left: Vec<Moved>) {
        (self.all, self.new) = (left, true);
    }

    /// What is to be noted, if it is not already.
    pub fn text(&self) -> Option<Value> {
        let id = self.all.first().map(|moved| moved.group.to_string()).unwrap_or_default();
        self.new.then(|| json!({"id": id, "changed": self.all}))
    }
}

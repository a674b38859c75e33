//! What a delivery tells beside its match: of an incident, of a window that fired, of many matches at once.

use event::Event;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The most ids that a message carries; `count` says how many there are.
pub const IDS_MAX: usize = 100;
/// The most matches that one message carries whole.
pub const EVENTS_MAX: usize = 50;

/// What has become of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The first match.
    Opened,
    /// Something that people should know of is different: the words of the match, its severity, who takes care.
    Changed,
    /// It is over.
    Closed,
}

impl Phase {
    /// The word that jq and people see.
    pub fn word(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Changed => "changed",
            Self::Closed => "closed",
        }
    }
}

/// An incident as it was when the delivery was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Its id, 20 hex digits.
    pub id: String,
    /// `open`, `taken` or `closed`.
    pub status: String,
    /// When its first match was received, RFC 3339.
    pub opened: String,
    /// When the last one was.
    pub last: String,
    /// Matches so far.
    pub count: u64,
    /// What somebody said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Who took it, closed it or commented on it by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What a delivery tells beside its match.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// What has become of the incident; none: a plain match.
    pub state: Option<Phase>,
    /// Matches that it is about: 1 for a plain one.
    pub count: u64,
    /// The ids of their events, the first [`IDS_MAX`]; empty for a plain match.
    pub ids: Vec<String>,
    /// Of many matches at once the first [`EVENTS_MAX`], each with its one probe.
    pub events: Vec<Event>,
    /// The incident.
    pub incident: Option<Incident>,
    /// What this action noted when it was last told of the incident: {id, link?, …}.
    pub reference: Option<Value>,
}

/// The part that a row of the ledger keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// See [`Told`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Phase>,
    /// See [`Told`].
    pub count: u64,
    /// See [`Told`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// See [`Told`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<Incident>,
}

impl Kept {
    /// Of a plain match.
    pub fn plain() -> Self {
        Self { count: 1, ..Self::default() }
    }

    /// Whether an incident is over.
    pub fn ends(&self) -> bool {
        self.state == Some(Phase::Closed)
    }

    /// As it stands in a row; a plain match has nothing there.
    pub fn text(&self) -> String {
        if *self == Self::plain() { String::new() } else { serde_json::to_string(self).unwrap_or_default() }
    }

    /// What stands in a row.
    pub fn read(text: &str) -> Self {
        if text.is_empty() { Self::plain() } else { serde_json::from_str(text).unwrap_or_else(|_| Self::plain()) }
    }
}

impl From<Kept> for Told {
    fn from(kept: Kept) -> Self {
        let Kept { state, count, ids, incident } = kept;
        Self { state, count, ids, incident, ..Self::default() }
    }
}

impl Told {
    /// Of a plain match.
    pub fn plain() -> Self {
        Kept::plain().into()
    }

    /// What the jq of an action sees of it.
    pub fn fields(&self) -> Map<String, Value> {
        let mut all = Map::new();
        let mut put = |key: &str, value: Value| all.insert(key.to_owned(), value);
        if let Some(state) = self.state {
            put("state", state.word().into());
        }
        if self.count > 1 || !self.ids.is_empty() {
            put("count", self.count.into());
            put("ids", self.ids.clone().into());
        }
        if let Some(incident) = &self.incident {
            put("incident", serde_json::to_value(incident).unwrap_or_default());
        }
        if let Some(reference) = &self.reference {
            put("ref", reference.clone());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_keeps_what_is_told() {
        assert_eq!(Kept::plain().text(), "");
        let incident = Incident { id: "i".into(), count: 3, ..Incident::default() };
        let kept = Kept { state: Some(Phase::Changed), count: 3, ids: vec!["e".into()], incident: Some(incident) };
        assert_eq!(Kept::read(&kept.text()), kept);
        assert_eq!(Kept::read("no JSON"), Kept::plain());
        let told = Told::from(kept);
        assert_eq!(told.fields().get("state"), Some(&"changed".into()));
        assert!(Told::plain().fields().is_empty());
    }
}

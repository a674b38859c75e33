//! Filters that do not run: those that the hub had switched off, as it recorded, and those that go on exceeding a limit
//! in this very run, by the same rule.

use std::collections::HashMap;

use event::{Time, json};
use filter::Strikes;
use probe::{FilterSet, Note};

use crate::replay::events::{Kind, Word};

/// Why and from where on a filter did not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Off {
    /// The hub had switched it off, and recorded it; else it exceeded a limit here as often as is enough for that.
    pub recorded: bool,
    /// Id of the event.
    pub event: String,
}

/// Which filters of a set run, event after event.
pub struct Gate {
    /// By place in the set.
    off: Vec<bool>,
    strikes: Vec<Strikes>,
    /// To be switched off after the event of this id.
    pending: Vec<(usize, String)>,
    names: HashMap<String, (usize, String)>,
    /// Whether the records are about these filters.
    honours: bool,
    /// The first time that each was off, by place in the set.
    pub told: Vec<Option<Off>>,
}

impl Gate {
    /// `honours` the records of the hub, which are about the configuration that ran.
    pub fn new(set: &FilterSet, honours: bool) -> Self {
        let n = set.len();
        let spec = |i| set.spec(i).map(|s| (s.name.clone(), (i, s.rev.clone())));
        Self {
            off: vec![false; n],
            strikes: vec![Strikes::default(); n],
            pending: Vec::new(),
            names: (0..n).filter_map(spec).collect(),
            honours,
            told: vec![None; n],
        }
    }

    /// Another filter's events begin.
    pub fn fresh(&mut self, before: &[filter::Off]) {
        self.off.fill(false);
        self.strikes.fill(Strikes::default());
        self.pending.clear();
        for filter::Off { probe, rev, event, .. } in before {
            if let Some(place) = self.place(probe, rev) {
                self.switch_off(place, true, event);
            }
        }
    }

    /// The hub's filter said this.
    pub fn word(&mut self, word: &Word) {
        match word.kind {
            Kind::Failed => {}
            Kind::Quarantined => {
                if let Some(place) = self.place(&word.probe, &word.rev) {
                    self.pending.push((place, word.event.clone()));
                }
            }
            Kind::SwitchedOff => {
                if let Some(place) = self.place(&word.probe, &word.rev) {
                    self.switch_off(place, true, &word.event);
                }
            }
            Kind::Resumed => {
                if let Some((place, _)) = self.names.get(&word.probe).filter(|_| self.honours) {
                    let place = *place;
                    self.off.iter_mut().skip(place).take(1).for_each(|off| *off = false);
                    self.strikes.iter_mut().skip(place).take(1).for_each(|strikes| *strikes = Strikes::default());
                }
            }
        }
    }

    /// This event comes next. Who was quarantined at an event ran over it, and over none after it.
    pub fn next(&mut self, event: &[u8]) {
        if self.pending.is_empty() {
            return;
        }
        let id = json::get(event, "id").and_then(json::parse_str).unwrap_or_default();
        for (place, at) in std::mem::take(&mut self.pending) {
            if at == id {
                self.pending.push((place, at));
            } else {
                self.switch_off(place, true, &at);
            }
        }
    }

    /// The event was run over.
    pub fn passed(&mut self) {
        for (place, at) in std::mem::take(&mut self.pending) {
            self.switch_off(place, true, &at);
        }
    }

    /// A filter exceeded a limit at this event.
    pub fn exceeded(&mut self, place: usize, event: &[u8], received: Time) {
        if self.strikes.get_mut(place).is_some_and(|strikes| strikes.add(received)) {
            let id = json::get(event, "id").and_then(json::parse_str).unwrap_or_default();
            self.switch_off(place, false, &id);
        }
    }

    fn place(&self, probe: &str, rev: &str) -> Option<usize> {
        let (place, own) = self.names.get(probe).filter(|_| self.honours)?;
        (own == rev).then_some(*place)
    }

    fn switch_off(&mut self, place: usize, recorded: bool, event: &str) {
        if let Some(off) = self.off.get_mut(place) {
            *off = true;
        }
        if let Some(told) = self.told.get_mut(place) {
            told.get_or_insert_with(|| Off { recorded, event: event.to_owned() });
        }
    }
}

impl Note for Gate {
    fn before(&mut self, probe: usize, _: &str) -> bool {
        self.off.get(probe).is_some_and(|off| !off)
    }

    fn is_off(&self, probe: usize) -> bool {
        self.off.get(probe).is_none_or(|off| *off)
    }
}

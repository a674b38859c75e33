//! What came of it: a row for each probe that is not the same in both, the messages by action, and the sum of it all.

use std::collections::BTreeMap;

use event::Time;
use filter::Stopped;
use serde_json::{Value, json};

use super::compare::{Compared, Difference, Few};
use super::messages::Messages;
use super::off::Off;
use super::pairs::{Kind, Pair, Pairs};
use super::source::Read;
use super::worker::{Counts, Tally};
use crate::status::table::{self, plural};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// All that is told.
pub struct Report {
    /// The old configuration, as people know it.
    pub old: String,
    /// The new one.
    pub new: String,
    /// Where the events came from.
    pub source: String,
    /// What was read of it.
    pub read: Read,
    /// Probes that are not the same in both, by name.
    pub rows: Vec<Row>,
    /// How many probes are the same in both, and their matches.
    pub same: (usize, u64),
    /// Filters that are the same in both and were off for a part of the events, by name.
    pub off: Vec<(String, Off)>,
    /// Messages by action; those of which there are none on either side are left out.
    pub actions: Vec<Action>,
    /// An action gathers matches for another time than it did.
    pub gather_otherwise: bool,
}

/// A probe that is not the same in both.
pub struct Row {
    /// Which one.
    pub pair: Pair,
    /// What it did in the old configuration.
    pub old: Option<Counts>,
    /// What it does in the new one.
    pub new: Option<Counts>,
    /// How the matches differ.
    pub difference: Difference,
}

/// The messages of an action.
pub struct Action {
    /// Its name.
    pub name: String,
    /// Old and new.
    pub messages: [u64; 2],
    /// By UTC day of `received`.
    pub days: BTreeMap<i64, [u64; 2]>,
}

impl Row {
    /// Whether it decides otherwise about any event, acts upon more or fewer, or fails more or less often.
    pub fn differs(&self) -> bool {
        let figures = |counts: &Option<Counts>| counts.as_ref().map_or((0, 0, 0), |c| (c.errors, c.limits, c.acted));
        self.difference.any() || figures(&self.old) != figures(&self.new)
    }

    /// Whether there are conditions on acting, on either side.
    fn notes_acted(&self) -> bool {
        [&self.old, &self.new].into_iter().flatten().any(|counts| counts.judged)
    }

    /// How many matches are acted upon, old and new.
    fn acted(&self) -> [Option<u64>; 2] {
        [&self.old, &self.new].map(|side| side.as_ref().map(|counts| counts.acted))
    }

    fn record(&self) -> Value {
        let Self { pair, old, new, difference: Difference { gained, lost, changed } } = self;
        let count = |side: &Option<Counts>| side.as_ref().map(|c| c.matches);
        let failures = |side: &Option<Counts>| side.as_ref().map(|c| json!({"errors": c.errors, "limits": c.limits}));
        let samples = |few: &Few| json!(few.samples);
        let [acted_old, acted_new] = self.acted();
        let mut record = json!({
            "probe": pair.name, "kind": pair.kind.word(), "keys": pair.keys,
            "rev": {"old": pair.old, "new": pair.new}, "differs": self.differs(),
            "old": count(old), "new": count(new),
            "gained": gained.count, "lost": lost.count, "changed": changed.count,
            "acted": {"old": acted_old, "new": acted_new},
            "failures": {"old": failures(old), "new": failures(new)},
            "samples": {"gained": samples(gained), "lost": samples(lost), "changed": samples(changed)},
        });
        if let Some(record) = record.as_object_mut() {
            for (key, side) in [("off_old", old), ("off_new", new)] {
                if let Some(off) = side.as_ref().and_then(|c| c.off.as_ref()) {
                    record.insert(key.into(), off_record(off));
                }
            }
            let notes = self.notes();
            if !notes.is_empty() {
                record.insert("notes".into(), json!(notes));
            }
        }
        record
    }

    /// What a reader of the figures must know.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.pair.notes.clone();
        if self.notes_acted() {
            let [old, new] = self.acted().map(|n| n.map_or("-".to_owned(), |n| n.to_string()));
            notes.push(format!("acted upon: {old} → {new}"));
        }
        for (which, side) in [("old", &self.old), ("new", &self.new)] {
            if let Some(off) = side.as_ref().and_then(|c| c.off.as_ref()) {
                notes.push(format!("{which}: {}", off_words(off)));
            }
        }
        let stopped = |counts: &Counts| counts.stopped.as_ref().map(stopped_words);
        let failing = |counts: &Counts| counts.failing.as_ref().map(ToString::to_string);
        notes.extend(self.of_sides(stopped));
        notes.extend(self.of_sides(failing));
        notes
    }

    /// What is said of both sides: once if it is the same.
    fn of_sides(&self, say: impl Fn(&Counts) -> Option<String>) -> Vec<String> {
        let [old, new] = [&self.old, &self.new].map(|side| side.as_ref().and_then(&say));
        // Where there is one side only, it need not be named.
        let one = self.old.is_none() || self.new.is_none() || old == new;
        let named = |which: &str, words: String| if one { words } else { format!("{which}: {words}") };
        let new = new.filter(|words| old.as_ref() != Some(words));
        old.map(|words| named("old", words)).into_iter().chain(new.map(|words| named("new", words))).collect()
    }
}

fn off_record(off: &Off) -> Value {
    json!({"event": off.event, "recorded": off.recorded})
}

/// Why a filter did not run.
pub fn off_words(off: &Off) -> String {
    match off.recorded {
        true => format!("the hub had switched it off at event {}; it was not run from there on", off.event),
        false => format!("exceeded its limits up to event {} as often as a hub allows; off from there on", off.event),
    }
}

/// Why no event reached a filter.
fn stopped_words(stopped: &Stopped) -> String {
    match stopped {
        Stopped { events, query, renamed: 0, .. } if query == events => {
            format!("none of {} is a result of its query, which may not have run yet", plural(*events, "event"))
        }
        _ => stopped.to_string(),
    }
}

impl Report {
    /// Puts it together.
    pub fn new(
        names: [String; 3],
        pairs: Pairs,
        read: Read,
        [mut shared, mut old, mut new]: [Tally; 3],
        Compared { mut differences, messages }: Compared,
    ) -> Self {
        let gather_otherwise = pairs.gather_otherwise();
        let (mut rows, mut same, mut off) = (Vec::new(), (0, 0), Vec::new());
        for (i, pair) in pairs.pairs.into_iter().enumerate() {
            if pair.kind == Kind::Same {
                let counts = shared.probes.remove(&i).unwrap_or_default();
                same = (same.0 + 1, same.1 + counts.matches);
                off.extend(counts.off.map(|off| (pair.name, off)));
            } else {
                let difference = differences.remove(&i).unwrap_or_default();
                rows.push(Row { pair, old: old.probes.remove(&i), new: new.probes.remove(&i), difference });
            }
        }
        let refused = shared.refused.max(old.refused).max(new.refused);
        let read = Read { refused: read.refused + refused, ..read };
        let actions = pairs.actions.into_iter().enumerate().map(|(i, name)| Action::of(i, name, &messages));
        let actions = actions.filter(|a| a.messages != [0, 0]).collect();
        let [old, new, source] = names;
        Self { old, new, source, read, rows, same, off, actions, gather_otherwise }
    }

    /// Probes that decide otherwise.
    pub fn differing(&self) -> usize {
        self.rows.iter().filter(|row| row.differs()).count()
    }

    /// Whether every probe decides the same, and actions are told the same.
    pub fn is_same(&self) -> bool {
        self.differing() == 0 && !self.tells_otherwise()
    }

    /// Whether an action has other messages.
    fn tells_otherwise(&self) -> bool {
        self.actions.iter().any(|action| action.days.values().any(|[old, new]| old != new))
    }

    /// Matches gained, lost, changed.
    pub fn matches(&self) -> [u64; 3] {
        self.rows.iter().fold([0; 3], |[gained, lost, changed], Row { difference: d, .. }| {
            [gained + d.gained.count, lost + d.lost.count, changed + d.changed.count]
        })
    }

    /// Probes were touched, and there is no event to tell what that means.
    pub fn is_unknown(&self) -> bool {
        (!self.rows.is_empty() || self.gather_otherwise) && self.read.events == 0
    }

    /// All in one sentence.
    pub fn sentence(&self) -> String {
        let probes = self.rows.len() + self.same.0;
        if self.is_unknown() && self.rows.is_empty() {
            return "not known: an action gathers for another time, and there is no event to judge by".to_owned();
        }
        if self.is_unknown() {
            let (touched, were) = (self.rows.len(), if self.rows.len() == 1 { "was" } else { "were" });
            let probes = plural(probes, "probe");
            return format!("not known: {touched} of {probes} {were} touched, and there is no event to judge by");
        }
        if self.rows.is_empty() && self.tells_otherwise() {
            let probes = plural(probes, "probe");
            return format!("other messages: none of {probes} was touched, an action gathers for another time");
        }
        if self.rows.is_empty() {
            return format!("the same: none of {} was touched", plural(probes, "probe"));
        }
        let [gained, lost, changed] = self.matches();
        match self.differing() {
            0 => {
                let (touched, were) = (self.rows.len(), if self.rows.len() == 1 { "was" } else { "were" });
                let same = if self.tells_otherwise() { "the same matches, other messages" } else { "the same matches" };
                format!("{same}: {touched} of {} {were} touched, none decides otherwise", plural(probes, "probe"))
            }
            n => {
                let (verb, gained) = (if n == 1 { "decides" } else { "decide" }, plural(gained, "match"));
                let probes = plural(probes, "probe");
                let acted = self.rows.iter().filter(|row| row.notes_acted()).fold([0, 0], |[a, b], row| {
                    let [old, new] = row.acted().map(Option::unwrap_or_default);
                    [a + old, b + new]
                });
                let acted = match acted {
                    [old, new] if old == new => String::new(),
                    [old, new] => format!("; acted upon: {old} → {new}"),
                };
                format!("{n} of {probes} {verb} otherwise: {gained} gained, {lost} lost, {changed} changed{acted}")
            }
        }
    }

    /// How long the events reach, in days: at least one.
    pub fn days(&self) -> f64 {
        let ms = self.read.span.map_or(0, |(first, last)| last.ms().saturating_sub(first.ms()));
        #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
        let days = ms as f64 / DAY_MS as f64;
        days.max(1.0)
    }

    /// For programs: an object for each probe that is not the same, and one for the whole.
    pub fn lines(&self) -> String {
        let mut records: Vec<(&str, Value)> = self.rows.iter().map(|row| ("probe", row.record())).collect();
        let [gained, lost, changed] = self.matches();
        let off: Vec<Value> = self
            .off
            .iter()
            .map(|(probe, off)| json!({"probe": probe, "event": off.event, "recorded": off.recorded}))
            .collect();
        let actions: Vec<Value> = self.actions.iter().map(Action::record).collect();
        records.push((
            "summary",
            json!({
                "same": self.is_same(), "old": self.old, "new": self.new, "from": self.source,
                "events": self.read.events, "refused": self.read.refused,
                "first": self.read.span.map(|(first, _)| first), "last": self.read.span.map(|(_, last)| last),
                "probes": {"same": self.same.0, "touched": self.rows.len(), "differ": self.differing()},
                "matches": {"gained": gained, "lost": lost, "changed": changed, "of_same_probes": self.same.1},
                "off": off, "actions": actions,
            }),
        ));
        table::lines(&records)
    }
}

impl Action {
    fn of(i: usize, name: String, messages: &Messages) -> Self {
        let days = messages.days.iter().filter_map(|(day, counts)| Some((*day, *counts.get(i)?)));
        let messages = messages.all.get(i).copied().unwrap_or_default();
        Self { name, messages, days: days.filter(|(_, counts)| *counts != [0, 0]).collect() }
    }

    /// The most on one day, old and new.
    pub fn most(&self) -> [u64; 2] {
        self.days.values().fold([0, 0], |[a, b], [old, new]| [a.max(*old), b.max(*new)])
    }

    fn record(&self) -> Value {
        let [old, new] = self.messages;
        let days = self.days.iter().map(
            |(day, [old, new])| json!({"day": Time::from_ms(day.saturating_mul(DAY_MS)).day(), "old": old, "new": new}),
        );
        json!({"action": self.name, "old": old, "new": new, "days": days.collect::<Vec<_>>()})
    }
}

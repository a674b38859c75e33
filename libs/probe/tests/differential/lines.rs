//! Events in the shape that the design gives them, with the words of the filters in the right places.

use super::chance::Chance;
use super::hostile::{MANY, broken, deepen, hostile, swollen};
use super::tree::Tree;
use super::value::J;
use super::words::Words;

/// What lines are made from: the words, the examples that ship, and what a set's filters ask for.
pub struct Lines<'w> {
    pub words: &'w Words,
    pub examples: &'w [J],
    /// For each filter of the set, places and literals that stand beside each other in it.
    pub meetings: Vec<Vec<(Vec<String>, J)>>,
    /// Queries that the set's probes have.
    pub queries: Vec<String>,
}

impl<'w> Lines<'w> {
    pub fn new(words: &'w Words, examples: &'w [J], trees: &[&Tree], queries: Vec<String>) -> Self {
        let meetings = trees.iter().map(|t| t.meetings()).filter(|m| !m.is_empty()).collect();
        Self { words, examples, meetings, queries }
    }

    /// A line as it comes in; most are canonical.
    pub fn line(&self, c: &mut Chance) -> Vec<u8> {
        let event = self.event(c);
        match c.below(100) {
            0..10 => hostile(&event, c),
            10..13 => broken(&event, c),
            13 if c.percent(30) => swollen(&event, c.one::<usize>(&MANY[..10]).to_owned(), c),
            _ => event.text().into_bytes(),
        }
    }

    pub fn event(&self, c: &mut Chance) -> J {
        let mut event =
            if c.percent(20) && !self.examples.is_empty() { c.one(self.examples).clone() } else { self.plain(c) };
        if c.percent(65) && !self.meetings.is_empty() {
            for _ in 0..c.between(1, 3) {
                let wanted = &self.meetings[c.below(self.meetings.len())];
                self.meet(&mut event, wanted, c);
            }
        }
        if c.percent(15) && !self.queries.is_empty() {
            event.set(&["type".into()], J::Str("osquery_result".into()), true);
            event.set(&["payload".into(), "name".into()], J::Str(c.one(&self.queries).clone()), true);
        }
        if c.percent(12) {
            // Something of the wrong type anywhere.
            let n = c.below(event.count());
            if let Some(value) = event.nth(n) {
                *value = c.one(&self.words.odd).clone();
            }
        }
        if c.percent(3) {
            deepen(&mut event, c);
        }
        if c.percent(1) {
            return c.one(&self.words.odd).clone();
        }
        event
    }

    /// An event as agents' records give them.
    fn plain(&self, c: &mut Chance) -> J {
        let mut event = J::Obj(Vec::new());
        let set = |event: &mut J, path: &str, value: J| {
            let keys: Vec<String> = path.split('/').map(str::to_owned).collect();
            event.set(&keys, value, false);
        };
        set(&mut event, "v", J::Num("1".into()));
        set(&mut event, "id", J::Str(format!("01a1ff7a-cbfb-8123-8456-{:012x}", c.next() >> 16)));
        let whole = c.percent(85);
        for place in &self.words.places {
            if whole || c.percent(50) {
                // Rows have some columns, not all.
                let leave = place.keys.len() > 2 && c.percent(50);
                if !leave {
                    event.set(&place.keys, self.words.at(place, c).clone(), false);
                }
            }
        }
        if c.percent(70) {
            let time = format!("2026-11-21T19:{:02}:{:02}.{:03}Z", c.below(60), c.below(60), c.below(1000));
            set(&mut event, "received", J::Str(time));
        }
        for _ in 0..c.below(3) {
            let place = c.one(&self.words.odd_places);
            event.set(&place.keys, c.one(&place.words).clone(), c.percent(20));
        }
        let J::Obj(members) = &mut event else { return event };
        // normalize puts the payload last; others need not.
        if c.percent(80) {
            members.sort_by_key(|(k, _)| k == "payload");
        } else {
            let n = members.len();
            (0..n).for_each(|i| members.swap(i, c.below(n)));
        }
        if c.percent(5) {
            members.truncate(c.below(4));
        }
        event
    }

    /// Says what a filter asks for, or nearly.
    fn meet(&self, event: &mut J, wanted: &[(Vec<String>, J)], c: &mut Chance) {
        let share = *c.one(&[100, 100, 60, 30]);
        for (keys, value) in wanted {
            if c.percent(share) {
                event.set(keys, self.near(value, c), c.percent(70));
            }
        }
    }

    /// The literal, mostly; else something close to it.
    fn near(&self, value: &J, c: &mut Chance) -> J {
        if let J::Str(s) = value
            && let Some(text) = self.words.sample(s, c)
            && c.percent(85)
        {
            return J::Str(text.to_owned());
        }
        if c.percent(55) {
            return value.clone();
        }
        match value {
            J::Str(s) => J::Str(match c.below(12) {
                0 => format!("{s}x"),
                1 => format!("x{s}"),
                2 => format!("x {s} x"),
                3 => s.to_uppercase(),
                4 => s.to_lowercase(),
                5 => format!("{s}\n"),
                6 => s.chars().skip(1).collect(),
                7 => format!("\"{s}\""),
                8 => s.replace('s', "\u{17f}").replace('k', "\u{212a}"),
                9 => format!("{s}\\"),
                10 => return J::Arr(vec![value.clone(), J::Str("b".into())]),
                _ => return J::Obj(vec![("name".into(), value.clone())]),
            }),
            J::Num(n) => match c.below(8) {
                0 => J::Str(n.clone()),
                1 => J::Num(format!("{}.0", n.split(['.', 'e', 'E']).next().unwrap())),
                2 => J::Num(n.parse::<f64>().map_or("0".into(), |f| (f as i64).saturating_add(1).to_string())),
                3 => J::Num(n.parse::<f64>().map_or("0".into(), |f| (f as i64).saturating_sub(1).to_string())),
                4 => J::Num(format!("{}e0", n.split(['.', 'e', 'E']).next().unwrap())),
                5 => J::Num("1e30".into()),
                6 => J::Num("-1".into()),
                _ => J::Null,
            },
            _ => c.one(&self.words.odd).clone(),
        }
    }
}

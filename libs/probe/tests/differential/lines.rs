//! Events: in the shape that the design gives them, with the words of the filters in the right places, and hostile ones.

use event::{DEPTH_MAX, LINE_MAX, json};

use super::chance::Chance;
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

/// Nests a value as deep as lines may go, or a level more.
fn deepen(event: &mut J, c: &mut Chance) {
    let n = c.below(event.count());
    let levels = *c.one(&[
        3,
        20,
        DEPTH_MAX - 6,
        DEPTH_MAX - 4,
        DEPTH_MAX - 3,
        DEPTH_MAX - 2,
        DEPTH_MAX - 1,
        DEPTH_MAX,
        DEPTH_MAX + 1,
    ]);
    if let Some(value) = event.nth(n) {
        for i in 0..levels {
            let inner = std::mem::replace(value, J::Null);
            *value = if i % 2 == 0 { J::Arr(vec![inner]) } else { J::Obj(vec![("a".into(), inner)]) };
        }
    }
}

/// Around the most elements and outputs that somebody counts.
pub const MANY: &[usize] = &[3, 17, 63, 64, 65, 99, 100, 101, 102, 300, 1000, 4095, 4096, 4097, 9_999, 10_001];

/// The event with long arrays: what is in one stands there again and again.
pub fn swollen(event: &J, many: usize, c: &mut Chance) -> Vec<u8> {
    let mut event = event.clone();
    let count = event.count();
    let first = c.below(count);
    for n in (first..count).chain(0..first) {
        if let Some(J::Arr(items)) = event.nth(n)
            && let Some(item) = items.last().cloned()
        {
            let filler = if c.percent(50) { J::Str("filler".into()) } else { item.clone() };
            items.resize(many, filler);
            items.push(item);
            break;
        }
    }
    event.text().into_bytes()
}

/// A line about as long as a line may be, or a byte longer: it has one long member.
pub fn long(event: &J, c: &mut Chance) -> Vec<u8> {
    let mut event = event.clone();
    let J::Obj(members) = &mut event else { return event.text().into_bytes() };
    let at = c.below(members.len() + 1);
    let key = c.pick(&["aaa", "filler", "type ", "name"]).to_owned();
    members.retain(|(k, _)| *k != key);
    let at = at.min(members.len());
    members.insert(at, (key, J::Str(String::new())));
    let word = c.pick(&["x", "ab/", "\u{e9}", "\\", "\"", "\"name\":\"usb_devices\","]);
    let room = LINE_MAX + *c.one(&[0, 1, 2, 1001]) - 1 - event.text().len();
    let written = J::Str(word.to_owned()).text().len() - 2;
    let filler = word.repeat(room / written) + &"y".repeat(room % written);
    if let J::Obj(members) = &mut event {
        members[at].1 = J::Str(filler);
    }
    event.text().into_bytes()
}

/// The event as somebody writes it who wants to be misread: escapes, keys twice, white space.
pub fn hostile(event: &J, c: &mut Chance) -> Vec<u8> {
    let mut out = Vec::new();
    let way = Way { escapes: *c.one(&[0, 5, 60]), twice: *c.one(&[0, 15, 50]), space: *c.one(&[0, 0, 30]) };
    way.write(event, 0, &mut out, c);
    out
}

struct Way {
    escapes: usize,
    twice: usize,
    space: usize,
}

impl Way {
    fn space(&self, out: &mut Vec<u8>, c: &mut Chance) {
        if c.percent(self.space) {
            out.extend_from_slice(c.pick(&[" ", "\t", "\r", "   ", " \t "]).as_bytes());
        }
    }

    fn string(&self, s: &str, out: &mut Vec<u8>, c: &mut Chance) {
        out.push(b'"');
        for ch in s.chars() {
            if c.percent(self.escapes) {
                let mut units = [0; 2];
                for unit in ch.encode_utf16(&mut units) {
                    let hex = if c.percent(50) { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") };
                    out.extend_from_slice(hex.as_bytes());
                }
            } else if ch == '/' && c.percent(self.escapes * 2) {
                out.extend_from_slice(b"\\/");
            } else {
                let mut one = Vec::new();
                json::write_str(ch.encode_utf8(&mut [0; 4]), &mut one);
                out.extend_from_slice(&one[1..one.len() - 1]);
            }
        }
        out.push(b'"');
    }

    fn write(&self, value: &J, depth: usize, out: &mut Vec<u8>, c: &mut Chance) {
        self.space(out, c);
        match value {
            J::Str(s) => self.string(s, out, c),
            J::Arr(items) => {
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    self.write(item, depth + 1, out, c);
                }
                self.space(out, c);
                out.push(b']');
            }
            J::Obj(members) => {
                out.push(b'{');
                let mut first = true;
                // What comes twice at every level would be there 2^128 times.
                let twice = if depth < 3 { self.twice } else { 0 };
                for (key, value) in members {
                    // The true value may come first or last; the last counts.
                    if c.percent(twice) {
                        let other = members[c.below(members.len())].1.clone();
                        self.member((key, &other), depth, &mut first, out, c);
                    }
                    self.member((key, value), depth, &mut first, out, c);
                    if c.percent(twice / 3) {
                        self.member((key, &J::Str("late".into())), depth, &mut first, out, c);
                    }
                }
                self.space(out, c);
                out.push(b'}');
            }
            other => out.extend_from_slice(other.text().as_bytes()),
        }
        self.space(out, c);
    }

    fn member(&self, (key, value): (&str, &J), depth: usize, first: &mut bool, out: &mut Vec<u8>, c: &mut Chance) {
        if !std::mem::take(first) {
            out.push(b',');
        }
        self.space(out, c);
        self.string(key, out, c);
        self.space(out, c);
        out.push(b':');
        self.write(value, depth + 1, out, c);
    }
}

/// A line that is no JSON, or is none that we take.
pub fn broken(event: &J, c: &mut Chance) -> Vec<u8> {
    let mut line = event.text().into_bytes();
    let place = |c: &mut Chance, line: &[u8]| c.below(line.len().max(1));
    match c.below(10) {
        0 => line.truncate(place(c, &line)),
        1 => line.extend_from_slice(c.pick(&[" x", "}", ",", "{}", "\0", "null"]).as_bytes()),
        2 => line.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
        3 => {
            let at = place(c, &line);
            line.insert(at, *c.one(&[0xff, 0xc0, 0x80, 0xed, 0]));
        }
        4 => {
            let text = String::from_utf8_lossy(&line).replacen(
                "\":\"",
                c.pick(&["\":\"\\ud800", "\":\"\\udc00x", "\":\"\\ud83d\\u0041"]),
                1,
            );
            line = text.into_bytes();
        }
        5 => {
            let text = String::from_utf8_lossy(&line).replacen(
                ":1",
                c.pick(&[":01", ":1.", ":+1", ":.5", ":NaN", ":1e", ":-", ":0x1"]),
                1,
            );
            line = text.into_bytes();
        }
        6 => {
            line = c
                .pick(&[
                    "", " ", "null", "[]", "1", "\"x\"", "true", "[{}]", "{", "}", "{}{}", "nul", "{\"a\":}", "{,}",
                    "{\"a\"}",
                ])
                .as_bytes()
                .to_vec()
        }
        7 => {
            let at = place(c, &line);
            line[at] = *c.one(b"{}[]\":,\\u0e-. ");
        }
        8 => {
            let at = place(c, &line);
            line.remove(at);
        }
        _ => {
            let text = String::from_utf8_lossy(&line).replacen(":\"", ":'", 1);
            line = text.into_bytes();
        }
    }
    line
}

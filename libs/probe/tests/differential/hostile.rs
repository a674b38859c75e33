//! Lines of those who want to be misread, or to break what reads them.

use event::{DEPTH_MAX, LINE_MAX, json};

use super::chance::Chance;
use super::value::J;

/// Nests a value as deep as lines may go, or a level more.
pub fn deepen(event: &mut J, c: &mut Chance) {
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

//! Events and questions by chance, put to the embedded index and to each cluster: the same events, in the same order.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::*;
use crate::index::Index;

/// Values that may be taken for several things. Numbers of JSON beyond 2^53 are not among them: where a day holds fractions
/// under the same name, the embedded index holds them all as floats.
const VALUES: &[&str] = &[
    r#""15.3.2""#,
    r#""15.10.1""#,
    r#""15.1""#,
    r#""15""#,
    r#""10.0.0.7""#,
    r#""10.0.0.20""#,
    r#""1.2.3.4.5""#,
    "15",
    "15.0",
    "-3",
    r#""-3""#,
    "0",
    "-0.0",
    r#""0.0""#,
    "1.5",
    r#""1.50""#,
    "1e3",
    r#""1e3""#,
    r#""1000""#,
    "1000",
    "1e400",
    r#""1e400""#,
    r#""18446744073709551615""#,
    r#""9007199254740993""#,
    r#""9007199254740992.0""#,
    "123456789012345678901234567890",
    r#""2026""#,
    r#""2026-11""#,
    r#""2026-11-20""#,
    r#""2026-11-20T10:00:00Z""#,
    r#""2026-11-20 10:00""#,
    r#""2026-11-20T10:00:00.5Z""#,
    r#""2026-11-20T12:00+02:00""#,
    r#""""#,
    r#""--""#,
    r#"" ""#,
    r#""Übersicht""#,
    r#""ÜBERSICHT Straße""#,
    r#""/usr/bin/Foo-Bar_2.0""#,
    r#""/usr/bin/foo""#,
    r#""foo bar""#,
    r#""bar foo""#,
    r#""a*b""#,
    r#""a?b\\c""#,
    r#""C:\\Windows""#,
    "true",
    "false",
    r#""true""#,
    "null",
    "[]",
    "{}",
    r#"["x","y x",3]"#,
    r#"[{"k":"x"},{"k":2}]"#,
    r#"{"b":"deep foo","c":{"d":7}}"#,
    r#""人事部 x""#,
    r#""inf""#,
    r#""-inf""#,
    r#""nan""#,
    r#""Beta""#,
    r#""alpha""#,
    r#""İstanbul""#,
    r#""\u001fgap\u001fhere""#,
    r#""x\u0000y""#,
];
const FIELDS: &[&str] = &["a", "b", "a.b", "x y", "ä", "k"];
const TOPS: &[&str] = &["payload", "machine", "probes", "objects", "request", "other"];
const NAMES: &[&str] = &[
    "payload.a",
    "payload.b",
    "payload.a.b",
    "payload.x\\ y",
    "payload.ä",
    "payload.k",
    "payload",
    "machine.a",
    "machine.k",
    "probes.a",
    "objects",
    "request.ip",
    "other.a",
    "payload.a.c.d",
    "payload.a.k",
    "type",
    "nothing",
];
const WORDS: &[&str] = &[
    "15.3.2",
    "15.1",
    "15",
    "15.0",
    "3",
    "\"-3\"",
    "0",
    "0.0",
    "1.5",
    "50",
    "1e3",
    "1000",
    "1e400",
    "9007199254740993",
    "9007199254740992",
    "2026",
    "2026-11",
    "2026-11-20",
    "\"\"",
    "\"--\"",
    "übersicht",
    "strasse",
    "straße",
    "foo",
    "bar",
    "\"foo bar\"",
    "\"/usr/bin\"",
    "usr",
    "\"a*b\"",
    "c:\\windows",
    "true",
    "x",
    "y",
    "人事部",
    "inf",
    "beta",
    "\"gap here\"",
    "gap",
    "istanbul",
    "2",
    "10.0.0.7",
    "\"1 50\"",
    "nan",
    "i̇stanbul",
];
const STARS: &[&str] = &[
    "1*", "*5", "15.*", "f*", "*o", "f*o", "*/foo", "/usr/*", "ü*", "*1*", "a*b", "*\\**", "*\\?*", "tr*", "人*",
    "x*y", "*foo*", "2026-11*", "foo*bar", "10.0.*.7",
];
const ENDS: &[&str] = &[
    "*",
    "10",
    "15",
    "15.0",
    "15.1",
    "15.2.1",
    "15.10",
    "-5",
    "1e2",
    "1.4",
    "2026",
    "2026-10",
    "2026-11-20",
    "2026-11-20T10",
    "alpha",
    "g",
    "\"\"",
    "10.0.0.1",
    "9007199254740992.5",
    "9007199254740993",
    "zz",
];

struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        let mut hash = DefaultHasher::new();
        self.0.hash(&mut hash);
        self.0 = hash.finish();
        (self.0 % n as u64) as usize
    }

    fn one(&mut self, of: &[&'static str]) -> &'static str {
        of[self.below(of.len())]
    }

    fn event(&mut self, number: usize) -> String {
        let time = Time::from_ms(now().ms() - (self.below(4) * 21_600_000 + self.below(3)) as i64);
        let mut members = String::new();
        for top in TOPS {
            if self.below(2) == 0 && *top != "payload" {
                continue;
            }
            let inner: Vec<String> = FIELDS
                .iter()
                .filter_map(|field| match self.below(3) {
                    0 => Some(format!("\"{field}\":{}", self.one(VALUES))),
                    _ => None,
                })
                .collect();
            let value = match self.below(8) {
                0 => self.one(VALUES).to_owned(),
                1 => format!("[{{{}}},{}]", inner.join(","), self.one(VALUES)),
                _ => format!("{{{}}}", inner.join(",")),
            };
            members.push_str(&format!(",\"{top}\":{value}"));
        }
        let kind = self.one(&["alpha", "Beta", "osquery_result"]);
        format!(r#"{{"v":1,"id":"n{number:05}","type":"{kind}","time":"{time}","received":"{time}"{members}}}"#)
    }

    fn query(&mut self, depth: usize) -> String {
        let name = self.one(NAMES);
        match self.below(if depth == 0 { 8 } else { 11 }) {
            0 | 1 => format!("{name}:{}", self.one(WORDS)),
            2 => format!("{name}:{}", self.one(STARS)),
            3 | 4 => format!("{name}:[{} TO {}]", self.one(ENDS), self.one(ENDS)),
            5 => format!("_exists_:{name}"),
            6 => self.one(WORDS).to_owned(),
            7 => self.one(STARS).to_owned(),
            8 => format!("NOT ({})", self.query(depth - 1)),
            9 => format!("({} OR {})", self.query(depth - 1), self.query(depth - 1)),
            _ => format!("({} AND {})", self.query(depth - 1), self.query(depth - 1)),
        }
    }
}

#[test]
fn every_store_gives_the_same_answers() {
    let clusters: Vec<Server> = servers().collect();
    if clusters.is_empty() {
        return;
    }
    let mut chance = Chance(7);
    let lines: Vec<String> = (0..600).map(|i| chance.event(i)).collect();
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::new(dir.path(), 365 * DAY);
    let bytes: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    assert!(index.store(&bytes, now()).unwrap().iter().all(|v| *v == Verdict::Stored));
    let embedded = Search::new(dir.path());
    let finders: Vec<_> = clusters
        .iter()
        .map(|server| {
            let mut store = server.store();
            server.fill(&mut store, &lines);
            (server.flavour.title(), store.finder().unwrap())
        })
        .collect();
    let (mut asked, mut answered, mut wrong) = (0, 0, Vec::new());
    while asked < 400 {
        let text = chance.query(2);
        let Ok(query) = crate::query::parse(&text) else { continue };
        asked += 1;
        let scope = crate::search::Scope { query, since: None, until: None, deadline: None };
        let expected = embedded.page(&scope, 1000, None).unwrap();
        answered += usize::from(!expected.events.is_empty() && expected.events.len() < lines.len());
        for (title, finder) in &finders {
            let found = finder.page(&scope, 1000, None).unwrap_or_else(|e| panic!("{title}: {text}: {e}"));
            if found.events != expected.events {
                let differ = |a: &[Vec<u8>], b: &[Vec<u8>]| {
                    a.iter()
                        .find(|l| !b.contains(l))
                        .map(|l| String::from_utf8_lossy(l).into_owned())
                        .unwrap_or_default()
                };
                wrong.push(format!(
                    "{title}: {text}: {} instead of {}\n  too many: {}\n  too few: {}",
                    found.events.len(),
                    expected.events.len(),
                    differ(&found.events, &expected.events),
                    differ(&expected.events, &found.events)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
    assert!(answered > 100, "most questions must find some events and not all: {answered} of {asked}");
    for name in ["payload.a", "payload.b", "payload.k", "machine.a", "objects", "type", "payload", "nothing"] {
        for query in ["", "foo", "NOT foo"] {
            let expected = embedded.count_by(&all(query), name).unwrap();
            for (title, finder) in &finders {
                assert_eq!(finder.count_by(&all(query), name).unwrap(), expected, "{title}: {query} by {name}");
            }
        }
        let expected = embedded.every(&all(name), Duration::from_secs(3600)).unwrap();
        for (title, finder) in &finders {
            assert_eq!(finder.every(&all(name), Duration::from_secs(3600)).unwrap(), expected, "{title}: {name}");
        }
    }
}

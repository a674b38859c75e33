//! What is kept of a run: matches in a line each, near misses with their clauses.

use event::json;
use probe::clauses::draw::{Tone, draw, negation, one_line, words};
use probe::clauses::{Clauses, Explained};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::text;

/// Events that are looked at clause by clause.
const EXPLAINED_MAX: usize = 300;
/// Near misses that are shown, each decided by another clause.
const NEAR_MAX: usize = 5;
/// Characters of one drawing, and of all of them.
const DRAWN_MAX: usize = 8 << 10;
/// Characters of a line of it.
const LINE_MAX: usize = 400;

/// An event that matches, or did.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Hit {
    pub id: String,
    pub time: String,
    /// Name of the machine; may be empty.
    pub machine: String,
    /// What people read of the match, else what the event is.
    pub title: String,
}

impl Hit {
    /// Of an event, with what the filter said of it.
    pub fn new(line: &str, context: Option<&str>) -> Self {
        let machine = json::get(line.as_bytes(), "machine").and_then(|text| serde_json::from_slice::<Value>(text).ok());
        let machine = machine.unwrap_or_default();
        let names = ["/hostname", "/serial_number", "/hardware_uuid"];
        let name = names.iter().map(|at| text::at(&machine, at)).find(|name| !name.is_empty());
        let title = context.and_then(|context| text(context, "title")).filter(|title| !title.is_empty());
        let what = || {
            let payload = json::get(line.as_bytes(), "payload").map(String::from_utf8_lossy).unwrap_or_default();
            format!("{} {payload}", text(line, "type").unwrap_or_default())
        };
        Self {
            id: text(line, "id").unwrap_or_default(),
            time: text(line, "time").unwrap_or_default(),
            machine: text::short(name.unwrap_or_default()),
            title: text::short(&title.unwrap_or_else(what)),
        }
    }

    pub fn link(&self) -> String {
        format!("/events/{}", text::part(&self.id))
    }

    pub fn at(&self) -> String {
        text::time(&self.time)
    }
}

/// A text of an event.
pub fn text(line: &str, key: &str) -> Option<String> {
    json::get(line.as_bytes(), key).and_then(json::parse_str).map(|text| text.into_owned())
}

/// A line of a drawing: pieces, each with the class of its tone.
pub type Drawn = Vec<Vec<(&'static str, String)>>;

/// An event that does not match, and why.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "NearMiss")]
pub struct Near {
    #[serde(flatten)]
    pub hit: Hit,
    /// How many clauses hold.
    pub held: usize,
    /// The clause after which it was decided, and what came of it.
    pub decided: String,
    /// Its place: line and column, from 1.
    pub line: usize,
    pub column: usize,
    /// Events like it, decided by the same clause, itself included.
    pub alike: usize,
    #[serde(skip)]
    pub drawn: Drawn,
}

/// The nearest of those that do not match.
#[derive(Default)]
pub struct Misses {
    explained: usize,
    /// By the clause that decided.
    kept: Vec<(Option<usize>, Miss)>,
}

struct Miss {
    hit: Hit,
    held: usize,
    alike: usize,
    explained: Explained,
}

impl Misses {
    /// Whether one more is to be looked at.
    pub fn has_room(&self) -> bool {
        self.explained < EXPLAINED_MAX
    }

    /// One more.
    pub fn add(&mut self, line: &str, clauses: &Clauses, explained: Explained) {
        self.explained += 1;
        let all = explained.seen.iter().zip(clauses.clauses());
        let held = all.filter(|(seen, clause)| (seen.truthy > 0) != clause.negated && seen.runs > 0).count();
        let decided = explained.decided;
        match self.kept.iter_mut().find(|(known, _)| *known == decided) {
            Some((_, miss)) if miss.held >= held => miss.alike += 1,
            Some((_, miss)) => *miss = Miss { hit: Hit::new(line, None), held, alike: miss.alike + 1, explained },
            None => self.kept.push((decided, Miss { hit: Hit::new(line, None), held, alike: 1, explained })),
        }
    }

    /// The nearest first, drawn.
    pub fn drawn(mut self, source: &str, clauses: &Clauses) -> Vec<Near> {
        self.kept.sort_by_key(|(_, miss)| std::cmp::Reverse(miss.held));
        let near = |(decided, miss): (Option<usize>, Miss)| {
            let clause = decided.and_then(|i| Some((clauses.clauses().get(i)?, miss.explained.seen.get(i)?)));
            let told = |(clause, seen): &(&probe::clauses::Clause, &probe::clauses::Seen)| {
                format!("{} ({}{})", one_line(&clause.text), words(clause, seen), negation(clause, seen))
            };
            Near {
                drawn: drawn(source, clauses, &miss.explained),
                decided: clause.as_ref().map(told).map(|text| text::short(&text)).unwrap_or_default(),
                line: clause.map_or(0, |(clause, _)| clause.line),
                column: clause.map_or(0, |(clause, _)| clause.column),
                hit: miss.hit,
                held: miss.held,
                alike: miss.alike,
            }
        };
        self.kept.into_iter().take(NEAR_MAX).map(near).collect()
    }
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "",
        Tone::Dim => "dim",
        Tone::Good => "better",
        Tone::Bad => "worse",
        Tone::Odd => "odd",
    }
}

/// A filter with what came of each clause.
pub fn drawn(source: &str, clauses: &Clauses, explained: &Explained) -> Drawn {
    bounded(draw(source, clauses, explained))
}

/// As much of a drawing as a page has room for.
fn bounded(lines: Vec<Vec<(Tone, String)>>) -> Drawn {
    let (mut out, mut length) = (Vec::new(), 0);
    for line in lines {
        let mut room = LINE_MAX;
        let mut pieces = Vec::with_capacity(line.len());
        for (tone, text) in line {
            let cut: String = text.chars().take(room).collect();
            room -= cut.chars().count();
            length += cut.len();
            pieces.push((class(tone), cut));
        }
        out.push(pieces);
        if length > DRAWN_MAX {
            out.push(vec![("dim", "…".to_owned())]);
            break;
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use probe::{Limits, NoModules, parse};

    use super::*;

    #[test]
    fn the_nearest_of_each_kind() {
        let source = r#".a == 1 and .b == 2 and .c == 3"#;
        let clauses = Clauses::new(source, "t", &NoModules).unwrap();
        let mut misses = Misses::default();
        for line in
            [r#"{"id":"x","a":0}"#, r#"{"id":"y","a":1,"b":0}"#, r#"{"id":"z","a":1,"b":1}"#, r#"{"a":1,"b":2}"#]
        {
            let explained = clauses.explain(&parse(line.as_bytes()).unwrap(), 0, &Limits::default());
            misses.add(line, &clauses, explained);
        }
        let near = misses.drawn(source, &clauses);
        let told: Vec<(usize, usize, usize)> = near.iter().map(|n| (n.held, n.alike, n.column)).collect();
        assert_eq!(told, [(2, 1, 25), (1, 2, 13), (0, 1, 1)]);
        assert!(near[0].decided.starts_with(".c == 3 (.c = null"), "{}", near[0].decided);
        let classes: Vec<&str> = near[0].drawn.iter().flatten().map(|(class, _)| *class).collect();
        assert!(classes.contains(&"better") && classes.contains(&"worse"), "{:?}", near[0].drawn);
    }

    #[test]
    fn what_is_kept_is_short() {
        let line = format!(
            r#"{{"type":"t","machine":{{"hostname":"{}"}},"payload":{{"a":"{}"}}}}"#,
            "h".repeat(500),
            "x".repeat(500_000)
        );
        let hit = Hit::new(&line, Some(r#"{"title":""}"#));
        assert!(hit.machine.len() < 200 && hit.title.len() < 200 && hit.title.starts_with("t {"), "{hit:?}");
        let source = vec![".a == 1"; 3000].join("\n or ");
        let clauses = Clauses::new(&source, "t", &NoModules).unwrap();
        let mut misses = Misses::default();
        misses.add("{}", &clauses, clauses.explain(&parse(line.as_bytes()).unwrap(), 0, &Limits::default()));
        let drawn = &misses.drawn(&source, &clauses)[0].drawn;
        let length: usize = drawn.iter().flatten().map(|(_, text)| text.len()).sum();
        assert!(length < DRAWN_MAX + 2 * LINE_MAX, "{length}");
    }
}

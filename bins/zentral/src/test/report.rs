//! Results as TAP (https://testanything.org), or as one JSON object a line.

use std::fmt::Write as _;
use std::path::Path;

use probe::clauses::{Clauses, Coverage, Explained};
use probe::examples::ExampleResult;
use serde_json::{Value, json};

use crate::explain::draw::{came, one_line, printable, words};

/// What is written.
pub struct Report {
    text: String,
    json: bool,
    count: usize,
    failed: usize,
    updated: usize,
    /// Outcomes of clauses that examples exercise, and all of them.
    covered: Option<(usize, usize)>,
}

/// The clause after which a filter decided.
pub struct Decided {
    place: String,
    text: String,
    came: &'static str,
    words: String,
}

impl std::fmt::Display for Decided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} is {} ({})", self.place, self.text, self.came, self.words)
    }
}

/// One example and what became of it.
pub struct Ran<'r> {
    pub result: &'r ExampleResult,
    pub decided: Option<Decided>,
    /// The new value of `match`.
    pub change: Option<&'r str>,
}

impl Report {
    pub fn new(json: bool) -> Self {
        Self { text: String::new(), json, count: 0, failed: 0, updated: 0, covered: None }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn failed(&self) -> usize {
        self.failed
    }

    /// A line that is no example.
    pub fn bad(&mut self, file: &Path, line: usize, why: &str) {
        let result = ExampleResult {
            line,
            why: "is no example".into(),
            ok: false,
            got: why.to_owned(),
            want: "an example".into(),
        };
        self.add(file, &Ran { result: &result, decided: None, change: None });
    }

    /// An example that ran; one that was updated is true now.
    pub fn add(&mut self, file: &Path, one: &Ran<'_>) {
        let ExampleResult { line, why, ok, got, want } = one.result;
        self.count += 1;
        self.updated += usize::from(one.change.is_some());
        let good = *ok || one.change.is_some();
        self.failed += usize::from(!good);
        let place = format!("{}:{line}", file.display());
        if self.json {
            let mut record = json!({"place": place, "ok": good, "why": why, "got": got, "want": want});
            if let (Some(map), Some(d)) = (record.as_object_mut(), &one.decided) {
                let decided = json!({"place": d.place, "text": d.text, "came": d.came, "values": d.words});
                map.insert("decided".into(), decided);
            }
            if let (Some(map), Some(change)) = (record.as_object_mut(), one.change) {
                map.insert("updated".into(), serde_json::from_str(change).unwrap_or(Value::Null));
            }
            let _ = writeln!(self.text, "{record}");
            return;
        }
        let word = if good { "ok" } else { "not ok" };
        let _ = writeln!(self.text, "{word} {} - {place} {}", self.count, printable(why));
        if let Some(change) = one.change {
            let _ = writeln!(self.text, "# updated {place}: {want} was asked for, now {change}");
        } else if !good {
            let _ = writeln!(self.text, "  ---\n  want: {want}\n  got: {got}");
            if let Some(d) = &one.decided {
                let _ = writeln!(self.text, "  decided: {d}");
            }
            self.text.push_str("  ...\n");
        }
    }

    /// What the examples of a filter do not exercise.
    pub fn coverage(&mut self, filter: &Path, coverage: &Coverage<'_>) {
        let (covered, wanted) = coverage.share();
        let (all_covered, all_wanted) = self.covered.unwrap_or_default();
        self.covered = Some((all_covered + covered, all_wanted + wanted));
        let gaps = coverage.gaps();
        if self.json {
            let gap = |g: &probe::clauses::Gap<'_>| {
                let c = g.clause;
                json!({"line": c.line, "column": c.column, "text": c.text, "no_example": g.missing.as_str()})
            };
            let record = json!({
                "filter": filter.display().to_string(), "covered": covered, "wanted": wanted,
                "percent": percent(covered, wanted), "gaps": gaps.iter().map(gap).collect::<Vec<_>>(),
            });
            let _ = writeln!(self.text, "{record}");
            return;
        }
        let share = format!("{} % ({covered} of {wanted} outcomes)", percent(covered, wanted));
        let _ = writeln!(self.text, "# coverage {}: {share}", filter.display());
        for gap in gaps {
            let c = gap.clause;
            let place = format!("{}:{}:{}", filter.display(), c.line, c.column);
            let _ = writeln!(self.text, "#   {place} no example {}: {}", gap.missing.as_str(), one_line(&c.text));
        }
    }

    /// All of it.
    pub fn end(mut self) -> String {
        if !self.json {
            let _ = writeln!(self.text, "1..{}", self.count);
            let updated = if self.updated > 0 { format!(", {} updated", self.updated) } else { String::new() };
            let passed = self.count - self.failed - self.updated;
            let _ = writeln!(self.text, "# {passed} passed, {} failed{updated}", self.failed);
            if let Some((covered, wanted)) = self.covered {
                let _ =
                    writeln!(self.text, "# coverage {} % ({covered} of {wanted} outcomes)", percent(covered, wanted));
            }
        }
        self.text
    }
}

/// Rounded down: 100 only if nothing is missing.
fn percent(covered: usize, wanted: usize) -> usize {
    (covered * 100).checked_div(wanted).unwrap_or(100)
}

/// The clause after which it was decided, in words.
pub fn decided(filter: &str, clauses: &Clauses, explained: &Explained) -> Option<Decided> {
    let i = explained.decided?;
    let (clause, seen) = (clauses.clauses().get(i)?, explained.seen.get(i)?);
    Some(Decided {
        place: format!("{filter}:{}:{}", clause.line, clause.column),
        text: printable(&one_line(&clause.text)),
        came: came(clause, seen).word(),
        words: words(clause, seen),
    })
}

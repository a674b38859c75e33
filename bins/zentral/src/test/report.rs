//! Results as TAP (https://testanything.org), or as one JSON object a line.

use std::fmt::Write as _;
use std::path::Path;

use event::printable;
use probe::clauses::{Clauses, Coverage, Explained};
use probe::examples::{BadLine, ExampleResult};
use serde_json::{Value, json};

use super::list::Listed;
use crate::explain::draw::{came, one_line, words};
use crate::status::table::plural;

/// What is written.
pub struct Report {
    text: String,
    json: bool,
    count: usize,
    failed: usize,
    updated: usize,
    without: usize,
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
    /// The new value of `match` or `acts`.
    pub change: Option<&'r str>,
    /// The same of an example with several events.
    pub list: Option<&'r Listed>,
}

impl Report {
    pub fn new(json: bool) -> Self {
        Self { text: String::new(), json, count: 0, failed: 0, updated: 0, without: 0, covered: None }
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn failed(&self) -> usize {
        self.failed
    }

    /// A line that is no example.
    pub fn bad(&mut self, file: &Path, bad: &BadLine) {
        let BadLine { line, column, text } = bad;
        self.count += 1;
        self.failed += 1;
        let place = format!("{}:{line}:{column}", file.display());
        if self.json {
            let record = json!({"place": place, "ok": false, "why": "is no example", "error": text});
            let _ = writeln!(self.text, "{record}");
        } else {
            let _ = writeln!(self.text, "not ok {} - {} is no example", self.count, described(&place));
            let _ = writeln!(self.text, "  ---\n  error: {}\n  ...", quoted(text));
        }
    }

    /// A filter that has no examples: a probe's, or one that was named itself.
    pub fn without(&mut self, title: &str, file: Option<&Path>) {
        self.without += 1;
        let beside = file.map(|file| file.with_extension("ndjson").display().to_string());
        if self.json {
            let record = json!({"without": title, "filter": file.map(|f| f.display().to_string()), "examples": beside});
            let _ = writeln!(self.text, "{record}");
        } else {
            let beside = beside.unwrap_or_else(|| "its filter is in no file of its own".to_owned());
            let _ = writeln!(self.text, "# {}", printable(&format!("{title}: no examples ({beside})")));
        }
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
            if let (Some(map), Some(list)) = (record.as_object_mut(), one.list) {
                map.insert("probe".into(), json!(list.probe));
                let differs = list.differs.as_ref().map(|(n, came)| json!({"event": n + 1, "came": came.to_string()}));
                map.insert("differs".into(), json!(differs));
            }
            if let (Some(map), Some(change)) = (record.as_object_mut(), one.change) {
                map.insert("updated".into(), serde_json::from_str(change).unwrap_or(Value::Null));
            }
            let _ = writeln!(self.text, "{record}");
            return;
        }
        let word = if good { "ok" } else { "not ok" };
        let said = if why.is_empty() { place.clone() } else { format!("{place} {why}") };
        let _ = writeln!(self.text, "{word} {} - {}", self.count, described(&said));
        if let Some(change) = one.change {
            let said = format!("updated {place}: {want} was asked for, now {change}");
            let _ = writeln!(self.text, "# {}", printable(&said));
        } else if !good {
            let _ = writeln!(self.text, "  ---\n  want: {}\n  got: {}", quoted(want), quoted(got));
            if let Some((n, came)) = one.list.and_then(|list| list.differs.as_ref()) {
                let _ = writeln!(self.text, "  differs: {}", quoted(&format!("event {}: {came}", n + 1)));
            }
            if let Some(d) = &one.decided {
                let _ = writeln!(self.text, "  decided: {}", quoted(&d.to_string()));
            }
            self.text.push_str("  ...\n");
        }
    }

    /// What the examples of a filter do not exercise.
    pub fn coverage(&mut self, filter: &str, coverage: &Coverage<'_>) {
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
                "filter": filter, "covered": covered, "wanted": wanted,
                "percent": percent(covered, wanted), "gaps": gaps.iter().map(gap).collect::<Vec<_>>(),
            });
            let _ = writeln!(self.text, "{record}");
            return;
        }
        let share = share(covered, wanted);
        let _ = writeln!(self.text, "# {}", printable(&format!("coverage {filter}: {share}")));
        for gap in gaps {
            let c = gap.clause;
            let place = format!("{filter}:{}:{}", c.line, c.column);
            let gap = format!("{place} no example {}: {}", gap.missing.as_str(), one_line(&c.text));
            let _ = writeln!(self.text, "#   {}", printable(&gap));
        }
    }

    /// All of it.
    pub fn end(mut self) -> String {
        if !self.json {
            let _ = writeln!(self.text, "1..{}", self.count);
            let some = |n: usize, what: &str| if n > 0 { format!(", {n} {what}") } else { String::new() };
            let (updated, without) = (some(self.updated, "updated"), some(self.without, "without examples"));
            let passed = self.count - self.failed - self.updated;
            let _ = writeln!(self.text, "# {passed} passed, {} failed{updated}{without}", self.failed);
            if let Some((covered, wanted)) = self.covered {
                let _ = writeln!(self.text, "# coverage {}", share(covered, wanted));
            }
        }
        self.text
    }
}

/// As a description: after a bare `#` a directive such as TODO would follow, which excuses what is not ok.
pub fn described(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('#', "\\#")
}

/// As a value in YAML, on one line: an object or list as it is, any other text as a string of JSON.
pub fn quoted(text: &str) -> String {
    let value = serde_json::from_str(text).ok().filter(|value: &Value| value.is_object() || value.is_array());
    printable(&value.unwrap_or_else(|| text.into()).to_string())
}

fn share(covered: usize, wanted: usize) -> String {
    format!("{} % ({covered} of {})", percent(covered, wanted), plural(wanted, "outcome"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_an_example_is_taken_for_a_result() {
        let result = ExampleResult {
            line: 1,
            why: "a \\ # TODO later\nok 7\u{202e}".to_owned(),
            ok: false,
            got: "error: \"x\n  ...\nok 2 - all is well".to_owned(),
            want: r#"{"title":"a # b"}"#.to_owned(),
        };
        let (place, text) = ("f.jq:1:1".to_owned(), ".a == \"\n\"".to_owned());
        let decided = Some(Decided { place, text, came: "false", words: ".a = 1\nok 3".to_owned() });
        let mut report = Report::new(false);
        report.add(Path::new("f#1.ndjson"), &Ran { result: &result, decided, change: None, list: None });
        report.bad(Path::new("f.ndjson"), &BadLine { line: 2, column: 3, text: "no\nok".to_owned() });
        report.without("f\nok 9", None);
        let want = r#"not ok 1 - f\#1.ndjson:1 a \\ \# TODO laterok 7
  ---
  want: {"title":"a # b"}
  got: "error: \"x\n  ...\nok 2 - all is well"
  decided: "f.jq:1:1 .a == \"\n\" is false (.a = 1\nok 3)"
  ...
not ok 2 - f.ndjson:2:3 is no example
  ---
  error: "no\nok"
  ...
# fok 9: no examples (its filter is in no file of its own)
1..2
# 0 passed, 2 failed, 1 without examples
"#;
        assert_eq!(report.end(), want);
    }
}

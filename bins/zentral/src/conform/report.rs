//! Verdicts as TAP (https://testanything.org), or as one JSON object a line.

use std::fmt::Write as _;

use event::printable;
use serde_json::json;

use super::case::Case;
use crate::test::report::{described, quoted};

/// What became of a case.
pub struct Outcome {
    /// Why it is not ok; none: it is.
    pub error: Option<String>,
    /// What was answered, without secrets.
    pub got: Option<String>,
}

/// Counts of one sort of cases.
#[derive(Default, Clone, Copy)]
struct Count {
    ok: usize,
    not_ok: usize,
}

/// What is written.
pub struct Report {
    text: String,
    json: bool,
    direct: Count,
    translated: Count,
}

impl Report {
    /// Empty.
    pub fn new(json: bool) -> Self {
        Self { text: String::new(), json, direct: Count::default(), translated: Count::default() }
    }

    /// One case.
    pub fn add(&mut self, case: &Case, outcome: &Outcome) {
        let translated = case.is_translated();
        let count = if translated { &mut self.translated } else { &mut self.direct };
        *if outcome.error.is_some() { &mut count.not_ok } else { &mut count.ok } += 1;
        let Outcome { error, got } = outcome;
        let ok = error.is_none();
        if self.json {
            let record = json!({
                "name": case.name, "area": case.area, "ok": ok, "translated": translated, "proves": case.proves(),
                "source": case.source, "error": error, "got": if ok { None } else { got.as_ref() },
            });
            let _ = writeln!(self.text, "{record}");
            return;
        }
        let number = self.direct.ok + self.direct.not_ok + self.translated.ok + self.translated.not_ok;
        let word = if ok { "ok" } else { "not ok" };
        let said = format!("{} {}", case.name, case.proves());
        let mark = if translated { " # translated" } else { "" };
        let _ = writeln!(self.text, "{word} {number} - {}{mark}", described(&said));
        if let Some(error) = error {
            let _ = writeln!(self.text, "  ---\n  error: {}", quoted(error));
            if let Some(got) = got {
                let _ = writeln!(self.text, "  got: {}", quoted(got));
            }
            let _ = writeln!(self.text, "  source: {}\n  ...", quoted(&case.source));
        }
    }

    /// Whether all are ok.
    pub fn all_ok(&self) -> bool {
        self.direct.not_ok + self.translated.not_ok == 0
    }

    /// All of it.
    pub fn end(mut self) -> String {
        if !self.json {
            let Count { ok, not_ok } = self.direct;
            let Count { ok: t_ok, not_ok: t_not_ok } = self.translated;
            let _ = writeln!(self.text, "1..{}", ok + not_ok + t_ok + t_not_ok);
            let _ = writeln!(self.text, "# {ok} passed, {not_ok} failed");
            if t_ok + t_not_ok > 0 {
                let _ = writeln!(self.text, "# translated: {t_ok} passed, {t_not_ok} failed");
            }
        }
        printable_lines(&self.text)
    }
}

/// Without what a terminal would take for a command.
fn printable_lines(text: &str) -> String {
    text.lines().map(|line| printable(line) + "\n").collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn translated_cases_are_counted_apart() {
        let case = |area: &str| -> Case {
            let text = json!({"name": "a # b", "area": area, "source": "s", "request": {"method": "GET", "path": "/"},
                "expect": {"status": 200, "note": "n\nok 9"}});
            serde_json::from_value(text).unwrap()
        };
        let mut report = Report::new(false);
        report.add(&case("x"), &Outcome { error: None, got: None });
        report.add(&case("x-api"), &Outcome { error: Some("e".to_owned()), got: Some("200 {}".to_owned()) });
        assert!(!report.all_ok());
        let want = "ok 1 - a \\# b nok 9\nnot ok 2 - a \\# b nok 9 # translated\n  ---\n  error: \"e\"\n  \
                    got: \"200 {}\"\n  source: \"s\"\n  ...\n1..2\n# 1 passed, 0 failed\n\
                    # translated: 0 passed, 1 failed\n";
        assert_eq!(report.end(), want);
    }
}

//! How an imported probe is written: its table, and its program.

use std::fmt::Write as _;

use super::draft::{Ready, line};

/// Columns of a comment.
const WIDTH: usize = 110;

/// Where the program of a probe stands.
pub enum Place<'a> {
    /// In the table itself.
    Inline,
    /// In a file, as a path from the table's.
    File(&'a str),
}

impl Ready {
    /// The program with title and reasons above it.
    pub fn filter_text(&self) -> String {
        let mut text = format!("# {}\n", self.draft.title_line());
        if !self.draft.why.is_empty() {
            text.push_str("#\n");
        }
        for (i, why) in self.draft.why.iter().enumerate() {
            comment(&mut text, if i == 0 { "Why: " } else { "" }, why);
        }
        format!("{text}\n{}", self.program)
    }

    /// The tables of the probe.
    pub fn table(&self, place: &Place<'_>) -> String {
        let (draft, name) = (&self.draft, &self.name);
        let mut text = format!("# {}\n# From {}\n[probe.{name}]\n", draft.title_line(), draft.origin_line());
        let scope: Vec<String> =
            [("platforms", &draft.scope.platforms), ("units", &draft.scope.units), ("tags", &draft.scope.tags)]
                .into_iter()
                .filter(|(_, list)| !list.is_empty())
                .map(|(key, list)| format!("{key} = {}", words(list)))
                .collect();
        if !scope.is_empty() {
            let _ = writeln!(text, "scope    = {{ {} }}", scope.join(", "));
        }
        let filter = match place {
            Place::File(path) => string(path),
            Place::Inline => block(&self.filter_text()),
        };
        let _ = writeln!(text, "filter   = {filter}");
        let _ = writeln!(text, "severity = {}", string(draft.severity));
        let _ = writeln!(text, "act      = {}", words(&draft.act));
        if !draft.lacking.is_empty() {
            let _ = writeln!(text, "# In Zentral also: {}", line(&draft.lacking.join(", ")));
        }
        if draft.first_run {
            text.push_str("first_run = true\n");
        }
        if let Some(query) = &draft.query {
            let _ = writeln!(text, "\n[probe.{name}.query]\ninterval = {}", string(&interval(query.interval_s)));
            if query.snapshot {
                text.push_str("snapshot = true\n");
            }
            if !query.removed {
                text.push_str("removed  = false\n");
            }
            if let Some(version) = &query.version {
                let _ = writeln!(text, "version  = {}", string(version));
            }
            let _ = writeln!(text, "sql      = {}", block(&query.sql));
        }
        text
    }
}

/// A comment of lines that are not too long.
fn comment(text: &mut String, head: &str, said: &str) {
    for (i, paragraph) in said.lines().enumerate() {
        let mut row = format!("#{}", if i == 0 { format!(" {head}") } else { " ".into() }.trim_end());
        for word in line(paragraph).split(' ') {
            if row.len() + word.len() > WIDTH && row.len() > 8 {
                let _ = writeln!(text, "{}", row.trim_end_matches(['\\', ' ']));
                row = "#".into();
            }
            row = format!("{row} {word}");
        }
        let _ = writeln!(text, "{}", row.trim_end_matches(['\\', ' ']));
    }
}

fn words(list: &[String]) -> String {
    format!("[{}]", list.iter().map(|word| string(word)).collect::<Vec<_>>().join(", "))
}

/// `30s`, `10m`, `1h`, `7d`
fn interval(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let unit = units.iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{seconds}s"), |(unit, letter)| format!("{}{letter}", seconds / unit))
}

/// On one line.
fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// As it stands, over several lines, where TOML allows it.
fn block(text: &str) -> String {
    let odd = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains("'''") || text.ends_with('\'') || text.contains(odd) {
        return string(text);
    }
    if !text.contains(['\n', '\'', '"', '\\']) && text.len() <= WIDTH {
        return string(text);
    }
    format!("'''\n{text}'''")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::import::cond::Cond;
    use crate::import::draft::{Draft, Query};
    use crate::import::node::{Node, Spot, Value};

    #[test]
    fn what_is_written_is_read_back() {
        let node = Node { line: 7, value: Value::Null };
        for sql in ["select 1", "select 'x'", "a\nb '''", "a\u{1}b\\\r\n", "\n\nx\n", "'", &"x".repeat(200)] {
            let mut draft = Draft::new("p \u{7}q", &Spot::root(&"f\n.conf".into(), &node));
            draft.why = vec!["one\ntwo \\".into(), "w ".repeat(200)];
            draft.cond = Cond::event_type("x");
            draft.lacking = vec!["a\nb".into()];
            draft.query = Some(Query {
                sql: sql.into(),
                interval_s: 5400,
                snapshot: false,
                removed: false,
                version: Some("5.1".into()),
            });
            let program = draft.cond.program();
            let ready = Ready { name: "p-q".into(), draft, program, examples: Vec::new() };
            let table: toml::Table = ready.table(&Place::Inline).parse().unwrap();
            let probe = &table["probe"]["p-q"];
            assert_eq!(probe["filter"].as_str().unwrap(), ready.filter_text());
            assert_eq!(probe["query"]["sql"].as_str().unwrap(), sql);
            assert_eq!(probe["query"]["interval"].as_str().unwrap(), "90m");
            let text = ready.filter_text();
            let comments: Vec<&str> = text.lines().take_while(|l| l.starts_with('#')).collect();
            assert!(comments.iter().all(|l| l.len() <= WIDTH + 8 && !l.ends_with('\\')), "{text}");
            assert!(text.starts_with("# p q\n#\n# Why: one\n# two\n# w w"), "{text}");
            assert!(text.ends_with("\n\n.type == \"x\"\n"), "{text}");
        }
        assert_eq!(["1s", "1m", "25h", "7d"], [1, 60, 90_000, 604_800].map(interval)[..]);
    }
}

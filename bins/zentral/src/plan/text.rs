//! The report for people: tables on a terminal, Markdown for the comment under a pull request.
//!
//! Titles, host names and ids come from machines: on a terminal they lose what could steer it, in Markdown they
//! stand in code spans, where nothing in them is a link, a mention or HTML.

use std::fmt::Write as _;

use event::printable;

use super::compare::{Few, Sample};
use super::report::{Report, Row, off_words};
use super::worker::Counts;
use crate::status::table::{plural, table};

/// Bytes of a comment: GitHub takes 65,536 characters.
const MARKDOWN_MAX: usize = 60_000;
/// By this a script finds the comment that it wrote before.
const MARK: &str = "<!-- zentral plan -->";

/// Tables.
pub fn terminal(report: &Report) -> String {
    let mut text = format!("old  {}\nnew  {}\n{}\n", report.old, report.new, events(report));
    if !report.rows.is_empty() {
        let rows: Vec<Vec<String>> = report.rows.iter().map(cells).collect();
        let _ = write!(text, "\n{}", table(&HEAD, &rows));
    }
    for row in &report.rows {
        let (samples, notes) = (samples(row), row.notes());
        if samples.is_empty() && notes.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{}", row.pair.name);
        for note in notes {
            let _ = writeln!(text, "  ! {}", printable(&note));
        }
        for (sign, sample) in samples {
            let title = titles(sample).map(|t| format!("  {}", printable(&t))).unwrap_or_default();
            let (time, machine, event) = (&sample.time, &sample.machine, &sample.event);
            let _ =
                writeln!(text, "  {sign} {}{title}  {}", printable(&format!("{time}  {machine}")), printable(event));
        }
    }
    if !report.off.is_empty() {
        text.push('\n');
        for (probe, off) in &report.off {
            let _ = writeln!(text, "! {probe}: {}", printable(&off_words(off)));
        }
    }
    if !report.actions.is_empty() {
        let _ = write!(text, "\n{}", table(&ACTION_HEAD, &actions(report)));
    }
    let _ = writeln!(text, "\n{}", report.sentence());
    text
}

/// Markdown.
pub fn markdown(report: &Report) -> String {
    let mut text = format!("{MARK}\n### zentral plan: {}\n\n", report.sentence());
    let _ = writeln!(text, "{}; old: {}, new: {}.", code_free(&events(report)), code(&report.old), code(&report.new));
    let mut left = Vec::new();
    if !report.rows.is_empty() {
        text.push_str(&head(&HEAD));
        for row in &report.rows {
            put(&mut text, &line(&cells(row)), &row.pair.name, &mut left);
        }
    }
    if !report.actions.is_empty() {
        text.push_str(&head(&ACTION_HEAD));
        for (cells, action) in actions(report).iter().zip(&report.actions) {
            put(&mut text, &line(cells), &action.name, &mut left);
        }
    }
    for (probe, off) in &report.off {
        put(&mut text, &format!("\n{}: {}\n", code(probe), code(&off_words(off))), probe, &mut left);
    }
    for row in &report.rows {
        let (samples, notes) = (samples(row), row.notes());
        if samples.is_empty() && notes.is_empty() {
            continue;
        }
        let mut part = format!("\n<details><summary>{}</summary>\n\n", row.pair.name);
        for note in notes {
            let _ = writeln!(part, "- {}", code(&note));
        }
        for (sign, sample) in samples {
            let title = titles(sample).map(|t| format!(" {}", code(&t))).unwrap_or_default();
            let what = match sign {
                '+' => "gained",
                '-' => "lost",
                _ => "changed",
            };
            let (time, machine, event) = (code(&sample.time), code(&sample.machine), code(&sample.event));
            let _ = writeln!(part, "- {what}: {time} {machine}{title} {event}");
        }
        part.push_str("\n</details>\n");
        put(&mut text, &part, &row.pair.name, &mut left);
    }
    if !left.is_empty() {
        let _ =
            writeln!(text, "\nNo room for {}; `zentral plan --json` has them all.", plural(left.len(), "more part"));
    }
    text
}

/// Adds a part if there is room for it; whoever it is about is noted if not.
fn put(text: &mut String, part: &str, about: &str, left: &mut Vec<String>) {
    if text.len() + part.len() <= MARKDOWN_MAX {
        text.push_str(part);
    } else {
        left.push(about.to_owned());
    }
}

const HEAD: [&str; 8] = ["probe", "what", "old", "new", "gained", "lost", "changed", "failures"];
const ACTION_HEAD: [&str; 5] = ["messages of", "old", "new", "a day", "most on a day"];

fn events(report: &Report) -> String {
    let refused = match report.read.refused {
        0 => String::new(),
        n => format!(", {} refused", plural(n, "line")),
    };
    match report.read.span {
        None if report.rows.is_empty() => "no event was read".to_owned(),
        None => format!("no events in {}{refused}", report.source),
        Some((first, last)) => {
            let events = plural(report.read.events, "event");
            format!("{events} of {}, received {first} to {last}{refused}", report.source)
        }
    }
}

fn cells(row: &Row) -> Vec<String> {
    let what = match row.pair.keys.as_slice() {
        [] => row.pair.kind.word().to_owned(),
        keys => keys.join(", "),
    };
    let count = |side: &Option<Counts>| side.as_ref().map_or("-".to_owned(), |c| c.matches.to_string());
    let difference =
        [&row.difference.gained, &row.difference.lost, &row.difference.changed].map(|f| f.count.to_string());
    let mut cells = vec![row.pair.name.clone(), what, count(&row.old), count(&row.new)];
    cells.extend(difference);
    cells.push(failures(row));
    cells
}

/// Errors and exceeded limits, old and new; nothing if there are none.
fn failures(row: &Row) -> String {
    let of = |side: &Option<Counts>| side.as_ref().map_or([0, 0], |c| [c.errors, c.limits]);
    let ([old_errors, old_limits], [new_errors, new_limits]) = (of(&row.old), of(&row.new));
    let mut parts = Vec::new();
    for (what, old, new) in [("errors", old_errors, new_errors), ("limits", old_limits, new_limits)] {
        if old + new > 0 {
            parts.push(format!("{what} {old} → {new}"));
        }
    }
    parts.join(", ")
}

fn actions(report: &Report) -> Vec<Vec<String>> {
    let days = report.days();
    #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
    let mean = |n: u64| format!("{:.1}", n as f64 / days);
    let row = |action: &super::report::Action| {
        let ([old, new], [most_old, most_new]) = (action.messages, action.most());
        let (mean, most) = (format!("{} → {}", mean(old), mean(new)), format!("{most_old} → {most_new}"));
        vec![action.name.clone(), old.to_string(), new.to_string(), mean, most]
    };
    report.actions.iter().map(row).collect()
}

/// Samples with their sign: gained, lost, changed.
fn samples(row: &Row) -> Vec<(char, &Sample)> {
    let difference = &row.difference;
    let each = |sign: char, few: &'_ Few| -> Vec<(char, usize)> { (0..few.samples.len()).map(|i| (sign, i)).collect() };
    let mut all = Vec::new();
    for (sign, few) in [('+', &difference.gained), ('-', &difference.lost), ('~', &difference.changed)] {
        all.extend(each(sign, few).into_iter().filter_map(|(sign, i)| Some((sign, few.samples.get(i)?))));
    }
    all
}

/// The title; of one that has changed, both.
fn titles(sample: &Sample) -> Option<String> {
    match (&sample.was, &sample.title) {
        (Some(was), Some(is)) if was != is => Some(format!("{was} → {is}")),
        (Some(was), None) => Some(format!("{was} →")),
        (_, title) => title.clone(),
    }
}

/// As a code span that fits into a table.
fn code(text: &str) -> String {
    let text: String = printable(text).chars().map(|c| if c == '`' { '\'' } else { c }).collect();
    if text.trim().is_empty() { String::new() } else { format!("`{}`", text.replace('|', "\\|")) }
}

/// Our own words; only what people may have written (the name of a file) needs care.
fn code_free(text: &str) -> String {
    printable(text).replace(['<', '>', '`', '|'], " ")
}

fn head(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let rule: Vec<String> =
        names.iter().enumerate().map(|(i, _)| if i == 0 { "---" } else { "---:" }.to_owned()).collect();
    format!("\n{}{}", line(&names), line(&rule))
}

fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use std::collections::BTreeMap;

    use super::super::compare::Difference;
    use super::super::off::Off;
    use super::super::pairs::{Kind, Pair};
    use super::super::report::Action;
    use super::super::source::Read;
    use super::*;

    fn report(title: &str) -> Report {
        let sample = Sample {
            event: "e1".into(),
            time: "2026-11-21T19:00:00.000Z".into(),
            machine: "ada".into(),
            title: Some(title.to_owned()),
            was: None,
        };
        let gained = Few { count: 7, samples: vec![sample] };
        let off = Off { recorded: true, event: "e0".into() };
        let name = "usb".to_owned();
        let (old, new) = (Some("r1".into()), Some("r2".into()));
        let pair = Pair { name, kind: Kind::Changed, keys: vec!["filter", "scope"], old, new, notes: Vec::new() };
        let row = Row {
            pair,
            old: Some(Counts { off: Some(off), ..Counts::default() }),
            new: Some(Counts { matches: 7, ..Counts::default() }),
            difference: Difference { gained, ..Difference::default() },
        };
        let times = ["2026-11-20T19:00:00Z", "2026-11-22T19:00:00Z"].map(|t| t.parse().unwrap());
        let days = BTreeMap::from([(20_000, [0, 5]), (20_001, [1, 2])]);
        Report {
            old: "old.toml".into(),
            new: "new.toml".into(),
            source: "topic:events".into(),
            read: Read { events: 9, refused: 0, span: Some((times[0], times[1])) },
            rows: vec![row],
            same: (2, 0),
            off: Vec::new(),
            actions: vec![Action { name: "slack".into(), messages: [1, 7], days }],
            gather_otherwise: false,
        }
    }

    #[test]
    fn a_report_for_the_terminal() {
        let want = "\
old  old.toml
new  new.toml
9 events of topic:events, received 2026-11-20T19:00:00.000Z to 2026-11-22T19:00:00.000Z

probe  what           old  new  gained  lost  changed  failures
usb    filter, scope    0    7       7     0        0

usb
  ! old: the hub had switched it off at event e0; it was not run from there on
  + 2026-11-21T19:00:00.000Z  ada  C-Media[31m on ada  e1

messages of  old  new      a day  most on a day
slack          1    7  0.5 → 3.5          1 → 5

1 of 3 probes decides otherwise: 7 matches gained, 0 lost, 0 changed
";
        assert_eq!(terminal(&report("C-Media\u{1b}[31m on\n \u{202e}ada")), want);
    }

    #[test]
    fn without_events_nothing_is_called_the_same() {
        let mut report = report("t");
        report.read = Read::default();
        let said = "not known: 1 of 3 probes was touched, and there is no event to judge by";
        assert!(markdown(&report).starts_with(&format!("{MARK}\n### zentral plan: {said}\n")));
        assert!(terminal(&report).ends_with(&format!("\n{said}\n")));
        report.rows.clear();
        report.gather_otherwise = true;
        let said = "not known: an action gathers for another time, and there is no event to judge by";
        assert_eq!(report.sentence(), said);
        report.gather_otherwise = false;
        report.actions.clear();
        assert_eq!(report.sentence(), "the same: none of 2 probes was touched");
    }

    #[test]
    fn nothing_leaves_a_code_span() {
        assert_eq!(code("a`b|c\n<i>@all"), "`a'b\\|c<i>@all`");
        assert_eq!(code(" \n"), "");
        let text = markdown(&report("`](http://x) @all"));
        assert!(text.contains("- gained: `2026-11-21T19:00:00.000Z` `ada` `'](http://x) @all` `e1`\n"), "{text}");
    }
}

//! Columns for people, lines for programs.

use std::io::IsTerminal as _;

use serde_json::Value;

/// Rows under a head, each column as wide as its widest cell; numbers stand to the right.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let head: Vec<String> = head.iter().map(|h| (*h).to_owned()).collect();
    for (i, row) in std::iter::once(&head).chain(rows).enumerate() {
        let mut line = String::new();
        for ((column, width), cell) in widths.iter().enumerate().zip(row) {
            let number = |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit());
            let right = if i == 0 {
                !rows.is_empty() && rows.iter().all(|r| r.get(column).is_some_and(|cell| number(cell)))
            } else {
                number(cell)
            };
            let space = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) = if right { (space.as_str(), "") } else { ("", space.as_str()) };
            line.push_str(&format!("{before}{cell}{after}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// How many of something: `1 event`, `2 events`.
pub fn plural(n: impl TryInto<u64>, what: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    let plural = if what.ends_with("ch") { "es" } else { "s" };
    format!("{n} {what}{}", if n == 1 { "" } else { plural })
}

/// A size for people.
pub fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut tenths = 0;
    for unit in units {
        if value < 1024 || unit == "TiB" {
            let short = value < 10 && unit != "B";
            return if short { format!("{value}.{tenths} {unit}") } else { format!("{value} {unit}") };
        }
        tenths = value % 1024 * 10 / 1024;
        value /= 1024;
    }
    String::new()
}

/// Records as lines, each with what it is about.
pub fn lines(records: &[(&str, Value)]) -> String {
    tagged(records).iter().map(|record| format!("{record}\n")).collect()
}

/// Records, each with what it is about.
pub fn tagged(records: &[(&str, Value)]) -> Vec<Value> {
    let record = |(what, value): &(&str, Value)| {
        let mut all = serde_json::Map::new();
        all.insert("what".into(), (*what).into());
        if let Value::Object(object) = value {
            all.extend(object.clone());
        }
        Value::Object(all)
    };
    records.iter().map(record).collect()
}

/// Whether a person reads stdout.
pub fn for_people(json: bool) -> bool {
    !json && std::io::stdout().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["raw".to_owned(), "7".to_owned()], vec!["events".to_owned(), "12345".to_owned()]];
        assert_eq!(table(&["topic", "lines"], &rows), "topic   lines\nraw         7\nevents  12345\n");
        assert_eq!(table(&["topic"], &[]), "topic\n");
        for (bytes, want) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (20 << 20, "20 MiB"), (5 << 30, "5.0 GiB")]
        {
            assert_eq!(size(bytes), want);
        }
    }
}

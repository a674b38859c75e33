//! Rows that a query gave outside osqueryd (`osqueryi --json`) as events of a probe, for a probe that has no log yet. All
//! of them or, with the place that is wrong, none.

use std::fmt;
use std::io::{IsTerminal as _, Read as _};

use event::{LINE_MAX, Machine, Time};
use pipe::config::{Config, ProbeConf, nearest};
use pipe::{Exit, StageError};
use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sources::{Source as _, osquery};

use crate::given::complete;

/// Bytes of stdin.
const INPUT_MAX: usize = 16 << 20;
/// Rows of one query.
const ROWS_MAX: usize = 65_536;

/// Reads rows on stdin and prints the events that they would be if osqueryd ran the query of the probe now.
pub(crate) fn run(config: &Config, probe: &str, machine: Option<Machine>) -> Result<Exit, StageError> {
    let conf = config.probes.get(probe);
    let conf = conf.ok_or_else(|| {
        let near = nearest(probe, config.probes.keys().map(String::as_str));
        StageError::usage(format!("the configuration has no probe `{probe}`{near}"))
    })?;
    let query = Query::of(conf)?;
    let machine = machine.unwrap_or_default();
    let text = stdin()?;
    let events = query.events(&text, &machine, Time::now())?;
    if events.is_empty() {
        tracing::warn!("there are no rows, so there is no event");
    } else if !conf.scope.holds(&machine) {
        tracing::warn!(
            "probe `{probe}` sees no event of such a machine; --platform, --unit, --tags and --groups say what it is"
        );
    }
    match pipe::write_stdout(&events) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(StageError::unreachable(format!("stdout: {e}"))),
        _ => Ok(Exit::Done),
    }
}

fn stdin() -> Result<String, StageError> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(StageError::usage("--probe needs the output of `osqueryi --json` on stdin"));
    }
    let mut bytes = Vec::new();
    let broken = |e: std::io::Error| StageError::unreachable(format!("stdin: {e}"));
    stdin.lock().take(INPUT_MAX as u64 + 1).read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() > INPUT_MAX {
        return Err(StageError::usage(format!("stdin is longer than {INPUT_MAX} bytes")));
    }
    if bytes.trim_ascii().is_empty() {
        return Err(StageError::usage("stdin is empty: osqueryi has printed no rows, perhaps an error"));
    }
    String::from_utf8(bytes).map_err(|e| StageError::usage(format!("stdin is not UTF-8: {}", e.utf8_error())))
}

/// The query of a probe as osqueryd reports it.
struct Query {
    name: String,
    snapshot: bool,
}

impl Query {
    fn of(conf: &ProbeConf) -> Result<Self, StageError> {
        match (conf.query_name(), &conf.query) {
            (Some(name), Some(query)) => Ok(Self { name, snapshot: query.snapshot }),
            _ => Err(StageError::usage(format!("probe `{}` has no query that these could be the rows of", conf.name))),
        }
    }

    /// The lines of the events: one a row, or one for all rows of a snapshot.
    fn events(&self, text: &str, machine: &Machine, now: Time) -> Result<Vec<u8>, StageError> {
        let rows = rows(text)?;
        let records = if self.snapshot { vec![text] } else { rows };
        let mut lines = Vec::new();
        for rows in records {
            let host = machine.hostname.as_deref();
            let record = osquery::log_line(&self.name, host, now, self.snapshot, rows);
            let wrong = |why: String| StageError::usage(format!("{}: {why}", place(text, rows)));
            for mut event in osquery::SOURCE.read_log(record.as_bytes(), now).map_err(|e| wrong(e.text))? {
                complete(&mut event, machine);
                let start = lines.len();
                event.write(&mut lines);
                if lines.len() - start > LINE_MAX {
                    return Err(wrong("the event is longer than a line may be".into()));
                }
                lines.push(b'\n');
            }
        }
        Ok(lines)
    }
}

/// The text of each row of a JSON array of objects.
fn rows(text: &str) -> Result<Vec<&str>, StageError> {
    let Rows(rows) = serde_json::from_str(text).map_err(|e| {
        let (place, what) = (format!(" at line {} column {}", e.line(), e.column()), e.to_string());
        let what = what.strip_suffix(&place).unwrap_or(&what);
        StageError::usage(format!(
            "stdin:{}:{}: no list of rows as `osqueryi --json` prints it: {what}",
            e.line(),
            e.column()
        ))
    })?;
    match rows.iter().find(|row| !row.starts_with('{')) {
        Some(odd) => Err(StageError::usage(format!("{}: a row that is no object", place(text, odd)))),
        None => Ok(rows),
    }
}

/// Where this part of the text begins.
fn place(text: &str, part: &str) -> String {
    let at = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let before = text.get(..at).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    format!("stdin:{}:{}", before.matches('\n').count() + 1, at - line_start + 1)
}

/// No more than [`ROWS_MAX`] values.
struct Rows<'a>(Vec<&'a str>);

impl<'de> Deserialize<'de> for Rows<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Rows<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut rows = Vec::new();
                while let Some(row) = list.next_element::<&RawValue>()? {
                    if rows.len() == ROWS_MAX {
                        return Err(A::Error::custom(format!("more than {ROWS_MAX} rows")));
                    }
                    rows.push(row.get());
                }
                Ok(Rows(rows))
            }
        }
        from.deserialize_seq(List)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_767_686_405_678;

    fn events(snapshot: bool, text: &str) -> Result<Vec<Value>, String> {
        let machine = Machine { platform: Some("macos".into()), hostname: Some("mac".into()), ..Machine::default() };
        let lines = Query { name: "zentral/p/0".into(), snapshot }.events(text, &machine, Time::from_ms(NOW));
        let lines = String::from_utf8(lines.map_err(|e| e.text)?).unwrap();
        Ok(lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    #[test]
    fn a_row_is_an_event_and_a_snapshot_is_one() {
        let text = "[\n  {\"a\":\"1\"},\n  {\"a\":\"\\u00fc\"}\n]\n";
        let each = events(false, text).unwrap();
        let columns: Vec<&Value> = each.iter().map(|event| &event["payload"]["columns"]["a"]).collect();
        assert_eq!(columns, [&json!("1"), &json!("ü")]);
        for event in &each {
            assert_eq!(event["machine"], json!({"hostname": "mac", "platform": "macos"}));
            assert_eq!(
                (&event["payload"]["name"], &event["payload"]["action"]),
                (&json!("zentral/p/0"), &json!("added"))
            );
            assert_eq!(event["time"], "2026-01-06T08:00:05.000Z");
        }
        assert_ne!(each[0]["id"], each[1]["id"]);
        let all = events(true, text).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0]["payload"]["snapshot"], json!([{"a": "1"}, {"a": "ü"}]));
        assert_eq!((events(false, "[]").unwrap().len(), events(true, "[]").unwrap().len()), (0, 1));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_nothing_is_printed() {
        let long = format!("[{{}},\n{{\"a\":\"{}\"}}]", "x".repeat(LINE_MAX));
        let many = format!("[{}{{}}]", "{},".repeat(ROWS_MAX));
        let deep = format!("[{{\"a\":{}1{}}}]", "[".repeat(200), "]".repeat(200));
        for (text, place, why) in [
            ("{\"a\":1}", "stdin:1:", "expected a list"),
            ("Error: no such table: usb", "stdin:1:1: ", "no list of rows as `osqueryi --json` prints it"),
            ("[{\"a\":\"1\"},\n {\"a\":\"1\"]", "stdin:2:", "expected"),
            ("[] []", "stdin:1:4: ", "trailing"),
            ("[{},\n\"é\", 7]", "stdin:2:1: ", "a row that is no object"),
            (&long, "stdin:2:1: ", "over the limit"),
            (&many, "stdin:1:", "more than 65536 rows"),
            (&deep, "stdin:1:2: ", "nested deeper"),
        ] {
            let said = events(false, text).unwrap_err();
            assert!(said.starts_with(place) && said.contains(why), "{said}");
        }
        let said = events(true, &long).unwrap_err();
        assert!(said.starts_with("stdin:1:1: ") && said.contains("over the limit"), "{said}");
    }
}

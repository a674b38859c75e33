//! What osqueryd would log of rows that somebody had by other means, from `osqueryi --json` say.

use event::Time;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The log line of a row that is new, or of a snapshot whose list of rows it is: `rows` is the JSON text. It belongs to no
/// first run, which osquery marks by a `counter` of 0.
pub fn log_line(query: &str, host: Option<&str>, at: Time, snapshot: bool, rows: &str) -> String {
    let seconds = at.ms().div_euclid(1000);
    let calendar = Timestamp::from_second(seconds).map(|t| t.strftime("%a %b %e %H:%M:%S %Y UTC").to_string());
    let host = host.map(|host| ("hostIdentifier", json!(host)));
    let calendar = calendar.ok().map(|text| ("calendarTime", json!(text)));
    let (counter, member, action) = if snapshot { (0, "snapshot", "snapshot") } else { (1, "columns", "added") };
    let around = [("name", json!(query))].into_iter().chain(host).chain(calendar).chain([
        ("unixTime", json!(seconds)),
        ("epoch", json!(0)),
        ("counter", json!(counter)),
        ("numerics", Value::Bool(false)),
    ]);
    let around: String = around.map(|(key, value)| format!("\"{key}\":{value},")).collect();
    format!("{{{around}\"{member}\":{rows},\"action\":\"{action}\"}}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::Source as _;
    use crate::osquery::SOURCE;

    /// The lines of docs/filters.md but for what a query cannot know.
    #[test]
    fn a_row_is_logged_as_osqueryd_logs_it() {
        let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/guide/osqueryd.results.log");
        let log = std::fs::read_to_string(data).unwrap();
        let without = |mut line: Value| {
            line.as_object_mut().unwrap().shift_remove("decorations");
            line["counter"] = json!(1);
            line.to_string()
        };
        for line in log.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if line["action"] == "removed" {
                continue;
            }
            let at = Time::from_ms(line["unixTime"].as_i64().unwrap() * 1000);
            let (name, host) = (line["name"].as_str().unwrap(), line["hostIdentifier"].as_str());
            let made = log_line(name, host, at, false, &line["columns"].to_string());
            assert_eq!(made, without(line));
        }
    }

    #[test]
    fn it_is_read_as_a_result() {
        let now = Time::from_ms(1_767_686_405_678);
        let read = |snapshot: bool, host: Option<&str>, rows: &str| {
            let line = log_line("zentral/a \"b\"/0", host, now, snapshot, rows);
            SOURCE.read_log(line.as_bytes(), Time::from_ms(0)).unwrap().remove(0)
        };
        let row = read(false, Some("web-1"), "{\"a\": \"1\"}");
        assert_eq!((row.type_.as_str(), row.time.ms()), ("osquery_result", 1_767_686_405_000));
        assert_eq!(row.machine.unwrap().hostname.as_deref(), Some("web-1"));
        let payload: Value = serde_json::from_str(row.payload.get()).unwrap();
        assert_eq!((&payload["name"], &payload["columns"]["a"]), (&json!("zentral/a \"b\"/0"), &json!("1")));
        let all = read(true, None, "[{\"a\":\"1\"},\n{\"a\":\"2\"}]");
        let payload: Value = serde_json::from_str(all.payload.get()).unwrap();
        assert_eq!((&all.machine, &payload["snapshot"]), (&None, &json!([{"a": "1"}, {"a": "2"}])));
        assert_eq!((&payload["action"], &payload["counter"]), (&json!("snapshot"), &json!(0)));
    }
}

//! What becomes of a live query: rows as they come, and in the end who has not answered.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;

use event::{Body, Raw, printable};
use pipe::{Exit, StageError};
use serde_json::{Map, Value, json};

/// Answers whose ids are remembered, so that a copy is not printed twice.
const IDS_MAX: usize = 1_000_000;

/// For whom it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON object a line.
    Lines,
    /// Text.
    People,
}

/// One query and its machines.
pub struct Watch {
    id: String,
    /// Key and host name of those in scope.
    names: BTreeMap<String, Option<String>>,
    most: u64,
    form: Form,
    heard: BTreeMap<String, Heard>,
    seen: HashSet<String>,
    out: String,
}

#[derive(Default)]
struct Heard {
    parts: u64,
    of: u64,
    rows: u64,
    /// What osquery says of the query; 0: it went well.
    status: i64,
    message: String,
}

impl Heard {
    fn whole(&self) -> bool {
        self.parts >= self.of
    }
}

impl Watch {
    pub fn new(id: String, names: BTreeMap<String, Option<String>>, max: Option<u64>, form: Form) -> Self {
        let most = max.unwrap_or(u64::MAX).min(names.len() as u64);
        Self { id, names, most, form, heard: BTreeMap::new(), seen: HashSet::new(), out: String::new() }
    }

    /// A raw line, which may be of this query.
    pub fn line(&mut self, line: &[u8]) {
        let finds = |word: &[u8]| memchr::memmem::find(line, word).is_some();
        if !finds(b"\"kind\":\"answer\"") || !finds(self.id.as_bytes()) {
            return;
        }
        let Ok(raw) = Raw::parse(line) else { return };
        let (Body::Json(body), Some(key)) = (&raw.body, raw.machine.key()) else { return };
        let Ok(answer) = serde_json::from_str::<Map<String, Value>>(body.get()) else { return };
        if raw.kind != "answer" || answer.get("query").and_then(Value::as_str) != Some(&self.id) {
            return;
        }
        if self.seen.len() >= IDS_MAX || !self.seen.insert(raw.id.clone()) {
            return;
        }
        let key = key.to_owned();
        let whole = |name: &str, default: i64| answer.get(name).and_then(Value::as_i64).unwrap_or(default);
        let rows = answer.get("rows").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let heard = self.heard.entry(key.clone()).or_default();
        heard.parts += 1;
        heard.of = u64::try_from(whole("parts", 1)).unwrap_or(1);
        heard.rows += rows.len() as u64;
        heard.status = whole("status", 0);
        heard.message = answer.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        for row in rows {
            self.row(&key, raw.machine.hostname.as_deref(), row);
        }
        if self.heard.get(&key).is_some_and(Heard::whole) {
            self.machine(&key, "answered");
        }
    }

    fn row(&mut self, key: &str, host: Option<&str>, row: &Value) {
        match self.form {
            Form::Lines => {
                let line = json!({"what": "row", "query": self.id, "machine": key, "hostname": host, "columns": row});
                let _ = writeln!(self.out, "{line}");
            }
            Form::People => {
                let columns: Vec<String> = row.as_object().into_iter().flatten().map(column).collect();
                let _ = writeln!(self.out, "{}  {}", printable(host.unwrap_or(key)), columns.join("  "));
            }
        }
    }

    /// What became of a machine. People are told of those only from whom there is no row to see.
    fn machine(&mut self, key: &str, status: &str) {
        let none = Heard::default();
        let heard = self.heard.get(key).unwrap_or(&none);
        let status = if heard.status == 0 { status } else { "failed" };
        let host = self.names.get(key).cloned().flatten();
        match self.form {
            Form::Lines => {
                let mut line = json!({"what": "machine", "query": self.id, "machine": key, "hostname": host,
                    "status": status, "rows": heard.rows});
                if let Some(line) = line.as_object_mut().filter(|_| heard.status != 0) {
                    line.insert("code".into(), heard.status.into());
                    line.insert("message".into(), heard.message.as_str().into());
                }
                let _ = writeln!(self.out, "{line}");
            }
            Form::People if heard.rows == 0 || heard.status != 0 => {
                let colon = if heard.message.is_empty() { "" } else { ": " };
                let (host, message) = (printable(host.as_deref().unwrap_or(key)), printable(&heard.message));
                let what = if status == "answered" { "answered without rows" } else { status };
                let _ = writeln!(self.out, "{host}  ({what}{colon}{message})");
            }
            Form::People => {}
        }
    }

    /// Whether there is nobody to wait for.
    pub fn is_done(&self) -> bool {
        self.heard.values().filter(|heard| heard.whole()).count() as u64 >= self.most
    }

    /// To stdout.
    pub fn flush(&mut self) -> Result<(), StageError> {
        let out = std::mem::take(&mut self.out);
        if out.is_empty() { Ok(()) } else { pipe::write_stdout(out.as_bytes()).map_err(crate::stdout_error) }
    }

    /// Says who has not answered; `given` are those who were asked.
    pub fn end(mut self, given: &BTreeSet<String>) -> Result<Exit, StageError> {
        let answered = |watch: &Self, key: &str| watch.heard.get(key).is_some_and(Heard::whole);
        let silent: Vec<String> = self.names.keys().filter(|key| !answered(&self, key)).cloned().collect();
        for key in &silent {
            self.machine(key, if given.contains(key) { "asked" } else { "not asked" });
        }
        self.flush()?;
        let done = self.is_done();
        let whole = self.heard.values().filter(|heard| heard.whole()).count();
        let failed = self.heard.values().filter(|heard| heard.status != 0).count();
        let rows: u64 = self.heard.values().map(|heard| heard.rows).sum();
        tracing::info!("{whole} of {} machines in scope answered, {failed} could not; {rows} rows", self.names.len());
        Ok(if done && failed == 0 { Exit::Done } else { Exit::No })
    }
}

fn column((name, value): (&String, &Value)) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    format!("{}={}", printable(name), printable(&text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn line(id: &str, machine: &str, body: &Value) -> Vec<u8> {
        let line = json!({"v": 1, "id": id, "source": "osquery", "kind": "answer", "received": "2026-01-06T08:00:10.000Z",
            "machine": {"serial_number": machine, "hostname": format!("{machine}.local")}, "body": body});
        line.to_string().into_bytes()
    }

    fn watch(form: Form, max: Option<u64>) -> Watch {
        let names = ["A", "B", "C"].map(|key| (key.to_owned(), Some(format!("{key}.local"))));
        Watch::new("q1".into(), names.into(), max, form)
    }

    #[test]
    fn rows_come_once_and_each_machine_has_a_status() {
        let mut watch = watch(Form::Lines, None);
        let first = line("i1", "A", &json!({"query": "q1", "status": 0, "part": 1, "parts": 2, "rows": [{"a": "1"}]}));
        watch.line(&first);
        watch.line(&first);
        assert!(!watch.out.contains("answered"));
        watch.line(&line("i2", "A", &json!({"query": "q1", "status": 0, "part": 2, "parts": 2, "rows": [{"a": "2"}]})));
        watch.line(&line("i3", "B", &json!({"query": "q1", "status": 1, "message": "no such\ttable", "rows": []})));
        watch.line(&line("i4", "C", &json!({"query": "q2", "status": 0, "rows": [{"b": "q1"}]})));
        watch.line(b"\"kind\":\"answer\" q1");
        let lines: Vec<Value> = watch.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let short: Vec<String> = lines
            .iter()
            .map(|l| {
                format!(
                    "{} {} {} {}",
                    l["what"],
                    l["machine"],
                    l["status"],
                    l["columns"].get("a").unwrap_or(&Value::Null)
                )
            })
            .map(|text| text.replace('"', ""))
            .collect();
        assert_eq!(
            short,
            ["row A null 1", "row A null 2", "machine A answered null", "machine B failed null"],
            "{}",
            watch.out
        );
        assert!(!watch.is_done());
        watch.machine("C", "asked");
        assert!(watch.out.trim_end().ends_with(r#""status":"asked","rows":0}"#), "{}", watch.out);
    }

    #[test]
    fn people_read_text_and_no_more_are_waited_for_than_are_asked() {
        let mut watch = watch(Form::People, Some(1));
        watch.line(&line("i", "A", &json!({"query": "q1", "rows": [{"a": "1\u{1b}", "b": 2}]})));
        assert_eq!(watch.out, format!("A.local  a={}  b=2\n", printable("1\u{1b}")));
        assert!(watch.is_done());
    }
}

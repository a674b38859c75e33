//! `zentral search`: stored events, newest first.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

use event::printable;
use pipe::cli::{Global, complain};
use pipe::config::Config;
use pipe::{Exit, StageError};
use serde_json::{Value, json};
use store::client::{Client, ClientError, Counts, Question, SkippedDay};

/// Command line of `search`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Words, field:value, AND OR NOT ( ), "a phrase", prefix*, field:[a TO b], _exists_:field; * for everything
    pub query: String,
    /// Only since: an age such as 2h, or a time
    #[arg(long, value_name = "AGE|TIME")]
    pub since: Option<String>,
    /// Only until: an age, or a time; a day, hour or minute with all of it
    #[arg(long, value_name = "AGE|TIME")]
    pub until: Option<String>,
    /// How many; 0: all
    #[arg(short = 'n', long = "max", value_name = "N", default_value_t = 100)]
    pub max: u64,
    /// Print how many there are by the values of a field
    #[arg(long, value_name = "FIELD")]
    pub count_by: Option<String>,
    /// Print how many there are in each step of time, such as 1h
    #[arg(long, value_name = "AGE", conflicts_with = "count_by")]
    pub every: Option<String>,
    /// Go on after this cursor (printed on stderr by the search before)
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
    /// One JSON object a line, also on a terminal
    #[arg(long)]
    pub json: bool,
}

/// Searches.
pub fn run(global: &Global, args: &Args) -> Exit {
    global.start_log("search");
    match global.load_or_last_good() {
        Ok(config) => crate::finish(search(&config, args)),
        Err(exit) => exit,
    }
}

/// Who answers: the store with `search = true`, else the only one.
pub fn client(config: &Config) -> Result<Client, StageError> {
    let chosen = config.searched();
    let chosen = chosen.ok_or_else(|| match &config.file {
        None => StageError::usage(crate::up::NO_FILE),
        Some(file) => StageError::usage(format!("{} has no store with `search = true`", file.display())),
    })?;
    Ok(Client::of(Some(&config.socket(&chosen.first())), store::finder(&chosen.settings, config)?))
}

fn search(config: &Config, args: &Args) -> Result<Exit, StageError> {
    let client = client(config)?;
    let question = Question { query: args.query.clone(), since: args.since.clone(), until: args.until.clone() };
    let table = std::io::stdout().is_terminal() && !args.json;
    if args.count_by.is_some() || args.every.is_some() {
        let counts = match (&args.count_by, &args.every) {
            (Some(field), _) => client.count_by(&question, field),
            (None, every) => client.every(&question, every.as_deref().unwrap_or("1h")),
        };
        return count(&counts.map_err(refused)?, table);
    }
    let (mut found, mut broken) = (0u64, None);
    let print = |line: &str| {
        found += 1;
        let text = if table { row(line) } else { format!("{line}\n") };
        broken = pipe::write_stdout(text.as_bytes()).err();
        broken.is_none()
    };
    let rest = client.each(&question, args.max, args.after.clone(), print).map_err(refused)?;
    if let Some(e) = broken {
        return Err(crate::stdout_error(e));
    }
    warn(&rest.skipped);
    advise(rest.hint.as_deref());
    if let Some(next) = rest.next {
        complain(&format!("more: --after {next}"));
    }
    Ok(if found > 0 { Exit::Done } else { Exit::No })
}

fn refused(e: ClientError) -> StageError {
    match e {
        ClientError::Question(text) => StageError::usage(text),
        ClientError::Unreachable(text) => StageError::unreachable(text),
    }
}

fn warn(skipped: &[SkippedDay]) {
    for day in skipped {
        complain(&format!("zentral search: day {} could not be read: {}", day.day, day.why));
    }
}

/// Nothing was found, and why that may be.
fn advise(hint: Option<&str>) {
    if let Some(hint) = hint {
        complain(&format!("zentral search: {hint}"));
    }
}

fn count(counts: &Counts, table: bool) -> Result<Exit, StageError> {
    pipe::write_stdout(counted(counts, table).as_bytes()).map_err(crate::stdout_error)?;
    warn(&counts.skipped);
    advise(counts.hint.as_deref());
    Ok(if counts.count > 0 { Exit::Done } else { Exit::No })
}

/// A line for each value or step of time. Together the counts are the total, so the values that are not named and the
/// events without the field have lines of their own, with `what`.
fn counted(counts: &Counts, table: bool) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str, shown: &str, count: u64| {
        let _ = if table {
            writeln!(text, "{count:>10}  {}", printable(shown))
        } else {
            writeln!(text, "{}", json!({name: value, "count": count}))
        };
    };
    for value in &counts.values {
        line("value", &value.value, &value.value, value.count);
    }
    for (what, shown, n) in [("other", "(other)", counts.other), ("missing", "(none)", counts.missing)] {
        if n > 0 {
            line("what", what, shown, n);
        }
    }
    for bucket in &counts.buckets {
        let time = bucket.time.to_string();
        line("time", &time, &time, bucket.count);
    }
    text
}

/// One event as people read it: when, where, what, which probes.
fn row(line: &str) -> String {
    let event: Value = serde_json::from_str(line).unwrap_or(Value::Null);
    let at = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    let machine = ["/machine/hostname", "/machine/serial_number", "/machine/hardware_uuid"];
    let machine = machine.iter().find_map(|p| event.pointer(p)?.as_str()).unwrap_or("-").to_owned();
    let probes: Vec<&str> = event
        .get("probes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|p| p.get("name")?.as_str())
        .collect();
    let what: String = event.get("payload").map(Value::to_string).unwrap_or_default().chars().take(160).collect();
    let time: String = at("/time").chars().take(19).collect();
    let probes = if probes.is_empty() { String::new() } else { format!(" [{}]", probes.join(" ")) };
    printable(&format!("{time}  {machine}  {}{probes}  {what}", at("/type"))) + "\n"
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn without_a_store_it_is_said_where_one_was_looked_for() {
        let none = client(&Config::empty(None)).err().map(|e| e.text);
        assert_eq!(none.as_deref(), Some(crate::up::NO_FILE));
        let mut config = Config::empty(None);
        config.file = Some("here/pipeline.toml".into());
        let told = client(&config).err().map(|e| e.text).unwrap_or_default();
        assert!(told.starts_with("here/pipeline.toml has no store"), "{told}");
    }

    #[test]
    fn counts_add_up_in_both_forms() {
        let counts = r#"{"count": 9, "values": [{"value": "a\nb", "count": 4}], "other": 3, "missing": 2}"#;
        let counts: Counts = serde_json::from_str(counts).unwrap();
        let lines: Vec<Value> = counted(&counts, false).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let want = [
            json!({"value": "a\nb", "count": 4}),
            json!({"what": "other", "count": 3}),
            json!({"what": "missing", "count": 2}),
        ];
        assert_eq!(lines, want);
        assert_eq!(counted(&counts, true), "         4  ab\n         3  (other)\n         2  (none)\n");
    }
}

//! What the programs of a webhook's table make of its events: which machine one is about, what it says, and when it was.

use std::collections::BTreeMap;
use std::time::Duration;

use event::{Event, Machine, Time, json};
use pipe::config::{Config, Finding, Settings};
use probe::{Limits, Program};
use serde_json::value::RawValue;

/// The kind of the sources that have programs.
const KIND: &str = sources::webhook::NAME;
/// The longest name of a machine.
const NAME_MAX: usize = 255;
/// Numbers above it are milliseconds.
const SECONDS_MAX: f64 = 99_999_999_999.0;

/// What one run may use: a body has up to 4 MiB.
fn limits() -> Limits {
    Limits { steps: 1_000_000, bytes: 64 << 20, outputs: 2, cpu: Duration::from_secs(1), ..Limits::default() }
}

/// The programs by the name of their table.
#[derive(Default)]
pub(crate) struct Programs(BTreeMap<String, Table>);

/// The programs of one table.
#[derive(Default)]
struct Table {
    machine: Option<Program>,
    payload: Option<Program>,
    time: Option<Program>,
}

/// Why an event is not made: a word for counters and a fragment for people.
pub(crate) type Why = (&'static str, String);

impl Programs {
    /// Compiles them; files of them are read through the configuration, so that `up` copies them.
    pub(crate) fn read(config: &Config) -> Result<Self, Vec<Finding>> {
        let (mut all, mut findings) = (BTreeMap::new(), Vec::new());
        for (name, settings) in config.sources.iter().filter(|(name, _)| config.source_kind(name) == KIND) {
            let mut table = settings.clone();
            let mut program =
                |key: &str| compile(config, &mut table, key).map_err(|found| findings.extend(found)).ok()?;
            let (machine, payload, time) = (program("machine"), program("payload"), program("time"));
            all.insert(name.clone(), Table { machine, payload, time });
            // The other keys are receive's to know.
            findings.extend(table.finish().into_iter().filter(|f| !f.text.starts_with("unknown key")));
        }
        if findings.is_empty() { Ok(Self(all)) } else { Err(findings) }
    }

    /// Runs those of this source over the event's payload. False: its payload program gave nothing, so there is no event.
    pub(crate) fn apply(&self, source: &str, event: &mut Event) -> Result<bool, Why> {
        let Some(table) = self.0.get(source) else { return Ok(true) };
        if table.machine.is_none() && table.payload.is_none() && table.time.is_none() {
            return Ok(true);
        }
        probe::with_stack(|| table.apply(event))
            .unwrap_or_else(|e| Err(("program", format!("no thread for the programs: {e}"))))
    }
}

impl Table {
    fn apply(&self, event: &mut Event) -> Result<bool, Why> {
        let input = probe::parse(event.payload.get().as_bytes()).map_err(|e| ("not_json", e.to_string()))?;
        let now = event.received.ms();
        let run = |key: &str, program: &Option<Program>| match program {
            None => Ok(None),
            Some(program) => one(program, &input, now).map(Some).map_err(|why| ("program", format!("{key}: {why}"))),
        };
        let odd = |key: &str, why: String| ("program", format!("{key}: {why}"));
        if let Some(Some(text)) = run("machine", &self.machine)? {
            event.machine = machine(&text).map_err(|why| odd("machine", why))?;
        }
        if let Some(Some(text)) = run("time", &self.time)? {
            let ms = time(&text).map_err(|why| odd("time", why))?;
            let (time, clock) = sources::believed(ms, event.received);
            event.time = time;
            if clock {
                event.tags.push("clock".to_owned());
            }
        }
        match run("payload", &self.payload)? {
            None => {}
            Some(None) => return Ok(false),
            Some(Some(text)) => {
                event.payload = RawValue::from_string(text).map_err(|e| odd("payload", e.to_string()))?;
            }
        }
        Ok(true)
    }
}

/// A program, or the file of one.
fn compile(config: &Config, table: &mut Settings, key: &str) -> Result<Option<Program>, Vec<Finding>> {
    let Some(text) = table.str(key) else { return Ok(None) };
    let path = text.ends_with(".jq").then(|| table.base().join(&text));
    let source = match &path {
        None => text.clone(),
        Some(path) => match config.text(path) {
            Ok(source) => source,
            Err(why) => {
                table.fail(key, format!("{}: {why}", path.display()));
                return Ok(None);
            }
        },
    };
    let name = path.as_ref().map_or_else(|| format!("source {}", table.name()), |path| path.display().to_string());
    let modules = |path: &str| config.module(path);
    probe::compile(&source, &name, &modules).map(Some).map_err(|error| {
        let place = |p: &probe::Problem| match &path {
            Some(path) => {
                table.within(key, "", 1, 1, format!("{}:{}:{}: {}", path.display(), p.line, p.column, p.message))
            }
            None => table.within(key, &source, p.line, p.column, p.message.clone()),
        };
        error.problems.iter().map(place).collect()
    })
}

/// The only output, as canonical JSON; none if there is none.
fn one(program: &Program, input: &probe::Val, now_ms: i64) -> Result<Option<String>, String> {
    let mut outputs = program.eval(input, now_ms, &limits()).map_err(|e| e.to_string())?.into_iter();
    match (outputs.next(), outputs.next()) {
        (only, None) => Ok(only),
        _ => Err("it gave more than one output".into()),
    }
}

/// A serial number, or the machine block of an event.
fn machine(text: &str) -> Result<Option<Machine>, String> {
    let mut machine = if let Some(serial) = json::parse_str(text.as_bytes()) {
        Machine { serial_number: Some(serial.into_owned()), ..Machine::default() }
    } else if text == "null" {
        return Ok(None);
    } else if text.starts_with('{') {
        serde_json::from_str(text).map_err(|e| format!("no machine: {e}"))?
    } else {
        return Err("no machine: neither a serial number nor an object such as {serial_number, hostname}".into());
    };
    for name in [
        &mut machine.serial_number,
        &mut machine.hardware_uuid,
        &mut machine.hostname,
        &mut machine.platform,
        &mut machine.os_version,
        &mut machine.unit,
        &mut machine.user,
    ] {
        *name = name.as_deref().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        if name.as_ref().is_some_and(|name| name.len() > NAME_MAX || name.chars().any(char::is_control)) {
            return Err(format!("no machine: a name of more than {NAME_MAX} bytes, or with control characters"));
        }
    }
    Ok(Some(machine).filter(|machine| *machine != Machine::default()))
}

/// Seconds or milliseconds since 1970, or a time as RFC 3339 writes it; null: it does not say.
fn time(text: &str) -> Result<Option<i64>, String> {
    if text == "null" {
        return Ok(None);
    }
    if let Some(said) = json::parse_str(text.as_bytes()) {
        return said.parse::<Time>().map(|time| Some(time.ms())).map_err(|_| format!("{said:?} is no time"));
    }
    let number = text.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(|| format!("{text:.40} is no time"))?;
    let ms = if number.abs() > SECONDS_MAX { number } else { number * 1000.0 };
    Ok(Some(ms as i64))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use event::Raw;
    use serde_json::{Value, json};
    use sources::Source as _;

    fn programs(text: &str) -> Result<Programs, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.toml");
        std::fs::write(dir.path().join("shape.jq"), "# a title\n{seen: .who}\n").unwrap();
        std::fs::write(&path, format!("version = 1\n[source.door]\nkind = \"webhook\"\n{text}")).unwrap();
        let config = Config::load(&path, None).unwrap().0;
        Programs::read(&config)
            .map_err(|all| all.iter().map(|f| format!("{}:{} {}: {}", f.line, f.column, f.key, f.text)).collect())
    }

    fn event(body: &Value) -> Event {
        let line = json!({"v": 1, "id": "x", "source": "door", "kind": "door_opened", "received": "2026-01-06T08:00:00Z",
            "machine": {}, "body": body});
        sources::webhook::SOURCE.translate(&Raw::parse(line.to_string().as_bytes()).unwrap()).unwrap().remove(0)
    }

    fn shaped(programs: &Programs, body: Value) -> Result<Event, Option<String>> {
        let mut event = event(&body);
        match programs.apply("door", &mut event) {
            Ok(true) => Ok(event),
            Ok(false) => Err(None),
            Err((reason, why)) => {
                assert_eq!(reason, "program");
                Err(Some(why))
            }
        }
    }

    #[test]
    fn programs_say_the_machine_the_payload_and_the_time() {
        let all = programs("machine = '.host'\npayload = 'select(.who) | {who}'\ntime = '.at'\n").unwrap();
        let made = shaped(&all, json!({"host": "C02", "who": "ada", "at": 1_767_686_395, "x": 1})).unwrap();
        assert_eq!(made.machine.unwrap().serial_number.as_deref(), Some("C02"));
        assert_eq!(
            (made.payload.get(), made.time.to_string().as_str()),
            ("{\"who\":\"ada\"}", "2026-01-06T07:59:55.000Z")
        );
        for (at, time, clock) in [
            (json!("2026-01-06T08:59:00+01:00"), "2026-01-06T07:59:00.000Z", false),
            (json!(1_767_686_395_250_i64), "2026-01-06T07:59:55.250Z", false),
            (json!(null), "2026-01-06T08:00:00.000Z", false),
            (json!(7), "2026-01-06T08:00:00.000Z", true),
        ] {
            let made = shaped(&all, json!({"who": 1, "at": at})).unwrap();
            assert_eq!(
                (made.time.to_string().as_str(), made.tags.contains(&"clock".to_owned())),
                (time, clock),
                "{at}"
            );
            assert_eq!(made.machine, None);
        }
        assert_eq!(shaped(&all, json!({"host": "C02"})).unwrap_err(), None, "nothing came of it");
        let all = programs(
            "machine = '{hostname: .h, unit: \"berlin\", tags: [\"a\"], serial_number: \" \"}'\npayload = 'shape.jq'\n",
        )
        .unwrap();
        let made = shaped(&all, json!({"h": "mac", "who": 7})).unwrap();
        let want = Machine {
            hostname: Some("mac".into()),
            unit: Some("berlin".into()),
            tags: vec!["a".into()],
            ..Machine::default()
        };
        assert_eq!((made.machine, made.payload.get()), (Some(want), "{\"seen\":7}"));
        let body = json!([1]);
        assert_eq!(shaped(&programs("").unwrap(), body.clone()).unwrap().payload.get(), event(&body).payload.get());
    }

    #[test]
    fn what_a_program_cannot_say_is_said() {
        let long = json!({"a": "x".repeat(300)});
        for (text, body, says) in [
            ("machine = '.a.b'", json!({"a": 1}), "machine: "),
            ("machine = '.a'", json!({"a": 1}), "neither a serial number"),
            ("machine = '.a'", json!({"a": {"serial_number": 7}}), "no machine"),
            ("machine = '.a'", long, "more than 255 bytes"),
            ("time = '.a'", json!({"a": "noon"}), "\"noon\" is no time"),
            ("time = '.a'", json!({"a": [1]}), "is no time"),
            ("payload = '.[]'", json!([1, 2]), "more than one output"),
            ("payload = '[limit(1e9; repeat(1))]'", json!([]), "payload: exceeded its limit"),
        ] {
            let why = shaped(&programs(text).unwrap(), body).unwrap_err().unwrap();
            assert!(why.contains(says), "{text}: {why}");
        }
    }

    #[test]
    fn a_program_that_is_none_is_a_finding_with_its_place() {
        let found = programs("machine = '.a | {'\npayload = 'there-is-none.jq'\ntime = 7\n").err().unwrap();
        for says in ["4:", "there-is-none.jq: ", "source.door.time: expected a string"] {
            assert!(found.iter().any(|f| f.contains(says)), "{says}: {found:?}");
        }
        assert_eq!(found.len(), 3, "{found:?}");
    }
}

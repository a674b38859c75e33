//! `act try`: one action once, marked as a test, without the ledger.

use event::{Event, ProbeMatch, Time, VERSION, id};
use pipe::config::Config;
use pipe::{Exit, StageError};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::actions::{Opening, Texts, Verdict};
use crate::call::Call;
use crate::conf::Configured;
use crate::jq::Jq;
use crate::lanes::attempt;
use crate::ledger::{Delivery, line_for};
use crate::told::Told;

/// What goes before the title, so that nobody takes it for real.
const MARK: &str = "[test] ";

/// Sends once to each target; what came of it, an object each, and the exit code: 0 done, 1 it will never work, 4 the
/// other side could not be reached. An action with `dry_run` shows what it would send. `line` is an event or a match; none: a sample.
pub fn run(config: &Config, texts: &Texts, name: &str, line: Option<&[u8]>) -> Result<(Exit, Vec<Value>), StageError> {
    let missing = || StageError::usage(format!("the configuration has no action `{name}`"));
    let settings = config.actions.get(name).ok_or_else(missing)?;
    let wrong = |found: Vec<pipe::config::Finding>| StageError::usage(pipe::config::render(&found));
    let configured = Configured::read(settings, config, texts).map_err(wrong)?;
    let threads = |e: std::io::Error| StageError::state(format!("cannot start threads: {e}"));
    let jq = Jq::start().map_err(threads)?;
    let registry = config.registry();
    let opening = Opening { jq: &jq, registry: &registry, dry_run: false };
    let ready = configured.open(opening).map_err(StageError::usage)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(threads)?;
    let event = match line {
        Some(line) => Event::parse(line).map_err(|why| StageError::usage(format!("not an event: {why}")))?,
        None => sample(),
    };
    let (event, line) = marked(event, name);
    let probe = event.probes.first().map_or("", |p| p.name.as_str());
    let nonce = getrandom::u64().unwrap_or(1).max(1);
    let (mut exit, mut all) = (Exit::Done, Vec::new());
    for target in ready.targets.clone() {
        let row = Delivery::new(&event, probe, name, &target, nonce);
        let (line, event, url) = (line.clone(), event.clone(), config.links());
        let call = Call { key: row.key, action: name.to_owned(), target, line, event, url, told: Told::plain() };
        let (answer, shown) = runtime.block_on(attempt(&ready, &call, ready.common.dry_run));
        let outcome = match answer.verdict {
            Verdict::Done => "done",
            Verdict::Later { .. } => "later",
            Verdict::Never => "dead",
        };
        exit = exit.max(match outcome {
            "done" => Exit::Done,
            "dead" => Exit::No,
            _ => Exit::Unreachable,
        });
        let mut told = call.head();
        if let Some(map) = told.as_object_mut() {
            map.insert("kind".into(), ready.kind.clone().into());
            map.insert("outcome".into(), outcome.into());
            if let Some(status) = answer.status {
                map.insert("status".into(), status.into());
            }
            if !answer.error.is_empty() {
                map.insert("error".into(), answer.error.into());
            }
            if ready.common.dry_run {
                map.insert("dry_run".into(), true.into());
            }
            if let Some(shown) = shown {
                map.insert("would_send".into(), shown);
            }
        }
        all.push(told);
    }
    Ok((exit, all))
}

/// The event with one probe whose title says that it is a test.
pub fn marked(mut event: Event, action: &str) -> (Event, Vec<u8>) {
    let probes = std::mem::take(&mut event.probes);
    let chosen = probes.iter().position(|p| p.act.iter().any(|a| a == action)).unwrap_or(0);
    let fallback = || ProbeMatch { name: "test".into(), severity: "info".into(), ..ProbeMatch::default() };
    let mut probe = probes.into_iter().nth(chosen).unwrap_or_else(fallback);
    event.tags.push("test".into());
    event.probes = vec![probe.clone()];
    let (key, target, line) = (String::new(), String::new(), Vec::new());
    let title =
        Call { key, target, line, action: action.to_owned(), event: event.clone(), url: None, told: Told::plain() }
            .title();
    let context = probe.context.as_ref().and_then(|c| serde_json::from_str::<Value>(c.get()).ok());
    let mut context = context.filter(Value::is_object).unwrap_or_else(|| json!({}));
    if let Some(map) = context.as_object_mut() {
        map.insert("title".into(), format!("{MARK}{title}").into());
    }
    probe.context = serde_json::value::to_raw_value(&context).ok();
    let line = line_for(&mut event, Some(probe));
    (event, line)
}

/// An event of nobody.
pub fn sample() -> Event {
    let now = Time::now();
    let payload = json!({
        "name": "usb_devices", "action": "added",
        "columns": {"vendor": "C-Media Electronics Inc.", "model": "USB Audio Device", "removable": "1"},
    });
    let machine = event::Machine {
        serial_number: Some("TEST00000000".into()),
        hostname: Some("test-machine".into()),
        platform: Some("macos".into()),
        ..event::Machine::default()
    };
    let entropy = getrandom::u64().unwrap_or(0).to_be_bytes();
    Event {
        v: VERSION,
        id: id::fresh_id(now, &entropy),
        type_: "osquery_result".into(),
        time: now,
        received: now,
        source: "osquery".into(),
        tags: vec!["osquery".into()],
        machine: Some(machine),
        request: None,
        objects: Vec::new(),
        cause: None,
        probes: Vec::new(),
        extra: serde_json::Map::new(),
        payload: serde_json::value::to_raw_value(&payload).unwrap_or_else(|_| RawValue::NULL.to_owned()),
    }
}

//! What sources tell of machines, as it comes (`tests/data/inventory/`), through the conversation of each source and the real
//! `normalize`: the events are those beside it.
//!
//! `ZENTRAL_UPDATE=1` writes them; look at every line of the difference.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use event::{Machine, Raw, Time};
use serde_json::{Value, json};
use sources::munki::{Check, Secret, Settings, State};
use sources::{Desk, Enrolment, Lines, MachineFacts, NoRoom, Request, Sink, Speaker, Unavailable};
use sources::{jamf, munki, pulled, sal, watchman};

/// When the first body came; each later one came 40 minutes after the one before.
const FIRST: &str = "2026-01-06T08:00:00Z";
const STEP_MS: i64 = 40 * 60_000;
const TABLES: &str = r#"version = 1
[unit.berlin]
tags = ["office"]
[unit.servers]
[source.jamf]
url = "https://jss.example.com"
client = { id = "6b1c", secret = "of-the-api-client" }
[source.sal]
url = "https://sal.example.com"
keys = { public = "public-k3y", private = "private-k3y" }
[source.watchman]
url = "https://watchman.example.com"
api_key = "api-k3y"
"#;

/// The body of an agent is answered as the hub would; what servers are asked for becomes lines as `pull` writes them.
fn lines(source: &str, number: i64, enrolled: &Machine, body: &str) -> Vec<u8> {
    let hub = Hub { machine: enrolled.clone(), known: RefCell::default(), lines: RefCell::default() };
    let received = Time::from_ms(FIRST.parse::<Time>().unwrap().ms() + (number - 1) * STEP_MS);
    let path = match source {
        "munki" => "/public/munki/post_job/",
        _ => "/public/osquery/log",
    };
    let request = Request {
        id: &format!("0b9c5d1e-0000-4000-8000-{number:012}"),
        received,
        method: "POST",
        route: sources::route(path).unwrap().1,
        parts: &[],
        query: None,
        headers: &(&[("authorization", "MunkiEnrolledMachine t")] as &[(&str, &str)]),
        encoding: None,
        ip: None,
        user_agent: None,
        inflated_max: 64 << 20,
    };
    if let "osquery" | "munki" = source {
        let speaks = sources::by_name(source).unwrap();
        let reply = speaks.answer(&request, &mut body.as_bytes(), &hub, &mut Topic(&hub));
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(reply.body.as_bytes()));
        return hub.lines.take();
    }
    let (told, units) =
        (serde_json::from_str::<Value>(body).unwrap(), BTreeMap::from([("Berlin HQ".into(), "berlin".into())]));
    let (kind, machine, ms, told) = match source {
        "santa" => ("preflight", enrolled.clone(), None, told),
        "jamf" => {
            let (machine, ms) = (jamf::inventory::machine(&told, &units), jamf::inventory::taken(&told));
            ("computer", machine, ms, json!({"url": "https://jss.example.com", "computer": told}))
        }
        "sal" => (pulled::MACHINE, sal::machine(&told, &units), sal::taken(&told), told),
        _ => (pulled::MACHINE, watchman::machine(&told, &units), watchman::taken(&told), told),
    };
    let mut out = Vec::new();
    event::json::canonical(told.to_string().as_bytes(), &mut out).unwrap();
    let mut lines = Lines::new(source, &request, &machine);
    lines.timed(kind, ms, &out);
    assert!(lines.flush(&mut Topic(&hub), true).is_ok());
    hub.lines.take()
}

/// The events of all bodies of a folder, and what `normalize` did not take.
fn events(folder: &Path) -> (String, String) {
    let read = |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let machine = folder.join("machine.json");
    let enrolled = if machine.exists() { serde_json::from_str(&read(machine)).unwrap() } else { Machine::default() };
    let mut bodies: Vec<(i64, String, PathBuf)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let (number, source) = path.file_stem()?.to_str()?.split_once('-')?;
            Some((number.parse().ok()?, source.to_owned(), path.clone()))
        })
        .collect();
    bodies.sort();
    assert!(bodies.len() > 1, "{}: one body makes no difference", folder.display());
    let dir = tempfile::tempdir().unwrap();
    let raw = bodies.into_iter().flat_map(|(number, source, path)| lines(&source, number, &enrolled, &read(path)));
    let raw: Vec<u8> = raw.collect();
    for line in raw.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        Raw::parse(line).unwrap();
    }
    fs::write(dir.path().join("raw.ndjson"), raw).unwrap();
    fs::write(dir.path().join("pipeline.toml"), TABLES).unwrap();
    let mut normalize = Command::new(env!("CARGO_BIN_EXE_zentral"));
    normalize.current_dir(dir.path()).arg("--data").arg(dir.path().join("data")).arg("normalize");
    let out = normalize.stdin(fs::File::open(dir.path().join("raw.ndjson")).unwrap()).stderr(Stdio::piped()).output();
    let out = out.unwrap();
    (String::from_utf8(out.stdout).unwrap(), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn what_is_told_of_machines_becomes_the_events_beside_it() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/inventory");
    let folders = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.is_dir() && !path.ends_with("LICENCES"));
    let (mut seen, mut odd) = (0, Vec::new());
    for folder in folders {
        seen += 1;
        let (events, log) = events(&folder);
        assert!(!log.contains("refused") && !log.contains("ERROR"), "{}: {log}", folder.display());
        let beside = folder.with_extension("expected.ndjson");
        if std::env::var_os("ZENTRAL_UPDATE").is_some() {
            fs::write(&beside, events).unwrap();
        } else if fs::read_to_string(&beside).unwrap_or_default() != events {
            let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inventory");
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(beside.file_name().unwrap()), events).unwrap();
            odd.push(format!("diff {} {}", beside.display(), dir.join(beside.file_name().unwrap()).display()));
        }
    }
    assert!(seen >= 10, "{seen} folders");
    assert!(odd.is_empty(), "not the events that are expected (ZENTRAL_UPDATE=1 writes them):\n{}", odd.join("\n"));
}

/// A hub that knows one machine, by whatever it says.
struct Hub {
    machine: Machine,
    known: RefCell<Option<State>>,
    lines: RefCell<Vec<u8>>,
}

impl Desk for Hub {
    fn enrol(&self, _: &'static str, _: &str, _: &MachineFacts) -> Enrolment {
        Enrolment::Unavailable
    }

    fn speaker(&self, _: &'static str, _: &str) -> Speaker {
        Speaker::Known(self.machine.clone())
    }

    fn osquery_config(&self, _: &Machine) -> Result<Arc<[u8]>, Unavailable> {
        Err(Unavailable)
    }

    fn heard(&self, _: &'static str, _: &Machine, _: &'static str) -> bool {
        false
    }

    fn munki(&self) -> Option<&dyn munki::Desk> {
        Some(self)
    }
}

impl munki::Desk for Hub {
    fn secret(&self, _: &str) -> Secret {
        Secret::Refused("secret_bad")
    }

    fn settings(&self) -> &Settings {
        static SETTINGS: std::sync::LazyLock<Settings> = std::sync::LazyLock::new(Settings::default);
        &SETTINGS
    }

    fn checks(&self, _: &Machine) -> Vec<&Check> {
        Vec::new()
    }

    fn state(&self, _: &str) -> Result<Option<State>, Unavailable> {
        Ok(self.known.borrow().clone())
    }

    fn keep(&self, _: &str, state: &State) -> Result<(), Unavailable> {
        *self.known.borrow_mut() = Some(state.clone());
        Ok(())
    }

    fn alone(&self, _: &str) -> Option<Box<dyn Any>> {
        Some(Box::new(()))
    }
}

struct Topic<'a>(&'a Hub);

impl Sink for Topic<'_> {
    fn lines(&mut self, lines: Vec<u8>, _: usize) -> Result<(), NoRoom> {
        self.0.lines.borrow_mut().extend_from_slice(&lines);
        Ok(())
    }
}

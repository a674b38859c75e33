//! Secrets stay where they are: every kind of action that has any is used in one run of the real programs, with a
//! receiver that takes, one that says no and repeats all it heard, and one that is not there. No log, error, outcome,
//! topic, file, command, metric or process list holds a secret, in any form in which it is sent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

#[path = "../bins/act/tests/fakes/mod.rs"]
mod fakes;
mod support;
#[path = "secrets/table.rs"]
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use fakes::Fake;
use serde_json::{Value, json};
use support::agent::Agent;
use support::hub::Hub;
use table::{Parrot, Row};

/// What a program of ours is given by name.
const GIVEN: &str = "word-for-the-program";
/// Nobody listens there.
const DOWN: &str = "127.0.0.1:1";
/// Prints what it was given, says it on stderr, and ends as it is told.
const PROGRAM: &str = "env >\"exec-$1.env\"\ncat >/dev/null\nsleep 0.3\necho \"given $S_EXEC\" >&2\nexit \"$2\"\n";

/// Secrets by the variable that holds them, and all the forms in which they may be said.
#[derive(Default)]
struct Secrets {
    values: BTreeMap<String, String>,
    forms: BTreeSet<String>,
}

impl Secrets {
    fn add(&mut self, name: &str, secret: &str, login: &str) {
        self.values.insert(name.to_owned(), secret.to_owned());
        self.forms.extend(table::forms(secret, login));
    }

    /// The keys with the secrets looked up in the environment.
    fn hide(&mut self, row: &Row, url: &str) -> String {
        let (mut out, whole) = (String::new(), row.keys.replace("{url}", url));
        let mut rest = whole.as_str();
        while let Some((before, after)) = rest.split_once("<<") {
            let (secret, after) = after.split_once(">>").unwrap();
            let name = format!("S_{}", self.values.len());
            self.add(&name, secret, row.login);
            out += &format!("{before}{{ env = \"{name}\" }}");
            rest = after;
        }
        out + rest
    }

    /// Those that stand in a text.
    fn held(&self, text: &[u8]) -> Vec<&str> {
        // The account at Twilio is no secret, and the keys of two other fakes are part of it.
        let text = String::from_utf8_lossy(text).replace(fakes::twilio::ACCOUNT, "ACCOUNT");
        let text = text.as_bytes();
        let held = |form: &&String| match form.as_bytes() {
            // Digits alone stand in other numbers too.
            pin if pin.iter().all(u8::is_ascii_digit) => alone(text, pin),
            form => memchr::memmem::find(text, form).is_some(),
        };
        self.forms.iter().filter(held).map(String::as_str).collect()
    }
}

fn alone(text: &[u8], word: &[u8]) -> bool {
    let part = |at: Option<&u8>| at.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    memchr::memmem::find_iter(text, word)
        .any(|at| !part(at.checked_sub(1).and_then(|at| text.get(at))) && !part(text.get(at + word.len())))
}

/// Every file below a folder.
fn files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files(&entry.path(), all);
        } else if kind.is_file() {
            all.push(entry.path());
        }
    }
}

/// Looks at the processes of the hub until it is told to stop: what stands in command lines, and what the programs that
/// it started were given.
fn watch(own: PathBuf, secrets: Arc<Secrets>, stop: Arc<AtomicBool>) -> JoinHandle<(Vec<String>, usize)> {
    std::thread::spawn(move || {
        let (mut told, mut foreign) = (BTreeSet::new(), BTreeSet::new());
        while !stop.load(Ordering::Relaxed) {
            for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
                let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
                // Other tests run hubs with the same secrets.
                let Some(itself) = below(pid, &own) else { continue };
                let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
                let words = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
                told.extend(secrets.held(words.as_bytes()).into_iter().map(|held| format!("{held} in `{words}`")));
                // What is ours has them by name, as the configuration says.
                if !itself {
                    foreign.insert(pid);
                    let environ = read("environ");
                    let odd = secrets.held(&environ).into_iter().filter(|held| *held != GIVEN);
                    told.extend(odd.map(|held| format!("{held} in the environment of `{words}`")));
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        (told.into_iter().collect(), foreign.len())
    })
}

/// Whether this process runs the program itself; none: nor does any process above it.
fn below(pid: u32, own: &Path) -> Option<bool> {
    let runs = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == own);
    if runs(pid) {
        return Some(true);
    }
    let mut above = pid;
    while above > 1 {
        let stat = std::fs::read_to_string(format!("/proc/{above}/stat")).ok()?;
        above = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
        if runs(above) {
            return Some(false);
        }
    }
    None
}

/// The configuration, and the names of actions that work and of those that do not.
fn actions(secrets: &mut Secrets) -> (String, Vec<String>, Vec<String>) {
    let (mut text, mut good, mut bad) = (String::new(), Vec::new(), Vec::new());
    for (n, row) in table::rows().iter().enumerate() {
        let mail = row.kind == "email";
        let scheme = if mail { "smtp" } else { "http" };
        let no = if mail { table::bad_mail() } else { Fake::start(Parrot::default(), vec![]).url };
        for (how, url) in [("good", row.good.clone()), ("bad", no), ("down", format!("{scheme}://{DOWN}"))] {
            let name = format!("{}-{n}-{how}", row.kind);
            let keys = secrets.hide(row, &url);
            text += &format!(
                "\n[action.{name}]\nkind = \"{}\"\nrate = \"1000/s\"\ntimeout = \"5s\"\ngive_up = \"6s\"\n{keys}",
                row.kind
            );
            if how == "good" { good.push(name) } else { bad.push(name) }
        }
    }
    for (how, code) in [("good", 0), ("bad", 1)] {
        let run = format!("[\"/bin/sh\", \"program.sh\", \"{how}\", \"{code}\"]");
        text += &format!("\n[action.exec-{how}]\nkind = \"exec\"\nrun = {run}\nenv = [\"S_EXEC\"]\n");
        if how == "good" { good.push("exec-good".to_owned()) } else { bad.push("exec-bad".to_owned()) }
    }
    secrets.add("S_EXEC", GIVEN, "");
    let contact = fakes::pushover::USERS[0];
    secrets.add("S_PUSH", contact, "");
    text += "\n[contact.ada]\npush = { env = \"S_PUSH\" }\n";
    let all: Vec<&String> = good.iter().chain(&bad).collect();
    text += &format!(
        "\n[probe.state]\nfilter = '.payload.columns.marker == \"on\"'\nuntil = '.payload.columns.marker == \"over\"'\nact = {}\n",
        json!(all)
    );
    (text, good, bad)
}

fn record(marker: &str) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    json!({"name": "t", "hostIdentifier": "h", "unixTime": now, "counter": 3, "action": "added", "columns": {"marker": marker}})
}

/// Every kind is in the table, and each secret key of each preset is used there.
#[test]
fn the_table_is_whole() {
    let rows = table::rows();
    let kinds: BTreeSet<&str> = rows.iter().map(|row| row.kind).chain(table::WITHOUT).chain(["exec"]).collect();
    let known: BTreeSet<&str> = act::actions::ALL.iter().map(|kind| kind.name).chain(act::preset::names()).collect();
    assert_eq!(kinds, known);
    let presets = Path::new(env!("CARGO_MANIFEST_DIR")).join("bins/act/presets");
    for entry in std::fs::read_dir(presets).unwrap().map(Result::unwrap) {
        let name = entry.path().file_stem().unwrap().to_string_lossy().into_owned();
        let preset: toml::Table = std::fs::read_to_string(entry.path()).unwrap().parse().unwrap();
        let keys = preset.get("keys").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        for (key, _) in keys.iter().filter(|(_, what)| what["kind"].as_str() == Some("secret")) {
            let used = rows.iter().any(|row| row.kind == name && row.keys.contains(&format!("{key} = <<")));
            assert!(used, "{name}: no secret `{key}`");
        }
    }
}

#[test]
fn no_secret_is_told() {
    let mut secrets = Secrets::default();
    let (text, good, bad) = actions(&mut secrets);
    let mut hub = Hub::new(&text);
    for (name, secret) in &secrets.values {
        hub.env(name, secret);
    }
    hub.env("ZENTRAL_LOG", "debug");
    std::fs::write(hub.path("program.sh"), PROGRAM).unwrap();
    let enrolment = hub.secret();
    secrets.forms.insert(enrolment.clone());
    let secrets = Arc::new(secrets);
    let stop = Arc::new(AtomicBool::new(false));
    let watching = watch(std::fs::canonicalize(hub.path("bin/zentral")).unwrap(), secrets.clone(), stop.clone());
    let said = Mutex::new(Vec::<(String, Vec<u8>)>::new());
    let keep = |what: &str, text: Vec<u8>| said.lock().unwrap().push((what.to_owned(), text));

    let mut agent = Agent::new(&hub.ca(), hub.port, &enrolment, "C02X00002");
    hub.start();
    hub.wait("the hub to answer", 60, || agent.enrol().is_ok());
    assert!(agent.log(&[record("on")]).unwrap());
    let told = |state: &str| -> BTreeMap<String, String> {
        let out = hub.ok(&["cat", "outcomes"]);
        let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of = lines.filter(|line| line["payload"]["state"] == state);
        of.map(|line| {
            let word = |key: &str| line["payload"][key].as_str().unwrap_or_default().to_owned();
            (word("action"), format!("{} {}", word("outcome"), word("error")))
        })
        .collect()
    };
    let all = good.len() + bad.len();
    let wait = |state: &str| {
        let why = || format!("{} of {all} {state}: {:#?}", told(state).len(), told(state));
        support::hub::wait_for("every action to be told", Duration::from_secs(90), why, || told(state).len() == all);
    };
    wait("opened");
    assert!(agent.log(&[record("over")]).unwrap());
    wait("closed");
    let opened = told("opened");
    for name in &good {
        assert!(opened[name].starts_with("done"), "{name}: {}", opened[name]);
    }
    for name in &bad {
        assert!(opened[name].starts_with("dead"), "{name}: {}", opened[name]);
    }

    let words = |words: &[&str], input: &str| {
        let out = hub.feed(words, input.as_bytes());
        assert!(!out.stdout.is_empty() || !out.stderr.is_empty() || words == ["check"], "{words:?} says nothing");
        keep(&format!("stdout of {words:?}"), out.stdout);
        keep(&format!("stderr of {words:?}"), out.stderr);
    };
    let matches = hub.ok(&["cat", "matches"]);
    let first = matches.lines().next().unwrap().to_owned();
    let id = serde_json::from_str::<Value>(&first).unwrap()["id"].as_str().unwrap().to_owned();
    for list in [
        &["check"][..],
        &["check", "--online"],
        &["status"],
        &["status", "--json"],
        &["act", "dead"],
        &["act", "incidents", "--all"],
        &["explain", &id],
        &["plan"],
        &["search", "*", "-n", "0", "--json"],
        &["machine", "show", "C02X00002"],
        &["cat", "raw"],
        &["cat", "normalized"],
        &["cat", "events"],
        &["cat", "matches"],
        &["cat", "outcomes"],
    ] {
        words(list, "");
    }
    let all: Vec<&str> = good.iter().chain(&bad).map(String::as_str).collect();
    words(&[&["act", "--dry-run", "--no-ledger"], &all[..]].concat(), &matches);
    for name in &all {
        words(&["act", "try", name], &first);
    }
    let mut sockets = 0;
    for entry in std::fs::read_dir(hub.path("data/run")).unwrap().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|end| end == "sock") {
            for path in ["/metrics", "/status", "/healthz"] {
                let answer = pipe::ops::get(&entry.path(), path, Duration::from_secs(5));
                sockets += usize::from(answer.is_ok());
                keep(&format!("{path} of {:?}", entry.file_name()), answer.map(|(_, body)| body).unwrap_or_default());
            }
        }
    }
    assert!(sockets > 4, "no metrics");
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
    stop.store(true, Ordering::Relaxed);
    let (odd, foreign) = watching.join().unwrap();
    assert!(foreign > 0, "the programs that the hub started were not seen");
    assert!(odd.is_empty(), "{odd:#?}");

    for how in ["good", "bad"] {
        let env = std::fs::read(hub.path(&format!("exec-{how}.env"))).unwrap();
        assert_eq!(secrets.held(&env), [GIVEN], "what the program was given");
        std::fs::remove_file(hub.path(&format!("exec-{how}.env"))).unwrap();
    }
    let mut paths = Vec::new();
    files(hub.dir.path(), &mut paths);
    paths.retain(|path| !path.starts_with(hub.path("bin")));
    assert!(paths.iter().any(|path| path.ends_with("data/state/act.db")), "{paths:?}");
    for path in paths {
        keep(&path.display().to_string(), std::fs::read(&path).unwrap());
    }
    let said = said.into_inner().unwrap();
    let told: Vec<String> = said
        .iter()
        .flat_map(|(what, text)| secrets.held(text).into_iter().map(move |held| format!("{held} in {what}")))
        .collect();
    assert!(told.is_empty(), "{told:#?}");
    eprintln!("{} forms of {} secrets in none of {} texts", secrets.forms.len(), secrets.values.len(), said.len());
}

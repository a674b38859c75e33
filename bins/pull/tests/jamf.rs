//! The real program against a Jamf server that checks what it is asked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests may panic"
)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use event::Raw;
use pipe::fs::RealFs;
use pipe::topic::{Kept, Options, TopicWriter};
use serde_json::json;
use support::{Jamf, Manner};
use tempfile::TempDir;

const SECRET: &str = "s3cret of+the-client";

fn hub(url: &str, more: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "version = 1\n[unit.berlin]\n[source.jamf-prod]\nkind = \"jamf\"\nurl = \"{url}\"\n\
         client = {{ id = \"6b1c\", secret = {{ env = \"JAMF_SECRET\" }} }}\nunits = {{ \"Berlin HQ\" = \"berlin\" }}\n{more}"
    );
    std::fs::write(dir.path().join("pipeline.toml"), text).unwrap();
    dir
}

fn pull(dir: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pull"));
    command.arg("--config").arg(dir.path().join("pipeline.toml")).args(["--log", "debug", "--color", "never"]);
    command.args(args).env("JAMF_SECRET", SECRET).stdin(Stdio::null());
    command
}

fn now(dir: &TempDir, args: &[&str]) -> (Output, Vec<Raw>, String) {
    let out = pull(dir, &[&["jamf-prod"], args].concat()).output().unwrap();
    let log = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!log.contains(SECRET) && !log.contains("s3cret") && !log.contains("token-"), "{log}");
    let lines = out.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| Raw::parse(l).unwrap()).collect();
    (out, lines, log)
}

#[test]
fn all_computers_are_told_although_tokens_end_and_the_server_is_busy() {
    let jamf = Jamf::start(Manner { token_uses: 60, busy_every: 40, ..Manner::default() }, 250);
    let dir = hub(&jamf.url, "");
    let (out, lines, log) = now(&dir, &["--now"]);
    assert_eq!(out.status.code(), Some(0), "{log}");
    let serials: BTreeSet<&str> = lines.iter().filter_map(|raw| raw.machine.serial_number.as_deref()).collect();
    assert_eq!((lines.len(), serials.len()), (250, 250));
    let ids: BTreeSet<&str> = lines.iter().map(|raw| raw.id.as_str()).collect();
    assert_eq!(ids.len(), 250);
    for raw in &lines {
        assert_eq!((raw.source.as_str(), raw.kind.as_str()), ("jamf-prod", "computer"));
        assert_eq!(raw.machine.unit.as_deref(), Some("berlin"));
        assert_eq!(raw.machine.groups.len(), 2);
        let snapshot = sources::by_name("jamf").unwrap().snapshot(raw).unwrap().unwrap();
        assert!(snapshot.parts["osx_app"].len() == 54 || snapshot.parts["osx_app"].len() == 1);
    }
    let seen = jamf.seen.lock().unwrap();
    assert!((2..=5).contains(&seen.most_at_a_time), "{}", seen.most_at_a_time);
    assert!(seen.tokens.len() >= 5 && seen.busy >= 6, "{} tokens, busy {}", seen.tokens.len(), seen.busy);
    assert_eq!(seen.count("computers-inventory?page=2&"), 1);
    assert_eq!(seen.count("page=3&"), 0);
    drop(seen);
    let (_, again, _) = now(&dir, &["--now"]);
    let again: BTreeSet<&str> = again.iter().map(|raw| raw.id.as_str()).collect();
    assert_eq!(ids, again, "what has not changed has the same id");
}

#[test]
fn one_computer_is_told_by_its_serial_number() {
    let jamf = Jamf::start(Manner { old: true, ..Manner::default() }, 30);
    let dir = hub(&jamf.url, "");
    let (out, lines, log) = now(&dir, &["--machine", "C02X00007"]);
    assert_eq!((out.status.code(), lines.len()), (Some(0), 1), "{log}");
    assert_eq!(lines[0].machine.serial_number.as_deref(), Some("C02X00007"));
    assert_eq!(jamf.seen.lock().unwrap().count("GET"), 1);
    let (out, lines, log) = now(&dir, &["--machine", "nobody"]);
    assert_eq!((out.status.code(), lines.len()), (Some(2), 0), "{log}");
    let (out, lines, log) = now(&dir, &["--now"]);
    assert_eq!((out.status.code(), lines.len()), (Some(0), 30), "an old server: {log}");
}

#[test]
fn what_a_server_must_not_do_ends_it() {
    let endless = Jamf::start(Manner { endless: true, ..Manner::default() }, 150);
    let (out, lines, log) = now(&hub(&endless.url, ""), &["--now"]);
    assert_eq!((out.status.code(), lines.len()), (Some(4), 0), "{log}");
    assert!(log.contains("one that was there before"), "{log}");
    assert!(endless.seen.lock().unwrap().requests.len() < 10);

    let trap = Jamf::start(Manner::default(), 1);
    let away = Jamf::start(Manner { elsewhere: Some(trap.url.clone()), ..Manner::default() }, 1);
    let (out, _, log) = now(&hub(&away.url, ""), &["--now"]);
    assert_eq!(out.status.code(), Some(4), "{log}");
    assert!(trap.seen.lock().unwrap().requests.is_empty(), "the token went elsewhere");
}

#[test]
fn whoever_is_not_let_in_says_so_and_does_not_insist() {
    let jamf = Jamf::start(Manner::default(), 3);
    let dir = hub(&jamf.url, "");
    let out = pull(&dir, &["jamf-prod", "--now"]).env("JAMF_SECRET", "another-secret").output().unwrap();
    let log = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(4), "{log}");
    assert!(log.contains("answers 401") && !log.contains("another-secret"), "{log}");
    assert_eq!(jamf.seen.lock().unwrap().requests.len(), 1);
    let out = pull(&dir, &["jamf-prod", "--now"]).env_remove("JAMF_SECRET").output().unwrap();
    let log = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{log}");
    assert!(log.contains("JAMF_SECRET is not set"), "{log}");
    for (name, says) in [("nobody", "no source `nobody`"), ("door", "nobody can be asked for")] {
        let dir = hub(&jamf.url, "[source.door]\nkind = \"webhook\"\ntype = \"x\"\nbearer = \"12345678\"\n");
        let out = pull(&dir, &[name, "--now"]).output().unwrap();
        let log = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(2) && log.contains(says), "{log}");
    }
}

#[test]
fn webhooks_are_made_once_and_removed() {
    let jamf = Jamf::start(Manner { token_uses: 7, ..Manner::default() }, 0);
    let dir = hub(&jamf.url, "webhook = { secret = \"of<the>webhooks\" }\n");
    let path = dir.path().join("pipeline.toml");
    let text = std::fs::read_to_string(&path).unwrap().replace("{ env = \"JAMF_SECRET\" }", &format!("\"{SECRET}\""));
    std::fs::write(&path, text.replace("version = 1\n", "version = 1\nurl = \"https://hub.example.com/\"\n")).unwrap();
    let config = pipe::config::Config::load(&path, None).unwrap().0;
    jamf.seen.lock().unwrap().webhooks.insert(1, "<webhook><name>of somebody else</name></webhook>".into());
    for _ in 0..2 {
        pull::setup(&config, "jamf-prod", false).unwrap();
        let seen = jamf.seen.lock().unwrap();
        assert_eq!(seen.webhooks.len(), 21);
        let xml = seen.webhooks.values().find(|xml| xml.contains("<event>ComputerInventoryCompleted</event>")).unwrap();
        for part in [
            "<url>https://hub.example.com/jamf/post_event/</url>",
            "<authentication_type>BASIC</authentication_type>",
            "<password>of&lt;the&gt;webhooks</password>",
        ] {
            assert!(xml.contains(part), "{xml}");
        }
    }
    pull::setup(&config, "jamf-prod", true).unwrap();
    assert_eq!(jamf.seen.lock().unwrap().webhooks.keys().copied().collect::<Vec<_>>(), [1], "somebody else's stays");
}

/// A pipeline's stage: a topic of webhooks in, a topic of records out.
struct Stage {
    dir: TempDir,
    child: Option<Child>,
}

const STAGES: &str = "every = \"6h\"\n[stage.receive]\nlisten = \"127.0.0.1:0\"\ntls = { cert = \"a\", key = \"b\" }\nto = \"topic:raw\"\n\
    [stage.jamf]\nrun = \"pull jamf-prod\"\nfrom = \"topic:raw\"\nto = \"topic:pulled\"\n\
    [stage.normalize]\nfrom = [\"topic:raw\", \"topic:pulled\"]\nto = \"topic:events\"\n";

impl Stage {
    fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        self.child = Some(pull(&self.dir, &["--stage", "jamf"]).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn webhook(&self, source: &str, what: &str, id: u64) {
        let line = json!({"v": 1, "id": "x", "source": source, "kind": "webhook", "received": "2026-01-01T00:00:00Z",
            "machine": {}, "body": {"webhook": {"webhookEvent": what}, "event": {"jssID": id}}});
        let dir = self.dir.path().join("data/topics/raw");
        let mut raw = TopicWriter::open(RealFs::shared(), &dir, Kept::WholeLines, Options::default()).unwrap();
        raw.append(format!("{line}\n").as_bytes(), 1).unwrap();
        raw.sync().unwrap();
        raw.publish().unwrap();
    }

    fn told(&self) -> Vec<String> {
        let dir = self.dir.path().join("data/topics/pulled");
        let Ok(all) = std::fs::read_dir(&dir) else { return Vec::new() };
        let mut names: Vec<_> = all.map(|e| e.unwrap().path()).collect();
        names.retain(|path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "ndjson"));
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        let text: String = names.iter().map(|path| read(path)).collect();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| Raw::parse(line.trim_end().as_bytes()).unwrap().machine.serial_number.unwrap()).collect()
    }

    fn wait(&self, lines: usize) {
        let begun = Instant::now();
        while self.told().len() < lines {
            let log = || std::fs::read_to_string(self.dir.path().join("log")).unwrap();
            assert!(begun.elapsed() < Duration::from_secs(30), "{} of {lines}\n{}", self.told().len(), log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

#[test]
fn a_webhook_brings_its_computer_at_once_and_nothing_is_asked_twice_after_a_kill() {
    let jamf = Jamf::start(Manner::default(), 20);
    let mut stage = Stage { dir: hub(&jamf.url, STAGES), child: None };
    stage.webhook("another", "ComputerAdded", 3);
    stage.start();
    stage.wait(20);
    stage.webhook("jamf-prod", "ComputerCheckIn", 4); // known: nothing new
    stage.webhook("another", "ComputerInventoryCompleted", 5);
    stage.webhook("jamf-prod", "ComputerInventoryCompleted", 7);
    stage.wait(21);
    assert_eq!(stage.told().last().unwrap(), "C02X00007");
    stage.kill();
    let mut computer = jamf.computers.lock().unwrap()[&1].clone();
    computer["general"]["serial_number"] = "C02NEW".into();
    jamf.computers.lock().unwrap().insert(99, computer);
    stage.webhook("jamf-prod", "ComputerCheckIn", 99); // nobody knows it yet
    stage.start();
    stage.wait(22);
    assert_eq!(stage.told().last().unwrap(), "C02NEW");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(stage.told().len(), 22, "all of them were told before the kill");
    assert_eq!(
        jamf.seen.lock().unwrap().count("computers-inventory?page=0"),
        3,
        "versions 4, 3 and 2 were tried, once"
    );
}

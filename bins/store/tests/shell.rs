//! The program `store` at a shell: events in on stdin, an index behind, the exit code says how it went.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs, reason = "tests may panic")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use event::Time;
use registry::changes;
use registry::db::Db;
use store::client::{Client, Question};

fn run(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_store"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn line(id: &str, time: &str, kind: &str) -> String {
    format!("{{\"id\":\"{id}\",\"type\":\"{kind}\",\"time\":\"{time}\",\"received\":\"{time}\",\"payload\":{{}}}}\n")
}

fn count(dir: &Path, query: &str) -> u64 {
    let question = Question { query: query.into(), ..Question::default() };
    Client::new(None, Some(dir)).count(&question).unwrap().count
}

#[test]
fn stores_reports_bad_lines_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let now = Time::now().to_string();
    let good = line("a", &now, "x") + &line("b", &now, "osquery_status") + &line("c", &now, "x");
    let keep = ["--kind", "embedded", "--set", "path=events", "--set", "exclude=.type == \"osquery_status\""];
    let done = run(dir.path(), &keep, &good);
    assert_eq!((done.status.code(), done.stdout.len()), (Some(0), 0), "{done:?}");
    assert_eq!(count(&dir.path().join("events"), ""), 2);

    let bad = line("d", &now, "x") + "nonsense\n" + &line("e", "1999-01-01T00:00:00Z", "x") + &line("a", &now, "y");
    let done = run(dir.path(), &keep, &bad);
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(3), "{said}");
    assert!(said.contains("line 2: not an event") && said.contains("line 3: older"), "{said}");
    assert_eq!((count(&dir.path().join("events"), ""), count(&dir.path().join("events"), "type:y")), (3, 1));
}

#[test]
fn who_was_forgotten_does_not_come_back_by_late_lines() {
    let dir = tempfile::tempdir().unwrap();
    let start = Time::now().ms() - 60_000;
    let at = |second: i64| Time::from_ms(start + second * 1000);
    let about = |id: &str, serial: &str, received: i64| {
        let (time, machine) = (at(received), format!("{{\"serial_number\":\"{serial}\"}}"));
        let head = format!("{{\"id\":\"{id}\",\"type\":\"x\",\"time\":\"{time}\",\"received\":\"{time}\"");
        format!("{head},\"machine\":{machine},\"payload\":{{}}}}\n")
    };
    let hidden = dir.path().join("hidden");
    std::fs::create_dir(&hidden).unwrap();
    let mut db = Db::open(&hidden.join("registry.db"), &[changes::SCHEMA]).unwrap();
    let mut tx = db.begin().unwrap();
    let machine = event::Machine { serial_number: Some("C02".into()), ..event::Machine::default() };
    changes::say(&mut tx, changes::FORGOTTEN, machine, &().into(), at(10)).unwrap();
    tx.commit().unwrap();
    let order = String::from_utf8(changes::since(&db, 0, 1).unwrap().remove(0).1).unwrap();
    let left = || {
        let all = ["a", "b", "c", "d", "e", "f"];
        let has = |id: &&str| Client::new(None, Some(&dir.path().join("data/index"))).event(id).unwrap().is_some();
        all.into_iter().filter(has).collect::<String>()
    };
    let stored = |input: &str| {
        let done = run(dir.path(), &["--kind", "embedded"], input);
        assert_eq!(done.status.code(), Some(0), "{done:?}");
    };
    // Before the registry is there, and by the line alone.
    drop(db);
    stored(&(about("a", "C02", 5) + &about("b", "C02", 20)));
    assert_eq!(left(), "ab");
    stored(&(about("f", "C03", 5) + &order + "\n" + &about("c", "C02", 10) + &about("d", "C02", 30)));
    assert_eq!(left(), "bdf", "what was received after it is about one that came back");
    assert_eq!(count(&dir.path().join("data/index"), "type:machine_forgotten"), 1);
    for file in std::fs::read_dir(&hidden).unwrap().map(Result::unwrap) {
        std::fs::rename(file.path(), dir.path().join("data").join(file.file_name())).unwrap();
    }
    stored(&about("e", "c02", 9));
    assert_eq!(left(), "bdf", "a process that has not read the line knows too");
}

#[test]
fn recorded_lines_are_judged_by_their_own_clock() {
    let dir = tempfile::tempdir().unwrap();
    let old = line("a", "2019-05-01T00:00:00Z", "x")
        + &line("b", "2019-04-01T00:00:00Z", "x")
        + &line("c", "2019-02-01T00:00:00Z", "x");
    let done = run(dir.path(), &["--kind", "embedded", "--recorded", "--set", "keep=60d"], &old);
    assert_eq!(done.status.code(), Some(3), "{done:?}");
    assert_eq!(count(&dir.path().join("data/index"), ""), 2);
}

#[test]
fn wrong_usage_is_said() {
    let dir = tempfile::tempdir().unwrap();
    for (args, what) in [
        (&["--kind", "papyrus"][..], "papyrus"),
        (&["nobody"], "no store `nobody`"),
        (&["setup", "nobody"], "no store `nobody`"),
        (&["nobody", "else"], "what is `else`"),
        (&[], "--kind"),
        (&["--kind", "embedded", "--set", "kep=1d"], "kep"),
        (&["--kind", "embedded", "--set", "keep"], "KEY=VALUE"),
        (&["--kind", "embedded", "--set", "exclude=.a |"], "exclude"),
    ] {
        let done = run(dir.path(), args, "");
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(what), "{args:?}: {said}");
    }
}

#[test]
fn killed_at_any_moment_and_fed_again_holds_each_event_once() {
    let dir = tempfile::tempdir().unwrap();
    let now = Time::now();
    // Over five days, so that more days are written than are open at a time.
    let lines: Vec<String> = (0..3000)
        .map(|i| line(&format!("n{i}"), &Time::from_ms(now.ms() - i % 5 * 86_400_000).to_string(), "x"))
        .collect();
    for pause in [5, 20, 40, 80, 120, 200, 300] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_store"))
            .args(["--kind", "embedded", "--set", "path=events"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let chunks: Vec<String> = lines.chunks(300).map(|c| c.concat()).collect();
        let feeding = std::thread::spawn(move || {
            for chunk in chunks {
                if stdin.write_all(chunk.as_bytes()).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().unwrap();
        child.wait().unwrap();
        feeding.join().unwrap();
    }
    let done = run(dir.path(), &["--kind", "embedded", "--set", "path=events"], &lines.concat());
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(count(&dir.path().join("events"), ""), 3000);
    let names: Vec<_> = std::fs::read_dir(dir.path().join("events")).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(names.len(), 5, "{names:?}");
}

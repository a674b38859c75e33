//! Days: many in one batch, too old and too new, deleted, damaged, locked.

use super::*;
use crate::query::Query;
use crate::search::{Finder as _, Scope, Search, suite};

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> Time {
    "2026-11-21T20:00:00Z".parse().unwrap()
}

fn line(id: &str, time: &str) -> Vec<u8> {
    format!(r#"{{"id":"{id}","time":"{time}","received":"{time}","payload":{{"word":"w{id}"}}}}"#).into_bytes()
}

fn store(index: &mut Index, lines: &[Vec<u8>]) -> Vec<Verdict> {
    index.store(&lines.iter().map(Vec::as_slice).collect::<Vec<_>>(), now()).unwrap()
}

fn count(dir: &Path) -> u64 {
    let scope = Scope { query: Query::All, since: None, until: None, deadline: None };
    Search::new(dir).count(&scope).unwrap().0
}

#[test]
fn each_line_gets_its_verdict_and_bad_ones_harm_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::new(dir.path(), 30 * DAY);
    let lines = [
        (line("a", "2026-11-21T19:00:00Z"), Ok(())),
        (b"not json".to_vec(), Err(None)),
        (line("b", "2026-10-22T23:59:59Z"), Ok(())), // its day ends within 30 days
        (line("c", "2026-10-21T23:59:59Z"), Err(Some(Verdict::TooOld))),
        (line("d", "2026-11-22T20:00:00Z"), Ok(())),
        (line("e", "2026-11-22T20:00:01Z"), Err(Some(Verdict::TooNew))),
        (line("f", "1970-01-01T00:00:00Z"), Err(Some(Verdict::TooOld))),
        (line("g", "9999-01-01T00:00:00Z"), Err(Some(Verdict::TooNew))),
        (format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)).into_bytes(), Err(None)),
        (b"{\"id\":\"h\"}".to_vec(), Err(None)),
        (b" { \"id\" : \"x\", \"id\":\"i\", \"time\":\"2026-11-21T19:00:00Z\",\"received\":\"2026-11-21T19:00:00Z\"} ".to_vec(), Ok(())),
        (vec![b' '; event::LINE_MAX + 1], Err(None)),
        (b"\xff\xfe".to_vec(), Err(None)),
        (Vec::new(), Err(None)),
    ];
    let given: Vec<Vec<u8>> = lines.iter().map(|(l, _)| l.clone()).collect();
    for (verdict, (line, expected)) in store(&mut index, &given).into_iter().zip(&lines) {
        let shown = String::from_utf8_lossy(&line[..line.len().min(80)]);
        match expected {
            Ok(()) => assert_eq!(verdict, Verdict::Stored, "{shown}"),
            Err(Some(reason)) => assert_eq!(verdict, *reason, "{shown}"),
            Err(None) => assert!(matches!(verdict, Verdict::Bad(_)), "{shown}: {verdict:?}"),
        }
    }
    assert_eq!(count(dir.path()), 4);
    assert!(Search::new(dir.path()).event("i").unwrap().is_some(), "the last of two keys wins");
}

#[test]
fn a_batch_over_many_days_opens_few_at_a_time_and_days_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::new(dir.path(), 100 * DAY);
    let at = |i: i64| Time::from_ms(now().ms() - i * DAY_MS).to_string();
    let lines: Vec<_> = (0..20).rev().chain(0..20).map(|i| line(&format!("n{i}"), &at(i))).collect();
    assert!(store(&mut index, &lines).iter().all(|v| *v == Verdict::Stored));
    assert!(index.open.len() <= DAYS_OPEN);
    assert_eq!((day::list(dir.path()).unwrap().len(), count(dir.path())), (20, 20));

    index.keep(5 * DAY);
    std::fs::create_dir(dir.path().join("2026-11-01.gone")).unwrap();
    std::fs::create_dir(dir.path().join("2026-11-02.broken-1")).unwrap();
    std::fs::create_dir(dir.path().join("2026-11-02.mine")).unwrap();
    let gone = index.expire(now()).unwrap();
    // 2026-11-16 20:00 is the limit: that day still holds what is kept.
    let left: Vec<String> = day::list(dir.path()).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(left, ["2026-11-21", "2026-11-20", "2026-11-19", "2026-11-18", "2026-11-17", "2026-11-16"]);
    assert_eq!((gone.len(), count(dir.path())), (14, 6));
    let others: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().file_name()).filter(|n| n.len() > 10).collect();
    assert_eq!(others, ["2026-11-02.mine"]);
    // A day that is open may go as well, and come back.
    assert_eq!(index.expire(Time::from_ms(now().ms() + 100 * DAY_MS)).unwrap().len(), 6);
    store(&mut index, &[line("again", "2026-11-21T19:00:00Z")]);
    assert_eq!(count(dir.path()), 1);
}

#[test]
fn a_damaged_day_is_moved_aside_and_begun_anew() {
    type Damage = fn(&Path);
    let damages: [Damage; 4] = [
        |day| std::fs::write(day.join("meta.json"), "{").unwrap(),
        |day| {
            std::fs::write(day.join("meta.json"), r#"{"index_settings":{},"segments":[],"schema":[],"opstamp":0}"#)
                .unwrap()
        },
        |day| each(day, "fast", |f| std::fs::write(f, "").unwrap()),
        |day| each(day, "term", |f| std::fs::remove_file(f).unwrap()),
    ];
    for (i, damage) in damages.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = Index::new(dir.path(), 30 * DAY);
        store(&mut index, &[line("a", "2026-11-21T19:00:00Z"), line("z", "2026-11-20T19:00:00Z")]);
        drop(index);
        damage(&dir.path().join("2026-11-21"));
        let mut index = Index::new(dir.path(), 30 * DAY);
        let verdicts = store(&mut index, &[line("b", "2026-11-21T19:00:00Z"), line("y", "2026-11-20T19:00:00Z")]);
        assert_eq!(verdicts, [Verdict::Stored, Verdict::Stored], "damage {i}");
        assert_eq!(count(dir.path()), 3, "damage {i}: the new event, and both of the other day");
        let aside = std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
        assert_eq!(aside.filter(|n| n.starts_with("2026-11-21.broken-")).count(), 1, "damage {i}");
    }
}

fn each(day: &Path, extension: &str, change: impl Fn(&Path)) {
    for file in std::fs::read_dir(day).unwrap().map(|f| f.unwrap().path()) {
        if file.extension().is_some_and(|e| e == extension) {
            change(&file);
        }
    }
}

#[test]
fn a_second_writer_is_refused_and_a_full_disk_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (Index::new(dir.path(), 30 * DAY), Index::new(dir.path(), 30 * DAY));
    let event = line("a", "2026-11-21T19:00:00Z");
    store(&mut first, std::slice::from_ref(&event));
    assert!(matches!(second.store(&[&event], now()), Err(IndexError::Locked(_))));
    // A lock that cannot be opened is nobody's lock, but a matter of the disk.
    std::fs::create_dir_all(dir.path().join("2026-11-20/.tantivy-writer.lock")).unwrap();
    let other = line("b", "2026-11-20T19:00:00Z");
    assert!(matches!(second.store(&[&other], now()), Err(IndexError::Io(..))));
    assert_eq!(day::list(dir.path()).unwrap().len(), 2);
    assert!(!has_damaged_files(dir.path(), Day::of(now())));
    assert!(!day::is_damage(&TantivyError::from(std::io::Error::from_raw_os_error(28))));
}

#[test]
fn a_killed_writer_leaves_what_was_committed_and_a_repeat_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let batch: Vec<_> = (0..100).map(|i| line(&format!("n{i}"), "2026-11-21T19:00:00Z")).collect();
    let mut index = Index::new(dir.path(), 30 * DAY);
    store(&mut index, &batch);
    // Added but not committed: what a kill in the middle of a batch leaves.
    let writer = index.open.last_mut().unwrap();
    let lost = line("lost", "2026-11-21T19:00:00Z");
    let head = Head::read(&lost).unwrap();
    writer.writer.add_document(Builder::default().document(&SCHEMA.1, &mut writer.names, &head, &lost)).unwrap();
    drop(index);
    assert_eq!(count(dir.path()), 100);
    let mut index = Index::new(dir.path(), 30 * DAY);
    store(&mut index, &batch);
    assert_eq!(count(dir.path()), 100);
}

#[test]
fn hostile_keys_and_values_are_stored_and_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::new(dir.path(), 30 * DAY);
    let bytes = |lines: Vec<String>| lines.into_iter().map(String::into_bytes).collect::<Vec<_>>();
    assert!(store(&mut index, &bytes(suite::hostile())).iter().all(|v| *v == Verdict::Stored));
    let search = Search::new(dir.path());
    suite::check_hostile(&search);
    // The names of the day are used up; the envelope's have room of their own.
    let at = "2026-11-21T19:00:00.000Z";
    let sure = suite::event("sure", at, r#""machine":{"hostname":"good"},"probes":[{"name":"usb"}]"#);
    assert!(store(&mut index, &bytes(vec![sure])).iter().all(|v| *v == Verdict::Stored));
    let question = "machine.hostname:good AND probes.name:usb AND machine.hostname:g*d";
    assert_eq!(search.count(&suite::all(question)).unwrap().0, 1);
    drop(index);
    // Names are counted across restarts.
    let mut index = Index::new(dir.path(), 30 * DAY);
    store(&mut index, &bytes(vec![suite::event("late", at, r#""payload":{"brand_new_key":"word"}"#)]));
    assert_eq!(index.open[0].names.number("payload.another"), None);
    assert!(index.open[0].names.number("machine.another").is_some());
}

#[test]
fn what_is_about_a_machine_that_is_forgotten_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::new(dir.path(), 30 * DAY);
    let about = |id: &str, day: u32, machine: &str| {
        let time = format!("2026-11-{day}T19:00:00Z");
        format!(r#"{{"id":"{id}","time":"{time}","received":"{time}","machine":{machine},"payload":{{}}}}"#)
            .into_bytes()
    };
    let lines = [
        about("a", 20, r#"{"serial_number":"C02","hardware_uuid":"U1","hostname":"ada"}"#),
        about("b", 21, r#"{"serial_number":"C02"}"#),
        about("c", 18, r#"{"hardware_uuid":"U1"}"#),
        about("d", 18, r#"{"serial_number":"C03","hardware_uuid":"U1"}"#),
        about("e", 19, r#"{"hostname":"ada"}"#),
        about("f", 21, r#"{"serial_number":"C022"}"#),
        line("g", "2026-11-20T19:00:00Z"),
    ];
    store(&mut index, &lines);
    let left = || {
        let all = Search::new(dir.path());
        ["a", "b", "c", "d", "e", "f", "g"]
            .into_iter()
            .filter(|id| all.event(id).unwrap().is_some())
            .collect::<String>()
    };
    let gone = |text: &str, at: Time| Gone { machine: serde_json::from_str(text).unwrap(), at };
    let machine = |text: &str| gone(text, now());
    index.forget(&[machine("{}"), machine(r#"{"serial_number":"C0"}"#)]).unwrap();
    assert_eq!(left(), "abcdefg");
    let known = machine(r#"{"serial_number":"C02","hardware_uuid":"U1","hostname":"ada"}"#);
    index.forget(std::slice::from_ref(&known)).unwrap();
    assert_eq!(left(), "defg", "another's serial number, its host name alone, another, and no machine");
    assert_eq!(count(dir.path()), 4);
    index.forget(&[known, machine(r#"{"hostname":"ada"}"#)]).unwrap();
    assert_eq!(left(), "dfg");
    store(&mut index, &lines[1..2]);
    assert_eq!(left(), "bdfg", "it may come back");
    let forget_until = |index: &mut Index, at: &str| {
        index.forget(&[gone(r#"{"serial_number":"C02"}"#, at.parse().unwrap())]).unwrap();
    };
    forget_until(&mut index, "2026-11-21T18:59:59.999Z");
    assert_eq!(left(), "bdfg", "received after it was forgotten");
    forget_until(&mut index, "2026-11-21T19:00:00Z");
    assert_eq!(left(), "dfg");
}

/// Tantivy gives the first stamp after a start twice: to the last commit and to what comes next. A merge that begins
/// before the first commit passes over a deletion with that stamp in parts that the last commit deleted something from.
#[test]
fn what_comes_again_first_after_a_start_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let day = Day::of(now());
    let mut builder = Builder::default();
    let put = |writer: &mut DayWriter, builder: &mut Builder, ids: &[&str]| {
        let lines: Vec<Vec<u8>> = ids.iter().map(|id| line(id, "2026-11-21T19:00:00Z")).collect();
        let events: Vec<_> = lines.iter().map(|line| (Head::read(line).unwrap(), Cow::from(line))).collect();
        writer.store(builder, &events).unwrap();
    };
    let mut writer = DayWriter::open(dir.path(), day).unwrap();
    writer.writer.set_merge_policy(Box::new(tantivy::merge_policy::NoMergePolicy));
    // The largest part comes first in a merge.
    put(&mut writer, &mut builder, &["a", "b", "c", "d", "e"]);
    for id in ["1", "2", "3", "4", "5", "6"] {
        put(&mut writer, &mut builder, &[id]);
    }
    put(&mut writer, &mut builder, &["x", "y", "y"]);
    drop(writer);
    let mut writer = DayWriter::open(dir.path(), day).unwrap();
    put(&mut writer, &mut builder, &["x"]);
    writer.close();
    assert_eq!(count(dir.path()), 13);
}

/// What a commit that came to nothing left behind does not stand in the way of the next one.
#[test]
fn files_of_a_commit_that_was_cut_off_are_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::new(dir.path(), 30 * DAY);
    let lines = [line("a", "2026-11-21T19:00:00Z"), line("b", "2026-11-21T19:00:00Z")];
    store(&mut index, &lines);
    drop(index);
    let day = Day::of(now()).path(dir.path());
    let meta = std::fs::read(day.join("meta.json")).unwrap();
    let again = || store(&mut Index::new(dir.path(), 30 * DAY), &lines[..1]);
    again();
    // As it is when the process is killed between the files of a commit and their entry.
    std::fs::write(day.join("meta.json"), meta).unwrap();
    assert_eq!(again(), [Verdict::Stored]);
    assert_eq!(count(dir.path()), 2);
}

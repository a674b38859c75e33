//! What a search finds, on a small corpus; and that readers and a writer do not disturb each other.

use std::time::Duration;

use super::suite::{DAY, all, corpus, event, ids, now};
use super::*;
use crate::index::{Index, Verdict};

fn store(index: &mut Index, lines: &[String]) {
    let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    let verdicts = index.store(&lines, now()).unwrap();
    assert!(verdicts.iter().all(|v| *v == Verdict::Stored), "{verdicts:?}");
}

fn filled() -> (tempfile::TempDir, Index, Search) {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::new(dir.path().join("index"), 365 * DAY);
    store(&mut index, &corpus());
    let search = Search::new(dir.path().join("index"));
    (dir, index, search)
}

#[test]
fn the_suite() {
    let (_dir, _index, search) = filled();
    super::suite::check(&search);
    assert_eq!(Search::new("/nonexistent/index").event("a").unwrap(), None);
}

#[test]
fn pages_go_on_where_they_ended_whatever_is_stored_meanwhile() {
    let (_dir, mut index, search) = filled();
    let mut seen = Vec::new();
    let mut after = None;
    for round in 0.. {
        let page = search.page(&all(""), 2, after).unwrap();
        seen.extend(ids(&page));
        after = page.next;
        // Newer and older events, and one twice: the pages to come are as they would have been, plus what is older.
        store(
            &mut index,
            &[event(&format!("new{round}"), "2026-11-21T19:30:00Z", "\"payload\":{}"), corpus().remove(0)],
        );
        if round == 1 {
            store(&mut index, &[event("old", "2026-11-19T11:00:00Z", "\"payload\":{}")]);
        }
        if after.is_none() {
            break;
        }
        assert!(round < 10);
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e", "01a", "old"]);
    assert!(search.page(&all(""), 0, None).unwrap().events.is_empty());
    let exact = search.page(&all("time:2026-11-20"), 2, None).unwrap();
    assert_eq!((exact.events.len(), exact.next), (2, None));
}

#[test]
fn equal_times_are_ordered_by_id() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = Index::new(dir.path(), 365 * DAY);
    let ids_of = |n: u32| event::id::event_id(1_795_000_000_000, "osquery", "m", &n.to_be_bytes(), 0);
    let mut expected: Vec<String> = (0..50).map(ids_of).collect();
    for id in &expected {
        store(&mut index, &[event(id, "2026-11-21T10:00:00Z", "\"payload\":{}")]);
    }
    expected.sort_unstable_by(|a, b| b.cmp(a));
    let search = Search::new(dir.path());
    let (mut seen, mut after) = (Vec::new(), None);
    while seen.len() < 50 {
        let page = search.page(&all(""), 7, after).unwrap();
        seen.extend(page.events.iter().map(|l| crate::index::Head::read(l).unwrap().id));
        after = page.next;
        assert_eq!(after.is_none(), seen.len() == 50);
    }
    assert_eq!(seen, expected);
}

#[test]
fn the_last_one_wins() {
    let (_dir, mut index, search) = filled();
    store(&mut index, &corpus());
    assert_eq!(search.count(&all("")).unwrap().0, 6);
    // Annotated anew, twice in one batch.
    let again = |word: &str| event("b", "2026-11-21T18:00:00.000Z", &format!(r#""payload":{{"word":"{word}"}}"#));
    store(&mut index, &[again("first"), again("second")]);
    for (query, expected) in [("", 6), ("first", 0), ("second", 1), ("foo", 1)] {
        assert_eq!(search.count(&all(query)).unwrap().0, expected, "{query}");
    }
    // Also after the writer began anew, which knows the ids from the index only.
    drop(index);
    let mut index = Index::new(_dir.path().join("index"), 365 * DAY);
    store(&mut index, &[again("third")]);
    assert_eq!(search.count(&all("")).unwrap().0, 6);
    assert_eq!(search.count(&all("second")).unwrap().0, 0);
}

#[test]
fn a_search_that_takes_too_long_ends() {
    let (_dir, _index, search) = filled();
    let scope = Scope { deadline: Some(Instant::now() - Duration::from_secs(1)), ..all("") };
    assert_eq!(search.count(&scope).unwrap_err(), SearchError::Deadline);
}

#[test]
fn a_damaged_day_is_skipped_and_the_others_answer() {
    let (dir, index, _) = filled();
    drop(index);
    let day = dir.path().join("index/2026-11-20");
    let parts = |extension: &str| -> Vec<PathBuf> {
        let files = std::fs::read_dir(&day).unwrap().map(|f| f.unwrap().path());
        files.filter(|f| f.extension().is_some_and(|e| e == extension)).collect()
    };
    let kept: Vec<(PathBuf, Vec<u8>)> = std::fs::read_dir(&day)
        .unwrap()
        .map(|f| f.unwrap().path())
        .map(|p| (p.clone(), std::fs::read(p).unwrap()))
        .collect();
    let damages: [&dyn Fn(); 5] = [
        &|| std::fs::write(day.join("meta.json"), "{\"seg").unwrap(),
        &|| std::fs::remove_file(day.join("meta.json")).unwrap(),
        &|| parts("fast").iter().for_each(|f| std::fs::write(f, "").unwrap()),
        &|| parts("store").iter().for_each(|f| std::fs::write(f, vec![0xff; 3000]).unwrap()),
        &|| parts("term").iter().for_each(|f| std::fs::remove_file(f).unwrap()),
    ];
    for (i, damage) in damages.iter().enumerate() {
        damage();
        let page = Search::new(dir.path().join("index")).page(&all("osquery"), 10, None).unwrap();
        assert_eq!((ids(&page).len(), page.skipped.len()), (4, 1), "damage {i}: {:?}", page.skipped);
        assert_eq!(page.skipped[0].day.to_string(), "2026-11-20");
        for (path, bytes) in &kept {
            std::fs::write(path, bytes).unwrap();
        }
    }
}

#[test]
fn readers_and_a_writer_do_not_disturb_each_other() {
    let (dir, mut index, _) = filled();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        let reading = threads.spawn(|| {
            let search = Search::new(dir.path().join("index"));
            let (mut last, mut asked) = (0, 0);
            while !done.load(std::sync::atomic::Ordering::Relaxed) || asked < 3 {
                let (n, skipped) = search.count(&all("")).unwrap();
                assert!(n >= last && skipped.is_empty(), "{last} then {n}, {skipped:?}");
                (last, asked) = (n, asked + 1);
            }
            search.count(&all("")).unwrap().0
        });
        for batch in 0..30 {
            let line = |i| event(&format!("n{batch}-{i}"), "2026-11-21T10:00:00Z", r#""payload":{"k":"v"}"#);
            store(&mut index, &(0..5).map(line).collect::<Vec<_>>());
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(reading.join().unwrap(), 6 + 150);
    });
}

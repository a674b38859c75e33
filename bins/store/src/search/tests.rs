//! What a search finds, on a small corpus; and that readers and a writer do not disturb each other.

use std::time::Duration;

use super::*;
use crate::index::{Index, Verdict};
use crate::query;

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> Time {
    "2026-11-21T20:00:00Z".parse().unwrap()
}

/// An event as it travels.
fn event(id: &str, time: &str, rest: &str) -> String {
    format!(
        r#"{{"v":1,"id":"{id}","type":"osquery_result","time":"{time}","received":"{time}","source":"osquery",{rest}}}"#
    )
}

fn corpus() -> Vec<String> {
    vec![
        event(
            "a",
            "2026-11-21T19:00:00.000Z",
            r#""tags":["osquery","clock"],"machine":{"serial_number":"C02XL0AAJGH5","hostname":"ada-mbp","unit":"berlin"},"payload":{"name":"usb_devices","action":"added","columns":{"vendor":"C-Media","model":"USB Audio","pid":"150"}}"#,
        ),
        event(
            "b",
            "2026-11-21T18:00:00.000Z",
            r#""tags":[],"machine":{"hostname":"ada-mbp-2","unit":"berlin-north"},"objects":["file:sha256:9f86","user:ada"],"payload":{"name":"processes","action":"removed","columns":{"path":"/usr/bin/foo","cmdline":"foo --bar \"x y\"","pid":"99","uid":0,"load":1.5,"on":true}}"#,
        ),
        event(
            "c",
            "2026-11-20T23:59:59.999Z",
            r#""request":{"ip":"10.0.0.7","user_agent":"osquery/5.23"},"probes":[{"name":"usb","rev":"1f","severity":"major","act":["slack"],"context":{"title":"Audio on Übersicht"}}],"payload":{"name":"processes","columns":{"path":"/usr/bin/foo/bar","pid":"1000","empty":"","none":null}}"#,
        ),
        event(
            "d",
            "2026-11-20T00:00:00.000Z",
            r#""payload":{"snapshot":[{"name":"sudo","n":1},{"name":"curl","n":2}],"dotted.key":{"x":"deep"},"when":"2026-11-01T10:00:00Z","huge":1e400,"long":123456789012345678901234567890}"#,
        ),
        event("e", "2026-11-19T12:00:00.000Z", r#""payload":["list",{"k":"usbhub"}]"#),
        event("01a1ff7a-cbfb-8123-8456-0123456789ab", "2026-11-19T12:00:00.000Z", r#""payload":"bare \u001f text""#),
    ]
}

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

fn all(query: &str) -> Scope {
    Scope { query: query::parse(query).unwrap_or_else(|e| panic!("{e}")), since: None, until: None, deadline: None }
}

fn ids(page: &Page) -> Vec<String> {
    page.events.iter().map(|line| crate::index::Head::read(line).unwrap().id.chars().take(3).collect()).collect()
}

#[test]
fn finds() {
    let (_dir, _index, search) = filled();
    let check = |query: &str, expected: &str| {
        let page = search.page(&all(query), 100, None).unwrap_or_else(|e| panic!("{query}: {e}"));
        assert_eq!(ids(&page).join(" "), expected, "{query}");
        assert_eq!(search.count(&all(query)).unwrap().0, page.events.len() as u64, "{query}");
    };
    for (query, expected) in [
        ("*", "a b c d e 01a"),
        // Words anywhere, in any case, in the envelope as well.
        ("usb", "a c"),
        ("USB", "a c"),
        ("c02xl0aajgh5", "a"),
        ("audio übersicht", "c"),
        ("usb_devices", "a"),
        ("\"usb audio\"", "a"),
        ("\"audio usb\"", ""),
        ("\"media usb\"", ""), // two values are never next to each other
        ("\"bare text\"", "01a"),
        ("sudo curl", "d"),
        ("\"sudo curl\"", ""),
        ("1e400", "d"),
        ("123456789012345678901234567890", "d"),
        ("01a1ff7a-cbfb-8123-8456-0123456789ab", "01a"),
        ("usb*", "a c e"),
        ("*hub", "e"),
        ("u*b", "a c e"),
        ("/usr/bin/fo*", "b c"),
        ("/usr/*/foo", "b c"),
        ("/usr/b*/foo/bar", "c"),
        // Fields of the envelope: equal, in any case.
        ("machine.hostname:ada-mbp", "a"),
        ("machine.hostname:ADA-MBP", "a"),
        ("machine.hostname:ada", ""),
        ("machine.hostname:ada*", "a b"),
        ("machine.unit:berlin", "a"),
        ("machine.unit:(berlin OR berlin-north)", "a b"),
        ("type:osquery_result", "a b c d e 01a"),
        ("type:osquery", ""),
        ("tags:clock", "a"),
        ("objects:user:ada", "b"),
        ("objects:file:sha256:9f86", "b"),
        ("probes.name:usb AND probes.severity:major", "c"),
        ("request.ip:10.0.*", "c"),
        ("id:c", "c"),
        ("id:01a1*", "01a"),
        // Other fields: words next to each other.
        ("payload.name:usb", "a"),
        ("payload.name:processes", "b c"),
        ("payload.columns.path:\"/usr/bin/foo\"", "b c"),
        ("payload.columns.path:[\"/usr/bin/foo\" TO \"/usr/bin/foo\"]", "b"),
        ("payload.columns.path:/usr/bin/foo/bar", "c"),
        ("payload.columns.path:*/foo", "b"),
        ("payload.columns.path:fo*", "b c"),
        ("payload.columns.vendor:usb", ""),
        ("payload.columns.cmdline:\"x y\"", "b"),
        ("payload.snapshot.name:curl", "d"),
        ("payload.dotted.key.x:deep", "d"),
        ("payload.k:usbhub", "e"),
        ("payload:list", "e"),
        ("probes.context.title:audio", "c"),
        ("request.user_agent:osquery", "c"),
        ("payload.columns.empty:\"\"", "c"),
        // Numbers, also in strings.
        ("payload.columns.pid:150", "a"),
        ("payload.columns.pid:[99 TO 150]", "a b"),
        ("payload.columns.pid:[100 TO *]", "a c"),
        ("payload.columns.uid:0", "b"),
        ("payload.columns.uid:0.0", "b"),
        ("payload.columns.load:[1 TO 2]", "b"),
        ("payload.columns.on:true", "b"),
        ("payload.snapshot.n:[2 TO 5]", "d"),
        ("payload.long:[1 TO *]", "d"),
        ("payload.huge:[1 TO *]", "d"),
        // Times.
        ("time:2026-11-20", "c d"),
        ("time:[2026-11-20 TO 2026-11-20]", "c d"),
        ("time:[2026-11-20T23 TO *]", "a b c"),
        ("received:[* TO 2026-11-19]", "e 01a"),
        ("payload.when:[2026-10 TO 2026-11]", "d"),
        ("payload.when:[2026-12 TO *]", ""),
        // Is it there?
        ("_exists_:payload.columns", "a b c"),
        ("_exists_:payload.columns.empty", "c"),
        ("_exists_:payload.columns.none", ""),
        ("payload.columns.vendor:*", "a"),
        ("_exists_:machine", "a b"),
        ("_exists_:time", "a b c d e 01a"),
        ("_exists_:nothing", ""),
        ("nothing:x", ""),
        // Together.
        ("payload.name:processes NOT uid", "b c"),
        ("processes NOT payload.columns.uid:0", "c"),
        ("NOT processes", "a d e 01a"),
        ("NOT (processes OR usb)", "d e 01a"),
        ("usb OR payload.columns.pid:99", "a b c"),
        ("NOT a AND NOT usb AND NOT list", "b d 01a"),
        ("usb AND (audio OR curl) AND time:2026-11-21", "a"),
    ] {
        check(query, expected);
    }
}

#[test]
fn since_and_until_bound_and_both_are_included() {
    let (_dir, _index, search) = filled();
    let check = |since: Option<&str>, until: Option<&str>, expected: &str| {
        let time = |t: Option<&str>| t.map(|t| t.parse().unwrap());
        let scope = Scope { since: time(since), until: time(until), ..all("") };
        assert_eq!(ids(&search.page(&scope, 100, None).unwrap()).join(" "), expected);
    };
    check(Some("2026-11-20T00:00:00Z"), None, "a b c d");
    check(Some("2026-11-20T00:00:00.001Z"), Some("2026-11-21T18:00:00Z"), "b c");
    check(None, Some("2026-11-19T12:00:00Z"), "e 01a");
    check(Some("2026-11-22T00:00:00Z"), None, "");
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
fn an_event_comes_back_by_its_id_byte_for_byte() {
    let (_dir, _index, search) = filled();
    for line in corpus() {
        let id = crate::index::Head::read(line.as_bytes()).unwrap().id;
        let found = search.event(&id).unwrap().unwrap();
        let mut canonical = Vec::new();
        event::json::canonical(line.as_bytes(), &mut canonical).unwrap();
        assert_eq!(found, canonical);
    }
    assert_eq!(search.event("nobody").unwrap(), None);
    assert_eq!(Search::new("/nonexistent/index").event("a").unwrap(), None);
}

#[test]
fn counts_by_value() {
    let (_dir, _index, search) = filled();
    let check = |query: &str, field: &str, expected: &[(&str, u64)], missing| {
        let values = search.count_by(&all(query), field).unwrap();
        let expected: Vec<_> = expected.iter().map(|(v, n)| ((*v).to_owned(), *n)).collect();
        assert_eq!((values.values, values.missing, values.other), (expected, missing, 0), "{query} {field}");
    };
    check("", "payload.name", &[("processes", 2), ("usb_devices", 1)], 3);
    check("usb", "payload.name", &[("processes", 1), ("usb_devices", 1)], 0);
    check("", "payload.snapshot.name", &[("curl", 1), ("sudo", 1)], 5);
    check("", "payload.columns.uid", &[("0", 1)], 5);
    check("", "payload.columns.on", &[("true", 1)], 5);
    check("", "machine.hostname", &[("ada-mbp", 1), ("ada-mbp-2", 1)], 4);
    check("", "type", &[("osquery_result", 6)], 0);
    check("nothing", "type", &[], 0);
    assert!(search.count_by(&all(""), "id").is_err());
}

#[test]
fn counts_over_time() {
    let (_dir, _index, search) = filled();
    let buckets = search.every(&all(""), 12 * Duration::from_secs(3600)).unwrap();
    let shown: Vec<String> = buckets.buckets.iter().map(|(t, n)| format!("{} {n}", &t.to_string()[5..13])).collect();
    assert_eq!(shown, ["11-19T12 2", "11-20T00 1", "11-20T12 1", "11-21T00 0", "11-21T12 2"]);
    assert_eq!(buckets.total, 6);
    assert!(matches!(search.every(&all(""), Duration::from_secs(1)), Err(SearchError::TooMuch(_))));
    assert_eq!(search.every(&all("nothing"), DAY).unwrap(), Buckets::default());
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

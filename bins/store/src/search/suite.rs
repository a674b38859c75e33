//! One suite of questions for every kind of store: the same answers from all of them.

use std::time::Duration;

use event::Time;

use super::{Buckets, Finder, Page, Scope, SearchError};
use crate::query;

/// How long a day is.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn now() -> Time {
    "2026-11-21T20:00:00Z".parse().unwrap()
}

/// An event as it travels.
pub(crate) fn event(id: &str, time: &str, rest: &str) -> String {
    format!(
        r#"{{"v":1,"id":"{id}","type":"osquery_result","time":"{time}","received":"{time}","source":"osquery",{rest}}}"#
    )
}

pub(crate) fn corpus() -> Vec<String> {
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

pub(crate) fn all(query: &str) -> Scope {
    Scope { query: query::parse(query).unwrap_or_else(|e| panic!("{e}")), since: None, until: None, deadline: None }
}

pub(crate) fn ids(page: &Page) -> Vec<String> {
    page.events.iter().map(|line| crate::index::Head::read(line).unwrap().id.chars().take(3).collect()).collect()
}

/// Events as nobody should send them; the last two have more names than the embedded index keeps of a day.
pub(crate) fn hostile() -> Vec<String> {
    let of = |id: &str, payload: &str| event(id, "2026-11-21T19:00:00.000Z", &format!("\"payload\":{payload}"));
    let keys: Vec<String> = (0..5500).map(|i| format!("\"k{i}\":\"v{i}\"")).collect();
    vec![
        of("deep", &format!("{}\"bottom\"{}", "{\"a\":".repeat(120), "}".repeat(120))),
        of("long", &format!("{{\"text\":\"{} tail\"}}", "é".repeat(1 << 20))),
        of("name", &format!("{{\"{}\":\"here\"}}", "n".repeat(1 << 20))),
        of(
            "odd",
            r#"{"":"empty","a..b":"dots","a\u0000b":"nul","a\u0001b":1,"\\":"back","x.":true," ":"blank",".":"point"}"#,
        ),
        of("words", &format!("{{\"w\":\"{}\"}}", "ab ".repeat(1 << 20))),
        of("both", r#"{"a":"x","a.b":"y","a":{"b":"z","c":{"d":1}},"l":[1,[2,{"m":[true,null]}]]}"#),
        of("keys", &format!("{{{}}}", keys.join(","))),
        of("many", &format!("{{\"{}\":{{{}}}}}", "p".repeat(500), keys.join(",").replace('k', "m"))),
    ]
}

/// What finds them.
pub(crate) fn check_hostile(search: &dyn Finder) {
    for (query, expected) in [
        ("v5400", "many keys"),
        ("bottom", "deep"),
        ("tail", "long"),
        ("here", "name"),
        ("nul dots back", "odd"),
        (r"payload.\\:back", "odd"),
        ("payload.a..b:dots", "odd"),
        ("\"ab ab ab\"", "words"),
        ("payload.k17:v17", "keys"),
        ("payload.l.m:true", "both"),
        ("*", "words odd name many long keys deep both"),
    ] {
        let page = search.page(&all(query), 10, None).unwrap();
        let mut ids: Vec<String> = page.events.iter().map(|l| crate::index::Head::read(l).unwrap().id).collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        assert_eq!(ids.join(" "), expected, "{query}");
    }
}

/// Every question below, over [`corpus`].
pub(crate) fn check(search: &dyn Finder) {
    finds(search);
    since_and_until_bound_and_both_are_included(search);
    an_event_comes_back_by_its_id_byte_for_byte(search);
    counts_by_value(search);
    counts_over_time(search);
}

fn finds(search: &dyn Finder) {
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

fn since_and_until_bound_and_both_are_included(search: &dyn Finder) {
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

fn an_event_comes_back_by_its_id_byte_for_byte(search: &dyn Finder) {
    for line in corpus() {
        let id = crate::index::Head::read(line.as_bytes()).unwrap().id;
        let found = search.event(&id).unwrap().unwrap();
        let mut canonical = Vec::new();
        event::json::canonical(line.as_bytes(), &mut canonical).unwrap();
        assert_eq!(found, canonical);
    }
    assert_eq!(search.event("nobody").unwrap(), None);
}

fn counts_by_value(search: &dyn Finder) {
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

fn counts_over_time(search: &dyn Finder) {
    let buckets = search.every(&all(""), 12 * Duration::from_secs(3600)).unwrap();
    let shown: Vec<String> = buckets.buckets.iter().map(|(t, n)| format!("{} {n}", &t.to_string()[5..13])).collect();
    assert_eq!(shown, ["11-19T12 2", "11-20T00 1", "11-20T12 1", "11-21T00 0", "11-21T12 2"]);
    assert_eq!(buckets.total, 6);
    assert!(matches!(search.every(&all(""), Duration::from_secs(1)), Err(SearchError::TooMuch(_))));
    assert_eq!(search.every(&all("nothing"), DAY).unwrap(), Buckets::default());
}

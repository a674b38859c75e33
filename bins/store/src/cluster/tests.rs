//! The same answers from the embedded index, from Elasticsearch and from OpenSearch; on real servers.

mod chance;
mod faults;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use elasticsearch::http::Method;
use event::Time;
use serde_json::{Value, json};

use super::connection::{Connection, Login, Target, Trouble};
use super::keeper::Cluster;
use super::names::Names;
use super::template::{self, Found, Shape};
use super::*;
use crate::index::{Gone, Verdict};
use crate::search::suite::{self, DAY, all, corpus, event, ids, now};
use crate::search::{Finder, Search, SearchError};
use crate::stores::Store;

/// A server, and indices of this test alone, which go with it.
pub(crate) struct Server {
    pub connection: Connection,
    pub flavour: Flavour,
    pub names: Names,
    pub target: Target,
}

impl Server {
    /// One store on it.
    pub fn store(&self) -> Cluster {
        self.store_at(&self.target)
    }

    pub fn store_at(&self, target: &Target) -> Cluster {
        let shape = Shape { shards: Some(2), copies: Some(0) };
        Cluster::new(target.clone(), self.flavour, self.names.clone(), shape, 365 * DAY)
    }

    pub fn refresh(&self) {
        self.json(Method::Post, &format!("/{}/_refresh?allow_no_indices=true", self.names.all()), None);
    }

    pub fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        self.connection.json(method, path, body).unwrap_or_else(|e| panic!("{method:?} {path}: {e}"))
    }

    /// Stores, and makes it findable.
    pub fn fill(&self, store: &mut Cluster, lines: &[String]) {
        let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
        let verdicts = store.store(&lines, now()).unwrap();
        assert!(verdicts.iter().all(|v| *v == Verdict::Stored), "{verdicts:?}");
        self.refresh();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let list = format!("/_cat/indices/{}?format=json&h=index", self.names.all());
        let rows = self.connection.json(Method::Get, &list, None).unwrap_or_default();
        for index in rows.as_array().into_iter().flatten().filter_map(|row| row["index"].as_str()) {
            let _ = self.connection.json(Method::Delete, &format!("/{index}"), None);
        }
        // The Elasticsearch of the tests has no such call; its last index and its template stay there.
        if self.names.is_stream() {
            let _ = self.connection.json(Method::Delete, &format!("/_data_stream/{}", self.names.all()), None);
        }
        let _ =
            self.connection.json(Method::Delete, &format!("/_index_template/{}", template::name(&self.names)), None);
    }
}

/// The server that the environment names; none, said on stderr, where there is none and this is not the suite's run.
pub(crate) fn server(flavour: Flavour) -> Option<Server> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let (variable, name) = match flavour {
        Flavour::Elasticsearch => ("ZENTRAL_TEST_ELASTICSEARCH", "elasticsearch"),
        Flavour::OpenSearch => ("ZENTRAL_TEST_OPENSEARCH", "opensearch"),
    };
    let Ok(host) = std::env::var(variable) else {
        assert!(std::env::var_os("CI").is_none(), "{variable} is not set (scripts/services start {name})");
        eprintln!("skipped: {variable} is not set (scripts/services start {name})");
        return None;
    };
    let host = host.trim_end_matches('/').to_owned();
    let target = Target { hosts: vec![host], login: Login::Nobody, ca: None, client: None };
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let names = Names::parse(&format!("t{}-{number}-%Y.%m.%d", std::process::id())).unwrap();
    Some(Server { connection: Connection::new(target.clone()), flavour, names, target })
}

pub(crate) fn servers() -> impl Iterator<Item = Server> {
    [Flavour::Elasticsearch, Flavour::OpenSearch].into_iter().filter_map(server)
}

/// The same servers, where events go to a data stream.
pub(crate) fn streams() -> impl Iterator<Item = Server> {
    servers().map(|mut server| {
        // Nothing of the daily indices is there yet, so nothing of them is left behind.
        server.names = Names::stream(&format!("{}-s", server.names.stem())).unwrap();
        server
    })
}

#[test]
fn the_suite() {
    for server in servers().chain(streams()) {
        let mut store = server.store();
        server.fill(&mut store, &corpus());
        suite::check(&*store.finder().unwrap());
    }
}

#[test]
fn pages_go_on_where_they_ended_and_the_last_one_wins() {
    for server in servers() {
        let mut store = server.store();
        server.fill(&mut store, &corpus());
        let search = store.finder().unwrap();
        let (mut seen, mut after) = (Vec::new(), None);
        for round in 0.. {
            let page = search.page(&all(""), 2, after).unwrap();
            seen.extend(ids(&page));
            after = page.next;
            let more = [event(&format!("new{round}"), "2026-11-21T19:30:00Z", "\"payload\":{}"), corpus().remove(0)];
            server.fill(&mut store, &more);
            if round == 1 {
                server.fill(&mut store, &[event("old", "2026-11-19T11:00:00Z", "\"payload\":{}")]);
            }
            if after.is_none() {
                break;
            }
            assert!(round < 10);
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e", "01a", "old"]);
        let exact = search.page(&all("time:2026-11-20"), 2, None).unwrap();
        assert_eq!((exact.events.len(), exact.next), (2, None));
        assert!(search.page(&all(""), 0, None).unwrap().events.is_empty());

        let again = |word: &str| event("b", "2026-11-21T18:00:00.000Z", &format!(r#""payload":{{"word":"{word}"}}"#));
        server.fill(&mut store, &[again("first"), again("second")]);
        for (query, expected) in [("id:b", 1), ("first", 0), ("second", 1), ("\"x y\"", 0)] {
            assert_eq!(search.count(&all(query)).unwrap().0, expected, "{query}");
        }
        assert_eq!(search.event("b").unwrap().unwrap(), again("second").into_bytes());
    }
}

#[test]
fn large_and_hostile_events_are_stored_and_found() {
    for server in servers().chain(streams()) {
        let mut store = server.store();
        server.fill(&mut store, &suite::hostile());
        suite::check_hostile(&*store.finder().unwrap());
        // None of it became a field.
        let mapping = server.json(Method::Get, &format!("/{}/_mapping", server.names.of(now())), None);
        let fields = mapping.to_string().matches("\"type\"").count();
        assert!(fields < 90, "{fields} fields: {mapping}");
    }
}

#[test]
fn what_is_past_retention_goes_and_other_indices_stay() {
    for server in servers() {
        let mut store = server.store();
        server.fill(&mut store, &corpus());
        let other = format!("{}-mine", server.names.stem());
        let odd = format!("{}-2001.13.01", server.names.stem());
        for index in [&other, &odd] {
            server.json(Method::Put, &format!("/{index}"), None);
        }
        let left = |server: &Server| {
            let rows =
                server.json(Method::Get, &format!("/_cat/indices/{}*?format=json&h=index", server.names.stem()), None);
            let mut all: Vec<String> =
                rows.as_array().unwrap().iter().map(|r| r["index"].as_str().unwrap().to_owned()).collect();
            all.sort_unstable();
            all
        };
        store.keep(Duration::from_secs(36 * 3600));
        store.tidy("2026-11-21T20:00:00Z".parse().unwrap()).unwrap();
        let day = |day: &str| server.names.of(format!("{day}T00:00:00Z").parse().unwrap());
        assert_eq!(left(&server), [odd.clone(), day("2026-11-20"), day("2026-11-21"), other.clone()]);
        let verdicts = store.store(&[corpus()[4].as_bytes(), b"{"], now()).unwrap();
        assert!(matches!(verdicts.as_slice(), [Verdict::TooOld, Verdict::Bad(_)]), "{verdicts:?}");
        // What lies in other indices that the pattern takes in does not break a search.
        assert_eq!(store.finder().unwrap().count(&all("")).unwrap().0, 4);
        assert_eq!(store.finder().unwrap().page(&all(""), 9, None).unwrap().events.len(), 4);
        server.json(Method::Delete, &format!("/{other}"), None);
        server.json(Method::Delete, &format!("/{odd}"), None);
    }
}

#[test]
fn what_is_about_a_machine_that_is_forgotten_goes() {
    for server in servers().chain(streams()) {
        let mut store = server.store();
        let about = |id: &str, day: u32, machine: &str| {
            event(id, &format!("2026-11-{day}T19:00:00.000Z"), &format!("\"machine\":{machine}"))
        };
        let mut lines = vec![
            about("a", 20, r#"{"serial_number":"C02","hardware_uuid":"U1","hostname":"ada"}"#),
            about("b", 21, r#"{"serial_number":"c02"}"#),
            about("c", 18, r#"{"hardware_uuid":"U1"}"#),
            about("d", 18, r#"{"serial_number":"C03","hardware_uuid":"U1"}"#),
            about("e", 19, r#"{"hostname":"ada"}"#),
        ];
        lines.extend((0..2500).map(|i| about(&format!("n{i}"), 17, r#"{"serial_number":"C02"}"#)));
        server.fill(&mut store, &lines);
        let gone = Gone {
            machine: serde_json::from_str(r#"{"serial_number":"C02","hardware_uuid":"U1","hostname":"ada"}"#).unwrap(),
            at: "2026-11-21T18:00:00Z".parse().unwrap(),
        };
        store.forget(std::slice::from_ref(&gone)).unwrap();
        let left = ids(&store.finder().unwrap().page(&all(""), 100, None).unwrap());
        assert_eq!(left.join(""), "bed", "received later, another's host name, another's serial number");
    }
}

#[test]
fn a_template_is_written_kept_and_its_changes_are_said() {
    for server in servers() {
        let ensure =
            |anew| template::ensure(&server.connection, &server.names, server.flavour, Shape::default(), anew).unwrap();
        assert_eq!(ensure(false), Found::Written);
        assert_eq!(ensure(false), Found::Same);
        let path = format!("/_index_template/{}", template::name(&server.names));
        let mut body = template::template(&server.names, server.flavour, Shape::default());
        body["template"]["mappings"]["properties"]["type"] = json!({"type": "text"});
        body["template"]["settings"]["index.refresh_interval"] = json!("30s");
        server.json(Method::Put, &path, Some(&body));
        let Found::Changed(places) = ensure(false) else { panic!("not seen") };
        let shown = places.join(" ");
        assert!(shown.contains("mappings.properties.type") && shown.contains("refresh_interval"), "{shown}");
        assert_eq!(ensure(true), Found::Written);
        assert_eq!(ensure(false), Found::Same);
        body["version"] = json!(99);
        server.json(Method::Put, &path, Some(&body));
        assert_eq!(ensure(false), Found::Newer(99));
        body["version"] = json!(0);
        server.json(Method::Put, &path, Some(&body));
        assert_eq!(ensure(false), Found::Written);
    }
    for server in streams() {
        let ensure =
            || template::ensure(&server.connection, &server.names, server.flavour, Shape::default(), false).unwrap();
        assert_eq!((ensure(), ensure()), (Found::Written, Found::Same));
    }
}

/// What a data stream keeps of "once", and what it does not.
#[test]
fn in_a_data_stream_an_event_is_once_until_it_rolls_over() {
    for server in streams() {
        let mut store = server.store();
        let roll_over = || {
            let now = json!({"conditions": {"max_docs": 1}});
            let told = server.json(Method::Post, &format!("/{}/_rollover", server.names.all()), Some(&now));
            assert_eq!(told["rolled_over"], true, "{told}");
        };
        let at = "2026-11-21T10:00:00.000Z";
        let said = |word: &str| event("n1", at, &format!(r#""payload":{{"word":"{word}"}}"#));
        server.fill(&mut store, &[said("first")]);
        // Sent again, in a batch with others and twice in it; and again by another process.
        server.fill(&mut store, &[said("second"), event("n2", at, "\"payload\":{}"), said("third")]);
        server.fill(&mut server.store(), &[said("fourth")]);
        let search = store.finder().unwrap();
        assert_eq!(
            (search.count(&all("")).unwrap().0, search.count(&all("first")).unwrap().0),
            (2, 1),
            "the first stays"
        );
        // The stage asks for a rollover, which is not due.
        store.tidy(now()).unwrap();
        server.fill(&mut store, &[said("fifth")]);
        assert_eq!(search.count(&all("")).unwrap().0, 2);

        roll_over();
        server.fill(&mut store, &[said("sixth")]);
        assert_eq!(search.count(&all("id:n1")).unwrap().0, 2, "this is what is given up");
        assert_eq!(search.event("n1").unwrap().unwrap(), said("sixth").into_bytes(), "the newest");
        assert_eq!(search.page(&all(""), 9, None).unwrap().events.len(), 3);
    }
}

#[test]
fn a_data_stream_loses_what_was_stored_too_long_ago() {
    for server in streams() {
        let mut store = server.store();
        let tomorrow = Time::from_ms(Time::now().ms() + 86_400_000);
        let count = |store: &Cluster| {
            server.refresh();
            store.finder().unwrap().count(&all("")).unwrap().0
        };
        for n in 0..3 {
            server.fill(&mut store, &[event(&format!("n{n}"), "2026-11-21T10:00:00.000Z", "\"payload\":{}")]);
            if n < 2 {
                let now = json!({"conditions": {"max_docs": 1}});
                server.json(Method::Post, &format!("/{}/_rollover", server.names.all()), Some(&now));
            }
        }
        store.keep(2 * DAY);
        store.tidy(tomorrow).unwrap();
        assert_eq!(count(&store), 3, "none is two days old, whatever the time of its events");
        store.keep(DAY / 2);
        store.tidy(tomorrow).unwrap();
        assert_eq!(count(&store), 1, "the index that is written stays");
    }
}

#[test]
fn a_search_has_bounds() {
    for server in servers() {
        let mut store = server.store();
        server.fill(&mut store, &corpus());
        let search = store.finder().unwrap();
        let late = std::time::Instant::now() - Duration::from_secs(1);
        let scope = crate::search::Scope { deadline: Some(late), ..all("") };
        assert_eq!(search.count(&scope).unwrap_err(), SearchError::Deadline);
        assert!(matches!(search.every(&all(""), Duration::from_secs(1)), Err(SearchError::TooMuch(_))));
        assert!(matches!(search.count_by(&all(""), "id"), Err(SearchError::TooMuch(_))));
        // As deep and as long as the language allows: an answer, or how to ask for less.
        let deep = format!("{}x{}", "(a OR (b ".repeat(30), "))".repeat(30));
        let long = vec!["payload.a:[2026-10 TO 2026-11]"; 200].join(" OR ");
        for query in [deep, long, "payload.a:*a*b*c*d*e*f*g*h*i*j*".into()] {
            let told = search.count(&all(&query));
            assert!(matches!(told, Ok((0, _)) | Err(SearchError::TooMuch(_))), "{told:?}");
        }
    }
}

/// HTTPS with an authority of its own, and a login.
#[test]
fn over_tls_with_a_login() {
    let variable = |name: &str| std::env::var(format!("ZENTRAL_TEST_ELASTICSEARCH_TLS{name}"));
    let Ok(host) = variable("") else {
        assert!(std::env::var_os("CI").is_none(), "ZENTRAL_TEST_ELASTICSEARCH_TLS is not set");
        eprintln!("skipped: ZENTRAL_TEST_ELASTICSEARCH_TLS is not set (scripts/services start elasticsearch-tls)");
        return;
    };
    let password =
        |file: std::path::PathBuf| Login::Basic(variable("_USER").unwrap(), pipe::config::Secret::File(file));
    let target = Target {
        hosts: vec![host.trim_end_matches('/').to_owned()],
        login: password(variable("_PASSWORD_FILE").unwrap().into()),
        ca: Some(variable("_CA").unwrap().into()),
        client: None,
    };
    let names = Names::parse(&format!("tls{}-%Y.%m.%d", std::process::id())).unwrap();
    let connection = Connection::new(target.clone());
    let server = Server { connection, flavour: Flavour::Elasticsearch, names, target: target.clone() };
    let mut store = server.store();
    server.fill(&mut store, &corpus());
    suite::check(&*store.finder().unwrap());

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("wrong"), "not-the-password").unwrap();
    let ask = |target: Target| Connection::new(target).json(Method::Get, "/_cluster/health", None);
    let wrong = ask(Target { login: password(dir.path().join("wrong")), ..target.clone() });
    assert!(matches!(wrong, Err(Trouble::Refused(401, ..))), "{wrong:?}");
    let stranger = ask(Target { ca: None, ..target.clone() }).unwrap_err();
    assert!(matches!(&stranger, Trouble::Lost(why) if why.contains("certificate")), "{stranger:?}");
    let missing = ask(Target { login: password(dir.path().join("none")), ..target }).unwrap_err();
    assert!(missing.to_string().contains("cannot read") && !missing.to_string().contains("not-the-password"));
}

//! Every preset through the real `act`, against a server that behaves as its service documents: what goes well, what
//! goes wrong, and what is counted at the receiver then.
//!
//! A row a preset in `every/rows.rs`.

pub mod rows;

use act::retry::Chance;
use pipe::Exit;

use crate::fakes::{Fake, Reply, Trouble};
use crate::hub::{How, Hub, SPEED, fresh, new_id};
use crate::tickets::KINDS;
use rows::{Row, rows};

/// Kinds that are more than one request, or none: the same is asked of them in a file of their own.
const ELSEWHERE: [&str; 8] = ["email", "exec", "file", "jamf", "munki", "osquery", "santa", "tag"];

/// No kind and no preset goes without: here, among the tickets, or in a file of its own.
#[test]
fn every_kind_is_asked() {
    let rows = rows();
    let mut asked: Vec<&str> = rows.iter().map(|row| row.name).chain(KINDS).chain(ELSEWHERE).collect();
    let mut all: Vec<&str> = act::actions::ALL.iter().map(|kind| kind.name).chain(act::preset::names()).collect();
    asked.sort_unstable();
    all.sort_unstable();
    assert_eq!(asked, all);
}

/// Runs `test` on every row, side by side.
fn each(test: impl Fn(&Row) + Sync) {
    let (rows, test) = (rows(), &test);
    std::thread::scope(|scope| {
        let running: Vec<_> = rows.iter().map(|row| (row.name, scope.spawn(move || test(row)))).collect();
        for (name, thread) in running {
            if let Err(why) = thread.join() {
                let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
                panic!("{name}: {why}");
            }
        }
    });
}

fn start(row: &Row, troubles: Vec<Trouble>, more: &str) -> (Fake, Hub) {
    let fake = Fake::start((row.service)(), troubles);
    let hub = Hub::new(&format!("{}\n", row.action(&fake.url, more)));
    (fake, hub)
}

/// Nothing that the hub says of it holds a secret.
fn tells_no_secret(row: &Row, hub: &Hub) {
    let said = format!("{}\n{:?}", hub.lines().join("\n"), hub.dead());
    for secret in row.secrets {
        assert!(!said.contains(secret), "a secret is told: {said}");
    }
}

/// What the service made, each thing once.
fn made(row: &Row, fake: &Fake) -> Vec<String> {
    let mut all: Vec<String> =
        fake.answered().iter().enumerate().map(|(n, (request, reply))| (row.made)(n, request, reply)).collect();
    all.sort();
    all.dedup();
    all
}

#[test]
fn success() {
    each(|row| {
        let (fake, hub) = start(row, vec![], "");
        let ids = [new_id(), new_id()];
        hub.feed(&ids.iter().map(|id| fresh(id, &["a"])).collect::<Vec<_>>());
        assert_eq!(hub.run(), Exit::Done);
        let got = fake.got();
        assert_eq!((got.len(), made(row, &fake).len()), (2, 2), "{:?}", hub.told());
        assert_ne!(got[0].key(), got[1].key());
        for (request, id) in got.iter().zip(&ids) {
            assert!((row.good)(request), "{request:?}");
            assert!(String::from_utf8_lossy(&request.body).contains(id.as_str()), "{request:?}");
        }
        let told = hub.told();
        assert!(told.iter().all(|(_, p)| p["outcome"] == "done" && p["tries"] == 1), "{told:?}");
        tells_no_secret(row, &hub);
    });
}

#[test]
fn everything_that_passes_is_tried_again() {
    each(|row| {
        let busy = (row.busy)();
        let troubles = vec![
            Trouble::Say(busy),
            Trouble::Say(Reply::text(500, "oops")),
            Trouble::Say(Reply::text(503, "<html>down</html>")),
            Trouble::Reset,
            Trouble::Hang,
            Trouble::Flood,
        ];
        let (fake, hub) = start(row, troubles, "timeout = \"2s\"");
        let ids = [new_id(), new_id()];
        hub.feed(&ids.iter().map(|id| fresh(id, &["a"])).collect::<Vec<_>>());
        assert_eq!(hub.run(), Exit::Done);
        let got = fake.got();
        assert_eq!((got.len(), fake.answered().len(), made(row, &fake).len()), (8, 2, 2), "{:?}", hub.told());
        let waited = got[1].at.duration_since(got[0].at).as_millis() as i64 * SPEED;
        assert!(waited >= 5_000, "what the service asks for is waited: {waited} ms");
        let mut keys: Vec<&str> = got.iter().map(|request| request.key()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 2, "one key a delivery, for every try");
        assert!(hub.told().iter().all(|(_, p)| p["outcome"] == "done"), "{:?}", hub.told());
        tells_no_secret(row, &hub);
    });
}

#[test]
fn what_is_refused_is_dead_at_once() {
    each(|row| {
        let echo = format!("no: {}", row.secrets.join(" "));
        let troubles = vec![Trouble::Say(Reply::text(403, &echo)), Trouble::Say((row.refused)())];
        let (fake, hub) = start(row, troubles, "");
        let ids = [new_id(), new_id(), new_id()];
        hub.feed(&ids.iter().map(|id| fresh(id, &["a"])).collect::<Vec<_>>());
        assert_eq!(hub.run(), Exit::Done);
        assert_eq!((fake.got().len(), made(row, &fake).len()), (3, 1), "{:?}", hub.told());
        let dead = hub.dead();
        assert_eq!(dead.len(), 2);
        assert!(dead.iter().all(|letter| letter["tries"] == 1 && letter["state"] != "unknown"), "{dead:?}");
        tells_no_secret(row, &hub);
    });
}

#[test]
fn a_redirect_leads_nowhere() {
    each(|row| {
        let elsewhere = Fake::start((row.service)(), vec![]);
        let to = Reply::text(307, "").with("Location", &format!("{}/x", elsewhere.url));
        let (fake, hub) = start(row, vec![Trouble::Say(to)], "");
        hub.feed(&[fresh(&new_id(), &["a"])]);
        hub.run();
        assert_eq!((fake.got().len(), elsewhere.got().len(), hub.dead().len()), (1, 0, 1));
    });
}

#[test]
fn a_crash_between_the_request_and_the_answer() {
    each(|row| {
        let (fake, hub) = start(row, vec![Trouble::Mute], "");
        hub.feed(&[fresh(&new_id(), &["a"])]);
        let running = hub.start(How::default());
        fake.wait_for(1);
        running.kill();
        assert!(hub.told().is_empty());
        assert_eq!(hub.run(), Exit::Done);
        let got = fake.got();
        assert_eq!((got.len(), got[0].key()), (2, got[1].key()), "the same key");
        let want = if row.once { 1 } else { 2 };
        assert_eq!(made(row, &fake).len(), want, "once where the service knows the key, at least once elsewhere");
        assert_eq!(hub.told().len(), 1);
        hub.run();
        assert_eq!(fake.got().len(), 2, "done is done");
        tells_no_secret(row, &hub);
    });
}

#[test]
fn kills_lose_nothing() {
    each(|row| {
        let (fake, hub) = start(row, vec![], "rate = \"1000/s\"\nparallel = 2\n");
        let ids: Vec<String> = (0..20).map(|_| new_id()).collect();
        let mut chance = Chance::seeded(11);
        for part in ids.chunks(5) {
            hub.feed(&part.iter().map(|id| fresh(id, &["a"])).collect::<Vec<_>>());
            let running = hub.start(How { stay: std::sync::Arc::new(true.into()), ..How::default() });
            std::thread::sleep(std::time::Duration::from_millis(chance.below(40)));
            running.kill();
        }
        hub.run();
        let things = made(row, &fake).len();
        assert!(things == ids.len() || (!row.once && things > ids.len()), "{things} of {}", ids.len());
        for id in &ids {
            let mine = format!("*{id}*");
            let heard = fake.answered().iter().any(|(r, _)| (row.text)(r).contains(&mine));
            assert!(heard, "{id} was never told");
        }
        let mut told: Vec<String> = hub.outcomes().iter().map(|e| e.cause.clone().unwrap().event).collect();
        told.sort();
        let mut wanted = ids.clone();
        wanted.sort();
        assert_eq!(told, wanted, "each told once");
    });
}

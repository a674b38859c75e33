//! A process that ends between the commit and the answer.

use crate::fake::{Http, Say, say, wait};
use crate::hub::{How, Hub, fresh, new_id};

#[test]
fn what_may_be_repeated_is_repeated_with_the_same_key() {
    let fake = Http::start(vec![Say::Hang, say(200, "ok")]);
    let hub = Hub::new(&format!("[action.a]\nkind = \"http\"\nurl = \"{}/\"\n", fake.url));
    hub.feed(&[fresh(&new_id(), &["a"])]);
    let running = hub.start(How::default());
    fake.wait_for(1);
    running.kill();
    assert!(hub.told().is_empty());
    hub.run();
    let got = fake.got();
    assert_eq!((got.len(), got[0].key()), (2, got[1].key()));
    let told = hub.told();
    assert_eq!((told.len(), told[0].1["tries"].as_u64()), (1, Some(2)));
    hub.run();
    assert_eq!((fake.got().len(), hub.told().len()), (2, 1), "done is done");
}

#[test]
fn what_may_not_is_a_dead_letter() {
    let hub =
        Hub::new("[action.x]\nkind = \"exec\"\nrun = [\"/bin/sh\", \"-c\", \"echo begun >> begun; sleep 300\"]\n");
    hub.feed(&[fresh(&new_id(), &["x"])]);
    let begun = hub.dir.path().join("begun");
    let running = hub.start(How::default());
    wait("its start", || begun.exists());
    running.kill();
    hub.run();
    assert_eq!(std::fs::read_to_string(begun).unwrap(), "begun\n", "once");
    let told = hub.told();
    assert_eq!((told.len(), told[0].0.as_str()), (1, "action_failed"));
    assert_eq!(told[0].1["outcome"], "unknown");
    assert_eq!(hub.dead().len(), 1);
}

#[test]
fn kills_at_random_moments_lose_and_double_nothing() {
    let fake = Http::start(vec![say(200, "ok")]);
    let hub = Hub::new(&format!("[action.a]\nkind = \"http\"\nurl = \"{}/\"\nparallel = 3\n", fake.url));
    let ids: Vec<String> = (0..60).map(|_| new_id()).collect();
    let mut chance = act::retry::Chance::seeded(3);
    for part in ids.chunks(10) {
        hub.feed(&part.iter().map(|id| fresh(id, &["a"])).collect::<Vec<_>>());
        let running = hub.start(How { stay: std::sync::Arc::new(true.into()), ..How::default() });
        std::thread::sleep(std::time::Duration::from_millis(chance.below(60)));
        running.kill();
    }
    hub.run();
    let mut keys: Vec<(String, String)> = Vec::new();
    for got in fake.got() {
        keys.push((got.json()["id"].as_str().unwrap().to_owned(), got.key().to_owned()));
    }
    keys.sort();
    keys.dedup();
    let mut wanted = ids.clone();
    wanted.sort();
    assert_eq!(keys.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), wanted, "each once by its key");
    let mut told: Vec<String> = hub.outcomes().iter().map(|e| e.cause.clone().unwrap().event).collect();
    told.sort();
    assert_eq!(told, wanted, "each told once");
}

//! What is acted upon, and how often.

use act::Mode;
use pipe::Exit;

use crate::fake::{Http, Say, say};
use crate::hub::{How, Hub, START, a_match, fresh, new_id};

fn hub(fake: &Http, more: &str) -> Hub {
    Hub::new(&format!("[action.a]\nkind = \"http\"\nurl = \"{}/\"\n{more}", fake.url))
}

#[test]
fn verdicts_and_once() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = hub(&fake, "");
    let id = new_id();
    let shadow = fresh(&new_id(), &["a"]).replace("\"key\":", "\"shadow\":true,\"key\":");
    let bare = fresh(&new_id(), &["a"]).replace("\"probes\":[", "\"other\":[");
    let lines = [
        fresh(&id, &["a"]),
        fresh(&id, &["a"]),
        fresh(&new_id(), &[]),
        shadow,
        bare,
        "{\"not\":\"an event\"}".to_owned(),
        fresh("e\\u0000", &["a"]),
    ];
    hub.feed(&lines);
    assert_eq!(hub.run(), Exit::Refused);
    hub.feed(&[fresh(&id, &["a"])]);
    hub.run();
    assert_eq!(fake.got().len(), 1);
    let sums: Vec<(String, u64)> = hub.sums();
    let want = [
        ("done", 1),
        ("ignored no_action", 2),
        ("ignored repeat", 2),
        ("in", 8),
        ("refused bad_name", 1),
        ("refused no_probes", 1),
        ("refused not_an_event", 1),
    ];
    assert_eq!(sums, want.map(|(name, n)| (name.to_owned(), n)));
}

#[test]
fn stale_matches_and_actions_that_are_gone() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = hub(&fake, "max_age = \"1h\"\n");
    hub.feed(&[
        a_match(&new_id(), &["a"], 3_600_001),
        a_match(&new_id(), &["a"], 3_000_000),
        fresh(&new_id(), &["gone"]),
    ]);
    hub.run();
    assert_eq!(fake.got().len(), 1);
    let told = hub.told();
    let mut kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["action_done", "action_failed", "action_stale"]);
    assert!(hub.dead()[0]["error"].as_str().unwrap().contains("action_gone"));
    assert_eq!(hub.sums()[0], ("done".to_owned(), 3), "each has its row");
}

#[test]
fn a_match_that_grows_old_in_the_queue_is_not_acted_upon() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = hub(&fake, "rate = \"1/m\"\nmax_age = \"50s\"\n");
    hub.feed(&(0..4).map(|_| fresh(&new_id(), &["a"])).collect::<Vec<_>>());
    assert_eq!(hub.run(), Exit::Done);
    let (sent, told) = (fake.got().len(), hub.told());
    let stale = told.iter().filter(|(kind, _)| kind == "action_stale").count();
    assert!(sent <= 1, "the second would be a minute old");
    assert_eq!((told.len(), stale), (4, 4 - sent));
    assert!(
        told.iter().all(|(kind, p)| kind == "action_done" || (p["error"] == "older than max_age" && p["tries"] == 0))
    );
}

#[test]
fn waiting_deliveries_of_an_action_that_is_taken_away() {
    let fake = Http::start(vec![say(503, "")]);
    let mut hub = hub(&fake, "");
    // More than end in one turn.
    hub.feed(&(0..600).map(|_| fresh(&new_id(), &["a"])).collect::<Vec<_>>());
    let running = hub.start(How::default());
    fake.wait_for(2);
    running.kill();
    hub.set_actions("");
    hub.run();
    assert_eq!(hub.dead().len(), 600);
    assert!(hub.told().iter().all(|(kind, p)| kind == "action_failed" && p["kind"] == ""));
}

#[test]
fn after_an_outage_all_arrive_in_order() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = hub(&fake, "body = '.event.id'\n");
    let ids: Vec<String> = (0..200).map(|_| new_id()).collect();
    hub.feed(&ids.iter().map(|id| fresh(id, &["a"])).collect::<Vec<_>>());
    // Some go out; then the service is down, busy, cut off, and back.
    let down = [say(503, ""), Say::Close, Say::Http(429, "Retry-After: 1\r\n", String::new())];
    fake.script((0..70).map(|_| say(200, "")).chain(down).chain([say(200, "")]).collect());
    hub.run();
    let tried: Vec<serde_json::Value> = fake.got().iter().map(crate::fake::Got::json).collect();
    assert_eq!(tried.len(), ids.len() + 3);
    // The last try of each is the one that got through.
    let at = |id: &String| tried.iter().rposition(|told| told == id).unwrap();
    assert!(ids.iter().map(at).is_sorted(), "{tried:?}");
    assert!(hub.told().iter().all(|(kind, _)| kind == "action_done"));
}

#[test]
fn a_delivery_that_always_fails_holds_up_no_other() {
    let (fake, id) = (Http::start(vec![say(200, "")]), new_id());
    let refuses = id.clone();
    fake.decide(move |got| if got.body.contains(&refuses) { say(500, "") } else { say(200, "") });
    let hub = hub(&fake, "body = '.event.id'\ngive_up = \"5m\"\n");
    let mut lines = vec![fresh(&id, &["a"])];
    lines.extend((0..150).map(|_| fresh(&new_id(), &["a"])));
    hub.feed(&lines);
    hub.run();
    let got = fake.got();
    let last = got.iter().rposition(|got| !got.body.contains(&id)).unwrap();
    assert!(got[..last].iter().filter(|got| got.body.contains(&id)).count() <= 2, "the others went ahead");
    assert_eq!((hub.dead().len(), hub.told().len()), (1, 151));
}

#[test]
fn a_reload_holds_for_the_next_try() {
    let (down, up) = (Http::start(vec![say(503, "")]), Http::start(vec![say(200, "")]));
    let hub = hub(&down, "");
    hub.feed(&[fresh(&new_id(), &["a"])]);
    let running = hub.start(How::default());
    down.wait_for(2);
    *running.how.reload.lock().unwrap() = Some(self::hub(&up, "").config);
    assert_eq!(running.join(), Exit::Done);
    assert_eq!((up.got().len(), up.got()[0].key()), (1, down.got()[0].key()));
}

#[test]
fn a_chain_ends_after_one_turn() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = hub(&fake, "");
    let caused = fresh(&new_id(), &["a"])
        .replace("\"probes\":", "\"cause\":{\"event\":\"e\",\"probe\":\"p\",\"action\":\"b\"},\"probes\":");
    hub.feed(&[caused]);
    hub.run();
    assert_eq!((fake.got().len(), hub.told().len()), (1, 0));
}

#[test]
fn at_the_shell() {
    let fake = Http::start(vec![say(200, ""), say(404, "")]);
    let hub = hub(&fake, "[action.b]\nkind = \"http\"\nurl = { env = \"ZENTRAL_TEST_NOT_SET\" }\n");
    let bare = fresh(&new_id(), &["b"]).replace("\"probes\":[", "\"other\":[");
    hub.feed(&[bare.clone(), bare, fresh(&new_id(), &["b"])]);
    let named = How { names: vec!["a".into()], memory: true, ..How::default() };
    assert_eq!(hub.start(named.clone()).join(), Exit::No, "the second one is dead");
    assert_eq!(fake.got().len(), 2, "the repeat is none, and `b` was not asked");
    let pipeline = Hub::new("[action.b]\nkind = \"http\"\nurl = { env = \"ZENTRAL_TEST_NOT_SET\" }\n");
    pipeline.feed(&[]);
    assert_eq!(pipeline.run(), Exit::Usage, "all actions need their secrets in a pipeline");

    fake.script(vec![say(200, "")]);
    let mode = Mode { no_ledger: true, ..Mode::default() };
    assert_eq!(hub.start(How { mode, ..named.clone() }).join(), Exit::Done);
    let got = fake.got();
    assert_eq!(got.len(), 2 + 3, "nothing is remembered");
    assert_ne!(got[2].key(), got[3].key());

    let mode = Mode { dry_run: true, ..Mode::default() };
    assert_eq!(hub.start(How { mode, ..named.clone() }).join(), Exit::Done);
    assert_eq!(fake.got().len(), 5, "nothing is sent");
    let shown = self::hub(&fake, "");
    shown.feed(&[fresh(&new_id(), &[])]);
    assert_eq!(shown.start(How { mode, ..named.clone() }).join(), Exit::Done);
    let line: serde_json::Value = serde_json::from_str(&shown.lines()[0]).unwrap();
    assert_eq!((&line["action"], &line["probe"]), (&"a".into(), &"usb".into()));
    assert_eq!(line.pointer("/would_send/origin").unwrap(), &fake.url);
    let none = How { names: vec!["c".into()], ..named };
    assert_eq!(hub.start(none).join(), Exit::Usage);
}

#[test]
fn where_nothing_is_sent_no_secret_is_needed() {
    let none = "{ env = \"ZENTRAL_TEST_NOT_SET\" }";
    let hub = Hub::new(&format!(
        "[action.a]\nkind = \"slack\"\nurl = {none}\nheaders = {{ X-A = {none} }}\n\
         hmac = {{ header = \"X-Sum\", secret = {none} }}\n\
         [action.m]\nkind = \"email\"\nfrom = \"a@example.com\"\nto = \"b@example.com\"\n\
         smtp = {{ url = \"smtps://mail.example.com\", user = \"hub\", password = {{ file = \"not/there\" }} }}\n\
         [action.x]\nkind = \"exec\"\nrun = [\"/bin/false\"]\nenv = [\"ZENTRAL_TEST_NOT_SET\"]\n"
    ));
    hub.feed(&[fresh(&new_id(), &["a", "m", "x"])]);
    assert_eq!(hub.run(), Exit::Usage);
    let shown = How { mode: Mode { dry_run: true, ..Mode::default() }, memory: true, ..How::default() };
    assert_eq!(hub.start(shown).join(), Exit::Done);
    assert_eq!(hub.lines().len(), 3);
    assert!(hub.lines().iter().all(|line| line.contains("would_send")));
    let recorded = How { mode: Mode { recorded: true, ..Mode::default() }, memory: true, ..How::default() };
    assert_eq!(hub.start(recorded).join(), Exit::Done);
}

#[test]
fn recorded_lines_are_judged_as_on_their_own_day() {
    let fake = Http::start(vec![Say::Hang]);
    let hub = hub(&fake, "");
    let old = 400 * 86_400_000;
    hub.feed(&[a_match(&new_id(), &["a"], old), a_match(&new_id(), &["a"], old - 86_400_001 * 3)]);
    let how = How { mode: Mode { recorded: true, ..Mode::default() }, ..How::default() };
    assert_eq!(hub.start(how).join(), Exit::Done);
    let told = hub.told();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|(kind, p)| kind == "action_done" && p["dry_run"] == true), "{told:?}");
    assert!(hub.outcomes()[0].received.ms() < START - 300 * 86_400_000);
    assert!(fake.got().is_empty());
}

//! What Jamf is told of a computer, and what becomes of it when Jamf is in trouble.

use std::sync::{Arc, Mutex};

use act::actions::{Action, Opening, Verdict};
use act::call::Call;
use act::conf::Configured;
use act::jq::Jq;
use act::told::{Incident, Phase, Told};
use event::Event;
use pipe::Exit;
use serde_json::{Value, json};

use crate::fakes::jamf::server::{ATTRIBUTE, STATIC, Seen, management};
use crate::fakes::jamf::{ID, Jamf, SECRET};
use crate::fakes::{Fake, Reply, Trouble};
use crate::hub::{How, Hub, a_match, new_id};

fn table(url: &str, more: &str) -> String {
    format!(
        "[action.a]\nkind = \"jamf\"\nurl = \"{url}\"\nclient = {{ id = \"{ID}\", secret = \"{SECRET}\" }}\n\
         timeout = \"2s\"\n{more}\n"
    )
}

fn start(troubles: Vec<Trouble>, more: &str) -> (Fake, Arc<Mutex<Seen>>, Hub) {
    let jamf = Jamf::new(3);
    let seen = jamf.seen.clone();
    let fake = Fake::start(jamf, troubles);
    let hub = Hub::new(&table(&fake.url, more));
    (fake, seen, hub)
}

/// A match of the computer with this number.
fn of(id: &str, computer: u64, title: &str) -> String {
    let line = a_match(id, &["a"], 0)
        .replace("\"serial_number\":\"C02\"", &format!("\"serial_number\":\"C02X{computer:05}\""));
    line.replace(&format!("USB <b> & *{id}*"), title)
}

fn members(seen: &Mutex<Seen>) -> Vec<u64> {
    seen.lock().unwrap().groups.get(&STATIC.0).into_iter().flatten().copied().collect()
}

const GROUP: &str = "group = \"Quarantine & Co\"";

#[test]
fn a_computer_goes_into_a_group_and_out_of_it() {
    let (_fake, seen, hub) = start(vec![], GROUP);
    hub.feed(&[of(&new_id(), 2, "x"), of(&new_id(), 2, "x"), of(&new_id(), 3, "x"), of(&new_id(), 7, "x")]);
    assert_eq!(hub.run(), Exit::Done);
    assert_eq!(members(&seen), [2, 3]);
    let dead = hub.dead();
    assert_eq!((dead.len(), dead[0]["error"].as_str()), (1, Some("Jamf does not know this computer")));
    let said = format!("{:?}{:?}", hub.lines(), dead);
    assert!(!said.contains(SECRET) && !said.contains("token-"), "{said}");
    let mut hub = hub;
    let url = hub.config.actions["a"].clone().str("url").unwrap();
    hub.set_actions(&table(&url, "group = 3\nremove = true"));
    hub.feed(&[of(&new_id(), 2, "x")]);
    hub.run();
    assert_eq!(members(&seen), [3]);
}

#[test]
fn an_attribute_says_what_the_match_says_and_no_more() {
    let (_fake, seen, hub) = start(vec![], "attribute = \"Hub state\"\nvalue = '.title'");
    let title = "</value><id>9</id>&amp; ü \\u0007\\u202e]]>";
    hub.feed(&[of(&new_id(), 1, title)]);
    hub.run();
    let values = seen.lock().unwrap().values.clone();
    let value = values.get(&(1, ATTRIBUTE.0)).unwrap();
    assert!(value.starts_with("</value><id>9</id>&amp; ü ") && !value.contains('\u{7}'), "{value:?}");
    assert_eq!(values.len(), 1);
}

#[test]
fn commands_are_sent_once() {
    for (more, data) in [
        ("command = \"RESTART_DEVICE\"", json!({"commandType": "RESTART_DEVICE"})),
        (
            "command = \"DEVICE_LOCK\"\nconfirm = \"DEVICE_LOCK\"\npin = \"493817\"",
            json!({"commandType": "DEVICE_LOCK", "pin": "493817"}),
        ),
    ] {
        let (_fake, seen, hub) = start(vec![], more);
        hub.feed(&[of(&new_id(), 2, "x")]);
        hub.run();
        let want = json!({"clientData": [{"managementId": management(2)}], "commandData": data});
        assert_eq!(seen.lock().unwrap().commands, [want], "{:?}", hub.told());
        let (_, told) = act::trial::run(&dry(&hub, more), &hub.texts(), "a", None).unwrap();
        assert!(!format!("{told:?}{:?}", hub.lines()).contains("493817"), "{told:?}");
        assert_eq!(told[0].pointer("/would_send/body/commandData/commandType"), data.get("commandType"));
    }
    let (_fake, seen, hub) = start(vec![], "command = \"BLANK_PUSH\"");
    hub.feed(&[of(&new_id(), 2, "x")]);
    hub.run();
    assert_eq!(seen.lock().unwrap().commands, [json!({"clientManagementIds": [management(2)]})]);
}

fn dry(hub: &Hub, more: &str) -> pipe::config::Config {
    let url = hub.config.actions["a"].clone().str("url").unwrap();
    Hub::new(&table(&url, &format!("{more}\ndry_run = true"))).config.clone()
}

#[test]
fn everything_that_passes_is_tried_again() {
    for more in [GROUP, "attribute = 4\nvalue = '1'"] {
        let troubles = vec![
            Trouble::Say(Reply::text(429, "").with("Retry-After", "5")),
            Trouble::Say(Reply::text(500, "oops")),
            Trouble::Say(Reply::text(503, "<html>down</html>")),
            Trouble::Reset,
            Trouble::Hang,
            Trouble::Flood,
        ];
        let (fake, seen, hub) = start(troubles, more);
        hub.feed(&[of(&new_id(), 2, "x")]);
        assert_eq!(hub.run(), Exit::Done);
        assert!(hub.told().iter().all(|(_, p)| p["outcome"] == "done"), "{:?}", hub.told());
        let got = fake.got();
        let waited = got[1].at.duration_since(got[0].at).as_millis() as i64 * crate::hub::SPEED;
        assert!(waited >= 5_000, "what it asks for is waited: {waited} ms");
        assert!(members(&seen) == [2] || seen.lock().unwrap().values.get(&(2, 4)).is_some_and(|v| v == "1"));
    }
}

/// A server of before has no Pro API; a machine of which no serial number is known has its hardware UUID.
#[test]
fn an_old_server_and_a_machine_without_a_serial_number() {
    for old in [true, false] {
        let mut jamf = Jamf::new(3);
        jamf.manner.old = old;
        let seen = jamf.seen.clone();
        let fake = Fake::start(jamf, vec![]);
        let hub = Hub::new(&table(&fake.url, GROUP));
        let udid = "\"hardware_uuid\":\"54f50251-7d34-470e-98d1-000000000003\""
            .to_uppercase()
            .replace("HARDWARE_UUID", "hardware_uuid");
        let hostile = of(&new_id(), 2, "x").replace("C02X00002", "C02X00002\\\" or id==\\\"1");
        hub.feed(&[
            of(&new_id(), 2, "x"),
            a_match(&new_id(), &["a"], 0).replace("\"serial_number\":\"C02\"", &udid),
            hostile,
        ]);
        hub.run();
        assert_eq!(members(&seen), [2, 3], "{:?}", hub.told());
        let dead = hub.dead();
        assert_eq!((dead.len(), dead[0]["error"].as_str()), (1, Some("Jamf does not know this computer")));
    }
}

/// After so many requests.
fn after(n: usize, trouble: Trouble) -> Vec<Trouble> {
    std::iter::repeat_n(Trouble::Pass, n).chain([trouble]).collect()
}

/// Requests of one delivery to a server of which the third version of the API is the newest: a token, the computer.
const FOUND: usize = 4;
/// And by what the MDM knows it.
const BEFORE: usize = FOUND + 3;
/// Or the groups.
const GROUPS: usize = FOUND + 1;

#[test]
fn a_command_of_which_nobody_knows_is_not_sent_again() {
    let broken = [408, 500, 502, 504].map(|status| Trouble::Say(Reply::text(status, "")));
    for trouble in [Trouble::Lost, Trouble::Mute].into_iter().chain(broken) {
        let said = matches!(trouble, Trouble::Say(_));
        let (fake, seen, hub) = start(vec![], "command = \"RESTART_DEVICE\"");
        hub.feed(&[of(&new_id(), 2, "x")]);
        hub.run();
        assert_eq!(fake.got().len(), BEFORE + 1, "{:?}", fake.got());
        // The token is there no more: the action was opened anew.
        let (fake, seen2, hub2) = start(vec![], "command = \"RESTART_DEVICE\"");
        fake.trouble(after(BEFORE, trouble));
        hub2.feed(&[of(&new_id(), 2, "x")]);
        hub2.run();
        // What it says it has not taken: whatever became of it, it is not asked again.
        let taken = usize::from(!said);
        assert_eq!((seen.lock().unwrap().commands.len(), seen2.lock().unwrap().commands.len()), (1, taken));
        let told = hub2.told();
        assert_eq!((told.len(), &told[0].1["outcome"]), (1, &json!("unknown")), "{told:?}");
        assert_eq!(hub2.dead().len(), 1);
    }
    // Of these it says that it did not begin.
    for status in [429, 503] {
        let (fake, seen, hub) = start(vec![], "command = \"RESTART_DEVICE\"");
        fake.trouble(after(BEFORE, Trouble::Say(Reply::text(status, ""))));
        hub.feed(&[of(&new_id(), 2, "x")]);
        hub.run();
        assert_eq!((seen.lock().unwrap().commands.len(), &hub.told()[0].1["outcome"]), (1, &json!("done")));
    }
    // A group is: a member that is put in twice is in once.
    let (fake, seen, hub) = start(vec![], GROUP);
    fake.trouble(after(GROUPS, Trouble::Lost));
    hub.feed(&[of(&new_id(), 2, "x")]);
    hub.run();
    assert_eq!((members(&seen), hub.dead().len(), &hub.told()[0].1["outcome"]), (vec![2], 0, &json!("done")));
    assert_eq!(fake.got().iter().filter(|r| r.method == "PUT").count(), 2);
}

#[test]
fn a_crash_between_the_request_and_the_answer() {
    for (more, before, outcome, sent) in
        [(GROUP, GROUPS, "done", 2), ("command = \"RESTART_DEVICE\"", BEFORE, "unknown", 1)]
    {
        let (fake, seen, hub) = start(vec![], more);
        fake.trouble(after(before, Trouble::Mute));
        hub.feed(&[of(&new_id(), 2, "x")]);
        let running = hub.start(How::default());
        fake.wait_for(before + 1);
        running.kill();
        hub.run();
        hub.run();
        let told = hub.told();
        assert_eq!((told.len(), &told[0].1["outcome"]), (1, &json!(outcome)), "{told:?}");
        let writes = |r: &&crate::fakes::Request| r.method == "PUT" || r.raw_path.ends_with("/commands");
        assert_eq!(fake.got().iter().filter(writes).count(), sent);
        assert_eq!(members(&seen).len() + seen.lock().unwrap().commands.len(), 1);
    }
}

#[test]
fn of_two_computers_with_one_serial_number_none_is_changed() {
    let jamf = Jamf::new(3);
    jamf.share_serial(3, 2);
    let seen = jamf.seen.clone();
    let fake = Fake::start(jamf, vec![]);
    let hub = Hub::new(&table(&fake.url, GROUP));
    hub.feed(&[of(&new_id(), 2, "x"), of(&new_id(), 1, "x")]);
    hub.run();
    let dead = hub.dead();
    let why = "Jamf has several computers of this serial number";
    assert_eq!((dead.len(), dead[0]["error"].as_str(), members(&seen)), (1, Some(why), vec![1]));
}

#[test]
fn what_is_refused_is_dead_at_once() {
    for (more, says) in [
        ("group = \"All Managed Clients\"", "smart one"),
        ("group = \"Nobody\"", "no such group"),
        ("group = 77", "no such group"),
        ("attribute = \"Nothing\"\nvalue = '1'", "no such extension attribute"),
        ("attribute = 4\nvalue = '[1]'", "neither text nor a number"),
        ("attribute = 4\nvalue = '\"x\" * 40000'", "longer than"),
        ("attribute = 99\nvalue = '1'", "answers 409"),
    ] {
        let (_fake, seen, hub) = start(vec![], more);
        hub.feed(&[of(&new_id(), 2, "x")]);
        hub.run();
        let dead = hub.dead();
        assert!(dead.len() == 1 && dead[0]["error"].as_str().unwrap().contains(says), "{more}: {:?}", hub.told());
        assert_eq!(dead[0]["tries"], 1);
        assert!(seen.lock().unwrap().values.is_empty() && members(&seen).is_empty());
    }
    let elsewhere = Fake::start(Jamf::new(3), vec![]);
    let to = Reply::text(307, "").with("Location", &format!("{}/x", elsewhere.url));
    let (_fake, _, hub) = start(vec![Trouble::Say(to)], GROUP);
    hub.feed(&[of(&new_id(), 2, "x")]);
    hub.run();
    assert_eq!((elsewhere.got().len(), hub.dead().len()), (0, 1), "a redirect leads nowhere");
}

#[test]
fn what_an_incident_did_is_undone_with_it() {
    let closing = "attribute = 4\nvalue = '.probe.name'\nclosed = '\"\"'";
    for (more, open, closed) in [
        (GROUP, vec!["2"], vec![]),
        ("group = 3\nundo = false", vec!["2"], vec!["2"]),
        (closing, vec!["usb"], vec![""]),
        ("attribute = 4\nvalue = '.probe.name'", vec!["usb"], vec!["usb"]),
        ("command = \"LOG_OUT_USER\"", vec!["LOG_OUT_USER"], vec!["LOG_OUT_USER"]),
    ] {
        let (_fake, seen, hub) = start(vec![], more);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let jq = Jq::start().unwrap();
        let action = opened(&hub, &jq);
        let line = of("e1", 2, "x");
        let state = || -> Vec<String> {
            let seen = seen.lock().unwrap();
            let groups = seen.groups.values().flatten().map(u64::to_string);
            let commands = seen.commands.iter().map(|c| c["commandData"]["commandType"].as_str().unwrap().to_owned());
            groups.chain(seen.values.values().cloned()).chain(commands).collect()
        };
        let mut noted = None;
        for (phase, want) in [(Phase::Opened, &open), (Phase::Changed, &open), (Phase::Closed, &closed)] {
            let answer = runtime.block_on(action.send(&told(&line, phase, &noted)));
            noted = answer.reference.or(noted);
            assert_eq!((answer.verdict, &state()), (Verdict::Done, &want.iter().map(|s| (*s).to_owned()).collect()));
        }
        assert!(runtime.block_on(action.online().unwrap()).is_ok());
    }
}

/// Tells the action so; each knows what those before have noted.
fn tell(hub: &Hub, lines: &[(String, Phase)]) -> Vec<Verdict> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let jq = Jq::start().unwrap();
    let (action, mut noted) = (opened(hub, &jq), None);
    let mut verdicts = Vec::new();
    for (line, phase) in lines {
        let answer = runtime.block_on(action.send(&told(line, *phase, &noted)));
        verdicts.push(answer.verdict);
        noted = answer.reference.or(noted);
    }
    verdicts
}

#[test]
fn who_was_in_the_group_before_stays_and_who_never_was_stays_out() {
    for (more, before, within, after) in [
        (GROUP, vec![2], vec![2], vec![2]),
        (GROUP, vec![], vec![2], vec![]),
        ("group = 3\nremove = true", vec![], vec![], vec![]),
        ("group = 3\nremove = true", vec![2], vec![], vec![2]),
    ] {
        let (_fake, seen, hub) = start(vec![], more);
        seen.lock().unwrap().groups.entry(STATIC.0).or_default().extend(before);
        let opened = (of("e1", 2, "x"), Phase::Opened);
        tell(&hub, std::slice::from_ref(&opened));
        assert_eq!(members(&seen), within, "{more}");
        let (_fake, seen, hub) = start(vec![], more);
        seen.lock().unwrap().groups.entry(STATIC.0).or_default().extend(&after);
        assert_eq!(tell(&hub, &[opened, (of("e2", 2, "x"), Phase::Closed)]), [Verdict::Done; 2]);
        assert_eq!(members(&seen), after, "{more}");
        // What was never done is not undone.
        tell(&hub, &[(of("e2", 3, "x"), Phase::Closed)]);
        assert_eq!(members(&seen), after, "{more}");
    }
}

#[test]
fn an_end_undoes_what_its_incident_did_and_not_the_machine_that_it_names() {
    let (_fake, seen, hub) = start(vec![], GROUP);
    seen.lock().unwrap().groups.entry(STATIC.0).or_default().insert(1);
    let nameless = a_match("e4", &["a"], 0).replace("\"serial_number\":\"C02\",", "");
    let lines = [(of("e1", 2, "x"), Phase::Opened), (of("e2", 3, "x"), Phase::Changed)];
    tell(&hub, &lines);
    assert_eq!(members(&seen), [1, 2, 3]);
    for end in [of("e3", 1, "x"), nameless] {
        let seen_before = seen.lock().unwrap().groups.insert(STATIC.0, [1].into());
        assert!(seen_before.is_some());
        let lines = [lines[0].clone(), lines[1].clone(), (end, Phase::Closed)];
        assert_eq!(tell(&hub, &lines), [Verdict::Done; 3]);
        assert_eq!(members(&seen), [1]);
    }
}

#[test]
fn a_change_whose_answer_was_lost_is_undone_as_well() {
    let (fake, seen, hub) = start(vec![], GROUP);
    fake.trouble(after(GROUPS + 1, Trouble::Lost));
    let opened = (of("e1", 2, "x"), Phase::Opened);
    let told = tell(&hub, &[opened.clone(), opened, (of("e2", 2, "x"), Phase::Closed)]);
    assert!(matches!(told[0], Verdict::Later { .. }) && told[1..] == [Verdict::Done; 2], "{told:?}");
    assert_eq!(members(&seen), [0; 0]);
}

fn opened(hub: &Hub, jq: &Jq) -> Arc<dyn Action> {
    let configured = Configured::read(&hub.config.actions["a"], &hub.config, &hub.texts()).unwrap_or_else(|found| {
        panic!("{}", pipe::config::render(&found));
    });
    configured.open(Opening { jq, registry: &hub.registry(), dry_run: false }).unwrap().action
}

fn told(line: &str, state: Phase, noted: &Option<Value>) -> Call {
    Call {
        key: "k".into(),
        action: "a".into(),
        target: String::new(),
        line: line.into(),
        event: Event::parse(line.as_bytes()).unwrap(),
        url: None,
        told: Told {
            state: Some(state),
            incident: Some(Incident::default()),
            reference: noted.clone(),
            ..Told::default()
        },
    }
}

#[test]
fn mistakes_in_the_table_are_named() {
    let client = format!("url = \"https://jss.example.com\"\nclient = {{ id = \"{ID}\", secret = \"{SECRET}\" }}\n");
    for (text, says) in [
        (String::new(), "needs the keys `url` and `client`, or `source`"),
        (client.clone(), "needs one of the keys"),
        (format!("{client}group = \"a\"\ncommand = \"BLANK_PUSH\""), "needs one of the keys"),
        (format!("{client}group = 0"), "the name or the number"),
        (format!("{client}command = \"DELETE_USER\""), "none of BLANK_PUSH"),
        (format!("{client}command = \"ERASE_DEVICE\""), "say it twice"),
        (format!("{client}command = \"ERASE_DEVICE\"\nconfirm = \"DEVICE_LOCK\""), "say it twice"),
        (format!("{client}command = \"DEVICE_LOCK\"\nconfirm = \"DEVICE_LOCK\""), "needs the key `pin`"),
        (format!("{client}command = \"DEVICE_LOCK\"\nconfirm = \"DEVICE_LOCK\"\npin = \"12ab\""), "not 6 digits"),
        (format!("{client}command = \"BLANK_PUSH\"\nconfirm = \"BLANK_PUSH\""), "belongs to"),
        (format!("{client}attribute = \"x\""), "needs the key `value`"),
        (client.replace("https", "http") + "group = 3", "must begin with https://"),
        ("source = \"nowhere\"\ngroup = 3".into(), "there is no [source.nowhere]"),
        (format!("{client}source = \"j\"\ngroup = 3"), "the source says it already"),
        (format!("{client}group = 3\ndigest = \"2m\""), "of a computer of its own"),
        (format!("{client}group = 3\ncolour = 1"), "unknown key"),
    ] {
        let hub = Hub::new(&format!(
            "[action.a]\nkind = \"jamf\"\nmax = \"20/h\"\n{text}\n[source.j]\nkind = \"jamf\"\n{client}"
        ));
        let said = pipe::config::render(&act::check(&hub.config, &hub.texts(), true));
        assert!(said.contains(says), "{text}: {said}");
        assert!(!said.contains(SECRET) && !said.contains("12ab"), "{said}");
    }
    let hub = Hub::new(&format!(
        "[action.a]\nkind = \"jamf\"\nmax = \"20/h\"\nsource = \"j\"\ngroup = 3\n[source.j]\nkind = \"jamf\"\n{client}"
    ));
    assert_eq!(pipe::config::render(&act::check(&hub.config, &hub.texts(), true)), "");
}

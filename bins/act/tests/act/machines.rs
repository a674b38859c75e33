//! `munki`, `tag` and `osquery`: what changes machines or asks them.

use std::path::PathBuf;

use event::{Cause, Event, Machine};
use pipe::Exit;
use registry::db::Db;
use registry::{changes, live, tags};
use serde_json::{Value, json};

use crate::fake::wait;
use crate::hub::{How, Hub, fresh, new_id};

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\">\n";

/// A repository beside the configuration: the machine C02 and what every machine gets.
struct Munki(Hub);

impl Munki {
    fn new(action: &str, probe: &str) -> Self {
        let hub = Hub::new(&format!(
            "[action.m]\nkind = \"munki\"\nrepo = \"repo\"\nitem = '.probe.context.item'\nmax = \"50/h\"\n{action}\n\
             [probe.usb]\nfilter = \"true\"\nact = [\"m\"]\n{probe}\n"
        ));
        let munki = Self(hub);
        std::fs::create_dir_all(munki.manifest("")).unwrap();
        std::fs::create_dir_all(munki.repo().join("catalogs")).unwrap();
        let lists = "\t<key>catalogs</key>\n\t<array>\n\t\t<string>production</string>\n\t</array>\n\
            \t<key>managed_uninstalls</key>\n\t<array>\n\t\t<string>Mine</string> <!-- by hand -->\n\t</array>\n";
        let text = format!("{HEAD}<dict>\n{lists}</dict>\n</plist>\n");
        std::fs::write(munki.manifest("C02"), text).unwrap();
        let item = |name: &str| {
            format!(
                "<dict><key>name</key><string>{name}</string><key>uninstallable</key><true/>\
                 <key>uninstall_method</key><string>removeapp</string></dict>"
            )
        };
        let items: String = ["Foo", "Bar", "Mine"].into_iter().map(item).collect();
        std::fs::write(munki.repo().join("catalogs/production"), format!("<plist><array>{items}</array></plist>"))
            .unwrap();
        munki
    }

    fn repo(&self) -> PathBuf {
        self.0.dir.path().join("repo")
    }

    fn manifest(&self, name: &str) -> PathBuf {
        self.repo().join("manifests").join(name)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.manifest("C02")).unwrap()
    }

    /// Feeds one match that names an item.
    fn feed(&self, item: &Value, closes: bool) {
        self.0.feed(&[named(item, closes)]);
    }

    /// The payloads of what became of its deliveries.
    fn done(&self) -> Vec<Value> {
        let ours = |(kind, payload): (String, Value)| kind.starts_with("action_").then_some(payload);
        self.0.told().into_iter().filter_map(ours).collect()
    }
}

fn named(item: &Value, closes: bool) -> String {
    let line = fresh(&new_id(), &["m"]);
    let line = line.replace("\"context\":{", &format!("\"context\":{{\"item\":{item},"));
    if closes { line.replace("\"key\":\"C02\"", "\"key\":\"C02\",\"closes\":true") } else { line }
}

#[test]
fn an_item_is_slated_for_removal_once() {
    let munki = Munki::new("", "");
    let before = munki.text();
    munki.feed(&json!("Foo"), false);
    munki.feed(&json!(["Foo", "Mine"]), false);
    assert_eq!(munki.0.run(), Exit::Done);
    let line = "\t\t<string>Foo</string>\n";
    assert_eq!(munki.text(), before.replace("hand -->\n", &format!("hand -->\n{line}")), "and nothing else");
    let done = munki.done();
    let noted = |added: &[&str]| json!({"id": "manifests/C02", "manifest": "C02", "list": "managed_uninstalls", "added": added});
    assert_eq!((&done[0]["ref"], &done[1]["ref"]), (&noted(&["Foo"]), &noted(&[])));
    assert!(done.iter().all(|payload| payload["outcome"] == "done"));
}

#[test]
fn a_dry_run_shows_the_change() {
    let munki = Munki::new("dry_run = true", "");
    let before = munki.text();
    let settings = munki.0.config.clone();
    let line = named(&json!("Foo"), false);
    let (exit, told) = act::trial::run(&settings, &munki.0.texts(), "m", Some(line.as_bytes())).unwrap();
    assert_eq!(exit, Exit::Done);
    let shown = &told[0]["would_send"];
    assert_eq!((&shown["path"], &shown["added"]), (&json!("manifests/C02"), &json!(["Foo"])));
    let change = shown["change"].as_str().unwrap();
    assert!(change.starts_with("--- a/manifests/C02\n+++ b/manifests/C02\n@@ "), "{change}");
    assert!(change.contains("\n \t\t<string>Mine</string> <!-- by hand -->\n+\t\t<string>Foo</string>\n"), "{change}");
    munki.feed(&json!("Foo"), false);
    munki.0.run();
    let done = &munki.done()[0];
    assert_eq!((&done["outcome"], &done["dry_run"], munki.text()), (&json!("done"), &json!(true), before));
}

#[test]
fn an_incident_is_undone_when_it_is_over() {
    let munki = Munki::new("undo = true", "until = \"false\"");
    let before = munki.text();
    munki.feed(&json!(["Foo", "Mine"]), false);
    munki.0.run();
    assert!(munki.text().contains("Foo"));
    // The match that closes it names nothing, and what was there before stays.
    munki.feed(&Value::Null, true);
    munki.0.run();
    assert_eq!(munki.text(), before);
    let done = munki.done();
    assert_eq!(done.iter().map(|d| &d["outcome"]).collect::<Vec<_>>(), [&json!("done"), &json!("done")]);
    assert_eq!(done[1]["ref"]["removed"], json!(["Foo"]));

    let munki = Munki::new("", "until = \"false\"");
    munki.feed(&json!("Foo"), false);
    munki.0.run();
    munki.feed(&Value::Null, true);
    munki.0.run();
    assert!(munki.text().contains("Foo"), "only if it is said");
    assert_eq!(munki.done().len(), 2);
}

#[test]
fn what_cannot_be_done_is_a_dead_letter_with_the_reason() {
    for (action, item, says) in [
        ("manifest = '\"../../etc/passwd\"'", json!("Foo"), "is no name of a manifest"),
        ("manifest = '\"nowhere\"'", json!("Foo"), "manifests/nowhere: there is no such manifest"),
        ("manifest = '.event.machine'", json!("Foo"), "`manifest` gave neither a name"),
        ("", json!("</string><string>Bar"), "no name of an item"),
        ("", json!("a\r\nb"), "no name of an item"),
        ("", json!("Nowhere"), "`Nowhere` is not in catalog `production`"),
        ("", Value::Null, "`item` gave neither a name nor a list"),
        ("", json!(["Foo", 7]), "something that is no name"),
    ] {
        let munki = Munki::new(action, "");
        let before = munki.text();
        munki.feed(&item, false);
        munki.0.run();
        let dead = munki.0.dead();
        assert!(dead[0]["error"].as_str().unwrap().contains(says), "{action} {item}: {dead:?}");
        assert_eq!(munki.text(), before);
    }
}

/// A machine calls itself what it likes, also as another's serial number or as a manifest of many.
#[test]
fn a_host_name_is_believed_only_if_that_is_said() {
    for (hostname, action, changed) in
        [("C02", "", false), ("C02.eve", "", false), ("C02.eve", "by_hostname = true", true)]
    {
        let munki = Munki::new(action, "");
        let before = munki.text();
        let eve = format!("\"serial_number\":\"C09\",\"hostname\":\"{hostname}\"");
        let line = named(&json!("Foo"), false).replace("\"serial_number\":\"C02\",\"hostname\":\"ada-mbp\"", &eve);
        assert!(line.contains("C09"), "{line}");
        munki.0.feed(&[line]);
        munki.0.run();
        assert_eq!(munki.text() != before, changed, "{hostname} {action}");
        assert_eq!(munki.0.dead().len(), usize::from(!changed));
    }
}

#[test]
fn a_repository_that_is_away_is_waited_for() {
    let munki = Munki::new("", "");
    let away = munki.0.dir.path().join("away");
    std::fs::rename(munki.repo(), &away).unwrap();
    munki.feed(&json!("Foo"), false);
    let running = munki.0.start(How::default());
    wait("a try", || running.metric("zentral_actions_pending") > 0.0);
    std::thread::sleep(std::time::Duration::from_millis(100));
    std::fs::rename(&away, munki.repo()).unwrap();
    running.join();
    let done = munki.done();
    assert_eq!(done[0]["outcome"], "done");
    assert!(munki.text().contains("Foo"));
}

#[test]
fn what_was_cut_off_is_unknown_and_may_be_tried_again_by_hand() {
    let munki = Munki::new("git = true\nauthor = \"The Hub <hub@example.com>\"", "");
    let git = |words: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]).args(words);
        let output = command.current_dir(munki.repo()).output().unwrap();
        assert!(output.status.success(), "{words:?} {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "begin"]);
    let hook = munki.repo().join(".git/hooks/pre-commit");
    let begun = munki.0.dir.path().join("begun");
    let script = format!("#!/bin/sh\ntouch '{0}'\nwhile test -e '{0}'; do sleep 0.05; done\nexit 1\n", begun.display());
    std::fs::write(&hook, script).unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    munki.feed(&json!("Foo"), false);
    let running = munki.0.start(How::default());
    wait("the hook", || begun.exists());
    running.kill();
    munki.0.run();
    let dead = munki.0.dead();
    assert_eq!((munki.done()[0]["outcome"].as_str(), dead.len()), (Some("unknown"), 1));
    // The hook says no in the end: all is as it was, and the next try does it.
    std::fs::remove_file(&begun).unwrap();
    wait("the way back", || !munki.text().contains("Foo"));
    wait("the index", || git(&["status", "--porcelain"]).is_empty());
    std::fs::remove_file(&hook).unwrap();
    let id = dead[0]["id"].as_str().unwrap().to_owned();
    act::orders::give(&munki.0.registry(), "retry", &[id], munki.0.now()).unwrap();
    let running = munki.0.start(How { stay: std::sync::Arc::new(true.into()), ..How::default() });
    wait("the second try", || munki.done().len() == 2);
    running.join();
    assert_eq!(munki.done()[1]["outcome"], "done");
    let last = git(&["log", "-1", "--format=%an: %B", "--name-only"]);
    assert!(
        last.starts_with("The Hub: manifests/C02: add Foo in managed_uninstalls\n\naction: m\nprobe: usb\n"),
        "{last}"
    );
}

/// A commit that does not end is ended with the try; what was changed is taken back.
#[test]
fn a_try_that_hangs_is_unknown() {
    let munki = Munki::new("git = true\ntimeout = \"500ms\"", "");
    let before = munki.text();
    let git = |words: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]).args(words);
        assert!(command.current_dir(munki.repo()).status().unwrap().success(), "{words:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "begin"]);
    let hook = munki.repo().join(".git/hooks/pre-commit");
    let hold = munki.0.dir.path().join("hold");
    std::fs::write(&hold, "").unwrap();
    std::fs::write(&hook, format!("#!/bin/sh\nwhile test -e '{}'; do sleep 0.05; done\nexit 1\n", hold.display()))
        .unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    munki.feed(&json!("Foo"), false);
    assert_eq!(munki.0.run(), Exit::Done);
    let dead = munki.0.dead();
    assert_eq!((munki.done()[0]["outcome"].as_str(), dead.len()), (Some("unknown"), 1), "{dead:?}");
    assert!(dead[0]["error"].as_str().unwrap().starts_with("no answer within 0.5 s"), "{dead:?}");
    std::fs::remove_file(&hold).unwrap();
    wait("the way back", || munki.text() == before);
}

/// A change is its own proof: said to be repeatable, nothing is lost, doubled or torn whenever the process ends.
#[test]
fn kills_at_random_moments_leave_every_item_once() {
    let munki = Munki::new("repeatable = true\nverify = false\nmanifest = '\"C02\"'", "");
    let before = munki.text();
    let items: Vec<String> = (0..60).map(|n| format!("Item{n}")).collect();
    let mut chance = act::retry::Chance::seeded(5);
    for part in items.chunks(10) {
        munki.0.feed(&part.iter().map(|item| named(&json!(item), false)).collect::<Vec<_>>());
        let running = munki.0.start(How { stay: std::sync::Arc::new(true.into()), ..How::default() });
        std::thread::sleep(std::time::Duration::from_millis(chance.below(40)));
        running.kill();
        act::munki::edit::root(&munki.text()).unwrap();
    }
    munki.0.run();
    let text = munki.text();
    assert!(items.iter().all(|item| text.matches(&format!("<string>{item}</string>")).count() == 1), "{text}");
    assert_eq!(text.lines().count(), before.lines().count() + items.len());
    assert_eq!((munki.done().len(), munki.0.dead().len()), (items.len(), 0));
}

fn machine_tags(hub: &Hub) -> Vec<String> {
    let db = Db::open_read_only(hub.registry()).unwrap().unwrap();
    tags::all(&db).unwrap().remove("C02").unwrap_or_default()
}

fn cause(event: &str, action: &str) -> Cause {
    Cause { event: event.into(), probe: "usb".into(), action: action.into(), ..Cause::default() }
}

#[test]
fn tags_are_given_told_and_taken_back() {
    let hub = Hub::new(
        "[action.t]\nkind = \"tag\"\nadd = [\"rogue\", \"seen\"]\nremove = [\"trusted\"]\nundo = true\n\
         [probe.usb]\nfilter = \"true\"\nact = [\"t\"]\nuntil = \"false\"\n",
    );
    std::fs::create_dir_all(&hub.config.data).unwrap();
    let mut db = Db::open(hub.registry(), &[tags::SCHEMA, changes::SCHEMA]).unwrap();
    let mut tx = db.begin().unwrap();
    let machine = Machine { serial_number: Some("C02".into()), ..Machine::default() };
    for tag in ["seen", "trusted"] {
        tags::add(&mut tx, "C02", tag, machine.clone(), event::Time::now()).unwrap();
    }
    tx.commit().unwrap();
    let id = new_id();
    hub.feed(&[fresh(&id, &["t"])]);
    hub.run();
    assert_eq!(machine_tags(&hub), ["rogue", "seen"]);
    let lines = changes::since(&db, 2, 9).unwrap();
    let events: Vec<Event> = lines.iter().map(|(_, line)| Event::parse(line.trim_ascii_end()).unwrap()).collect();
    assert_eq!(events.len(), 2, "what was so already is no change");
    assert_eq!((&events[0].type_[..], &events[0].cause), ("machine_tag", &Some(cause(&id, "t"))));
    assert_eq!(events[0].payload.get(), r#"{"action":"added","tag":"rogue"}"#);
    assert_eq!(events[1].payload.get(), r#"{"action":"removed","tag":"trusted"}"#);
    hub.feed(&[fresh(&new_id(), &["t"]).replace("\"key\":\"C02\"", "\"key\":\"C02\",\"closes\":true")]);
    hub.run();
    assert_eq!(machine_tags(&hub), ["seen", "trusted"], "as it was, no further");
}

/// A line about another machine than C02, of the same incident.
fn of_machine(line: &str, serial: &str) -> String {
    line.replace("\"serial_number\":\"C02\"", &format!("\"serial_number\":\"{serial}\""))
}

/// The key of an incident may be a user: each machine gets back what was changed of it, whose event ever comes last.
#[test]
fn what_is_undone_is_undone_where_it_was_done() {
    let hub = Hub::new(
        "[action.t]\nkind = \"tag\"\nadd = [\"rogue\"]\nundo = true\n\
         [probe.usb]\nfilter = \"true\"\nact = [\"t\"]\nuntil = \"false\"\n",
    );
    std::fs::create_dir_all(&hub.config.data).unwrap();
    let mut db = Db::open(hub.registry(), &[tags::SCHEMA, changes::SCHEMA]).unwrap();
    let mut tx = db.begin().unwrap();
    tags::add(&mut tx, "C04", "rogue", Machine::default(), event::Time::now()).unwrap();
    tx.commit().unwrap();
    hub.feed(&[fresh(&new_id(), &["t"])]);
    hub.run();
    hub.feed(&[of_machine(&fresh(&new_id(), &["t"]).replace("major", "critical"), "C03")]);
    hub.run();
    let all = || tags::all(&db).unwrap().into_keys().collect::<Vec<_>>();
    assert_eq!(all(), ["C02", "C03", "C04"]);
    let closes = fresh(&new_id(), &["t"]).replace("\"key\":\"C02\"", "\"key\":\"C02\",\"closes\":true");
    hub.feed(&[of_machine(&closes, "C04")]);
    hub.run();
    assert_eq!(all(), ["C04"], "it had the tag before");
    let (_, last) = changes::since(&db, 4, 1).unwrap().pop().unwrap();
    let told = Event::parse(last.trim_ascii_end()).unwrap();
    assert_eq!(told.machine.unwrap().hostname.as_deref(), Some("ada-mbp"), "as it is known");

    let munki = Munki::new("undo = true", "until = \"false\"");
    let before = munki.text();
    let copy = |name: &str| std::fs::copy(munki.manifest("C02"), munki.manifest(name)).unwrap();
    copy("C03");
    munki.feed(&json!("Foo"), false);
    munki.0.run();
    copy("C04");
    munki.0.feed(&[of_machine(&named(&json!(["Foo", "Bar"]), false).replace("major", "critical"), "C03")]);
    munki.0.run();
    munki.0.feed(&[of_machine(&named(&Value::Null, true), "C04")]);
    munki.0.run();
    assert_eq!(munki.text(), before);
    assert_eq!(std::fs::read_to_string(munki.manifest("C03")).unwrap(), before);
    assert!(std::fs::read_to_string(munki.manifest("C04")).unwrap().contains("Foo"), "nothing was changed there");
    assert!(munki.done().iter().all(|done| done["outcome"] == "done"));
    assert_eq!(munki.0.dead().len(), 0);
}

#[test]
fn tags_of_a_tag_end_there() {
    let hub = Hub::new("[action.t]\nkind = \"tag\"\nadd = [\"rogue\"]\n");
    let of = |type_: &str| {
        let cause = r#""cause":{"event":"e","probe":"p","action":"t"},"probes""#;
        fresh(&new_id(), &["t"]).replace("osquery_result", type_).replace("\"probes\"", cause)
    };
    hub.feed(&[of("machine_tag")]);
    hub.run();
    assert!(hub.dead()[0]["error"].as_str().unwrap().contains("every chain ends after one turn"));
    hub.feed(&[of("osquery_distributed_query_result")]);
    hub.run();
    assert_eq!(machine_tags(&hub), ["rogue"]);
}

#[test]
fn a_machine_is_asked_once() {
    let hub = Hub::new(
        "[action.q]\nkind = \"osquery\"\nsql = \"select * from hash where path = :path\"\n\
         values = '{path: .probe.context.title}'\nwait = \"2h\"\n",
    );
    let id = new_id();
    hub.feed(&[fresh(&id, &["q"]).replace("USB <b>", "it's' or 1=1; --")]);
    hub.run();
    let db = Db::open_read_only(hub.registry()).unwrap().unwrap();
    let now = event::Time::now().ms();
    let open = live::open(&db, now).unwrap();
    let title = format!("'it''s'' or 1=1; -- & *{id}*'");
    assert_eq!(open.len(), 1);
    assert_eq!(open[0].sql, format!("select * from hash where path = {title}"));
    assert_eq!((open[0].scope.as_str(), open[0].max), (r#"{"machines":["C02"]}"#, Some(1)));
    assert!((7_100_000..=7_200_000).contains(&(open[0].until - now)), "{}", open[0].until - now);
    let means = live::means(&db, &open[0].id).unwrap();
    assert_eq!(serde_json::from_str::<Cause>(&means.cause.unwrap()).unwrap(), cause(&id, "q"));
    assert_eq!(hub.told()[0].1["ref"]["id"], open[0].id.as_str());
    // What an action made asks nobody again.
    let made = r#""cause":{"event":"e","probe":"p","action":"q"},"probes""#;
    hub.feed(&[fresh(&new_id(), &["q"]).replace("\"probes\"", made)]);
    hub.run();
    assert_eq!((live::open(&db, now).unwrap().len(), hub.dead().len()), (1, 1));
}

#[test]
fn mistakes_are_found_before() {
    let munki = "kind = \"munki\"\nrepo = \"r\"\n";
    for (action, says) in [
        ("kind = \"munki\"\nitem = '.x'\n".to_owned(), "needs the key `repo`"),
        (munki.to_owned(), "needs the key `item`"),
        (format!("{munki}item = '.x'\nbundle_id = '.x'"), "not both"),
        (format!("{munki}item = '.x'\nlist = \"managed_uninstall\""), "did you mean `managed_uninstalls`"),
        (format!("{munki}item = '.x'\ntemplate = \"a\""), "is for `create = true`"),
        (format!("{munki}item = '.x'\ncreate = true\ntemplate = \"../a\""), "is no name of a manifest"),
        (format!("{munki}item = '.x'\ngit = true\nauthor = \"hub\""), "is no `Name <address>`"),
        (format!("{munki}item = '.x'\nmanifest = '.x'\nby_hostname = true"), "is for the machine's own manifest"),
        (format!("{munki}item = '.x'\ndigest = \"2m\""), "does not fit"),
        ("kind = \"tag\"".to_owned(), "needs the key `add` or `remove`"),
        ("kind = \"tag\"\nadd = [\"A b\"]".to_owned(), "`A b` is no tag"),
        ("kind = \"tag\"\nadd = [\"a\"]\nremove = [\"a\"]".to_owned(), "`a` is to be given as well"),
        ("kind = \"osquery\"".to_owned(), "needs the key `sql`"),
        ("kind = \"osquery\"\nsql = \"drop table x\"".to_owned(), "the SQL is wrong"),
        ("kind = \"osquery\"\nsql = \"select :a\"".to_owned(), "`:a` needs the key `values`"),
        ("kind = \"osquery\"\nsql = \"select 1\"\nvalues = '{}'".to_owned(), "no `:name`"),
        ("kind = \"osquery\"\nof = \"nowhere\"".to_owned(), "there is no probe `nowhere` with a query"),
    ] {
        let hub = Hub::new(&format!("[action.a]\n{action}\n"));
        let found = pipe::config::render(&act::check(&hub.config, &hub.texts(), true));
        assert!(found.contains(says), "{action}: {found}");
    }
}

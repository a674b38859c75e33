//! `exec` and `file`.

use pipe::Exit;
use serde_json::{Value, json};

use crate::conditions::{closing, titled};
use crate::fake::{Http, say, wait};
use crate::hub::{How, Hub, fresh, new_id};

fn exec(script: &str, more: &str) -> Hub {
    let script = serde_json::to_string(script).unwrap();
    Hub::new(&format!(
        "[action.x]\nkind = \"exec\"\nrun = [\"/bin/sh\", \"-c\", {script}, \"arg0\", \"$HOME; id\"]\n{more}"
    ))
}

#[test]
fn exit_codes() {
    for (script, outcome, status, error) in [
        ("exit 0", "done", 0, ""),
        ("echo one >&2; echo two >&2; exit 3", "dead", 3, "exit 3: two"),
        ("test -e again && exit 0; touch again; exit 75", "done", 0, ""),
        ("cat >/dev/null; yes | head -c 300000; exit 0", "done", 0, ""),
        (
            "env | grep -v -e ^PATH= -e ^PWD= -e ^SHLVL= -e ^_= -e ^OLDPWD= | grep . >&2 && exit 1; exit 0",
            "done",
            0,
            "",
        ),
        ("test \"$1\" = '$HOME; id' || exit 1", "done", 0, ""),
        ("kill -9 $$", "unknown", -1, "ended by a signal (signal: 9 (SIGKILL)); nobody knows whether it was done"),
    ] {
        let hub = exec(script, "");
        hub.feed(&[fresh(&new_id(), &["x"])]);
        assert_eq!(hub.run(), Exit::Done);
        let told = hub.told();
        assert_eq!(told.len(), 1, "{script}");
        let payload = &told[0].1;
        assert_eq!(payload["outcome"], outcome, "{script}: {payload}");
        assert_eq!(payload["status"].as_i64().unwrap_or(-1), status, "{script}: {payload}");
        assert_eq!(payload["error"].as_str().unwrap_or(""), error, "{script}");
    }
}

#[test]
fn the_match_is_on_stdin_and_the_group_ends_at_the_timeout() {
    let hub = exec("cat > seen; sleep 300 & echo $! > child; wait", "timeout = \"700ms\"\n");
    let id = new_id();
    hub.feed(&[fresh(&id, &["x"])]);
    hub.run();
    let seen = std::fs::read_to_string(hub.dir.path().join("seen")).unwrap();
    let event = event::Event::parse(seen.trim_end().as_bytes()).unwrap();
    assert_eq!((event.id.as_str(), event.probes.len()), (id.as_str(), 1));
    let child = std::fs::read_to_string(hub.dir.path().join("child")).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    wait("the end of the group", || !std::fs::read_to_string(&stat).is_ok_and(|s| !s.contains(") Z ")));
    assert_eq!(hub.told()[0].1["outcome"], "unknown", "cut off, and exec may not be repeated");
    assert!(hub.dead()[0]["error"].as_str().unwrap().starts_with("no answer within 0.7 s"));
}

/// Programs, files and receivers that get the whole match learn what has become of its incident, also where somebody
/// closed it by hand; a plain match is the line as it came.
#[test]
fn what_is_told_beside_a_match_stands_in_its_probe() {
    let http = Http::start(vec![say(200, "")]);
    let actions = format!(
        "[action.x]\nkind = \"exec\"\nrun = [\"/bin/sh\", \"-c\", \"cat >> x\"]\n[action.f]\nkind = \"file\"\n\
         path = \"f\"\n[action.h]\nkind = \"http\"\nurl = \"{}/\"\n",
        http.url
    );
    let probe = "[probe.usb]\nfilter = \"true\"\nact = [\"x\", \"f\", \"h\"]\nuntil = \"false\"\n";
    let hub = Hub::new(&format!("{actions}{probe}"));
    let line = |title: &str| titled(&fresh(&new_id(), &["x", "f", "h"]), title);
    hub.feed(&[line("one"), line("two"), closing(&line("three")), line("four")]);
    hub.run();
    let id = act::incidents::list(hub.state(), false).unwrap()[0]["id"].clone();
    let order = json!({"incident": id, "by": "ada"}).to_string();
    act::orders::give(&hub.registry(), "close", &[order], hub.now()).unwrap();
    let running = hub.start(How { stay: std::sync::Arc::new(true.into()), ..How::default() });
    let read = |name: &str| std::fs::read_to_string(hub.dir.path().join(name)).unwrap();
    let five = |name: &str| read(name).lines().count() == 5;
    wait("all of them", || five("x") && five("f") && http.got().len() == 5);
    running.join();
    let bodies: String = http.got().iter().map(|got| format!("{}\n", got.body)).collect();
    for text in [read("x"), read("f"), bodies] {
        let probe = |line: &str| serde_json::from_str::<Value>(line).unwrap()["probes"][0].clone();
        let told: Vec<Value> = text.lines().map(probe).collect();
        let states: Vec<&str> = told.iter().filter_map(|probe| probe["state"].as_str()).collect();
        assert_eq!(states, ["opened", "changed", "closed", "opened", "closed"], "{text}");
        assert_eq!((&told[4]["incident"]["id"], &told[4]["incident"]["by"]), (&id, &json!("ada")));
    }
    let hub = Hub::new(&actions);
    let plain = fresh(&new_id(), &["x", "f"]);
    hub.feed(std::slice::from_ref(&plain));
    hub.run();
    for name in ["x", "f"] {
        let text = std::fs::read_to_string(hub.dir.path().join(name)).unwrap();
        let [got, fed] = [&text, &plain].map(|line| serde_json::from_str::<Value>(line).unwrap());
        assert_eq!(got, fed, "{name}");
    }
}

#[test]
fn a_program_that_is_not_there_is_dead_at_once() {
    let hub = Hub::new("[action.x]\nkind = \"exec\"\nrun = [\"./nowhere\"]\n");
    hub.feed(&[fresh(&new_id(), &["x"])]);
    hub.run();
    assert!(hub.dead()[0]["error"].as_str().unwrap().starts_with("cannot start: "));
}

#[test]
fn a_line_per_match_in_a_file() {
    let hub = Hub::new(
        "[action.f]\nkind = \"file\"\npath = \"out.ndjson\"\n[action.g]\nkind = \"file\"\npath = \"no/dir\"\ngive_up = \"3s\"\n",
    );
    let ids = [new_id(), new_id()];
    hub.feed(&[fresh(&ids[0], &["f", "g"]), fresh(&ids[1], &["f"])]);
    hub.run();
    let text = std::fs::read_to_string(hub.dir.path().join("out.ndjson")).unwrap();
    let seen: Vec<String> = text.lines().map(|l| event::Event::parse(l.as_bytes()).unwrap().id).collect();
    assert_eq!(seen, ids);
    assert_eq!(hub.dead().len(), 1, "a folder that is not there may come, until give_up");
}

#[test]
fn only_a_regular_file_is_written_to() {
    let hub = Hub::new(
        "[action.f]\nkind = \"file\"\npath = \"fifo\"\n[action.g]\nkind = \"file\"\npath = \"/dev/full\"\n\
         [action.h]\nkind = \"file\"\npath = \".\"\n",
    );
    let fifo = hub.dir.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    hub.feed(&[fresh(&new_id(), &["f", "g", "h"])]);
    let running = hub.start(How { stay: std::sync::Arc::new(true.into()), ..How::default() });
    wait("the dead letters", || hub.dead().len() == 3);
    running.join();
    assert!(hub.dead().iter().all(|d| d["error"].as_str().unwrap().ends_with(": is no regular file")));
}

#[test]
fn a_write_that_hangs_holds_up_nobody_and_is_not_begun_again() {
    let fake = Http::start(vec![say(200, "")]);
    let hub = Hub::new(&format!(
        "[action.f]\nkind = \"file\"\npath = \"out\"\ntimeout = \"100ms\"\n\
         [action.a]\nkind = \"http\"\nurl = \"{}/\"\n",
        fake.url
    ));
    let out = std::fs::File::create(hub.dir.path().join("out")).unwrap();
    out.lock().unwrap();
    let id = new_id();
    hub.feed(&(0..5).map(|_| fresh(&new_id(), &["a"])).chain([fresh(&id, &["f"])]).collect::<Vec<_>>());
    let running = hub.start(How::default());
    fake.wait_for(5);
    // The first hangs; those after it say so at once.
    let again = "zentral_actions_total{action=\"f\",outcome=\"later\"";
    wait("further tries", || running.metric(again) >= 4.0);
    out.unlock().unwrap();
    assert_eq!(running.join(), Exit::Done);
    let text = std::fs::read_to_string(hub.dir.path().join("out")).unwrap();
    let lines = text.lines().filter(|l| event::Event::parse(l.as_bytes()).unwrap().id == id).count();
    let told = hub.told();
    let tries = told.iter().find(|(_, p)| p["action"] == "f").unwrap().1["tries"].as_u64().unwrap() as usize;
    assert_eq!(lines, text.lines().count());
    assert!((1..=tries - 3).contains(&lines), "{tries} tries, {lines} lines: three of them wrote nothing");
}

#[test]
fn actions_on_one_file_lose_nothing_and_a_torn_line_stays_alone() {
    let action = |name| format!("[action.{name}]\nkind = \"file\"\npath = \"out\"\nparallel = 4\n");
    let hub = Hub::new(&(action("f") + &action("g")));
    std::fs::write(hub.dir.path().join("out"), "{\"torn").unwrap();
    hub.feed(&(0..50).map(|_| fresh(&new_id(), &["f", "g"])).collect::<Vec<_>>());
    hub.run();
    let text = std::fs::read_to_string(hub.dir.path().join("out")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("{\"torn"));
    assert_eq!(lines.filter(|l| event::Event::parse(l.as_bytes()).is_ok()).count(), 100);
}

#[test]
fn kills_lose_no_line_of_a_file_and_tear_none() {
    let hub = Hub::new("[action.f]\nkind = \"file\"\npath = \"out.ndjson\"\nparallel = 3\n");
    let ids: Vec<String> = (0..60).map(|_| new_id()).collect();
    let mut chance = act::retry::Chance::seeded(17);
    for part in ids.chunks(10) {
        hub.feed(&part.iter().map(|id| fresh(id, &["f"])).collect::<Vec<_>>());
        let running = hub.start(How { stay: std::sync::Arc::new(true.into()), ..How::default() });
        std::thread::sleep(std::time::Duration::from_millis(chance.below(40)));
        running.kill();
    }
    hub.run();
    let text = std::fs::read_to_string(hub.dir.path().join("out.ndjson")).unwrap();
    let mut seen: Vec<String> = text.lines().map(|l| event::Event::parse(l.as_bytes()).unwrap().id).collect();
    seen.sort();
    seen.dedup();
    let mut wanted = ids;
    wanted.sort();
    assert_eq!(seen, wanted, "each at least once");
    assert_eq!((hub.told().len(), hub.dead().len()), (wanted.len(), 0), "each told once");
}

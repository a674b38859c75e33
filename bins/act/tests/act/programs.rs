//! `exec` and `file`.

use pipe::Exit;

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

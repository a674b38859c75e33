//! A program of the user's own as a source: whole or not at all, under whatever kills it, and never left behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;
use support::hub::{Hub, signal};

const TAP: &str = "topic:badges";

fn hub(stage: &str) -> Hub {
    let hub = Hub::new(&format!("\n[stage.badges]\nto = \"{TAP}\"\n{stage}"));
    hub.edit(|text| text.replacen("from = [\"topic:raw\"", &format!("from = [\"topic:raw\", \"{TAP}\""), 1));
    hub
}

fn script(hub: &Hub, text: &str) {
    let path = hub.path("badges.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// What lies in the topic.
fn told(hub: &Hub) -> Vec<Value> {
    let text = String::from_utf8(hub.run(&["cat", "badges"]).stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn is_there(pid: &str) -> bool {
    let Ok(pid) = pid.trim().parse::<u32>() else { return false };
    let state = read(PathBuf::from(format!("/proc/{pid}/stat")));
    !state.is_empty() && !state.contains(") Z ")
}

fn stage(hub: &Hub, name: &str) -> Option<i32> {
    hub.stages().into_iter().find(|(stage, _)| stage == name).map(|(_, pid)| pid)
}

fn line_of_status(hub: &Hub, what: &str) -> Option<Value> {
    let text = String::from_utf8(hub.run(&["status", "--json"]).stdout).unwrap();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.into_iter().find(|line| line["what"] == what && line["stage"] == "badges")
}

#[test]
fn a_batch_is_kept_whole_or_not_at_all() {
    let mut hub = hub("run = [\"./badges.sh\", \"two words\"]\nevery = \"1s\"\nenv = [\"DOOR_TOKEN\"]\n");
    hub.env("DOOR_TOKEN", "s3cret-of-the-door");
    hub.env("OTHER_TOKEN", "s3cret-of-another");
    script(
        &hub,
        r#"echo x >> runs
printf '{"type":"badge","time":"%s","machine":{"serial_number":"C02"},"payload":{"who":"ada","word":"%s"}}\n' "$(cat time)" "$1"
echo 'no json'
printf '{"type":"environment","payload":{"all":"%s"}}' "$(env | sort | tr '\n' ' ' | tr -d '"')"
echo "the door says $DOOR_TOKEN no" >&2
exit "$(cat code)""#,
    );
    std::fs::write(hub.path("code"), "7").unwrap();
    let now = event::Time::now().to_string();
    std::fs::write(hub.path("time"), &now).unwrap();
    hub.start();
    hub.wait("two runs that fail", 60, || read(hub.path("runs")).len() >= 4);
    let failed = || line_of_status(&hub, "run").and_then(|line| Some(line["failed"].as_str()?.to_owned()));
    hub.wait("status tells", 30, || failed().is_some());
    assert_eq!(failed().unwrap(), "exit 7: the door says *** no");
    assert_eq!(told(&hub).len(), 0, "nothing of a run that failed");
    assert!(!hub.log().contains("s3cret"), "{}", hub.log());

    std::fs::write(hub.path("code"), "0").unwrap();
    hub.wait("two good runs", 60, || told(&hub).len() >= 4);
    assert_eq!(line_of_status(&hub, "run"), None);
    let lines = told(&hub);
    let of = |type_: &str| lines.iter().filter(|line| line["type"] == type_).cloned().collect::<Vec<_>>();
    let badges = of("badge");
    assert_eq!((badges[0]["source"].as_str(), badges[0]["time"].as_str()), (Some("badges"), Some(now.as_str())));
    assert_eq!(badges[0]["payload"]["word"], "two words");
    assert_eq!(badges[0]["id"], badges[1]["id"], "told again with its time");
    let environments = of("environment");
    assert_ne!(environments[0]["id"], environments[1]["id"], "without a time of its own");
    let all = environments[0]["payload"]["all"].as_str().unwrap();
    let names: BTreeSet<&str> = all.split(' ').filter_map(|word| Some(word.split_once('=')?.0)).collect();
    let own = ["_", "DOOR_TOKEN", "OLDPWD", "PATH", "PWD", "SHLVL"];
    assert!(names.contains("DOOR_TOKEN") && names.iter().all(|name| own.contains(name)), "{all}");
    hub.wait("stored once", 60, || {
        let found = hub.run(&["search", "type:badge AND payload.who:ada", "--since", "1d"]);
        String::from_utf8(found.stdout).unwrap().lines().count() == 1
    });
    assert_eq!(hub.stop(), Some(0));

    let sum = line_of_status(&hub, "sum").unwrap();
    assert_eq!(sum["ok"], true, "{sum}");
    let runs = sum["done"].as_u64().unwrap() / 2;
    assert_eq!((sum["in"].as_u64(), sum["refused"]["not_json"].as_u64()), (Some(runs * 3), Some(runs)), "{sum}");
    let refused = read(hub.path("data/refused/badges.ndjson"));
    let first: Value = serde_json::from_str(refused.lines().next().unwrap()).unwrap();
    assert_eq!((first["number"].as_u64(), first["reason"].as_str()), (Some(2), Some("not_json")), "{first}");
}

#[test]
fn nothing_half_and_nothing_twice_when_it_is_killed() {
    let mut hub = hub("run = [\"sh\", \"badges.sh\"]\nevery = \"1h\"\n");
    // The first runs stop within their output, with a child of their own.
    script(
        &hub,
        r#"sleep 600 & echo $! > child; echo $$ > pid
seq 1 1000 | sed 's/.*/{"type":"badge","payload":{"n":&}}/'
[ -e go ] || wait
seq 1001 2000 | sed 's/.*/{"type":"badge","payload":{"n":&}}/'"#,
    );
    hub.start();
    for kill_up in [false, false, true] {
        hub.wait("a run", 60, || ["child", "pid"].iter().all(|file| is_there(&read(hub.path(file)))));
        std::thread::sleep(std::time::Duration::from_millis(200));
        let (pid, child) = (read(hub.path("pid")), read(hub.path("child")));
        let killed = if kill_up { hub.up_pid().unwrap() } else { stage(&hub, "badges").unwrap() };
        if kill_up {
            std::fs::write(hub.path("go"), "").unwrap();
        }
        assert!(signal(killed, Signal::KILL));
        hub.wait("the program and its child go too", 30, || !is_there(&pid) && !is_there(&child));
        assert_eq!(told(&hub).len(), 0);
    }
    hub.reap();
    hub.wait("no stage is left", 60, || hub.stages().is_empty());
    hub.start();
    hub.wait("a whole batch", 60, || told(&hub).len() == 2000);
    hub.wait("its child is not left behind", 30, || !is_there(&read(hub.path("child"))));
    // Neither a stage that is killed now nor a new `up` runs it again before its time.
    assert!(signal(stage(&hub, "badges").unwrap(), Signal::KILL));
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(hub.stop(), Some(0));
    let lines = told(&hub);
    let numbers: BTreeSet<u64> = lines.iter().map(|line| line["payload"]["n"].as_u64().unwrap()).collect();
    assert_eq!((lines.len(), numbers.len()), (2000, 2000));
}

#[test]
fn one_that_runs_on_is_read_as_it_speaks_and_told_to_end() {
    let mut hub = hub("run = [\"./badges.sh\"]\n");
    script(
        &hub,
        r#"trap 'echo "{\"type\":\"bye\",\"payload\":{}}"; exit 0' TERM
echo x >> runs
echo '{"type":"begin","payload":{}}'
[ "$(wc -l < runs)" -gt 1 ] || { printf '{"type":"half'; exit 3; }
while :; do sleep 0.05; done"#,
    );
    hub.start();
    let types = |hub: &Hub| told(hub).iter().map(|line| line["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    hub.wait("it is started again", 60, || types(&hub) == ["begin", "begin"]);
    assert!(hub.log().contains("exit 3; started again in 1 s"), "{}", hub.log());
    let metrics = pipe::ops::get(&hub.path("data/run/badges.sock"), "/metrics", std::time::Duration::from_secs(5));
    let text = String::from_utf8(metrics.unwrap().1).unwrap();
    assert!(text.contains(r#"zentral_foreign_runs_total{outcome="failed",stage="badges"} 1"#), "{text}");
    assert_eq!(hub.stop(), Some(0));
    assert_eq!(types(&hub), ["begin", "begin", "bye"], "what it says at its end is taken");
    let sum = line_of_status(&hub, "sum").unwrap();
    assert_eq!((&sum["ok"], sum["refused"]["torn"].as_u64()), (&Value::Bool(true), Some(1)), "{sum}");
}

#[test]
fn a_run_has_bounds() {
    let hub = hub("run = [\"./badges.sh\"]\nevery = \"1h\"\ntimeout = \"1s\"\n");
    let run = |text: &str| {
        script(&hub, text);
        let out = hub.run(&["run", "badges", "--once"]);
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (code, said) = run("sleep 600 & echo $! > child; echo '{\"type\":\"a\",\"payload\":{}}'; wait");
    assert!(code == Some(4) && said.contains("ended after 1 s"), "{code:?} {said}");
    assert!(!is_there(&read(hub.path("child"))), "its child ends with it");
    let (code, said) = run("yes '{\"type\":\"a\",\"payload\":{}}'");
    assert!(code == Some(4) && said.contains("more than a batch may hold"), "{code:?} {said}");
    let (code, said) = run("kill -9 $$");
    assert!(code == Some(4) && said.contains("ended by signal 9"), "{code:?} {said}");
    std::fs::remove_file(hub.path("badges.sh")).unwrap();
    let out = hub.run(&["run", "badges", "--once"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(4) && said.contains("cannot start"), "{said}");
    assert_eq!(told(&hub).len(), 0);
    // A line over the limit, and what comes after it.
    let (code, said) = run("head -c 5000000 /dev/zero | tr '\\0' a; echo; echo '{\"type\":\"a\",\"payload\":{}}'");
    assert!(code == Some(3) && said.contains("line of 5000000 bytes is too long"), "{code:?} {said}");
    assert_eq!(told(&hub).len(), 1);
}

#[test]
fn a_batch_that_may_be_half_is_not_kept() {
    let mut hub = hub("run = [\"./badges.sh\"]\nevery = \"1h\"\n");
    script(
        &hub,
        r#"trap 'exit 0' TERM
seq 1 10 | sed 's/.*/{"type":"badge","payload":{"n":&}}/'
touch begun
[ -e go ] || while :; do sleep 0.05; done
seq 11 20 | sed 's/.*/{"type":"badge","payload":{"n":&}}/'"#,
    );
    hub.start();
    hub.wait("a run", 60, || hub.path("begun").exists());
    assert_eq!(hub.stop(), Some(0));
    assert_eq!(told(&hub).len(), 0, "it was told to end, and said that all is well");
    std::fs::write(hub.path("go"), "").unwrap();
    hub.start();
    hub.wait("begun anew", 60, || told(&hub).len() == 20);
    assert_eq!(hub.stop(), Some(0));
}

/// One run of a script that waits for the file `go`, which is made after `meanwhile` has been done with the stage's number
/// and the script's; its exit code and what was said.
fn run_until(hub: &Hub, rest: &str, meanwhile: impl FnOnce(u32, &str)) -> (Option<i32>, String) {
    script(hub, &format!("echo $$ > pid; while ! [ -e go ]; do sleep 0.05; done; {rest}"));
    let mut stage = hub.command(&["run", "badges", "--once"]);
    let stage = stage.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    hub.wait("the script", 60, || read(hub.path("pid")).ends_with('\n'));
    meanwhile(stage.id(), read(hub.path("pid")).trim());
    let out = stage.wait_with_output().unwrap();
    (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn a_batch_without_an_end_is_not_done() {
    let hub = hub("run = [\"./badges.sh\"]\nevery = \"1h\"\n");
    let mut held = None;
    let (code, said) = run_until(&hub, "echo '{\"type\":\"a\",\"payload\":{}}'", |_, pid| {
        // As a process would that was begun elsewhere and got it.
        let stdout = format!("/proc/{pid}/fd/1");
        held = Some(std::fs::OpenOptions::new().write(true).open(stdout).unwrap());
        std::fs::write(hub.path("go"), "").unwrap();
    });
    assert!(code == Some(4) && said.contains("its stdout is still held by another process"), "{code:?} {said}");
    assert_eq!(told(&hub).len(), 0);
    drop(held);
}

#[test]
fn who_ended_in_time_is_not_late() {
    let hub = hub("run = [\"./badges.sh\"]\nevery = \"1h\"\ntimeout = \"5s\"\n");
    let (code, said) = run_until(&hub, "echo '{\"type\":\"a\",\"payload\":{}}'; touch ended", |stage, _| {
        let stage = i32::try_from(stage).unwrap();
        // It does not look, as where there is no room.
        assert!(signal(stage, Signal::STOP));
        std::fs::write(hub.path("go"), "").unwrap();
        hub.wait("its end", 5, || hub.path("ended").exists());
        std::thread::sleep(std::time::Duration::from_secs(5));
        assert!(signal(stage, Signal::CONT));
    });
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(told(&hub).len(), 1);
}

#[test]
fn nothing_is_said_of_its_variables() {
    let mut hub = hub("run = [\"./badges.sh\"]\nevery = \"1h\"\nenv = [\"SHORT\", \"LONG\", \"KEY\", \"CUT\"]\n");
    hub.env("SHORT", "hunter2");
    hub.env("LONG", "hunter2-and-more");
    hub.env("KEY", " begin-of-key\nmiddle-of-key\nend-of-key\n");
    hub.env("CUT", "cut-in-the-middle");
    let run = |text: &str| {
        script(&hub, &format!("{text}; exit 3"));
        let said = hub.run(&["run", "badges", "--once"]);
        String::from_utf8_lossy(&said.stderr).into_owned()
    };
    let said = run("echo \"say $SHORT, $LONG.\" >&2");
    assert!(said.contains("exit 3: say ***, ***."), "{said}");
    let said = run("printf 'key:%s' \"$KEY\" >&2");
    assert!(said.contains("exit 3: key:***") && !said.contains("of-key"), "{said}");
    let said = run("echo \"$KEY\" | sed 's/^ *//' | tr '\\n' '|' >&2");
    assert!(said.contains("exit 3: ***|***|***|") && !said.contains("of-key"), "{said}");
    // The end that is kept begins within the value.
    let said = run("printf '%s' \"$CUT\" >&2; head -c 4088 /dev/zero | tr '\\0' x >&2");
    assert!(said.contains("xxxx") && !said.contains("middle") && !said.contains("iddle"), "{said}");
}

#[test]
fn check_knows_what_is_not_there() {
    let check = |stage: &str, says: &str| {
        let out = hub(stage).run(&["check"]);
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.code() == Some(1) && said.contains(says), "{stage}: {said}");
    };
    check("run = [\"./badges.sh\"]\n", "that could be started");
    check("run = [\"no-such-program-here\"]\n", "that could be started");
    check("run = [\"sh\"]\nenv = [\"NO_SUCH_VARIABLE_HERE\"]\n", "NO_SUCH_VARIABLE_HERE is not set");
    check("run = []\n", "the list is empty");
    check("run = [\"normalize\"]\n", "a list is a program of your own");
    check("run = [\"sh\"]\nfrom = \"topic:raw\"\n", "reads no topic");
    check("run = [\"sh\"]\ntimeout = \"5m\"\n", "only a run that comes again");
    check("run = [\"sh\"]\nevery = \"1ms\"\n", "from 1s to 31d");
    check("run = [\"sh\"]\nevry = \"1m\"\n", "unknown key");
    let fine = hub("run = [\"sh\", \"-c\", \"true\"]\nevery = \"5m\"\n");
    fine.ok(&["check"]);
}

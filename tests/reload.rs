//! What a running pipeline does when its files change, and when its disk is full.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

mod support;

use std::io::Read as _;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};
use support::agent::{Agent, record};
use support::hub::{Hub, signal};

/// Bytes of the file that fills the disk.
const FILE: u64 = 4 << 30;

#[test]
fn a_typo_changes_nothing_and_a_killed_stage_comes_back_with_the_last_good_configuration() {
    let mut hub = Hub::new("\n[probe.old]\nfilter = '.payload.columns.n >= 0'\n");
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret(), "RELOAD1");
    hub.start();
    hub.wait("the hub to answer", 30, || agent.enrol().is_ok());
    assert!(agent.log(&[record(0)]).unwrap());
    hub.wait("a match", 20, || hub.matched("old") == 1);

    hub.edit(|text| text + "\n[probe.broken]\nfilter = '.payload | nosuch('\n[stage.filter2]\nrnu = \"filter\"\n");
    hub.wait("the typo to be told", 20, || {
        let log = hub.log();
        log.contains("unknown key; did you mean `run`?") || log.contains("needs the key `run`")
    });
    // Whoever asks is told of it, too.
    let health = || {
        let out = hub.run(&["status"]);
        let text = String::from_utf8(out.stdout).unwrap();
        let last = text.lines().last().map(|line| serde_json::from_str::<Value>(line).unwrap()).unwrap_or_default();
        (out.status.code(), last)
    };
    let (code, told) = health();
    let (start, why) = ("the configuration on disk is refused (", told["why"][0].as_str().unwrap_or_default());
    assert!(code == Some(1) && why.starts_with(start) && why.contains("pipeline.toml:"), "{code:?} {told}");
    let copy = std::fs::read_link(hub.path("data/config/current")).unwrap();
    assert!(why.ends_with(&format!("; configuration {} runs", copy.display())), "{told}");
    for (name, pid) in hub.stages() {
        if name == "filter" || name == "normalize" {
            assert!(signal(pid, Signal::KILL));
        }
    }
    assert!(agent.log(&[record(1)]).unwrap());
    hub.wait("the last good configuration", 20, || hub.matched("old") == 2);

    hub.edit(|text| {
        text.split("\n[probe.broken]").next().unwrap().to_owned()
            + "\n[probe.new]\nfilter = '.payload.columns.n == 2'\n"
    });
    hub.wait("the mended file", 20, || {
        let _ = agent.log(&[record(2)]);
        hub.matched("new") > 0
    });
    hub.wait("health", 20, || hub.run(&["status"]).status.success());
    // A file that was broken before the start is told of as well.
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
    hub.edit(|text| text + "\n[probe.broken]\nfilter = '.payload | nosuch('\n");
    hub.start();
    hub.wait("the copy to run", 30, || {
        let out = hub.run(&["status"]);
        let text = String::from_utf8(out.stdout).unwrap();
        out.status.code() == Some(1)
            && text.contains("{\"what\":\"health\",\"ok\":false,\"why\":[\"the configuration on disk is refused (")
    });
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
}

#[test]
fn whoever_asks_a_running_hub_is_answered_while_its_files_are_wrong() {
    let mut hub = Hub::new("\n[probe.old]\nfilter = '.payload.columns.n >= 0'\n");
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret(), "TYPO1");
    hub.start();
    hub.wait("the hub to answer", 30, || agent.enrol().is_ok());
    assert!(agent.log(&[record(0)]).unwrap());
    hub.wait("the match is stored", 20, || hub.events("probes.name:old").len() == 1);
    let id = hub.events("probes.name:old")[0]["id"].as_str().unwrap().to_owned();
    let enrolment: Value = serde_json::from_str(hub.ok(&["enrol", "list"]).lines().next().unwrap()).unwrap();
    // A field that no event has is told, and a search that merely finds nothing is silent.
    for (query, says) in [("severity:critical", "did you mean `probes.severity`?"), ("probes.severity:critical", "")] {
        let out = hub.run(&["search", query]);
        let told = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.code() == Some(1) && told.contains(says) && told.is_empty() == says.is_empty(), "{told}");
    }
    hub.edit(|text| text + "\n[probe.new]\nfilter = \".type == \"a\"\"\n");

    for words in [
        &["search", "probes.name:old"][..],
        &["explain", &id, "old"],
        &["cat", "raw", "--count"],
        &["replay"],
        &["machine", "list"],
        &["machine", "show", "TYPO1"],
        &["act", "dead"],
        &["act", "incidents"],
        &["act", "mute", "old"],
        &["act", "resume", "old"],
        &["enrol", "list"],
        &["enrol", "revoke", enrolment["id"].as_str().unwrap()],
        &["user", "list"],
        &["token", "list"],
        &["state", "backup", hub.path("backup").to_str().unwrap()],
    ] {
        let out = hub.run(words);
        let told = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(0), "{words:?}: {told}");
        // Said in one line, with the place.
        let lines: Vec<&str> = told.lines().filter(|line| line.contains("the configuration is wrong")).collect();
        assert_eq!(lines.len(), 1, "{words:?}: {told}");
        assert!(lines[0].contains("last good copy") && lines[0].contains("pipeline.toml:"), "{words:?}: {told}");
        assert!(!told.contains(" | "), "no picture: {told}");
    }
    std::fs::write(hub.path("raw.ndjson"), hub.ok(&["replay"])).unwrap();
    // What judges the files, or runs them, does not take others in their place.
    for words in [
        &["check"][..],
        &["test"],
        &["plan"],
        &["filter", "old"],
        &["act", "try", "note"],
        &["up", "--test", "raw.ndjson"],
        &["state", "drop", "old"],
    ] {
        let out = hub.run(words);
        let told = String::from_utf8(out.stderr).unwrap() + &String::from_utf8_lossy(&out.stdout);
        assert!(matches!(out.status.code(), Some(1 | 2)) && !told.contains("last good"), "{words:?}: {told}");
        assert!(told.contains("pipeline.toml:"), "{words:?}: {told}");
    }
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
}

#[test]
fn what_check_warns_of_is_in_the_log_once() {
    let probe = |name: &str, column: &str| {
        let sql = "select username from users";
        format!("\n[probe.{name}]\nquery = {{ sql = \"{sql}\" }}\nfilter = '.payload.columns.{column} == \"a\"'\n")
    };
    let mut hub = Hub::new(&probe("first", "usernme"));
    hub.start();
    let told = |column: &str| hub.log().matches(&format!("no column `{column}`")).count();
    hub.wait("the warning at the start", 30, || told("usernme") == 1);
    hub.edit(|text| text + &probe("second", "usrname"));
    hub.wait("the warning of what is new", 30, || told("usrname") == 1);
    assert_eq!(told("usernme"), 1, "{}", hub.log());
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
}

fn free(path: &Path) -> u64 {
    let disk = rustix::fs::statvfs(path).unwrap();
    disk.f_bavail * disk.f_frsize
}

/// A file that really takes this many bytes of the disk.
fn fill(path: &Path, bytes: u64) {
    let mut file = std::fs::File::create(path).unwrap();
    if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).is_err() {
        std::io::copy(&mut std::io::repeat(1).take(bytes), &mut file).unwrap();
        file.sync_all().unwrap();
    }
}

#[test]
fn a_full_disk_stops_taking_and_goes_on_by_itself() {
    let mut hub = Hub::new("");
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret(), "FULL1");
    // The reserve lies in the middle of what the file will take, so that others may use or free some of this disk.
    let file = hub.path("big");
    let (room, bytes) = (free(hub.dir.path()), (free(hub.dir.path()) / 2).min(FILE));
    hub.edit(|text| text.replace("reserve = \"2 GiB\"", &format!("reserve = \"{} KiB\"", (room - bytes / 2) >> 10)));
    hub.start();
    hub.wait("the hub to answer", 30, || agent.enrol().is_ok());
    assert!(agent.log(&[record(0)]).unwrap());
    let stages = hub.stages();

    fill(&file, bytes);
    hub.wait("busy", 30, || matches!(agent.log(&[record(1)]), Ok(false)));
    let body = json!({"node_key": agent.node_key, "log_type": "result", "data": [record(1)]});
    let (status, answer) = agent.client.post("/public/osquery/log", &body).unwrap();
    assert_eq!(status, 503, "{answer}");
    let status = hub.run(&["status"]);
    assert_eq!(status.status.code(), Some(1), "a topic at its limit is not healthy");

    std::fs::remove_file(&file).unwrap();
    hub.wait("room", 30, || matches!(agent.log(&[record(1)]), Ok(true)));
    assert_eq!(hub.stages(), stages, "by itself: nobody was started again\n{}", hub.log());
    hub.wait("health", 30, || hub.run(&["status"]).status.success());
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
}

//! The first hour in the console of a running hub: what is next, probes that ship, the tables of actions, a test of one.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};

use super::browser::Browser;
use super::{api, person, token, up};
use act::{actions, preset};

/// Stands for every secret.
const SECRET: &str = "https://secret.example.com/hook";

/// What a program hears that changes something.
fn post(port: u16, token: &str, path: &str, body: &Value) -> super::browser::Reply {
    let headers =
        format!("Authorization: Bearer {token}\r\nAccept: application/json\r\nContent-Type: application/json\r\n");
    Browser::new(port).send("POST", path, &headers, &body.to_string())
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

/// Each table that the console shows is one that `zentral check --strict` has nothing to say about, with its secret where
/// the page says.
#[test]
fn every_table_that_is_shown_is_right() {
    let (hub, port) = up("");
    let secret = token(&hub, &["--role", "editor", "--scopes", "actions"]);
    let list = api(port, &secret, "/connect").json();
    let groups = list["groups"].as_array().unwrap();
    let mut shown: Vec<&str> = Vec::new();
    for group in groups {
        shown.extend(group["kinds"].as_array().unwrap().iter().map(|kind| kind["kind"].as_str().unwrap()));
    }
    let mut kinds: Vec<&str> = actions::ALL.iter().map(|kind| kind.name).chain(preset::names()).collect();
    shown.sort_unstable();
    kinds.sort_unstable();
    assert_eq!(shown, kinds, "every kind is shown once");
    for kind in kinds {
        for keep in ["file", "env"] {
            let told = api(port, &secret, &format!("/connect/{kind}?name=my-own&secret={keep}")).json();
            let dir = tempfile::tempdir().unwrap();
            let toml = told["toml"].as_str().unwrap();
            assert!(toml.contains("[action.my-own]\n"), "{kind}: {toml}");
            std::fs::write(dir.path().join("pipeline.toml"), format!("version = 1\n{toml}")).unwrap();
            let mut check = Command::new(env!("CARGO_BIN_EXE_zentral"));
            check.current_dir(dir.path()).args(["check", "--strict"]);
            check.env_remove("ZENTRAL_CONFIG").env_remove("ZENTRAL_DATA");
            for place in told["secrets"].as_array().unwrap() {
                if let Some(file) = place["file"].as_str() {
                    std::fs::create_dir_all(dir.path().join("secrets")).unwrap();
                    std::fs::write(dir.path().join(file), SECRET).unwrap();
                } else {
                    check.env(place["env"].as_str().unwrap(), SECRET);
                }
            }
            // A program finds its own variables.
            check.env("VPN_TOKEN", SECRET);
            let out = check.output().unwrap();
            let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
            assert_eq!(out.status.code(), Some(0), "{kind}, {keep}: {said}\n{toml}");
        }
    }
    let wrong = api(port, &secret, "/connect/slack?name=No%20name");
    assert!(
        wrong.status == 400 && wrong.json()["toml"].as_str().unwrap().contains("[action.slack-secops]"),
        "{}",
        wrong.body
    );
    assert_eq!(api(port, &secret, "/connect/nobody").status, 404);
    let vera = token(&hub, &["--role", "viewer"]);
    assert_eq!(api(port, &vera, "/connect").status, 403, "it leads to a file that a viewer does not write");
    let kept = token(&hub, &["--role", "editor", "--units", "rome"]);
    assert_eq!(api(port, &kept, "/connect/slack").status, 403);
}

#[test]
fn a_probe_that_ships_is_taken() {
    let (hub, port) = up("edit = true\n[action.log]\nkind = \"file\"\npath = \"log.ndjson\"\n");
    let ed = token(&hub, &["--role", "editor"]);
    let all = api(port, &ed, "/shipped").json();
    assert_eq!(all["total"], shipped::probes::PROBES.len());
    let here: Vec<&Value> = all["probes"].as_array().unwrap().iter().filter(|one| one["here"] == true).collect();
    assert_eq!(here.iter().map(|one| one["name"].as_str().unwrap()).collect::<Vec<_>>(), ["usb-device"]);
    let santa = api(port, &ed, "/shipped?source=santa&q=WEB").json();
    assert_eq!(names(&santa["probes"]), ["santa-download-blocked"]);
    let windows = api(port, &ed, "/shipped?platform=windows&severity=critical&q=registry").json();
    assert_eq!(names(&windows["probes"]), ["windows-debugger-hijack"]);
    let one = api(port, &ed, "/shipped/ssh-key-added").json();
    assert!(one["query"]["sql"].as_str().unwrap().contains("authorized_keys") && one["here"] == false, "{one}");
    assert!(one["examples"]["failed"] == 0 && one["examples"]["ok"].as_u64().unwrap() >= 7, "{}", one["examples"]);

    let taken = post(port, &ed, "/shipped/ssh-key-added/take", &json!({"act": ["log"]}));
    let files = ["probes/ssh-key-added.ndjson", "probes/ssh-key-added.jq", "probes/ssh-key-added.toml"];
    assert_eq!((taken.status, &taken.json()["files"]), (200, &json!(files)), "{}", taken.body);
    for file in files {
        assert_eq!(std::fs::metadata(hub.path(file)).unwrap().permissions().mode() & 0o777, 0o644, "{file}");
    }
    hub.wait("the probe in force", 60, || api(port, &ed, "/probes/ssh-key-added").status == 200);
    assert_eq!(api(port, &ed, "/probes/ssh-key-added").json()["act"], json!(["log"]));
    assert_eq!(api(port, &ed, "/shipped/ssh-key-added").json()["here"], true);
    hub.ok(&["check"]);
    hub.ok(&["test", "probes/ssh-key-added.ndjson"]);
    hub.wait("the audit in the store", 60, || {
        hub.events("type:audit").iter().any(|event| event["payload"]["action"] == "probe_taken")
    });

    // What is there stays; what cannot be is said.
    let again = post(port, &ed, "/shipped/ssh-key-added/take", &json!({}));
    assert!(again.status == 409 && again.body.contains("There is a probe `ssh-key-added` already"), "{}", again.body);
    std::fs::write(hub.path("probes/cron-job-added.jq"), "mine").unwrap();
    let there = post(port, &ed, "/shipped/cron-job-added/take", &json!({}));
    assert!(there.status == 409 && there.body.contains("probes/cron-job-added.jq is there already"), "{}", there.body);
    assert_eq!(std::fs::read_to_string(hub.path("probes/cron-job-added.jq")).unwrap(), "mine");
    assert!(!hub.path("probes/cron-job-added.toml").exists());
    let nobody = post(port, &ed, "/shipped/cron-job-added/take", &json!({"act": ["nobody"]}));
    assert!(nobody.status == 409 && nobody.body.contains("nobody"), "{}", nobody.body);
    for path in ["/shipped/nobody/take", "/shipped/..%2Fx/take"] {
        assert_eq!(post(port, &ed, path, &json!({})).status, 404, "{path}");
    }
    let kept = token(&hub, &["--role", "editor", "--units", "rome"]);
    assert_eq!(post(port, &kept, "/shipped/new-application/take", &json!({})).status, 403);
    assert!(!hub.path("probes/new-application.toml").exists());
}

#[test]
fn without_edit_a_probe_is_taken_by_hand() {
    let (hub, port) = up("");
    let mut ed = person(&hub, port, "ed", &["--role", "editor"]);
    let page = ed.get("/shipped/machine-silent");
    assert!(
        page.body.contains("edit = true") && page.body.contains("zentral test probes/machine-silent.ndjson"),
        "{}",
        page.body
    );
    let taken = ed.post("/shipped/machine-silent/take", &page.csrf(), "");
    assert!(taken.status == 403 && !hub.path("probes/machine-silent.toml").exists(), "{}", taken.body);
    for (name, text) in shipped::probes::probe("machine-silent").unwrap().files() {
        let file = ed.get(&format!("/shipped/machine-silent/files/{name}"));
        assert_eq!((file.status, file.body.as_str()), (200, text));
        assert_eq!(file.header("content-disposition"), Some(format!("attachment; filename=\"{name}\"").as_str()));
        std::fs::write(hub.path("probes").join(name), file.body).unwrap();
    }
    assert_eq!(ed.get("/shipped/machine-silent/files/..%2F..%2Fpipeline.toml").status, 404);
    hub.ok(&["test", "probes/machine-silent.ndjson"]);
    hub.wait("the probe in force", 60, || ed.get("/probes/machine-silent").status == 200);
}

/// Whoever sends a test sees what came of it, and of this one.
#[test]
fn the_end_of_a_test_is_told() {
    let (hub, port) = up(
        "[action.log]\nkind = \"file\"\npath = \"log.ndjson\"\n[action.no]\nkind = \"exec\"\nrun = [\"/bin/sh\", \"-c\", \"echo nobody home >&2; exit 1\"]\nmax = \"9/h\"\n\
         [action.dry]\nkind = \"file\"\npath = \"dry.ndjson\"\ndry_run = true\n",
    );
    let mut ed = person(&hub, port, "ed", &["--role", "editor"]);
    for (name, says) in [
        ("log", "The test is done: log took it."),
        ("no", "The test failed: <bdi>"),
        ("dry", "<code>dry_run = true</code> holds: nothing was sent."),
    ] {
        let page = ed.get(&format!("/actions/{name}?do=try"));
        assert!(page.body.contains("<details id=\"try\" open>"), "{}", page.body);
        let sent = ed.post(&format!("/actions/{name}/try"), &page.csrf(), "event=");
        assert_eq!(sent.status, 303, "{}", sent.body);
        let after = sent.header("location").unwrap().to_owned();
        let mut page = ed.get(&after);
        hub.wait("the end of the test", 60, || {
            page = ed.get(&after);
            assert!(page.body.contains(says) || page.body.contains("data-live=\"2\""), "{}", page.body);
            page.body.contains(says)
        });
        assert!(!page.body.contains("data-live"), "nobody looks any longer: {}", page.body);
        assert_eq!(name == "no", page.body.contains("nobody home"), "{}", page.body);
        let before = ed.get(&after.replace("since=", "since=9"));
        assert!(before.body.contains("A test is on its way"), "another test is not this one: {}", before.body);
    }
}

#[test]
fn the_first_steps_are_for_whoever_reads_them() {
    let (hub, port) = up("");
    let told = |role: &[&str]| api(port, &token(&hub, role), "/start").json();
    let next = |steps: &Value| {
        let all = steps["steps"].as_array().unwrap().clone();
        all.into_iter().find(|step| step["next"] == true).unwrap_or_default()
    };
    let admin = told(&["--role", "admin"]);
    assert_eq!((&next(&admin)["link"], &admin["done"]), (&json!("/enrol"), &json!(false)));
    assert!(next(&admin)["command"].as_str().unwrap().starts_with("zentral enrol new --unit "), "{admin}");
    let viewer = told(&["--role", "viewer"]);
    assert_eq!((&next(&viewer)["link"], &next(&viewer)["by"]), (&Value::Null, &json!("editor")));
    let overview = api(port, &token(&hub, &["--role", "admin"]), "/").json();
    assert_eq!(overview["steps"], admin["steps"], "the overview shows the same");
    // Each link of a step is one that its reader may follow.
    for (name, words) in [("vera", &["--role", "viewer"][..]), ("kim", &["--role", "editor", "--units", "rome"][..])] {
        let mut browser = person(&hub, port, name, words);
        let steps = told(words);
        for link in steps["steps"].as_array().unwrap().iter().filter_map(|step| step["link"].as_str()) {
            assert_eq!(browser.get(link).status, 200, "{name}: {link}");
        }
    }
}

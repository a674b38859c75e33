//! Enrolments and machines in the console of a running hub: a machine comes in by a downloaded package, gets tags, is
//! forgotten; who may do which of it, and what the audit says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

#[path = "console/browser.rs"]
mod browser;
mod support;

use std::process::Command;

use browser::{Browser, Reply, hub, person, start, token};
use serde_json::Value;
use support::agent::{Agent, record};
use support::hub::Hub;

fn up() -> (Hub, u16) {
    start(hub("\n[unit.rome]", ""))
}

fn api(port: u16, token: &str, method: &str, path: &str, body: &str) -> Reply {
    let headers =
        format!("Authorization: Bearer {token}\r\nAccept: application/json\r\nContent-Type: application/json\r\n");
    Browser::new(port).send(method, path, &headers, body)
}

/// What the audit tells, oldest first: the action and who.
fn audit(hub: &Hub, about: &str) -> Vec<String> {
    let mut all: Vec<String> = hub
        .events("type:audit")
        .iter()
        .filter(|e| e["payload"].to_string().contains(about))
        .map(|e| format!("{} {}", e["payload"]["action"].as_str().unwrap(), e["payload"]["by"].as_str().unwrap()))
        .collect();
    all.reverse();
    all
}

#[test]
fn a_machine_comes_in_by_a_downloaded_package() {
    let (hub, port) = up();
    let mut ed = person(&hub, port, "ed", &["--role", "editor"]);
    let mut vera = person(&hub, port, "vera", &[]);
    let mut remo = person(&hub, port, "remo", &["--role", "editor", "--units", "rome"]);
    let empty = ed.get("/enrol");
    assert!(empty.body.contains("No machine has enrolled yet") && empty.body.contains("action=\"/enrol\""));
    assert!(!vera.get("/enrol").body.contains("action=\"/enrol\""), "a viewer makes none");
    let csrf = empty.csrf();
    for (form, says) in [
        ("unit=oslo&source=osquery", "no unit `oslo`"),
        ("unit=default&source=jamf", "no source that machines enrol with"),
        ("unit=default&source=osquery&quota=0", "quota: is a number"),
        ("unit=default&source=osquery&quota=many", "quota: is no number"),
        ("unit=default&source=osquery&expires=soon", "expires: `soon` is no age"),
        ("unit=default&source=osquery&tags=A", "tags: `A` is no tag"),
        ("unit=default&source=osquery&client_certificate=on", "has no `client_ca`"),
    ] {
        let wrong = ed.post("/enrol", &csrf, form);
        assert!(
            wrong.status == 400 && wrong.body.contains(&says.replace('`', "&#96;")) || wrong.body.contains(says),
            "{form}: {}",
            wrong.body
        );
    }
    let made = ed.post("/enrol", &csrf, "unit=default&source=osquery&quota=1&expires=90d&tags=lab,+vip");
    assert_eq!(made.status, 303, "{}", made.body);
    let page = made.header("location").unwrap().to_owned();
    let id = page.strip_prefix("/enrol/").unwrap().to_owned();
    let shown = ed.get(&page);
    assert!(shown.body.contains("It lets machines in") && shown.body.contains("0 of 1"), "{}", shown.body);
    assert!(!shown.body.contains("zs1."), "a secret is only in a package");

    // The files are those of the command line, and nobody on the way keeps one.
    let ask = format!("{page}/package");
    assert_eq!(ed.get(&ask).status, 405, "a package has no address of its own");
    for (form, begins) in
        [("pkg", "xar!"), ("deb", "!<arch>"), ("zip", "PK"), ("ps1", ""), ("rpm", ""), ("sh", "#!/bin/sh")]
    {
        let file = ed.post(&ask, &csrf, &format!("format={form}"));
        let name = format!("attachment; filename=\"zentral-osquery-default-{id}.{form}\"");
        assert_eq!((file.status, file.header("content-disposition")), (200, Some(name.as_str())), "{form}");
        assert_eq!(file.header("cache-control"), Some("no-store"), "{form}");
        let own = hub.run(&["enrol", "package", &id, "--format", form]).stdout;
        assert!(!own.is_empty() && file.body == String::from_utf8_lossy(&own), "{form}");
        assert!(file.body.starts_with(begins), "{form}");
    }
    let wrong = ed.post(&ask, &csrf, "format=mobileconfig");
    assert!(wrong.status == 400 && wrong.body.contains("osquery reads no profile"), "{}", wrong.body);
    assert_eq!(ed.post(&ask, &csrf, "format=exe").status, 400);
    assert_eq!(ed.post(&ask, "forged", "format=sh").status, 403);

    // It runs on a machine, whose agent then comes in; the next one has no room.
    let script = hub.path("enrol.sh");
    std::fs::write(&script, ed.post(&ask, &csrf, "format=sh").body).unwrap();
    let root = tempfile::tempdir().unwrap();
    let ran = Command::new("sh").arg(&script).env("ZENTRAL_ROOT", root.path()).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let secret = std::fs::read_to_string(root.path().join("etc/osquery/zentral.secret")).unwrap();
    let secret = secret.trim();
    let mut agent = Agent::new(&hub.ca(), hub.port, secret, "C02CONSOLE1");
    agent.enrol().unwrap();
    assert!(Agent::new(&hub.ca(), hub.port, secret, "C02CONSOLE2").enrol().is_err(), "a quota of one");
    hub.wait("the machine on the page", 20, || ed.get(&page).body.contains("/machines/C02CONSOLE1"));
    let shown = ed.get(&page);
    assert!(shown.body.contains("1 of 1") && shown.body.contains("It is used up"), "{}", shown.body);
    let list = ed.get("/enrol");
    assert!(
        list.body.contains("used up") && list.body.contains("/machines?unit=default&#38;source=osquery"),
        "{}",
        list.body
    );

    // Who only looks, and who sees another unit.
    let looks = vera.get(&page);
    assert!(looks.status == 200 && !looks.body.contains("/package\""), "{}", looks.body);
    let csrf_of_vera = looks.csrf();
    for path in [ask.as_str(), "/enrol", &format!("{page}/revoke")] {
        assert_eq!(vera.post(path, &csrf_of_vera, "format=sh&source=osquery").status, 403, "{path}");
    }
    let csrf_of_remo = remo.get("/enrol").csrf();
    assert!(!remo.get("/enrol").body.contains(&id));
    assert_eq!(remo.get(&page).status, 404);
    assert_eq!(remo.post(&ask, &csrf_of_remo, "format=sh").status, 404);
    assert_eq!(remo.post(&format!("{page}/revoke"), &csrf_of_remo, "").status, 404);
    assert_eq!(remo.post("/enrol", &csrf_of_remo, "unit=default&source=santa").status, 400);
    let own = remo.post("/enrol", &csrf_of_remo, "source=santa");
    assert_eq!(own.status, 303, "{}", own.body);
    assert!(remo.get(own.header("location").unwrap()).body.contains("santa for rome"));

    // A program does the same with a token of this scope, and only with one.
    let program = token(&hub, &["--role", "editor", "--scopes", "enrol"]);
    let new = api(port, &program, "POST", "/enrol", r#"{"unit":"rome","source":"munki","quota":3,"tags":["lab"]}"#);
    let told = new.json();
    assert_eq!(
        (new.status, &told["unit"], &told["quota"], &told["state"]),
        (201, &"rome".into(), &3.into(), &"open".into())
    );
    assert!(told["secret"].as_str().unwrap().starts_with(&format!("zs1.{}.1.", told["id"].as_str().unwrap())));
    let of = format!("/enrol/{}", told["id"].as_str().unwrap());
    let file = api(port, &program, "POST", &format!("{of}/package"), r#"{"format":"mobileconfig"}"#);
    assert!(file.status == 200 && file.body.contains("io.zentral.munki"), "{}", file.body);
    assert_eq!(api(port, &program, "GET", &of, "").json()["formats"], serde_json::json!(["pkg", "mobileconfig", "sh"]));
    assert!(
        api(port, &program, "GET", &of, "").json()["signed_by"].is_null(),
        "the configuration names nobody who signs"
    );
    assert_eq!(api(port, &program, "GET", "/enrol", "").json()["total"], 3);
    let other = token(&hub, &["--role", "editor", "--scopes", "machines"]);
    assert_eq!(api(port, &other, "POST", &format!("{of}/package"), r#"{"format":"sh"}"#).status, 403);

    // Revoked: neither its packages nor its secret are of use, and its machine stays.
    assert!(ed.get(&page).body.contains("Every copy of its secret"), "it says what it will do");
    assert_eq!(ed.post(&format!("{page}/revoke"), &csrf, "").header("location"), Some(page.as_str()));
    let gone = ed.get(&page);
    assert!(gone.body.contains("It is revoked") && !gone.body.contains("/package\""), "{}", gone.body);
    assert_eq!(ed.post(&ask, &csrf, "format=sh").status, 409);
    assert!(Agent::new(&hub.ca(), hub.port, secret, "C02CONSOLE1").enrol().is_err());
    assert!(agent.log(&[record(1)]).unwrap(), "its machine speaks on");

    hub.wait("the audit in the store", 60, || {
        audit(&hub, &id).last().is_some_and(|last| last.starts_with("enrolment_revoked"))
    });
    let told = audit(&hub, &id);
    assert_eq!((told[0].as_str(), told.len()), ("enrolment_made user:ed", 15), "{told:?}");
    assert_eq!(told.iter().filter(|one| *one == "enrolment_package user:ed").count(), 7, "{told:?}");
    assert_eq!(told.iter().filter(|one| *one == "enrolment_package command line").count(), 6, "{told:?}");
    assert_eq!(told[14], "enrolment_revoked user:ed");
    let audit = serde_json::to_string(&hub.events("type:audit")).unwrap();
    assert!(!audit.contains("zs1.") && !hub.log().contains("zs1."), "a secret is in no event and in no log");
}

#[test]
fn a_machine_gets_tags_and_is_forgotten() {
    let (hub, port) = up();
    let mut ada = person(&hub, port, "ada", &["--role", "admin"]);
    let mut ed = person(&hub, port, "ed", &["--role", "editor"]);
    let mut remo = person(&hub, port, "remo", &["--role", "editor", "--units", "rome"]);
    let mut agent = Agent::new(&hub.ca(), hub.port, &hub.secret_of("default"), "C02FORGET1");
    assert!(agent.log(&[record(1)]).unwrap());
    let of = "machine.serial_number:C02FORGET1";
    hub.wait("its events in the store", 60, || hub.events(of).iter().any(|e| e["type"] == "osquery_result"));
    let (page, csrf) = ("/machines/C02FORGET1", ed.get("/enrol").csrf());
    hub.wait("the machine", 30, || ed.get(page).status == 200);

    let tags = "/machines/C02FORGET1/tags";
    assert_eq!(ed.post(tags, &csrf, "add=vip+lab,spare").status, 303);
    assert_eq!(ed.post(tags, &csrf, "remove=spare").status, 303);
    let shown = ed.get(page);
    assert!(shown.body.contains("<span class=\"tag\">lab</span> <span class=\"tag\">vip</span>"), "{}", shown.body);
    let told: Value = serde_json::from_str(&hub.ok(&["machine", "show", "C02FORGET1", "--json"])).unwrap();
    assert_eq!(told["tags"], serde_json::json!(["lab", "vip"]));
    for (form, status) in [("add=A", 400), ("", 400), ("remove=x_y", 400), ("add=vip", 303)] {
        assert_eq!(ed.post(tags, &csrf, form).status, status, "{form}");
    }
    assert_eq!(ed.post("/machines/C02FORGET1/sync", &csrf, "kind=clean").status, 409, "it has no Santa");
    assert_eq!(ed.post("/machines/C02FORGET1/sync", &csrf, "kind=x").status, 400);
    assert_eq!(ed.post("/machines/C02FORGET1/approve", &csrf, "hardware=x").status, 409);
    let csrf_of_remo = remo.get("/enrol").csrf();
    assert_eq!(remo.post(tags, &csrf_of_remo, "add=mine").status, 404, "a machine of another unit");

    // Only an admin forgets; what will go is said before.
    assert!(!ed.get(page).body.contains("/forget"));
    assert_eq!(ed.get("/machines/C02FORGET1/forget").status, 403);
    assert_eq!(ed.post("/machines/C02FORGET1/forget", &csrf, "").status, 403);
    assert!(ada.get(page).body.contains("/machines/C02FORGET1/forget"));
    let asks = ada.get("/machines/C02FORGET1/forget");
    for says in [
        "cannot be taken back",
        "What goes",
        "osquery: whatever it says is refused",
        "lab, vip",
        "Events in the store store",
        "What stays",
    ] {
        assert!(asks.body.contains(says), "{says}: {}", asks.body);
    }
    let scoped = token(&hub, &["--role", "admin", "--scopes", "machines"]);
    let told = api(port, &scoped, "GET", "/machines/C02FORGET1/forget", "").json();
    let events =
        told["goes"].as_array().unwrap().iter().find(|one| one["place"] == "Events in the store store").unwrap();
    assert!(events["what"].as_str().unwrap().starts_with("all: ") && told["done"] == false, "{told}");
    let gone = ada.post("/machines/C02FORGET1/forget", &asks.csrf(), "");
    assert!(gone.status == 200 && gone.body.contains("is being forgotten"), "{}", gone.body);
    hub.wait("it is forgotten", 60, || ada.get(page).status == 404);
    assert_eq!(ada.post("/machines/C02FORGET1/forget", &asks.csrf(), "").status, 404);
    hub.wait("its key opens nothing", 30, || !agent.log(&[record(2)]).unwrap_or(true));
    hub.wait("its results are gone", 60, || !hub.events(of).iter().any(|e| e["type"] == "osquery_result"));
    let want = ["machine_tag user:ed", "machine_tag user:ed", "machine_forgotten user:ada"];
    hub.wait("the audit", 60, || audit(&hub, "C02FORGET1") == want);
}

//! The first hour: from `zentral init` in an empty folder each page leads to the next, until Slack is told of what an agent
//! found. What a page says is to be typed is typed as it stands there.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::fakes::slack::{HOOK, Slack};
use crate::fakes::{Fake, Request};
use crate::plain::{Browser, PASSWORD, hub, start};
use crate::support::agent::{Agent, record};
use crate::support::hub::Hub;
use crate::{folder, keyboard, look};

/// The probe that is chosen, and a key that somebody put on the machine.
const PROBE: &str = "ssh-key-added";

struct Hour {
    hub: Hub,
    base: String,
    chromium: Chromium,
    pictures: usize,
}

impl Hour {
    /// Follows a link or presses a button, to a page where this stands, of which nothing is wrong.
    fn follow(&mut self, link: &str, there: &str) {
        self.wait(link, &format!("return document.querySelector({link:?}) !== null"));
        self.chromium.run(&format!("document.querySelector({link:?}).click()"));
        self.wait(there, &format!("return document.querySelector({there:?}) !== null"));
        self.look();
    }

    fn wait(&self, what: &str, script: &str) {
        self.chromium.wait_for(what, script);
    }

    /// What is wrong with the page, and pictures of it.
    fn look(&mut self) {
        assert_eq!(look::wrong(&self.chromium, &self.base), [""; 0]);
        self.pictures += 1;
        let folder = folder("target/screenshots");
        for width in [1280, 360] {
            assert_eq!(look::too_wide(&self.chromium, width), [""; 0]);
            for theme in ["light", "dark"] {
                self.chromium.theme(theme);
                assert_eq!(look::barriers(&self.chromium), [""; 0], "{theme}, {width} px");
                let name = format!("hour{:02}-{width}-{theme}.png", self.pictures);
                std::fs::write(folder.join(name), self.chromium.picture(3000)).unwrap();
            }
        }
        self.chromium.size(1280);
    }

    fn text(&self, selector: &str) -> String {
        self.chromium.text(&format!("return document.querySelector({selector:?}).innerText"))
    }

    /// The first page, once it says that this is next.
    fn next(&mut self, link: &str) {
        let is = format!("return document.querySelector('li[aria-current=step] a[href={link:?}]') !== null");
        let (hub, chromium, base) = (&self.hub, &self.chromium, &self.base);
        hub.wait(&format!("{link} as the next step"), 60, || {
            chromium.open(&format!("{base}/"));
            chromium.run(&is) == true
        });
        self.look();
    }
}

/// A machine is brought in by the package that the page of the enrolment gives.
fn enrol(hour: &mut Hour, port: u16) -> Agent {
    hour.follow("li[aria-current=step] a[href=\"/enrol\"]", "form[action=\"/enrol\"]");
    hour.follow("form[action=\"/enrol\"] button.main", "button[name=format][value=sh]");
    let mut plain = Browser::new(port);
    assert_eq!(plain.login("ada", PASSWORD).status, 303);
    let enrolment = hour.chromium.url().replace(&hour.base, "");
    let csrf = plain.get(&enrolment).csrf();
    let script = plain.post(&format!("{enrolment}/package"), &csrf, "format=sh");
    assert!(script.status == 200 && script.body.starts_with("#!/bin/sh"), "{}", script.head);
    let from = script.body.find("zs1.").unwrap();
    let secret: String = script.body[from..].chars().take_while(|c| !c.is_whitespace() && *c != '\'').collect();
    hour.next(&enrolment);
    Agent::new(&hour.hub.ca(), hour.hub.port, &secret, "FIRST1")
}

/// The name under which the agent is told to run the probe's query.
fn asked(agent: &mut Agent) -> Option<String> {
    let (_, told) = agent.client.post("/public/osquery/config", &json!({"node_key": agent.node_key})).unwrap();
    let schedule = told["schedule"].as_object().cloned().unwrap_or_default();
    schedule.keys().find(|name| name.starts_with(&format!("zentral/{PROBE}/"))).cloned()
}

/// Runs what the page says as it stands there, with the secret pasted into it.
fn paste(commands: &str, secret: &str) {
    let mut shell = Command::new("sh").args(["-ec", commands]).stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(format!("{secret}\n").as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success(), "{commands}");
}

fn said(request: &Request) -> String {
    request.json()["text"].as_str().unwrap_or_default().to_owned()
}

pub fn run() {
    let (hub, port) = start(hub("", "edit = true\n"));
    let link = hub.ok(&["user", "add", "ada", "--role", "admin"]);
    let mut hour = Hour { hub, base: format!("http://127.0.0.1:{port}"), chromium: Chromium::start(true), pictures: 0 };
    keyboard::choose_password(&hour.chromium, link.trim());
    let next = hour.text("section[aria-labelledby=next]");
    assert!(next.contains("zentral enrol new"), "{next}");
    hour.look();

    // The first machine and its first event, each a link away.
    let mut agent = enrol(&mut hour, port);
    assert!(agent.log(&[record(1)]).unwrap());
    hour.hub.wait("the first event", 60, || !hour.hub.events("type:osquery_result").is_empty());
    // What the console knows of machines is a few seconds old.
    hour.next("/shipped");
    hour.follow("ol.steps a[href=\"/machines\"]", "tbody a[href^=\"/machines/FIRST1\"]");
    hour.follow("tbody a[href^=\"/machines/FIRST1\"]", "h2#events a");
    hour.follow("tbody a[href^=\"/events/\"]", "pre.payload");

    // A probe that ships: taken, in force, and the agent is asked its query.
    hour.next("/shipped");
    hour.follow("li[aria-current=step] a[href=\"/shipped\"]", &format!("tbody a[href=\"/shipped/{PROBE}\"]"));
    hour.follow(&format!("tbody a[href=\"/shipped/{PROBE}\"]"), "form[action$=\"/take\"]");
    hour.follow("form[action$=\"/take\"] button.main", &format!("#live a[href=\"/probes/{PROBE}\"]"));
    hour.follow(&format!("#live a[href=\"/probes/{PROBE}\"]"), "section[aria-labelledby=query]");
    let mut query = None;
    hour.hub.wait("the query for the agent", 60, || {
        query = asked(&mut agent);
        query.is_some()
    });

    // Slack: what the page shows is pasted, and the page sees it.
    let slack = Fake::start(Slack::default(), Vec::new());
    hour.next("/connect");
    hour.follow("li[aria-current=step] a[href=\"/connect\"]", "a[href=\"/connect/slack\"]");
    hour.follow("a[href=\"/connect/slack\"]", "section[aria-labelledby=paste] pre");
    paste(&hour.text("section[aria-labelledby=secret] pre"), &format!("{}{HOOK}", slack.url));
    let kept = std::fs::metadata(hour.hub.path("secrets/slack-secops.url")).unwrap();
    assert_eq!(kept.permissions().mode() & 0o777, 0o600);
    let (table, act) = (hour.text("section[aria-labelledby=paste] pre"), hour.text("section[aria-labelledby=act] pre"));
    hour.hub.edit(|text| format!("{text}\n{table}\n{act}\n"));
    hour.hub.ok(&["check", "--strict"]);

    // A test, whose end stands on the page without anybody asking again.
    hour.follow("#live a[href^=\"/actions/slack-secops\"]", "details#try[open] button.main");
    hour.chromium.run("document.querySelector('details#try button.main').click()");
    hour.wait(
        "the end of the test",
        "return document.querySelector('#live .good')?.innerText.includes('The test is done') === true",
    );
    hour.look();
    let sent = slack.answered();
    assert_eq!(sent.iter().map(|(_, reply)| reply.status).collect::<Vec<_>>(), [200]);
    assert!(said(&sent[0].0).starts_with("*[test] "), "{}", said(&sent[0].0));

    // The agent finds what the probe looks for, and Slack is told.
    let mut row = record(2);
    row["name"] = query.into();
    row["columns"] = json!({"username": "ada", "algorithm": "ssh-ed25519", "comment": "ada@laptop",
        "key": "AAAAC3NzaC1lZDI1NTE5AAAAIB2f9uT0mYw8q1xk4c7nZ5vR3tLhJ6sD0eWgPbXyQoUa",
        "key_file": "/home/ada/.ssh/authorized_keys"});
    assert!(agent.log(&[row]).unwrap());
    slack.wait_for(2);
    let told = said(&slack.got()[1]);
    assert!(told.starts_with("*New SSH key on first1.example.com for ada*\n"), "{told}");

    // All of it is done, and out of the way; it is found again.
    hour.hub.wait("the overview of a hub that needs nothing", 60, || {
        hour.chromium.open(&format!("{}/", hour.base));
        hour.chromium.run("return document.querySelector('section[aria-labelledby=next]') === null") == true
    });
    hour.look();
    hour.follow("a[href=\"/start\"]", "ol.steps");
    let steps: Value =
        hour.chromium.run("return [...document.querySelectorAll('ol.steps .state')].map(e => e.innerText)");
    assert!(steps.as_array().unwrap().len() == 8 && steps.as_array().unwrap().iter().all(|s| s == "done"), "{steps}");
}

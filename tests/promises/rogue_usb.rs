//! (a) Access is revoked when a rogue USB device appears.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::fakes::{Fake, Reply, Request, Service, slack};
use crate::mac::Mac;
use crate::page::{blocks, with};
use crate::support::hub::Hub;
use crate::{outcomes, start, with_filters};

const LOGIN: &str = "Bearer of-the-hub";

/// An identity provider: it ends the sessions of those it knows.
struct People;

impl Service for People {
    fn answer(&mut self, request: &Request) -> Reply {
        match request.path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            _ if request.header("authorization") != LOGIN => Reply::text(401, "who are you?"),
            ["api", "users", user, "sessions"] if request.method == "DELETE" && user.contains('@') => {
                Reply::text(204, "")
            }
            _ => Reply::text(400, "bad request"),
        }
    }
}

fn program(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn usb(id: &str, serial: &str) -> Value {
    json!({"vendor": "SanDisk", "vendor_id": "0781", "model": "Ultra", "model_id": id, "serial": serial, "class": "0", "removable": "1"})
}

#[test]
fn a_rogue_usb_device_costs_its_user_access() {
    let (people, secops) = (Fake::start(People, vec![]), Fake::start(slack::Slack::default(), vec![]));
    let page = with(&blocks("rogue-usb", "toml"), "https://id.example.com", &people.url);
    let mut hub = Hub::new(&format!("\n{page}"));
    with_filters(&hub);
    program(&hub.path("bin/revoke-vpn"), &blocks("rogue-usb", "sh"));
    if std::process::Command::new("jq").arg("--version").output().is_err() {
        // The page's program calls it; where it is not there, this finds the user as well.
        let text =
            "#!/bin/sh\nuser=$(sed -n 's/.*\"user\":\"\\([^\"]*\\)\".*/\\1/p')\n[ -n \"$user\" ] && echo \"$user\"\n";
        program(&hub.path("bin/jq"), text);
    }
    let revoked = hub.path("revoked");
    // The one that the page's program calls; it is away at first.
    let away = format!("[ -e '{0}.away' ] || {{ : > '{0}.away'; exit 1; }}", revoked.display());
    program(&hub.path("bin/vpn-admin"), &format!("#!/bin/sh\n{away}\necho \"$*\" >> '{}'\n", revoked.display()));
    let path = format!("{}:{}", hub.path("bin").display(), std::env::var("PATH").unwrap());
    hub.env("PATH", &path);
    hub.env("ID_AUTHORIZATION", LOGIN);
    hub.env("SLACK_SECOPS_URL", &format!("{}{}", secops.url, slack::HOOK));
    start(&mut hub);

    let mut mac = Mac::new(&hub, "C02X00001", Some("eve+x/../y@example.com"));
    mac.row("rogue-usb-device", 0, "added", usb("5581", "there before"));
    mac.row("rogue-usb-device", 1, "added", usb("5583", "4C530001230916117320"));
    mac.row("rogue-usb-device", 2, "added", usb("5581", "4C53"));
    mac.row("rogue-usb-device", 3, "removed", usb("5581", "4C53"));
    // A loose plug.
    mac.row("rogue-usb-device", 4, "added", usb("5581", "4C53"));
    let done = |action: &str| outcomes(&hub, action).iter().filter(|event| event["type"] == "action_done").count();
    for action in ["revoke-sessions", "revoke-vpn", "tell-secops"] {
        hub.wait(action, 60, || done(action) == 1);
    }
    let asked = people.got();
    assert_eq!((asked.len(), asked[0].method.as_str()), (1, "DELETE"));
    assert_eq!(asked[0].path, ["api", "users", "eve+x/../y@example.com", "sessions"], "one segment, whatever is in it");
    assert_eq!(std::fs::read_to_string(&revoked).unwrap(), "revoke -- eve+x/../y@example.com\n");
    let told = secops.got();
    let text = told[0].json()["text"].as_str().unwrap().to_owned();
    assert_eq!(told.len(), 1);
    assert!(text.contains("Unknown USB device on ada-mbp: SanDisk Ultra") && text.contains("0781:5581:4C53"), "{text}");

    // A machine that nobody is known to use: nobody is revoked, secops knows, and the reason stands in the dead letters.
    let mut nobodys = Mac::new(&hub, "C02X00002", None);
    nobodys.row("rogue-usb-device", 1, "added", usb("5581", "4C54"));
    hub.wait("secops", 60, || done("tell-secops") == 2);
    let dead = |action: &str| outcomes(&hub, action).into_iter().find(|event| event["type"] == "action_failed");
    hub.wait("the dead letters", 60, || dead("revoke-vpn").is_some() && dead("revoke-sessions").is_some());
    let why = dead("revoke-vpn").unwrap()["payload"]["error"].as_str().unwrap().to_owned();
    assert!(why.contains("nobody is known as the machine's user"), "{why}");
    assert_eq!((people.got().len(), hub.matched("rogue-usb-device")), (1, 3));
    assert_eq!(hub.stop(), Some(0), "{}", hub.log());
    assert!(!hub.log().contains(LOGIN));
}

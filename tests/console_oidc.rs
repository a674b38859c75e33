//! Single sign-on: with a real provider of identities (panva's oidc-provider, by scripts/oidc), and with one that misbehaves
//! in every way that somebody could gain by.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

#[path = "oidc/access.rs"]
mod access;
#[path = "console/browser.rs"]
mod browser;
#[allow(dead_code, reason = "each test uses what it needs of it")]
#[path = "browser/chromium.rs"]
mod chromium;
#[path = "oidc/elsewhere.rs"]
mod elsewhere;
#[path = "oidc/fake.rs"]
mod fake;
#[path = "oidc/misbehaves.rs"]
mod misbehaves;
#[path = "oidc/real.rs"]
mod real;
mod support;
#[path = "oidc/walk.rs"]
mod walk;

use std::process::{Child, Stdio};

use browser::Browser;
use support::hub::Hub;

/// What the provider knows us by; every character that must be encoded on the way.
const SECRET: &str = "geheim +/%&=:\"~";

/// A hub with single sign-on at this issuer, not started.
fn hub(issuer: &str, keys: &str) -> (Hub, u16) {
    let oidc =
        format!("{{ issuer = \"{issuer}\", client = \"zentral\", secret = {{ file = \"oidc.secret\" }}, {keys} }}");
    let (hub, port) = browser::hub("\n[unit.rome]", &format!("url = \"http://127.0.0.1:@PORT@\"\noidc = {oidc}\n"));
    hub.edit(|text| text.replace("@PORT@", &port.to_string()));
    std::fs::write(hub.path("oidc.secret"), format!("{SECRET}\n")).unwrap();
    (hub, port)
}

/// The console of a hub, without the rest of it.
struct Alone(Child);

impl Alone {
    fn start(hub: &Hub, port: u16) -> Self {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(hub.path("up.log")).unwrap();
        let child = hub.command(&["run", "console"]).stderr(log).stdout(Stdio::null()).spawn().unwrap();
        hub.wait("the console", 30, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self(child)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where a browser is sent by single sign-on.
fn begin(browser: &mut Browser, next: &str) -> String {
    let page = browser.get("/login");
    assert!(page.body.contains("Sign in with 127.0.0.1:"), "{}", page.body);
    let sent = browser.get(&format!("/login/oidc?next={next}"));
    assert_eq!(sent.status, 303, "{}", sent.body);
    sent.header("location").unwrap().to_owned()
}

/// A word of a query.
fn word(url: &str, name: &str) -> String {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let found = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    plain(found.unwrap_or_else(|| panic!("no {name} in {url}")))
}

/// Without the signs of a query.
fn plain(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(out).unwrap()
}

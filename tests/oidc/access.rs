//! What people and the configuration say of single sign-on: addresses on the page Access, reloads, `zentral check`.

use rustix::process::Signal;
use serde_json::json;

use super::fake::Fake;
use super::misbehaves::came;
use super::{Alone, SECRET, hub};
use crate::browser::{Browser, api, person, token};
use crate::support::hub::{Hub, signal};

fn checked(hub: &Hub, words: &[&str]) -> (bool, String) {
    let out = hub.run(&[&["check"], words].concat());
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(!said.contains("geheim"), "{said}");
    (out.status.success(), said)
}

#[test]
fn addresses_are_given_and_taken_on_the_page() {
    let fake = Fake::start();
    let (hub, port) = hub(&fake.issuer, "");
    let console = Alone::start(&hub, port);
    let mut ada = person(&hub, port, "ada", &["--role", "admin", "--email", "ada.l@example.com"]);
    let page = ada.get("/users");
    assert!(page.body.contains("value=\"ada.l@example.com\"") && page.body.contains("Single sign-on"), "{}", page.body);
    let csrf = page.csrf();
    for (path, form, status) in [
        ("/users", "name=bob&role=editor&email=ada@example.com", 200),
        ("/users/ada/email", "email=Ada@Example.com", 409),
        ("/users/ada/email", "email=ada", 400),
        ("/users/carl/email", "email=carl@example.com", 404),
        ("/users", "name=carl&role=viewer&email=ada@example.com", 409),
        ("/users/ada/email", "email=", 303),
    ] {
        let reply = ada.post(path, &csrf, form);
        assert_eq!(reply.status, status, "{path} {form}: {}", reply.body);
    }
    assert!(!hub.ok(&["user", "list"]).contains("carl"), "all of it or nothing");
    // No group is asked for where none matters.
    let mut bob = Browser::new(port);
    bob.get("/login");
    let to = bob.get("/login/oidc").header("location").unwrap().to_owned();
    assert!(to.contains("scope=openid+email+profile&"), "{to}");
    fake.set(|says| (says.nonce, says.challenge) = (super::word(&to, "nonce"), super::word(&to, "code_challenge")));
    let back = format!("/login/oidc/callback?code=c&state={}", super::word(&to, "state"));
    assert_eq!(bob.get(&back).status, 303, "{}", hub.log());
    assert!(bob.get("/").body.contains(">bob <span class=\"dim\">editor</span>"));
    let users = api(port, &token(&hub, &["--role", "admin"]), "/users").json();
    assert_eq!(
        (&users["users"][1]["email"], &users["users"][1]["by_group"]),
        (&json!("ada@example.com"), &json!(false))
    );
    // Another address, another account; until then it is theirs whatever the provider says of the address.
    fake.set(|says| says.claims = json!({"email_verified": false}));
    let sign_in = |fake: &Fake| {
        let mut browser = Browser::new(port);
        let path = came(fake, &mut browser, "openid email profile");
        browser.get(&path).status
    };
    assert_eq!(sign_in(&fake), 303);
    assert_eq!(ada.post("/users/bob/email", &csrf, "email=bob@example.com").status, 303);
    assert_eq!(sign_in(&fake), 403);
    assert_eq!(bob.get("/machines").status, 303, "whoever came in as him is out");

    // A reload takes it away.
    hub.edit(|text| text.lines().filter(|line| !line.starts_with("oidc")).map(|line| format!("{line}\n")).collect());
    signal(i32::try_from(console.0.id()).unwrap(), Signal::HUP);
    hub.wait("the reload", 30, || bob.get("/login/oidc").status == 404);
    assert!(!bob.get("/login").body.contains("Sign in with"));
    assert_eq!(bob.get("/login/oidc/callback?code=c&state=s").status, 404);
    assert!(!hub.log().contains(SECRET));
}

#[test]
fn check_finds_what_would_keep_people_out() {
    let fake = Fake::start();
    let (hub, _) = hub(&fake.issuer, "viewers = [\"staff\"], units = { rome = [\"r\"] }");
    let fine = checked(&hub, &["--online"]);
    assert!(fine.0, "{}", fine.1);
    fake.set(|says| says.metadata = json!({"issuer": format!("{}/", fake.issuer)}));
    let (fine, said) = checked(&hub, &["--online"]);
    assert!(!fine && said.contains("tried online: metadata: the provider calls itself"), "{said}");
    for (old, new, says) in [
        ("oidc.secret", "no.secret", "`secret`: cannot read"),
        ("rome = [\"r\"]", "roma = [\"r\"]", "there is no unit `roma`"),
        ("client = ", "cleint = ", "did you mean `client`?"),
        ("issuer = \"http://127.0.0.1", "issuer = \"http://192.0.2.1", "must begin with https://"),
    ] {
        hub.edit(|text| text.replace(old, new));
        let (fine, said) = checked(&hub, &[]);
        assert!(!fine && said.contains(says), "{new}: {said}");
        hub.edit(|text| text.replace(new, old));
    }
    assert!(checked(&hub, &[]).0);
}

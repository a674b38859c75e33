//! With a real provider: panva's oidc-provider, certified by the OpenID Foundation.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::elsewhere::Elsewhere;
use super::{SECRET, begin, hub, word};
use crate::browser::{Browser, Reply, start};
use crate::support::hub::{Hub, free_port};

pub struct Provider {
    child: Child,
    /// A program that says something to nobody ends.
    _says: BufReader<ChildStdout>,
    issuer: String,
}

impl Provider {
    pub fn start(issuer: &str, back: &str, people: &Value) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oidc");
        let mut child = Command::new("node")
            .current_dir(folder)
            .args(["provider.mjs", issuer, "zentral", SECRET, back, &people.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("node");
        let mut said = String::new();
        let mut says = BufReader::new(child.stdout.take().unwrap());
        says.read_line(&mut said).unwrap();
        assert_eq!(said.trim(), "ready");
        Self { child, _says: says, issuer: issuer.to_owned() }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What somebody does at the provider: signs in and agrees. Where they are sent back to.
fn visit(elsewhere: &mut Elsewhere, to: &str, name: &str) -> String {
    let mut url = to.to_owned();
    for _ in 0..12 {
        let said = elsewhere.ask("GET", &url, "");
        let said = match said.location {
            Some(_) => said,
            None => {
                assert_eq!(said.status, 200, "{url}: {}", said.body);
                let prompt = if said.body.contains("name=\"login\"") { "login" } else { "consent" };
                elsewhere.ask("POST", &url, &format!("prompt={prompt}&login={name}&password=x"))
            }
        };
        assert!([302, 303].contains(&said.status), "{url}: {} {}", said.status, said.body);
        url = said.location.unwrap();
        if url.contains("/login/oidc/callback?") {
            return url;
        }
    }
    panic!("{name} does not come back: {url}");
}

/// Comes back to the console.
fn back(browser: &mut Browser, url: &str) -> Reply {
    let (_, path) = url.split_once("/login/oidc/callback?").unwrap();
    browser.get(&format!("/login/oidc/callback?{path}"))
}

fn sign_in(port: u16, name: &str) -> (Browser, Reply) {
    let mut browser = Browser::new(port);
    let to = begin(&mut browser, "/machines%3Fq=a");
    let url = visit(&mut Elsewhere::default(), &to, name);
    let reply = back(&mut browser, &url);
    (browser, reply)
}

fn users(hub: &Hub) -> Vec<Value> {
    hub.ok(&["user", "list"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
#[ignore = "needs oidc-provider: scripts/oidc"]
fn people_come_in_and_go() {
    let at = free_port();
    let keys = "admins = [\"secops\"], viewers = [\"staff\"], units = { rome = [\"romans\"] }";
    let (hub, port) = hub(&format!("http://127.0.0.1:{at}"), keys);
    let people = json!({
        "1001": {"email": "Ada@example.com", "email_verified": true, "preferred_username": "eve"},
        "1002": {"email": "ada@example.com", "email_verified": false, "preferred_username": "ada"},
        "1003": {"groups": ["other", "secops"], "preferred_username": "ada"},
        "1004": {"groups": ["staff", "romans"], "preferred_username": "Vera O'Hara"},
        "1005": {"groups": ["staff"], "preferred_username": "nobody"},
        "1006": {"email": "ada@example.com", "email_verified": true},
    });
    let _provider = Provider::start(
        &format!("http://127.0.0.1:{at}"),
        &format!("http://127.0.0.1:{port}/login/oidc/callback"),
        &people,
    );
    hub.ok(&["check"]);
    hub.ok(&["user", "add", "ada", "--role", "editor", "--email", "ada@example.com"]);
    let (hub, port) = start((hub, port));

    // By a verified address, whatever they call themselves there.
    let (mut ada, came) = sign_in(port, "1001");
    assert_eq!((came.status, came.header("location")), (303, Some("/machines?q=a")), "{}", came.body);
    let home = ada.get("/");
    assert!(home.body.contains(">ada <span class=\"dim\">editor"), "{}", home.body);
    assert_eq!(ada.get("/users").status, 403);

    // By no name, by no address that is not verified, and by none that is another account's.
    for (who, why) in [("1002", "no group lets"), ("1005", "no group lets"), ("1006", "another account")] {
        let (mut browser, refused) = sign_in(port, who);
        assert!(refused.status == 403 && refused.body.contains(why), "{who}: {}", refused.body);
        assert!(!browser.cookies.contains_key("zentral_session"));
        assert_eq!(browser.get("/machines").status, 303);
    }

    // By a group, under a name that nobody has.
    let (mut admin, came) = sign_in(port, "1003");
    assert_eq!(came.status, 303, "{}", came.body);
    let page = admin.get("/users");
    assert!(page.status == 200 && page.body.contains("ada-2"), "{}", page.body);
    let (mut vera, came) = sign_in(port, "1004");
    assert_eq!(came.status, 303, "{}", came.body);
    assert!(vera.get("/").body.contains(">vera-o-hara <span class=\"dim\">viewer, rome"), "{}", vera.get("/").body);
    assert_eq!(users(&hub).len(), 3);

    // What is changed here holds from the next request on, and stays when they come again.
    hub.ok(&["user", "role", "vera-o-hara", "--role", "editor"]);
    assert!(vera.get("/").body.contains(">vera-o-hara <span class=\"dim\">editor</span>"));
    let (mut again, _) = sign_in(port, "1004");
    assert!(again.get("/").body.contains(">vera-o-hara <span class=\"dim\">editor</span>"));
    hub.ok(&["user", "remove", "ada"]);
    assert_eq!(ada.get("/").status, 303, "at once");
    assert_eq!(sign_in(port, "1001").1.status, 403, "and for good");

    // Signing out, and a password beside it.
    let csrf = vera.get("/").csrf();
    let out = vera.post("/logout", &csrf, "");
    assert_eq!((out.status, out.header("location")), (303, Some("/login")));
    assert_eq!(vera.get("/").status, 303);

    hub.wait("the audit in the store", 60, || {
        let all = hub.events("type:audit");
        let has = |action: &str, with: &str| {
            all.iter().any(|e| e["payload"]["action"] == action && e["payload"]["with"] == with)
        };
        has("login", "oidc")
            && has("login_failed", "oidc")
            && all.iter().any(|e| e["payload"]["action"] == "user_bound")
    });
    let audit = serde_json::to_string(&hub.events("type:audit")).unwrap();
    let said = format!("{audit}{}", std::fs::read_to_string(hub.path("up.log")).unwrap());
    for secret in [SECRET, "geheim", &again.cookies["zentral_session"]] {
        assert!(!said.contains(secret), "{secret} is in an event or a log");
    }
    assert!(audit.contains("127.0.0.1:") && audit.contains("1005"), "{audit}");
}

#[test]
#[ignore = "needs oidc-provider: scripts/oidc"]
fn a_code_is_good_for_once_and_for_one_browser() {
    let at = free_port();
    let (hub, port) = hub(&format!("http://127.0.0.1:{at}"), "viewers = [\"staff\"]");
    let people = json!({"7": {"groups": ["staff"], "preferred_username": "ada"}});
    let provider = Provider::start(
        &format!("http://127.0.0.1:{at}"),
        &format!("http://127.0.0.1:{port}/login/oidc/callback"),
        &people,
    );
    let _console = super::Alone::start(&hub, port);
    let (mut mallory, mut ada) = (Browser::new(port), Browser::new(port));
    let to = begin(&mut mallory, "/");
    assert!(to.starts_with(&provider.issuer) && word(&to, "code_challenge_method") == "S256", "{to}");
    let url = visit(&mut Elsewhere::default(), &to, "7");
    // Somebody is made to open what another began: they do not become the other.
    let trap = back(&mut ada, &url);
    assert!(trap.status == 400 && trap.body.contains("not begun here"), "{}", trap.body);
    assert!(!ada.cookies.contains_key("zentral_session"));
    assert_eq!(back(&mut mallory, &url).status, 400, "it was used");
    // A code that was used, in a sign-in that was begun anew.
    let to = begin(&mut mallory, "/");
    let url = visit(&mut Elsewhere::default(), &to, "7");
    assert_eq!(back(&mut mallory, &url).status, 303);
    let again = begin(&mut mallory, "/");
    let stale = format!(
        "{}?code={}&state={}&iss={}",
        "/login/oidc/callback",
        word(&url, "code"),
        word(&again, "state"),
        word(&url, "iss")
    );
    let refused = mallory.get(&stale);
    assert!(refused.status == 502 && refused.body.contains("cannot be trusted"), "{}", refused.body);
    assert!(hub.log().contains("invalid_grant"), "{}", hub.log());
}

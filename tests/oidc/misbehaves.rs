//! With a provider that misbehaves: nobody comes in by it, and it holds nobody up.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use registry::db::Db;
use registry::users;
use serde_json::{Value, json};

use super::fake::{Fake, Manner};
use super::{Alone, SECRET, begin, hub, word};
use crate::browser::{Browser, Reply, person};
use crate::support::hub::Hub;

/// What is asked for where groups matter.
const ALL: &str = "openid email profile groups";

/// Goes to the provider and comes back.
fn sign_in(fake: &Fake, port: u16) -> Reply {
    let mut browser = Browser::new(port);
    let path = came(fake, &mut browser, ALL);
    let reply = browser.get(&path);
    assert_eq!(browser.cookies.contains_key("zentral_session"), reply.status == 303, "{}", reply.body);
    reply
}

/// Where somebody comes back to.
pub fn came(fake: &Fake, browser: &mut Browser, scope: &str) -> String {
    let to = begin(browser, "/machines");
    assert!(to.starts_with(&format!("{}/auth?tenant=a&response_type=code&", fake.issuer)), "{to}");
    assert_eq!(word(&to, "scope"), scope);
    fake.set(|says| (says.nonce, says.challenge) = (word(&to, "nonce"), word(&to, "code_challenge")));
    format!("/login/oidc/callback?code=c&state={}", word(&to, "state"))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Tries that failed are counted; here they are one after the other.
fn forgive(hub: &Hub) {
    let mut db = Db::open(hub.path("data/registry.db").as_path(), users::SCHEMAS).unwrap();
    let mut tx = db.begin().unwrap();
    tx.execute("DELETE FROM login_tries", &[]).unwrap();
    tx.commit().unwrap();
}

#[test]
fn tokens_that_must_not_be_believed() {
    let fake = Fake::start();
    let (hub, port) = hub(&fake.issuer, "viewers = [\"staff\"]");
    let _console = Alone::start(&hub, port);
    assert_eq!(sign_in(&fake, port).status, 303, "{}", hub.log());
    let elsewhere = "https://evil.example.com";
    let cases: &[(&str, Value, Value, Option<&str>, &str)] = &[
        ("another nonce", json!({"nonce": "x"}), json!({}), None, "`nonce`"),
        ("no nonce", json!({"nonce": null}), json!({}), None, "`nonce`"),
        ("expired", json!({"exp": now() - 200}), json!({}), None, "ExpiredSignature"),
        ("no end", json!({"exp": null}), json!({}), None, "Missing required claim: exp"),
        ("made long ago", json!({"iat": now() - 3600}), json!({}), None, "`iat`"),
        ("made tomorrow", json!({"iat": now() + 86400}), json!({}), None, "`iat`"),
        ("made never", json!({"iat": null}), json!({}), None, "`iat`"),
        ("not yet", json!({"nbf": now() + 3600}), json!({}), None, "ImmatureSignature"),
        ("for another", json!({"aud": "other"}), json!({}), None, "InvalidAudience"),
        ("for nobody", json!({"aud": null}), json!({}), None, "Missing required claim: aud"),
        ("for several", json!({"aud": ["zentral", "other"]}), json!({}), None, "`azp`"),
        ("given to another", json!({"azp": "other"}), json!({}), None, "`azp`"),
        ("of another issuer", json!({"iss": elsewhere}), json!({}), None, "InvalidIssuer"),
        ("of no issuer", json!({"iss": null}), json!({}), None, "Missing required claim: iss"),
        ("about nobody", json!({"sub": ""}), json!({}), None, "`sub`"),
        ("of a long name", json!({"sub": "s".repeat(256)}), json!({}), None, "`sub`"),
        ("not signed", json!({}), json!({"alg": "none"}), Some(""), "no head that we know"),
        ("signed with a secret", json!({}), json!({"alg": "HS256"}), None, "HS256, which is not taken"),
        ("signed otherwise", json!({}), json!({"alg": "RS256"}), None, "a key that the provider does not show"),
        ("not signed, and said to be", json!({}), json!({}), Some(""), "InvalidSignature"),
        ("signed by chance", json!({}), json!({}), Some("AAAA"), "InvalidSignature"),
        ("critical", json!({}), json!({"crit": ["b64"]}), None, "critical extension"),
        ("by no key", json!({}), json!({"kid": "other"}), None, "a key that the provider does not show"),
    ];
    for (name, claims, head, signature, why) in cases {
        fake.behave();
        forgive(&hub);
        fake.set(|says| {
            (says.claims, says.head, says.signature) = (claims.clone(), head.clone(), signature.map(str::to_owned));
        });
        let refused = sign_in(&fake, port);
        assert!(refused.status == 502 && refused.body.contains("cannot be trusted"), "{name}: {}", refused.body);
        assert!(refused.body.contains("name=\"password\""), "a password may be used instead: {name}");
        let log = hub.log();
        assert!(log.lines().last().unwrap().contains(why), "{name}: {log}");
    }
    for (name, claims) in [
        ("several audiences", json!({"aud": ["zentral", "other"], "azp": "zentral"})),
        ("a list of one", json!({"aud": ["zentral"]})),
        ("clocks that differ a little", json!({"iat": now() + 60})),
    ] {
        fake.behave();
        fake.set(|says| says.claims = claims);
        assert_eq!(sign_in(&fake, port).status, 303, "{name}");
    }
    assert!(!hub.log().contains(SECRET) && !hub.log().contains("geheim"));
}

#[test]
fn answers_that_must_not_be_believed() {
    let fake = Fake::start();
    let (hub, port) = hub(&fake.issuer, "viewers = [\"staff\"]");
    let _console = Alone::start(&hub, port);
    let mut browser = Browser::new(port);
    // Metadata of another, or that lead where secrets would be seen: nobody is sent there.
    for (name, metadata, why) in [
        ("another issuer", json!({"issuer": "https://evil.example.com"}), "calls itself `https://evil.example.com`"),
        ("a slash more", json!({"issuer": format!("{}/", fake.issuer)}), "calls itself"),
        ("no issuer", json!({"issuer": null}), "not what it should be"),
        ("in the clear", json!({"authorization_endpoint": "http://evil.example.com/"}), "must begin with https://"),
        ("script", json!({"authorization_endpoint": "javascript:alert(1)"}), "must begin with https://"),
    ] {
        fake.set(|says| says.metadata = metadata);
        let refused = browser.get("/login/oidc?next=/");
        assert_eq!((refused.status, refused.header("location")), (502, None), "{name}: {}", refused.body);
        assert!(hub.log().lines().last().unwrap().contains(why), "{name}: {}", hub.log());
    }
    fake.behave();
    assert_eq!(sign_in(&fake, port).status, 303);

    // Words of strangers are text, and few; of a sign-in that nobody began they are not shown at all.
    let words = "error=access_denied&error_description=%3Cscript%3Ealert(1)%3C/script%3E%E2%80%AEx".to_owned();
    let stray = browser.get(&format!("/login/oidc/callback?state=x&{words}"));
    assert!(stray.status == 400 && !stray.body.contains("access_denied"), "{}", stray.body);
    let path = came(&fake, &mut browser, ALL).replace("code=c", &format!("{words}{}", "%20y".repeat(1000)));
    let refused = browser.get(&path);
    assert!(refused.status == 403 && refused.body.contains("access_denied: &#60;script&#62;"), "{}", refused.body);
    assert!(!refused.body.contains('\u{202e}') && refused.body.matches(" y").count() < 200);
    assert_eq!(browser.get(&path).status, 400, "it was used");

    // The answer must be of this provider and for this sign-in.
    for (change, status) in [("&iss=https://evil.example.com", 502), ("&iss=", 303)] {
        let path = format!("{}{change}", came(&fake, &mut browser, ALL));
        assert_eq!(browser.get(&path).status, status, "{change}");
    }
    let path = came(&fake, &mut browser, ALL);
    fake.set(|says| says.challenge = "another".into());
    assert_eq!(browser.get(&path).status, 502);
    assert!(hub.log().contains("invalid_grant: <b>not</b> yours"), "{}", hub.log());
    // Userinfo is only asked where the token is silent, and must be about the same account.
    fake.behave();
    assert_eq!(sign_in(&fake, port).status, 303);
    assert!(!fake.says.lock().unwrap().asked.contains(&"/me".to_owned()));
    for (userinfo, status) in [(json!({"groups": ["staff"]}), 303), (json!({"sub": "8", "groups": ["staff"]}), 502)] {
        fake.behave();
        fake.set(|says| (says.claims, says.userinfo) = (json!({"groups": null}), userinfo));
        assert_eq!(sign_in(&fake, port).status, status);
    }
    // Whoever leaves the group is out, at the latest when they come again.
    let mut ada = Browser::new(port);
    fake.behave();
    let path = came(&fake, &mut ada, ALL);
    assert_eq!((ada.get(&path).status, ada.get("/machines").status), (303, 200));
    fake.set(|says| says.claims = json!({"groups": ["other"]}));
    let refused = sign_in(&fake, port);
    assert!(refused.status == 403 && refused.body.contains("in no group any more"), "{}", refused.body);
    assert_eq!(ada.get("/machines").status, 303);
    // Only a page of ours to come back to.
    fake.behave();
    for next in ["//evil.example.com", "https://evil.example.com", "/\\evil.example.com"] {
        let mut browser = Browser::new(port);
        browser.get("/login");
        let to = browser.get(&format!("/login/oidc?next={next}")).header("location").unwrap().to_owned();
        fake.set(|says| (says.nonce, says.challenge) = (word(&to, "nonce"), word(&to, "code_challenge")));
        let came = browser.get(&format!("/login/oidc/callback?code=c&state={}", word(&to, "state")));
        assert_eq!((came.status, came.header("location")), (303, Some("/")), "{next}");
    }
}

#[test]
fn new_keys_and_no_flood_of_questions() {
    let fake = Fake::start();
    let (hub, port) = hub(&fake.issuer, "viewers = [\"staff\"]");
    let _console = Alone::start(&hub, port);
    assert_eq!(sign_in(&fake, port).status, 303);
    fake.rotate("two");
    assert_eq!(sign_in(&fake, port).status, 303, "{}", hub.log());
    let keys = || fake.says.lock().unwrap().asked.iter().filter(|path| *path == "/keys").count();
    assert_eq!(keys(), 2, "once, and once more for the key that was not known");
    fake.set(|says| says.head = json!({"kid": "three"}));
    for _ in 0..5 {
        assert_eq!(sign_in(&fake, port).status, 502);
    }
    assert_eq!(keys(), 2, "not for every token that names one");
}

#[test]
fn a_provider_that_is_away_holds_nobody_up() {
    let fake = Fake::start();
    let (hub, port) = hub(&fake.issuer, "viewers = [\"staff\"]");
    let _console = Alone::start(&hub, port);
    let mut ada = person(&hub, port, "ada", &[]);
    let mut browser = Browser::new(port);
    browser.get("/login");
    let huge = vec![b' '; 10 << 20];
    for (name, manner, status, says) in [
        ("not now", Manner::Instead("/.well", 503, Vec::new()), 503, "answers 503"),
        ("cut", Manner::Cut("/.well"), 503, "does not answer"),
        ("elsewhere", Manner::Instead("/.well", 302, Vec::new()), 502, "cannot be trusted"),
        ("no JSON", Manner::Instead("/.well", 200, b"<html>".to_vec()), 502, "cannot be trusted"),
        ("10 MB", Manner::Instead("/.well", 200, huge.clone()), 502, "cannot be trusted"),
    ] {
        fake.set(|all| all.manner = manner);
        let refused = browser.get("/login/oidc");
        assert!(refused.status == status && refused.body.contains(says), "{name}: {}", refused.body);
    }
    fake.behave();
    for at in ["/token", "/keys"] {
        for manner in [Manner::Cut(at), Manner::Instead(at, 200, huge.clone()), Manner::Instead(at, 500, Vec::new())] {
            fake.behave();
            forgive(&hub);
            let path = came(&fake, &mut browser, ALL);
            fake.set(|all| all.manner = manner);
            assert!([502, 503].contains(&browser.get(&path).status), "{at}");
        }
    }
    // One that never answers: whoever asks is told so after a while, the next at once, and passwords go on.
    fake.behave();
    fake.set(|says| says.manner = Manner::Silent("/token"));
    let from = Instant::now();
    std::thread::scope(|scope| {
        let slow: Vec<_> = (0..4)
            .map(|_| {
                let mut browser = Browser::new(port);
                let path = came(&fake, &mut browser, ALL);
                scope.spawn(move || browser.get(&path))
            })
            .collect();
        std::thread::sleep(Duration::from_secs(2));
        let late = browser.get("/login/oidc");
        assert!(late.status == 503 && late.body.contains("others wait"), "{}", late.body);
        assert_eq!(ada.get("/status").status, 200);
        assert_eq!(Browser::new(port).login("ada", crate::browser::PASSWORD).status, 303);
        assert!(from.elapsed() < Duration::from_secs(9), "{:?}", from.elapsed());
        for one in slow {
            let reply = one.join().unwrap();
            assert!(reply.status == 503 && reply.body.contains("no answer within 10 seconds"), "{}", reply.body);
        }
    });
    assert!(from.elapsed() < Duration::from_secs(20), "{:?}", from.elapsed());
    // Failures count, and successes do not.
    forgive(&hub);
    fake.behave();
    for _ in 0..12 {
        assert_eq!(sign_in(&fake, port).status, 303);
    }
    fake.set(|says| says.claims = json!({"nonce": "x"}));
    let all: Vec<u16> = (0..11).map(|_| sign_in(&fake, port).status).collect();
    assert_eq!((all[..10].iter().all(|status| *status == 502), all[10]), (true, 429), "{all:?}");
    assert_eq!(Browser::new(port).login("ada", crate::browser::PASSWORD).status, 303, "a password is counted apart");
}

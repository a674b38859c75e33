//! The whole way in a real Chromium, between two sites: whether the cookies, the policy and the redirects of both go together
//! is for a browser to say.

use serde_json::json;

use super::real::Provider;
use super::{Alone, hub};
use crate::chromium::{Chromium, ENTER, TAB};
use crate::support::hub::free_port;

/// Of ours; the provider's pages ask for letters from elsewhere.
fn complains_of_nothing(chromium: &Chromium, base: &str) {
    let ours: Vec<String> = chromium.complaints().into_iter().filter(|one| one.contains(base)).collect();
    assert_eq!(ours, Vec::<String>::new());
}

#[test]
#[ignore = "needs oidc-provider and a browser: scripts/oidc"]
fn in_a_real_browser() {
    // Another host is another site, as a provider of identities mostly is.
    let issuer = format!("http://localhost:{}", free_port());
    let (hub, port) = hub(&issuer, "admins = [\"secops\"]");
    let people = json!({"7": {"groups": ["secops"], "preferred_username": "ada"}, "8": {"preferred_username": "eve"}});
    let _provider = Provider::start(&issuer, &format!("http://127.0.0.1:{port}/login/oidc/callback"), &people);
    let _console = Alone::start(&hub, port);
    let (chromium, base) = (Chromium::start(true), format!("http://127.0.0.1:{port}"));
    let at =
        |path: &str| format!("return location.origin === '{base}' && location.pathname + location.search === '{path}'");
    let choose = "document.querySelector('a.button').click()";
    // What a provider asks is answered as people do.
    let agree = || {
        chromium.wait_for("the agreement", "return !!document.querySelector('input[value=consent]')");
        chromium.run("document.querySelector('form button').click()");
    };

    chromium.open(&format!("{base}/machines?q=a"));
    chromium.wait_for("the page for signing in", &at("/login?next=%2Fmachines%3Fq%3Da"));
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    for (width, theme) in [(1280, "light"), (360, "dark")] {
        chromium.size(width);
        chromium.theme(theme);
        assert_eq!(chromium.run("return document.documentElement.scrollWidth > innerWidth"), false, "at {width}");
        std::fs::write(folder.join(format!("sign-on-{width}.png")), chromium.picture(700)).unwrap();
    }
    chromium.run(choose);
    chromium.wait_for("the provider", "return !!document.querySelector('input[name=login]')");
    assert!(chromium.url().starts_with(&issuer), "{}", chromium.url());
    chromium.run("document.querySelector('input[name=login]').focus()");
    chromium.press(&format!("7{TAB}x{ENTER}"));
    agree();
    chromium.wait_for("the page that was asked for", &at("/machines?q=a"));
    assert!(chromium.text("return document.querySelector('.me').innerText").contains("ada"));
    complains_of_nothing(&chromium, &base);

    // The page Access, and out; the provider remembers who they are.
    chromium.open(&format!("{base}/users"));
    assert!(chromium.text("return document.querySelector('#main').innerText").contains("by a group"));
    std::fs::write(folder.join("sign-on-access.png"), chromium.picture(700)).unwrap();
    chromium.run("document.querySelector('form[action=\"/logout\"] button').click()");
    chromium.wait_for("the page for signing in", &at("/login"));
    chromium.run(choose);
    chromium.wait_for("the overview", &at("/"));
    complains_of_nothing(&chromium, &base);
}

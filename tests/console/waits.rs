//! An action whose secret cannot be read, in the console: on the first page, in the list and on its own page.

use super::{api, person, token, up};

#[test]
fn an_action_that_waits_for_its_secret_says_so() {
    let (hub, port) = up("[action.slack]\nkind = \"slack\"\nurl = { file = \"slack.url\" }\n");
    let mut ada = person(&hub, port, "ada", &["--role", "admin"]);
    let file = hub.path("slack.url");
    let why = format!("cannot read {}", file.display());
    hub.wait("the action to wait", 60, || ada.get("/actions/slack").body.contains(&why));
    for path in ["/", "/status", "/actions", "/actions/slack"] {
        let page = ada.get(path);
        assert!(page.status == 200 && page.body.contains(&why), "{path}: {}", page.body);
    }
    let told = api(port, &token(&hub, &[]), "/actions").json();
    assert!(told["actions"][0]["waits"].as_str().is_some_and(|said| said.starts_with(&why)), "{told}");

    std::fs::write(&file, "https://hooks.slack.com/services/T0/B0/hunter2\n").unwrap();
    hub.wait("the action to be ready", 60, || !ada.get("/actions/slack").body.contains(&why));
    assert!(!ada.get("/").body.contains(&why));
}

//! The console of a running hub, asked as a browser asks: who comes in, who may see what, what hostile machines can do to
//! a page, and what is shown while something is down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

#[path = "console/browser.rs"]
mod browser;
#[path = "console/hour.rs"]
mod hour;
#[path = "console/prices.rs"]
mod prices;
#[path = "console/probes.rs"]
mod probes;
mod support;
#[path = "console/waits.rs"]
mod waits;

use browser::{Browser, PASSWORD, api, person, start, token};
use registry::users::Role;
use serde_json::{Value, json};
use support::agent::{Agent, Client};
use support::hub::Hub;

const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u{202e}gpj";

fn hub(more: &str) -> (Hub, u16) {
    browser::hub("\n[unit.rome]", more)
}

fn up(more: &str) -> (Hub, u16) {
    start(hub(more))
}

#[test]
fn somebody_comes_in_and_goes() {
    let (hub, port) = up("");
    let mut ada = Browser::new(port);
    let first = ada.get("/login");
    assert!(first.status == 200 && first.body.contains("zentral user add NAME"), "{}", first.body);
    let sent = ada.get("/machines?q=a");
    assert_eq!((sent.status, sent.header("location")), (303, Some("/login?next=%2Fmachines%3Fq%3Da")));

    // A session that somebody else put into the browser is not the one that signing in gives.
    let planted = "A".repeat(43);
    ada.cookies.insert("zentral_session".into(), planted.clone());
    let link = hub.ok(&["user", "add", "ada", "--role", "admin"]);
    let path = link.trim()[link.find("/link/").unwrap()..].to_owned();
    let page = ada.get(&path);
    for (form, says) in [("password=short&again=short", "at least 12"), ("password=aaaaaaaaaaaaa&again=b", "differ")] {
        let again = ada.post(&path, &page.csrf(), form);
        assert!(again.status == 400 && again.body.contains(says), "{}", again.body);
    }
    ada.take(link.trim(), PASSWORD);
    let session = ada.cookies["zentral_session"].clone();
    assert_ne!(session, planted);
    assert_eq!(Browser::new(port).get(&path).status, 410, "a link holds for once");
    let home = ada.get("/");
    assert!(home.status == 200 && home.body.contains("ada"), "{}", home.body);

    let out = ada.post("/logout", &home.csrf(), "");
    assert_eq!((out.status, out.header("location")), (303, Some("/login")));
    assert!(!ada.cookies.contains_key("zentral_session"));
    ada.cookies.insert("zentral_session".into(), session.clone());
    assert_eq!(ada.get("/").status, 303, "the session has ended, not only its cookie");
    let wrong = ada.login("ada", "wrong");
    assert!(wrong.status == 401 && wrong.body.contains("Name or password is wrong"), "{}", wrong.body);
    let unknown = ada.login("nobody", "wrong");
    assert!(unknown.status == 401 && unknown.body.contains("Name or password is wrong"), "{}", unknown.body);
    let right = ada.login("ada", PASSWORD);
    assert_eq!((right.status, right.header("location")), (303, Some("/machines")));
    assert_ne!(ada.cookies["zentral_session"], session);

    // Theirs to choose, and only a place of ours to come back to.
    let page = ada.get("/status");
    let theme = ada.post("/theme", &page.csrf(), "theme=dark&next=//evil.example.com");
    assert_eq!((theme.status, theme.header("location")), (303, Some("/")));
    assert!(ada.get("/status").body.contains("data-theme=\"dark\""));

    hub.wait("the audit in the store", 60, || {
        let actions: Vec<Value> = hub.events("type:audit").iter().map(|e| e["payload"]["action"].clone()).collect();
        let has = |word: &str| actions.iter().any(|action| action == word);
        ["user_added", "user_link", "user_password", "login", "logout", "login_failed"].into_iter().all(has)
    });
    let audit = serde_json::to_string(&hub.events("type:audit")).unwrap();
    assert!(!audit.contains(PASSWORD) && !audit.contains(&session) && !audit.contains(&path), "{audit}");
    assert!(!hub.log().contains(&path[6..]), "a link is in no log");
}

#[test]
fn every_route_for_every_role() {
    let (hub, port) = up("");
    let routes = console::routes();
    let path = |path: &str| {
        ["key", "id", "name", "secret", "file", "kind"]
            .iter()
            .fold(path.to_owned(), |path, part| path.replace(&format!("{{{part}}}"), "x"))
    };
    let people = [
        ("nobody", None, Browser::new(port)),
        ("vera", Some(Role::Viewer), person(&hub, port, "vera", &[])),
        ("ed", Some(Role::Editor), person(&hub, port, "ed", &["--role", "editor"])),
        ("ada", Some(Role::Admin), person(&hub, port, "ada", &["--role", "admin"])),
    ];
    for (name, role, mut browser) in people {
        for (method, template, least, _) in routes.iter().filter(|(_, path, ..)| *path != "/logout") {
            let may = least.is_none_or(|least| role.is_some_and(|role| role >= least));
            let reply = match *method {
                "GET" => browser.get(&path(template)),
                _ => {
                    let csrf = browser.get(if role.is_some() { "/status" } else { "/login" }).csrf();
                    browser.post(&path(template), &csrf, "")
                }
            };
            let place = format!("{name}: {method} {template}: {}", reply.head);
            match (may, role, *method) {
                (true, ..) => assert!(![401, 403, 405].contains(&reply.status) || *template == "/login", "{place}"),
                (false, None, "GET") => assert!(reply.status == 303 && reply.head.contains("/login"), "{place}"),
                (false, None, _) => assert_eq!(reply.status, 401, "{place}"),
                (false, Some(_), _) => assert_eq!(reply.status, 403, "{place}"),
            }
            let head = browser.send("HEAD", &path(template), "Accept: text/html\r\n", "");
            assert!(head.body.is_empty(), "{place}");
        }
    }
    assert_eq!(Browser::new(port).get("/nothing").status, 404);
    assert_eq!(Browser::new(port).get("/machines/%FF").status, 400);
    let odd = Browser::new(port).send("DELETE", "/users", "", "");
    assert_eq!((odd.status, odd.header("allow")), (405, Some("GET, HEAD, POST")));
    assert_eq!(Browser::new(port).form("/login", "", &"a".repeat(100_000)).status, 413);
    let elsewhere = Browser::new(port).send("GET", "/login", "Host: evil.example.com\r\n", "");
    assert_eq!(elsewhere.status, 421, "a name that anybody can point here");

    // Tokens: each scope opens its part and no other.
    for scope in console::scopes() {
        let token = token(&hub, &["--role", "admin", "--scopes", scope]);
        for (_, template, _, area) in routes.iter().filter(|(method, _, least, _)| *method == "GET" && least.is_some())
        {
            let reply = api(port, &token, &path(template));
            assert_eq!(reply.status == 403, *area != scope, "{scope} {template}: {}", reply.head);
            assert!(!reply.body.contains("<html"), "{}", reply.body);
        }
    }
    let mut plain = Browser::new(port);
    assert_eq!(plain.send("GET", "/machines", "Accept: application/json\r\n", "").status, 401);
    assert_eq!(api(port, "zt1.x.y", "/machines").header("www-authenticate"), Some("Bearer"));
    assert_eq!(api(port, &token(&hub, &[]), "/users").status, 403, "a viewer's token");
    let short = token(&hub, &["--expires", "1ms"]);
    assert_eq!(api(port, &short, "/machines").status, 401);
}

#[test]
fn forms_of_others_and_guesses() {
    let (hub, port) = up("");
    let mut ada = person(&hub, port, "ada", &["--role", "admin"]);
    let mut eve = person(&hub, port, "eve", &["--role", "admin"]);
    let (mine, others) = (ada.get("/users").csrf(), eve.get("/users").csrf());
    assert_ne!(mine, others);
    let ours = format!("Origin: http://127.0.0.1:{port}\r\n");
    for (csrf, headers) in [
        ("", ours.as_str()),
        ("forged", &ours),
        (&others, &ours),
        (&mine, "Origin: https://evil.example.com\r\n"),
        (&mine, "Origin: null\r\n"),
        (&mine, "Sec-Fetch-Site: cross-site\r\n"),
        (&mine, "Sec-Fetch-Site: same-site\r\n"),
    ] {
        let reply = ada.form("/users", headers, &format!("csrf={csrf}&name=mallory&role=admin"));
        assert_eq!(reply.status, 403, "{csrf} {headers}");
    }
    assert!(!hub.ok(&["user", "list"]).contains("mallory"));
    let made = ada.post("/users", &mine, "name=bob&role=viewer&units=rome");
    assert!(made.status == 200 && made.body.contains(&format!("http://127.0.0.1:{port}/link/")), "{}", made.body);
    for (path, form, status) in [
        ("/users", "name=bob&role=viewer", 409),
        ("/users", "name=B%20b&role=viewer", 400),
        ("/users", "name=carl&role=king", 400),
        ("/users", "name=carl&role=viewer&units=atlantis", 400),
        ("/users", "name=carl&role=admin&units=rome", 400),
        ("/users/nobody/role", "role=viewer", 404),
        ("/users/bob/role", "role=editor", 303),
        ("/users/eve/remove", "", 303),
        ("/users/ada/remove", "", 409),
        ("/tokens", "name=ci&role=viewer&expires=never", 400),
        ("/tokens", "name=ci&role=viewer&scopes=events,machines&expires=90d", 200),
        ("/tokens/none/revoke", "", 404),
    ] {
        let reply = ada.post(path, &mine, form);
        assert_eq!(reply.status, status, "{path} {form}: {}", reply.body);
    }
    assert_eq!(eve.get("/").status, 303, "who is removed is out at once");
    // Ten guesses in a quarter of an hour, and the right one is too late.
    let mut guess = Browser::new(port);
    for _ in 0..10 {
        assert_eq!(guess.login("ada", "wrong").status, 401);
    }
    let late = guess.login("ada", PASSWORD);
    assert_eq!((late.status, late.header("retry-after")), (429, Some("900")));
    assert_eq!(ada.get("/").status, 200, "whoever is in stays in");
}

/// A machine whose every word is markup.
fn hostile(hub: &Hub) -> String {
    let mut client = Client::new(&hub.ca(), hub.port);
    let made: Value = serde_json::from_str(&hub.ok(&["enrol", "new", "--unit", "default"])).unwrap();
    let body = json!({"enroll_secret": made["secret"], "host_identifier": "H1", "platform_type": "9", "host_details": {
        "system_info": {"hardware_serial": "S-<b>1</b>", "uuid": "4C4C4544-0000-4000-8000-000000000001", "hostname": HOSTILE},
        "os_version": {"platform": "<i>ubuntu</i>", "version": "<u>24</u>"}}});
    let (_, answer) = client.post("/public/osquery/enroll", &body).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let record = json!({"name": HOSTILE, "hostIdentifier": "h", "unixTime": now, "counter": 3, "action": "added",
        "columns": {HOSTILE: HOSTILE, "path": "</pre><script>alert(3)</script>"}});
    let log = json!({"node_key": answer["node_key"], "log_type": "result", "data": [record]});
    let (status, answer) = client.post("/public/osquery/log", &log).unwrap();
    assert_eq!(status, 200, "{answer}");
    "S-%3Cb%3E1%3C%2Fb%3E".to_owned()
}

#[test]
fn what_machines_say_is_text() {
    let (hub, port) = up("");
    let key = hostile(&hub);
    let mut formula = Agent::new(&hub.ca(), hub.port, &hub.secret_of("rome"), "=cmd|' /c calc'!A0");
    formula.enrol().unwrap();
    let mut ada = person(&hub, port, "ada", &["--role", "admin"]);
    hub.wait("the event in the store", 60, || !hub.events("type:osquery_result").is_empty());
    let event = hub.events("type:osquery_result")[0]["id"].as_str().unwrap().to_owned();
    hub.wait("the machine on its page", 30, || ada.get(&format!("/machines/{key}")).status == 200);
    let markup = format!("/events?by={}&q={}", quoted("<b onmouseover=x>"), quoted("\"<script>alert(4)</script>\""));
    for path in [
        "/".to_owned(),
        "/machines".into(),
        format!("/machines?q={}&sort=-seen&tag=%3Cscript%3E", quoted(HOSTILE)),
        format!("/machines/{key}"),
        "/events".into(),
        "/events?by=payload.columns.path".into(),
        format!("/events/{event}"),
        markup,
        "/events?q=%3Cscript%3E+AND+(".into(),
        "/status".into(),
        "/nothing/%3Cscript%3E".into(),
    ] {
        let page = ada.get(&path);
        assert!(page.body.len() < 200_000, "{path}");
        for word in ["<script>alert", "<img", "<b>", "<i>", "<u>", "<b onm", "\u{202e}", "</pre><script"] {
            assert!(!page.body.contains(word), "{path} holds {word}:\n{}", page.body);
        }
    }
    assert!(ada.get("/machines").body.contains("&#60;script&#62;alert(1)"), "it is shown, as text");
    let wrong = ada.get("/events?q=type:a+AND");
    assert!(wrong.status == 400 && wrong.body.contains("type:a AND\n"), "the mistake has its caret: {}", wrong.body);
    let sheet = ada.get("/machines.csv");
    assert!(
        sheet.body.contains("\"'=cmd|' /c calc'!A0\"") || sheet.body.contains("'=cmd|' /c calc'!A0,"),
        "{}",
        sheet.body
    );
    assert!(!sheet.body.lines().any(|line| line.split(',').any(|cell| cell.starts_with('='))), "{}", sheet.body);
    let raw = ada.get(&format!("/events/{event}/raw"));
    assert_eq!(
        (raw.json()["id"].as_str(), raw.header("content-type")),
        (Some(event.as_str()), Some("application/json"))
    );

    // The same as JSON, unchanged; and who is kept to a unit sees nothing of another's.
    let all = token(&hub, &[]);
    let machines = api(port, &all, "/machines?sort=name&n=1").json();
    assert_eq!((&machines["total"], machines["machines"].as_array().unwrap().len()), (&json!(2), 1));
    assert!(machines["next"].is_string());
    let told = api(port, &all, &format!("/machines/{key}")).json();
    assert_eq!(told["hostname"], HOSTILE);
    assert_eq!(api(port, &all, &format!("/events/{event}")).json()["id"], event.as_str());
    let rome = token(&hub, &["--units", "rome"]);
    assert_eq!(api(port, &rome, "/machines").json()["total"], 1);
    assert_eq!(api(port, &rome, &format!("/machines/{key}")).status, 404);
    assert_eq!(api(port, &rome, &format!("/events/{event}")).status, 404);
    for query in ["type:osquery_result", "*)+OR+(*", "*+OR+type:osquery_result"] {
        let found = api(port, &rome, &format!("/events?q={query}"));
        let events = if found.status == 200 { found.json()["events"].as_array().unwrap().clone() } else { Vec::new() };
        assert!(events.iter().all(|event| event["machine"]["unit"] == "rome"), "{query}: {events:?}");
    }
}

/// A process for the console alone, once it answers.
fn alone(hub: &Hub, port: u16) -> std::process::Child {
    let log = std::fs::File::create(hub.path("console.log")).unwrap();
    let started = hub.command(&["run", "console"]).stderr(log).spawn().unwrap();
    hub.wait("the console", 30, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    started
}

/// Without `up` the index is asked itself, and the console counts as `zentral status` does.
#[test]
fn no_up_runs() {
    let (mut hub, port) = up("");
    hostile(&hub);
    hub.wait("the event in the store", 60, || !hub.events("type:osquery_result").is_empty());
    assert_eq!(hub.stop(), Some(0));
    let mut alone = alone(&hub, port);
    let all = token(&hub, &[]);
    let events = api(port, &all, "/events?q=type:osquery_result&by=source").json();
    assert_eq!(
        (events["events"].as_array().unwrap().len(), &events["values"]),
        (1, &json!([{"value": "osquery", "count": 1}]))
    );
    let event = events["events"][0]["id"].as_str().unwrap();
    assert_eq!(api(port, &all, &format!("/events/{event}")).json()["id"], event);
    assert_eq!(api(port, &token(&hub, &["--units", "rome"]), "/events").json()["events"], json!([]));
    let status = api(port, &all, "/status").json();
    assert_eq!((&status["up"], &status["ok"]), (&Value::Null, &json!(false)));
    let why = status["why"].as_array().unwrap();
    assert!(
        why.contains(&json!("stage store is not running")) && !why.contains(&json!("stage console is not running"))
    );
    assert!(status["sums"].as_array().unwrap().iter().all(|sum| sum["ok"] == true), "{status}");
    let mut ada = person(&hub, port, "ada", &["--role", "admin"]);
    assert!(ada.get("/status").body.contains("No <code>zentral up</code> runs here"));
    assert!(ada.get("/").body.contains("<code>zentral up</code>"), "the first step");
    alone.kill().unwrap();
    alone.wait().unwrap();
}

#[test]
fn nothing_answers() {
    let (hub, port) = hub("");
    // There is somebody, who says nothing: it is not for the console to do without.
    std::fs::create_dir_all(hub.path("data/run")).unwrap();
    for name in ["up", "store"] {
        let socket = std::os::unix::net::UnixListener::bind(hub.path(&format!("data/run/{name}.sock"))).unwrap();
        std::thread::spawn(move || socket.incoming().for_each(drop));
    }
    let mut alone = alone(&hub, port);
    let mut ada = person(&hub, port, "ada", &["--role", "admin"]);
    let home = ada.get("/");
    assert_eq!(home.status, 200);
    for says in
        ["No `zentral up` answers", "The store `store` does not answer", "<code>zentral up</code>", "Make an enrolment"]
    {
        assert!(home.body.contains(says), "{says}: {}", home.body);
    }
    let events = ada.get("/events");
    assert!(events.status == 503 && events.body.contains("does not answer"), "{}", events.body);
    assert!(ada.get("/status").body.contains("No `zentral up` answers"));
    assert!(ada.get("/machines").body.contains("No machine has enrolled yet"));
    assert_eq!(api(port, &token(&hub, &[]), "/events").status, 503);
    let css = ada.get("/assets/console.css");
    assert_eq!((css.status, css.header("content-type")), (200, Some("text/css; charset=utf-8")));
    assert_eq!(ada.get("/assets/..%2Fsecret.key").status, 404);
    alone.kill().unwrap();
    alone.wait().unwrap();
}

#[test]
fn a_registry_that_cannot_be_read() {
    let (hub, port) = hub("");
    std::fs::write(hub.path("data/registry.db"), "this is no database, and long enough to be read as one".repeat(100))
        .unwrap();
    let mut alone = alone(&hub, port);
    let mut browser = Browser::new(port);
    assert_eq!(browser.get("/").status, 303);
    // Whether a session holds cannot be told.
    browser.cookies.insert("zentral_session".into(), "A".repeat(43));
    for path in ["/", "/login", "/machines"] {
        let page = browser.get(path);
        assert!(page.status == 503 && page.body.contains("The registry does not answer"), "{path}: {}", page.body);
    }
    assert_eq!((browser.get("/healthz").status, browser.get("/assets/console.js").status), (200, 200));
    assert_eq!(browser.get("/nothing").status, 404);
    alone.kill().unwrap();
    alone.wait().unwrap();
}

#[test]
fn behind_a_proxy_and_with_tls() {
    let (hub, port) = hub("url = \"https://console.example.com\"\ntrusted_proxies = [\"127.0.0.1\"]\n");
    let mut alone = alone(&hub, port);
    let link = hub.ok(&["user", "add", "ada"]);
    assert!(link.starts_with("https://console.example.com/link/"), "{link}");
    let from =
        |address: &str| format!("Host: console.example.com\r\nX-Forwarded-For: {address}\r\nAccept: text/html\r\n");
    let mut browser = Browser::new(port);
    let page = browser.send("GET", "/login", &from("203.0.113.9"), "");
    let cookie = page.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-zentral_visit=") && cookie.ends_with("; Secure"), "{cookie}");
    assert!(page.header("strict-transport-security").is_some());
    let csrf = page.csrf();
    let mut guess = |n: usize, address: &str| {
        let kind = "Content-Type: application/x-www-form-urlencoded\r\nOrigin: https://console.example.com\r\n";
        let form = format!("csrf={csrf}&name=user{n}&password=x");
        browser.send("POST", "/login", &format!("{}{kind}", from(address)), &form).status
    };
    for n in 0..10 {
        assert_eq!(guess(n, "203.0.113.9"), 401);
    }
    assert_eq!(guess(10, "203.0.113.9"), 429, "an address, whatever the account");
    assert_eq!(guess(11, "1.1.1.1, 203.0.113.9"), 429, "what a client writes before the proxy counts nothing");
    assert_eq!(guess(12, "203.0.113.10"), 401, "another is not held up");
    alone.kill().unwrap();
    alone.wait().unwrap();

    hub.edit(|text| {
        text.replace(
            "url = \"https://console",
            "tls = { cert = \"tls/hub.pem\", key = \"tls/hub.key\" }\nurl = \"https://console",
        )
    });
    let mut alone = hub.command(&["run", "console"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut client = Client::new(&hub.ca(), port);
    hub.wait("TLS", 30, || client.request("GET", "/healthz", "", b"").is_ok_and(|(status, _)| status == 200));
    alone.kill().unwrap();
    alone.wait().unwrap();
}

fn quoted(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

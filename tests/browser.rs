//! The console in a real Chromium: what people see, with every page, by keyboard alone, without script, and while machines
//! try to be more than text. `scripts/browser` gets what this needs and runs it; `cargo test` leaves it out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

#[path = "browser/bad.rs"]
mod bad;
#[path = "browser/chromium.rs"]
mod chromium;
#[path = "browser/demo.rs"]
mod demo;
#[path = "../bins/act/tests/fakes/mod.rs"]
mod fakes;
#[path = "browser/fields.rs"]
mod fields;
#[path = "browser/hostile.rs"]
mod hostile;
#[path = "browser/hour.rs"]
mod hour;
#[path = "browser/keyboard.rs"]
mod keyboard;
#[path = "browser/look.rs"]
mod look;
#[path = "console/browser.rs"]
mod plain;
mod support;
#[path = "browser/walk.rs"]
mod walk;

use std::path::{Path, PathBuf};

use chromium::{Chromium, ENTER, TAB};
use demo::Demo;
use plain::{Browser, PASSWORD, Reply, hub, start};
use support::agent::{Agent, record};
use support::hub::Hub;

/// A folder for pictures.
fn folder(path: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A hub whose console runs.
fn up(more: &str) -> (Hub, u16) {
    start(hub(more, ""))
}

/// Signs in with a session of its own.
fn sign_in(chromium: &Chromium, port: u16, name: &str) {
    chromium.open(&format!("http://127.0.0.1:{port}/login"));
    chromium.run("document.querySelector('input[name=name]').focus()");
    chromium.press(&format!("{name}{TAB}{PASSWORD}{ENTER}"));
    chromium.wait_for("the overview", "return location.pathname === '/'");
}

/// What a spreadsheet would take for a formula starts no cell.
fn sheet(reply: &Reply) -> Vec<String> {
    if !reply.header("content-type").is_some_and(|kind| kind.starts_with("text/csv")) {
        return Vec::new();
    }
    let (mut quoted, mut start, mut wrong) = (false, true, Vec::new());
    for (at, c) in reply.body.char_indices() {
        if start && c != '"' {
            if "=+-@\t\r".contains(c) && !reply.body[at..].starts_with("\r\n") {
                wrong.push(format!("a formula: {:.80}", &reply.body[at..]));
            }
            start = false;
        }
        match c {
            '"' => quoted = !quoted,
            ',' | '\n' if !quoted => start = true,
            _ => {}
        }
    }
    wrong
}

/// Every page in both themes and at two widths.
#[test]
#[ignore = "needs a browser: scripts/browser"]
fn every_page() {
    let demo = Demo::start();
    let base = format!("http://127.0.0.1:{}", demo.port);
    let (pictures, chromium) = (folder("target/screenshots"), Chromium::start(true));
    let inspect = |chromium: &Chromium, name: &str, before: usize| {
        let picture = match (name, before) {
            ("/", _) => "overview".to_owned(),
            (name, 0) => name.trim_matches('/').replace(['/', '{', '}'], "-"),
            (name, _) => format!("{}{before}", name.trim_matches('/')),
        };
        let mut wrong = look::wrong(chromium, &base);
        chromium.run("for (const e of document.querySelectorAll('details')) e.open = true");
        for width in [1280, 360] {
            wrong.extend(look::too_wide(chromium, width));
            for theme in ["light", "dark"] {
                chromium.theme(theme);
                let found = look::barriers(chromium);
                wrong.extend(found.into_iter().map(|why| format!("{theme}, {width} px: {why}")));
                if before == 0 || name == walk::REFUSED {
                    let name = format!("{picture}-{width}-{theme}.png");
                    std::fs::write(pictures.join(name), chromium.picture(4000)).unwrap();
                }
            }
        }
        wrong
    };
    // Before somebody has signed in.
    let mut wrong = Vec::new();
    for (page, url) in
        [("link", demo.link.clone()), ("login", format!("{base}/login")), ("gone", format!("{base}/link/x"))]
    {
        chromium.open(&url);
        wrong.extend(inspect(&chromium, page, 0).into_iter().map(|why| format!("{page}: {why}")));
    }
    let mut plain = Browser::new(demo.port);
    plain.take(&demo.link, PASSWORD);
    sign_in(&chromium, demo.port, "demo");
    // No agent of the demo is of Santa, or asked anything; its incidents are over soon.
    let csrf = plain.get("/query").csrf();
    assert_eq!(plain.post("/query", &csrf, "sql=select+1&sure=yes&wait=1h").status, 303);
    let starts = [
        "/",
        "/incidents?state=closed",
        "/sources/santa/try",
        "/nothing",
        "/events?q=type:a+AND",
        "/machines?q=nobody",
        "/events?q=nothing",
        "/machines/nobody",
    ];
    let starts = starts.map(str::to_owned);
    let mut met = walk::walk(&chromium, &mut plain, &starts, |_| walk::OF_A_KIND, inspect, sheet);
    met.wrong.extend(wrong);
    eprintln!("{:?} {:?}", met.pages, met.files);
    assert!(met.missed().is_empty(), "no link leads to {:?} in the demo", met.missed());
    assert!(met.wrong.is_empty(), "{}", met.wrong.join("\n"));
}

/// What people do most, by keyboard alone.
#[test]
#[ignore = "needs a browser: scripts/browser"]
fn by_keyboard() {
    let (hub, port) = small();
    keyboard::main_path(&Chromium::start(true), &hub, port, true);
}

#[test]
#[ignore = "needs a browser: scripts/browser"]
fn without_script() {
    let (hub, port) = small();
    keyboard::main_path(&Chromium::start(false), &hub, port, false);
}

/// A hub with two machines, of which one has told something.
fn small() -> (Hub, u16) {
    let (hub, port) = up("");
    let secret = hub.secret();
    let [mut one, mut other] = ["KEYS1", "OTHER2"].map(|serial| Agent::new(&hub.ca(), hub.port, &secret, serial));
    other.enrol().unwrap();
    assert!(one.log(&[record(1), record(2)]).unwrap());
    hub.wait("the events in the store", 60, || hub.events("type:osquery_result").len() == 2);
    (hub, port)
}

/// Whatever machines say, and whatever a link asks, is text on every page.
#[test]
#[ignore = "needs a browser: scripts/browser"]
fn hostile_machines() {
    let (hub, port) = up(&hostile::tables());
    hostile::fill(&hub);
    let mut plain = Browser { hostile: true, ..Browser::new(port) };
    let link = hub.ok(&["user", "add", "ada", "--role", "admin"]);
    plain.take(link.trim(), PASSWORD);
    let chromium = Chromium::start(true);
    sign_in(&chromium, port, "ada");
    let base = format!("http://127.0.0.1:{port}");
    let starts: Vec<String> =
        ["/", "/machines", "/events"].map(str::to_owned).into_iter().chain(hostile::questions()).collect();
    chromium.size(360);
    let judge = |chromium: &Chromium, _: &str, _: usize| {
        let mut wrong = look::wrong(chromium, &base);
        wrong.extend(look::too_wide(chromium, 360));
        wrong
    };
    let met = walk::walk(&chromium, &mut plain, &starts, hostile::of_a_kind, judge, sheet);
    eprintln!("{:?} {:?}", met.pages, met.files);
    for (route, least) in [("/machines/{key}", hostile::MACHINES), ("/events/{id}", hostile::MACHINES)] {
        assert!(met.pages[route] >= least, "{route}: {:?}", met.pages);
    }
    assert!(met.wrong.is_empty(), "{}", met.wrong.join("\n"));
}

/// Every field of every event may hold anything; and one value that were not escaped would be seen.
#[test]
#[ignore = "needs a browser: scripts/browser"]
fn hostile_events() {
    let (hub, port) = hub(&hostile::tables(), "edit = true\n");
    let pages = fields::store(&hub);
    let (hub, port) = start((hub, port));
    let mut plain = Browser { hostile: true, ..Browser::new(port) };
    let link = hub.ok(&["user", "add", "ada", "--role", "admin"]);
    plain.take(link.trim(), PASSWORD);
    let chromium = Chromium::start(true);
    sign_in(&chromium, port, "ada");
    let base = format!("http://127.0.0.1:{port}");
    let stored = hub.events("_exists_:id").into_iter().filter(fields::is_one).count();
    assert_eq!(stored, fields::texts().len(), "all of them are stored");
    chromium.size(360);
    let mut wrong = Vec::new();
    for page in &pages {
        chromium.open(&format!("{base}{page}"));
        let mut found = look::wrong(&chromium, &base);
        found.extend(look::too_wide(&chromium, 360));
        wrong.extend(found.into_iter().map(|why| format!("{page}: {why}")));
    }
    eprintln!("{} pages", pages.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    fields::unescaped(&chromium, &mut plain);
}

/// The looks see what they look for.
#[test]
#[ignore = "needs a browser: scripts/browser"]
fn looks_find_what_is_wrong() {
    let chromium = Chromium::start(true);
    let (kept, open) = (bad::serve(true), bad::serve(false));
    chromium.open(&kept);
    let found = look::wrong(&chromium, &kept).join("\n");
    for part in [
        "inline script",
        "violates",
        "an element of somebody else: <img",
        "a script: <script>",
        "an attribute: <body onload",
        "leads elsewhere: <a href=\"javascript:",
        "holds odd characters",
        "2 times h1",
        "0 times main",
        "twice the id a",
        "bytes of HTML",
    ] {
        assert!(found.contains(part), "{part} is not found:\n{found}");
    }
    let found = look::too_wide(&chromium, 360).join("\n");
    assert!(found.contains("360 px hold only a part of 4") && found.contains("class=\"broad\""), "{found}");
    assert_eq!(look::too_wide(&chromium, 1280), [""; 0]);
    let found = look::barriers(&chromium).join("\n");
    for rule in ["color-contrast", "html-has-lang", "label", "link-name", "heading-order"] {
        assert!(found.contains(&format!("{rule}: ")), "{rule} is not found:\n{found}");
    }
    chromium.open(&open);
    let found = look::wrong(&chromium, &open).join("\n");
    for part in ["a text was run as script", "asks for http://evil.example.com/x"] {
        assert!(found.contains(part), "{part} is not found:\n{found}");
    }
    let formula = Reply {
        status: 200,
        head: "HTTP/1.1 200 OK\r\nContent-Type: text/csv".into(),
        body: "a,\"b\n=1\"\r\n\"=2\",'=3\r\n".into(),
    };
    assert_eq!(sheet(&formula).len(), 1, "{:?}", sheet(&formula));
}

/// From `zentral init` on, each page leads to the next: whatever a new hub is shown to need next is tried here.
#[test]
#[ignore = "needs a browser: scripts/browser"]
fn first_hour() {
    hour::run();
}

/// The pictures of README and docs: `scripts/browser pictures`.
#[test]
#[ignore = "makes files: scripts/browser pictures"]
fn pictures() {
    let demo = Demo::start();
    let base = format!("http://127.0.0.1:{}", demo.port);
    let (folder, chromium) = (folder("docs/images"), Chromium::start(true));
    keyboard::choose_password(&chromium, &demo.link);
    chromium.theme("light");
    let first = "return document.querySelector('td a[href^=\"/machines/\"]').href";
    for (name, from, script) in [
        ("overview", "/", "return location.href"),
        ("events", "/events?q=_exists_:probes.name&by=probes.name", "return location.href"),
        ("machine", "/events?q=_exists_:probes.name", first),
    ] {
        chromium.open(&format!("{base}{from}"));
        chromium.open(&chromium.text(script));
        let picture = chromium.picture(640);
        assert!(picture.len() <= 150_000, "{name}: {} bytes", picture.len());
        std::fs::write(folder.join(format!("console-{name}.png")), picture).unwrap();
    }
}

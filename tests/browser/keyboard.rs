//! The way that people go most, with nothing but keys.

use crate::PASSWORD;
use crate::chromium::{Chromium, ENTER, TAB};
use crate::support::hub::Hub;

/// Keys that are pressed at most to come to something: no page asks for more.
const TABS_MAX: usize = 80;

/// What has the focus, and whether that is to be seen.
const FOCUS: &str = r##"const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
    const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
    const there = box.width > 0 && box.right > 0 && box.left < innerWidth && box.bottom > 0 && box.top < innerHeight;
    const said = [e.tagName.toLowerCase(), e.name ? "[" + e.name + "]" : "", e.getAttribute("href") ?? "", (e.innerText ?? "").trim().slice(0, 80)].filter(Boolean).join(" ");
    return e === document.body ? "" : (e.id === "main" || (ring && there)) ? said : "not to be seen: " + said;"##;

/// Presses Tab until something has the focus of which `is` is a part, as `FOCUS` says it.
fn tab_to(chromium: &Chromium, is: &str) {
    let mut met = Vec::new();
    for _ in 0..TABS_MAX {
        chromium.press(TAB);
        let focus = chromium.text(FOCUS);
        assert!(!focus.starts_with("not to be seen"), "{}: {focus}", chromium.url());
        if focus.contains(is) {
            return;
        }
        met.push(focus);
    }
    panic!("{}: no Tab leads to {is:?}, but to {met:?}", chromium.url());
}

fn title(chromium: &Chromium, title: &str) {
    let script = format!("return (document.querySelector('h1')?.innerText ?? '').startsWith({title:?})");
    chromium.wait_for(title, &script);
}

/// Follows what has the focus, to a page with this title.
fn enter(chromium: &Chromium, to: &str) {
    chromium.press(ENTER);
    title(chromium, to);
}

/// By a link as `zentral user add` prints it; signed in afterwards.
pub fn choose_password(chromium: &Chromium, link: &str) {
    chromium.open(link);
    tab_to(chromium, "[password]");
    chromium.press(PASSWORD);
    tab_to(chromium, "[again]");
    chromium.press(PASSWORD);
    enter(chromium, "Overview");
}

/// Signs in, finds a machine, finds an event, signs out. The hub has the machine `keys1.example.com`, and events of it.
pub fn main_path(chromium: &Chromium, hub: &Hub, port: u16, script: bool) {
    choose_password(chromium, hub.ok(&["user", "add", "ada", "--role", "admin"]).trim());
    tab_to(chromium, "Sign out");
    enter(chromium, "Sign in");
    tab_to(chromium, "[name]");
    chromium.press("ada");
    tab_to(chromium, "[password]");
    chromium.press(PASSWORD);
    enter(chromium, "Overview");

    // Past the menu at once.
    chromium.press(TAB);
    assert_eq!(chromium.text(FOCUS), "a #main Skip to the content");
    chromium.press(ENTER);
    chromium.press(TAB);
    let inside = "return document.querySelector('main').contains(document.activeElement)";
    assert_eq!(chromium.run(inside), true, "{}", chromium.text(FOCUS));
    // The theme, and back on the same page.
    tab_to(chromium, "[theme]");
    chromium.press(ENTER);
    chromium.wait_for("the dark theme", "return document.documentElement.dataset.theme === 'dark'");

    tab_to(chromium, "/machines Machines");
    enter(chromium, "Machines");
    search(chromium, "keys1", script);
    assert_eq!(chromium.run("return document.querySelectorAll('tbody tr').length"), 1);
    tab_to(chromium, "keys1.example.com");
    enter(chromium, "keys1.example.com");

    tab_to(chromium, "/events Events");
    enter(chromium, "Events");
    search(chromium, "type:osquery_result", script);
    let ago = "return document.querySelector('tbody time[title]') !== null";
    assert_eq!(chromium.run(ago), script, "whether script runs is seen by what it does");
    tab_to(chromium, "a /events/");
    chromium.press(ENTER);
    chromium.wait_for("the event", "return document.querySelector('pre.payload') !== null");

    tab_to(chromium, "Sign out");
    enter(chromium, "Sign in");
    chromium.open(&format!("http://127.0.0.1:{port}/machines"));
    title(chromium, "Sign in");
    let complaints = chromium.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// Into the search, by its key where script listens to it.
fn search(chromium: &Chromium, text: &str, script: bool) {
    if script {
        chromium.press("/");
        assert!(chromium.text(FOCUS).starts_with("input [q]"), "{}", chromium.text(FOCUS));
    } else {
        tab_to(chromium, "input [q]");
    }
    chromium.press(text);
    chromium.press(ENTER);
    chromium.wait_for("the answer", "return new URLSearchParams(location.search).get('q') !== null");
}

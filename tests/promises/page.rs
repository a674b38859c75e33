//! A page of docs/promises, as a reader takes it.

use toml::{Table, Value};

/// The blocks of a language, one after the other.
pub fn blocks(page: &str, language: &str) -> String {
    let path = format!("docs/promises/{page}.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = format!("```{language}\n");
    let found: Vec<&str> = text.split(&begin).skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert!(!found.is_empty(), "{path} has no block of {language}");
    found.concat()
}

/// A piece of text that must be there once becomes another one.
pub fn with(text: &str, old: &str, new: &str) -> String {
    assert_eq!(text.matches(old).count(), 1, "`{old}` in\n{text}");
    text.replace(old, new)
}

/// The probes of a page are those that ship, but for `act` and where the filter lies.
#[test]
fn probes_are_those_that_ship() {
    let probe = |text: &str, name: &str| -> Table {
        let all: Table = text.parse().unwrap();
        let mut probe = all["probe"][name].as_table().unwrap().clone();
        probe.remove("act");
        let filter = probe["filter"].as_str().unwrap().trim_start_matches("filters/").to_owned();
        probe.insert("filter".into(), Value::String(filter));
        probe
    };
    for (page, name) in [
        ("rogue-usb", "rogue-usb-device"),
        ("filevault", "filevault-off"),
        ("unused-software", "unused-application"),
        ("unused-software", "removal-slated"),
    ] {
        let ships = std::fs::read_to_string(format!("filters/{name}.toml")).unwrap();
        assert_eq!(probe(&blocks(page, "toml"), name), probe(&ships, name), "{name}");
    }
}

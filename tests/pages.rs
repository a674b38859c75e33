//! `docs/actions.md` and `docs/actions/`: a page for each kind of action, whose least configuration is one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use std::path::{Path, PathBuf};
use std::process::Command;

use act::{actions, preset};

/// Stands for every secret: a token, a password, the URL of a webhook.
const SECRET: &str = "https://secret.example.com/hook";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn kinds() -> Vec<&'static str> {
    actions::ALL.iter().map(|kind| kind.name).chain(preset::names()).collect()
}

fn page(kind: &str) -> String {
    let file = docs().join("actions").join(format!("{kind}.md"));
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// The blocks of TOML, in order.
fn blocks(page: &str) -> Vec<String> {
    let fenced = page.split("\n```toml\n").skip(1);
    fenced.map(|rest| rest.split_once("\n```").expect("a block is closed").0.to_owned() + "\n").collect()
}

/// A configuration in a folder of its own, with what it needs from outside.
struct Case {
    dir: tempfile::TempDir,
    env: Vec<String>,
}

impl Case {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (mut env, mut text) = (Vec::new(), format!("version = 1\n{text}"));
        outside(
            &toml::Value::Table(toml::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))),
            &mut |kind, name| {
                if kind == "env" {
                    env.push(name.to_owned());
                } else {
                    let own = dir.path().join("secret");
                    std::fs::write(&own, SECRET).unwrap();
                    text = text.replace(name, own.to_str().unwrap());
                }
            },
        );
        std::fs::write(dir.path().join("pipeline.toml"), &text).unwrap();
        Self { dir, env }
    }

    /// What `zentral check` finds, warnings too: nothing.
    fn is_sound(&self, what: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zentral"));
        command.current_dir(self.dir.path()).args(["check", "--strict"]);
        command.env_remove("ZENTRAL_CONFIG").env_remove("ZENTRAL_DATA");
        command.envs(self.env.iter().map(|name| (name, SECRET)));
        let out = command.output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(out.status.code(), Some(0), "{what}: {said}");
    }
}

/// The variables and files that it names, wherever they stand.
fn outside(value: &toml::Value, found: &mut dyn FnMut(&str, &str)) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                match (key.as_str(), value) {
                    ("env" | "file", toml::Value::String(name)) => found(key, name),
                    ("env", toml::Value::Array(names)) => {
                        names.iter().filter_map(|n| n.as_str()).for_each(|n| found(key, n))
                    }
                    (_, value) => outside(value, found),
                }
            }
        }
        toml::Value::Array(all) => all.iter().for_each(|value| outside(value, found)),
        _ => {}
    }
}

#[test]
fn the_least_configuration_of_each_page_is_one() {
    for kind in kinds() {
        let text = blocks(&page(kind)).into_iter().next().unwrap_or_else(|| panic!("{kind}: no block of TOML"));
        let actions = toml::from_str::<toml::Table>(&text).unwrap()["action"].as_table().unwrap().clone();
        assert!(actions.values().any(|action| action["kind"].as_str() == Some(kind)), "{kind}: {text}");
        Case::new(&text).is_sound(kind);
    }
    let index = std::fs::read_to_string(docs().join("actions.md")).unwrap();
    Case::new(&blocks(&index)[0]).is_sound("actions.md");
}

/// What the page about HTTP says of presets of one's own, with every key that it asks for.
#[test]
fn the_preset_of_the_page_about_http_is_one() {
    let text = blocks(&page("http")).into_iter().find(|block| block.starts_with("# actions/tracker.toml\n")).unwrap();
    let case = Case::new("[action.a]\nkind = \"tracker\"\ntoken = { env = \"TOKEN\" }\nproject = \"SEC\"\n");
    std::fs::create_dir(case.dir.path().join("actions")).unwrap();
    std::fs::write(case.dir.path().join("actions/tracker.toml"), text).unwrap();
    case.is_sound("tracker.toml");
}

#[test]
fn every_key_and_rate_of_a_preset_is_on_its_page() {
    for name in preset::names() {
        let (page, texts) = (page(name), actions::texts_at("pipeline.toml".into()));
        let preset = preset::find(name, Path::new("."), &texts).unwrap().unwrap();
        for key in preset.keys.keys() {
            assert!(page.contains(&format!("`{key}`")), "{name}: `{key}` is not on its page");
        }
        if let Some(rate) = preset.rate {
            assert!(page.contains(&format!("`rate = \"{rate}\"`")), "{name}: rate = \"{rate}\" is not on its page");
        }
    }
}

#[test]
fn the_index_has_every_kind_and_every_key_that_all_have() {
    let index = std::fs::read_to_string(docs().join("actions.md")).unwrap();
    for kind in kinds() {
        assert!(index.contains(&format!("[{kind}](actions/{kind}.md)")), "{kind}");
    }
    let keys = [
        "rate",
        "parallel",
        "timeout",
        "max_age",
        "give_up",
        "repeatable",
        "dry_run",
        "digest",
        "quiet",
        "max",
        "never",
    ];
    let rows: Vec<&str> = index.lines().filter(|line| line.starts_with("| `")).collect();
    for key in keys {
        assert!(rows.iter().any(|row| row.starts_with(&format!("| `{key}` |"))), "{key}");
    }
}

#[test]
fn links_of_the_pages_lead_somewhere() {
    let pages = std::fs::read_dir(docs().join("actions")).unwrap().map(|entry| entry.unwrap().path());
    for page in pages.chain([docs().join("actions.md")]) {
        let text = std::fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        for link in links.filter(|link| !link.starts_with("https://") && !link.contains(' ') && !link.contains('`')) {
            let file = page.parent().unwrap().join(link.split('#').next().unwrap());
            assert!(file.exists(), "{}: {link}", page.display());
        }
    }
}

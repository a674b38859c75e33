//! Whole configurations, and what is said of broken ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests may panic")]

use super::*;

fn load(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<(Config, Files), Vec<Finding>>) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let loaded = Config::load(&dir.path().join("pipeline.toml"), None);
    (dir, loaded)
}

/// Each line of `want` must be part of the findings' text.
fn check(toml: &str, want: &[&str]) {
    let (_dir, loaded) = load(&[("pipeline.toml", toml)]);
    let text = loaded.map(|_| String::new()).unwrap_or_else(|f| render(&f));
    for word in want {
        assert!(text.contains(word), "`{word}` is not in:\n{text}");
    }
    assert!(want.is_empty() == text.is_empty(), "{text}");
}

#[test]
fn says_what_is_wrong_and_where() {
    check("version = 1\n", &[]);
    check("", &["needs `version = 1`"]);
    check("version = 2", &["version 2 is not known"]);
    check(
        "version = 1\nvresion = 2\n",
        &[":2:1: `vresion`: unknown key; did you mean `version`?", "    2 | vresion = 2", "      | ^^^^^^^"],
    );
    check("version = 1\nurl = \"http://x\"", &["agents speak https only"]);
    check("version = 1\n[stage.Act]\nrun = \"act\"\nfrom = \"topic:x\"", &["a name is"]);
    check(
        "version = 1\n[stage.x]\nrun = \"nromalize\"",
        &["`stage.x.run`: `nromalize` is none of", "did you mean `normalize`?"],
    );
    check("version = 1\n[stage.store]\nfrom = \"topic:events\"", &["no stage writes topic `events`"]);
    check("version = 1\n[stage.receive]\nto = \"kafka:raw\"", &["`kafka:raw` is not supported by this version"]);
    check(
        "version = 1\n[stage.receive]\nto = \"topic:raw\"\n[stage.act]\nfrom=\"topic:raw\"\nto=\"topic:raw\"",
        &["has a writer already: stage `receive`"],
    );
    check("version = 1\n[topics]\nlimit = 5", &["`topics.limit`: expected a string, found a number"]);
    check("version = 1\n[topics]\nlimit = \"5\"", &["`5` is no size"]);
    check("version = 1\n[probe.p]\nfilter = \"x.jq\"", &["x.jq: no such file"]);
    check(
        "version = 1\n[probe.p]\nfilter = \".a\"\nseverity = \"majr\"\nact = [\"slak\"]\n[action.slack]",
        &["did you mean `major`?", "names the action `slak`, which there is not; did you mean `slack`?"],
    );
    check(
        "version = 1\n[probe.p]\nfilter = \".a\"\nscope = { platforms = [\"mac\"], unit = [\"x\"] }",
        &["`mac` is no platform; did you mean `macos`?", "`probe.p.scope.unit`: unknown key; did you mean `units`?"],
    );
    check(
        "version = 1\n[probe.p]\nfilter = \".a\"\nquery = { sql = \"select 1\", interval = \"0s\" }",
        &["from 1s to 7d"],
    );
    check("version = 1\n[stage.receive\n", &[":2:"]);
}

const WHOLE: &str = r#"
version = 1
url = "https://hub.example.com/"
include = ["probes/*.toml"]
[topics]
limit = "1 GiB"
[topic.raw]
keep = { age = "1h" }
[stage.receive]
listen = "127.0.0.1:0"
to = "topic:raw"
[stage.sift]
run = "filter"
from = ["topic:raw"]
to = "topic:events"
matches = "topic:matches"
[unit.berlin]
tags = ["office"]
[contact.ada]
email = "ada@example.com"
groups = ["secops"]
[action.mail]
password = { env = "X" }
"#;

#[test]
fn reads_a_whole_configuration_and_its_copy() {
    let probe = "[probe.usb]\nfilter = \"usb.jq\"\nact = [\"mail\"]\nscope = { units = [\"berlin\"] }\nquery = { sql = \"select 1\", interval = \"30s\" }";
    let (dir, loaded) = load(&[("pipeline.toml", WHOLE), ("probes/usb.toml", probe), ("probes/usb.jq", "# t\n.x")]);
    let (config, files) = loaded.unwrap_or_else(|f| panic!("{}", render(&f)));
    let look = |config: &Config| {
        assert_eq!(config.url.as_deref(), Some("https://hub.example.com"));
        assert_eq!(config.data, dir.path().join("data"));
        assert_eq!(config.topics.of("raw").keep_age, Duration::from_secs(3600));
        assert_eq!(config.topics.of("raw").limit, 1 << 30);
        assert_eq!(config.stages.iter().map(|s| s.kind.word()).collect::<Vec<_>>(), ["receive", "filter"]);
        assert_eq!(config.writer("matches").unwrap().name, "sift");
        assert_eq!(config.readers("raw").count(), 1);
        assert_eq!(
            config.people(&["group:secops".into(), "x@y".into()], |c| c.email.clone()),
            ["ada@example.com", "x@y"]
        );
        let probe = config.probes.get("usb").unwrap();
        assert_eq!(probe.filter.source, "# t\n.x");
        assert_eq!(probe.query_name().unwrap(), "zentral/usb/822ae07d");
        assert!(probe.scope.admits(Some("linux"), Some("berlin")) && !probe.scope.admits(Some("linux"), None));
    };
    look(&config);
    let copies = dir.path().join("copies");
    let copy = files.copy_to(&copies).unwrap();
    assert_eq!(files.copy_to(&copies).unwrap(), copy);
    std::fs::write(dir.path().join("probes/usb.jq"), "broken (").unwrap();
    std::fs::remove_file(dir.path().join("probes/usb.toml")).unwrap();
    look(&Config::load(&copy, None).unwrap_or_else(|f| panic!("{}", render(&f))).0);
}

#[test]
fn words_at_the_shell_make_a_table() {
    let words = [("url".to_owned(), "https://x".to_owned()), ("n".to_owned(), "3".to_owned())];
    let mut table = Settings::from_words("action.x", "x", &words).unwrap();
    assert_eq!((table.str("url").as_deref(), table.int("n")), (Some("https://x"), Some(3)));
    assert!(table.finish().is_empty());
}

//! Whole configurations, and what is said of broken ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

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
fn state_is_in_files_or_in_a_database() {
    let with = |registry: &str| format!("version = 1\n[stage.a-b]\nrun = \"filter\"\n{registry}");
    let stage = |more: &str| {
        format!("{}\n[stage.receive]\nto = \"topic:raw\"\n", with("from = \"topic:raw\"\nto = \"topic:e\"\n") + more)
    };
    let url = "[registry]\npostgres = \"postgres://u:s3cret@127.0.0.1:5/d\"";
    let (_dir, loaded) = load(&[("pipeline.toml", &stage(url))]);
    let (config, _) = loaded.unwrap();
    let home = config.state(config.stage("a-b").unwrap());
    assert_eq!((home.to_string().as_str(), home.name()), ("postgres 127.0.0.1:5/d, schema zentral_a_b", "a-b"));
    assert!(config.state_lock(&home).ends_with("state/a-b.lock"));
    assert!(!format!("{:?}", (config.homes(), &home)).contains("s3cret"));
    // A file that is right elsewhere is right.
    check(&stage("[registry]\npostgres = { env = \"ZENTRAL_NO_SUCH_VARIABLE\" }"), &[]);
    check(&stage("[registry]"), &["needs the key `postgres`"]);
    let (_dir, loaded) = load(&[("pipeline.toml", &stage(&url.replace("/d", "/")))]);
    let text = render(&loaded.unwrap_err());
    assert!(text.contains("the URL names no database") && !text.contains("s3cret"), "{text}");
    check(&stage("").replace("a-b", "registry"), &["give the stage another name"]);
}

#[test]
fn several_instances_share_topics_of_kafka_and_one_state() {
    let base = "version = 1\n[kafka]\nbrokers = [\"127.0.0.1:9092\"]\n[registry]\npostgres = \"postgres://127.0.0.1/d\"\n\
                [stage.sift]\nrun = \"normalize | filter\"\nfrom = [\"kafka:raw\", \"kafka:pulled\"]\nto = \"kafka:e\"\n\
                replicas = 2\n";
    check(base, &[]);
    let (_dir, loaded) = load(&[("pipeline.toml", base)]);
    let (config, _) = loaded.unwrap();
    let sift = config.stage("sift").unwrap();
    let names: Vec<String> = sift.instances().map(|instance| sift.process(instance)).collect();
    assert_eq!((names, sift.first()), (vec!["sift-1".to_owned(), "sift-2".to_owned()], "sift-1".to_owned()));
    check(&base.replace("kafka:pulled", "registry:changes"), &[]);
    check(&base.replace("kafka:pulled", "topic:pulled"), &["share topics of Kafka only, and `topic:pulled` is none"]);
    check(
        &base.replace("kafka:pulled", "registry:changes").replace("normalize | filter", "filter"),
        &["`registry:changes` is none"],
    );
    check(&base.replace("postgres = ", "# "), &["needs the key `postgres`"]);
    check(&base.replace("[registry]\npostgres", "# "), &["need one state for all of them"]);
    check(&base.replace("= 2", "= 65"), &["from 1 to 64"]);
    check(
        &format!("{base}[stage.index]\nrun = \"store\"\nkind = \"embedded\"\nfrom = \"kafka:e\"\nreplicas = 2\n"),
        &["the embedded store is an index on this machine"],
    );
    check(&format!("{base}[stage.act]\nfrom = \"kafka:e\"\nreplicas = 2\n"), &["of `act` there is one"]);
}

#[test]
fn says_what_is_wrong_and_where() {
    check("version = 1\n", &[]);
    check("", &["needs `version = 1`"]);
    check("version = 2", &["version 2 is not known"]);
    check(
        "version = 1\nvresion = 2\n",
        &[":2:1: `vresion`: unknown key; did you mean `version`?", "    2 | vresion = ***", "      | ^^^^^^^"],
    );
    check("version = 1\nurl = \"http://x\"", &["agents speak https only"]);
    check("version = 1\n[stage.Act]\nrun = \"act\"\nfrom = \"topic:x\"", &["a name is"]);
    check(
        "version = 1\n[stage.x]\nrun = \"nromalize\"",
        &["`stage.x.run`: `nromalize` is none of", "did you mean `normalize`?"],
    );
    check("version = 1\n[stage.store]\nfrom = \"topic:events\"", &["no stage writes topic `events`"]);
    check("version = 1\n[stage.receive]\nto = \"kafka:raw\"", &["`kafka:raw` needs the table [kafka] with `brokers`"]);
    check("version = 1\n[stage.receive]\nto = \"registry:changes\"", &["is written by whoever changes something"]);
    let normalize = "version = 1\n[stage.normalize]\nto = \"topic:e\"\n";
    check(&format!("{normalize}from = [\"registry:changes\", \"registry:changes\"]"), &["stands here twice"]);
    check(&format!("{normalize}from = \"registry:tags\""), &["of the registry there is only `registry:changes`"]);
    check(&format!("{normalize}from = \"registry:changes\"\nsilent = \"29m\""), &["at least 30m"]);
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
        &[
            "`mac` is none of macos, linux, windows, freebsd, ios; did you mean `macos`?",
            "`probe.p.scope.unit`: unknown key; did you mean `units`?",
        ],
    );
    check(
        "version = 1\n[probe.p]\nfilter = \".a\"\nquery = { sql = \"select 1\", interval = \"0s\" }",
        &["from 1s to 7d"],
    );
    check("version = 1\n[stage.receive\n", &[":2:"]);
    check(
        "version = 1\n[probe.p]\nfilter = \".a\"\nscope = { platforms = [\"linux\", \"darwin\"] }",
        &[":4:33: `probe.p.scope.platforms`: `darwin` is none of", "did you mean `macos`?", "[\"linux\", \"darwin\"]"],
    );
    check(
        "version = 1\n[probe.p]\nfilter = \".a\nseverity = \"major\"\n",
        &[":3:10: this text has no `\"` at its end", "    3 | filter = \".a\n      |          ^"],
    );
    check("version = 1\n[probe.p]\nfilter = '''\n.a\n", &[":3:10: this text has no `'''` at its end"]);
    check("version = 1\n[unit.a]\n[unit.b]\n[unit.a]", &[":4:7: duplicate key; line 2 has it already"]);
    check(
        "version = 1\n[unit.a]\ntitle = \"a\"\n[unit.b]\ntitle = \"b\"\ntitle = \"c\"",
        &[":6:1: duplicate key; line 5 has it already", "    6 | title = ***"],
    );
}

#[test]
fn quotes_of_jq_that_end_the_string_are_told_and_the_line_is_shown() {
    let probe = |line: &str| format!("version = 1\n[probe.p]\n{line}\n[action.x]\n");
    check(
        &probe("filter = \"select(.type == \"login\" and .b != \"c\")\""),
        &[
            ":3:28: ",
            "the text ended at the `\"` before it: one that holds `\"` stands between `'` or `'''`",
            "    3 | filter = \"select(.type == \"login\" and .b != \"c\")\"\n      |                            ^",
        ],
    );
    check(
        &probe("until = '.a == 'b''"),
        &["the text ended at the `'` before it: one that holds `'` stands between `'''`"],
    );
    check(&probe("query = { sql = \"select \"a\" from b\" }"), &["query = { sql = \"select \"a\" from b\" }\n"]);
    // No advice where no text ended.
    let (_dir, loaded) = load(&[("pipeline.toml", &probe("filter = .type"))]);
    assert!(!render(&loaded.unwrap_err()).contains("ended"), "nothing ended");
    // What is hidden moves the caret, so the column is beside it.
    check(
        "version = 1\n[action.x]\nbody = \"abcd\"b\"",
        &[":3:14: ", "    3 | body = ******\n      |           ^ column 14"],
    );
}

#[test]
fn a_filter_that_lies_in_another_folder_is_found_there() {
    let (_dir, loaded) = load(&[
        ("pipeline.toml", "version = 1\n[probe.p]\nfilter = \"usb.jq\"\n[probe.q]\nfilter = \"filters/usb.jq\"\n"),
        ("probes/usb.jq", ".a"),
    ]);
    let text = render(&loaded.unwrap_err());
    assert_eq!(text.matches("usb.jq: no such file; did you mean `probes/usb.jq`?").count(), 2, "{text}");
}

#[test]
fn a_name_in_two_files_is_told_with_both_places() {
    let (dir, loaded) = load(&[
        ("pipeline.toml", "version = 1\ninclude = [\"probes/*.toml\"]\n\n[unit.b]\n"),
        ("probes/a.toml", "# first\n\n[probe.y]\nfilter = \".a\"\n"),
        ("probes/b.toml", "[probe.y]\nfilter = \".a\"\n[unit.b]\n"),
    ]);
    let text = render(&loaded.unwrap_err());
    let base = dir.path().display();
    for want in [
        format!("b.toml:3:1: `unit.b`: `b` stands in another file already: {base}/pipeline.toml:4"),
        format!("b.toml:1:1: `probe.y`: `y` stands in another file already: {base}/probes/a.toml:3"),
    ] {
        assert!(text.contains(&want), "`{want}` is not in:\n{text}");
    }
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
        assert_eq!(config.stages.iter().map(StageConf::words).collect::<Vec<_>>(), ["receive", "filter"]);
        assert_eq!(config.writer("matches").unwrap().name, "sift");
        assert_eq!(config.readers("raw").count(), 1);
        let ada = config.contacts.get("ada").unwrap();
        assert_eq!(
            (ada.email.as_deref(), ada.groups.as_slice()),
            (Some("ada@example.com"), &["secops".to_owned()][..])
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
    let words = [("url", "https://x"), ("n", "3"), ("from", "+4930000000")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let mut table = Settings::from_words("action.x", "x", &words).unwrap();
    assert_eq!(table.strings("from"), ["+4930000000"]);
    assert_eq!((table.str("url").as_deref(), table.int("n")), (Some("https://x"), Some(3)));
    assert!(table.finish().is_empty());
}

#[test]
fn lines_that_would_double_or_go_round_are_found() {
    const HEAD: &str = "version = 1\n[stage.receive]\nto = \"topic:raw\"\n";
    let check = |rest: &str, want: &[&str]| check(&format!("{HEAD}{rest}"), want);
    check(
        "[stage.store]\nfrom = [\"topic:raw\", \"topic:raw\"]\n",
        &[
            ":5:22: `stage.store.from`: topic `raw` stands here twice",
            "    5 | from = [***, \"topic:raw\"]\n      |              ^^^^^^^^^^^",
        ],
    );
    check(
        "[stage.filter]\nfrom = [\"topic:raw\", \"topic:events\"]\nto = \"topic:events\"\n",
        &[":5:22: `stage.filter.from`: the stage writes topic `events` itself"],
    );
    check(
        "[stage.one]\nrun = \"filter\"\nfrom = [\"topic:raw\", \"topic:b\"]\nto = \"topic:a\"\n\
         [stage.two]\nrun = \"filter\"\nfrom = \"topic:a\"\nto = \"topic:b\"\n",
        &[":6:22: `stage.one.from`: lines would go round for ever: one → two → one"],
    );
    // Outcomes may be matched and acted upon: their chain ends by itself.
    check(
        "[stage.normalize]\nfrom = [\"topic:raw\", \"topic:outcomes\"]\nto = \"topic:normalized\"\n\
         [stage.filter]\nfrom = \"topic:normalized\"\nto = \"topic:events\"\nmatches = \"topic:matches\"\n\
         [stage.act]\nfrom = \"topic:matches\"\nto = \"topic:outcomes\"\n",
        &[],
    );
    check(
        "[stage.filter]\nfrom = \"topic:raw\"\nto = \"topic:events\"\nmatches = \"topic:events\"\n",
        &[":7:11: `stage.filter.matches`: topic `events` has a writer already: stage `filter`"],
    );
    check(
        "[stage.act]\nrun = \"filter\"\nfrom = \"topic:raw\"\nto = \"topic:a\"\n\
         [stage.tell]\nrun = \"act\"\nfrom = \"topic:a\"\n",
        &[":8:1: `stage.tell`: stages `act` and `tell`: their state would lie in one file", "no `act` another name"],
    );
    check(
        "[stage.act]\nfrom = \"topic:raw\"\n[stage.b]\nrun = \"act\"\nfrom = \"topic:raw\"\n",
        &[":6:1: `stage.b`: there is one `act`"],
    );
    check("[topic.rwa]\nlimit = \"1 GiB\"\n", &[":4:1: `topic.rwa`: no stage writes topic `rwa`; did you mean `raw`?"]);
}

#[test]
fn what_can_be_joined() {
    const HEAD: &str = "version = 1\n[stage.receive]\nto = \"topic:raw\"\n";
    let joined = |run: &str, more: &str, want: &[&str]| {
        check(&format!("{HEAD}[stage.sift]\nrun = \"{run}\"\nfrom = \"topic:raw\"\nto = \"topic:a\"\n{more}"), want);
    };
    joined("normalize | filter", "matches = \"topic:m\"\n", &[]);
    joined("normalize|filter", "[stage.filter]\nfrom = \"topic:a\"\nto = \"topic:b\"\n", &[]);
    joined("filter | normalize", "", &[":5:7: `stage.sift.run`: `normalize` comes before `filter`"]);
    joined("filter | filter", "", &[":5:7: `stage.sift.run`: `filter` stands here twice"]);
    joined("normalize |", "", &[":5:7: `stage.sift.run`: there is no stage on one side of a `|`"]);
    joined(
        "normalise | filter",
        "",
        &[":5:7: `stage.sift.run`: there is no stage `normalise`; did you mean `normalize`?"],
    );
    joined("filter | act", "", &[":5:7: `stage.sift.run`: `act` cannot be joined: its queue is state of its own"]);
    joined(
        "receive | filter | store",
        "",
        &["`receive` cannot be joined: it listens", "`store` cannot be joined: its commits would hold up"],
    );
    joined(
        "normalize | filter",
        "[stage.normalize]\nfrom = \"topic:raw\"\nto = \"topic:b\"\n",
        &[":8:1: `stage.normalize`: there is one `normalize` in a pipeline"],
    );
    joined(
        "normalize | filter",
        "[stage.normalize]\nrun = \"filter\"\nfrom = \"topic:raw\"\nto = \"topic:b\"\n",
        &["their state would lie in one file; give the one that is no `normalize` another name"],
    );
    let text = format!("{HEAD}[stage.sift]\nrun = \"normalize | filter\"\nfrom = \"topic:raw\"\nto = \"topic:a\"\n");
    let (_dir, loaded) = load(&[("pipeline.toml", &text)]);
    let config = loaded.unwrap().0;
    let sift = config.stage("sift").unwrap();
    assert!(config.state(sift).name() == "normalize");
    assert_eq!((sift.words().as_str(), sift.flow()), ("normalize | filter", StageKind::Normalize.flow()));
}

#[test]
fn a_pull_names_what_it_asks() {
    let pull = |run: &str, more: &str| {
        format!("version = 1\n[source.j]\n[stage.jamf]\nrun = \"{run}\"\nto = \"topic:pulled\"\n{more}")
    };
    check(&pull("pull j", ""), &[]);
    check(&pull("pull", ""), &[":4:7: `stage.jamf.run`: `pull` needs the name of a source"]);
    check(&pull("pull J x", ""), &[":4:7: `stage.jamf.run`: `pull` needs the name of a source"]);
    check(&pull("pull k", ""), &[":4:7: `stage.jamf.run`: the configuration has no source `k`; did you mean `j`?"]);
    check(&pull("pull | filter", ""), &["`pull` cannot be joined: it waits for other servers"]);
    check(
        &pull("pull j", "[stage.two]\nrun = \"pull j\"\nto = \"topic:more\"\n"),
        &[":7:7: `stage.two.run`: stage `jamf` asks `j` already"],
    );
    check("version = 1\n[stage.pull]\nto = \"topic:a\"\n", &["`pull` needs the name of a source"]);
    let (_dir, loaded) = load(&[("pipeline.toml", &pull("pull j", ""))]);
    let config = loaded.unwrap().0;
    let jamf = config.stage("jamf").unwrap();
    assert_eq!((jamf.source.as_deref(), jamf.words().as_str()), (Some("j"), "pull"));
    assert!(config.state(jamf).name() == "jamf");
}

#[test]
fn one_store_answers_for_all() {
    let stores = |one: &str, two: &str| {
        format!(
            "version = 1\n[stage.receive]\nto = \"topic:raw\"\n[stage.one]\nrun = \"store\"\nfrom = \"topic:raw\"\n{one}\n\
             [stage.two]\nrun = \"store\"\nfrom = \"topic:raw\"\n{two}\n"
        )
    };
    check(&stores("search = true", ""), &[]);
    check(&stores("", ""), &[":8:1: `stage.two`: one of several stores needs `search = true`"]);
    check(&stores("search = true", "search = true"), &[":11:10: `stage.two.search`: store `one` has"]);
}

#[test]
fn what_a_probe_names_is_found_where_it_stands() {
    check(
        "version = 1\n[action.slack]\n[probe.p]\nfilter = \".a\"\nact = [\"slack\", \"slak\"]\nscope = { not_units = [\"b\"] }",
        &[
            ":5:17: `probe.p.act`: probe `p` names the action `slak`",
            "    5 | act = [\"slack\", \"slak\"]\n      |                 ^^^^^^",
            ":6:24: `probe.p.scope`: probe `p` names the unit `b`",
        ],
    );
    check(
        "version = 1\n[probes]\nact = \"slak\"\n[probe.p]\nfilter = \".a\"\n[probe.q]\nfilter = \".a\"",
        &[":3:7: `probes.act`: `[probes]` names the action `slak`"],
    );
}

#[test]
fn findings_show_no_secrets() {
    let hunted = |toml: &str| {
        let (_dir, loaded) = load(&[("pipeline.toml", toml)]);
        let (mut findings, mut more) = (Vec::new(), Vec::new());
        match loaded {
            Err(found) => findings = found,
            Ok((config, _)) => {
                for action in config.actions.values() {
                    let mut action = action.clone();
                    action.secret("password");
                    action.secrets("headers");
                    action.fail("password", "not good");
                    more.append(&mut action.finish());
                }
            }
        }
        let text = render(&findings) + &render(&more);
        assert!(!text.is_empty() && !text.contains("hunter2") && !text.contains("4711"), "{text}");
    };
    hunted("version = 1\nact = { pasword = \"hunter2\", pin = 4711 }");
    hunted("version = 1\n[action.x]\npassword = 4711");
    hunted("version = 1\n[action.x]\npassword = \"hunter2\"");
    hunted("version = 1\n[action.x]\nheaders = { a = 4711, b = \"hunter2\" }");
    hunted("version = 1\n[action.x]\npassword = hunter2");
    hunted("version = 1\n[action.x]\npassword = \"hunter2");
    hunted("version = 1\n[action.x]\npassword = 'hunter2' x");
    hunted("version = 1\n[action.x]\nlogin = { user = \"a\", password = \"hunter2, pin = 4711 }");
    hunted("version = 1\n[action.x]\nlogin = { user = \"a, password = \"hunter2\", pin = \"4711\" }");
    hunted("version = 1\n[action.x]\nlogin = { password = hunter2\", pin = \"4711\" }");
    hunted("version = 1\n[action.x]\nlogin = { user = 1, hunter2 }");
    hunted("version = 1\n[action.x]\nlogin = { user = 1, \"hunter2\" \"4711\" = 2 }");
    hunted("version = 1\n[action.x]\nlogin = [\"hunter2\", 4711 = 3]");
    hunted("version = 1\n[action.x]\npassword = hunter2 = 4711");
    hunted("version = 1\n[action.x]\npassword = 4711 = hunter2");
    hunted("version = 1\n[action.x]\nuser = 'a' hunter2 = 4711");
    hunted("version = 1\n[action.x]\npassword = [\n  4711\n  hunter2 ]");
    hunted("version = 1\n[action.x]\npassword = \"hunter2\"\npassword = \"4711\"");
    hunted("version = 1\n[action.x]\npassword = \"\"\"\nhunter2=\\q\n\"\"\"");
    // A line of a probe is shown, unless something else may stand on it.
    hunted("version = 1\n[probe.x]\nfilter = \".a\", password = \"hunter2\"");
    hunted("version = 1\n[probe.x]\nfilter = \"a\"b\" password = \"hunter2\"");
    hunted("version = 1\n[probe.x]\nfilter = \"a\"b\" \"password\"=\"hunter2\"");
    hunted("version = 1\n[probe.x]\nfilter = \"a\"b\" # hunter2");
    hunted("version = 1\n[probe.x]\npassword = \"a\"hunter2\"");
    hunted("version = 1\n[action.x]\nfilter = \"a\"hunter2\"");
    hunted("version = 1\n[probe.x]\n[action.x\nfilter = \"a\"hunter2\"");
    hunted("version = 1\n[action.x]\npassword = '''\n[probe.x]\nfilter = hunter2\n");
}

#[test]
fn a_copy_is_read_whole_while_another_takes_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("pipeline.toml");
    let current = dir.path().join("current");
    let put = |n: usize| {
        let unit = |name: &str| format!("[unit.{name}]\ntitle = \"{n}\"\n");
        std::fs::write(&main, format!("version = 1\ninclude = [\"more/*.toml\"]\n{}", unit("first"))).unwrap();
        std::fs::create_dir_all(dir.path().join("more")).unwrap();
        std::fs::write(dir.path().join("more/a.toml"), unit("second")).unwrap();
        Config::load(&main, None).unwrap().1.copy_to(&dir.path().join("copies")).unwrap()
    };
    let copies = [put(0), put(1)];
    let point = |n: usize| {
        let next = dir.path().join("next");
        std::os::unix::fs::symlink(&copies[n % 2], &next).unwrap();
        std::fs::rename(next, &current).unwrap();
    };
    point(0);
    std::thread::scope(|scope| {
        let (reading, read) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            let gone = |_: &usize| read.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected);
            (1..).take_while(|n| !gone(n)).for_each(point);
        });
        let _reading = reading;
        for _ in 0..500 {
            let (config, _) = Config::load(&current, None).unwrap();
            let titles: Vec<_> = config.units.values().map(|u| u.title.clone()).collect();
            assert_eq!(titles[0], titles[1]);
        }
    });
}

#[test]
fn no_stage_is_called_as_an_instance_of_another_is() {
    let with = |name: &str| {
        format!(
            "version = 1\n[registry]\npostgres = \"postgres://u@127.0.0.1:5/d\"\n[kafka]\nbrokers = [\"127.0.0.1:9\"]\n\
             [stage.sift]\nrun = \"filter\"\nfrom = \"kafka:a\"\nto = \"kafka:b\"\nreplicas = 3\n\
             [stage.{name}]\nrun = \"filter\"\nfrom = \"kafka:a\"\nto = \"kafka:c\"\n"
        )
    };
    check(&with("sift-2"), &[":11:", "`sift-2` is the name of an instance of stage `sift` (replicas = 3)"]);
    for name in ["sift-4", "sift-0", "sift-02", "sift2", "sift-x"] {
        check(&with(name), &[]);
    }
}

#[test]
fn a_string_is_written_anew_and_all_else_stays() {
    let file = "# one\r\nversion = 1\n[probe.a]\nfilter = '''\n.a\n''' # here\n[probe.b]\nfilter = \".b\"\nseverity = \"major\"\n";
    let (_dir, loaded) = load(&[("pipeline.toml", file)]);
    let (config, _) = loaded.unwrap();
    let written = |probe: &str, text: &str| config.probes[probe].settings.rewritten("filter", text);
    let of_b = |value: &str| file.replace("\".b\"", value);
    assert_eq!(written("b", ".c == \"x\\n\"").unwrap(), of_b("'.c == \"x\\n\"'"));
    assert_eq!(written("b", "\n# é\n\t.c\n").unwrap(), of_b("'''\n\n# é\n\t.c\n'''"));
    for odd in ["it's", "a\n'''\nb", "a\n'", "\u{1b}[1m", "a\r\nb", "", "\"\"\"\n\\"] {
        let text = written("b", odd).unwrap();
        let (_dir, loaded) = load(&[("pipeline.toml", &text)]);
        assert_eq!(loaded.unwrap().0.probes["b"].filter.source, odd);
        let begin = file.find("\".b\"").unwrap();
        assert!(text.starts_with(&file[..begin]) && text.ends_with("\nseverity = \"major\"\n"), "{text}");
    }
    assert_eq!(written("a", ".z").unwrap(), file.replace("'''\n.a\n'''", "'.z'"));
    assert_eq!(config.probes["b"].settings.rewritten("absent", "x"), None);
}

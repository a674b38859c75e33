//! Settings, and which lines are wanted. The stage as a program is tested in `tests/`.

use super::*;

fn settings(words: &[(&str, &str)]) -> Settings {
    let words: Vec<_> = words.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Settings::from_words("stage.index", "index", &words).unwrap()
}

fn keeper(words: &[(&str, &str)]) -> Result<Keeper, StageError> {
    Keeper::new(&settings(words), &Config::empty(None), Clock::Wall)
}

#[test]
fn settings_are_read_and_mistakes_named() {
    for words in [
        &[][..],
        &[("kind", "http"), ("url", "https://siem.example.com/in"), ("keep", "7d")],
        &[("kind", "embedded"), ("keep", "90d"), ("search", "true"), ("path", "/tmp/x")],
        &[("kind", "elasticsearch"), ("hosts", "http://es-1:9200"), ("keep", "90d"), ("shards", "3"), ("copies", "0")],
        &[
            ("kind", "opensearch"),
            ("hosts", "[\"https://es-1:9200\", \"http://127.0.0.1:9200\"]"),
            ("login", "{ user = \"ada\", password = { env = \"NOT_SET\" } }"),
            ("tls", "{ ca = \"ca.pem\" }"),
            ("index", "hub-%Y-%m-%d"),
        ],
        &[("kind", "opensearch"), ("hosts", "https://es-1:9200"), ("data_stream", "true"), ("index", "hub")],
        &[("kind", "elasticsearch"), ("hosts", "https://es-1:9200"), ("dashboards", "https://kibana/s/secops")],
        &[("include", ".a"), ("exclude", ".type == \"osquery_status\"")],
    ] {
        assert!(keeper(words).is_ok(), "{words:?}");
    }
    for (words, what) in [
        (&[("kind", "embeded")][..], "embedded"),
        (&[("kind", "other"), ("hosts", "x")], "kind"),
        (&[("keep", "1h")], "at least one day"),
        (&[("keep", "soon")], "keep"),
        (&[("kep", "90d")], "keep"),
        (&[("exclude", ".a |")], "exclude"),
        (&[("include", "/nonexistent.jq")], "nonexistent"),
        (&[("kind", "http")], "url"),
        (&[("kind", "http"), ("url", "https://siem.example.com"), ("search", "true")], "cannot be searched"),
        (&[("kind", "elasticsearch")], "hosts"),
        (&[("kind", "elasticsearch"), ("hosts", "[]")], "at least one address"),
        (&[("kind", "elasticsearch"), ("hosts", "es-1:9200")], "https://"),
        (&[("kind", "opensearch"), ("hosts", "https://ada:pw@es-1:9200")], "an address alone"),
        (&[("kind", "opensearch"), ("hosts", "http://es-1:9200"), ("login", "{ bearer = \"t\" }")], "https://"),
        (
            &[("kind", "opensearch"), ("hosts", "https://es-1:9200"), ("login", "{ user = \"ada\" }")],
            "user and password",
        ),
        (&[("kind", "opensearch"), ("hosts", "https://es-1:9200"), ("login", "{ token = \"t\" }")], "token"),
        (&[("kind", "opensearch"), ("hosts", "https://es-1:9200"), ("index", "zentral")], "%Y"),
        (&[("kind", "opensearch"), ("hosts", "https://es-1:9200"), ("tls", "{ cert = \"a\" }")], "go together"),
        (&[("kind", "opensearch"), ("hosts", "https://es-1:9200"), ("copies", "-1")], "from 0"),
        (
            &[
                ("kind", "opensearch"),
                ("hosts", "https://es-1:9200"),
                ("data_stream", "true"),
                ("index", "hub-%Y.%m.%d"),
            ],
            "the one name of a data stream",
        ),
        // What a stage's instances are called; of an index they are copies.
        (&[("kind", "opensearch"), ("hosts", "https://es-1:9200"), ("replicas", "2")], "replicas"),
        (&[("kind", "opensearch"), ("hosts", "https://es-1:9200"), ("path", "x")], "path"),
    ] {
        let error = keeper(words).map(|_| ()).unwrap_err();
        assert_eq!(error.exit, pipe::Exit::Usage);
        assert!(error.text.contains(what), "{words:?}: {error}");
    }
}

#[test]
fn filters_choose_and_a_failing_one_does_not_match() {
    let keeper =
        keeper(&[("include", ".type != \"b\""), ("exclude", ".n > 5, (.s | ltrimstr(\"x\") | tonumber > 5)")]).unwrap();
    for (line, expected) in [
        (r#"{"type":"a","n":1,"s":"1"}"#, Ok(None)),
        (r#"{"type":"b","n":1}"#, Ok(Some("not_included"))),
        (r#"{"type":"a","n":9,"s":"1"}"#, Ok(Some("excluded"))),
        (r#"{"type":"a","n":1,"s":"x9"}"#, Ok(Some("excluded"))),
        (r#"{"type":"a","n":1,"s":[]}"#, Ok(None)),
    ] {
        assert_eq!(keeper.unwanted(line.as_bytes()), expected, "{line}");
    }
    assert!(keeper.unwanted(b"{").is_err());
}

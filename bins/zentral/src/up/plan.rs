//! Which stages a new configuration stops, starts and leaves alone, and in which order stages start and stop.

use pipe::config::{Config, Settings, StageConf, StageKind};
use serde_json::{Value, json};

/// How many places there are in the flow of lines: who comes first is told first to stop, and starts last.
pub const FLOW: usize = StageKind::ALL.len();

/// Stages in the order in which they start: whoever reads is there before whoever writes, and the port opens last.
pub fn start_order<'a>(stages: impl Iterator<Item = &'a StageConf>) -> Vec<&'a StageConf> {
    let mut all: Vec<&StageConf> = stages.collect();
    all.sort_by_key(|s| std::cmp::Reverse(s.flow()));
    all
}

/// What a new configuration does to the stages; names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Gone, or to be started anew.
    pub stop: Vec<String>,
    /// New, or to be started anew.
    pub start: Vec<String>,
    /// Told to reload.
    pub keep: Vec<String>,
}

/// Compares two configurations as far as `only` (empty: all) lets them run here.
pub fn plan(old: Option<&Config>, new: &Config, only: &[String]) -> Plan {
    let mine = |stage: &&StageConf| only.is_empty() || only.contains(&stage.name);
    let mut plan = Plan::default();
    for stage in new.stages.iter().filter(mine) {
        match old.and_then(|old| old.stage(&stage.name).map(|was| (old, was))) {
            Some((old, was)) if shape(old, was) == shape(new, stage) => plan.keep.push(stage.name.clone()),
            Some(_) => {
                plan.stop.push(stage.name.clone());
                plan.start.push(stage.name.clone());
            }
            None => plan.start.push(stage.name.clone()),
        }
    }
    let gone = old.into_iter().flat_map(|old| &old.stages).filter(mine).filter(|s| new.stage(&s.name).is_none());
    plan.stop.extend(gone.map(|s| s.name.clone()));
    plan
}

/// All that a running stage cannot take over: its own table, and of each topic that it writes the limits and the
/// readers, whose claims it has opened.
fn shape(config: &Config, stage: &StageConf) -> Value {
    let topics: Vec<Value> = stage
        .writes()
        .map(|topic| {
            let readers: Vec<Value> = config
                .readers(topic)
                .map(|r| json!([r.name, format!("{:?}", r.lag), config.state(r).to_string()]))
                .collect();
            json!([topic, format!("{:?}", config.topics.of(topic)), readers])
        })
        .collect();
    // A secret is resolved when the stage starts; what is shown here tells which it is.
    let kafka = stage.uses_kafka().then(|| format!("{:?}", config.kafka));
    json!([stage.words(), values(&stage.settings), topics, kafka])
}

/// The values of a table without their places in the file.
fn values(table: &Settings) -> Value {
    let mut all = serde_json::Map::new();
    for key in table.keys() {
        // A question of the wrong type leaves a finding behind; nobody asks this copy for them.
        let mut asked = table.clone();
        let value = if let Some(inner) = asked.table(&key) {
            values(&inner)
        } else if let Some(text) = asked.str(&key) {
            text.into()
        } else if let Some(n) = asked.int(&key) {
            n.into()
        } else if let Some(b) = asked.bool(&key) {
            b.into()
        } else {
            asked.strings(&key).into()
        };
        all.insert(key, value);
    }
    all.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    const BASE: &str = r#"
version = 1
[stage.receive]
listen = "127.0.0.1:0"
tls = { cert = "a.pem", key = "b.pem" }
to = "topic:raw"
[stage.normalize]
from = "topic:raw"
to = "topic:events"
[stage.store]
from = "topic:events"
kind = "embedded"
"#;

    fn load(text: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path, Some(std::path::Path::new("data"))).expect("it is right").0
    }

    #[test]
    fn only_what_differs_is_touched() {
        let old = load(BASE);
        let check = |change: &dyn Fn(&str) -> String, stop: &[&str], start: &[&str], keep: &[&str]| {
            let text = change(BASE);
            let found = plan(Some(&old), &load(&text), &[]);
            assert_eq!((found.stop, found.start, found.keep), (owned(stop), owned(start), owned(keep)), "{text}");
        };
        check(&|t| t.to_owned(), &[], &[], &["receive", "normalize", "store"]);
        check(&|t| format!("# a comment\n{t}[unit.berlin]\n"), &[], &[], &["receive", "normalize", "store"]);
        check(&|t| t.replace("a.pem", "c.pem"), &["receive"], &["receive"], &["normalize", "store"]);
        check(
            &|t| t.replace("[stage.store]", "[stage.index]\nrun = \"store\""),
            &["normalize", "store"],
            &["normalize", "index"],
            &["receive"],
        );
        // A new reader of raw: receive has to respect its claim from now on.
        check(
            &|t| format!("{t}[stage.sift]\nrun = \"filter\"\nfrom = \"topic:raw\"\nto = \"topic:sifted\"\n"),
            &["receive"],
            &["receive", "sift"],
            &["normalize", "store"],
        );
        check(
            &|t| format!("{t}[topic.events]\nlimit = \"1 GiB\"\n"),
            &["normalize"],
            &["normalize"],
            &["receive", "store"],
        );
        let only = plan(None, &old, &owned(&["store"]));
        assert_eq!((only.stop, only.start, only.keep), (owned(&[]), owned(&["store"]), owned(&[])));
    }

    #[test]
    fn readers_start_before_writers() {
        let names: Vec<String> = start_order(load(BASE).stages.iter()).iter().map(|s| s.name.clone()).collect();
        assert_eq!(names, ["store", "normalize", "receive"]);
        assert_eq!(StageKind::ALL.map(|(_, kind)| kind.flow()), std::array::from_fn(|i| i));
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }
}

//! A pack: queries that belong together, in osquery's own format or as the hub's configuration says it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::query::{self, Query};
use crate::relaxed::json as relaxed;
use crate::relaxed::node::Spot;

/// Keys that a pack may hold for osquery's own parsers; they are handed on as they are.
const PASSED: [&str; 6] = ["file_paths", "exclude_paths", "file_accesses", "file_paths_query", "views", "yara"];
/// Keys of a whole configuration.
const CONFIGURATION: [&str; 3] = ["schedule", "packs", "options"];
/// What the key `compliance` is called in a file, as in packs of Zentral.
const COMPLIANCE: &str = "compliance_check";
/// The longest name of a query.
const NAME_MAX: usize = 255;

/// One pack.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pack {
    /// Queries by name.
    pub queries: BTreeMap<String, Query>,
    /// Queries that must all give a row, or the pack does not run.
    pub discovery: Vec<String>,
    /// Percent of the machines that run it.
    pub shard: Option<u32>,
    /// Platforms in osquery's words.
    pub platform: Option<String>,
    /// The oldest agent that runs it.
    pub version: Option<String>,
    /// What osquery's own parsers find in it.
    pub passed: Map<String, Value>,
}

/// What is wrong with a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Line of its file, from 1; 0 if it has none.
    pub line: usize,
    /// The key, from the pack on: `queries.first.interval`.
    pub key: String,
    /// A lower-case fragment.
    pub text: String,
}

impl Pack {
    /// What an agent would not take, but for its queries: the key in osquery's words, and why.
    pub fn flaws(&self) -> Vec<(&'static str, String)> {
        let mut all = Vec::new();
        if self.queries.is_empty() {
            all.push(("queries", "a pack needs queries".into()));
        }
        if self.discovery.iter().any(|sql| sql.trim().is_empty()) {
            all.push(("discovery", "a query is empty".into()));
        }
        all.extend(query::shard_flaw(self.shard).map(|why| ("shard", why)));
        all.extend(self.platform.as_deref().and_then(query::platform_flaw).map(|why| ("platform", why)));
        all.extend(self.version.as_deref().and_then(query::version_flaw).map(|why| ("version", why)));
        all
    }

    pub(super) fn json(&self) -> Value {
        let mut pack = Map::new();
        let queries: BTreeMap<_, _> = self.queries.iter().map(|(name, of)| (of.told_name(name), of.json())).collect();
        pack.insert("queries".into(), json!(queries));
        if !self.discovery.is_empty() {
            pack.insert("discovery".into(), json!(self.discovery));
        }
        query::around(&mut pack, self.shard, self.platform.as_deref(), self.version.as_deref());
        pack.extend(self.passed.iter().map(|(key, value)| (key.clone(), value.clone())));
        Value::Object(pack)
    }

    /// Reads a pack as osquery does: comments, carried-on lines, numbers and truth values within quotes.
    pub fn read(text: &str) -> Result<Self, Vec<Flaw>> {
        let read = relaxed::read(text)
            .map_err(|e| vec![Flaw { line: e.line, key: String::new(), text: format!("no pack: {}", e.text) }])?;
        let mut reader = Reader::default();
        reader.twice(&read.twice);
        let pack = read.roots.first().map(|root| reader.pack(&Spot::root(&"".into(), root))).unwrap_or_default();
        if reader.flaws.is_empty() { Ok(pack) } else { Err(reader.flaws) }
    }
}

/// Why a query of this name is none.
pub fn query_name_flaw(name: &str) -> Option<&'static str> {
    if name.trim().is_empty() {
        Some("the name of a query is empty")
    } else if name.len() > NAME_MAX || name.chars().any(char::is_control) {
        Some("this is no name of a query")
    } else {
        None
    }
}

#[derive(Default)]
struct Reader {
    flaws: Vec<Flaw>,
}

impl Reader {
    fn fail(&mut self, at: &Spot<'_>, text: impl Into<String>) {
        self.flaws.push(Flaw { line: at.node.line, key: at.path.clone(), text: text.into() });
    }

    fn twice(&mut self, twice: &[(usize, String)]) {
        let flaw =
            |(line, key): &(usize, String)| Flaw { line: *line, key: key.clone(), text: "is there twice".into() };
        self.flaws.extend(twice.iter().map(flaw));
    }

    fn pack(&mut self, at: &Spot<'_>) -> Pack {
        let mut pack = Pack::default();
        if !at.is_map() {
            self.fail(at, "a pack is an object with `queries`");
            return pack;
        }
        if let Some(odd) = CONFIGURATION.iter().find_map(|key| at.get(key)) {
            self.fail(&odd, "this is a whole configuration, not a pack; `zentral import` reads it");
            return pack;
        }
        pack.discovery = self.list(at, "discovery");
        pack.shard = self.number(at, "shard");
        pack.platform = self.text(at, "platform");
        pack.version = self.text(at, "version");
        for key in PASSED {
            pack.passed.extend(at.get(key).filter(|of| !of.is_empty()).map(|of| (key.to_owned(), of.json())));
        }
        let Some(queries) = at.get("queries") else {
            self.fail(at, "a pack needs `queries`");
            return pack;
        };
        if !queries.is_map() || queries.is_empty() {
            self.fail(&queries, "expected queries by their names");
        }
        let before = self.flaws.len();
        for (name, one) in queries.members() {
            match query_name_flaw(name) {
                Some(why) => self.fail(&queries, why),
                None => pack.queries.extend([(name.to_owned(), self.query(&one))]),
            }
        }
        if before == self.flaws.len() {
            for (key, why) in pack.flaws().into_iter().filter(|(key, _)| *key != "queries") {
                self.fail(&at.get(key).unwrap_or_else(|| at.clone()), why);
            }
        }
        pack
    }

    fn query(&mut self, at: &Spot<'_>) -> Query {
        let mut query = Query::default();
        if !at.is_map() {
            self.fail(at, "is no query");
            return query;
        }
        match at.get("query") {
            Some(sql) => query.sql = self.text(at, "query").unwrap_or_else(|| sql.text().unwrap_or_default().into()),
            None => self.fail(at, "needs the key `query`"),
        }
        let before = self.flaws.len();
        query.interval_s = self.number(at, "interval").unwrap_or(query::INTERVAL);
        query.shard = self.number(at, "shard");
        query.platform = self.text(at, "platform");
        query.version = self.text(at, "version");
        query.snapshot = self.truth(at, "snapshot").unwrap_or(false);
        query.removed = self.truth(at, "removed").unwrap_or(true);
        query.denylist = self.truth(at, "denylist").or_else(|| self.truth(at, "blacklist")).unwrap_or(true);
        query.tag = self.text(at, "tag");
        query.compliance = self.truth(at, COMPLIANCE).unwrap_or(false);
        if before == self.flaws.len() && at.get("query").is_some() {
            for (key, why) in query.flaws() {
                let key = if key == "compliance" { COMPLIANCE } else { key };
                self.fail(&at.get(key).unwrap_or_else(|| at.clone()), why);
            }
        }
        query
    }

    fn text(&mut self, at: &Spot<'_>, key: &str) -> Option<String> {
        let value = at.get(key)?;
        if value.text().is_none() {
            self.fail(&value, "expected a string");
        }
        value.text().map(str::to_owned).filter(|text| !text.trim().is_empty())
    }

    fn number(&mut self, at: &Spot<'_>, key: &str) -> Option<u32> {
        let value = at.get(key)?;
        match value.whole() {
            // Beyond what fits is beyond every bound that it is held against.
            Some(number) => Some(u32::try_from(number).unwrap_or(u32::MAX)),
            None => {
                self.fail(&value, "expected a whole number");
                None
            }
        }
    }

    fn truth(&mut self, at: &Spot<'_>, key: &str) -> Option<bool> {
        let value = at.get(key)?;
        if value.truth().is_none() {
            self.fail(&value, "expected true or false");
        }
        value.truth()
    }

    fn list(&mut self, at: &Spot<'_>, key: &str) -> Vec<String> {
        let Some(value) = at.get(key) else { return Vec::new() };
        let texts: Option<Vec<&str>> = value.items().iter().map(|item| item.text()).collect();
        match texts.filter(|_| value.is_list()) {
            Some(texts) => texts.into_iter().map(str::to_owned).collect(),
            None => {
                self.fail(&value, "expected a list of strings");
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn osquerys_own_format_is_read() {
        let text = "{\n // note\n \"platform\": \"posix\", \"version\": \"1.2.3\", \"shard\": \"50\", \"discovery\": [\"select 1\"],\n\
             \"event_routing_key\": \"edr\", \"file_paths\": {\"a\": [\"/etc/%%\"]},\n\
             \"queries\": {\"A_1\": {\"query\": \"select \\\n *\", \"interval\": \"60\"},\n\
             \"B\": {\"query\": \"select 1\", \"snapshot\": true, \"denylist\": \"false\", \"shard\": 97, \"platform\": \"darwin,linux\"} } }";
        let pack = Pack::read(text).unwrap();
        let want = serde_json::json!({"queries": {"A_1": {"query": "select  *", "interval": 60},
            "B": {"query": "select 1", "interval": 3600, "snapshot": true, "denylist": false, "shard": 97, "platform": "darwin,linux"}},
            "discovery": ["select 1"], "shard": 50, "platform": "posix", "version": "1.2.3", "file_paths": {"a": ["/etc/%%"]}});
        assert_eq!(pack.json(), want);
    }

    /// What an earlier SQL gave must not be taken for what this one gives.
    #[test]
    fn what_means_something_is_told_with_its_revision() {
        let read = |text: &str| Pack::read(text).unwrap().json();
        let names = |pack: &Value| pack["queries"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let pack = |sql: &str| {
            read(&format!(
                "{{\"queries\": {{\"a\": {{\"query\": \"{sql}\", \"snapshot\": true, \"tag\": \"vip\"}}, \
                 \"b\": {{\"query\": \"{sql}, ztl_status\", \"snapshot\": true, \"compliance_check\": \"true\"}}, \
                 \"c\": {{\"query\": \"{sql}\", \"tag\": \"\", \"compliance_check\": false}}}}}}"
            ))
        };
        let (one, two) = (names(&pack("select 1")), names(&pack("select 2")));
        assert_eq!([&one[0][..2], &one[1][..2], &one[2]], ["a/", "b/", "c"]);
        assert!(one[0] != two[0] && one[1] != two[1] && one[0].len() == 10);
        let told = pack("select 1")["queries"][&one[0]].clone();
        assert_eq!(told, serde_json::json!({"query": "select 1", "interval": 3600, "snapshot": true}));
    }

    #[test]
    fn what_is_wrong_has_a_place() {
        for (text, line, key, word) in [
            ("[1]", 1, "", "object"),
            ("{}", 1, "", "needs `queries`"),
            ("{\"queries\": {}}", 1, "queries", "by their names"),
            ("{\"queries\": {\n\"\": {\"query\": \"select 1\"}}}", 1, "queries", "is empty"),
            ("{\"queries\": {\n\"a\": {}}}", 2, "queries.a", "needs the key `query`"),
            ("{\"queries\": {\n\"a\": {\"query\": \" \"}}}", 2, "queries.a.query", "is empty"),
            (
                "{\"queries\": {\"a\": {\"query\": \"x\",\n\"interval\": 10920092820982}}}",
                2,
                "queries.a.interval",
                "is not within",
            ),
            ("{\"queries\": {\"a\": {\"query\": \"x\", \"interval\": 0}}}", 1, "queries.a.interval", "is not within"),
            ("{\"queries\": {\"a\": {\"query\": \"x\", \"shard\": 110}}}", 1, "queries.a.shard", "110"),
            ("{\"queries\": {\"a\": {\"query\": \"x\", \"platform\": \"rover\"}}}", 1, "queries.a.platform", "rover"),
            ("{\"queries\": {\"a\": {\"query\": \"x\", \"version\": \"1.x\"}}}", 1, "queries.a.version", "1.x"),
            ("{\"queries\": {\"a\": {\"query\": 7}}}", 1, "queries.a.query", "expected a string"),
            ("{\"queries\": {\"a\": {\"query\": \"x\"},\n\"a\": {\"query\": \"y\"}}}", 2, "a", "twice"),
            ("{\"queries\": {\"a\": {\"query\": \"x\",\n\"tag\": \"b\"}}}", 2, "queries.a.tag", "snapshot"),
            (
                "{\"queries\": {\"a\": {\"query\": \"x\", \"snapshot\": true,\n\"tag\": \"No!\"}}}",
                2,
                "queries.a.tag",
                "is no tag",
            ),
            (
                "{\"queries\": {\"a\": {\"query\": \"x\", \"snapshot\": true,\n\"compliance_check\": true}}}",
                2,
                "queries.a.compliance_check",
                "ztl_status",
            ),
            (
                "{\"queries\": {\"a\": {\"query\": \"ztl_status\",\n\"compliance_check\": true}}}",
                2,
                "queries.a.compliance_check",
                "snapshot",
            ),
            (
                "{\"queries\": {\"a\": {\"query\": \"ztl_status\", \"snapshot\": 1, \"compliance_check\": 1, \"tag\": \"b\"}}}",
                1,
                "queries.a.tag",
                "either",
            ),
            ("{\"platform\": \"rover\", \"queries\": {\"a\": {\"query\": \"x\"}}}", 1, "platform", "rover"),
            ("{\"schedule\": {}, \"queries\": {}}", 1, "schedule", "whole configuration"),
            ("{\"queries\":\n", 2, "", "no pack"),
        ] {
            let flaws = Pack::read(text).unwrap_err();
            let hit = flaws.iter().any(|f| (f.line, f.key.as_str()) == (line, key) && f.text.contains(word));
            assert!(hit, "{text}: {flaws:?}");
        }
    }
}

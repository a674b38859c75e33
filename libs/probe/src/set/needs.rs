//! What an event must have for a probe to match, for whoever looks for such events elsewhere.

use super::FilterSet;
use crate::index::{Key, KeyTest};

/// A string at a path of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The keys from the event down.
    pub path: Vec<String>,
    /// What is there, and nothing else.
    pub value: String,
}

impl FilterSet {
    /// Lists of which each holds at every event that the probe matches, and a list holds where one of its needs does; an
    /// empty list: it matches nothing. What cannot be said in this form is left out, so that more events may have all of
    /// it than match, and none is missing.
    pub fn needs(&self, probe: usize) -> Vec<Vec<Need>> {
        let clauses = self.inner.probes.get(probe).map(|probe| probe.clauses.as_slice()).unwrap_or_default();
        clauses.iter().filter_map(|clause| clause.iter().map(|key| self.need(key)).collect()).collect()
    }

    fn need(&self, key: &Key) -> Option<Need> {
        let KeyTest::Exact(text) = &key.test else { return None };
        let value = serde_json::from_slice::<String>(text).ok()?;
        let quoted = |key: &[u8]| serde_json::from_slice::<String>(&[b"\"", key, b"\""].concat()).ok();
        let keys = self.inner.paths.keys(key.place.path);
        let path: Vec<String> = keys.into_iter().map(quoted).collect::<Option<_>>()?;
        (key.place.over.is_none() && !path.is_empty()).then_some(Need { path, value })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use crate::{FilterSet, NoModules, Spec};

    fn needs(filter: &str, query: Option<&str>) -> String {
        let spec = Spec { query_name: query.map(str::to_owned), ..Spec::bare("p", filter) };
        let set = FilterSet::build(vec![spec], &NoModules).unwrap();
        let mut all: Vec<String> = set
            .needs(0)
            .iter()
            .map(|any| any.iter().map(|n| format!("{}={}", n.path.join("."), n.value)).collect::<Vec<_>>().join("|"))
            .collect();
        all.sort();
        all.join(" & ")
    }

    #[test]
    fn what_can_be_asked_of_a_search() {
        let two = r#".type == "a" and .payload.name == "b" and .payload.n > 3"#;
        assert_eq!(needs(two, None), "payload.name=b & type=a");
        let mut either: Vec<String> = needs(r#".type | IN("a", "b")"#, None).split('|').map(str::to_owned).collect();
        either.sort();
        assert_eq!(either, ["type=a", "type=b"]);
        assert_eq!(needs(r#".type == "a" or .payload.n > 3"#, None), "");
        assert_eq!(needs(r#"any(.payload.list[]; . == "a")"#, None), "");
        assert_eq!(needs("true", Some("zentral/p/1")), "payload.name=zentral/p/1 & type=osquery_result");
        assert_eq!(needs(r#".payload["a\"b"] == "ü\n""#, None), "payload.a\"b=ü\n");
        assert_eq!(needs("false", None), "", "one list, and nothing in it");
        assert_eq!(FilterSet::build(vec![Spec::bare("p", "false")], &NoModules).unwrap().needs(0).len(), 1);
    }
}

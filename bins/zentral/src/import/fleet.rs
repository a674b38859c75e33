//! Fleet's YAML: packs that name queries which stand in documents of their own, perhaps in other files.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::Import;
use super::node::Spot;
use super::pack;
use super::query::Around;

/// What is known of the queries of all files.
#[derive(Default)]
pub struct Fleet<'a> {
    queries: BTreeMap<&'a str, Spot<'a>>,
    used: BTreeSet<&'a str>,
}

/// Whether a document is one of Fleet's.
pub fn is_one(at: &Spot<'_>) -> bool {
    at.get("apiVersion").is_some() && at.get("kind").is_some()
}

fn kind<'a>(at: &Spot<'a>) -> &'a str {
    at.get("kind").and_then(|kind| kind.text()).unwrap_or_default()
}

fn name<'a>(at: &Spot<'a>) -> Option<&'a str> {
    at.get("name").and_then(|name| name.text())
}

impl<'a> Fleet<'a> {
    /// Remembers a query, for packs that name it.
    pub fn learn(&mut self, at: &Spot<'a>) {
        if let ("query", Some(spec)) = (kind(at), at.get("spec"))
            && let Some(name) = name(&spec)
        {
            self.queries.entry(name).or_insert(spec);
        }
    }

    /// Imports a document.
    pub fn import(&mut self, at: &Spot<'a>, given: &BTreeSet<String>, import: &mut Import) {
        let spec = at.get("spec").unwrap_or_else(|| at.clone());
        match kind(at) {
            // After all packs: see `rest`.
            "query" => {}
            "pack" => self.pack(&spec, import),
            "options" | "config" => {
                match spec.get("config").or(spec.get("agent_options").and_then(|o| o.get("config"))) {
                    Some(config) => pack::configuration(&config, given, import),
                    None => import.refuse(&spec, "has no `config`"),
                }
            }
            other => import.refuse(at, format!("Fleet's kind `{}` cannot be said", super::draft::line(other))),
        }
        if let Some(overrides) = spec.get("overrides").filter(|overrides| !overrides.is_empty()) {
            import.refuse(&overrides, "is not imported: configurations by platform");
        }
    }

    fn pack(&mut self, spec: &Spot<'a>, import: &mut Import) {
        if spec.get("disabled").and_then(|d| d.truth()) == Some(true) {
            return import.refuse(spec, "is disabled: not imported");
        }
        let title = name(spec).unwrap_or("pack");
        let labels = spec.get("targets").and_then(|targets| targets.get("labels"));
        let around = Around::default().within(spec);
        let around = around.and_then(|around| labels.map_or(Ok(around.clone()), |labels| around.labelled(&labels)));
        let around = match around {
            Ok(around) => around,
            Err(refusal) => return import.refused.push(refusal),
        };
        if let Some(teams) = spec.get("targets").and_then(|targets| targets.get("teams")).filter(|t| !t.is_empty()) {
            return import.refuse(&teams, "teams cannot be said of a probe; the queries of this pack are not imported");
        }
        for query in spec.get("queries").map(|queries| queries.items()).unwrap_or_default() {
            let Some(named) = query.get("query").and_then(|query| query.text()) else {
                import.refuse(&query, "has no `query`");
                continue;
            };
            let Some(spec) = self.queries.get(named).cloned() else {
                import.refuse(&query, format!("query `{}` is in none of the files", super::draft::line(named)));
                continue;
            };
            self.used.insert(named);
            let called = name(&query).unwrap_or(named);
            // What the query itself says of platforms and versions holds as well.
            match around.within(&spec) {
                Ok(around) => {
                    pack::scheduled(&query, spec.get("query").as_ref(), Some(title), called, &around, import);
                    if let Some(draft) = import.drafts.last_mut().filter(|draft| draft.origin == query.place()) {
                        draft.explain(&spec, &["description"]);
                    }
                }
                Err(refusal) => import.refused.push(refusal),
            }
        }
    }

    /// Queries that no pack names: those with an interval are scheduled by themselves.
    pub fn rest(&self, import: &mut Import) {
        for (name, spec) in &self.queries {
            if self.used.contains(name) {
                continue;
            }
            match spec.get("interval").and_then(|interval| interval.whole()) {
                Some(seconds) if seconds > 0 => {
                    pack::scheduled(spec, None, None, name, &Around::default(), import);
                }
                _ => import.refuse(spec, format!("no pack schedules the query `{}`", super::draft::line(name))),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::import::yaml;

    fn of(text: &str) -> (Vec<String>, Vec<String>) {
        let (read, mut import, mut fleet) = (yaml::read(text).unwrap(), Import::default(), Fleet::default());
        let spots: Vec<Spot<'_>> = read.roots.iter().map(|root| Spot::root(&"f".into(), root)).collect();
        spots.iter().for_each(|at| fleet.learn(at));
        spots.iter().for_each(|at| fleet.import(at, &BTreeSet::new(), &mut import));
        fleet.rest(&mut import);
        let said = |d: &super::super::draft::Draft| format!("{} {}", d.title, d.scope.platforms.join(","));
        (import.drafts.iter().map(said).collect(), import.refused.into_iter().map(|(place, _)| place).collect())
    }

    #[test]
    fn packs_name_queries_of_other_documents() {
        let query = |name: &str, more: &str| {
            format!("---\napiVersion: v1\nkind: query\nspec: {{name: {name}, query: select 1{more}}}\n")
        };
        let pack = |spec: &str| format!("---\napiVersion: v1\nkind: pack\nspec: {{name: p, {spec}}}\n");
        let queries = query("a", ", platform: darwin") + &query("b", "") + &query("c", ", interval: 60");
        let (made, refused) = of(&(pack("queries: [{query: a, name: x}, {query: nosuch}]") + &queries));
        assert_eq!(made, ["p: x macos", "c "]);
        assert_eq!(refused, ["f:4: spec.queries[1]", "f:12: spec"]);

        let (made, _) = of(&(pack("targets: {labels: [macOS, MS Windows]}, queries: [{query: b}]") + &queries));
        assert_eq!(made, ["p: b macos,windows", "c "]);
        for spec in ["targets: {labels: [mine]}", "targets: {teams: [t]}", "shard: 5", "disabled: true"] {
            let (made, refused) = of(&(pack(&format!("{spec}, queries: [{{query: b}}]")) + &queries));
            assert!(made == ["c "] && refused.len() == 3, "{spec}: {refused:?}");
        }
    }

    #[test]
    fn options_are_a_configuration() {
        let text = "apiVersion: v1\nkind: options\nspec:\n  config:\n    options: {a: 1}\n    schedule: {t: {query: select 1}}\n  overrides: {platforms: {darwin: {}}}\n";
        let (made, refused) = of(text);
        assert_eq!(made, ["t "]);
        assert_eq!(refused, ["f:5: spec.config.options", "f:7: spec.overrides"]);
        assert_eq!(of("apiVersion: v1\nkind: team\nspec: {}\n").1, ["f:1"]);
    }
}

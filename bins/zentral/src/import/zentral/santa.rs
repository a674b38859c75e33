//! Zentral's probes with Santa rules: the rules are not imported, what the probe watches is.

use serde_json::Value as Json;

use crate::import::cond::{Cond, path};
use crate::import::draft::{Import, Refusal, no};
use crate::import::node::Spot;

/// What a probe with rules asks of an event; none: it has no rules.
pub fn cond(body: &Spot<'_>, import: &mut Import) -> Result<Option<Cond>, Refusal> {
    let (rules, decided) = match (body.get("santa").filter(|rules| !rules.is_empty()), body.get("rules")) {
        (Some(rules), _) => (rules, false),
        (None, Some(rules)) => (rules, true),
        (None, None) => return Ok(None),
    };
    let mut any = Vec::new();
    for rule in rules.items() {
        any.extend(watched(&rule, decided)?);
    }
    if any.is_empty() {
        return no(&rules, "has no rules");
    }
    import.refuse(
        &rules,
        "rules of Santa are not imported: write them as [rules.NAME]; the filter for their events is imported",
    );
    let kind = if decided { Cond::All(Vec::new()) } else { Cond::event_type("santa_event") };
    Ok(Some(kind.and(match any.len() {
        1 => any.remove(0),
        _ => Cond::Any(any),
    })))
}

/// In 2016 any event about the file or certificate of a rule; in 2017 those that the rule itself decided.
fn watched(rule: &Spot<'_>, decided: bool) -> Result<Vec<Cond>, Refusal> {
    let word = |key: &str| rule.get(key).and_then(|said| said.text());
    let Some(sha256) = word("sha256") else { return no(rule, "has no `sha256`") };
    let value: Vec<Json> = vec![sha256.to_ascii_lowercase().into()];
    let file = Cond::Is(path("payload", "file_sha256"), value.clone());
    let certificate = Cond::Within(path("payload", "signing_chain.sha256"), value);
    if !decided {
        return Ok(vec![file, certificate]);
    }
    let (subject, kind) = match word("rule_type") {
        Some("BINARY") => (file, "BINARY"),
        Some("CERTIFICATE") => (certificate, "CERTIFICATE"),
        _ => return no(rule, "`rule_type` is neither BINARY nor CERTIFICATE"),
    };
    let decision = |verb: &str| Cond::Is(path("payload", "decision"), vec![format!("{verb}_{kind}").into()]);
    Ok(vec![match word("policy") {
        Some("BLACKLIST") => subject.and(decision("BLOCK")),
        Some("WHITELIST") => subject.and(decision("ALLOW")),
        _ => subject,
    }])
}

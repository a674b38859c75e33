//! Translated cases: what Zentral's API is asked for, our users do with files and the command line.
//!
//! The request becomes a table of the configuration, or a command; what the product says becomes the answer: findings of
//! `check` are a 400 with their keys, a command that fails is a 400 as well. No value is made here: what the product does
//! not say is missing in the answer.

use serde_json::{Map, Value, json};

use super::process::{Process, first_line, word};
use crate::conform::case::{Case, Request};
use crate::conform::client::Answer;
use crate::conform::fill::{self, Values};

/// Our keys by theirs.
const KEYS: [(&str, &str); 6] = [
    ("id", "target_identifier"),
    ("type", "target_type"),
    ("kind", "backend"),
    ("scope", "serial_numbers"),
    ("url", "http_post_kwargs.url"),
    ("compliance_check", "non_field_errors"),
];
/// Policies of rules by their numbers.
const POLICIES: [(u64, &str); 5] =
    [(1, "ALLOWLIST"), (2, "BLOCKLIST"), (3, "SILENT_BLOCKLIST"), (5, "ALLOWLIST_COMPILER"), (9, "CEL")];

/// Does what the request asks for.
pub fn does(hub: &Process, case: &Case, request: &Request, values: &Values) -> Result<Answer, String> {
    let path = fill::text(&request.path, values)?;
    let body = request.body.as_ref().map(|body| fill::value(body, values)).transpose()?.unwrap_or_default();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("PUT", ["api", "osquery", "packs", name]) => pack(hub, name, request, &body),
        ("POST", ["api", "santa", "rulesets", "update", ..]) => ruleset(hub, &body),
        ("POST", ["api", "santa", "rules"]) => rule(hub, &body),
        ("POST", ["api", "probes", "probes"]) => probe(hub, &body),
        ("POST", ["api", "probes", "actions"]) => action(hub, &body),
        ("GET", ["api", "inventory", "machines", serial, "meta"]) => command(hub, &["machine", "show", serial]),
        ("POST", ["api", "inventory", "machines", "archive" | "prune"]) => {
            let serials = strings(body.get("serial_numbers"));
            let words: Vec<&str> =
                ["machine", "forget"].into_iter().chain(serials.iter().map(String::as_str)).collect();
            command(hub, &words)
        }
        ("POST", ["api", "inventory", "machines", "tags"]) => {
            let serials = strings(body.get("serial_numbers"));
            let first = body.get("operations").and_then(|list| list.get(0));
            let names = strings(first.and_then(|operation| operation.get("names")));
            let words = ["machine", "tag"].into_iter().chain(serials.iter().map(String::as_str));
            command(hub, &words.chain(names.iter().map(String::as_str)).collect::<Vec<_>>())
        }
        (method, _) => Err(format!("{}: neither a file nor a command does what {method} asks for here", case.name)),
    }
}

fn pack(hub: &Process, name: &str, request: &Request, body: &Value) -> Result<Answer, String> {
    let text = request.body_raw.clone().unwrap_or_else(|| body.to_string());
    hub.write("packs/tried.conf", &text)?;
    found(hub, &format!("[pack.{name}]\nfile = \"packs/tried.conf\"\n"), &format!("pack.{name}"))
}

fn ruleset(hub: &Process, body: &Value) -> Result<Answer, String> {
    let name = word(body, "name");
    let empty = Vec::new();
    let rules = body.get("rules").and_then(Value::as_array).unwrap_or(&empty);
    let lines: Vec<String> = rules.iter().map(|r| toml(&in_our_words(r, "rule_type", "identifier"))).collect();
    found(hub, &format!("[rules.{name}]\nrules = [ {} ]\n", lines.join(", ")), &format!("rules.{name}"))
}

fn rule(hub: &Process, body: &Value) -> Result<Answer, String> {
    let mut rule = in_our_words(body, "target_type", "target_identifier");
    let number = body.get("policy").and_then(Value::as_u64);
    let policy = POLICIES.iter().find(|(n, _)| Some(*n) == number).map(|(_, name)| *name);
    rule.insert("policy".to_owned(), policy.ok_or("a policy without a name")?.into());
    // Whom a rule is for is said by tags here, and by serial numbers there.
    let tags = |key: &str| json!(strings(body.get(key)).iter().map(|s| s.to_lowercase()).collect::<Vec<_>>());
    let scope = format!("{{ tags = {}, not_tags = {} }}", tags("serial_numbers"), tags("excluded_serial_numbers"));
    found(hub, &format!("[rules.tried]\nscope = {scope}\nrules = [ {} ]\n", toml(&rule)), "rules.tried")
}

fn in_our_words(rule: &Value, kind: &str, id: &str) -> Map<String, Value> {
    let same = ["policy", "custom_msg", "custom_url", "description", "cel_expr"];
    let known = same.iter().map(|key| (*key, *key)).chain([(kind, "type"), (id, "id")]);
    known.filter_map(|(theirs, ours)| Some((ours.to_owned(), rule.get(theirs)?.clone()))).collect()
}

fn probe(hub: &Process, body: &Value) -> Result<Answer, String> {
    let name = word(body, "name").to_lowercase().replace(' ', "-");
    if body.get("inventory_filters").is_some() {
        return Err("a scope without a criterion is every machine here, and no mistake".to_owned());
    }
    found(hub, &format!("[probe.{name}]\nfilter = \"true\"\n"), &format!("probe.{name}"))
}

fn action(hub: &Process, body: &Value) -> Result<Answer, String> {
    let kind = match word(body, "backend") {
        "" => String::new(),
        "HTTP_POST" => "kind = \"http\"\n".to_owned(),
        other => format!("kind = \"{}\"\n", other.to_lowercase()),
    };
    found(hub, &format!("[action.tried]\n{kind}"), "action.tried")
}

/// What `check` finds of a table, by the keys of the API.
fn found(hub: &Process, more: &str, table: &str) -> Result<Answer, String> {
    let findings = hub.would_find(more)?;
    let mut all = json!({});
    for finding in &findings {
        let key = word(finding, "key");
        let own = key.strip_prefix(table).unwrap_or(key).trim_start_matches('.');
        // A key that is missing has no place: it stands in the text.
        let missing = word(finding, "text").split_once("needs the key `").and_then(|(_, rest)| rest.split('`').next());
        let own = missing.unwrap_or(own);
        // Two rules for one thing are a mistake of the target, and not of how it is written.
        let own = if word(finding, "text").contains("rule for this") { "target" } else { own };
        let theirs: Vec<&str> = own
            .split('.')
            .filter(|part| *part != "rules" && part.parse::<usize>().is_err())
            .map(|part| KEYS.iter().find(|(ours, _)| *ours == part).map_or(part, |(_, theirs)| theirs))
            .collect();
        put(&mut all, theirs.join(".").split('.'), word(finding, "text"));
    }
    Ok(answer(if findings.is_empty() { 200 } else { 400 }, &all))
}

/// Puts a text into the list at a path.
fn put<'p>(into: &mut Value, mut path: impl Iterator<Item = &'p str>, text: &str) {
    match (path.next(), into) {
        (Some(key), Value::Object(map)) => put(map.entry(key).or_insert_with(|| json!({})), path, text),
        (None, into) => *into = json!([text]),
        _ => {}
    }
}

fn command(hub: &Process, words: &[&str]) -> Result<Answer, String> {
    let out = hub.run(words)?;
    let complaint = first_line(&out.stderr);
    if complaint.contains("unrecognized subcommand") {
        return Err(format!("zentral {}: {complaint}", words.first().unwrap_or(&"")));
    }
    let text = String::from_utf8_lossy(&out.stdout);
    let said = text.lines().next().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_else(|| json!({}));
    Ok(answer(if out.status.success() { 200 } else { 400 }, &said))
}

fn answer(status: u16, body: &Value) -> Answer {
    Answer::of(status, Vec::new(), body.to_string().into_bytes())
}

fn strings(list: Option<&Value>) -> Vec<String> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// As an inline table of TOML: strings of JSON are strings of TOML.
fn toml(map: &Map<String, Value>) -> String {
    let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", pairs.join(", "))
}

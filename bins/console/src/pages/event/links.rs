//! From an event to everything about what it names: the file, who signed it, the user, the certificate, the machine. Each is
//! a search in the language of docs/stores.md; what a machine said is a quoted text in it, whatever it is.

use serde_json::Value;

use crate::text;

/// Links of an event at most.
const LINKS_MAX: usize = 50;
/// Bytes of a name that is searched for; a search has some of them and at most 8 KiB.
const NAME_MAX: usize = 512;
/// How far back a link looks.
const SINCE: &str = "30d";

/// What is named outside `objects`: the kind, and where in the payload; lists are walked.
const NAMED: [(&str, &str); 19] = [
    ("user", "/payload/executing_user"),
    ("user", "/payload/primary_user"),
    ("user", "/payload/logged_in_users"),
    ("user", "/payload/columns/username"),
    ("user", "/payload/columns/user"),
    ("user", "/payload/decorations/username"),
    ("path", "/payload/file_path"),
    ("path", "/payload/columns/path"),
    ("path", "/payload/columns/target_path"),
    ("path", "/payload/path"),
    ("path", "/payload/target"),
    ("file:sha256", "/payload/parent_sha256"),
    ("file:sha256", "/payload/columns/sha256"),
    ("bundle:sha256", "/payload/file_bundle_hash"),
    ("app", "/payload/file_bundle_id"),
    ("app", "/payload/columns/bundle_identifier"),
    ("team", "/payload/columns/team_identifier"),
    ("certificate:sha256", "/payload/columns/certificate_sha256"),
    ("signingid", "/payload/columns/identifier"),
];

/// Fields in which a thing of a kind is named beside `objects`.
fn fields(kind: &str) -> &'static [&'static str] {
    match kind {
        "user" => &["machine.user", "payload.logged_in_users", "payload.decorations.username"],
        "path" => &[
            "payload.file_path",
            "payload.columns.path",
            "payload.columns.target_path",
            "payload.path",
            "payload.target",
        ],
        "app" => &["payload.file_bundle_id", "payload.columns.bundle_identifier"],
        "file:sha256" => &["payload.parent_sha256"],
        "signingid" => &["payload.columns.identifier"],
        "certificate:sha256" => &["payload.columns.certificate_sha256"],
        _ => &[],
    }
}

/// A word and where it leads.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    pub text: String,
    pub to: String,
}

/// A search of the last 30 days.
pub fn search(query: &str) -> String {
    format!("/events?{}", text::query(&[("q", query), ("since", SINCE)]))
}

/// Everything that an event names, each once.
pub fn of(event: &Value) -> Vec<Link> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut add = |kind: &str, name: &str| {
        // What runs as somebody on a domain or a terminal is told as `ada (501)` or `ada@console` by some agents: as it is.
        let one = (kind.to_owned(), name.to_owned());
        if !name.is_empty() && name.len() <= NAME_MAX && all.len() < LINKS_MAX && !all.contains(&one) {
            all.push(one);
        }
    };
    let objects = event.get("objects").and_then(Value::as_array).into_iter().flatten();
    for object in objects.filter_map(Value::as_str) {
        let (kind, name) = split(object);
        add(kind, name);
    }
    add("user", text::at(event, "/machine/user"));
    for (kind, at) in NAMED {
        match event.pointer(at) {
            Some(Value::String(name)) => add(kind, name),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).for_each(|name| add(kind, name)),
            _ => {}
        }
    }
    let link = |(kind, name): (String, String)| Link {
        text: text::short(&told(&kind, &name)),
        to: search(&query(&kind, &name)),
    };
    all.into_iter().map(link).collect()
}

/// `kind:name`, where the kind of a digest has two words.
fn split(object: &str) -> (&str, &str) {
    let Some((kind, name)) = object.split_once(':') else { return ("", object) };
    match name.split_once(':') {
        Some((digest, _)) if matches!(digest, "sha256" | "sha1" | "cdhash") => {
            let at = kind.len() + 1 + digest.len();
            (object.get(..at).unwrap_or(kind), object.get(at + 1..).unwrap_or(name))
        }
        _ => (kind, name),
    }
}

fn told(kind: &str, name: &str) -> String {
    if kind.is_empty() { name.to_owned() } else { format!("{kind}:{name}") }
}

/// Finds everything about it.
fn query(kind: &str, name: &str) -> String {
    let object = Some(text::is("objects", &told(kind, name))).filter(|_| kind != "path");
    let others = fields(kind).iter().map(|field| text::is(field, name));
    object.into_iter().chain(others).collect::<Vec<_>>().join(" OR ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn links(event: &Value) -> Vec<(String, String)> {
        let query = |to: &str| {
            let words = to.strip_prefix("/events?").unwrap_or_default();
            let all = form_urlencoded::parse(words.as_bytes());
            all.into_owned().find(|(key, _)| key == "q").map(|(_, value)| value).unwrap_or_default()
        };
        of(event).into_iter().map(|link| (link.text, query(&link.to))).collect()
    }

    #[test]
    fn each_thing_once() {
        let digest = "9f86d081884c7d65".repeat(4);
        let event = json!({
            "objects": [format!("file:sha256:{digest}"), "team:EQHXZ8M8AV", "user:ada", "odd"],
            "machine": {"user": "ada"},
            "payload": {"file_path": "/Applications/A b.app", "logged_in_users": ["ada", "bob", 7], "file_bundle_id": "org.a"}});
        let user = |name: &str| {
            format!(
                r#"objects:"user:{name}" OR machine.user:"{name}" OR payload.logged_in_users:"{name}" OR payload.decorations.username:"{name}""#
            )
        };
        let found = links(&event);
        let texts: Vec<&str> = found.iter().map(|(text, _)| text.as_str()).collect();
        let file = format!("file:sha256:{digest}");
        assert_eq!(
            texts,
            [&file, "team:EQHXZ8M8AV", "user:ada", "odd", "user:bob", "path:/Applications/A b.app", "app:org.a"]
        );
        let queries: Vec<&str> = found.iter().map(|(_, query)| query.as_str()).collect();
        assert_eq!(
            queries.get(1..5),
            Some(&[r#"objects:"team:EQHXZ8M8AV""#, &user("ada"), r#"objects:"odd""#, &user("bob")][..])
        );
        assert!(
            queries.get(5).is_some_and(|query| query.starts_with(r#"payload.file_path:"/Applications/A b.app" OR "#))
        );
    }

    #[test]
    fn hostile_names_are_quoted_and_bounded() {
        for name in ["a\" OR type:* OR \"", "\\", "*", "a\\\" )", "\u{202e}x", "a\nb", "'<script>"] {
            let found = links(&json!({"machine": {"user": name}}));
            let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
            assert!(
                found.iter().all(|(_, query)| query.contains(&format!("machine.user:\"{quoted}\" OR"))),
                "{found:?}"
            );
            assert_eq!(found.len(), 1);
        }
        let many: Vec<String> = (0..500).map(|n| format!("user:u{n}")).collect();
        assert_eq!(of(&json!({"objects": many})).len(), LINKS_MAX);
        assert_eq!(of(&json!({"objects": ["x".repeat(NAME_MAX + 1)], "payload": {"path": {"a": 1}}})), []);
        let longest = of(&json!({"payload": {"file_path": "\"".repeat(NAME_MAX)}}));
        assert!(
            longest.iter().all(|link| query("path", &"\"".repeat(NAME_MAX)).len() < 8 << 10 && !link.to.is_empty())
        );
    }
}

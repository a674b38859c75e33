//! What an imported probe asks of an event, and how jq says it.
//!
//! Conditions are written as plainly as their meaning allows (`.type == "x" and .payload.action == "added"`): the
//! engine can index those, and people can read them.

use serde_json::Value as Json;

/// The helper of [`Cond::Within`].
const EACH: &str = "# The values, through lists.\ndef each: if type == \"array\" then .[] | each else . end;\n";
/// Words that jq 1.6 does not take after a dot.
const RESERVED: [&str; 17] = [
    "and", "as", "catch", "def", "elif", "else", "end", "foreach", "if", "import", "include", "label", "module", "or",
    "reduce", "then", "try",
];

/// The way to a value of an event: keys.
pub type Path = Vec<String>;

/// A condition on an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Cond {
    /// The value is one of these.
    Is(Path, Vec<Json>),
    /// The value is none of these, or not there.
    IsNot(Path, Vec<Json>),
    /// Among the values that the path leads to, through lists, is one of these.
    Within(Path, Vec<Json>),
    /// Among them is none of these.
    Without(Path, Vec<Json>),
    /// The value is a list that holds all of these.
    Holds(Path, Vec<Json>),
    /// A snapshot has rows.
    Rows,
    /// All of them; of none: always.
    All(Vec<Cond>),
    /// Any of them; of none: never.
    Any(Vec<Cond>),
}

/// `path("payload", "columns.x")`
pub fn path(root: &str, dotted: &str) -> Path {
    std::iter::once(root).chain(dotted.split('.')).map(str::to_owned).collect()
}

impl Cond {
    /// `.type == "…"`
    pub fn event_type(name: &str) -> Self {
        Self::Is(vec!["type".into()], vec![name.into()])
    }

    /// `.payload.action == "…"`
    pub fn action(name: &str) -> Self {
        Self::Is(path("payload", "action"), vec![name.into()])
    }

    /// All of two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let list = |cond| match cond {
            Self::All(list) => list,
            one => vec![one],
        };
        let mut all = list(self);
        all.extend(list(other));
        match all.len() {
            1 => all.remove(0),
            _ => Self::All(all),
        }
    }

    /// Whether it holds for every event.
    pub fn is_always(&self) -> bool {
        *self == Self::All(Vec::new())
    }

    /// The program.
    pub fn program(&self) -> String {
        let text = match self {
            Self::All(list) if list.len() > 1 => list.iter().map(Self::part).collect::<Vec<_>>().join("\nand "),
            other => other.jq(),
        };
        format!("{}{text}\n", if self.needs_each() { EACH } else { "" })
    }

    fn needs_each(&self) -> bool {
        match self {
            Self::Within(..) | Self::Without(..) => true,
            Self::All(list) | Self::Any(list) => list.iter().any(Self::needs_each),
            _ => false,
        }
    }

    /// As a part of a longer condition.
    fn part(&self) -> String {
        match self {
            Self::All(list) | Self::Any(list) if list.len() > 1 => format!("({})", self.jq()),
            _ => self.jq(),
        }
    }

    fn jq(&self) -> String {
        let join = |list: &[Self], word: &str| list.iter().map(Self::part).collect::<Vec<_>>().join(word);
        match self {
            Self::Is(path, values) => match values.as_slice() {
                [one] => format!("{} == {one}", access(path)),
                _ => format!("({} | IN({}))", access(path), commas(values)),
            },
            Self::IsNot(path, values) => match values.as_slice() {
                [one] => format!("{} != {one}", access(path)),
                _ => format!("({} | IN({}) | not)", access(path), commas(values)),
            },
            Self::Within(path, values) => format!("any({}; IN({}))", through(path), commas(values)),
            Self::Without(path, values) => format!("(any({}; IN({})) | not)", through(path), commas(values)),
            Self::Holds(path, values) => {
                format!("({} | type == \"array\" and ([{}] - . == []))", access(path), commas(values))
            }
            Self::Rows => ".payload.snapshot != []".into(),
            Self::All(list) if list.is_empty() => "true".into(),
            Self::Any(list) if list.is_empty() => "false".into(),
            Self::All(list) => join(list, " and "),
            Self::Any(list) => join(list, " or "),
        }
    }
}

fn commas(values: &[Json]) -> String {
    values.iter().map(Json::to_string).collect::<Vec<_>>().join(", ")
}

fn step(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts && key.chars().all(plain) && !RESERVED.contains(&key) {
        format!(".{key}")
    } else {
        // JSON's strings are jq's as well: a `\` is doubled, so nothing in one is taken for an interpolation.
        format!("[{}]", Json::from(key))
    }
}

/// `.payload.columns["a b"]`
fn access(path: &[String]) -> String {
    path.iter().map(|key| step(key)).collect()
}

/// `.payload.signing_chain | each | objects | .sha256 | each`
fn through(path: &[String]) -> String {
    let Some((root, keys)) = path.split_first() else { return ".".into() };
    let Some((key, rest)) = keys.split_first() else { return format!("{} | each", step(root)) };
    let mut text = format!("{}{} | each", step(root), step(key));
    for key in rest {
        let dot = if step(key).starts_with('[') { "." } else { "" };
        text.push_str(&format!(" | objects | {dot}{} | each", step(key)));
    }
    text
}

/// The JSON values whose text, as Zentral writes it, is this: `"True"` is said of true, `"42"` of 42.
pub fn alike(text: &str) -> Vec<Json> {
    let mut values = vec![Json::from(text)];
    match text {
        "True" => values.push(true.into()),
        "False" => values.push(false.into()),
        // Longer numbers are not the same in every program.
        _ if text.len() <= 15 => {
            let number: Option<serde_json::Number> = serde_json::from_str(text).ok();
            values.extend(number.filter(|n| n.to_string() == text).map(Json::Number));
        }
        _ => {}
    }
    values
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn how_jq_says_it() {
        let list = |json: Json| json.as_array().cloned().unwrap_or_default();
        let is = |path: Path, values| Cond::Is(path, list(values));
        let p = |dotted| path("payload", dotted);
        for (cond, want) in [
            (Cond::event_type("a\"\\(x)"), r#".type == "a\"\\(x)""#),
            (is(p("columns.x y"), json!(["1", 1])), r#"(.payload.columns["x y"] | IN("1", 1))"#),
            (is(p("and.1"), json!([null])), r#".payload["and"]["1"] == null"#),
            (Cond::IsNot(p("a"), list(json!(["x"]))), r#".payload.a != "x""#),
            (
                Cond::Holds(vec!["tags".into()], list(json!(["a"]))),
                r#"(.tags | type == "array" and (["a"] - . == []))"#,
            ),
            (Cond::All(vec![]), "true"),
            (
                Cond::Any(vec![is(p("a"), json!([1])), is(p("b"), json!([2])).and(is(p("c"), json!([3])))]),
                ".payload.a == 1 or (.payload.b == 2 and .payload.c == 3)",
            ),
            (
                is(p("a"), json!([1])).and(Cond::Any(vec![is(p("b"), json!([2])), Cond::Rows])),
                ".payload.a == 1\nand (.payload.b == 2 or .payload.snapshot != [])",
            ),
        ] {
            assert_eq!(cond.program().trim_end(), want);
        }
        let within = Cond::Within(p("chain.sha 1"), list(json!(["x"]))).program();
        assert!(
            within.ends_with("\nany(.payload.chain | each | objects | .[\"sha 1\"] | each; IN(\"x\"))\n"),
            "{within}"
        );
        assert!(within.contains("def each"));
    }

    #[test]
    fn texts_of_values() {
        for (text, want) in [
            ("True", json!(["True", true])),
            ("true", json!(["true"])),
            ("42", json!(["42", 42])),
            ("-1.5", json!(["-1.5", -1.5])),
            ("042", json!(["042"])),
            ("1e3", json!(["1e3"])),
            ("12345678901234567890", json!(["12345678901234567890"])),
        ] {
            assert_eq!(json!(alike(text)), want);
        }
    }
}

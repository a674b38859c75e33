//! Why a part of a filter says nothing about the events that it matches, and how to write it so that it does.
//!
//! Every rewriting that is advised is an example that a test holds against the analysis: the filter as it was is asked at
//! every event, the other is not.

/// What a part of a filter does that the analysis does not look through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No part is to blame: nothing that is asked has to be in an event.
    NoKey,
    /// It is longer than what is read of a filter.
    Long,
    /// A path has too many keys, or the set too many paths.
    Paths,
    /// A function calls itself, or many others.
    Recursion,
    /// A function makes a value that is not followed.
    Function,
    /// An operator does.
    Operator,
    /// A condition is not given a constant.
    Argument,
    /// A text with values in it.
    Text,
    /// A list that is built.
    List,
    /// A value of the event is changed.
    Change,
    /// `..`
    Everywhere,
    /// `reduce` or `foreach`.
    Fold,
    /// An element by its number.
    Number,
    /// A key that is not written out.
    Key,
    /// A part that is cut out of a text or list.
    Slice,
    /// `[]` of something that is no plain path.
    Each,
    /// A key of something that is no plain path.
    KeyOf,
    /// `as {…}` or `as [$x]`.
    Pattern,
    /// A value or, in its place, something that is made.
    Choice,
    /// Several values, or a long description of one, that are not carried on.
    Values,
    /// Imported data with objects in it.
    Data,
}

/// A way to write it, by example; `…` is the filter as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewriting {
    /// What to do, a lower-case fragment.
    pub(crate) what: &'static str,
    /// As it was; empty where no short example shows it.
    pub(crate) before: &'static str,
    /// As it is found in the index.
    pub(crate) after: &'static str,
}

const fn rewriting(what: &'static str, before: &'static str, after: &'static str) -> Rewriting {
    Rewriting { what, before, after }
}

impl Reason {
    /// What is wrong; `word` is the function or operator, or nothing.
    pub(crate) fn why(self, word: &str) -> String {
        let quoted = |or: &str| if word.is_empty() { or.to_owned() } else { format!("`{word}`") };
        match self {
            Self::NoKey => "no condition names a value that an event must have".into(),
            Self::Long => "it is longer than what is read of a filter".into(),
            Self::Paths => "it asks for more keys than are followed (32 in a path, 65,536 paths in all)".into(),
            Self::Recursion => format!("{} calls itself, or many others", quoted("a function")),
            Self::Function | Self::Operator => format!("{} makes a value that is not followed", quoted("it")),
            Self::Argument => format!("{} is given something that is no constant text", quoted("a condition")),
            Self::Text => "a text is put together here".into(),
            Self::List => "a list is built here".into(),
            Self::Change => format!("{} changes a value before it is asked about", quoted("an assignment")),
            Self::Everywhere => "`..` looks everywhere".into(),
            Self::Fold => format!("{} goes through values step by step", quoted("it")),
            Self::Number => "an element is taken by its number".into(),
            Self::Key => "a key is calculated".into(),
            Self::Slice => "a part is cut out".into(),
            Self::Each => "`[]` goes through something that is no plain path, or too deep".into(),
            Self::KeyOf => "a key is taken of something that is no plain path".into(),
            Self::Pattern => "values are taken apart by a pattern".into(),
            Self::Choice => "a value is handed on that may be one made here".into(),
            Self::Values => "what is handed on from here is not followed".into(),
            Self::Data => "the imported data has objects in it".into(),
        }
    }

    /// How to write it; `word` as in [`Reason::why`].
    pub(crate) fn rewriting(self, word: &str) -> Rewriting {
        match self {
            Self::NoKey => rewriting(
                "begin with one",
                r#"select(.payload.columns.path != "/bin/sh") | {size: (.payload.columns.size | tonumber | sqrt)}"#,
                FIRST,
            ),
            Self::Long | Self::Paths => rewriting(BEGIN, "", FIRST),
            Self::Recursion => rewriting(BEGIN, r#"def f: .name == "x" or (.in | f); .payload | f"#, FIRST),
            Self::Function => function(word),
            Self::Operator => {
                rewriting("ask about the values themselves", ".payload.counter + 1 > 3", ".payload.counter > 2")
            }
            Self::Argument => argument(word),
            Self::Text => rewriting(
                "ask about its parts",
                r#""\(.payload.name)/\(.payload.action)" == "usb_devices/added""#,
                r#".payload.name == "usb_devices" and .payload.action == "added""#,
            ),
            Self::List => rewriting(
                "ask about the elements where they are",
                r#"[.payload.snapshot[] | .name == "sshd"] | any"#,
                r#"any(.payload.snapshot[]; .name == "sshd")"#,
            ),
            Self::Change => rewriting(
                "ask about the value without changing the event",
                r#"(.payload.name |= ascii_downcase) | .payload.name == "usb""#,
                r#"(.payload.name | ascii_downcase) == "usb""#,
            ),
            Self::Everywhere => {
                rewriting("name the place", r#"any(..; . == "C-Media")"#, r#"any(.payload.columns[]; . == "C-Media")"#)
            }
            Self::Fold => rewriting(
                "where one element decides, ask with `any`",
                r#"reduce .payload.snapshot[] as $row (false; . or $row.name == "sshd")"#,
                r#"any(.payload.snapshot[]; .name == "sshd")"#,
            ),
            Self::Number => rewriting(
                "ask all elements first",
                r#".payload.snapshot[0].name == "sshd""#,
                r#"any(.payload.snapshot[]; .name == "sshd") and (…)"#,
            ),
            Self::Key => rewriting(
                "write the key",
                r#".payload.columns[.payload.name] == "1""#,
                r#".payload.columns.enabled == "1""#,
            ),
            Self::Slice => rewriting(
                "ask with `startswith` or `endswith`",
                r#".payload.columns.path[0:5] == "/tmp/""#,
                r#".payload.columns.path | startswith("/tmp/")"#,
            ),
            Self::Each => rewriting(
                "go through a list of the event",
                r#"(.payload.snapshot // [])[] | .name == "sshd""#,
                r#".payload.snapshot[]? | .name == "sshd""#,
            ),
            Self::KeyOf => rewriting(
                "write the whole path",
                r#"(.payload.columns // .payload.decorations).username == "root""#,
                r#"(.payload.columns.username // .payload.decorations.username) == "root""#,
            ),
            Self::Choice => rewriting(
                "leave it out (a key of null is null)",
                r#"(.machine // {}).platform == "macos""#,
                r#".machine.platform == "macos""#,
            ),
            Self::Pattern => rewriting(
                "name the value by its path",
                r#". as {type: $type} | $type == "osquery_result""#,
                r#".type as $type | $type == "osquery_result""#,
            ),
            Self::Values => rewriting(
                "ask each of them where it is",
                r#"(.payload.snapshot[])? | .name == "sshd""#,
                r#".payload.snapshot[]? | .name == "sshd""#,
            ),
            Self::Data => rewriting(
                "import a list of texts",
                r#"import "people" as $people; .payload.name == $people[][].name"#,
                r#"import "names" as $names; .payload.name | IN($names[][])"#,
            ),
        }
    }
}

/// What always helps.
const BEGIN: &str = "begin with a condition on a value";
const FIRST: &str = r#".type == "osquery_result" and (…)"#;

/// Functions whose work is better asked another way.
fn function(word: &str) -> Rewriting {
    match word {
        "match" | "capture" | "scan" => rewriting(
            "ask with `test` first",
            r#".payload.columns.path | capture("^/tmp/(?<name>.+)$") | .name == "x""#,
            r#"(.payload.columns.path | test("^/tmp/")) and (…)"#,
        ),
        "split" | "splits" | "ltrimstr" | "rtrimstr" | "trimstr" | "trim" | "ltrim" | "rtrim" | "explode" => rewriting(
            "ask about the text as it is, with `startswith`, `endswith` or `test`",
            r#"(.payload.columns.path | ltrimstr("/tmp/")) == "x""#,
            r#".payload.columns.path | IN("x", "/tmp/x")"#,
        ),
        "keys" | "keys_unsorted" | "to_entries" => rewriting(
            "ask with `has`",
            r#".payload.columns | keys | any(. == "path")"#,
            r#".payload.columns | has("path")"#,
        ),
        "map" => rewriting(
            "ask about the elements where they are",
            r#".payload.snapshot | map(.name == "sshd") | any"#,
            r#"any(.payload.snapshot[]; .name == "sshd")"#,
        ),
        "getpath" => {
            rewriting("write the path", r#"getpath(["payload", "name"]) == "usb""#, r#".payload.name == "usb""#)
        }
        "tojson" => rewriting(
            "name the place",
            r#".payload | tojson | contains("C-Media")"#,
            r#"any(.payload.columns[]; contains("C-Media"))"#,
        ),
        _ => rewriting(BEGIN, "(.payload.columns.size | tonumber | sqrt) > 3", FIRST),
    }
}

/// Conditions that want a constant.
fn argument(word: &str) -> Rewriting {
    match word {
        "contains" | "inside" => rewriting(
            "ask about each value by its path",
            r#".payload | contains({name: "usb"})"#,
            r#".payload.name | contains("usb")"#,
        ),
        "test" => rewriting(
            "write the pattern out",
            ".payload.columns.path | test(.payload.columns.pattern)",
            r#".payload.columns.path | test("^/tmp/")"#,
        ),
        "has" | "in" => {
            rewriting("write the key out", ".payload.columns | has(.payload.name)", r#".payload.columns | has("path")"#)
        }
        _ => rewriting(
            "write the text out; of many, write one `test`",
            ".payload.columns.path | startswith(.payload.columns.directory)",
            r#".payload.columns.path | test("^(/tmp/|/var/tmp/)")"#,
        ),
    }
}

//! Presets: an HTTP action as a data file. Those that ship lie in `presets/`; a user's own lies in `actions/` beside
//! `pipeline.toml`, and wins. What each key means stands in `docs/actions/http.md`.

pub mod keys;

use std::collections::BTreeMap;
use std::path::PathBuf;

use pipe::config::{Finding, SourceFile, is_name};
use serde::Deserialize;

use crate::actions::Texts;
use keys::Key;

/// Presets that ship, by name.
const SHIPPED: &[(&str, &str)] = &[
    // presets: begin
    ("google-chat", include_str!("../presets/google-chat.toml")),
    ("ntfy", include_str!("../presets/ntfy.toml")),
    ("pagerduty", include_str!("../presets/pagerduty.toml")),
    ("pagerduty-change", include_str!("../presets/pagerduty-change.toml")),
    ("pushover", include_str!("../presets/pushover.toml")),
    ("slack", include_str!("../presets/slack.toml")),
    ("slack-bot", include_str!("../presets/slack-bot.toml")),
    ("teams", include_str!("../presets/teams.toml")),
    // presets: end
];

/// What a request may be. `GET` and `DELETE` carry no body unless one is made.
pub const METHODS: [&str; 5] = ["POST", "PUT", "PATCH", "DELETE", "GET"];

/// One preset. What the action's own table says goes before it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Preset {
    /// Where to, if it is the same for everybody.
    pub url: Option<String>,
    /// How often the service may be called: `"1/s"`.
    pub rate: Option<String>,
    /// The channel of contacts that it goes to: the action then has the key `to`.
    pub to: Option<Channel>,
    /// The body is an object of strings and goes as a form.
    pub form: bool,
    /// Name and password of a Basic login, each with `{key}` in it.
    pub basic: Option<[String; 2]>,
    /// Headers, with `{key}` in them. Those with a key that was not given are left out.
    pub headers: BTreeMap<String, String>,
    /// See [`Step`].
    pub method: Option<String>,
    /// See [`Step`].
    pub path: Option<String>,
    /// See [`Step`].
    pub query: Option<String>,
    /// See [`Step`].
    pub body: Option<String>,
    /// See [`Step`].
    pub ok: Option<String>,
    /// See [`Step`].
    pub later: Option<String>,
    /// See [`Step`].
    pub after: Option<String>,
    /// See [`Step`].
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The action's own keys, by name.
    pub keys: BTreeMap<String, Key>,
    /// The longest texts that the service takes, by key of the body; `a.b` is `b` inside `a`.
    pub limits: BTreeMap<String, Limit>,
    /// What differs when an incident has changed; none: nothing does.
    pub changed: Option<Step>,
    /// What differs when an incident is closed; none: nothing does.
    pub closed: Option<Step>,
    /// Tries the credentials and tells nobody; none: there is no such way.
    pub online: Option<Step>,
}

/// One request and what is made of its answer; programs of jq. The first three see what a body sees, the others
/// {status, headers, body, set, url?}.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// One of [`METHODS`].
    pub method: Option<String>,
    /// Gives the segments that go after the path of the URL.
    pub path: Option<String>,
    /// Gives an object of strings: the query.
    pub query: Option<String>,
    /// Gives the body.
    pub body: Option<String>,
    /// It is done.
    pub ok: Option<String>,
    /// Not now.
    pub later: Option<String>,
    /// Seconds to wait, or null.
    pub after: Option<String>,
    /// What is kept for the incident: {id, link?}.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
}

/// One of the ways to reach a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// Its mail address.
    Email,
    /// Its telephone number.
    Phone,
    /// Its key at a push service.
    Push,
}

/// How long a text may be: so many characters, or `{ bytes = … }` in UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Limit {
    /// In characters.
    Chars(usize),
    /// In bytes.
    Bytes {
        /// So many.
        bytes: usize,
    },
}

impl Step {
    /// The programs with the keys they stand under.
    pub fn programs(&self) -> [(&'static str, &Option<String>); 7] {
        [
            ("path", &self.path),
            ("query", &self.query),
            ("body", &self.body),
            ("ok", &self.ok),
            ("later", &self.later),
            ("after", &self.after),
            ("ref", &self.reference),
        ]
    }
}

impl Preset {
    /// What is sent first.
    pub fn opened(&self) -> Step {
        let Self { method, path, query, body, ok, later, after, reference, .. } = self.clone();
        Step { method, path, query, body, ok, later, after, reference }
    }

    /// What is wrong with it beside the form: the key and why.
    fn fault(&self) -> Option<(String, String)> {
        let opened = self.opened();
        let steps = [("", Some(&opened)), ("changed", self.changed.as_ref()), ("closed", self.closed.as_ref())];
        for (table, step) in steps.into_iter().chain([("online", self.online.as_ref())]) {
            let Some(step) = step else { continue };
            for (key, program) in step.programs() {
                if let Some(Err(why)) = program.as_deref().map(crate::jq::check) {
                    return Some((key.to_owned(), if table.is_empty() { why } else { format!("of [{table}]: {why}") }));
                }
            }
            if let Some(method) = step.method.as_deref().filter(|m| !METHODS.contains(m)) {
                return Some(("method".into(), format!("`{method}` is none of {}", METHODS.join(", "))));
            }
        }
        if let Some(rate) = self.rate.as_deref().filter(|rate| crate::conf::parse_rate(rate).is_none()) {
            return Some(("rate".into(), format!("`{rate}` is no rate")));
        }
        if let Some(found) = keys::fault(&self.keys, self.to.is_some()) {
            return Some(found);
        }
        let templates =
            self.headers.iter().map(|(k, v)| (k.as_str(), v)).chain(self.basic.iter().flatten().map(|v| ("basic", v)));
        for (place, text) in templates {
            if let Some(name) = keys::named(text).find(|name| !self.keys.contains_key(*name)) {
                return Some((place.to_owned(), format!("`{{{name}}}` is no key of [keys]")));
            }
        }
        None
    }
}

/// Names of the presets that ship.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// The preset of this name: the user's own, else the one that ships; `None` if there is neither.
pub fn find(name: &str, base: &std::path::Path, texts: &Texts) -> Result<Option<Preset>, Finding> {
    if !is_name(name) {
        return Ok(None);
    }
    let path = base.join("actions").join(format!("{name}.toml"));
    match texts(&path) {
        Ok(Some(text)) => parse(path, text).map(Some),
        Ok(None) => match SHIPPED.iter().find(|(n, _)| *n == name) {
            Some((_, text)) => parse(PathBuf::from(format!("presets/{name}.toml")), (*text).to_owned()).map(Some),
            None => Ok(None),
        },
        Err(why) => Err(Finding::file(path, why)),
    }
}

fn parse(path: PathBuf, text: String) -> Result<Preset, Finding> {
    let file = SourceFile { path, text };
    let preset: Preset = toml::from_str(&file.text)
        .map_err(|e| Finding::at(&file, e.span().unwrap_or(0..0), "", e.message().replace('\n', ", ")))?;
    match preset.fault() {
        None => Ok(preset),
        Some((key, why)) => {
            let at = file.text.find(&format!("{key} =")).or_else(|| file.text.find(&key)).unwrap_or(0);
            let end = (at + key.len()).min(file.text.len());
            Err(Finding::at(&file, at..end, key, why))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;

    fn texts(text: Option<&str>) -> Texts {
        let text = text.map(str::to_owned);
        Arc::new(move |path: &Path| Ok(text.clone().filter(|_| path.ends_with("actions/slack.toml"))))
    }

    #[test]
    fn what_ships_is_sound_and_a_users_own_wins() {
        for name in names() {
            assert!(find(name, Path::new("."), &texts(None)).unwrap().is_some(), "{name}");
        }
        let own = find("slack", Path::new("x"), &texts(Some("url = \"https://s\""))).unwrap().unwrap();
        assert_eq!((own.url.as_deref(), own.body), (Some("https://s"), None));
        assert!(find("../x", Path::new("."), &texts(None)).unwrap().is_none());
        assert!(find("nobody", Path::new("."), &texts(None)).unwrap().is_none());
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, part) in [
            ("boddy = 1", "boddy"),
            ("url = [", "slack.toml:1"),
            ("body = '.a | ('", "slack.toml:1"),
            ("[closed]\npath = '('", "of [closed]"),
            ("[closed]\nform = true", "form"),
            ("method = \"BREW\"", "`BREW` is none of"),
            ("rate = \"often\"", "`often` is no rate"),
            ("to = \"pigeon\"", "pigeon"),
            ("headers = { A = \"Bearer {token}\" }", "`{token}` is no key"),
            ("basic = [\"{name}\", \"x\"]", "`{name}` is no key"),
            ("[keys]\nurl = { kind = \"text\" }", "`url` is a key of every action"),
            ("[keys]\nA-b = { kind = \"text\" }", "is no name of a key"),
            ("[keys]\na = { kind = \"word\" }", "word"),
            ("[keys]\na = { kind = \"int\", default = \"x\" }", "the default of `a`"),
            ("[keys]\na = { kind = \"text\", or = \"b\" }", "`b` is no key"),
        ] {
            let finding = find("slack", Path::new("x"), &texts(Some(text))).unwrap_err().to_string();
            assert!(finding.contains(part), "{text}: {finding}");
        }
    }

    /// Of the folder every file is in the list.
    #[test]
    fn the_list_is_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        files.sort();
        assert_eq!(names().collect::<Vec<_>>(), files);
    }
}

//! Presets: an HTTP action as a data file. Those that ship lie in `presets/`; a user's own lies in `actions/` beside
//! `pipeline.toml`, and wins.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pipe::config::{Finding, SourceFile, is_name};
use serde::Deserialize;

use crate::actions::Texts;

/// Presets that ship, by name.
const SHIPPED: &[(&str, &str)] = &[("slack", include_str!("../presets/slack.toml"))];

/// One preset. What the action's own table says goes before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Preset {
    /// Where to, if it is the same for everybody.
    pub url: Option<String>,
    /// `POST`, `PUT` or `PATCH`.
    pub method: Option<String>,
    /// Headers that hold no secret.
    pub headers: BTreeMap<String, String>,
    /// jq on {event, probe, action, url}, giving the body.
    pub body: Option<String>,
    /// jq on {status, headers, body}: it is done.
    pub ok: Option<String>,
    /// jq on {status, headers, body}: not now.
    pub later: Option<String>,
    /// The longest strings that the service takes, in characters, by key of the body.
    pub limits: BTreeMap<String, usize>,
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
    for (key, program) in [("body", &preset.body), ("ok", &preset.ok), ("later", &preset.later)] {
        if let Some(Err(why)) = program.as_deref().map(crate::jq::check) {
            let at = file.text.find(&format!("{key} =")).unwrap_or(0);
            return Err(Finding::at(&file, at..at + key.len(), key, why));
        }
    }
    Ok(preset)
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
        for (text, part) in [("boddy = 1", "boddy"), ("url = [", "slack.toml:1"), ("body = '.a | ('", "slack.toml:1")] {
            let finding = find("slack", Path::new("x"), &texts(Some(text))).unwrap_err().to_string();
            assert!(finding.contains(part), "{finding}");
        }
    }
}

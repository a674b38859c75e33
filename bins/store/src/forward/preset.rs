//! What is known of a service: a data file each, and the keys of the table that win over it.

use std::collections::BTreeMap;

use pipe::config::{Secret, Settings, parse_size};
use probe::{NoModules, Program};
use serde::Deserialize;

use super::To;

/// The services, by the word in `preset = "…"`.
const PRESETS: [(&str, &str); 4] = [
    ("datadog", include_str!("../../presets/datadog.toml")),
    ("loki", include_str!("../../presets/loki.toml")),
    ("splunk-hec", include_str!("../../presets/splunk-hec.toml")),
    ("sumo-logic", include_str!("../../presets/sumo-logic.toml")),
];

/// Without a preset: events as lines, and the usual words of HTTP.
const BARE: &str = r#"
body  = '.events[]'
ok    = '.status >= 200 and .status < 300'
bytes = "1 MiB"
lines = 1000
"#;
/// Bytes of a body, at most: its events are read as one text, which may be no longer than a line.
const BYTES_MAX: u64 = event::LINE_MAX as u64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Preset {
    #[serde(default)]
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    token: bool,
    body: String,
    ok: String,
    later: Option<String>,
    bytes: String,
    lines: usize,
}

/// Reads the keys of a store that sends on; what is wrong is said through the settings.
pub fn read(settings: &mut Settings) -> Option<To> {
    let words: Vec<&'static str> = PRESETS.iter().map(|(name, _)| *name).collect();
    let name = match settings.has("preset") {
        true => Some(settings.word("preset", &words)?),
        false => None,
    };
    let text = PRESETS.iter().find(|(word, _)| Some(*word) == name).map_or(BARE, |(_, text)| text);
    let preset: Preset = toml::from_str(text).map_err(|e| settings.fail("preset", e.to_string())).ok()?;
    let url = match settings.has("url") {
        true => settings.secret("url"),
        false => {
            settings.required_str("url");
            None
        }
    };
    if let Some(Secret::Literal(text)) = &url
        && let Err(why) = remote::address(text)
    {
        settings.fail("url", why);
    }
    let token = settings.secret("token");
    if preset.token && token.is_none() {
        settings.fail("token", "this preset needs a token");
    }
    let mut headers: Vec<(String, Secret)> =
        preset.headers.into_iter().map(|(name, text)| (name, Secret::Literal(text))).collect();
    headers.extend(settings.secrets("headers"));
    let bytes = settings.size("bytes").or_else(|| parse_size(&preset.bytes)).unwrap_or(1 << 20);
    if !(1024..=BYTES_MAX).contains(&bytes) {
        settings.fail("bytes", "from 1 KiB to 4 MiB, the length of a line");
    }
    let lines = settings.int("lines").map_or(Some(preset.lines), |n| usize::try_from(n).ok());
    let lines = lines.filter(|n| (1..=100_000).contains(n));
    if lines.is_none() {
        settings.fail("lines", "a number from 1 to 100000");
    }
    let gzip = settings.bool("gzip").unwrap_or(true);
    let mut program = |key: &str, of_preset: Option<String>| -> Option<Program> {
        let source = settings.str(key).or(of_preset)?;
        let compiled = probe::compile(&source, key, &NoModules);
        compiled.map_err(|e| settings.fail(key, e.to_string())).ok()
    };
    let (body, ok) = (program("body", Some(preset.body)), program("ok", Some(preset.ok)));
    let later = program("later", preset.later);
    Some(To {
        url: url?,
        path: preset.path,
        headers,
        token,
        body: body?,
        ok: ok?,
        later,
        bytes: usize::try_from(bytes).ok()?,
        lines: lines?,
        gzip,
    })
}

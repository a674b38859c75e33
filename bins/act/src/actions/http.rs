//! An HTTP call: the bare kind `http`, and every preset.
//!
//! Scheme, host and the beginning of the path come from the configuration alone; what a match adds to path and query is
//! percent-encoded. Each call carries `Idempotency-Key`; redirects are not followed; of the answer no more than 64 KiB
//! are read. Secrets (the URL among them, where it is not a mere address) stand in no error, log or dry run.

mod answer;
mod before;
mod live;
pub(super) mod open;
mod request;
mod steps;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pipe::config::{Secret, Settings};
use reqwest::Url;
use reqwest::header::HeaderName;

use super::{Kind, Reading, Spec};
use crate::preset::Limit;
use crate::preset::keys::{self, Said};
use steps::Steps;

/// The kind.
pub const KIND: Kind =
    Kind { name: "http", repeatable: true, timeout: Duration::from_secs(30), changes_machines: false, read };

/// Headers that are made here and cannot be set.
const OURS: [&str; 3] = ["idempotency-key", "host", "content-length"];

/// An HTTP action as it is configured.
struct Http {
    url: Secret,
    steps: Steps,
    form: bool,
    headers: Vec<(String, Filling)>,
    basic: Option<(Filling, Filling)>,
    hmac: Option<(String, Secret)>,
    ca: Option<PathBuf>,
    /// Those of a preset.
    limits: Option<BTreeMap<String, Limit>>,
    said: Said,
}

/// A value that is known once the secrets are looked up.
enum Filling {
    /// A preset's text with `{key}` in it.
    Template(String),
    /// The action's own.
    Secret(Secret),
}

fn read(settings: &mut Settings, reading: &Reading<'_>) -> Option<Box<dyn Spec>> {
    let preset = reading.preset.clone().unwrap_or_default();
    let url = settings.secret("url").or_else(|| preset.url.clone().map(Secret::Literal));
    if url.is_none() && !settings.has("url") {
        settings.fail("", "needs the key `url`");
    }
    if let Some(Secret::Literal(text)) = &url
        && let Err(why) = parse_url(text)
    {
        settings.fail("url", why);
    }
    let template = |(name, text): (&String, &String)| (name.clone(), Filling::Template(text.clone()));
    let mut headers: Vec<(String, Filling)> = preset.headers.iter().map(template).collect();
    headers.extend(settings.secrets("headers").into_iter().map(|(name, secret)| (name, Filling::Secret(secret))));
    for (name, _) in &headers {
        if HeaderName::try_from(name.as_str()).map_or(true, |n| OURS.contains(&n.as_str())) {
            settings.fail("headers", format!("`{name}` cannot be set"));
        }
    }
    let of_preset = preset.basic.clone().map(|[user, word]| (Filling::Template(user), Filling::Template(word)));
    let hmac = two(settings, "hmac", "header", "secret").and_then(|(header, secret)| match header {
        Secret::Literal(name) if HeaderName::try_from(name.as_str()).is_ok() => Some((name, secret)),
        _ => {
            settings.fail("hmac", "`header` is no name of a header");
            None
        }
    });
    let basic = two(settings, "basic", "user", "password").map(|(u, p)| (Filling::Secret(u), Filling::Secret(p)));
    Some(Box::new(Http {
        steps: Steps::read(settings, reading, &preset),
        form: settings.bool("form").unwrap_or(preset.form),
        headers,
        basic: basic.or(of_preset),
        hmac,
        ca: settings.path("ca"),
        said: keys::read(settings, &preset, reading.config),
        limits: reading.preset.as_ref().map(|preset| preset.limits.clone()),
        url: url?,
    }))
}

/// A table of two secrets, both needed.
fn two(settings: &mut Settings, key: &str, first: &str, second: &str) -> Option<(Secret, Secret)> {
    let mut table = settings.table(key)?;
    let found = (table.secret(first), table.secret(second));
    for name in [first, second] {
        if !table.has(name) {
            table.fail("", format!("needs the key `{name}`"));
        }
    }
    settings.absorb(table);
    Some((found.0?, found.1?))
}

/// The error says nothing of the URL: it is a secret.
fn parse_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|e| format!("is no URL: {e}"))?;
    match (url.scheme(), url.host_str()) {
        ("https" | "http", Some(_)) => Ok(url),
        _ => Err("must begin with https:// or http://".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, ok) in [("https://h/p?q", true), ("http://127.0.0.1:1/", true), ("ftp://h/", false), ("h/p", false)] {
            assert_eq!(parse_url(url).is_ok(), ok, "{url}");
        }
    }
}

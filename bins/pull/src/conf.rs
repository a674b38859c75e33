//! `[source.NAME]` of the kinds that can be asked, as far as it says how.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use pipe::StageError;
use pipe::config::{Config, Finding, Secret, Settings};
use remote::address;

/// How often all machines are asked for, if nothing else is said.
const EVERY: Duration = Duration::from_secs(6 * 3600);
/// The least that may be said: a full inventory is thousands of requests.
const EVERY_MIN: Duration = Duration::from_secs(300);
/// The most.
const EVERY_MAX: Duration = Duration::from_secs(31 * 86_400);
/// Sites that may be told apart.
const UNITS_MAX: usize = 10_000;

/// How a server is asked.
#[derive(Debug, Clone)]
pub struct Conf {
    /// The name of its table.
    pub name: String,
    /// Its address, without a slash at its end.
    pub url: String,
    /// Who asks.
    pub keys: Keys,
    /// How often all machines are asked for.
    pub every: Duration,
    /// The unit of each site.
    pub units: BTreeMap<String, String>,
    /// Certificate authorities beside the well-known ones.
    pub ca: Option<PathBuf>,
}

/// What a server knows us by.
#[derive(Debug, Clone)]
pub enum Keys {
    /// An API client.
    Jamf {
        /// Its number.
        id: String,
        /// Its secret.
        secret: Secret,
    },
    /// A pair of keys.
    Sal {
        /// The one that is shown.
        public: Secret,
        /// The one that is not.
        private: Secret,
    },
    /// A key of the account.
    Watchman {
        /// That key.
        key: Secret,
    },
}

/// The kinds that can be asked, each with the key of its table that says who asks.
const KINDS: [(&str, &str); 3] =
    [(sources::jamf::NAME, "client"), (sources::sal::NAME, "keys"), (sources::watchman::NAME, "api_key")];

/// The key that says who asks a source of this kind; none: it cannot be asked.
fn asked_with(kind: &str) -> Option<&'static str> {
    KINDS.iter().find(|(name, _)| *name == kind).map(|(_, key)| *key)
}

impl Keys {
    /// Whether all secrets can be looked up. The error names a variable or a file, never a value.
    pub fn resolve(&self) -> Result<(), String> {
        match self {
            Self::Jamf { secret, .. } => secret.resolve(),
            Self::Sal { public, private } => public.resolve().and_then(|_| private.resolve()),
            Self::Watchman { key } => key.resolve(),
        }
        .map(|_| ())
    }

    fn read(kind: &str, table: &mut Settings) -> Option<Self> {
        let secret = |table: &mut Settings, key: &str| match table.has(key) {
            true => table.secret(key),
            false => table.required_str(key).map(Secret::Literal),
        };
        match kind {
            sources::watchman::NAME => Some(Self::Watchman { key: secret(table, "api_key")? }),
            sources::sal::NAME => {
                let mut keys = table.table("keys")?;
                let (public, private) = (secret(&mut keys, "public"), secret(&mut keys, "private"));
                table.absorb(keys);
                Some(Self::Sal { public: public?, private: private? })
            }
            _ => {
                let mut client = table.table("client")?;
                let (id, secret) = (client.required_str("id"), secret(&mut client, "secret"));
                table.absorb(client);
                Some(Self::Jamf { id: id?, secret: secret? })
            }
        }
    }
}

impl Conf {
    /// Of this source.
    pub fn of(config: &Config, name: &str) -> Result<Self, StageError> {
        let missing = || StageError::usage(format!("the configuration has no source `{name}`"));
        let mut table = config.sources.get(name).ok_or_else(missing)?.clone();
        let kind = config.source_kind(name);
        let Some(key) = asked_with(kind) else {
            return Err(StageError::usage(format!("`{name}` is of the kind {kind}, which nobody can be asked for")));
        };
        if !table.has(key) {
            table.fail("", format!("needs the keys `url` and `{key}`: without them there is nobody to ask"));
        }
        match (Self::read(config, &mut table), findings(kind, table)) {
            (Some(conf), found) if found.is_empty() => Ok(conf),
            (_, found) => Err(crate::wrong(&found)),
        }
    }

    /// None: it is not asked, or something is wrong.
    fn read(config: &Config, table: &mut Settings) -> Option<Self> {
        let every = table.duration("every");
        if every.is_some_and(|every| !(EVERY_MIN..=EVERY_MAX).contains(&every)) {
            table.fail("every", "a time from 5m to 31d");
        }
        let units = units(config, table);
        let ca = table.path("ca");
        let url = table.str("url").and_then(|text| match address(&text) {
            Ok(url) => Some(url),
            Err(why) => {
                table.fail("url", why);
                None
            }
        });
        let _ = table.str("kind");
        let (kind, name) = (config.source_kind(table.name()).to_owned(), table.name().to_owned());
        let keys = Keys::read(&kind, table);
        if !table.has("url") && asked_with(&kind).is_some_and(|key| table.has(key)) {
            let _ = table.required_str("url");
        }
        let every = every.unwrap_or(EVERY);
        Some(Self { name, url: url?, keys: keys?, every, units, ca })
    }
}

/// `units = { "Berlin HQ" = "berlin" }`.
fn units(config: &Config, table: &mut Settings) -> BTreeMap<String, String> {
    let mut units = BTreeMap::new();
    let Some(mut named) = table.table("units") else { return units };
    for site in named.keys() {
        let Some(unit) = named.str(&site) else { continue };
        if !config.units.contains_key(&unit) {
            named.fail(&site, format!("the configuration has no unit `{unit}`"));
        }
        units.insert(site, unit);
    }
    if units.len() > UNITS_MAX {
        named.fail("", format!("more than {UNITS_MAX} sites"));
    }
    table.absorb(named);
    units
}

/// Unknown keys of a Jamf server are the other reader's to tell: `receive` reads that table, too.
fn findings(kind: &str, table: Settings) -> Vec<Finding> {
    let mut found = table.finish();
    let theirs = |found: &Finding| found.text.starts_with("unknown key") && found.key.matches('.').count() == 2;
    found.retain(|finding| kind != sources::jamf::NAME || !theirs(finding));
    found
}

/// What is wrong with all such tables.
pub fn check(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, settings) in &config.sources {
        let (kind, mut table) = (config.source_kind(name), settings.clone());
        let Some(key) = asked_with(kind) else { continue };
        if !table.has(key) && kind != sources::jamf::NAME {
            table.fail("", format!("needs the keys `url` and `{key}`: nothing but asking is known of {kind}"));
        }
        let _ = Conf::read(config, &mut table);
        found.extend(findings(kind, table));
    }
    for stage in &config.stages {
        let Some(name) = stage.source.as_ref().filter(|name| config.sources.contains_key(*name)) else { continue };
        let key = asked_with(config.source_kind(name));
        if !key.is_some_and(|key| config.sources.get(name).is_some_and(|table| table.has(key))) {
            let mut table = stage.settings.clone();
            table.fail("run", format!("`{name}` cannot be asked: its table does not say whom, and who asks"));
            found.extend(table.finish().into_iter().filter(|f| !f.text.starts_with("unknown key")));
        }
    }
    found
}

/// Which secrets cannot be looked up here.
pub fn check_secrets(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    for stage in config.stages.iter().filter(|stage| stage.source.is_some()) {
        let Some(settings) = stage.source.as_ref().and_then(|name| config.sources.get(name)) else { continue };
        let Some(conf) = Conf::read(config, &mut settings.clone()) else { continue };
        if let Err(why) = conf.keys.resolve() {
            let mut table = settings.clone();
            table.fail(asked_with(config.source_kind(&conf.name)).unwrap_or_default(), why);
            found.extend(table.finish().into_iter().filter(|f| !f.text.starts_with("unknown key")));
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Conf, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.toml");
        std::fs::write(&path, format!("version = 1\n[unit.berlin]\n[source.j]\nkind = \"jamf\"\n{text}")).unwrap();
        Conf::of(&Config::load(&path, None).unwrap().0, "j").map_err(|e| e.text)
    }

    #[test]
    fn a_table_says_how_a_server_is_asked() {
        let client = "client = { id = \"6b1c\", secret = \"s3cret-of-the-client\" }\n";
        let conf = read(&format!(
            "url = \"https://jss.example.com/\"\n{client}every = \"2h\"\nunits = {{ \"Berlin HQ\" = \"berlin\" }}\nwebhook = {{}}\n"
        ))
        .unwrap();
        assert_eq!((conf.url.as_str(), conf.every.as_secs()), ("https://jss.example.com", 7200));
        assert_eq!(conf.units, BTreeMap::from([("Berlin HQ".to_owned(), "berlin".to_owned())]));
        assert!(!format!("{conf:?}").contains("s3cret"));
        for (text, says) in [
            (client.to_owned(), "needs the key `url`"),
            ("url = \"https://a\"\n".into(), "there is nobody to ask"),
            (format!("url = \"http://a\"\n{client}"), "must begin with https://"),
            (format!("url = \"https://u:p@a\"\n{client}"), "an address alone"),
            (format!("url = \"https://a\"\nevery = \"1s\"\n{client}"), "from 5m to 31d"),
            (format!("url = \"https://a\"\nunits = {{ x = \"nowhere\" }}\n{client}"), "no unit `nowhere`"),
            ("url = \"https://a\"\nclient = { id = \"a\" }\n".into(), "needs the key `secret`"),
            ("url = \"https://a\"\nclient = { id = \"a\", secret = \"b\", c = 1 }\n".into(), "unknown key"),
        ] {
            let why = read(&text).unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
            assert!(!why.contains("s3cret"), "{why}");
        }
    }
}

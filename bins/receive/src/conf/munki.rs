//! `[source.munki]`: what machines are told to do and to tell.

use std::time::Duration;

use pipe::config::{Config, Scope, Settings, is_name};
use registry::pending::Reenrol;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sources::munki::{Bound, Check, Expected, PrincipalUser};

/// Scripts that may be asked for.
const SCRIPTS_MAX: usize = 200;
/// Bytes of a script.
const SOURCE_MAX: usize = 64 << 10;
/// How often a script is run if nothing is said.
const EVERY: Duration = Duration::from_secs(86_400);
/// The longest time that may be set.
const TIME_MAX: Duration = Duration::from_secs(366 * 86_400);
/// The processors that there are.
const ARCHS: [&str; 2] = ["arm64", "x86_64"];
/// Where an agent may look for its user.
const USER_SOURCES: [&str; 3] = ["company_portal", "google_chrome", "logged_in_user"];

/// `[source.munki]`.
#[derive(Debug, Clone, Default)]
pub struct Munki {
    /// What all machines are told.
    pub settings: sources::munki::Settings,
    /// The script checks with whom they are for.
    pub checks: Vec<(Scope, Check)>,
    /// Machines may enrol again with other hardware or from another unit.
    pub reenrol: Reenrol,
}

impl Munki {
    /// Reads the table, and the scripts that it names.
    pub fn read(config: &Config, table: &mut Settings) -> Self {
        let mut read = Self { reenrol: super::reenrol(table), ..Self::default() };
        let settings = &mut read.settings;
        match table.int("apps_full_info_shard").map(u8::try_from) {
            Some(Ok(percent @ 0..=100)) => settings.apps_full_info_shard = percent,
            Some(_) => table.fail("apps_full_info_shard", "a number from 0 to 100"),
            None => {}
        }
        settings.collected_condition_keys = table.strings("collected_condition_keys");
        if let Some(mut user) = table.table("principal_user_detection") {
            let detection = PrincipalUser { sources: user.strings("sources"), domains: user.strings("domains") };
            for odd in detection.sources.iter().filter(|source| !USER_SOURCES.contains(&source.as_str())) {
                user.fail_word("sources", odd, format!("`{odd}` is none of {}", USER_SOURCES.join(", ")));
            }
            if detection.sources.is_empty() {
                user.fail("sources", format!("needs one or more of {}", USER_SOURCES.join(", ")));
            }
            settings.principal_user_detection = Some(detection);
            table.absorb(user);
        }
        if let Some(ms) = time(table, "full_sync") {
            settings.full_sync_ms = ms;
        }
        let scripts = table.list("scripts");
        if scripts.len() > SCRIPTS_MAX {
            table.fail("scripts", format!("more than {SCRIPTS_MAX} scripts"));
        }
        for mut script in scripts {
            if let Some((scope, check)) = check(config, &mut script) {
                if read.checks.iter().any(|(_, other)| other.name == check.name) {
                    script.fail("name", format!("there are two scripts `{}`", check.name));
                }
                read.checks.push((scope, check));
            }
            table.absorb(script);
        }
        read
    }
}

fn check(config: &Config, table: &mut Settings) -> Option<(Scope, Check)> {
    let name = table.required_str("name");
    if let Some(odd) = name.as_ref().filter(|name| !is_name(name)) {
        table.fail("name", format!("`{odd}` is no name ([a-z0-9][a-z0-9-]{{0,62}})"));
    }
    let path = table.required_str("source").map(|source| table.base().join(source));
    let source = path.and_then(|path| match config.text(&path) {
        Ok(text) if text.len() <= SOURCE_MAX => Some(text),
        Ok(_) => {
            table.fail("source", format!("{}: longer than {SOURCE_MAX} bytes", path.display()));
            None
        }
        Err(why) => {
            table.fail("source", format!("{}: {why}", path.display()));
            None
        }
    });
    let expected = expected(table);
    let every_ms = time(table, "every").or(i64::try_from(EVERY.as_millis()).ok())?;
    let scope = Scope::read(table);
    let arch = table.strings("arch");
    for odd in arch.iter().filter(|arch| !ARCHS.contains(&arch.as_str())) {
        table.fail_word("arch", odd, format!("`{odd}` is none of {}", ARCHS.join(", ")));
    }
    let os = table.str("os").map_or(Ok(Vec::new()), |text| Bound::list(&text));
    let os = os.map_err(|why| table.fail("os", why)).ok();
    let (name, source, expected, os) = (name?, source?, expected?, os?);
    let mut hash = Sha256::new();
    for part in [expected.kind(), &expected.value().to_string(), &source] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let rev = hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    Some((scope, Check { name, rev, source, expected, every_ms, arch, os }))
}

/// The type is that of `expect`, unless it is said.
fn expected(table: &mut Settings) -> Option<Expected> {
    let said = table.word("type", &["string", "int", "bool"]);
    if !table.has("expect") {
        let _ = table.required_str("expect");
        return None;
    }
    let value = super::osquery::value(table, "expect")?;
    let expected = match (said, &value) {
        (None | Some("bool"), Value::Bool(b)) => Some(Expected::Bool(*b)),
        (None | Some("int"), Value::Number(n)) => n.as_i64().map(Expected::Int),
        (None | Some("string"), Value::String(text)) => Some(Expected::Text(text.clone())),
        (Some("string"), Value::Number(n)) => Some(Expected::Text(n.to_string())),
        (Some("int"), Value::String(text)) => text.trim().parse().ok().map(Expected::Int),
        (Some("bool"), Value::String(text)) => text.trim().parse().ok().map(Expected::Bool),
        _ => None,
    };
    if expected.is_none() {
        table.fail("expect", format!("{value} is no {}", said.unwrap_or("value of a script")));
    }
    expected
}

/// In ms.
fn time(table: &mut Settings, key: &str) -> Option<i64> {
    let time = table.duration(key)?;
    if time < Duration::from_secs(60) || time > TIME_MAX {
        table.fail(key, "a time from 1m to 366d");
    }
    i64::try_from(time.as_millis()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::super::{Conf, check};
    use super::*;

    fn config(text: &str) -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.toml");
        std::fs::write(dir.path().join("firewall.zsh"), "print 1\n").unwrap();
        std::fs::write(dir.path().join("long.zsh"), "#".repeat(SOURCE_MAX + 1)).unwrap();
        std::fs::write(&path, format!("version = 1\n{text}")).unwrap();
        let config = Config::load(&path, None).unwrap().0;
        (dir, config)
    }

    #[test]
    fn what_is_said_holds() {
        let (_dir, config) = config(
            "[source.munki]\napps_full_info_shard = 5\ncollected_condition_keys = [\"a\"]\nreenrol = \"always\"\nfull_sync = \"1d\"\n\
             principal_user_detection = { sources = [\"logged_in_user\"] }\nscripts = [\n\
             { name = \"firewall\", source = \"firewall.zsh\", expect = \"1\", every = \"2h\" },\n\
             { name = \"n\", source = \"firewall.zsh\", expect = \"1\", type = \"int\", arch = \"arm64\", os = \">=14,<15\", scope = { tags = [\"vip\"] } },\n\
             { name = \"b\", source = \"firewall.zsh\", expect = true } ]\n",
        );
        let munki = Conf::read(&config, None).unwrap().munki;
        assert_eq!(munki.reenrol, Reenrol::Always);
        let settings = munki.settings;
        assert_eq!((settings.apps_full_info_shard, settings.full_sync_ms), (5, 86_400_000));
        assert_eq!(settings.principal_user_detection.unwrap().sources, ["logged_in_user"]);
        let kinds: Vec<_> = munki.checks.iter().map(|(_, check)| check.expected.kind()).collect();
        assert_eq!(kinds, ["ZSH_STR", "ZSH_INT", "ZSH_BOOL"]);
        let first = &munki.checks[0].1;
        assert_eq!((first.every_ms, first.source.as_str(), first.rev.len()), (7_200_000, "print 1\n", 8));
        assert_ne!(first.rev, munki.checks[1].1.rev);
        assert_eq!((munki.checks[1].0.tags.len(), munki.checks[1].1.os.len()), (1, 2));
        assert!(
            config.files.unwrap().stamp(&[]).iter().any(|(path, _)| path.ends_with("firewall.zsh")),
            "copied by `up`"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let script = |more: &str| format!("scripts = [ {{ name = \"a\", source = \"firewall.zsh\", {more} }} ]\n");
        for (text, key, says) in [
            ("apps_full_info_shard = 101\n".to_owned(), "apps_full_info_shard", "0 to 100"),
            ("principal_user_detection = { sources = [\"ldap\"] }\n".to_owned(), "principal_user_detection.sources", "`ldap` is none of"),
            ("full_sync = \"1s\"\n".to_owned(), "full_sync", "1m to"),
            ("scirpts = []\n".to_owned(), "scirpts", "did you mean `scripts`"),
            (script(""), "scripts.1", "needs the key `expect`"),
            (script("expect = 1.5"), "scripts.1.expect", "found a fraction"),
            (script("expect = \"x\", type = \"int\""), "scripts.1.expect", "no int"),
            (script("expect = \"1\", os = \"14\""), "scripts.1.os", "no bound"),
            (script("expect = \"1\", arch = [\"ppc\"]"), "scripts.1.arch", "`ppc` is none of arm64"),
            (script("expect = \"1\", scope = { platform = [\"macos\"] }"), "scripts.1.scope.platform", "did you mean `platforms`"),
            (script("expect = \"1\"").replace("firewall.zsh", "none.zsh"), "scripts.1.source", "none.zsh"),
            (script("expect = \"1\"").replace("firewall.zsh", "long.zsh"), "scripts.1.source", "longer than"),
            (script("expect = \"1\"").replace("\"a\"", "\"A B\""), "scripts.1.name", "no name"),
            ("scripts = [ { name = \"a\", source = \"firewall.zsh\", expect = 1 }, { name = \"a\", source = \"firewall.zsh\", expect = 1 } ]\n".to_owned(), "scripts.2.name", "two scripts `a`"),
        ] {
            let (_dir, config) = config(&format!("[source.munki]\n{text}"));
            let found: Vec<String> = check(&config).iter().map(|f| format!("{} {}", f.key, f.text)).collect();
            let hit = found.iter().any(|f| f.starts_with(&format!("source.munki.{key} ")) && f.contains(says));
            assert!(hit, "{text}: {found:?}");
        }
    }
}

//! What the configuration says to `receive`: `[stage.receive]` and `[source.osquery]`.

mod hooks;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pipe::config::{Config, Finding, Settings};
use serde_json::{Map, Value};

use crate::proxies::Proxies;
use crate::store;

pub use hooks::{Callers, Hooks};

/// Where a body over it is split while it streams, if nothing else is said.
const INFLATED: u64 = 64 << 20;
/// Bytes of a body as it comes over the wire, if nothing else is said.
const COMPRESSED: u64 = 10 << 20;
/// The largest limit on a body over the wire that may be set: what one client may hold.
const COMPRESSED_MAX: u64 = store::SHARE as u64;
/// The largest limit on an inflated body: one must never be able to fill the memory of a small machine.
const INFLATED_MAX: u64 = 1 << 30;
/// Connections at a time, if nothing else is said.
const CONNECTIONS: usize = 10_000;
/// The most connections that may be asked for.
const CONNECTIONS_MAX: i64 = 1_000_000;
/// How long a connection may rest between requests, if nothing else is said. Longer than the minute at which agents
/// poll, so that each poll finds its connection still there.
const IDLE: Duration = Duration::from_secs(75);
/// A body must have arrived within this time, if nothing else is said.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest of these times that may be set.
const TIME_MAX: Duration = Duration::from_secs(3600);

/// All of it.
#[derive(Debug, Clone)]
pub struct Conf {
    /// Address to listen on; port 0: any free one.
    pub listen: Option<SocketAddr>,
    /// Certificate and key; none: not said.
    pub tls: Option<TlsFiles>,
    /// Who may say for whom they speak.
    pub proxies: Proxies,
    /// Bounds.
    pub limits: Limits,
    /// What osquery agents are told.
    pub osquery: Osquery,
    /// Who calls: Jamf servers and webhooks.
    pub hooks: Hooks,
}

/// Files of the certificate.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// Bounds that may be set; the others are constants beside what they bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a compressed body as it comes.
    pub compressed: usize,
    /// Bytes of an inflated body that is held in memory, and of one that comes as it is; a longer log is split while it
    /// is inflated.
    pub inflated: usize,
    /// A body must have arrived within this time.
    pub body_timeout: Duration,
    /// Connections at a time; more wait to be accepted.
    pub connections: usize,
    /// How long a connection may rest between requests.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let bytes = |n| usize::try_from(n).unwrap_or(usize::MAX);
        Self {
            compressed: bytes(COMPRESSED),
            inflated: bytes(INFLATED),
            body_timeout: BODY_TIMEOUT,
            connections: CONNECTIONS,
            idle: IDLE,
        }
    }
}

/// `[source.osquery]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Osquery {
    /// Flags that agents are given.
    pub options: Map<String, Value>,
    /// Queries whose first row decorates every result.
    pub decorators: Vec<String>,
    /// Machines may enrol again with other hardware or from another unit.
    pub reenrol_always: bool,
}

impl Conf {
    /// Reads both tables; `stage` is none for a tool at a shell, whose flags say the rest.
    pub fn read(config: &Config, stage: Option<&Settings>) -> Result<Self, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut conf = Self {
            listen: None,
            tls: None,
            proxies: Proxies::default(),
            limits: Limits::default(),
            osquery: Osquery::default(),
            hooks: Hooks::default(),
        };
        if let Some(stage) = stage {
            let mut table = stage.clone();
            conf.stage(&mut table);
            findings.extend(table.finish());
        }
        for (name, source) in &config.sources {
            let mut table = source.clone();
            let _ = table.str("kind");
            let kind = config.source_kind(name);
            if kind != name && sources::by_name(name).is_some() {
                table.fail("", format!("`{name}` is the name of another kind of source"));
            }
            match kind {
                // `pull` asks these, and says what is wrong with their tables; nobody calls.
                sources::sal::NAME | sources::watchman::NAME => continue,
                sources::jamf::NAME => conf.hooks.jamf(&mut table),
                sources::webhook::NAME => conf.hooks.webhook(&mut table),
                sources::osquery::NAME => conf.osquery = Osquery::read(&mut table),
                _ => {
                    findings.extend(unknown(table, kind));
                    continue;
                }
            }
            findings.extend(table.finish());
        }
        if findings.is_empty() { Ok(conf) } else { Err(findings) }
    }

    fn stage(&mut self, table: &mut Settings) {
        if let Some(text) = table.required_str("listen") {
            match text.parse() {
                Ok(address) => self.listen = Some(address),
                Err(_) => table.fail("listen", format!("`{text}` is no address such as 0.0.0.0:443 or [::]:443")),
            }
        }
        if !table.has("tls") {
            table.fail("", "needs the key `tls` = { cert = \"FILE\", key = \"FILE\" }: agents speak https only");
        }
        if let Some(mut tls) = table.table("tls") {
            if tls.has("client_ca") {
                tls.fail("client_ca", "certificates of agents are not supported by this version");
                let _ = tls.str("client_ca");
            }
            if let (Some(cert), Some(key)) = (tls.required_str("cert"), tls.required_str("key")) {
                self.tls = Some(TlsFiles { cert: tls.base().join(cert), key: tls.base().join(key) });
            }
            table.absorb(tls);
        }
        match Proxies::parse(&table.strings("trusted_proxies")) {
            Ok(proxies) => self.proxies = proxies,
            Err(why) => table.fail("trusted_proxies", why),
        }
        if let Some(mut body) = table.table("body") {
            for (key, limit, most) in [
                ("compressed", &mut self.limits.compressed, COMPRESSED_MAX),
                ("inflated", &mut self.limits.inflated, INFLATED_MAX),
            ] {
                match body.size(key) {
                    Some(size) if (1..=most).contains(&size) => *limit = usize::try_from(size).unwrap_or(*limit),
                    Some(_) => body.fail(key, format!("a body has 1 B to {} MiB here", most >> 20)),
                    None => {}
                }
            }
            time(&mut body, "timeout", &mut self.limits.body_timeout);
            table.absorb(body);
        }
        match table.int("connections") {
            Some(n @ 1..=CONNECTIONS_MAX) => self.limits.connections = usize::try_from(n).unwrap_or(CONNECTIONS),
            Some(_) => table.fail("connections", format!("a number from 1 to {CONNECTIONS_MAX}")),
            None => {}
        }
        time(table, "idle", &mut self.limits.idle);
    }
}

/// Of a source that this version does not speak with the keys are nobody's to know, so they are no findings of their own.
fn unknown(mut table: Settings, kind: &str) -> impl Iterator<Item = Finding> {
    table.fail("", format!("the source `{kind}` is not supported by this version"));
    table.finish().into_iter().filter(|f| !f.text.starts_with("unknown key"))
}

impl Osquery {
    fn read(table: &mut Settings) -> Self {
        let reenrol = table.word("reenrol", &["same-hardware", "always", "approve"]);
        if reenrol == Some("approve") {
            table.fail("reenrol", "`approve` is not supported by this version; same-hardware and always are");
        }
        let reenrol_always = reenrol == Some("always");
        let mut read = Self { reenrol_always, ..Self::default() };
        if let Some(mut options) = table.table("options") {
            for flag in options.keys() {
                if sources::osquery::is_cli_only(&flag) {
                    options.fail(&flag, "osquery takes this flag from its command line only");
                }
                if let Some(value) = value(&mut options, &flag) {
                    read.options.insert(flag, value);
                }
            }
            table.absorb(options);
        }
        // A list is what is loaded at the agent's start.
        if table.has("decorators") && table.clone().table("decorators").is_some() {
            if let Some(mut decorators) = table.table("decorators") {
                read.decorators = decorators.strings("load");
                for key in ["always", "interval"] {
                    if decorators.has(key) {
                        decorators.fail(key, "is not supported by this version; `load` is");
                        let _ = decorators.clone().strings(key);
                    }
                }
                table.absorb(decorators);
            }
        } else {
            read.decorators = table.strings("decorators");
        }
        for key in ["inventory", "file_paths", "carves"] {
            if table.has(key) {
                table.fail(key, "is not supported by this version");
            }
        }
        read
    }
}

fn time(table: &mut Settings, key: &str, limit: &mut Duration) {
    match table.duration(key) {
        Some(time) if time > Duration::ZERO && time <= TIME_MAX => *limit = time,
        Some(_) => table.fail(key, "a time from 1ms to 1h"),
        None => {}
    }
}

/// A flag's value is a truth value, a whole number or a string; which of them, the table has to be asked.
fn value(table: &mut Settings, key: &str) -> Option<Value> {
    if let Some(b) = table.clone().bool(key) {
        table.bool(key);
        return Some(b.into());
    }
    if let Some(n) = table.clone().int(key) {
        table.int(key);
        return Some(n.into());
    }
    table.str(key).map(Value::String)
}

/// All that is wrong with what the configuration says to `receive`, as far as it can be told without opening a port:
/// unknown keys, wrong types, queries that no agent would take. Certificates are read when the stage starts.
pub fn check(config: &Config) -> Vec<Finding> {
    let stages = config.stages.iter().filter(|s| s.runs(pipe::config::StageKind::Receive));
    let mut all: Vec<&Settings> = stages.map(|s| &s.settings).collect();
    let mut findings = Vec::new();
    let first = all.pop();
    for stage in all {
        let mut table = stage.clone();
        table.fail("", "there is one `receive` in a pipeline");
        findings.extend(table.finish());
    }
    match Conf::read(config, first) {
        Ok(conf) => findings.extend(crate::agents::Agents::new(config, &conf.osquery).err()),
        Err(more) => findings.extend(more),
    }
    findings
}

/// Which secrets of callers cannot be looked up here. They are no part of the configuration: this is for `check`, on the
/// machine that has them.
pub fn check_secrets(config: &Config) -> Vec<Finding> {
    Conf::read(config, None).map_or_else(|_| Vec::new(), |conf| conf.hooks.open().err().unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.toml");
        std::fs::write(&path, format!("version = 1\n{text}")).unwrap();
        Config::load(&path, None).unwrap().0
    }

    const STAGE: &str =
        "[stage.receive]\nlisten = \"127.0.0.1:0\"\ntls = { cert = \"a\", key = \"b\" }\nto = \"topic:raw\"\n";

    #[test]
    fn what_is_said_holds() {
        let config = config(&format!(
            "{STAGE}trusted_proxies = [\"10.0.0.0/8\", \"::1\"]\nbody = {{ compressed = \"1 MiB\", timeout = \"2s\" }}\nconnections = 5\n\
             idle = \"2m\"\n[source.osquery]\nreenrol = \"always\"\n\
             options = {{ logger_tls_period = 10, host_identifier = \"uuid\", disable_logging = true }}\ndecorators = [\"select 1\"]\n"
        ));
        let conf = Conf::read(&config, Some(&config.stages[0].settings)).unwrap();
        assert_eq!(
            conf.limits,
            Limits {
                compressed: 1 << 20,
                body_timeout: Duration::from_secs(2),
                connections: 5,
                idle: Duration::from_secs(120),
                ..Limits::default()
            }
        );
        assert!(conf.tls.unwrap().key.ends_with("b"));
        assert_eq!(conf.osquery.decorators, ["select 1"]);
        assert!(conf.osquery.reenrol_always);
        let options = serde_json::to_string(&conf.osquery.options).unwrap();
        assert_eq!(options, r#"{"logger_tls_period":10,"host_identifier":"uuid","disable_logging":true}"#);
        assert!(check(&config).is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, key, says) in [
            ("[stage.receive]\nto = \"topic:raw\"\nlisten = \"0.0.0.0:1\"\n", "stage.receive", "needs the key `tls`"),
            (&STAGE.replace("127.0.0.1:0", "hub:443"), "stage.receive.listen", "`hub:443` is no address"),
            (&STAGE.replace("key =", "kay ="), "stage.receive.tls", "needs the key `key`"),
            (&format!("{STAGE}lissten = 1\n"), "stage.receive.lissten", "did you mean `listen`"),
            (&format!("{STAGE}trusted_proxies = \"10.0.0.0/33\"\n"), "stage.receive.trusted_proxies", "10.0.0.0/33"),
            (&format!("{STAGE}body = {{ inflated = \"2 GiB\" }}\n"), "stage.receive.body.inflated", "1024 MiB"),
            (
                &format!("{STAGE}body = {{ compressed = \"65 MiB\" }}\n"),
                "stage.receive.body.compressed",
                "1 B to 64 MiB",
            ),
            (
                &STAGE.replace("cert =", "client_ca = \"c\", cert ="),
                "stage.receive.tls.client_ca",
                "not supported by this version",
            ),
            ("[source.osquery]\nreenrol = \"approve\"\n", "source.osquery.reenrol", "not supported by this version"),
            (&format!("{STAGE}connections = 0\n"), "stage.receive.connections", "1 to"),
            (
                "[source.osquery]\nreenrol = \"never\"\n",
                "source.osquery.reenrol",
                "`never` is none of same-hardware, always",
            ),
            ("[source.osquery]\noptions = { x = 1.5 }\n", "source.osquery.options.x", "found a fraction"),
            (
                "[source.osquery]\noptions = { config_path = \"x\" }\n",
                "source.osquery.options.config_path",
                "command line",
            ),
            (
                "[source.osquery]\ndecorators = { load = [\"a\"], always = [\"b\"] }\n",
                "source.osquery.decorators.always",
                "not supported",
            ),
            ("[source.osquery]\ncarves = { max = \"1 GiB\" }\n", "source.osquery.carves", "not supported"),
            ("[source.osqery]\nx = 1\n", "source.osqery", "not supported"),
            ("[probe.a]\nfilter = \".\"\nquery = { sql = \" \" }\n", "", "query of probe a: is empty"),
        ] {
            let found: Vec<String> = check(&config(text)).iter().map(|f| format!("{} {}", f.key, f.text)).collect();
            let hit = found.iter().any(|f| f.starts_with(&format!("{key} ")) && f.contains(says));
            assert!(hit, "{text}: {found:?}");
        }
    }
}

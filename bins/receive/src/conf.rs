//! What the configuration says to `receive`: `[stage.receive]`, its sources, their packs and rules.

pub mod santa;

mod hooks;
mod munki;
mod osquery;
mod packs;

use std::net::SocketAddr;
use std::time::Duration;

use pipe::Proxies;
use pipe::config::{Config, Finding, Settings};
use pipe::tls::Files;
use registry::pending::Reenrol;

pub use munki::Munki;

use crate::store;

pub use hooks::{Callers, Hooks};
pub use osquery::{CarveLimits, Osquery};
pub use packs::Served;

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
    pub tls: Option<Files>,
    /// Who may say for whom they speak.
    pub proxies: Proxies,
    /// Bounds.
    pub limits: Limits,
    /// Whether the paths of the hub of 2017 are answered.
    pub legacy_paths: bool,
    /// What osquery agents are told.
    pub osquery: Osquery,
    /// What Santa's agents are told.
    pub santa: santa::Santa,
    /// Who calls: Jamf servers and webhooks.
    pub hooks: Hooks,
    /// Packs of osquery.
    pub packs: Vec<Served>,
    /// What is odd about all this and does no harm.
    pub warnings: Vec<Finding>,
    /// What Munki's scripts are told.
    pub munki: Munki,
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

impl Conf {
    /// Reads both tables; `stage` is none for a tool at a shell, whose flags say the rest.
    pub fn read(config: &Config, stage: Option<&Settings>) -> Result<Self, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut conf = Self {
            listen: None,
            tls: None,
            proxies: Proxies::default(),
            limits: Limits::default(),
            legacy_paths: false,
            osquery: Osquery::default(),
            santa: santa::Santa::default(),
            hooks: Hooks::default(),
            packs: packs::read(config, &mut findings),
            warnings: Vec::new(),
            munki: Munki::default(),
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
                sources::osquery::NAME => conf.osquery = Osquery::read(&mut table, &mut conf.warnings),
                sources::munki::NAME => conf.munki = Munki::read(config, &mut table),
                sources::santa::NAME => conf.santa.read(&mut table, config),
                _ => {
                    findings.extend(unknown(table, kind));
                    continue;
                }
            }
            findings.extend(table.finish());
        }
        findings.extend(conf.santa.rules(config));
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
        self.tls = Files::read(table);
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
        self.legacy_paths = table.bool("legacy_paths").unwrap_or(false);
    }
}

/// Of a source that this version does not speak with the keys are nobody's to know, so they are no findings of their own.
fn unknown(mut table: Settings, kind: &str) -> impl Iterator<Item = Finding> {
    table.fail("", format!("the source `{kind}` is not supported by this version"));
    table.finish().into_iter().filter(|f| !f.text.starts_with("unknown key"))
}

/// Whether machines may enrol again with other hardware or from another unit.
fn reenrol(table: &mut Settings) -> Reenrol {
    match table.word("reenrol", &["same-hardware", "approve", "always"]) {
        Some("always") => Reenrol::Always,
        Some("approve") => Reenrol::Approve,
        _ => Reenrol::SameHardware,
    }
}

fn time(table: &mut Settings, key: &str, limit: &mut Duration) {
    match table.duration(key) {
        Some(time) if time > Duration::ZERO && time <= TIME_MAX => *limit = time,
        Some(_) => table.fail(key, "a time from 1ms to 1h"),
        None => {}
    }
}

/// What is odd about a key and does no harm.
fn warning(table: &Settings, key: &str, text: &str) -> Option<Finding> {
    table.finding(key, text).map(Finding::warning)
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
        Ok(conf) => {
            findings.extend(crate::agents::Agents::new(config, &conf).err());
            findings.extend(conf.warnings);
        }
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
    use pipe::config::Level;

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
        assert_eq!(conf.osquery.settings.decorators.load, ["select 1"]);
        assert_eq!(conf.osquery.reenrol, Reenrol::Always);
        let options = serde_json::to_string(&conf.osquery.settings.options).unwrap();
        assert_eq!(options, r#"{"logger_tls_period":10,"host_identifier":"uuid","disable_logging":true}"#);
        assert!(check(&config).is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, key, says) in [
            ("[stage.receive]\nto = \"topic:raw\"\nlisten = \"0.0.0.0:1\"\n", "stage.receive", "needs the key `tls`"),
            (&STAGE.replace("127.0.0.1:0", "hub:443"), "stage.receive.listen", "`hub:443` is no address"),
            (&STAGE.replace("key =", "kay ="), "stage.receive.tls", "needs the key `key`"),
            (&format!("{STAGE}legacy_paths = \"yes\"\n"), "stage.receive.legacy_paths", "true or false"),
            (&format!("{STAGE}lissten = 1\n"), "stage.receive.lissten", "did you mean `listen`"),
            (&format!("{STAGE}trusted_proxies = \"10.0.0.0/33\"\n"), "stage.receive.trusted_proxies", "10.0.0.0/33"),
            (&format!("{STAGE}body = {{ inflated = \"2 GiB\" }}\n"), "stage.receive.body.inflated", "1024 MiB"),
            (
                &format!("{STAGE}body = {{ compressed = \"65 MiB\" }}\n"),
                "stage.receive.body.compressed",
                "1 B to 64 MiB",
            ),
            (&STAGE.replace("cert =", "client_ca = 7, cert ="), "stage.receive.tls.client_ca", "expected a string"),
            (&format!("{STAGE}connections = 0\n"), "stage.receive.connections", "1 to"),
            (
                "[source.osquery]\nreenrol = \"never\"\n",
                "source.osquery.reenrol",
                "`never` is none of same-hardware, approve, always",
            ),
            ("[source.osquery]\noptions = { x = 1.5 }\n", "source.osquery.options.x", "found a fraction"),
            ("[source.osquery]\ncarves = { max = \"1 GxB\" }\n", "source.osquery.carves.max", "no size"),
            ("[source.osquery]\ninventory = \"8d\"\n", "source.osquery.inventory", "from 1s to 7d"),
            ("[source.osquery]\ninventory = { often = \"1h\" }\n", "source.osquery.inventory.often", "unknown key"),
            ("[source.osquery]\nfile_paths.a = { exclude = [\"b\"] }\n", "source.osquery.file_paths.a", "`paths`"),
            ("[source.osquery]\nfile_paths = [\"b\"]\n", "source.osquery.file_paths", "expected a table"),
            (
                "[source.osquery]\ndecorators.interval.90s = [\"b\"]\n",
                "source.osquery.decorators.interval.90s",
                "whole minutes",
            ),
            (
                "[source.osquery]\nauto_table_construction.t = { query = \"select 1\", path = \"/x\" }\n",
                "source.osquery.auto_table_construction.t.columns",
                "1 to 1000 `columns`",
            ),
            ("[source.osquery]\noptions = { pack_delimiter = 7 }\n", "source.osquery.options.pack_delimiter", "string"),
            ("[pack.a]\n", "pack.a", "`file` or `queries`"),
            ("[pack.a]\nfile = \"none.conf\"\n", "pack.a.file", "no such file"),
            ("[pack.a]\nfile = \"x\"\nshard = 5\n", "pack.a.shard", "in the file of the pack"),
            ("[pack.a]\nqueries.b = { interval = \"1h\" }\n", "pack.a.queries.b", "needs the key `sql`"),
            ("[pack.a]\nqueries.b = { sql = \" \" }\n", "pack.a.queries.b.sql", "is empty"),
            (
                "[pack.a]\nqueries.b = { sql = \"select 1\", interval = \"1ms\" }\n",
                "pack.a.queries.b.interval",
                "is not within",
            ),
            ("[pack.a]\nshard = 101\nqueries.b.sql = \"select 1\"\n", "pack.a.shard", "101"),
            ("[pack.a]\nplattform = \"x\"\nqueries.b.sql = \"select 1\"\n", "pack.a.plattform", "did you mean"),
            (
                "[pack.a]\nscope = { units = [\"x\"] }\nqueries.b.sql = \"select 1\"\n",
                "pack.a.scope",
                "there is no unit `x`",
            ),
            ("[source.osqery]\nx = 1\n", "source.osqery", "not supported"),
            ("[probe.a]\nfilter = \".\"\nquery = { sql = \" \" }\n", "", "query of probe a: is empty"),
        ] {
            let found: Vec<String> = check(&config(text)).iter().map(|f| format!("{} {}", f.key, f.text)).collect();
            let hit = found.iter().any(|f| f.starts_with(&format!("{key} ")) && f.contains(says));
            assert!(hit, "{text}: {found:?}");
        }
    }
    /// A flag that osquery would ignore is left out, and that is said.
    #[test]
    fn a_flag_of_the_command_line_is_a_warning() {
        let config = config("[source.osquery]\noptions = { disable_carver = \"FaLse\", x = 1 }\n");
        let conf = Conf::read(&config, None).unwrap();
        assert_eq!(conf.osquery.settings.options.keys().collect::<Vec<_>>(), ["x"]);
        let found = check(&config);
        let [only] = found.as_slice() else { unreachable!("{found:?}") };
        assert_eq!((only.level, only.key.as_str()), (Level::Warning, "source.osquery.options.disable_carver"));
    }

    #[test]
    fn a_pack_lies_in_a_file_of_osquerys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.toml");
        std::fs::write(&path, "version = 1\n[pack.it]\nfile = \"it.conf\"\nscope = { platforms = [\"linux\"] }\n")
            .unwrap();
        let with = |pack: &str| {
            std::fs::write(dir.path().join("it.conf"), pack).unwrap();
            Config::load(&path, None).unwrap().0
        };
        let good = with("{ // a note\n\"queries\": {\"a\": {\"query\": \"select 1\", \"interval\": \"60\"}}}");
        let conf = Conf::read(&good, None).unwrap();
        assert_eq!((conf.packs[0].name.as_str(), conf.packs[0].pack.queries["a"].interval_s), ("it", 60));
        assert!(check(&good).is_empty());
        let bad = with("{\"queries\": {\n  \"a\": {\"query\": \"select 1\",\n   \"interval\": 0}}}");
        let found = check(&bad);
        let [only] = found.as_slice() else { unreachable!("{found:?}") };
        assert_eq!((only.line, only.column, only.key.as_str()), (3, 4, "pack.it.queries.a.interval"));
        assert!(only.file.ends_with("it.conf"), "{only}");
    }
}

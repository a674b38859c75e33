//! `[kafka]`: which brokers, how they are spoken to, and what topics are made like.

use std::path::PathBuf;

use super::{Secret, Settings};

/// Partitions of a topic that is made, if nothing is said.
const PARTITIONS: i32 = 3;
/// The most that may be asked for.
const PARTITIONS_MAX: i64 = 10_000;
/// The most copies of a partition.
const REPLICATION_MAX: i64 = 100;
/// The longest name of a topic that Kafka takes, in bytes.
const NAME_MAX: usize = 249;
/// The longest name of ours.
const OWN_NAME_MAX: usize = 63;

/// Mechanisms of a login.
const MECHANISMS: [&str; 4] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", OAUTHBEARER];
/// A token in place of user and password.
const OAUTHBEARER: &str = "OAUTHBEARER";

/// Properties of librdkafka that the promises of a stage stand on, or that would load a program.
const OWN: [&str; 18] = [
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "bootstrap.servers",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "message.max.bytes",
    "message.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "plugin.library.paths",
    "request.required.acks",
    "transactional.id",
];

/// `[kafka]`.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// Where to begin: `HOST:PORT`.
    pub brokers: Vec<String>,
    /// What stands before the name of each topic and of each group.
    pub prefix: String,
    /// How the connection is protected, if it is.
    pub tls: Option<KafkaTls>,
    /// The login, if there is one.
    pub sasl: Option<Sasl>,
    /// Handed to librdkafka as they are.
    pub properties: Vec<(String, Secret)>,
    /// Partitions of a topic that is made.
    pub partitions: i32,
    /// Copies of each partition of a topic that is made; -1: what the brokers think right.
    pub replication: i32,
}

/// `tls` of `[kafka]`, PEM files.
#[derive(Debug, Clone, Default)]
pub struct KafkaTls {
    /// Who is believed; none: whom the system believes.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// `sasl` of `[kafka]`.
#[derive(Debug, Clone)]
pub struct Sasl {
    /// One of `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `OAUTHBEARER`.
    pub mechanism: &'static str,
    /// Who we are.
    pub user: Option<String>,
    /// And the proof.
    pub password: Option<Secret>,
    /// Of `OAUTHBEARER`: a token, which is read again before it ends.
    pub token: Option<Secret>,
}

impl Kafka {
    /// The name that a topic has on the brokers.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The group of a stage. A hub with another prefix reads other topics, and what one of a group does, all of it wait for.
    pub fn group(&self, stage: &str) -> String {
        format!("{}zentral-{stage}", self.prefix)
    }

    fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let login = self.sasl.iter().flat_map(|sasl| sasl.password.iter().chain(&sasl.token));
        login.chain(self.properties.iter().map(|(_, secret)| secret))
    }

    /// The environment variables that hold its secrets.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.secrets().filter_map(|secret| if let Secret::Env(name) = secret { Some(name.as_str()) } else { None })
    }

    /// A secret that is not there, and why. Whoever speaks to brokers ends with it; nobody else cares.
    pub fn missing(&self) -> Option<String> {
        self.secrets().find_map(|secret| secret.resolve().err())
    }

    pub(super) fn read(table: &mut Settings) -> Option<Self> {
        let brokers = table.strings("brokers");
        for broker in &brokers {
            let port =
                broker.rsplit_once(':').and_then(|(host, port)| port.parse::<u16>().ok().filter(|_| !host.is_empty()));
            if port.is_none() || broker.contains([',', ' ']) {
                table.fail_word("brokers", broker, format!("`{broker}` is not HOST:PORT"));
            }
        }
        if !table.has("brokers") {
            table.fail("", "needs the key `brokers`: [\"HOST:PORT\", …]");
        } else if brokers.is_empty() {
            table.fail("brokers", "the list is empty");
        }
        let prefix = table.str("prefix").unwrap_or_default();
        if !prefix.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
            table.fail("prefix", "the name of a topic has letters, digits, `.`, `_` and `-`");
        } else if prefix.len() + OWN_NAME_MAX > NAME_MAX {
            table.fail("prefix", format!("at most {} characters", NAME_MAX - OWN_NAME_MAX));
        }
        let tls = tls(table);
        let sasl = sasl(table);
        let properties = table.secrets("properties");
        for (name, _) in properties.iter().filter(|(name, _)| OWN.contains(&name.as_str())) {
            table.fail("properties", format!("`{name}` is set by zentral: what it promises stands on it"));
        }
        let partitions = bounded(table, "partitions", PARTITIONS_MAX).unwrap_or(PARTITIONS);
        let replication = bounded(table, "replication", REPLICATION_MAX).unwrap_or(-1);
        (!brokers.is_empty()).then_some(Self { brokers, prefix, tls, sasl, properties, partitions, replication })
    }
}

fn bounded(table: &mut Settings, key: &str, most: i64) -> Option<i32> {
    let n = table.int(key)?;
    if !(1..=most).contains(&n) {
        table.fail(key, format!("from 1 to {most}"));
    }
    i32::try_from(n).ok()
}

fn tls(table: &mut Settings) -> Option<KafkaTls> {
    let mut inner = table.table("tls")?;
    let tls = KafkaTls { ca: inner.path("ca"), cert: inner.path("cert"), key: inner.path("key") };
    if tls.cert.is_some() != tls.key.is_some() {
        inner.fail("", "`cert` and `key` belong together");
    }
    table.absorb(inner);
    Some(tls)
}

fn sasl(table: &mut Settings) -> Option<Sasl> {
    let mut inner = table.table("sasl")?;
    let mechanism = inner.word("mechanism", &MECHANISMS);
    if !inner.has("mechanism") {
        inner.fail("", format!("needs the key `mechanism` (one of {})", MECHANISMS.join(", ")));
    }
    let (user, password, token) = (inner.str("user"), inner.secret("password"), inner.secret("token"));
    match mechanism {
        Some(OAUTHBEARER) if token.is_none() => inner.fail("", "OAUTHBEARER needs the key `token`"),
        Some(OAUTHBEARER) if password.is_some() => inner.fail("password", "OAUTHBEARER takes a `token`"),
        Some(OAUTHBEARER) | None => {}
        Some(_) if user.is_none() => inner.fail("", "needs the key `user`"),
        Some(_) if password.is_none() => inner.fail("", "needs the key `password`"),
        Some(_) if token.is_some() => inner.fail("token", "only OAUTHBEARER takes a token"),
        Some(_) => {}
    }
    table.absorb(inner);
    Some(Sasl { mechanism: mechanism?, user, password, token })
}

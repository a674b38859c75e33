//! Which environment variables a stage has no business with: those that only others' tables name.

use std::collections::BTreeSet;

use super::{Config, Kafka, Secret, Settings, StageConf, StageKind};

type Names = BTreeSet<String>;

/// What every program may need, and a table may name all the same: an action of kind exec hands on what it names.
const EVERYBODYS: [&str; 4] = ["HOME", "LANG", "PATH", "TZ"];

impl Config {
    /// The variables that hold secrets of actions, contacts, sources or other stages, and that this stage does not read.
    /// Whoever starts it leaves them out: who breaks into the process that listens to agents finds no password of a
    /// ticket system in its memory.
    pub fn variables_of_others(&self, stage: &StageConf) -> BTreeSet<String> {
        let is = |kinds: &[StageKind]| stage.kinds.iter().any(|kind| kinds.contains(kind));
        let of = |tables: &mut dyn Iterator<Item = &Settings>| tables.flat_map(Settings::variables).collect::<Names>();
        let mut acting = of(&mut self.actions.values());
        acting.extend(self.contacts.values().filter_map(|contact| match &contact.push {
            Some(Secret::Env(name)) => Some(name.clone()),
            _ => None,
        }));
        let signing = self.signing.iter().filter_map(|signing| match &signing.key {
            Secret::Env(name) => Some(name.clone()),
            _ => None,
        });
        let asking = of(&mut self.sources.values());
        let mut own: Names = stage.settings.variables().collect();
        own.extend(EVERYBODYS.map(str::to_owned));
        own.extend(self.server_variables.iter().cloned());
        // Read by everybody: a configuration is looked at as a whole.
        own.extend(self.kafka.iter().flat_map(Kafka::variables).map(str::to_owned));
        if let Some(Secret::Env(name)) = self.metrics.as_ref().and_then(|metrics| metrics.bearer.as_ref()) {
            own.insert(name.clone());
        }
        let mut others = of(&mut self.stages.iter().map(|stage| &stage.settings));
        for (names, readers) in [
            (acting, &[StageKind::Act, StageKind::Foreign][..]),
            (signing.collect(), &[StageKind::Console]),
            // An action of kind jamf speaks with the server of a source.
            (asking, &[StageKind::Receive, StageKind::Pull, StageKind::Normalize, StageKind::Act, StageKind::Foreign]),
        ] {
            if is(readers) { &mut own } else { &mut others }.extend(names);
        }
        &others - &own
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn each_stage_has_its_own() {
        let text = r#"
version = 1
[registry]
postgres = { env = "PG" }
[kafka]
brokers = ["127.0.0.1:9092"]
sasl = { mechanism = "PLAIN", user = "u", password = { env = "SASL" } }
properties = { "ssl.key.password" = { env = "KEY" } }
[metrics]
listen = "127.0.0.1:9473"
bearer = { env = "BEARER" }
[packages]
sign = { cert = "a.pem", key = { env = "SIGN" } }
[source.door]
kind = "webhook"
type = "door_opened"
hmac = { header = "X-Signature", secret = { env = "DOOR" } }
[contact.ada]
push = { env = "PUSH" }
[action.a]
kind = "http"
url = { env = "URL" }
headers = { Authorization = { env = "AUTH" }, X = { env = "SHARED" } }
[action.b]
kind = "exec"
run = ["/bin/true"]
env = ["TOKEN", "PATH", "TZ", "PG", "SASL", "KEY"]
[stage.receive]
to = "topic:raw"
[stage.act]
from = "topic:raw"
[stage.console]
listen = "127.0.0.1:0"
[stage.elastic]
run = "store"
from = "topic:raw"
login = { api_key = { env = "ES" }, more = [{ env = "SHARED" }] }
"#;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pipeline.toml");
        std::fs::write(&file, text).unwrap();
        let (config, _) = Config::load(&file, None).unwrap();
        let left_out = |name: &str| {
            let names = config.variables_of_others(config.stage(name).unwrap());
            names.into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(left_out("receive"), "AUTH ES PUSH SHARED SIGN TOKEN URL");
        assert_eq!(left_out("act"), "ES SIGN");
        assert_eq!(left_out("elastic"), "AUTH DOOR PUSH SIGN TOKEN URL");
        assert_eq!(left_out("console"), "AUTH DOOR ES PUSH SHARED TOKEN URL");
    }
}

//! What `status` finds, as metrics: for alerts on what no single stage can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use event::Time;
use pipe::config::{Config, StageKind, is_name};
use pipe::{Exit, StageError};
use registry::db::has_schema;
use registry::inventory::{HEARD_WITHIN, Heard, SCHEMA, heard};
use serde_json::Value;

use super::sums::db;
use super::{Health, Sums, sums};
use crate::expiry;
use crate::up::shown::Up;

/// Of a stage that is busy with a batch nobody else knows what came meanwhile.
pub const LAG_LINES: &str = "zentral_topic_lag_lines";

/// The families as text. What cannot be read is left out, and said in the log: the rest still tells.
pub fn gauges(config: &Config, up: &Up) -> String {
    let mut text = Text::default();
    let sums = sums(config);
    let away = matches!(&sums, Err(e) if e.exit == Exit::Unreachable);
    if config.server.is_some() {
        text.family("zentral_database_up", "1 while the database that holds the state answers.");
        text.line(&[], u8::from(!away));
    }
    match sums {
        Ok(sums) => text.sums(&sums),
        Err(e) => tracing::warn!("metrics: the sums: {e}"),
    }
    // One wait for a database that is away is enough.
    match if away { Ok(None) } else { Health::of(config, Some(up)).map(Some) } {
        Ok(health) => health.iter().for_each(|health| text.health(health)),
        Err(e) => tracing::warn!("metrics: {e}"),
    }
    match if away { Ok(Vec::new()) } else { machines(config) } {
        Ok(heard) => text.machines(&heard),
        Err(e) => tracing::warn!("metrics: the inventory: {e}"),
    }
    text.family("zentral_config_refused", "1 while the configuration on disk is not in force.");
    text.line(&[], u8::from(up.refused.is_some()));
    text.certificates(config);
    text.all
}

/// When the machines were seen last, by source, from the state of the stages that normalize.
fn machines(config: &Config) -> Result<Vec<Heard>, StageError> {
    let mut all = Vec::new();
    for stage in config.stages.iter().filter(|s| s.runs(StageKind::Normalize)) {
        let home = config.state(stage);
        let fail = |e| StageError::of(&home, e);
        let Some(db) = db(&home)? else { continue };
        if has_schema(&db, &SCHEMA).map_err(fail)? {
            all.extend(heard(&mut &db, Time::now()).map_err(fail)?);
        }
    }
    Ok(all)
}

#[derive(Default)]
struct Text {
    all: String,
    name: &'static str,
}

impl Text {
    fn family(&mut self, name: &'static str, help: &str) {
        self.name = name;
        self.all.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
    }

    /// Values of labels are names of the configuration and words of ours; others are escaped.
    fn line(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let escaped = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        let labels: Vec<String> = labels.iter().map(|(key, text)| format!("{key}=\"{}\"", escaped(text))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.all.push_str(&format!("{}{labels} {value}\n", self.name));
    }

    fn sums(&mut self, sums: &Sums) {
        self.family("zentral_topic_limit_bytes", "Bytes on disk at which a topic takes nothing more.");
        for topic in &sums.topics {
            self.line(&[("topic", &topic.topic)], topic.limit);
        }
        self.family(LAG_LINES, "Lines not read yet.");
        // Without brokers the stages' own are the last that is known.
        for topic in sums.topics.iter().filter(|_| sums.brokers.is_none()) {
            for reader in &topic.readers {
                let labels = [("topic", &*topic.topic), ("reader", &reader.reader), ("stage", &reader.reader)];
                self.line(&labels, reader.lag);
            }
        }
        self.family("zentral_sum_off", "1 while what a stage or a reader of a topic counted does not add up.");
        for topic in &sums.topics {
            for reader in &topic.readers {
                self.line(&[("topic", &topic.topic), ("reader", &reader.reader)], u8::from(!reader.ok));
            }
        }
        for stage in &sums.stages {
            self.line(&[("stage", &stage.stage)], u8::from(!stage.ok));
        }
    }

    fn health(&mut self, health: &Health) {
        self.family("zentral_dead_letters", "Deliveries that were given up and wait for somebody to decide.");
        self.line(&[], health.dead);
        self.family("zentral_probe_off", "1: the filter of the probe is switched off.");
        // Two stages may have the same probe.
        for (probe, why) in health.off.iter().map(|off| (&off.probe, &off.why)).collect::<BTreeSet<_>>() {
            self.line(&[("probe", probe), ("reason", why)], 1);
        }
        self.family("zentral_action_stopped", "1: the action stopped at its brake.");
        for action in health.stopped.iter().map(|(action, _)| action).collect::<BTreeSet<_>>() {
            self.line(&[("action", action)], 1);
        }
        self.family("zentral_incidents", "Open incidents.");
        let mut open: BTreeMap<&str, u64> = BTreeMap::new();
        for one in &health.incidents {
            *open.entry(one.get("severity").and_then(Value::as_str).unwrap_or("none")).or_default() += 1;
        }
        for (severity, n) in open {
            self.line(&[("severity", severity)], n);
        }
    }

    fn machines(&mut self, heard: &[Heard]) {
        // A source is a name of the configuration, but a line can say anything; and two stages may know the same.
        let name = |of: &Heard| if is_name(&of.source) { of.source.clone() } else { "other".to_owned() };
        let mut within: BTreeMap<(String, &str), u64> = BTreeMap::new();
        let mut silent: BTreeMap<String, u64> = BTreeMap::new();
        for of in heard {
            for ((word, _), n) in HEARD_WITHIN.iter().zip(of.within) {
                *within.entry((name(of), word)).or_default() += n;
            }
            *silent.entry(name(of)).or_default() += of.silent;
        }
        self.family("zentral_machines_heard", "Machines that a source told something of within that time.");
        for ((source, word), n) in &within {
            self.line(&[("source", source), ("within", word)], n);
        }
        self.family("zentral_machines_silent", "Machines of a source of which it was said that they are silent.");
        for (source, n) in &silent {
            self.line(&[("source", source)], n);
        }
    }

    fn certificates(&mut self, config: &Config) {
        self.family("zentral_certificate_expires_seconds", "When the certificate that agents see expires, since 1970.");
        for stage in config.stages.iter().filter(|s| s.runs(StageKind::Receive)) {
            let Some(file) = stage.settings.clone().table("tls").and_then(|mut tls| tls.path("cert")) else { continue };
            match expiry::of_file(&file) {
                Ok(at) => self.line(&[("stage", &stage.name)], at),
                Err(why) => tracing::warn!("metrics: {why}"),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::up::shown::Up;
    use registry::db::Db;
    use registry::inventory::{fall_silent, sight};

    /// A hub with a certificate, a machine that is heard and one that is not, whose files on disk are refused.
    fn told(dir: &std::path::Path) -> String {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(dir.join("hub.pem"), key.cert.pem()).unwrap();
        std::fs::write(dir.join("hub.key"), key.signing_key.serialize_pem()).unwrap();
        let stages = "[stage.receive]\nlisten = \"127.0.0.1:0\"\ntls = { cert = \"hub.pem\", key = \"hub.key\" }\n\
            to = \"topic:raw\"\n[stage.normalize]\nfrom = \"topic:raw\"\nto = \"topic:events\"\n\
            [stage.filter]\nfrom = \"topic:events\"\nto = \"topic:annotated\"\n";
        std::fs::write(dir.join("pipeline.toml"), format!("version = 1\n{stages}")).unwrap();
        let (config, _) = Config::load(&dir.join("pipeline.toml"), None).unwrap();
        std::fs::create_dir_all(dir.join("data/state")).unwrap();
        let mut db = Db::open(&dir.join("data/state/normalize.db"), &[pipe::state::SCHEMA, SCHEMA]).unwrap();
        let mut tx = db.begin().unwrap();
        let now = Time::now();
        for (machine, source, age) in [("a", "osquery", 0), ("b", "osquery", 3 * 86_400_000), ("a", "no\"name", 0)] {
            sight(&mut tx, machine, source, Time::from_ms(now.ms() - age), &[]).unwrap();
        }
        fall_silent(&mut tx, Time::from_ms(now.ms() - 86_400_000)).unwrap();
        tx.commit().unwrap();
        let refused = Some("probes.toml:1: wrong".to_owned());
        let (since, config_name) = (Time::from_ms(0), String::new());
        gauges(&config, &Up { pid: 1, since, config: config_name, refused, metrics: None, stages: Vec::new() })
    }

    #[test]
    fn what_status_finds_is_told_each_family_once() {
        let dir = tempfile::tempdir().unwrap();
        let text = told(dir.path());
        for line in [
            "zentral_config_refused 1",
            "zentral_dead_letters 0",
            "zentral_sum_off{topic=\"raw\",reader=\"normalize\"} 0",
            "zentral_machines_heard{source=\"osquery\",within=\"1d\"} 1",
            "zentral_machines_heard{source=\"osquery\",within=\"7d\"} 2",
            "zentral_machines_heard{source=\"other\",within=\"30d\"} 1",
            "zentral_machines_silent{source=\"osquery\"} 1",
            "zentral_machines_silent{source=\"other\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let expires = text.lines().find(|line| line.starts_with("zentral_certificate_expires_seconds{")).unwrap();
        assert!(expires.rsplit(' ').next().unwrap().parse::<i64>().unwrap() > Time::now().ms() / 1000, "{expires}");

        // Whatever is told has its family before it, and a family is begun once: Prometheus refuses all of it otherwise.
        let mut families = BTreeSet::new();
        let mut family = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("# TYPE ") {
                family = name.strip_suffix(" gauge").unwrap();
                assert!(families.insert(family), "{family} twice");
            } else if !line.starts_with('#') {
                assert_eq!(line.split(['{', ' ']).next(), Some(family), "{line}");
            }
        }
        assert!(families.len() >= 10, "{families:?}");
    }

    #[test]
    fn values_of_labels_stay_values() {
        let mut text = Text::default();
        text.family("zentral_x", "X.");
        text.line(&[("a", "say \"no\"\\"), ("b", "two\nlines")], 1);
        assert_eq!(text.all.lines().nth(2), Some("zentral_x{a=\"say \\\"no\\\"\\\\\",b=\"two\\nlines\"} 1"));
        assert_eq!(text.all.lines().count(), 3);
    }
}

//! What `status` finds, as metrics: for alerts on what no single stage can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use pipe::Exit;
use pipe::config::{Config, StageKind};
use serde_json::Value;

use super::{Health, Sums, sums};
use crate::expiry;
use crate::up::shown::Up;

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
    text.family("zentral_config_refused", "1 while the configuration on disk is not in force.");
    text.line(&[], u8::from(up.refused.is_some()));
    text.certificates(config);
    text.all
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

//! What a machine is given and held against: the probes, packs and rules whose scope holds it.

use event::{Machine, Time};
use pipe::config::{Config, Scope};
use registry::made_rules::{self, MadeRule};
use schemars::JsonSchema;
use serde::Serialize;

use super::edit::Seen;
use crate::answer::Wrong;
use crate::app::App;
use crate::pages::sources::santa::{Made, made_rule};
use crate::text;

/// Packs, tables and rules that are told, of each.
const SHOWN_MAX: usize = 200;
/// Probes that a page shows; the list of probes has all of them.
const PROBES_MAX: usize = 50;

/// All of it.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Given {
    pub probes: Vec<Probe>,
    /// Packs of osquery.
    pub packs: Vec<String>,
    /// Tables of rules of Santa's, if it has one.
    pub rules: Vec<Table>,
    /// Rules that actions made for it, or for a scope that holds it.
    pub made: Vec<Made>,
}

/// A probe that is about it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "GivenProbe")]
pub struct Probe {
    pub name: String,
    pub severity: String,
    /// What its osquery runs for it, and how often.
    pub query: Option<String>,
    /// Seconds between two runs.
    pub every: Option<u64>,
    /// Matched and counted, not acted upon.
    pub shadow: bool,
}

/// `[rules.NAME]`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "GivenTable")]
pub struct Table {
    pub name: String,
    pub rules: usize,
}

impl Given {
    /// The probes that the page shows.
    pub fn first(&self) -> &[Probe] {
        self.probes.get(..PROBES_MAX).unwrap_or(&self.probes)
    }

    pub fn is_empty(&self) -> bool {
        self.probes.is_empty() && self.packs.is_empty() && self.rules.is_empty() && self.made.is_empty()
    }
}

pub fn of(app: &App, seen: &Seen, santa: bool) -> Result<Given, Wrong> {
    let given = configured(&app.live().config, &seen.machine, santa);
    if !santa {
        return Ok(given);
    }
    let (all, now) = (app.registry(made_rules::all)?, Time::now().ms());
    let is_for = |made: &&MadeRule| match made.machine.as_str() {
        "" => serde_json::from_str(&made.scope).is_ok_and(|scope: Scope| scope.holds(&seen.machine)),
        key => key == seen.key,
    };
    let made = all.iter().rev().filter(|made| made.holds_at(now)).filter(is_for);
    Ok(Given { made: made.take(SHOWN_MAX).map(made_rule).collect(), ..given })
}

fn configured(config: &Config, machine: &Machine, santa: bool) -> Given {
    let osquery = machine.platform.as_deref().is_none_or(|platform| platform != "ios");
    let probes = config.probes.values().filter(|probe| probe.scope.holds(machine)).map(|probe| {
        let query = probe.query.as_ref().filter(|_| osquery);
        Probe {
            name: probe.name.clone(),
            severity: probe.severity.clone(),
            query: query.map(|query| text::short(&query.sql)),
            every: query.map(|query| query.interval_s),
            shadow: probe.shadow,
        }
    });
    let packs = config.packs.iter().filter(|(_, table)| Scope::read(&mut (*table).clone()).holds(machine));
    let tables = config.rules.iter().filter(|(_, table)| santa && Scope::read(&mut (*table).clone()).holds(machine));
    let table = |(name, table): (&String, &pipe::config::Settings)| Table {
        name: name.clone(),
        rules: table.clone().list("rules").len(),
    };
    Given {
        probes: probes.collect(),
        packs: packs.take(SHOWN_MAX).map(|(name, _)| name.clone()).collect(),
        rules: tables.take(SHOWN_MAX).map(table).collect(),
        made: Vec::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    const TEXT: &str = r#"version = 1
[unit.berlin]
[unit.rome]
[probe.usb]
scope = { units = ["berlin"] }
query = { sql = "select * from usb_devices", interval = "60s" }
filter = "true"
severity = "major"
[probe.lab]
scope = { tags = ["lab"] }
filter = "true"
[rules.all]
rules = [ { type = "TEAMID", id = "AAAAAAAAAA", policy = "ALLOWLIST" } ]
"#;

    #[test]
    fn by_scope() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pipeline.toml");
        std::fs::write(&file, TEXT).unwrap();
        let config = Config::load(&file, None).unwrap().0;
        let told = |unit: &str, tags: &[&str], santa| {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            let machine = Machine { unit: Some(unit.into()), tags, ..Machine::default() };
            let given = configured(&config, &machine, santa);
            let probes: Vec<(String, Option<u64>)> =
                given.probes.into_iter().map(|one| (one.name, one.every)).collect();
            (probes, given.rules.first().map(|table| table.rules))
        };
        assert_eq!(told("berlin", &[], false), (vec![("usb".into(), Some(60))], None));
        assert_eq!(told("berlin", &["lab"], true), (vec![("lab".into(), None), ("usb".into(), Some(60))], Some(1)));
        assert_eq!(told("rome", &[], true), (Vec::new(), Some(1)));
    }
}

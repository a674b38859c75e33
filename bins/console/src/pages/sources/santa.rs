//! Santa: the modes that machines are told, the rules that they are given and who made them.

use std::collections::BTreeMap;

use event::{Machine, Time};
use pipe::config::{Config, Scope, Settings};
use registry::made_rules::{self, MadeRule};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Count;
use crate::answer::Wrong;
use crate::app::App;
use crate::ask::{Asked, Who};
use crate::text;

/// Rules that are shown, of files and of actions each.
const RULES_MAX: usize = 200;
/// The source.
const NAME: &str = "santa";
/// What machines are told where the configuration says nothing.
const MODE: &str = "MONITOR";

/// What its page shows.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Santa {
    /// Machines by the mode that the configuration tells them.
    pub modes: Vec<Count>,
    /// Preflights of the last days by the mode that machines said.
    pub said: Vec<Count>,
    /// Tables of rules in files.
    pub tables: Vec<Table>,
    pub rules_total: usize,
    /// Rules that actions made, the newest first.
    pub made: Vec<Made>,
    pub made_total: usize,
    /// What a rule can be about.
    #[serde(skip)]
    pub types: Vec<&'static str>,
    #[serde(skip)]
    pub units: Vec<String>,
}

/// `[rules.NAME]`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RuleTable")]
pub struct Table {
    pub name: String,
    pub file: String,
    pub scope: String,
    /// Machines with a Santa in its scope.
    pub machines: usize,
    pub rules: Vec<Rule>,
    /// Rules that are not shown.
    pub left: usize,
}

/// A rule of a file.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Rule {
    pub rule_type: String,
    pub identifier: String,
    pub policy: String,
    pub about: String,
}

/// A rule that an action made.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MadeRule")]
pub struct Made {
    pub id: String,
    pub rule_type: String,
    pub identifier: String,
    pub policy: String,
    /// A machine key, or a scope.
    pub whom: String,
    pub action: String,
    pub probe: String,
    pub at: Time,
    pub until: Option<Time>,
    #[serde(skip)]
    pub event: String,
    #[serde(skip)]
    pub machine: String,
}

pub fn look(app: &App, asked: &Asked) -> Result<Santa, Wrong> {
    let (config, who) = (app.live().config.clone(), asked.who.as_ref());
    let machines = app.machines(|known| {
        let santa = known.each().filter(|(key, m, _)| known.has_source(key, NAME) && sees(who, m));
        Ok(santa.map(|(_, machine, _)| machine.clone()).collect::<Vec<_>>())
    })?;
    let (tables, rules_total) = tables(&config, who, &machines);
    let all = app.registry(made_rules::all)?;
    let now = Time::now().ms();
    let units = app.machines(|known| {
        let unit = |made: &MadeRule| known.block(&made.machine);
        // Of a rule for many machines the scope names units: only whoever sees all of them reads it.
        let seen = |made: &MadeRule| match made.machine.as_str() {
            "" => who.is_some_and(|who| who.units.is_empty()),
            _ => sees(who, &unit(made)),
        };
        Ok(all.iter().filter(|made| made.holds_at(now) && seen(made)).map(made_rule).collect::<Vec<_>>())
    })?;
    let (made_total, mut made) = (units.len(), units);
    made.reverse();
    made.truncate(RULES_MAX);
    let said = super::counted(app, asked, "type:santa_preflight", "payload.client_mode").unwrap_or_default();
    Ok(Santa {
        modes: modes(&config, &machines),
        said,
        tables,
        rules_total,
        made,
        made_total,
        types: super::trial::TYPES.iter().map(|one| one.word).collect(),
        units: config.units.keys().filter(|unit| who.is_some_and(|who| who.sees(Some(unit)))).cloned().collect(),
    })
}

fn sees(who: Option<&Who>, machine: &Machine) -> bool {
    who.is_some_and(|who| who.sees(machine.unit.as_deref()))
}

/// Machines by the mode that their unit is told.
fn modes(config: &Config, machines: &[Machine]) -> Vec<Count> {
    let mut table = config.sources.get(NAME).cloned();
    let all = table.as_mut().and_then(|table| table.str("client_mode")).unwrap_or_else(|| MODE.to_owned());
    let mut units = table.as_mut().and_then(|table| table.table("units"));
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    for unit in units.as_ref().map(Settings::keys).unwrap_or_default() {
        let mode = units.as_mut().and_then(|units| units.table(&unit)).and_then(|mut unit| unit.str("client_mode"));
        own.extend(mode.map(|mode| (unit, mode)));
    }
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for machine in machines {
        let mode = machine.unit.as_ref().and_then(|unit| own.get(unit)).unwrap_or(&all);
        *counts.entry(mode).or_default() += 1;
    }
    let count = |(mode, count): (&str, u64)| Count { value: mode.to_owned(), count, link: String::new() };
    counts.into_iter().map(count).collect()
}

/// The tables that may hold a machine which this person sees, and how many rules they have.
fn tables(config: &Config, who: Option<&Who>, machines: &[Machine]) -> (Vec<Table>, usize) {
    let (mut tables, mut total, mut room) = (Vec::new(), 0, RULES_MAX);
    for (name, settings) in &config.rules {
        let mut settings = settings.clone();
        let scope = Scope::read(&mut settings);
        let units = who.map(|who| who.units.as_slice()).unwrap_or_default();
        if !units.is_empty() && !units.iter().any(|unit| scope.admits(Some("macos"), Some(unit))) {
            continue;
        }
        let rules = settings.list("rules");
        total += rules.len();
        let left = rules.len().saturating_sub(room);
        let rules: Vec<Rule> = rules.into_iter().take(room).map(rule).collect();
        room -= rules.len();
        tables.push(Table {
            name: name.clone(),
            file: settings.file().display().to_string(),
            machines: machines.iter().filter(|machine| scope.holds(machine)).count(),
            scope: words(&serde_json::to_value(&scope).unwrap_or_default()),
            rules,
            left,
        });
    }
    (tables, total)
}

fn rule(mut table: Settings) -> Rule {
    let mut of = |key: &str| text::short(&table.str(key).unwrap_or_default());
    Rule { rule_type: of("type"), identifier: of("id"), policy: of("policy"), about: of("description") }
}

/// A rule that an action made, for a page.
pub fn made_rule(made: &MadeRule) -> Made {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let rule = read(&made.rule);
    let of = |key: &str| text::short(text::at(&rule, key));
    let whom = if made.machine.is_empty() { words(&read(&made.scope)) } else { made.machine.clone() };
    let machine =
        if made.machine.is_empty() { String::new() } else { format!("/machines/{}", text::part(&made.machine)) };
    Made {
        id: made.id(),
        rule_type: of("/rule_type"),
        identifier: of("/identifier"),
        policy: of("/policy"),
        whom: text::short(&whom),
        action: made.action.clone(),
        probe: made.probe.clone(),
        at: Time::from_ms(made.at),
        until: made.until.map(Time::from_ms),
        event: format!("/events/{}", text::part(&made.event)),
        machine,
    }
}

/// A scope in words: `units berlin, rome; not tags lab`.
fn words(scope: &Value) -> String {
    let lists = scope.as_object().into_iter().flatten();
    let list = |(key, value): (&String, &Value)| {
        let all: Vec<&str> = value.as_array()?.iter().filter_map(Value::as_str).collect();
        (!all.is_empty()).then(|| format!("{} {}", key.replace('_', " "), all.join(", ")))
    };
    let all: Vec<String> = lists.filter_map(list).collect();
    if all.is_empty() { "all machines".to_owned() } else { all.join("; ") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use registry::users::Role;

    const TEXT: &str = r#"version = 1
[unit.berlin]
[unit.rome]
[source.santa]
units.berlin = { client_mode = "LOCKDOWN" }
[rules.browsers]
scope = { units = ["berlin"], not_tags = ["lab"] }
rules = [ { type = "TEAMID", id = "EQHXZ8M8AV", policy = "BLOCKLIST", description = "no" } ]
[rules.all]
rules = [ { type = "TEAMID", id = "AAAAAAAAAA", policy = "ALLOWLIST" }, { type = "TEAMID", id = "BBBBBBBBBB", policy = "ALLOWLIST" } ]
"#;

    fn machine(unit: &str, tags: &[&str]) -> Machine {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Machine { unit: Some(unit.into()), platform: Some("macos".into()), tags, ..Machine::default() }
    }

    #[test]
    fn modes_and_tables_of_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pipeline.toml");
        std::fs::write(&file, TEXT).unwrap();
        let config = Config::load(&file, None).unwrap().0;
        let machines = [machine("berlin", &[]), machine("berlin", &["lab"]), machine("rome", &[])];
        let told: Vec<_> = modes(&config, &machines).into_iter().map(|one| (one.value, one.count)).collect();
        assert_eq!(told, [("LOCKDOWN".to_owned(), 2), ("MONITOR".to_owned(), 1)]);
        let who = |units: &[&str]| {
            let units = units.iter().map(|unit| (*unit).to_owned()).collect();
            Who { name: "ada".into(), role: Role::Viewer, units, token: None, scopes: Vec::new() }
        };
        let (all, total) = tables(&config, Some(&who(&[])), &machines);
        let told: Vec<_> = all.iter().map(|one| (one.name.as_str(), one.scope.as_str(), one.machines)).collect();
        assert_eq!(told, [("all", "all machines", 3), ("browsers", "units berlin; not tags lab", 1)]);
        assert_eq!(
            (total, all[1].rules[0].identifier.as_str(), all[1].rules[0].about.as_str()),
            (3, "EQHXZ8M8AV", "no")
        );
        let (own, total) = tables(&config, Some(&who(&["rome"])), &machines);
        assert_eq!((own.len(), total), (1, 2), "a table for another unit is not theirs to see");
    }
}

//! Rules for Santa that actions made, as `registry.db` holds them: which are for a machine now.

use std::collections::HashMap;

use event::Machine;
use pipe::config::Scope;
use registry::db::{Db, DbError};
use registry::made_rules::{self, MadeRule};
use serde::Deserialize;
use sources::santa::Rule;

/// All of them.
#[derive(Debug, Default)]
pub struct Made {
    machines: HashMap<String, Vec<One>>,
    scoped: Vec<(Reach, One)>,
}

#[derive(Debug)]
struct One {
    rule: Rule,
    until: Option<i64>,
}

/// Whom a rule is for that is for more than one machine.
#[derive(Debug, Default, Deserialize)]
struct Reach {
    #[serde(flatten)]
    scope: Scope,
    never: Option<Scope>,
}

impl Made {
    /// Reads them; what a newer program wrote and this one does not understand is for nobody.
    pub fn read(db: &Db) -> Result<Self, DbError> {
        let mut made = Self::default();
        for row in made_rules::all(db)? {
            if made.add(&row).is_none() {
                tracing::warn!("the rule {} that the action {} made is not understood", row.id(), row.action);
            }
        }
        Ok(made)
    }

    fn add(&mut self, row: &MadeRule) -> Option<()> {
        let one = One { rule: serde_json::from_str(&row.rule).ok()?, until: row.until };
        if row.machine.is_empty() {
            self.scoped.push((serde_json::from_str(&row.scope).ok()?, one));
        } else {
            self.machines.entry(row.machine.clone()).or_default().push(one);
        }
        Some(())
    }

    /// Whether one of them asks in which groups a machine is.
    pub fn asks_for_groups(&self) -> bool {
        let never = |reach: &Reach| reach.never.as_ref().is_some_and(Scope::asks_for_groups);
        self.scoped.iter().any(|(reach, _)| reach.scope.asks_for_groups() || never(reach))
    }

    /// Those for this machine at this time, in ms since 1970. Of two about the same the later one counts: what is for this
    /// machine alone stands behind what is for more.
    pub fn of(&self, machine: &Machine, now: i64) -> Vec<Rule> {
        let within = |reach: &Reach| {
            reach.scope.holds(machine) && !reach.never.as_ref().is_some_and(|never| never.holds(machine))
        };
        let scoped = self.scoped.iter().filter(|(reach, _)| within(reach)).map(|(_, one)| one);
        let own = machine.key().and_then(|key| self.machines.get(key)).into_iter().flatten();
        let holds = |one: &&One| one.until.is_none_or(|until| now < until);
        scoped.chain(own).filter(holds).map(|one| one.rule.clone()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_for_whom_it_was_made() {
        let mut made = Made::default();
        for (machine, scope, letter, until) in [
            ("C02", "", 'a', None),
            ("C02", "", 'b', Some(10)),
            ("", r#"{"units":["berlin"]}"#, 'c', None),
            ("", r#"{"never":{"tags":["vip"]}}"#, 'd', None),
        ] {
            let rule = format!(
                r#"{{"rule_type":"BINARY","identifier":"{}","policy":"BLOCKLIST"}}"#,
                letter.to_string().repeat(64)
            );
            let row = MadeRule {
                machine: machine.into(),
                scope: scope.into(),
                target: String::new(),
                rule,
                action: String::new(),
                probe: String::new(),
                incident: String::new(),
                event: String::new(),
                at: 0,
                until,
            };
            made.add(&row).unwrap();
        }
        assert!(!made.asks_for_groups());
        let of = |serial: &str, unit: &str, tag: &str, now: i64| -> String {
            let machine = Machine {
                serial_number: Some(serial.into()),
                unit: Some(unit.into()),
                tags: vec![tag.into()],
                ..Machine::default()
            };
            made.of(&machine, now).iter().filter_map(|rule| rule.identifier.chars().next()).collect()
        };
        assert_eq!(of("C02", "paris", "", 9), "dab");
        assert_eq!(of("C02", "paris", "", 10), "da");
        assert_eq!(of("C03", "berlin", "", 10), "cd");
        assert_eq!(of("C03", "berlin", "vip", 10), "c");
    }
}

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

impl Reach {
    fn asks_for_groups(&self) -> bool {
        self.scope.asks_for_groups() || self.never.as_ref().is_some_and(Scope::asks_for_groups)
    }

    /// Whether a machine is in it. Of one whose groups are not known nobody can say that it is not to be left out.
    fn holds(&self, machine: &Machine, groups_known: bool) -> bool {
        self.scope.holds(machine)
            && !self.never.as_ref().is_some_and(|never| never.names(machine))
            && (groups_known || !self.asks_for_groups())
    }
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
        self.scoped.iter().any(|(reach, _)| reach.asks_for_groups())
    }

    /// Those for this machine at this time, in ms since 1970; whether its groups are known matters to those that ask for
    /// groups. Of two about the same the later one counts: what is for this
    /// machine alone stands behind what is for more.
    pub fn of(&self, machine: &Machine, groups_known: bool, now: i64) -> Vec<Rule> {
        let within = self.scoped.iter().filter(|(reach, _)| reach.holds(machine, groups_known));
        let scoped = within.map(|(_, one)| one);
        let own = machine.key().and_then(|key| self.machines.get(key)).into_iter().flatten();
        let holds = |one: &&One| one.until.is_none_or(|until| now < until);
        scoped.chain(own).filter(holds).map(|one| one.rule.clone()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    /// Of rules for (machine, scope, until), called a, b, c, …
    fn made(rows: &[(&str, &str, Option<i64>)]) -> Made {
        let mut made = Made::default();
        for ((machine, scope, until), letter) in rows.iter().zip("abcdef".chars()) {
            let identifier = letter.to_string().repeat(64);
            let row = MadeRule {
                machine: (*machine).into(),
                scope: (*scope).into(),
                target: String::new(),
                rule: format!(r#"{{"rule_type":"BINARY","identifier":"{identifier}","policy":"BLOCKLIST"}}"#),
                action: String::new(),
                probe: String::new(),
                incident: String::new(),
                event: String::new(),
                at: 0,
                until: *until,
            };
            made.add(&row).unwrap();
        }
        made
    }

    fn letters(rules: &[Rule]) -> String {
        rules.iter().filter_map(|rule| rule.identifier.chars().next()).collect()
    }

    fn machine(serial: &str, unit: &str, tag: &str) -> Machine {
        let (serial_number, unit) = (Some(serial.into()), Some(unit.into()));
        Machine { serial_number, unit, tags: vec![tag.into()], ..Machine::default() }
    }

    #[test]
    fn a_rule_is_for_whom_it_was_made() {
        let made = made(&[
            ("C02", "", None),
            ("C02", "", Some(10)),
            ("", r#"{"units":["berlin"]}"#, None),
            ("", r#"{"never":{"tags":["vip"]}}"#, None),
        ]);
        assert!(!made.asks_for_groups());
        let of =
            |serial: &str, unit: &str, tag: &str, now: i64| letters(&made.of(&machine(serial, unit, tag), false, now));
        assert_eq!(of("C02", "paris", "", 9), "dab");
        assert_eq!(of("C02", "paris", "", 10), "da");
        assert_eq!(of("C03", "berlin", "", 10), "cd");
        assert_eq!(of("C03", "berlin", "vip", 10), "c");
    }

    #[test]
    fn whoever_one_list_of_never_names_is_never_touched() {
        let made = made(&[
            ("", r#"{"never":{"tags":["vip"],"machines":["C03"],"units":["board"]}}"#, None),
            ("", r#"{"never":{}}"#, None),
        ]);
        for (serial, unit, tag, want) in [
            ("C02", "berlin", "", "ab"),
            ("C02", "berlin", "vip", "b"),
            ("C03", "berlin", "", "b"),
            ("C02", "board", "", "b"),
        ] {
            assert_eq!(letters(&made.of(&machine(serial, unit, tag), true, 0)), want, "{serial} {unit} {tag}");
        }
    }

    #[test]
    fn who_may_be_in_a_group_that_is_left_out_gets_nothing() {
        let made = made(&[
            ("", r#"{"never":{"groups":["board"]}}"#, None),
            ("", r#"{"not_groups":["board"]}"#, None),
            ("", r#"{"never":{"tags":["vip"]}}"#, None),
        ]);
        assert!(made.asks_for_groups());
        let of = |groups: &[&str], known: bool| {
            let groups = groups.iter().map(|group| (*group).to_owned()).collect();
            letters(&made.of(&Machine { groups, ..machine("C02", "berlin", "") }, known, 0))
        };
        assert_eq!((of(&[], false), of(&[], true), of(&["board"], true)), ("c".into(), "abc".into(), "c".into()));
    }
}

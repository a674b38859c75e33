//! `[source.santa]` and `[rules.*]`.

use std::collections::BTreeMap;
use std::time::Duration;

use pipe::config::{Config, Finding, Scope, Settings as Table, nearest};
use registry::pending::Reenrol;
use sources::santa::{ClientMode, NAME, Policy, Rule, RuleType, Settings, TEXT_MAX};

/// Rules of all tables together.
const RULES_MAX: usize = 100_000;
/// Events in one upload, and rules in one page.
const BATCH_MAX: i64 = 1000;
/// The least time between two syncs that Santa takes.
const SYNC_MIN: Duration = Duration::from_secs(60);
/// The longest time that may be set.
const TIME_MAX: Duration = Duration::from_secs(7 * 86_400);

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Santa {
    /// What machines are told whose unit says nothing else.
    pub settings: Settings,
    /// What the machines of these units are told.
    pub units: BTreeMap<String, Settings>,
    /// Machines may come again with another id or from another unit.
    pub reenrol: Reenrol,
    /// The rules.
    pub rules: Vec<Rules>,
}

/// `[rules.NAME]`.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Its name.
    pub name: String,
    /// Whom they are for.
    pub scope: Scope,
    /// One for each target.
    pub rules: Vec<Rule>,
}

impl Santa {
    /// The table of the source.
    pub fn read(&mut self, table: &mut Table, config: &Config) {
        if table.name() != NAME {
            table.fail("kind", "there is one Santa in a hub, and its table is [source.santa]");
        }
        self.reenrol = super::reenrol(table);
        self.settings = settings(table, &Settings::default());
        let Some(mut units) = table.table("units") else { return };
        for unit in units.keys() {
            let Some(mut own) = units.table(&unit) else { continue };
            if !config.units.contains_key(&unit) {
                let near = nearest(&unit, config.units.keys().map(String::as_str));
                units.fail(&unit, format!("there is no [unit.{unit}]{near}"));
            }
            self.units.insert(unit, settings(&mut own, &self.settings));
            units.absorb(own);
        }
        table.absorb(units);
    }

    /// The tables of rules.
    pub fn rules(&mut self, config: &Config) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut count = 0;
        for (name, table) in &config.rules {
            let mut table = table.clone();
            let scope = Scope::read(&mut table);
            for (list, not, what) in [
                (&scope.tags, &scope.not_tags, "tags"),
                (&scope.groups, &scope.not_groups, "groups"),
                (&scope.machines, &scope.not_machines, "machines"),
            ] {
                for both in list.iter().filter(|word| not.contains(word)) {
                    table.fail("scope", format!("`{both}` is both in `{what}` and in `not_{what}`"));
                }
            }
            let mut rules: BTreeMap<(RuleType, String), Rule> = BTreeMap::new();
            if !table.has("rules") {
                table.fail("", "needs the key `rules` = [ { type, id, policy } ]");
            }
            for mut one in table.list("rules") {
                if let Some(rule) = rule(&mut one) {
                    let target = (rule.rule_type, rule.identifier.clone());
                    if rules.contains_key(&target) {
                        one.fail("id", "there is another rule for this in the same table");
                    }
                    if let Some(other) = self.overlap(&scope, &rule) {
                        one.fail(
                            "id",
                            format!(
                                "[rules.{other}] has a rule for this, too, and a machine may be in the scope of both"
                            ),
                        );
                    }
                    rules.insert(target, rule);
                }
                table.absorb(one);
            }
            count += rules.len();
            if count > RULES_MAX {
                table.fail("rules", format!("there are more than {RULES_MAX} rules in all"));
            }
            findings.extend(table.finish());
            let rules = rules.into_values().collect();
            self.rules.push(Rules { name: name.clone(), scope, rules });
        }
        findings
    }

    /// The table before this one that has a rule for the same target, and may have it for the same machine.
    fn overlap(&self, scope: &Scope, rule: &Rule) -> Option<&str> {
        let has = |table: &&Rules| table.rules.binary_search_by(|own| own.target().cmp(&rule.target())).is_ok();
        let table = self.rules.iter().find(|table| has(table) && !apart(&table.scope, scope))?;
        Some(&table.name)
    }
}

/// Whether no machine can be in both scopes.
fn apart(a: &Scope, b: &Scope) -> bool {
    let within = |some: &[String], all: &[String]| !some.is_empty() && some.iter().all(|one| all.contains(one));
    let differ = |a: &[String], b: &[String]| !a.is_empty() && !b.is_empty() && !a.iter().any(|one| b.contains(one));
    differ(&a.units, &b.units)
        || differ(&a.platforms, &b.platforms)
        || within(&a.units, &b.not_units)
        || within(&b.units, &a.not_units)
        || within(&a.platforms, &b.not_platforms)
        || within(&b.platforms, &a.not_platforms)
        || within(&a.tags, &b.not_tags)
        || within(&b.tags, &a.not_tags)
        || within(&a.groups, &b.not_groups)
        || within(&b.groups, &a.not_groups)
        || differ(&a.machines, &b.machines)
        || within(&a.machines, &b.not_machines)
        || within(&b.machines, &a.not_machines)
}

fn settings(table: &mut Table, base: &Settings) -> Settings {
    let mut read = base.clone();
    let modes = ClientMode::ALL.map(|(word, _)| word);
    if let Some(word) = table.word("client_mode", &modes) {
        read.client_mode =
            ClientMode::ALL.iter().find(|(own, _)| *own == word).map_or(base.client_mode, |(_, mode)| *mode);
    }
    match table.int("batch_size") {
        Some(n @ 1..=BATCH_MAX) => read.batch_size = u32::try_from(n).unwrap_or(base.batch_size),
        Some(_) => table.fail("batch_size", format!("a number from 1 to {BATCH_MAX}")),
        None => {}
    }
    if let Some(seconds) = time(table, "full_sync_interval") {
        read.full_sync_interval = seconds;
    }
    for (key, to) in [
        ("push_notification_full_sync_interval", &mut read.push_notification_full_sync_interval),
        ("push_notification_global_rule_sync_deadline", &mut read.push_notification_global_rule_sync_deadline),
    ] {
        *to = time(table, key).or(*to);
    }
    for (key, to) in [
        ("enable_bundles", &mut read.enable_bundles),
        ("enable_transitive_rules", &mut read.enable_transitive_rules),
        ("enable_all_event_upload", &mut read.enable_all_event_upload),
        ("disable_unknown_event_upload", &mut read.disable_unknown_event_upload),
    ] {
        *to = table.bool(key).or(*to);
    }
    for (key, to) in [
        ("allowed_path_regex", &mut read.allowed_path_regex),
        ("blocked_path_regex", &mut read.blocked_path_regex),
        ("event_detail_url", &mut read.event_detail_url),
        ("event_detail_text", &mut read.event_detail_text),
    ] {
        if let Some(said) = text(table, key) {
            // An empty pattern is none: where a unit takes away what the others have.
            *to = Some(said).filter(|said| !said.is_empty());
        }
    }
    read.block_usb_mount = table.bool("block_usb_mount").unwrap_or(read.block_usb_mount);
    if table.has("remount_usb_mode") {
        read.remount_usb_mode = table.strings("remount_usb_mode");
    }
    if let Some(word) = table.word("override_file_access_action", &["NONE", "AUDIT_ONLY", "DISABLE"]) {
        read.override_file_access_action = Some(word.to_owned());
    }
    read
}

/// Seconds.
fn time(table: &mut Table, key: &str) -> Option<u32> {
    let time = table.duration(key)?;
    if (SYNC_MIN..=TIME_MAX).contains(&time) {
        return u32::try_from(time.as_secs()).ok();
    }
    table.fail(key, "a time from 1m to 7d");
    None
}

fn text(table: &mut Table, key: &str) -> Option<String> {
    let text = table.str(key)?;
    if text.len() <= TEXT_MAX && !text.contains('\0') {
        return Some(text);
    }
    table.fail(key, format!("a text of at most {} KiB without NUL", TEXT_MAX >> 10));
    None
}

fn rule(table: &mut Table) -> Option<Rule> {
    let _ = table.str("description"); // for whoever reads the file
    for key in ["type", "policy"] {
        if !table.has(key) {
            let _ = table.required_str(key);
        }
    }
    let rule_type = table.word("type", &RuleType::ALL.map(|(word, _)| word));
    let policy = table.word("policy", &Policy::ALL.map(|(word, _)| word));
    let identifier = table.required_str("id");
    let (custom_msg, custom_url) = (text(table, "custom_msg"), text(table, "custom_url"));
    let cel_expr = text(table, "cel_expr");
    let (rule_type, policy, identifier) = (rule_type?, policy?, identifier?);
    let rule_type = RuleType::ALL.iter().find(|(word, _)| *word == rule_type)?.1;
    let policy = Policy::ALL.iter().find(|(word, _)| *word == policy)?.1;
    let rule = Rule { rule_type, identifier, policy, custom_msg, custom_url, cel_expr };
    for (key, why) in rule.flaws() {
        table.fail(if key == "identifier" { "id" } else { key }, why);
    }
    Some(rule.plain())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::*;
    use crate::conf::{Conf, check};

    fn config(text: &str) -> Config {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.toml");
        std::fs::write(&path, format!("version = 1\n[unit.berlin]\n[unit.paris]\n{text}")).unwrap();
        Config::load(&path, None).unwrap().0
    }

    #[test]
    fn what_is_said_holds() {
        let text = "[source.santa]\nclient_mode = \"MONITOR\"\nfull_sync_interval = \"15m\"\nenable_bundles = true\n\
            blocked_path_regex = \"^/tmp/\"\n\
            units.berlin = { client_mode = \"LOCKDOWN\", blocked_path_regex = \"\", remount_usb_mode = [\"rdonly\"] }\n\
            [rules.a]\nscope = { units = [\"berlin\"] }\n\
            rules = [ { type = \"TEAMID\", id = \"EQHXZ8M8AV\", policy = \"ALLOWLIST\" } ]\n\
            [rules.b]\nscope = { not_units = [\"berlin\"] }\n\
            rules = [ { type = \"TEAMID\", id = \"EQHXZ8M8AV\", policy = \"BLOCKLIST\", custom_msg = \"no\" } ]\n";
        let config = config(text);
        let santa = Conf::read(&config, None).unwrap().santa;
        assert_eq!((santa.settings.client_mode, santa.settings.full_sync_interval), (ClientMode::Monitor, 900));
        let berlin = &santa.units["berlin"];
        assert_eq!((berlin.client_mode, berlin.full_sync_interval), (ClientMode::Lockdown, 900));
        assert_eq!((berlin.blocked_path_regex.as_deref(), berlin.enable_bundles), (None, Some(true)));
        assert_eq!(santa.rules.len(), 2);
        assert!(check(&config).is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let rule = |rest: &str| format!("[rules.a]\nrules = [ {{ {rest} }} ]\n");
        let hex = "ab".repeat(32);
        let binary = format!("type = \"BINARY\", id = \"{hex}\"");
        for (text, key, says) in [
            ("[source.santa]\nclient_mode = \"LOCK\"\n".to_owned(), "source.santa.client_mode", "none of MONITOR"),
            ("[source.santa]\nbatch_size = 0\n".to_owned(), "source.santa.batch_size", "1 to 1000"),
            ("[source.santa]\nfull_sync_interval = \"10s\"\n".to_owned(), "source.santa.full_sync_interval", "1m"),
            ("[source.santa]\nunits.berln = { batch_size = 7 }\n".to_owned(), "source.santa.units.berln", "`berlin`"),
            (
                "[source.santa]\nunits.berlin = { bach_size = 7 }\n".to_owned(),
                "source.santa.units.berlin.bach_size",
                "batch_size",
            ),
            ("[source.other]\nkind = \"santa\"\n".to_owned(), "source.other.kind", "there is one Santa"),
            ("[rules.a]\n".to_owned(), "rules.a", "needs the key `rules`"),
            (
                rule("type = \"BINARY\", id = \"abcde\", policy = \"BLOCKLIST\""),
                "rules.a.rules.1.id",
                "no BINARY identifier",
            ),
            (
                rule(&format!("type = \"BUNDLE\", id = \"{hex}\", policy = \"BLOCKLIST\"")),
                "rules.a.rules.1.type",
                "`BUNDLE` is none of",
            ),
            (
                rule(&format!("{binary}, policy = \"ALLOWLIST\", custom_msg = \"x\"")),
                "rules.a.rules.1.custom_msg",
                "blocked",
            ),
            (
                rule(&format!("{binary}, policy = \"ALLOWLIST\", custom_url = \"x\"")),
                "rules.a.rules.1.custom_url",
                "blocked",
            ),
            (rule(&format!("{binary}, policy = \"CEL\"")), "rules.a.rules.1.policy", "cel_expr"),
            (
                rule(&format!("{binary}, policy = \"BLOCKLIST\", cel_expr = \"true\"")),
                "rules.a.rules.1.cel_expr",
                "CEL",
            ),
            (rule(&format!("{binary}, policy = \"REMOVE\"")), "rules.a.rules.1.policy", "`REMOVE` is none of"),
            (rule(&binary), "rules.a.rules.1", "needs the key `policy`"),
            (
                format!(
                    "[rules.a]\nrules = [ {{ {binary}, policy = \"BLOCKLIST\" }}, {{ {binary}, policy = \"ALLOWLIST\" }} ]\n"
                ),
                "rules.a.rules.2.id",
                "same table",
            ),
            (
                format!(
                    "[rules.a]\nrules = [ {{ {binary}, policy = \"BLOCKLIST\" }} ]\n[rules.b]\nscope = {{ units = [\"berlin\"] }}\nrules = [ {{ {binary}, policy = \"BLOCKLIST\" }} ]\n"
                ),
                "rules.b.rules.1.id",
                "[rules.a] has a rule for this",
            ),
            (
                format!(
                    "[rules.a]\nscope = {{ tags = [\"x\"], not_tags = [\"x\"] }}\nrules = [ {{ {binary}, policy = \"BLOCKLIST\" }} ]\n"
                ),
                "rules.a.scope",
                "both in",
            ),
        ] {
            let found: Vec<String> = check(&config(&text)).iter().map(|f| format!("{} {}", f.key, f.text)).collect();
            let hit = found.iter().any(|f| f.starts_with(&format!("{key} ")) && f.contains(says));
            assert!(hit, "{text}: {found:?}");
        }
    }
}

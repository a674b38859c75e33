//! In which groups machines are, as `normalize` has learned it from their inventory: those that sources put them in, and
//! those of their principal users. Looked up when a scope asks for it,
//! so that the next answer an agent gets after a change is another.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use event::Machine;
use pipe::config::Config;
use registry::db::{DbError, Watched, has_schema};
use registry::inventory;

/// Machines whose groups are remembered, for when they cannot be read.
const REMEMBERED_MAX: usize = 100_000;

/// The groups of machines.
pub struct Groups {
    open: Mutex<Open>,
}

struct Open {
    /// Of `normalize`, which another process writes, and which may be put back from a backup.
    state: Watched,
    remembered: HashMap<String, Vec<String>>,
}

impl Groups {
    /// Of this pipeline.
    pub fn of(config: &Config) -> Self {
        let state = Watched::new(config.homes().state("normalize"));
        Self { open: Mutex::new(Open { state, remembered: HashMap::new() }) }
    }

    /// The machine with its groups, and whether these are known: a machine that `normalize` has not heard of yet may be in
    /// any. If they cannot be read those that it had last hold, and `complain` is told why.
    pub fn add(&self, mut machine: Machine, config: &Config, complain: impl FnOnce(DbError)) -> (Machine, bool) {
        let Some(key) = machine.key().map(str::to_owned) else { return (machine, false) };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match Self::look(&mut open, &key) {
            Ok(None) => return (machine, false),
            Ok(Some(whole)) => {
                let mut groups = whole.groups;
                let of_user = whole.user.as_deref().map_or(&[][..], |user| config.groups_of(user));
                let more: Vec<String> = of_user.iter().filter(|group| !groups.contains(group)).cloned().collect();
                groups.extend(more);
                machine.groups.clone_from(&groups);
                if open.remembered.len() >= REMEMBERED_MAX {
                    open.remembered.clear();
                }
                open.remembered.insert(key, groups);
            }
            Err(why) => {
                complain(why);
                let Some(groups) = open.remembered.get(&key) else { return (machine, false) };
                machine.groups.clone_from(groups);
            }
        }
        (machine, true)
    }

    fn look(open: &mut Open, key: &str) -> Result<Option<Machine>, DbError> {
        let Some((mut db, _)) = open.state.look()? else { return Ok(None) };
        if !has_schema(db, &inventory::SCHEMA)? {
            return Ok(None);
        }
        Ok(inventory::whole(&mut db, key)?.map(|whole| whole.block))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use registry::db::Db;

    use super::*;

    #[test]
    fn what_normalize_has_learned_holds_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipeline.toml");
        std::fs::write(&path, "version = 1\n[contact.ada]\nemail = \"ada@example.com\"\ngroups = [\"sec\"]\n").unwrap();
        let config = Config::load(&path, None).unwrap().0;
        let groups = Groups::of(&config);
        let of = || {
            let machine = Machine { serial_number: Some("C02".into()), ..Machine::default() };
            let (machine, known) = groups.add(machine, &config, |why| assert_eq!(why.to_string(), "it can be read"));
            (machine.groups, known)
        };
        let known = |names: &[&str]| (names.iter().map(|name| (*name).to_owned()).collect(), true);
        assert_eq!(of(), (vec![], false), "there is no state yet");
        let file = config.data.join("state/normalize.db");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut db = Db::open(&file, &[inventory::SCHEMA]).unwrap();
        let mut put = |names: &[&str], user: Option<&str>| {
            let mut tx = db.begin().unwrap();
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let block = Machine { groups: names, user: user.map(str::to_owned), ..Machine::default() };
            inventory::put_whole(&mut tx, "C02", &inventory::Whole { block, ..Default::default() }).unwrap();
            tx.commit().unwrap();
        };
        assert_eq!(of(), (vec![], false), "nobody has heard of it yet");
        put(&[], None);
        assert_eq!(of(), known(&[]), "it is in none");
        put(&["dev", "ops"], None);
        assert_eq!(of(), known(&["dev", "ops"]));
        put(&["ops"], Some("Ada@example.com"));
        assert_eq!(of(), known(&["ops", "sec"]));
    }
}

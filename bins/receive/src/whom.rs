//! Whom a live query reaches, as `receive` knows machines.

use event::Machine;
use pipe::config::{Config, Whom};
use registry::db::{Db, DbError};
use registry::machines;
use registry::tags::Tags;

use crate::desk;
use crate::groups::Groups;

/// The machines of a source that are meant, as `receive` knows them in its state; `tags` are those by hand.
pub fn machines(whom: &Whom, config: &Config, db: &Db, tags: &Tags, source: &str) -> Result<Vec<Machine>, DbError> {
    let (groups, mut failed) = (whom.asks_for_groups().then(|| Groups::of(config)), None);
    let mut all = Vec::new();
    for machine in machines::all(db, source)? {
        let by_hand = tags.get(machine.key()).map_or(&[][..], Vec::as_slice).to_vec();
        let mut machine = desk::block(machine, config, &by_hand);
        if let Some(groups) = &groups {
            machine = groups.add(machine, config, |why| failed = Some(why)).0;
        }
        if whom.holds(&machine) {
            all.push(machine);
        }
    }
    failed.map_or(Ok(all), Err)
}

//! The ledger of actions: read where `act` keeps it, whether that runs or not; what people want done is an order.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use registry::db::{Db, DbError};
use registry::ledger::incidents::Incident;
use registry::orders;

use crate::answer::Wrong;
use crate::app::App;
use crate::ask::{Asked, Who};

/// Looks at the ledger; the default where there is none yet.
pub fn look<T: Default>(app: &App, look: impl FnOnce(&Db) -> Result<T, DbError>) -> Result<T, Wrong> {
    let home = app.live().config.homes().state("act");
    let seen = registry::ledger::look(home).and_then(|db| db.map(|db| look(&db)).transpose());
    seen.map(Option::unwrap_or_default).map_err(|why| {
        tracing::warn!("the ledger: {why}");
        let advice = "`zentral status` and the log of the console say more. Try again soon.";
        Wrong::new(503, "The ledger of actions cannot be read.", advice)
    })
}

/// Gives orders to `act`, which carries them out within a second, or when it runs next.
pub fn order(app: &App, asked: &Asked, verb: &str, targets: &[String]) -> Result<(), Wrong> {
    app.write(|tx, now| orders::give(tx, verb, targets, &asked.by(), now)).map_err(|e: DbError| e.into())
}

/// Whose incidents somebody sees.
pub enum Sight {
    /// All.
    All,
    /// Those that are about one of these machines.
    Of(HashSet<String>),
}

impl Sight {
    /// Of this person.
    pub fn of(app: &App, who: Option<&Who>) -> Result<Self, Wrong> {
        let Some(who) = who else { return Ok(Self::Of(HashSet::new())) };
        if who.units.is_empty() {
            return Ok(Self::All);
        }
        let theirs = app.machines(|known| {
            let all = known.each().filter(|(_, machine, _)| who.sees(machine.unit.as_deref()));
            Ok(all.map(|(key, ..)| key.to_owned()).collect())
        })?;
        Ok(Self::Of(theirs))
    }

    /// An incident whose key is no machine (a user, a file) may tell of machines of several units.
    pub fn holds(&self, incident: &Incident) -> bool {
        match self {
            Self::All => true,
            Self::Of(theirs) => incident.key == incident.machine && theirs.contains(&incident.key),
        }
    }
}

/// A place between two rows, as an address carries it: ms since 1970, and an id.
pub fn cursor((at, id): &(i64, String)) -> String {
    URL_SAFE_NO_PAD.encode(format!("{at}.{id}"))
}

/// The place that an address carries; what is none is the beginning.
pub fn place(text: &str) -> Option<(i64, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let (at, id) = text.split_once('.')?;
    Some((at.parse().ok()?, id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back() {
        let at = (1_760_000_000_000, "4f2a".to_owned());
        assert_eq!(place(&cursor(&at)), Some(at));
        assert_eq!((place(""), place("?"), place("YWJj")), (None, None, None));
    }

    #[test]
    fn incidents_of_several_units_are_for_those_who_see_all() {
        let of =
            |key: &str, machine: &str| Incident { key: key.into(), machine: machine.into(), ..Incident::default() };
        let sight = Sight::Of(["C1".to_owned()].into());
        for (incident, theirs) in
            [(of("C1", "C1"), true), (of("C2", "C2"), false), (of("ada", "C1"), false), (of("", ""), false)]
        {
            assert_eq!((sight.holds(&incident), Sight::All.holds(&incident)), (theirs, true), "{incident:?}");
        }
    }
}

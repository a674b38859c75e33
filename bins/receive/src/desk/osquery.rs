//! What osquery asks of the hub: live queries.

use event::{Machine, Time};
use registry::carves::{self, Carve};
use registry::db::DbError;
use registry::live;
use sources::Unavailable;
use sources::osquery::{Announced, Asked, Block, Finished, Given, NAME, NotTaken, Scheduled};
use sources::santa::Denied;

use super::Desk;

impl sources::osquery::Desk for Desk {
    fn given(&self, machine: &Machine, most: usize) -> Result<Vec<Given>, Unavailable> {
        let key = machine.key().unwrap_or_default();
        let (registry, now) = (&self.hub.registry, Time::now().ms());
        let groups = self.hub.queries.ask_for_groups(registry, now);
        let due = groups.and_then(|asked| self.hub.queries.due(registry, &self.whole(machine, asked), most, now));
        let due = due.map_err(|why| {
            self.hub.complain("live queries cannot be looked up", &why);
            Unavailable
        })?;
        Ok(due.into_iter().map(|(id, sql)| Given { name: live::name(&self.hub.key, &id, key), sql }).collect())
    }

    fn asked(&self, machine: &Machine, name: &str) -> Option<Asked> {
        let asked = live::named(&self.hub.key, name, machine.key().unwrap_or_default())
            .and_then(|id| Some((id, live::made(id)?)));
        self.hub.meters.answers.with_label_values(&[if asked.is_some() { "taken" } else { "foreign" }]).inc();
        let (id, made) = asked?;
        self.hub.queries.answered(id, machine, Time::now().ms());
        let means = self.hub.queries.means(&self.hub.registry, id).unwrap_or_else(|why| {
            self.hub.complain("what live queries mean cannot be looked up", &why);
            live::Means::default()
        });
        Some(Asked { id: id.to_owned(), made, tag: means.tag, run_of: means.run_of, cause: means.cause })
    }

    fn admits(&self, secret: &str) -> Result<(), Denied> {
        self.admitted(NAME, secret)
    }

    fn inventory_due(&self, machine: &Machine) -> bool {
        self.hub.queries.inventory_due(machine, Time::now().ms())
    }

    fn inventory_came(&self, machine: &Machine) {
        self.hub.queries.inventory_came(machine, Time::now().ms());
    }

    fn carve_scheduled(&self, machine: &Machine, scheduled: &Scheduled) -> bool {
        self.hub.carves.scheduled(machine, scheduled, Time::now().ms())
    }

    fn carve_start(
        &self,
        machine: &Machine,
        carve: &str,
        announced: Announced,
    ) -> Result<(String, Scheduled, bool), NotTaken> {
        if !self.hub.sink.has_room(pipe::topic::Class::Source) {
            return Err(NotTaken::Unavailable);
        }
        let limits = self.live.conf.osquery.carves;
        let (begun, again) = self.hub.carves.start(machine, carve, announced, limits, Time::now().ms())?;
        if !again {
            self.kept(&begun)?;
        }
        let Carve { session, carve, request, path, .. } = begun;
        Ok((session, Scheduled { carve, request, path }, again))
    }

    fn carve_block(&self, block: &Block<'_>) -> Result<Option<Finished>, NotTaken> {
        let Some((carve, finished)) = self.hub.carves.block(block, Time::now().ms())? else { return Ok(None) };
        // The file is there in any case.
        let _ = self.kept(&carve);
        Ok(Some(finished))
    }
}

impl Desk {
    /// Writes down how far a carve is.
    fn kept(&self, carve: &Carve) -> Result<(), NotTaken> {
        let write = || {
            let mut db = self.hub.known.db();
            let mut tx = db.begin()?;
            carves::put(&mut tx, carve)?;
            tx.commit()
        };
        write().map_err(|why: DbError| {
            self.hub.complain("carves cannot be written down", &why);
            NotTaken::Unavailable
        })
    }
}

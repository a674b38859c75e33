//! What osquery asks of the hub: live queries.

use event::{Machine, Time};
use registry::live;
use sources::Unavailable;
use sources::osquery::{Asked, Given};

use super::Desk;

impl sources::osquery::Desk for Desk {
    fn given(&self, machine: &Machine, most: usize) -> Result<Vec<Given>, Unavailable> {
        let key = machine.key().unwrap_or_default();
        let due = self.hub.queries.due(&self.hub.registry, machine, most, Time::now().ms()).map_err(|why| {
            self.hub.complain("live queries cannot be looked up", &why);
            Unavailable
        })?;
        Ok(due.into_iter().map(|(id, sql)| Given { name: live::name(&self.hub.key, &id, key), sql }).collect())
    }

    fn asked(&self, machine: &Machine, name: &str) -> Option<Asked> {
        let asked = live::named(&self.hub.key, name, machine.key().unwrap_or_default())
            .and_then(|id| Some(Asked { id: id.to_owned(), made: live::made(id)? }));
        self.hub.meters.answers.with_label_values(&[if asked.is_some() { "taken" } else { "foreign" }]).inc();
        if let Some(asked) = &asked {
            self.hub.queries.answered(&asked.id, machine, Time::now().ms());
        }
        asked
    }
}

//! Which lines are about a machine that was forgotten, whenever they come: what was received until then is not stored.

use std::collections::BTreeMap;
use std::time::Duration;

use event::{Event, Machine, Time, json};
use pipe::config::Config;
use registry::changes::FORGOTTEN;
use registry::db::{Db, DbError};

use crate::index::Gone;

/// Orders that are older are not looked for at the start: no line comes so late.
const AGE: Duration = Duration::from_secs(31 * 24 * 3600);

/// What the event says by which the hub was told to forget a machine, if this line is one.
pub fn order(line: &[u8]) -> Option<Gone> {
    // Nearly every line ends here.
    memchr::memmem::find(line, FORGOTTEN.as_bytes())?;
    let event = Event::parse(line).ok()?;
    let machine = event.machine.filter(|_| event.type_ == FORGOTTEN && event.source == "zentral")?;
    Some(Gone { machine, at: event.received })
}

/// The machines.
#[derive(Default)]
pub struct Machines {
    /// By what a line may know them by: until when what was received is about the one that was forgotten.
    until: BTreeMap<String, i64>,
}

impl Machines {
    /// What was said before the stage started. Without a registry, or where it cannot be read, what is read tells.
    pub fn read(&mut self, config: &Config, now: Time) {
        let since = now.ms().saturating_sub(i64::try_from(AGE.as_millis()).unwrap_or(i64::MAX));
        let read = || -> Result<Vec<_>, DbError> {
            let db = Db::open_read_only(config.registry())?;
            db.map_or_else(|| Ok(Vec::new()), |db| registry::forgotten::since(&db, since))
        };
        match read() {
            Ok(all) => all.into_iter().for_each(|one| self.put(&one.machine, one.at)),
            Err(error) => tracing::warn!("which machines were forgotten: registry.db: {error}"),
        }
    }

    /// What is said by and by.
    pub fn learn<'a>(&mut self, gone: impl Iterator<Item = &'a Gone>) {
        for Gone { machine, at } in gone {
            // An event that has no serial number goes by the hardware UUID.
            let keys = [machine.key(), machine.hardware_uuid.as_deref().filter(|uuid| !uuid.is_empty())];
            keys.into_iter().flatten().for_each(|key| self.put(key, at.ms()));
        }
    }

    fn put(&mut self, key: &str, at: i64) {
        let until = self.until.entry(key.to_lowercase()).or_insert(at);
        *until = at.max(*until);
    }

    /// Whether a line is about one of them.
    pub fn hold(&self, line: &[u8]) -> bool {
        if self.until.is_empty() {
            return false;
        }
        let machine = json::get(line, "machine").and_then(|text| serde_json::from_slice::<Machine>(text).ok());
        let until = machine.as_ref().and_then(Machine::key).and_then(|key| self.until.get(&key.to_lowercase()));
        until.is_some_and(|until| super::received(line).is_some_and(|received| received.ms() <= *until))
    }
}

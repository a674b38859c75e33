//! What a source may ask about who speaks (design § 6): registry and state behind [`sources::Desk`].

mod munki;
mod osquery;
pub mod santa;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event::{Machine, Time};
use pipe::config::Config;
use pipe::topic::Class;
use registry::db::{Db, DbError};
use registry::enrolments::{self, Denied};
use registry::machines::{self, Enrolled, KeyHash};
use sha2::{Digest as _, Sha256};
use sources::{Enrolment, MachineFacts, Speaker, Unavailable};

pub use munki::Posting;

use crate::hub::{Hub, Live};

/// Longer is none of our keys: 32 bytes in base64.
const NODE_KEY_LEN: usize = 43;

/// The desk as one request finds it.
pub struct Desk {
    /// What all share.
    pub hub: Arc<Hub>,
    /// What the configuration says, for this request from its beginning to its end.
    pub live: Arc<Live>,
    /// Whoever asks has shown a client certificate.
    certified: bool,
    /// The lines about the request that were due.
    said: Mutex<Vec<Said>>,
}

/// Source, machine and kind.
type Said = (&'static str, String, &'static str);

impl sources::Desk for Desk {
    fn enrol(&self, source: &'static str, secret: &str, facts: &MachineFacts) -> Enrolment {
        if !self.hub.sink.has_room(Class::Source) {
            return Enrolment::Unavailable; // or the agent would get a key that nobody is told about
        }
        self.try_enrol(source, secret, facts).unwrap_or_else(|why| {
            self.hub.complain("nobody can enrol", &why);
            Enrolment::Unavailable
        })
    }

    fn speaker(&self, source: &'static str, node_key: &str) -> Speaker {
        if node_key.len() != NODE_KEY_LEN {
            return Speaker::Unknown;
        }
        let block = |machine: machines::Machine| self.block(machine);
        match self.hub.known.by_key(source, &hash(node_key), block) {
            Ok(Some(known)) if self.certified || !known.client_certificate => Speaker::Known(known.machine.clone()),
            Ok(Some(_)) => Speaker::Uncertified,
            Ok(None) => Speaker::Unknown,
            Err(why) => {
                self.hub.complain("no node key can be looked up", &why);
                Speaker::Unavailable
            }
        }
    }

    fn osquery_config(&self, machine: &Machine) -> Result<Arc<[u8]>, Unavailable> {
        self.live.agents.config(&self.whole(machine, self.live.agents.ask_for_groups())).map_err(|why| {
            self.hub.complain("an agent's configuration cannot be made", &why);
            Unavailable
        })
    }

    fn osquery(&self) -> Option<&dyn sources::osquery::Desk> {
        Some(self)
    }

    fn heard(&self, source: &'static str, machine: &Machine, kind: &'static str) -> bool {
        let machine = machine.key().unwrap_or_default();
        let room = self.hub.sink.has_room(Class::Source);
        let due = self.hub.heard.note(source, machine, kind, Time::now().ms(), room);
        if due {
            self.said().push((source, machine.to_owned(), kind));
        }
        due
    }

    fn santa(&self) -> Option<&dyn sources::santa::Desk> {
        Some(self)
    }

    fn jamf(&self) -> &[sources::jamf::Caller] {
        &self.live.callers.jamf
    }

    fn webhook(&self, name: &str) -> Option<&sources::webhook::Hook> {
        self.live.callers.webhooks.get(name)
    }

    fn munki(&self) -> Option<&dyn sources::munki::Desk> {
        Some(self)
    }
}

impl Desk {
    /// For one request, which is answered by what people say of machines at its beginning.
    pub fn new(hub: Arc<Hub>, live: Arc<Live>, certified: bool) -> Self {
        hub.look();
        Self { hub, live, certified, said: Mutex::default() }
    }

    /// Lines of this request were not taken, so what they said is due again.
    pub fn unsay(&self) {
        for (source, machine, kind) in self.said().drain(..) {
            self.hub.heard.unsay(source, &machine, kind);
        }
    }

    fn said(&self) -> MutexGuard<'_, Vec<Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_enrol(&self, source: &'static str, secret: &str, facts: &MachineFacts) -> Result<Enrolment, DbError> {
        let now = Time::now().ms();
        let enrolment = match self.verify(source, secret, now)? {
            Ok(enrolment) => enrolment,
            Err(denied) => return Ok(Enrolment::Refused(denied.reason())),
        };
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|e| DbError::Other(format!("no random numbers: {e}")))?;
        let node_key = URL_SAFE_NO_PAD.encode(random);
        let claim = claim(facts, &enrolment);
        let reenrol = match source {
            sources::munki::NAME => self.live.conf.munki.reenrol,
            _ => self.live.conf.osquery.reenrol,
        };
        Ok(match self.hub.known.enrol(source, claim, enrolment.quota, reenrol, &hash(&node_key), now)? {
            Enrolled::Done { machine, retired } => {
                Enrolment::Accepted { node_key, machine: self.block(machine), again: retired.is_some() }
            }
            Enrolled::UsedUp => Enrolment::Refused("secret_used_up"),
            Enrolled::Conflict { known, why, pending } => {
                Enrolment::Conflict { known: self.block(known), why, pending }
            }
        })
    }

    fn verify(&self, source: &str, secret: &str, now: i64) -> Result<Result<enrolments::Enrolment, Denied>, DbError> {
        let found = self.look_up(source, secret, now)?;
        let missing = |enrolment: &enrolments::Enrolment| enrolment.client_certificate && !self.certified;
        Ok(if found.as_ref().is_ok_and(missing) { Err(Denied::NoCertificate) } else { found })
    }

    fn look_up(&self, source: &str, secret: &str, now: i64) -> Result<Result<enrolments::Enrolment, Denied>, DbError> {
        match Db::open_read_only(&self.hub.registry)? {
            Some(registry) => enrolments::verify(&registry, &self.hub.key, secret, source, now),
            // A secret that is ours, and no registry: it is the registry that is missing, not the enrolment.
            None if self.hub.key.open(secret).is_some() => {
                Err(DbError::Other(format!("{} is not there", self.hub.registry)))
            }
            None => Ok(Err(Denied::Bad)),
        }
    }

    /// The machine as scopes look at it: with its groups, if one asks for them.
    fn whole<'a>(&self, machine: &'a Machine, groups: bool) -> Cow<'a, Machine> {
        if !groups {
            return Cow::Borrowed(machine);
        }
        Cow::Owned(self.grouped(machine).0)
    }

    /// The machine with its groups, and whether these are known.
    fn grouped(&self, machine: &Machine) -> (Machine, bool) {
        let complain = |why| self.hub.complain("the groups of machines cannot be looked up", &why);
        self.hub.groups.add(machine.clone(), &self.live.config, complain)
    }

    fn block(&self, machine: machines::Machine) -> Machine {
        let mut given = self.hub.by_hand.tags(machine.key());
        given.extend(self.hub.by_query.tags(machine.key()));
        block(machine, &self.live.config, &given)
    }
}

/// The machine block of raw lines: tags of its enrolment, of its unit, and those that people and queries gave it.
pub fn block(machine: machines::Machine, config: &Config, given: &[String]) -> Machine {
    let mut tags = machine.tags;
    for tag in config.units.get(&machine.unit).into_iter().flat_map(|unit| &unit.tags).chain(given) {
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    Machine {
        serial_number: machine.serial,
        hardware_uuid: machine.uuid,
        hostname: machine.hostname,
        platform: machine.platform,
        os_version: machine.os_version,
        unit: Some(machine.unit).filter(|unit| !unit.is_empty()),
        tags,
        ..Machine::default()
    }
}

fn claim(facts: &MachineFacts, enrolment: &enrolments::Enrolment) -> machines::Machine {
    machines::Machine {
        serial: facts.serial_number.clone(),
        uuid: facts.hardware_uuid.clone(),
        hostname: facts.hostname.clone(),
        platform: facts.platform.clone(),
        os_version: facts.os_version.clone(),
        agent_version: facts.agent_version.clone(),
        unit: enrolment.unit.clone(),
        tags: enrolment.tags.clone(),
        enrolment: enrolment.id.clone(),
        client_certificate: enrolment.client_certificate,
    }
}

/// Only this is kept of a key: whoever reads the state can't speak for a machine. 256 random bits need no salt.
fn hash(node_key: &str) -> KeyHash {
    Sha256::digest(node_key.as_bytes()).into()
}

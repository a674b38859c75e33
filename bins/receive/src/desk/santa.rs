//! What Santa's conversation asks: who speaks, what is for whom, and the ledger in `receive.db`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event::{Machine, Time};
use pipe::topic::Class;
use registry::db::{Db, DbError, Tx};
use registry::machines::{self, Enrolled, KeyHash};
use registry::{pending, santa as state};
use sha2::{Digest as _, Sha256};
use sources::santa::{
    self, Bundle, Client, Denied, Kind, Ledger, Member, Order, Rule, Ruleset, Session, Settings, Version,
};
use sources::{MachineFacts, Unavailable};

use super::{Desk, claim};
use crate::conf::santa::{Rules, Santa};

/// Machines remembered; the state knows all of them.
const MACHINES_MAX: usize = 100_000;
/// Sets of rules remembered; there is one for each group of machines, and a few on the way from one to the next.
const RULESETS_MAX: usize = 1024;
/// Rules in all of these sets: machines for which actions made rules have sets of their own, each with all the rules.
const RULES_KEPT: usize = 2_000_000;
/// How often sets of rules that nobody has are taken out of the state.
const TIDY_EVERY_MS: u64 = 3_600_000;

/// What was looked up of late, so that a sync that changes nothing touches no database.
#[derive(Default)]
pub struct Memory {
    machines: Mutex<Machines>,
    rulesets: Mutex<HashMap<[u8; 32], Arc<Ruleset>>>,
    /// When the state was last tidied, in ms since 1970.
    tidied: Mutex<Option<i64>>,
}

#[derive(Default)]
struct Machines {
    known: HashMap<KeyHash, Known>,
    /// How often machines were forgotten here: what was looked up before that is not to be remembered after it.
    forgotten: u64,
}

impl Machines {
    /// Remembers what was looked up when machines had been `forgotten` so often; what is to be answered by.
    fn remember(&mut self, key: KeyHash, known: Known, forgotten: u64) -> Known {
        if self.forgotten != forgotten {
            return known;
        }
        if self.known.len() >= MACHINES_MAX {
            self.known.clear();
        }
        // Whoever was faster knows better.
        self.known.entry(key).or_insert(known).clone()
    }

    /// The state knows better of the machines with these keys.
    fn forget(&mut self, keys: impl IntoIterator<Item = KeyHash>) {
        for key in keys {
            self.known.remove(&key);
        }
        self.forgotten += 1;
    }
}

impl Memory {
    /// Forgets what is remembered of machines (machine keys): the state knows better.
    pub fn forget(&self, keys: &[String]) {
        let mut machines = lock(&self.machines);
        machines.known.retain(|_, known| !keys.iter().any(|key| key == known.machine.key()));
        machines.forgotten += 1;
    }

    /// Takes the sets of rules out of the state that no machine has any more, if that has not been done of late: each
    /// change of a rule leaves one behind for each group of machines.
    pub fn tidy(&self, db: &mut Db, now: i64) -> Result<(), DbError> {
        let mut tidied = lock(&self.tidied);
        if tidied.is_some_and(|last| now.abs_diff(last) < TIDY_EVERY_MS) {
            return Ok(());
        }
        let mut tx = db.begin()?;
        state::tidy(&mut tx)?;
        tx.commit()?;
        *tidied = Some(now);
        Ok(())
    }
}

#[derive(Clone)]
struct Known {
    machine: machines::Machine,
    ledger: Ledger,
    /// The session of which every page was given.
    given: Option<String>,
}

/// The rules that hold, and the sets made of them so far: one for each combination of tables and each step in what
/// versions know.
#[derive(Default)]
pub struct Served {
    rules: Vec<Rules>,
    made: Mutex<HashMap<Group, Arc<Ruleset>>>,
}

/// Which tables are for it, how many steps its version has made, and the digest of what actions made for it.
type Group = (Vec<bool>, usize, Option<[u8; 32]>);

impl Served {
    /// Of what the configuration says.
    pub fn new(conf: &Santa) -> Self {
        Self { rules: conf.rules.clone(), made: Mutex::default() }
    }

    /// The set for this machine; `own` is what actions made for it, and comes before what a file says of the same.
    fn set(&self, machine: &Machine, version: Version, own: Vec<Rule>) -> Arc<Ruleset> {
        let own = own.into_iter().filter(|rule| rule.is_known_to(version)).collect::<Vec<_>>();
        let own = (!own.is_empty()).then(|| Ruleset::new(own));
        let within: Vec<bool> = self.rules.iter().map(|table| table.scope.holds(machine)).collect();
        let steps = [Version::TEAM, Version::SIGNING, Version::CDHASH, Version::CEL];
        let steps = steps.iter().filter(|step| version >= **step).count();
        let group = (within, steps, own.as_ref().map(Ruleset::hash));
        let mut made = lock(&self.made);
        if let Some(set) = made.get(&group) {
            return set.clone();
        }
        if own.is_some() {
            // It is for few: meanwhile the others go on. What is for many is made once, and all of them wait for it.
            drop(made);
            let set = self.make(&group.0, version, own.as_ref());
            made = lock(&self.made);
            make_room(&mut made);
            return made.entry(group).or_insert(set).clone();
        }
        let set = self.make(&group.0, version, None);
        make_room(&mut made);
        made.insert(group, set.clone());
        set
    }

    fn make(&self, within: &[bool], version: Version, own: Option<&Ruleset>) -> Arc<Ruleset> {
        let tables = self.rules.iter().zip(within).filter(|(_, within)| **within);
        let rules = tables.flat_map(|(table, _)| &table.rules).filter(|rule| rule.is_known_to(version));
        Arc::new(Ruleset::new(rules.chain(own.into_iter().flat_map(Ruleset::rules)).cloned().collect()))
    }
}

impl santa::Desk for Desk {
    fn admits(&self, secret: &str) -> Result<(), Denied> {
        self.admitted(santa::NAME, secret)
    }

    fn client(&self, secret: &str, id: &str) -> Result<Option<Client>, Denied> {
        let Some(key) = self.key(secret, id) else { return Err(Denied::Refused("secret_bad")) };
        let known = self.known(&key).map_err(|why| self.lost("no machine can be looked up", &why))?;
        if known.as_ref().is_some_and(|known| known.machine.client_certificate) && !self.certified {
            return Err(Denied::Refused(registry::enrolments::Denied::NoCertificate.reason()));
        }
        Ok(known.map(|known| self.as_client(key, known)))
    }

    fn enrol(&self, secret: &str, id: &str, facts: &MachineFacts) -> Result<santa::Enrolled, Denied> {
        if !self.hub.sink.has_room(Class::Source) {
            return Err(Denied::Unavailable); // or a machine would be in that nobody is told about
        }
        self.take_in(secret, id, facts).map_err(|why| self.lost("nobody can enrol", &why))?
    }

    fn settings(&self, machine: &Machine) -> Settings {
        let conf = &self.live.conf.santa;
        machine.unit.as_ref().and_then(|unit| conf.units.get(unit)).unwrap_or(&conf.settings).clone()
    }

    fn rules(&self, machine: &Machine, version: Version) -> Arc<Ruleset> {
        let made = self.hub.by_hand.rules();
        let asked = self.live.rules.rules.iter().any(|table| table.scope.asks_for_groups());
        let (whole, known) = match asked || made.asks_for_groups() {
            true => self.grouped(machine),
            false => (machine.clone(), false),
        };
        let own = made.of(&whole, known, Time::now().ms());
        self.live.rules.set(&whole, version, own)
    }

    fn kept(&self, hash: &[u8; 32]) -> Result<Arc<Ruleset>, Unavailable> {
        if let Some(rules) = lock(&self.hub.santa.rulesets).get(hash) {
            return Ok(rules.clone());
        }
        let text = state::rules(&self.hub.known.reader(), hash).map_err(|why| self.unavailable(&why))?;
        let rules = text.as_deref().and_then(Ruleset::parse);
        let rules = rules.ok_or_else(|| self.unavailable(&DbError::Other("a set of rules is lost".to_owned())))?;
        Ok(self.remember(Arc::new(rules)))
    }

    fn keep(&self, client: &Client, ledger: &Ledger, rules: &[&Ruleset]) -> Result<(), Unavailable> {
        let before = client.ledger.session.as_ref().map_or("", |session| &session.id);
        let texts: Vec<([u8; 32], &str)> = rules.iter().map(|rules| (rules.hash(), rules.text())).collect();
        let obeyed = client.ledger.ordered.filter(|_| ledger.ordered.is_none()).map(|order| order.number);
        let kept = self.change(|tx| state::keep(tx, &client.key, before, &stored(ledger), obeyed, &texts))?;
        let mut machines = lock(&self.hub.santa.machines);
        if !kept {
            machines.known.remove(&client.key); // what was remembered is not what holds
            return Err(Unavailable);
        }
        if let Some(known) = machines.known.get_mut(&client.key) {
            // An order that came in between stays.
            let ordered = known.ledger.ordered.filter(|order| client.ledger.ordered != Some(*order));
            let ordered = ordered.or(ledger.ordered);
            (known.ledger, known.given) = (Ledger { ordered, ..ledger.clone() }, None);
        }
        drop(machines);
        for rules in rules {
            self.remember(Arc::new(Ruleset::clone(rules)));
        }
        Ok(())
    }

    fn gave(&self, client: &Client) {
        if let Some(known) = lock(&self.hub.santa.machines).known.get_mut(&client.key) {
            known.given = client.ledger.session.as_ref().map(|session| session.id.clone());
        }
    }

    fn was_given(&self, client: &Client) -> bool {
        let machines = lock(&self.hub.santa.machines);
        let given = machines.known.get(&client.key).and_then(|known| known.given.as_ref());
        client.ledger.session.as_ref().is_some_and(|session| given == Some(&session.id))
    }

    fn bundle(&self, hash: &str) -> Result<Option<bool>, Unavailable> {
        state::bundle(&self.hub.known.reader(), hash).map_err(|why| self.unavailable(&why))
    }

    fn await_bundle(&self, bundle: &Bundle) -> Result<(), Unavailable> {
        self.change(|tx| state::await_bundle(tx, &bundle.hash, bundle.count, &bundle.about))
    }

    fn collect(&self, members: &[Member]) -> Result<Vec<(Bundle, Vec<String>)>, Unavailable> {
        let members: Vec<(&str, &str, &str)> =
            members.iter().map(|m| (m.bundle.as_str(), m.file.as_str(), m.about.as_str())).collect();
        let whole = self.change(|tx| state::collect(tx, &members))?;
        Ok(whole.into_iter().map(|(hash, count, about, binaries)| (Bundle { hash, count, about }, binaries)).collect())
    }

    fn told(&self, hashes: &[String]) -> Result<(), Unavailable> {
        self.change(|tx| hashes.iter().try_for_each(|hash| state::told(tx, hash)))
    }
}

impl Desk {
    /// Whether this secret lets machines of a source in.
    pub(super) fn admitted(&self, source: &str, secret: &str) -> Result<(), Denied> {
        match self.verify(source, secret, Time::now().ms()) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(denied)) => Err(Denied::Refused(denied.reason())),
            Err(why) => Err(self.lost("nobody can enrol", &why)),
        }
    }

    /// Where a machine lies in the state: by the enrolment that its secret is of, whichever copy of it, and by the id that it
    /// gives itself. None: the secret is none of ours.
    fn key(&self, secret: &str, id: &str) -> Option<KeyHash> {
        let (enrolment, _) = self.hub.key.open(secret)?;
        let mut hash = Sha256::new();
        for part in [santa::NAME, &enrolment, &id.to_ascii_lowercase()] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        Some(hash.finalize().into())
    }

    fn known(&self, key: &KeyHash) -> Result<Option<Known>, DbError> {
        let machines = lock(&self.hub.santa.machines);
        if let Some(known) = machines.known.get(key) {
            return Ok(Some(known.clone()));
        }
        let forgotten = machines.forgotten;
        drop(machines);
        let reader = self.hub.known.reader();
        let Some(machine) = machines::by_node_key(&reader, santa::NAME, key)? else { return Ok(None) };
        let ledger = read(state::ledger(&reader, key)?);
        drop(reader);
        let known = Known { machine, ledger, given: None };
        Ok(Some(lock(&self.hub.santa.machines).remember(*key, known, forgotten)))
    }

    fn as_client(&self, key: KeyHash, known: Known) -> Client {
        let m = &known.machine;
        let facts = MachineFacts {
            serial_number: m.serial.clone(),
            hardware_uuid: m.uuid.clone(),
            hostname: m.hostname.clone(),
            platform: m.platform.clone(),
            os_version: m.os_version.clone(),
            agent_version: m.agent_version.clone(),
        };
        Client { key, machine: self.block(known.machine), facts, ledger: known.ledger }
    }

    fn take_in(
        &self,
        secret: &str,
        id: &str,
        facts: &MachineFacts,
    ) -> Result<Result<santa::Enrolled, Denied>, DbError> {
        let now = Time::now().ms();
        let Some(key) = self.key(secret, id) else { return Ok(Err(Denied::Refused("secret_bad"))) };
        // Nobody waits for the state while the registry is asked, but for whom memory took for one that is in.
        let verify = || self.verify(santa::NAME, secret, now);
        let leave = if self.known(&key)?.is_none() { Some(verify()?) } else { None };
        let mut db = self.hub.known.db();
        let mut tx = db.begin()?;
        // A machine that is in needs no leave to say what is new about it.
        let (claim, quota) = match machines::by_key_hash(&mut tx, santa::NAME, &key)? {
            Some(machine) => (again(facts, machine), None),
            None => match leave.map_or_else(verify, Ok)? {
                Ok(enrolment) => (claim(facts, &enrolment), enrolment.quota),
                Err(denied) => return Ok(Err(Denied::Refused(denied.reason()))),
            },
        };
        let mut new = false;
        let reenrol = self.live.conf.santa.reenrol;
        let done = pending::decide(&mut tx, reenrol, santa::NAME, &claim, now, |tx, always| {
            let (done, first) = state::enrol(tx, claim.clone(), id, quota, always, &key, now)?;
            new = first;
            Ok(done)
        })?;
        tx.commit()?;
        drop(db);
        Ok(match done {
            Enrolled::UsedUp => Err(Denied::Refused("secret_used_up")),
            Enrolled::Conflict { known, why, pending } => {
                Ok(santa::Enrolled::Conflict { known: self.block(known), why, pending })
            }
            Enrolled::Done { retired, .. } => {
                lock(&self.hub.santa.machines).forget([key].into_iter().chain(retired));
                let known =
                    self.known(&key)?.ok_or_else(|| DbError::Other("what was written is not there".to_owned()))?;
                Ok(santa::Enrolled::Done { client: self.as_client(key, known), new, again: retired.is_some() })
            }
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Tx<'_>) -> Result<T, DbError>) -> Result<T, Unavailable> {
        let mut db = self.hub.known.db();
        let done = db.begin().and_then(|mut tx| {
            let done = change(&mut tx)?;
            tx.commit().map(|()| done)
        });
        done.map_err(|why| self.unavailable(&why))
    }

    fn remember(&self, rules: Arc<Ruleset>) -> Arc<Ruleset> {
        let mut rulesets = lock(&self.hub.santa.rulesets);
        make_room(&mut rulesets);
        rulesets.entry(rules.hash()).or_insert(rules).clone()
    }

    fn unavailable(&self, why: &DbError) -> Unavailable {
        self.hub.complain("what Santa was given cannot be kept or looked up", why);
        Unavailable
    }

    fn lost(&self, what: &str, why: &DbError) -> Denied {
        self.hub.complain(what, why);
        Denied::Unavailable
    }
}

/// What a machine says now that is in already, by the same enrolment.
fn again(facts: &MachineFacts, known: machines::Machine) -> machines::Machine {
    let facts = facts.clone();
    machines::Machine {
        serial: facts.serial_number.or(known.serial),
        uuid: facts.hardware_uuid.or(known.uuid),
        hostname: facts.hostname.or(known.hostname),
        platform: facts.platform.or(known.platform),
        os_version: facts.os_version.or(known.os_version),
        agent_version: facts.agent_version.or(known.agent_version),
        ..known
    }
}

fn stored(ledger: &Ledger) -> state::Ledger {
    let session = ledger.session.as_ref().map(|s| state::Session {
        id: s.id.clone(),
        kind: s.kind.name().to_owned(),
        staged: s.staged,
        plan: s.plan,
        obeys: s.obeys,
    });
    let ordered = ledger.ordered.map(|order| (order.kind.name().to_owned(), order.number));
    state::Ledger { session, confirmed: ledger.confirmed, ordered }
}

fn read(ledger: state::Ledger) -> Ledger {
    // A kind of a newer program: all again.
    let kind = |name: &str| Kind::of(name).unwrap_or(Kind::Clean);
    let session = ledger.session.map(|s| {
        let state::Session { id, staged, plan, obeys, .. } = s;
        Session { id, kind: kind(&s.kind), staged, plan, obeys }
    });
    let ordered = ledger.ordered.map(|(name, number)| Order { kind: kind(&name), number });
    Ledger { session, confirmed: ledger.confirmed, ordered }
}

/// For one more set.
fn make_room<K>(sets: &mut HashMap<K, Arc<Ruleset>>) {
    let rules: usize = sets.values().map(|set| set.rules().len()).sum();
    if sets.len() >= RULESETS_MAX || rules >= RULES_KEPT {
        sets.clear();
    }
}

/// A panic elsewhere leaves nothing half done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_up_before_a_key_retired_is_not_remembered() {
        let known = || Known { machine: machines::Machine::default(), ledger: Ledger::default(), given: None };
        let memory = Memory::default();
        let mut machines = lock(&memory.machines);
        let before = machines.forgotten;
        machines.remember([1; 32], known(), before);
        assert_eq!(machines.known.len(), 1);
        machines.forget([[1; 32], [2; 32]]);
        machines.remember([1; 32], known(), before);
        assert!(machines.known.is_empty());
        let now = machines.forgotten;
        machines.remember([2; 32], known(), now);
        assert_eq!(machines.known.len(), 1);
    }

    #[test]
    fn sets_of_rules_that_nobody_has_go_while_the_hub_runs() {
        let mut db = Db::memory(&[machines::SCHEMA, state::SCHEMA]).unwrap();
        let (memory, hour) = (Memory::default(), i64::try_from(TIDY_EVERY_MS).unwrap());
        let mut left = |now: i64| {
            let mut tx = db.begin().unwrap();
            let sql = "INSERT INTO santa_rulesets (hash, rules) VALUES ($1, '[]')";
            tx.execute(sql, &[now.to_be_bytes().as_slice().into()]).unwrap();
            tx.commit().unwrap();
            memory.tidy(&mut db, now).unwrap();
            db.query("SELECT 1 FROM santa_rulesets", &[]).unwrap().len()
        };
        assert_eq!([0, 1, hour - 1, hour, hour + 1, 0].map(&mut left), [0, 1, 2, 0, 1, 0]);
    }
}

//! What Munki asks: its secrets, its settings, and what its machines have posted.

use std::any::Any;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event::{Machine, Time};
use registry::db::DbError;
use registry::machines;
use registry::munki::{self, Posted};
use sources::munki::{Check, NAME, Ran, Secret, Settings, State};
use sources::{Speaker, Unavailable};

use super::Desk;

impl sources::munki::Desk for Desk {
    fn secret(&self, secret: &str) -> Secret {
        match self.verify(NAME, secret, Time::now().ms()) {
            Ok(Ok(enrolment)) => Secret::Good { id: enrolment.id, generation: enrolment.generation },
            Ok(Err(denied)) => Secret::Refused(denied.reason()),
            Err(why) => {
                self.hub.complain("no secret can be looked up", &why);
                Secret::Unavailable
            }
        }
    }

    fn is_ours(&self, secret: &str) -> bool {
        self.hub.key.open(secret).is_some()
    }

    fn bearer(&self, secret: &str, serial: &str) -> Speaker {
        self.knows(secret, serial).unwrap_or_else(|why| {
            self.hub.complain("no secret can be looked up", &why);
            Speaker::Unavailable
        })
    }

    fn settings(&self) -> &Settings {
        &self.live.conf.munki.settings
    }

    fn checks(&self, machine: &Machine) -> Vec<&Check> {
        let all = &self.live.conf.munki.checks;
        let machine = self.whole(machine, all.iter().any(|(scope, _)| scope.asks_for_groups()));
        let checks = all.iter().filter(|(scope, _)| scope.holds(&machine));
        checks.map(|(_, check)| check).collect()
    }

    fn state(&self, machine: &str) -> Result<Option<State>, Unavailable> {
        let posted = munki::get(&self.hub.known.reader(), machine).map_err(|why| self.down(&why))?;
        let ran = |check: munki::Check| Ran { name: check.name, rev: check.rev, status: check.status, at: check.ran };
        Ok(posted.map(|posted| State {
            report: posted.report,
            report_at: posted.report_at,
            installs_at: posted.installs_at,
            checks: posted.checks.into_iter().map(ran).collect(),
        }))
    }

    fn keep(&self, machine: &str, state: &State) -> Result<(), Unavailable> {
        let check =
            |ran: &Ran| munki::Check { name: ran.name.clone(), rev: ran.rev.clone(), status: ran.status, ran: ran.at };
        let posted = Posted {
            report: state.report.clone(),
            report_at: state.report_at,
            installs_at: state.installs_at,
            checks: state.checks.iter().map(check).collect(),
        };
        let mut db = self.hub.known.db();
        let put = db.begin().and_then(|mut tx| {
            munki::put(&mut tx, machine, &posted)?;
            tx.commit()
        });
        put.map_err(|why| self.down(&why))
    }

    fn alone(&self, machine: &str) -> Option<Box<dyn Any>> {
        self.hub.posting.enter(machine).map(|entered| Box::new(entered) as Box<dyn Any>)
    }
}

impl Desk {
    fn knows(&self, secret: &str, serial: &str) -> Result<Speaker, DbError> {
        let Some((enrolment, _)) = self.hub.key.open(secret) else { return Ok(Speaker::Unknown) };
        let known = machines::by_key(&self.hub.known.reader(), NAME, serial)?;
        let Some(machine) = known.filter(|machine| machine.serial.is_some()) else { return Ok(Speaker::Unknown) };
        // A machine that came in by it stays, as one with a token does. Another is not taken in anew, which would make its
        // token worthless.
        let speaks = machine.enrolment == enrolment
            || self.verify(NAME, secret, Time::now().ms())?.is_ok_and(|enrolment| enrolment.unit == machine.unit);
        Ok(match speaks {
            true if machine.client_certificate && !self.certified => Speaker::Uncertified,
            true => Speaker::Known(self.block(machine)),
            false => Speaker::Unknown,
        })
    }

    fn down(&self, why: &DbError) -> Unavailable {
        self.hub.complain("what machines have posted cannot be read or written", why);
        Unavailable
    }
}

/// The machines of which a post is being worked on; as many as bodies are worked on at a time.
#[derive(Debug, Clone, Default)]
pub struct Posting(Arc<Mutex<HashSet<String>>>);

impl Posting {
    fn enter(&self, machine: &str) -> Option<Entered> {
        let fresh = self.all().insert(machine.to_owned());
        fresh.then(|| Entered(self.clone(), machine.to_owned()))
    }

    fn all(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that entered, until it is dropped.
struct Entered(Posting, String);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.all().remove(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_post_of_a_machine_at_a_time() {
        let posting = Posting::default();
        let one = posting.enter("a");
        assert!(one.is_some() && posting.enter("a").is_none() && posting.enter("b").is_some());
        drop(one);
        assert!(posting.enter("a").is_some());
        assert!(posting.all().is_empty());
    }
}

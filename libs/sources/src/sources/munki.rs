//! Munki: Macs that fetch their software from a repository and tell here, through the preflight and the postflight
//! script of `zentral enrol package`, what came of each run (Munki 3 to 7).
//!
//! A machine enrols once (`enroll`) and shows its token from then on. Before a run it asks what is wanted of it
//! (`job_details`: which report was seen last, script checks that are due), after the run it posts what it knows
//! (`post_job`: reports, inventory, managed installs, results of checks). All replies are JSON, but errors on the paths
//! of 2017 (`legacy`); 403 is for whoever may not speak, 400 for what cannot be understood. Facts: protocols § 3.3,
//! zentral § 2.7.

mod check;
mod desk;
mod enrol;
mod job;
mod legacy;
mod pieces;
mod plist;
mod post;
mod report;
mod snapshot;
mod time;
mod translate;

use std::io::BufRead;

use event::inventory::Snapshot;
use event::{Event, Machine, Raw, Time, json};

use crate::legacy::Said;
use crate::line::conflict;
use crate::whole;
use crate::{Lines, MachineFacts, Refusal, Reply, ReplyBody, Request, Route, Sink, Source, Speaker};

pub use check::{Bound, Check, Expected};
pub use desk::{Desk, PrincipalUser, Ran, Secret, Settings, State};

/// The name of this source.
pub const NAME: &str = "munki";
/// This source.
pub static SOURCE: Munki = Munki;
/// Bytes of an inflated request that says little more than who asks.
const ASKING_MAX: usize = 64 << 10;
/// Bytes of an inflated post: a hundred reports, or one of thousands of items.
const POST_MAX: usize = 64 << 20;
/// A longer secret or token is none of ours.
const SECRET_MAX: usize = 1024;

/// Agents ask with a slash at the end; without it the answer is the same, for a redirect would turn a POST into a GET.
static ROUTES: [Route; 10] = [
    Route::new("/public/munki/enrollment/", "enrollment", Some(ASKING_MAX)),
    Route::new("/public/munki/enrollment", "enrollment", Some(ASKING_MAX)),
    Route::new("/public/munki/enroll/", "enroll", Some(ASKING_MAX)).waiting(),
    Route::new("/public/munki/enroll", "enroll", Some(ASKING_MAX)).waiting(),
    Route::new("/public/munki/job_details/", "job_details", Some(ASKING_MAX)),
    Route::new("/public/munki/job_details", "job_details", Some(ASKING_MAX)),
    Route::new("/public/munki/post_job/", "post_job", Some(POST_MAX)),
    Route::new("/public/munki/post_job", "post_job", Some(POST_MAX)),
    Route::new("/munki/job_details/", "job_details", Some(ASKING_MAX)).legacy(),
    Route::new("/munki/post_job/", "post_job", Some(POST_MAX)).legacy(),
];

/// See the module.
#[derive(Debug)]
pub struct Munki;

impl Source for Munki {
    fn name(&self) -> &'static str {
        NAME
    }

    fn routes(&self) -> &'static [Route] {
        &ROUTES
    }

    fn answer(
        &self,
        request: &Request<'_>,
        body: &mut dyn BufRead,
        desk: &dyn crate::Desk,
        sink: &mut dyn Sink,
    ) -> Reply {
        let Some(munki) = desk.munki() else { return Reply::busy() };
        let asked = Asked { request, desk, munki };
        let (verb, allow) = match request.route.kind {
            "enrollment" => ("GET", "GET, OPTIONS"),
            _ => ("POST", "POST, OPTIONS"),
        };
        if request.method == "OPTIONS" {
            return Reply::ok(DONE).with("Allow", allow);
        }
        if request.method != verb {
            return Reply::error(405, "method", &format!("only {verb} is answered here")).with("Allow", allow);
        }
        let reply = match request.route.kind {
            "enrollment" => enrol::info(&asked, sink),
            "enroll" => enrol::answer(&asked, body, sink),
            "job_details" => job::answer(&asked, body, sink),
            _ => post::answer(&asked, body, sink),
        };
        let reply = reply.unwrap_or_else(|reply| reply);
        if request.route.legacy { crate::legacy::plain(reply) } else { reply }
    }

    fn translate(&self, raw: &Raw) -> Result<Vec<Event>, Refusal> {
        translate::raw(raw)
    }

    fn read_log(&self, _line: &[u8], _now: Time) -> Result<Vec<Event>, Refusal> {
        Err(Refusal::new("no_log", "Munki's log is for people; its reports come through `receive`"))
    }

    fn snapshot(&self, raw: &Raw) -> Option<Result<Snapshot, Refusal>> {
        snapshot::of_raw(raw)
    }

    fn facts(&self, raw: &Raw) -> Option<MachineFacts> {
        snapshot::facts(raw)
    }
}

const DONE: ReplyBody = ReplyBody::Fixed("{}");

/// A request and whom to ask about it.
struct Asked<'a> {
    request: &'a Request<'a>,
    desk: &'a dyn crate::Desk,
    munki: &'a dyn Desk,
}

/// Who shows something that lets it speak.
#[expect(clippy::large_enum_variant, reason = "one lives for one request, and it is nearly always the large one")]
enum Who<'a> {
    /// A token, which is one machine's.
    Machine(Machine),
    /// The secret of an enrolment: which machine it is, the body says.
    Secret(Said<'a>),
}

impl Asked<'_> {
    /// What `Authorization` shows under this scheme.
    fn shown(&self, scheme: &str) -> Result<&str, Reply> {
        let shown = self.request.headers.get("authorization").and_then(|value| value.trim().split_once(' '));
        let (_, shown) = shown
            .filter(|(own, _)| own.eq_ignore_ascii_case(scheme))
            .ok_or_else(|| refused("authorization", &format!("Authorization is not `{scheme} …`")))?;
        let shown = shown.trim();
        if shown.is_empty() || shown.len() > SECRET_MAX {
            return Err(refused("authorization", "what Authorization shows is none of ours"));
        }
        Ok(shown)
    }

    /// Who speaks: the machine whose token is shown.
    fn speaker(&self) -> Result<Who<'_>, Reply> {
        if self.request.route.legacy {
            return legacy::who(self).map(Who::Secret);
        }
        match self.desk.speaker(NAME, self.shown("MunkiEnrolledMachine")?) {
            Speaker::Known(machine) => Ok(Who::Machine(machine)),
            Speaker::Unknown => Err(refused("unknown_token", "nobody has this token")),
            Speaker::Uncertified => Err(Reply::no_certificate()),
            Speaker::Unavailable => Err(Reply::busy()),
        }
    }

    /// The body, no longer than its route allows.
    fn read(&self, body: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<Vec<u8>, Reply> {
        whole::inflated(self.request, body, self.request.route.body_max.unwrap_or(ASKING_MAX), sink)
    }

    /// The machine may only speak for itself: `serial` is the one that the body names.
    fn only(&self, who: Who<'_>, serial: Option<&str>, sink: &mut dyn Sink) -> Result<Machine, Reply> {
        let serial = serial.map(str::trim).filter(|serial| !serial.is_empty());
        let serial = serial.ok_or_else(|| refused("missing_key", "the serial number is missing"))?;
        let machine = match who {
            Who::Machine(machine) => machine,
            Who::Secret(said) => return legacy::machine(self, &said, serial, sink),
        };
        if machine.serial_number.as_deref() == Some(serial) {
            return Ok(machine);
        }
        if self.desk.heard(NAME, &machine, "conflict") {
            let claimed = crate::osquery::facts::name(serial);
            let claimed = Machine { serial_number: claimed, ..Machine::default() };
            let mut lines = Lines::new(NAME, self.request, &machine);
            lines.own("conflict", &conflict(&claimed, "serial", false));
            lines.flush(sink, true).map_err(|_| Reply::busy())?;
        }
        Err(refused("conflict", "this is the serial number of another machine"))
    }

    /// Notes the request, and writes a line about it if one is due.
    fn heard(&self, machine: &Machine, kind: &'static str, sink: &mut dyn Sink) {
        if self.desk.heard(NAME, machine, kind) {
            let mut lines = Lines::new(NAME, self.request, machine);
            lines.own("request", format!("{{\"request_type\":\"{kind}\"}}").as_bytes());
            // That there is no room for that line is no reason to leave the agent without its answer.
            let _ = lines.flush(sink, true);
        }
    }
}

/// 403: whoever asks is not known, or not who it says.
fn refused(reason: &'static str, text: &str) -> Reply {
    Reply::error(403, reason, text)
}

/// Canonical JSON of a short body, which is an object.
fn object(bytes: &[u8]) -> Result<Vec<u8>, Reply> {
    let mut object = Vec::with_capacity(bytes.len());
    json::canonical(bytes, &mut object)
        .map_err(|e| Reply::error(400, "not_json", &format!("body is not JSON: {e}")))?;
    if object.starts_with(b"{") { Ok(object) } else { Err(Reply::error(400, "not_object", "body is no JSON object")) }
}

/// The string that a member of a canonical object is.
fn text<'o>(object: &'o [u8], key: &str) -> Option<std::borrow::Cow<'o, str>> {
    json::get(object, key).and_then(json::parse_str)
}

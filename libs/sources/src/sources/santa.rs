//! Santa: binary authorisation for macOS. Its agents sync in stages: preflight (settings), eventupload, ruledownload and
//! postflight, which alone confirms what was given.
//!
//! The secret comes with every request, in a header or in the path, and the machine names itself: an id is bound to the
//! serial number that it first came with. Only 200 is success; 4xx ends the sync, 5xx is tried again, a 403 costs one
//! round to `xsrf`. An absent field is zero. Facts: northpolesec/santa and its sync protocol.

mod bundles;
mod desk;
mod events;
mod fields;
mod legacy;
mod log;
mod preflight;
mod proto;
mod rules;
mod settings;
mod sync;
mod translate;

use std::borrow::Cow;
use std::io::BufRead;

use event::inventory::Snapshot;
use event::{Event, Machine, Raw, Time};
use serde_json::Value;

pub use desk::{Bundle, Client, Denied, Desk, Enrolled, Ledger, Member, Order, Session};
pub use rules::{Policy, Rule, RuleType, Ruleset, TEXT_MAX, Version, identifier_flaw};
pub use settings::{ClientMode, NEVER, Settings};
pub use sync::Kind;

use crate::{Lines, MachineFacts, Refusal, Reply, ReplyBody, Request, Route, Sink, Source};

/// The name of this source.
pub const NAME: &str = "santa";
/// This source.
pub static SOURCE: Santa = Santa;
/// Bytes of an inflated request that says little more than who asks.
const ASKING_MAX: usize = 64 << 10;
/// Bytes of an inflated preflight: it lists the groups of its user.
const PREFLIGHT_MAX: usize = 1 << 20;
/// A longer id names no machine.
const ID_MAX: usize = 255;
/// What `santactl doctor` calls itself when it looks whether somebody answers.
const DOCTOR: &str = "santactl-doctor-test";
/// Where a secret may stand. `Authorization` is the platform's own, so agents cannot be relied on to send it.
const HEADERS: [&str; 2] = ["zentral-authorization", "hub-authorization"];

static ROUTES: [Route; 17] = [
    Route::new("/public/santa/sync/preflight/*", "preflight", Some(PREFLIGHT_MAX)),
    Route::new("/public/santa/sync/*/preflight/*", "preflight", Some(PREFLIGHT_MAX)),
    Route::new("/public/santa/sync/eventupload/*", "eventupload", None),
    Route::new("/public/santa/sync/*/eventupload/*", "eventupload", None),
    Route::new("/public/santa/sync/ruledownload/*", "ruledownload", Some(ASKING_MAX)),
    Route::new("/public/santa/sync/*/ruledownload/*", "ruledownload", Some(ASKING_MAX)),
    Route::new("/public/santa/sync/postflight/*", "postflight", Some(ASKING_MAX)),
    Route::new("/public/santa/sync/*/postflight/*", "postflight", Some(ASKING_MAX)),
    Route::new("/public/santa/sync/logupload/*", "logupload", None),
    Route::new("/public/santa/sync/*/logupload/*", "logupload", None),
    Route::new("/public/santa/sync/xsrf/*", "xsrf", Some(ASKING_MAX)),
    Route::new("/public/santa/sync/*/xsrf/*", "xsrf", Some(ASKING_MAX)),
    Route::new("/santa/preflight/*", "preflight", Some(PREFLIGHT_MAX)).legacy(),
    Route::new("/santa/eventupload/*", "eventupload", None).legacy(),
    Route::new("/santa/ruledownload/*", "ruledownload", Some(ASKING_MAX)).legacy(),
    Route::new("/santa/postflight/*", "postflight", Some(ASKING_MAX)).legacy(),
    Route::new("/santa/logupload/*", "logupload", None).legacy(),
];

const DONE: ReplyBody = ReplyBody::Fixed("{}");

/// Whether a request is protobuf; its reply is then, too.
fn is_proto(request: &Request<'_>) -> bool {
    let named = request.headers.get("content-type").unwrap_or_default();
    named.split(';').next().is_some_and(|named| named.trim().eq_ignore_ascii_case(proto::TYPE))
}

/// See the module.
#[derive(Debug)]
pub struct Santa;

impl Source for Santa {
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
        match request.method {
            "POST" => {
                let reply = post(request, body, desk, sink).unwrap_or_else(|reply| reply);
                if request.route.legacy { crate::legacy::plain(reply) } else { reply }
            }
            _ => Reply::error(405, "method", "only POST is answered here").with("Allow", "POST"),
        }
    }

    fn translate(&self, raw: &Raw) -> Result<Vec<Event>, Refusal> {
        translate::raw(raw)
    }

    fn read_log(&self, line: &[u8], now: Time) -> Result<Vec<Event>, Refusal> {
        Ok(vec![log::line(line, now)?.event()?])
    }

    fn facts(&self, raw: &Raw) -> Option<MachineFacts> {
        preflight::of_raw(raw)
    }

    fn snapshot(&self, raw: &Raw) -> Option<Result<Snapshot, Refusal>> {
        preflight::snapshot(raw).map(Ok)
    }
}

/// One request with whom it asks.
struct Asking<'a> {
    request: &'a Request<'a>,
    secret: &'a str,
    id: &'a str,
    hub: &'a dyn crate::Desk,
    desk: &'a dyn Desk,
}

/// `Err` is a reply, too: the one that ends the conversation early.
fn post(
    request: &Request<'_>,
    body: &mut dyn BufRead,
    hub: &dyn crate::Desk,
    sink: &mut dyn Sink,
) -> Result<Reply, Reply> {
    let desk = hub.santa().ok_or_else(|| Reply::error(404, "not_found", "this hub does not speak with Santa"))?;
    let (secret, id) = if request.route.legacy { legacy::who(request)? } else { who(request)? };
    let (secret, id) = (secret.as_ref(), id.as_ref());
    let asking = Asking { request, secret, id, hub, desk };
    match request.route.kind {
        "preflight" if id == DOCTOR => desk.admits(secret).map(|()| asking.done()).map_err(denied),
        "preflight" => preflight::answer(&asking, body, sink),
        "eventupload" => {
            let client = asking.client(sink)?;
            events::answer(&asking, &client, body, sink)
        }
        "ruledownload" => {
            let client = asking.client(sink)?;
            sync::rules(&asking, client, &fields::read(request, body, ASKING_MAX, sink)?, sink)
        }
        "postflight" => {
            let client = asking.client(sink)?;
            sync::postflight(&asking, client, &fields::read(request, body, ASKING_MAX, sink)?, sink)
        }
        "logupload" => {
            let client = asking.client(sink)?;
            events::log(&asking, &client, body, sink)
        }
        // Agents take that for: there is none.
        _ => Err(Reply::error(404, "not_found", "no token is needed here")),
    }
}

/// The secret and the id of the machine.
fn who<'a>(request: &Request<'a>) -> Result<(Cow<'a, str>, Cow<'a, str>), Reply> {
    let (secret, id) = match *request.parts {
        [secret, id] => (secret, id),
        [id] => {
            let header = HEADERS.iter().find_map(|name| request.headers.get(name));
            let (scheme, secret) = header.unwrap_or_default().split_once(' ').unwrap_or_default();
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(Reply::error(401, "no_secret", "a secret is needed"));
            }
            (secret.trim(), id)
        }
        _ => return Err(Reply::error(404, "not_found", "no such path")),
    };
    if id.len() > ID_MAX {
        return Err(Reply::error(400, "bad_id", "the id of the machine is too long"));
    }
    Ok((secret.into(), id.into()))
}

fn denied(denied: Denied) -> Reply {
    match denied {
        Denied::Refused(reason) => Reply::error(403, reason, "not admitted"),
        Denied::Unavailable => Reply::busy(),
    }
}

impl Asking<'_> {
    /// 200 in the form of the request.
    fn ok(&self, json: impl FnOnce() -> Value, proto: impl FnOnce() -> Vec<u8>) -> Reply {
        if is_proto(self.request) {
            Reply::ok(ReplyBody::Own(proto())).of_type(proto::TYPE)
        } else {
            Reply::ok(ReplyBody::Own(json().to_string().into_bytes()))
        }
    }

    /// 200, and that is all.
    fn done(&self) -> Reply {
        if is_proto(self.request) { self.ok(Value::default, proto::nothing) } else { Reply::ok(DONE) }
    }

    /// The machine, which has been here before.
    fn client(&self, sink: &mut dyn Sink) -> Result<Client, Reply> {
        let known = self.desk.client(self.secret, self.id).map_err(denied)?;
        if known.is_none() && self.request.route.legacy {
            return legacy::enrol(self, sink);
        }
        known.ok_or_else(|| Reply::error(403, "unknown_machine", "the machine has not sent a preflight yet"))
    }

    /// Notes the request; the line about it (`body` as it came) is written if one is due, or in any case.
    fn said(&self, machine: &Machine, body: &[u8], always: bool) -> Option<Lines<'_>> {
        let due = self.hub.heard(NAME, machine, self.request.route.kind);
        (due || always).then(|| {
            let mut lines = Lines::new(NAME, self.request, machine);
            lines.own(self.request.route.kind, body);
            lines
        })
    }
}

//! osquery: agents that run SQL on a schedule and send what it gives (`tls` plugins; osquery 1.6 to 5.23).
//!
//! The agent ignores the HTTP status and reads the body: `{}` is success, `{"error":…}` a failure to be tried again,
//! `{"node_invalid":true}` makes it enrol anew, and an *empty* body means success, so no reply is ever empty. A status
//! other than 200 is for people and proxies. Facts: osquery's `plugins/remote` and `plugins/logger/tls_logger.cpp`.

mod carve;
mod config;
mod distributed;
mod enrol;
pub(crate) mod facts;
mod files;
mod flags;
mod inventory;
mod legacy;
mod log;
mod logged;
mod pack;
mod query;
mod ran;
pub(crate) mod time;
pub(crate) mod translate;

use std::io::BufRead;

use event::inventory::Snapshot;
use event::{Event, Machine, Raw, Time, json};

use crate::santa::Denied;
use crate::whole;
use crate::{
    Lines, MachineFacts, Plain, Refusal, Reply, ReplyBody, Request, Route, Sink, Source, Speaker, Unavailable,
};

pub use carve::{Announced, BLOCK_BODY_MAX, BLOCK_MAX, Block, Finished, NotTaken, Scheduled};
pub use config::{CONFIG_DEPTH_MAX, CONFIG_MAX, DECORATOR_STEP, Decorators, QuerySpec, Settings, Told, build_config};
pub use distributed::{Asked, GIVEN_MAX, Given};
pub use files::{FileCategory, FilePaths};
pub use flags::{PACK_DELIMITER, is_cli_only, pack_query_name};
pub use inventory::{INTERVAL as INVENTORY_INTERVAL, Inventory, NAME as INVENTORY, is_inventory};
pub use logged::log_line;
pub use pack::{Flaw, Pack, query_name_flaw};
pub use query::{INTERVALS, QUERY_PREFIX, Query, meaning_flaw, query_name, rev};
pub use ran::{Cost, Executed, Live, Ran, Rows, STATUS_COLUMN};

/// The name of this source.
pub const NAME: &str = "osquery";
/// This source.
pub static SOURCE: Osquery = Osquery;
/// Bytes of an inflated request that says little more than who asks.
pub const ASKING_MAX: usize = 64 << 10;
/// Bytes of an inflated enrolment: one row of four tables.
pub const ENROLMENT_MAX: usize = 1 << 20;
/// Bytes of inflated results of live queries.
pub const ANSWERS_MAX: usize = 16 << 20;

static ROUTES: [Route; 12] = [
    Route::new("/public/osquery/enroll", "enroll", Some(ENROLMENT_MAX)).waiting(),
    Route::new("/public/osquery/config", "config", Some(ASKING_MAX)),
    Route::new("/public/osquery/log", "log", None),
    Route::new("/public/osquery/distributed/read", "distributed_read", Some(ASKING_MAX)),
    Route::new("/public/osquery/distributed/write", "distributed_write", Some(ANSWERS_MAX)),
    Route::new("/public/osquery/carver/start", "carver_start", Some(ASKING_MAX)).waiting(),
    Route::new("/public/osquery/carver/continue", "carver_continue", Some(BLOCK_BODY_MAX)).waiting(),
    Route::new("/osquery/enroll", "enroll", Some(ENROLMENT_MAX)).waiting().legacy(),
    Route::new("/osquery/config", "config", Some(ASKING_MAX)).legacy(),
    Route::new("/osquery/log", "log", None).legacy(),
    Route::new("/osquery/distributed/read", "distributed_read", Some(ASKING_MAX)).legacy(),
    Route::new("/osquery/distributed/write", "distributed_write", Some(ANSWERS_MAX)).legacy(),
];

/// What is said of a request that does not say who asks.
const NO_NODE_KEY: &str = "node_key is missing";
const DONE: ReplyBody = ReplyBody::Fixed("{}");

/// See the module.
#[derive(Debug)]
pub struct Osquery;

impl Source for Osquery {
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
            "POST" if request.route.legacy => {
                legacy::worded(post(request, body, desk, sink).unwrap_or_else(|reply| reply))
            }
            "POST" => post(request, body, desk, sink).unwrap_or_else(|reply| reply),
            "OPTIONS" => Reply::ok(DONE).with("Allow", "POST, OPTIONS"),
            _ => Reply::error(405, "method", "only POST is answered here").with("Allow", "POST, OPTIONS"),
        }
    }

    fn translate(&self, raw: &Raw) -> Result<Vec<Event>, Refusal> {
        translate::raw(raw)
    }

    fn plain<'a>(&self, kind: &[u8], received: Time, record: json::Object<'a>) -> Option<Plain<'a>> {
        translate::plain(kind, received, record)
    }

    fn read_log(&self, line: &[u8], now: Time) -> Result<Vec<Event>, Refusal> {
        translate::log_line(line, now)
    }

    fn snapshot(&self, raw: &Raw) -> Option<Result<Snapshot, Refusal>> {
        translate::snapshot(raw)
    }

    fn facts(&self, raw: &Raw) -> Option<MachineFacts> {
        facts::of_raw(raw)
    }
}

/// What this source asks of the hub beside what every source asks.
pub trait Desk {
    /// The live queries that this machine is to be given now, at most so many; they count as given.
    fn given(&self, _machine: &Machine, _most: usize) -> Result<Vec<Given>, Unavailable> {
        Ok(Vec::new())
    }

    /// The query that this machine was given under this name, which counts as answered. None: it is no name of its.
    fn asked(&self, _machine: &Machine, _name: &str) -> Option<Asked> {
        None
    }

    /// Whether a machine that comes with this secret would be let in.
    fn admits(&self, _secret: &str) -> Result<(), Denied> {
        Err(Denied::Refused("secret_bad"))
    }

    /// Whether this machine is to be asked for its inventory now, which counts as done: it was not yet, or has not answered.
    fn inventory_due(&self, _machine: &Machine) -> bool {
        false
    }

    /// It has answered.
    fn inventory_came(&self, _machine: &Machine) {}

    /// A carve was scheduled; true if it was not known.
    fn carve_scheduled(&self, _machine: &Machine, _scheduled: &Scheduled) -> bool {
        false
    }

    /// Begins a carve that was scheduled: its session, what was scheduled, and whether it had begun already.
    fn carve_start(
        &self,
        _machine: &Machine,
        _carve: &str,
        _announced: Announced,
    ) -> Result<(String, Scheduled, bool), NotTaken> {
        Err(NotTaken::Unknown)
    }

    /// Keeps a block; what is whole with it.
    fn carve_block(&self, _block: &Block<'_>) -> Result<Option<Finished>, NotTaken> {
        Err(NotTaken::Unknown)
    }
}

/// The desk of a hub that asks nothing.
struct Nothing;

impl Desk for Nothing {}

fn own(desk: &dyn crate::Desk) -> &dyn Desk {
    desk.osquery().unwrap_or(&Nothing)
}

/// `Err` is a reply, too: the one that ends the conversation early.
fn post(
    request: &Request<'_>,
    body: &mut dyn BufRead,
    desk: &dyn crate::Desk,
    sink: &mut dyn Sink,
) -> Result<Reply, Reply> {
    if body.fill_buf().is_ok_and(<[u8]>::is_empty) {
        return Err(Reply::error(400, "empty_body", "body is empty"));
    }
    let legacy = request.route.legacy;
    match request.route.kind {
        "log" => log::answer(request, body, desk, sink),
        "enroll" if legacy => legacy::enrol(request, &small(request, body, sink)?, desk, sink),
        "enroll" => enrol::answer(request, &small(request, body, sink)?, desk, sink),
        "config" => {
            let machine = speaker(desk, &small(request, body, sink)?)?;
            heard(request, &machine, "config", desk, sink);
            let config = desk.osquery_config(&machine).map_err(|_| Reply::busy())?;
            Ok(Reply::ok(if legacy { legacy::config(&config) } else { ReplyBody::Shared(config) }))
        }
        "distributed_read" => {
            let machine = speaker(desk, &small(request, body, sink)?)?;
            heard(request, &machine, "distributed_read", desk, sink);
            let first = if legacy { legacy::inventory(&machine, desk)? } else { None };
            distributed::read(&machine, first, own(desk))
        }
        "distributed_write" => {
            let object = small(request, body, sink)?;
            let machine = speaker(desk, &object)?;
            heard(request, &machine, "distributed_write", desk, sink);
            distributed::write(request, &machine, &object, own(desk), sink)
        }
        "carver_start" => {
            let object = small(request, body, sink)?;
            let machine = speaker(desk, &object)?;
            heard(request, &machine, "start_file_carving", desk, sink);
            carve::start(request, &machine, &object, own(desk), sink)
        }
        "carver_continue" => carve::go_on(request, &small(request, body, sink)?, desk, own(desk), sink),
        _ => Err(Reply::error(404, "not_found", "no such path")),
    }
}

/// A whole body of bounded length as canonical JSON, which is an object.
fn small(request: &Request<'_>, body: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<Vec<u8>, Reply> {
    let bytes = whole::inflated(request, body, request.route.body_max.unwrap_or(ASKING_MAX), sink)?;
    let mut object = Vec::with_capacity(bytes.len());
    json::canonical(&bytes, &mut object)
        .map_err(|e| Reply::error(400, "not_json", &format!("body is not JSON: {e}")))?;
    if object.starts_with(b"{") { Ok(object) } else { Err(not_an_object()) }
}

fn not_an_object() -> Reply {
    Reply::error(400, "not_object", "body is not a JSON object")
}

/// Who sent this object.
fn speaker(desk: &dyn crate::Desk, object: &[u8]) -> Result<Machine, Reply> {
    match json::get(object, "node_key") {
        None => Err(Reply::error(400, "missing_key", NO_NODE_KEY)),
        Some(value) => match json::parse_str(value) {
            Some(key) => known(desk, &key),
            None => Err(Reply::error(400, "wrong_type", "node_key is not a string")),
        },
    }
}

fn known(desk: &dyn crate::Desk, node_key: &str) -> Result<Machine, Reply> {
    match desk.speaker(NAME, node_key) {
        Speaker::Known(machine) => Ok(machine),
        Speaker::Unknown => Err(node_invalid("node_invalid")),
        Speaker::Uncertified => Err(Reply::no_certificate()),
        Speaker::Unavailable => Err(Reply::busy()),
    }
}

/// Makes the agent throw its node key away and enrol again. 200, as agents and the request cases expect.
fn node_invalid(reason: &'static str) -> Reply {
    Reply { reason, ..Reply::ok(ReplyBody::Fixed("{\"node_invalid\":true}")) }
}

/// Notes the request, and writes a line about it if one is due. That there is no room for that line is no reason to
/// leave the agent without its answer.
fn heard(request: &Request<'_>, machine: &Machine, kind: &'static str, desk: &dyn crate::Desk, sink: &mut dyn Sink) {
    if desk.heard(NAME, machine, kind) {
        let mut lines = Lines::new(NAME, request, machine);
        said(&mut lines, kind);
        let _ = lines.flush(sink, true);
    }
}

/// The line about a request itself.
fn said(lines: &mut Lines<'_>, kind: &'static str) {
    lines.own("request", format!("{{\"request_type\":\"{kind}\"}}").as_bytes());
}

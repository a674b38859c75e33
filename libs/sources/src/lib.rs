//! What agents say: a file per source under `sources/`, with its conversation and its translation into events.
//!
//! No sockets, clocks or disks in here: bytes and what the [`Desk`] knows come in, a [`Reply`], raw lines and events
//! go out. To add a source, write `sources/NAME.rs` with a `SOURCE` that implements [`Source`].

mod body;
mod cut;
mod inflate;
pub mod legacy;
mod line;
pub mod pulled;
pub mod relaxed;
mod reply;
mod route;
mod scan;
pub mod secret;
mod skip;
pub mod sources;
mod whole;

use std::io::BufRead;
use std::sync::Arc;

use event::inventory::Snapshot;
use event::{Event, Machine, Raw, Time, json};

pub use body::{BodyError, Head, Member, RECORDS_MAX, Record, Splitter, Take};
pub use inflate::{Inflate, InflateError, RATIO_MAX};
pub use line::{ENVELOPE_MAX, Lines, RECORD_MAX};
pub use reply::{Reply, ReplyBody};
pub use route::{Headers, Route, route};
pub use scan::{Flaw, RECORD_DEPTH_MAX};
pub use sources::osquery::translate::believed;
pub use sources::{ALL, by_name, jamf, munki, osquery, sal, santa, watchman, webhook};

/// Somebody who speaks to the hub: how to answer, and what the words mean.
pub trait Source: Sync {
    /// The name, as in `[source.NAME]`, `raw.source` and `event.source`.
    fn name(&self) -> &'static str;

    /// The URL paths that this source answers.
    fn routes(&self) -> &'static [Route];

    /// Whether whoever is told "busy" comes again. Who does not is the last to hear it.
    fn comes_again(&self) -> bool {
        true
    }

    /// Whether machines enrol with it. Who does not is let in by the secret of its table.
    fn enrols(&self) -> bool {
        true
    }

    /// Answers one request. `body` is as it came, still compressed; raw lines go to `sink` before the reply is made,
    /// and the caller sends the reply only once they are durable.
    fn answer(&self, request: &Request<'_>, body: &mut dyn BufRead, desk: &dyn Desk, sink: &mut dyn Sink) -> Reply;

    /// The events of one raw line of this source; none if the record holds nothing (a batch without rows).
    fn translate(&self, raw: &Raw) -> Result<Vec<Event>, Refusal>;

    /// The event of a raw line whose record is one event as it stands and tells nothing of its machine: what
    /// [`Source::translate`] makes of it, without making anything. `None`: it is not so plain. `record` are the members of
    /// the record, which is canonical.
    fn plain<'a>(&self, _kind: &[u8], _received: Time, _record: json::Object<'a>) -> Option<Plain<'a>> {
        None
    }

    /// The events of one line of the agent's own log. There is no receipt: `received` is the record's own time,
    /// `now` only if it has none, and nothing is clamped.
    fn read_log(&self, line: &[u8], now: Time) -> Result<Vec<Event>, Refusal>;

    /// What a raw line tells of the inventory of its machine, if it is about that.
    fn snapshot(&self, _raw: &Raw) -> Option<Result<Snapshot, Refusal>> {
        None
    }

    /// What a raw line tells about its machine beyond the machine block, if anything.
    fn facts(&self, _raw: &Raw) -> Option<MachineFacts> {
        None
    }
}

/// A request without its body.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// A random id that no other request has; it takes the place of a time in the ids of records that have none.
    pub id: &'a str,
    /// When it came.
    pub received: Time,
    /// The method in capitals.
    pub method: &'a str,
    /// The route that its path took.
    pub route: &'static Route,
    /// What stands in the places of `*` in the route's path.
    pub parts: &'a [&'a str],
    /// What stands behind the `?`.
    pub query: Option<&'a str>,
    /// All headers, for what is not below.
    pub headers: &'a dyn Headers,
    /// `Content-Encoding`, if it was sent.
    pub encoding: Option<&'a str>,
    /// Address of the client.
    pub ip: Option<&'a str>,
    /// `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// Inflated bytes held in memory for one body; a log body beyond it is split while it streams, if the sink lets it.
    pub inflated_max: usize,
}

/// What a source may ask about who speaks and what is known.
pub trait Desk {
    /// Checks an enrolment secret of `source` and takes the machine in, in one step (so that a quota holds).
    fn enrol(&self, source: &'static str, secret: &str, facts: &MachineFacts) -> Enrolment;

    /// Whose node key this is.
    fn speaker(&self, source: &'static str, node_key: &str) -> Speaker;

    /// The bytes of the osquery configuration for this machine: the same bytes until something in it changes.
    fn osquery_config(&self, machine: &Machine) -> Result<Arc<[u8]>, Unavailable>;

    /// What osquery asks beside this; none: the hub asks its agents nothing.
    fn osquery(&self) -> Option<&dyn osquery::Desk> {
        None
    }

    /// Notes that this machine spoke (`last_seen`). True if a line about the request itself is due: at most one per
    /// machine, source, kind and 10 minutes, and none while there is no room for it.
    fn heard(&self, source: &'static str, machine: &Machine, kind: &'static str) -> bool;

    /// What Santa asks; none if the hub does not speak with it.
    fn santa(&self) -> Option<&dyn santa::Desk> {
        None
    }

    /// The Jamf servers that may call.
    fn jamf(&self) -> &[jamf::Caller] {
        &[]
    }

    /// The webhook of this name.
    fn webhook(&self, _name: &str) -> Option<&webhook::Hook> {
        None
    }

    /// What only Munki asks.
    fn munki(&self) -> Option<&dyn munki::Desk> {
        None
    }
}

/// What came of an enrolment.
pub enum Enrolment {
    /// A fresh node key; the machine is known as `machine` from now on. `again`: it was known before.
    Accepted {
        /// The key, to be said once and kept as a hash only.
        node_key: String,
        /// The machine block of its raw lines, unit included.
        machine: Machine,
        /// It has been enrolled before.
        again: bool,
    },
    /// The secret is unknown, expired, revoked, used up or another source's: a word for the metrics.
    Refused(&'static str),
    /// The serial number is known with other hardware, in another unit or with a certificate (design § 6).
    Conflict {
        /// The machine as it is enrolled.
        known: Machine,
        /// What differs.
        why: &'static str,
        /// Somebody may approve of it.
        pending: bool,
    },
    /// The registry can't be read or written.
    Unavailable,
}

/// Who speaks.
#[expect(clippy::large_enum_variant, reason = "one lives for one request, and it is nearly always the large one")]
pub enum Speaker {
    /// The machine that the key was given to.
    Known(Machine),
    /// Nobody has this key: the agent is to enrol again.
    Unknown,
    /// The machine of this key must show a client certificate, and whoever asks has shown none. Not
    /// [`Speaker::Unknown`]: the key is good, and an agent that throws it away could not come back without one.
    Uncertified,
    /// The registry can't be read; never to be mistaken for [`Speaker::Unknown`], or a whole fleet enrols anew.
    Unavailable,
}

/// The registry can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// Where raw lines go.
pub trait Sink {
    /// Takes `count` whole lines, each ended by a newline. `Err`: there is no room, and the agent is told "busy".
    fn lines(&mut self, lines: Vec<u8>, count: usize) -> Result<(), NoRoom>;

    /// The body is longer than [`Request::inflated_max`]. `Err`: it is not to be gone on with here, and the answer does
    /// not count.
    fn long(&mut self) -> Result<(), NoRoom> {
        Ok(())
    }
}

/// The topic takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

/// What an agent says of its machine when it enrols.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineFacts {
    /// Serial number, if it is one.
    pub serial_number: Option<String>,
    /// Hardware UUID, if it is one.
    pub hardware_uuid: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// `macos`, `linux`, `windows`, `freebsd`.
    pub platform: Option<String>,
    /// Version of the operating system.
    pub os_version: Option<String>,
    /// Version of the agent.
    pub agent_version: Option<String>,
}

impl MachineFacts {
    /// The machine key: serial number, else hardware UUID, else host name.
    pub fn key(&self) -> Option<&str> {
        self.serial_number.as_deref().or(self.hardware_uuid.as_deref()).or(self.hostname.as_deref())
    }

    /// The machine block that these facts make.
    pub fn machine(&self) -> Machine {
        Machine {
            serial_number: self.serial_number.clone(),
            hardware_uuid: self.hardware_uuid.clone(),
            hostname: self.hostname.clone(),
            platform: self.platform.clone(),
            os_version: self.os_version.clone(),
            ..Machine::default()
        }
    }
}

/// An event whose payload is the record as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain<'a> {
    /// What happened.
    pub type_: &'static str,
    /// When.
    pub time: Time,
    /// Words to find it by.
    pub tags: &'static [&'static str],
    /// What it is about.
    pub objects: Vec<String>,
    /// The run of a query whose result it is.
    pub run: Option<Run<'a>>,
}

/// The run of a query, in the JSON texts of its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run<'a> {
    /// The name of the query.
    pub query: &'a [u8],
    /// It tells all rows.
    pub snapshot: bool,
    /// How often its count has begun anew; empty: it is not said.
    pub epoch: &'a [u8],
    /// Its number; empty: it is not said.
    pub counter: &'a [u8],
}

/// Why a record gives no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// A word for counters.
    pub reason: &'static str,
    /// A fragment for people.
    pub text: String,
}

impl Refusal {
    pub(crate) fn new(reason: &'static str, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}

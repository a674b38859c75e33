//! Webhooks of anybody: `POST /webhook/NAME` with any JSON, let in by a signature over the body or by a bearer.
//!
//! Each is one table `[source.NAME]` with `kind = "webhook"`, and its lines are NAME's. The type of its events is the kind
//! of its raw lines. What of a body names the machine, the payload and the time is said by programs of that table, which
//! `normalize` runs.

mod signature;
mod zendesk;

use std::io::BufRead;

use event::{Body, Event, Machine, Raw, Time, VERSION, json};
use serde_json::value::RawValue;

use crate::osquery::translate::canonical;
use crate::secret::Word;
use crate::{Desk, Lines, RECORD_MAX, Refusal, Reply, ReplyBody, Request, Route, Sink, Source, whole};

pub use signature::{ALGORITHMS, Algorithm, Signature, Signs};

/// The kind of these sources.
pub const NAME: &str = "webhook";
/// This source.
pub static SOURCE: Webhook = Webhook;

static ROUTES: [Route; 3] = [
    Route::new("/webhook/*", "webhook", Some(RECORD_MAX)),
    Route::new("/webhook/*/", "webhook", Some(RECORD_MAX)),
    Route::new("/zendesk/post_event/", "post_event", Some(RECORD_MAX)).legacy(),
];

/// Who may call under one name.
#[derive(Debug, Clone)]
pub struct Hook {
    /// The name of its table.
    pub name: String,
    /// The type of its events.
    pub type_: String,
    /// What lets a request in.
    pub lock: Lock,
}

/// What lets a request in.
#[derive(Debug, Clone)]
pub enum Lock {
    /// `Authorization: Bearer SECRET`.
    Bearer(Word),
    /// A signature over the body.
    Signed(Signature),
}

/// See the module.
#[derive(Debug)]
pub struct Webhook;

impl Source for Webhook {
    fn name(&self) -> &'static str {
        NAME
    }

    fn routes(&self) -> &'static [Route] {
        &ROUTES
    }

    fn comes_again(&self) -> bool {
        false
    }

    fn enrols(&self) -> bool {
        false
    }

    fn answer(&self, request: &Request<'_>, body: &mut dyn BufRead, desk: &dyn Desk, sink: &mut dyn Sink) -> Reply {
        match request.method {
            "POST" if request.route.legacy => {
                crate::legacy::plain(zendesk::post(request, body, desk, sink).unwrap_or_else(|reply| reply))
            }
            "POST" => post(request, body, desk, sink).unwrap_or_else(|reply| reply),
            _ => Reply::error(405, "method", "only POST is answered here").with("Allow", "POST"),
        }
    }

    fn translate(&self, raw: &Raw) -> Result<Vec<Event>, Refusal> {
        event(raw).map(|event| vec![event])
    }

    fn read_log(&self, _line: &[u8], _now: Time) -> Result<Vec<Event>, Refusal> {
        Err(Refusal::new("no_log", "a webhook has no log that can be read"))
    }
}

/// `Err` is a reply, too: the one that ends the conversation early.
fn post(request: &Request<'_>, body: &mut dyn BufRead, desk: &dyn Desk, sink: &mut dyn Sink) -> Result<Reply, Reply> {
    let name = request.parts.first().copied().unwrap_or_default();
    let hook = desk.webhook(name).ok_or_else(|| Reply::error(404, "path", "no such webhook"))?;
    let (bytes, signed_at) = match &hook.lock {
        Lock::Bearer(word) => {
            bearer(request, word)?;
            (whole::read(request, body, sink)?, None)
        }
        Lock::Signed(signature) => {
            let claim = signature.claim(request)?;
            let bytes = whole::read(request, body, sink)?;
            claim.check(&bytes)?;
            (bytes, claim.at())
        }
    };
    let mut text = Vec::with_capacity(bytes.len());
    json::canonical(&bytes, &mut text).map_err(|e| Reply::error(400, "not_json", &format!("body is not JSON: {e}")))?;
    let mut lines = Lines::new(&hook.name, request, &Machine::default());
    // The moment that was signed is the record's own: who sends a signed request once more repeats an event.
    lines.timed(&hook.type_, signed_at.map(Time::ms), &text);
    lines.flush(sink, true).map_err(|_| Reply::busy())?;
    Ok(Reply { records: 1, ..Reply::ok(ReplyBody::Fixed("{}")) })
}

fn bearer(request: &Request<'_>, word: &Word) -> Result<(), Reply> {
    let Some(value) = request.headers.get("authorization") else {
        return Err(Reply::error(401, "no_bearer", "a bearer is asked for").with("WWW-Authenticate", "Bearer"));
    };
    let said = value.trim().split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match said {
        Some((_, said)) if word.is(said.trim().as_bytes()) => Ok(()),
        _ => Err(Reply::error(403, "secret", "the bearer is another")),
    }
}

/// The event of a raw line: the body as it stands.
fn event(raw: &Raw) -> Result<Event, Refusal> {
    let text = match &raw.body {
        Body::Json(text) => canonical(text.get().as_bytes())?,
        Body::Base64 { .. } => return Err(Refusal::new("not_json", "record came as bytes")),
        Body::Cut { cut } => {
            return Err(Refusal::new("too_long", format!("record of {} bytes is over the limit", cut.bytes)));
        }
    };
    let payload = String::from_utf8(text).ok().and_then(|text| RawValue::from_string(text).ok());
    Ok(Event {
        v: VERSION,
        id: raw.id.clone(),
        type_: raw.kind.clone(),
        time: raw.received,
        received: raw.received,
        source: raw.source.clone(),
        tags: vec![NAME.to_owned()],
        machine: (raw.machine != Machine::default()).then(|| raw.machine.clone()),
        request: raw.request.clone(),
        objects: Vec::new(),
        cause: None,
        probes: Vec::new(),
        extra: raw.extra.clone(),
        payload: payload.ok_or_else(|| Refusal::new("not_json", "record is not JSON"))?,
    })
}

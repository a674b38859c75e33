//! What is the same for all sources that are asked: their raw lines hold a record and give no event of their own.

use std::io::BufRead;

use event::inventory::Snapshot;
use event::{Body, Event, Raw, Time};
use serde_json::{Map, Value};

use crate::{Desk, Refusal, Reply, Request, Route, Sink, Source};

/// The kind of the raw lines that hold what a server knows of a machine.
pub const MACHINE: &str = "machine";

/// A thing of the inventory.
pub(crate) type Object = Map<String, Value>;

/// A source that is asked by `pull` alone: nobody of it calls, enrols or has a log. A line of a machine gives no event: what
/// it says is the inventory's, if it says anything.
#[derive(Debug)]
pub struct Pulled {
    pub(crate) name: &'static str,
    pub(crate) snapshot: fn(&Raw) -> Result<Snapshot, Refusal>,
}

impl Source for Pulled {
    fn name(&self) -> &'static str {
        self.name
    }

    fn routes(&self) -> &'static [Route] {
        &[]
    }

    fn enrols(&self) -> bool {
        false
    }

    fn answer(&self, _: &Request<'_>, _: &mut dyn BufRead, _: &dyn Desk, _: &mut dyn Sink) -> Reply {
        Reply::error(404, "path", "no such path")
    }

    fn translate(&self, raw: &Raw) -> Result<Vec<Event>, Refusal> {
        match raw.kind.as_str() {
            MACHINE => (self.snapshot)(raw).map(|_| Vec::new()),
            kind => Err(Refusal::new("kind", format!("{kind:?} is no kind of record of such a source"))),
        }
    }

    fn read_log(&self, _line: &[u8], _now: Time) -> Result<Vec<Event>, Refusal> {
        Err(Refusal::new("no_log", format!("{} has no log that can be read; it is asked by `pull`", self.name)))
    }

    fn snapshot(&self, raw: &Raw) -> Option<Result<Snapshot, Refusal>> {
        (raw.kind == MACHINE).then(|| (self.snapshot)(raw))
    }
}

/// The record. One that was cut is refused: it must never look as if things had gone.
pub(crate) fn body(raw: &Raw) -> Result<Value, Refusal> {
    match &raw.body {
        Body::Json(text) => {
            serde_json::from_str(text.get()).map_err(|e| Refusal::new("not_json", format!("record is not JSON: {e}")))
        }
        Body::Base64 { .. } => Err(Refusal::new("not_json", "record came as bytes")),
        Body::Cut { cut } => Err(Refusal::new(
            "too_long",
            format!("record of {} bytes is over the limit: no inventory of it", cut.bytes),
        )),
    }
}

/// The members of an object that are there and say something, by our names.
pub(crate) fn pick(from: &Value, names: &[(&str, &str)]) -> Object {
    let said = |value: &Value| !(value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty()));
    names
        .iter()
        .filter_map(|(theirs, ours)| Some(((*ours).to_owned(), from.get(*theirs).filter(|v| said(v))?.clone())))
        .collect()
}

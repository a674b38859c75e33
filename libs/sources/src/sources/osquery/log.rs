//! The log POST: results and status lines, one raw line a record.
//!
//! A body that fits into memory is read whole, so its keys may stand in any order and nothing of it is taken before
//! all of it is understood. A longer one is split while it streams: then `node_key` and `log_type` must come before
//! `data`, as agents send them, and records that went out stay out (sent again they have the same ids).

use std::io::BufRead;

use super::{DONE, NAME, NO_NODE_KEY, carve, heard, known, not_an_object, own, said};
use crate::whole::unreadable;
use crate::{
    BodyError, Desk, Head, Inflate, Lines, Member, RECORD_MAX, RECORDS_MAX, Record, Reply, Request, Sink, Splitter,
    Take,
};

/// Bytes inflated at once while streaming.
const PIECE: usize = 64 << 10;
/// A label that an agent gives its log, kept as it is if it is this simple.
const LABEL_MAX: usize = 32;

/// Answers a log POST.
pub(super) fn answer(
    request: &Request<'_>,
    body: &mut dyn BufRead,
    desk: &dyn Desk,
    sink: &mut dyn Sink,
) -> Result<Reply, Reply> {
    let mut from = Inflate::new(body, request.encoding).map_err(unreadable)?;
    let mut bytes = Vec::new();
    if from.read(&mut bytes, request.inflated_max.saturating_add(1)).map_err(unreadable)? {
        whole(request, &bytes, desk, sink)
    } else {
        sink.long().map_err(|_| Reply::busy())?;
        stream(request, from, bytes, desk, sink)
    }
}

fn whole(request: &Request<'_>, body: &[u8], desk: &dyn Desk, sink: &mut dyn Sink) -> Result<Reply, Reply> {
    let mut records = Collect(Vec::new());
    let head = Splitter::default().whole(body, &mut records).map_err(not_taken)?;
    let machine = known(desk, node_key(&head)?)?;
    let kind = kind(&head)?;
    let mut records = records.0;
    match &head.data {
        Member::List => {}
        // osquery 1.6.4 wraps the list in a string, and writes an empty list as an empty string.
        Member::Text(text) if text.is_empty() => records.clear(),
        Member::Text(text) => {
            let mut inner = Collect(Vec::new());
            Splitter::list().whole(text.as_bytes(), &mut inner).map_err(|error| match error {
                BodyError::TooMany => not_taken(error),
                _ => wrong("data is not a list"),
            })?;
            return lines(request, &machine, &kind, &inner.0, desk, sink);
        }
        Member::Absent => return Err(Reply::error(400, "missing_key", "data is missing")),
        Member::Wrong => return Err(wrong("data is not a list")),
    }
    lines(request, &machine, &kind, &records, desk, sink)
}

fn lines(
    request: &Request<'_>,
    machine: &event::Machine,
    kind: &str,
    records: &[Record<'_>],
    desk: &dyn Desk,
    sink: &mut dyn Sink,
) -> Result<Reply, Reply> {
    let mut lines = Lines::new(NAME, request, machine);
    lines.reserve(records.len() + 1, records.iter().map(size).sum());
    if desk.heard(NAME, machine, "log") {
        said(&mut lines, "log");
    }
    for record in records {
        lines.record(kind, record);
        carves(record, kind, machine, desk, &mut lines);
        lines.flush(sink, false).map_err(|_| Reply::busy())?;
    }
    lines.flush(sink, true).map_err(|_| Reply::busy())?;
    Ok(Reply { records: records.len(), ..Reply::ok(DONE) })
}

/// Carves that a record says are scheduled.
fn carves(record: &Record<'_>, kind: &str, machine: &event::Machine, desk: &dyn Desk, lines: &mut Lines<'_>) {
    if let (Record::Json { text, .. }, "result") = (record, kind) {
        carve::look(text, machine, own(desk), lines);
    }
}

fn stream(
    request: &Request<'_>,
    mut from: Inflate<'_>,
    mut bytes: Vec<u8>,
    desk: &dyn Desk,
    sink: &mut dyn Sink,
) -> Result<Reply, Reply> {
    let mut splitter = Splitter::default();
    let mut out = Stream { request, desk, sink, to: None, records: 0, reply: None };
    let mut ended = false;
    loop {
        // `ended` lags a step, so that the last piece is cut, too.
        let done = match splitter.feed(&bytes, &mut out) {
            Ok(done) => done,
            Err(error) => return Err(out.reply.take().unwrap_or_else(|| not_taken(error))),
        };
        bytes.drain(..done);
        bytes.shrink_to(PIECE * 2);
        if let Some((lines, ..)) = &mut out.to {
            lines.flush(out.sink, false).map_err(|_| Reply::busy())?;
        }
        if ended {
            break;
        }
        let upto = bytes.len() + PIECE;
        ended = from.read(&mut bytes, upto).map_err(unreadable)?;
        if from.is_bomb() {
            return Err(bomb(out, from.counts()));
        }
    }
    let head = splitter.end().map_err(not_taken)?;
    match (head.data, out.to) {
        (Member::List, Some((mut lines, ..))) => {
            lines.flush(out.sink, true).map_err(|_| Reply::busy())?;
            Ok(Reply { records: out.records, ..Reply::ok(DONE) })
        }
        (Member::Absent, _) => Err(Reply::error(400, "missing_key", "data is missing")),
        (_, None) => Err(too_large()),
        _ => Err(wrong("data is not a list")),
    }
}

/// What came of it before stays; the machine that sent it is named once.
fn bomb(out: Stream<'_, '_>, (compressed, inflated): (u64, u64)) -> Reply {
    if let Some((mut lines, machine, _)) = out.to {
        if out.desk.heard(NAME, &machine, "bomb") {
            let body = format!("{{\"reason\":\"bomb\",\"compressed\":{compressed},\"inflated\":{inflated}}}");
            lines.own("refused", body.as_bytes());
        }
        if lines.flush(out.sink, true).is_err() {
            return Reply::busy();
        }
    }
    unreadable(crate::InflateError::Bomb)
}

fn node_key(head: &Head) -> Result<&str, Reply> {
    match &head.node_key {
        Member::Text(key) => Ok(key),
        Member::Absent => Err(Reply::error(400, "missing_key", NO_NODE_KEY)),
        _ => Err(wrong("node_key is not a string")),
    }
}

/// The kind of the raw lines. A label that we don't know is taken and kept (a refusal would come back for ever), but
/// marked, so that no agent can say `enroll` in our name.
fn kind(head: &Head) -> Result<String, Reply> {
    match &head.log_type {
        Member::Text(kind) if matches!(kind.as_str(), "result" | "status") => Ok(kind.clone()),
        Member::Text(label) => {
            let simple = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            let simple = !label.is_empty() && label.len() <= LABEL_MAX && label.chars().all(simple);
            Ok(format!("log:{}", if simple { label.as_str() } else { "other" }))
        }
        Member::Absent => Err(Reply::error(400, "missing_key", "log_type is missing")),
        _ => Err(wrong("log_type is not a string")),
    }
}

fn size(record: &Record<'_>) -> usize {
    match record {
        Record::Json { text, .. } => text.len(),
        Record::Bytes { text, .. } => text.len() / 3 * 4 + 20,
        Record::Cut { head, .. } => head.len() + 128,
    }
}

fn not_taken(error: BodyError) -> Reply {
    match error {
        BodyError::NotObject => not_an_object(),
        BodyError::TooMany => Reply::error(413, "too_many", &format!("body holds more than {RECORDS_MAX} records")),
        BodyError::TooLong => {
            let text = format!("a key or value of the body itself is longer than {RECORD_MAX} bytes");
            Reply::error(413, "too_long", &text)
        }
        BodyError::NotJson | BodyError::Stopped => Reply::error(400, "not_json", "body is not JSON"),
    }
}

fn too_large() -> Reply {
    let text = "body is too long to be held: node_key and log_type must come before data, and data be a list";
    Reply::error(413, "too_large", text)
}

fn wrong(text: &str) -> Reply {
    Reply::error(400, "wrong_type", text)
}

struct Collect<'t>(Vec<Record<'t>>);

impl<'t> Take<'t> for Collect<'t> {
    fn data(&mut self, _: &Head) -> Result<(), BodyError> {
        self.0.clear();
        Ok(())
    }

    fn record(&mut self, _: &Head, record: Record<'t>) -> Result<(), BodyError> {
        self.0.push(record);
        Ok(())
    }
}

struct Stream<'a, 'r> {
    request: &'a Request<'r>,
    desk: &'a dyn Desk,
    sink: &'a mut dyn Sink,
    /// Since `data` began: the lines, whose they are, and their kind.
    to: Option<(Lines<'r>, event::Machine, String)>,
    records: usize,
    /// Why it was stopped.
    reply: Option<Reply>,
}

impl Stream<'_, '_> {
    fn begin(&mut self, head: &Head) -> Result<(), Reply> {
        if head.node_key == Member::Absent || head.log_type == Member::Absent {
            return Err(too_large());
        }
        let machine = known(self.desk, node_key(head)?)?;
        let kind = kind(head)?;
        heard(self.request, &machine, "log", self.desk, self.sink);
        match &mut self.to {
            // A second `data`: its records count as well, what went out can't be called back.
            Some((_, of, as_kind)) if *of == machine => *as_kind = kind,
            Some(_) => return Err(wrong("node_key is there twice")),
            None => self.to = Some((Lines::new(NAME, self.request, &machine), machine, kind)),
        }
        Ok(())
    }
}

impl<'t> Take<'t> for Stream<'_, '_> {
    fn data(&mut self, head: &Head) -> Result<(), BodyError> {
        self.begin(head).map_err(|reply| {
            self.reply = Some(reply);
            BodyError::Stopped
        })
    }

    fn record(&mut self, _: &Head, record: Record<'t>) -> Result<(), BodyError> {
        let Some((lines, machine, kind)) = &mut self.to else { return Err(BodyError::Stopped) };
        lines.record(kind, &record);
        carves(&record, kind, machine, self.desk, lines);
        self.records += 1;
        lines.flush(self.sink, false).map_err(|_| {
            self.reply = Some(Reply::busy());
            BodyError::Stopped
        })
    }
}

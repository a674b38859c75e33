//! Eventupload: what was executed, accessed and decided, a line a record.

use std::io::BufRead;

use event::json;

use super::desk::Client;
use super::{Asking, NAME, fields, proto};
use crate::{Lines, RECORDS_MAX, Reply, Sink};

/// The lists of an upload, what their records are called in raw lines, and which field holds their time.
const LISTS: [(&str, &str, &str); 3] = [
    ("events", "event", "execution_time"),
    ("file_access_events", "file_access", "access_time"),
    ("audit_events", "audit", "timestamp"),
];

/// Answers an upload.
pub(super) fn answer(
    asking: &Asking<'_>,
    client: &Client,
    body: &mut dyn BufRead,
    sink: &mut dyn Sink,
) -> Result<Reply, Reply> {
    let object = fields::read(asking.request, body, usize::MAX, sink)?;
    let lists = fields::lists(&object, LISTS.map(|(name, ..)| name))
        .map_err(|name| Reply::error(400, "wrong_type", &format!("{name} is not a list")))?;
    let mut records = Vec::new();
    for (list, (_, kind, time)) in lists.into_iter().zip(LISTS) {
        records.extend(list.into_iter().map(|record| (kind, time, record)));
    }
    if records.len() > RECORDS_MAX {
        return Err(Reply::error(413, "too_many", &format!("more than {RECORDS_MAX} records")));
    }
    asking.hub.heard(NAME, &client.machine, "eventupload");
    let mut lines = Lines::new(NAME, asking.request, &client.machine);
    lines.reserve(records.len(), object.len());
    for (kind, time, record) in &records {
        lines.timed(kind, at(record, time), record);
        lines.flush(sink, false).map_err(|_| Reply::busy())?;
    }
    lines.flush(sink, true).map_err(|_| Reply::busy())?;
    let wanted = super::bundles::wanted(asking, client, &records, sink)?;
    let reply = if wanted.is_empty() {
        asking.done()
    } else {
        asking.ok(|| serde_json::json!({"event_upload_bundle_binaries": wanted}), || proto::upload(wanted.clone()))
    };
    Ok(Reply { records: records.len(), ..reply })
}

/// Answers a log: lines of santad, as a file or as the form that old agents send it in. What is no record is passed over.
pub(super) fn log(
    asking: &Asking<'_>,
    client: &Client,
    body: &mut dyn BufRead,
    sink: &mut dyn Sink,
) -> Result<Reply, Reply> {
    let text = fields::inflated(asking.request, body, usize::MAX, sink)?;
    asking.hub.heard(NAME, &client.machine, "logupload");
    let mut lines = Lines::new(NAME, asking.request, &client.machine);
    let (mut count, mut written) = (0usize, Vec::new());
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(made) = super::log::line(line, asking.request.received) else { continue };
        count += 1;
        if count > RECORDS_MAX {
            return Err(Reply::error(413, "too_many", &format!("more than {RECORDS_MAX} records")));
        }
        written.clear();
        json::write_str(&String::from_utf8_lossy(line.trim_ascii()), &mut written);
        let timed = made.time != asking.request.received;
        lines.timed("log", timed.then(|| made.time.ms()), &written);
        lines.flush(sink, false).map_err(|_| Reply::busy())?;
    }
    lines.flush(sink, true).map_err(|_| Reply::busy())?;
    Ok(Reply { records: count, ..asking.done() })
}

/// The time of a record in ms since 1970, if it names one: seconds, with a fraction. An audit event has it one level
/// deeper, in what happened.
pub(super) fn at(record: &[u8], name: &str) -> Option<i64> {
    let ms = |object: &[u8]| crate::osquery::time::ms(fields::field(object, name), None).filter(|ms| *ms != 0);
    if name == "timestamp" {
        json::members(record)
            .filter_map(Result::ok)
            .find_map(|(_, value)| ms(value.starts_with(b"{").then_some(value)?))
    } else {
        ms(record)
    }
}

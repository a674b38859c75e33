//! Bundles: of a bundle whose binary was blocked the hub asks for all binaries, and joins what comes into one event.

use event::json;

use super::desk::{Bundle, Client, Member};
use super::{Asking, NAME, fields};
use crate::{Lines, Reply, Sink};

/// A bundle of more binaries is not asked for.
const BINARIES_MAX: i64 = 2500;
/// Bundles asked for in one reply.
const WANTED_MAX: usize = 100;
/// What is told of a bundle, …
const ABOUT: [&str; 6] = [
    "file_bundle_id",
    "file_bundle_name",
    "file_bundle_path",
    "file_bundle_version",
    "file_bundle_version_string",
    "file_bundle_binary_count",
];
/// … and of a binary in it.
const BINARY: [&str; 6] = ["file_sha256", "file_path", "file_name", "cdhash", "team_id", "signing_id"];

/// Takes in the binaries of bundles among these records; the hashes of the bundles that are to be uploaded.
pub(super) fn wanted(
    asking: &Asking<'_>,
    client: &Client,
    records: &[(&str, &str, &[u8])],
    sink: &mut dyn Sink,
) -> Result<Vec<String>, Reply> {
    let events = || records.iter().filter(|(kind, ..)| *kind == "event").map(|(.., record)| *record);
    let members: Vec<Member> = events().filter(|record| is_member(record)).filter_map(member).collect();
    if !members.is_empty() {
        join(asking, client, &members, sink)?;
    }
    let asks = asking.desk.settings(&client.machine).enable_bundles == Some(true);
    // Settings hold from the first postflight on.
    if !asks || client.ledger.confirmed.is_none() {
        return Ok(Vec::new());
    }
    let mut wanted: Vec<String> = Vec::new();
    for bundle in events().filter(|record| !is_member(record)).filter_map(bundle) {
        if wanted.len() >= WANTED_MAX || wanted.contains(&bundle.hash) {
            continue;
        }
        let known = asking.desk.bundle(&bundle.hash).map_err(|_| Reply::busy())?;
        if known.is_none() {
            sink.long().map_err(|_| Reply::busy())?; // what follows waits for the disk
            asking.desk.await_bundle(&bundle).map_err(|_| Reply::busy())?;
        }
        if known != Some(true) {
            wanted.push(bundle.hash);
        }
    }
    Ok(wanted)
}

/// Keeps binaries of bundles; a line for each bundle that is whole now.
fn join(asking: &Asking<'_>, client: &Client, members: &[Member], sink: &mut dyn Sink) -> Result<(), Reply> {
    sink.long().map_err(|_| Reply::busy())?; // what follows waits for the disk
    let whole = asking.desk.collect(members).map_err(|_| Reply::busy())?;
    if whole.is_empty() {
        return Ok(());
    }
    let mut lines = Lines::new(NAME, asking.request, &client.machine);
    let mut hashes = Vec::new();
    for (bundle, binaries) in whole {
        let mut text = bundle.about.into_bytes();
        text.pop(); // the closing bracket
        text.extend_from_slice(b",\"binaries\":[");
        text.extend_from_slice(binaries.join(",").as_bytes());
        text.extend_from_slice(b"]}");
        lines.own("bundle", &text);
        hashes.push(bundle.hash);
    }
    lines.flush(sink, true).map_err(|_| Reply::busy())?;
    // Only then: a bundle that is told twice is better than one that is never told.
    asking.desk.told(&hashes).map_err(|_| Reply::busy())
}

/// Whether a record is there only because its bundle was asked for.
fn is_member(record: &[u8]) -> bool {
    matches!(fields::field(record, "decision"), Some(b"\"BUNDLE_BINARY\"" | b"15" | b"\"15\""))
}

fn member(record: &[u8]) -> Option<Member> {
    let (bundle, file) = (hash(record, "file_bundle_hash")?, hash(record, "file_sha256")?);
    Some(Member { bundle, file, about: some(record, &BINARY, None) })
}

fn bundle(record: &[u8]) -> Option<Bundle> {
    let hash = hash(record, "file_bundle_hash")?;
    let count = fields::count(record, "file_bundle_binary_count");
    let about = some(record, &ABOUT, Some(("file_bundle_hash", &hash)));
    (1..=BINARIES_MAX).contains(&count).then_some(Bundle { hash, count, about })
}

/// A SHA-256 in small letters.
fn hash(record: &[u8], name: &str) -> Option<String> {
    let text = fields::text(record, name)?;
    (text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

/// An object of some fields of a record.
fn some(record: &[u8], names: &[&str], first: Option<(&str, &str)>) -> String {
    let mut text = b"{".to_vec();
    let key = |text: &mut Vec<u8>, name: &str| {
        if text.len() > 1 {
            text.push(b',');
        }
        json::write_str(name, text);
        text.push(b':');
    };
    if let Some((name, value)) = first {
        key(&mut text, name);
        json::write_str(value, &mut text);
    }
    for name in names {
        if let Some(value) = fields::field(record, name) {
            key(&mut text, name);
            text.extend_from_slice(value);
        }
    }
    text.push(b'}');
    String::from_utf8(text).unwrap_or_default()
}

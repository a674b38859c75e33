//! Jamf Pro: its server posts a webhook for each thing that happens (`webhookEvent`), as JSON or XML.
//!
//! It waits 2 seconds for an answer and never sends again, so `{}` is said as soon as the line is on disk, and busy is the
//! last thing that it hears. One server is one table `[source.NAME]` with `kind = "jamf"`, and its lines are NAME's.
//! Which server speaks is known by its secret alone: in the path, or in a header.

mod body;
pub mod inventory;
mod legacy;
mod translate;
mod xml;

use std::io::BufRead;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use event::inventory::Snapshot;
use event::{Event, Raw, Time, json};

use crate::secret::Word;
use crate::{Desk, Lines, MachineFacts, RECORD_MAX, Refusal, Reply, ReplyBody, Request, Route, Sink, Source, whole};

/// The kind of these sources.
pub const NAME: &str = "jamf";
/// This source.
pub static SOURCE: Jamf = Jamf;
/// The kind of the raw lines that hold what a server knows of a computer; see [`inventory`].
pub const COMPUTER: &str = "computer";
/// The kind of the raw lines of webhooks.
pub const WEBHOOK: &str = "webhook";

static ROUTES: [Route; 5] = [
    Route::new("/jamf/post_event/*/", "post_event", Some(RECORD_MAX)),
    Route::new("/jamf/post_event/*", "post_event", Some(RECORD_MAX)),
    Route::new("/jamf/post_event/", "post_event", Some(RECORD_MAX)),
    Route::new("/jamf/post_event", "post_event", Some(RECORD_MAX)),
    Route::new("/jss/post_event/", "post_event", Some(RECORD_MAX)).legacy(),
];

/// A Jamf server that calls.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The name of its table.
    pub name: String,
    /// What its webhooks know.
    pub secret: Word,
    /// The header that says it where the path does not, in small letters.
    pub header: String,
    /// Accounts of the hub on it: what they do by its API is told to nobody, or the hub would hear of itself for ever.
    pub own_users: Vec<String>,
}

/// See the module.
#[derive(Debug)]
pub struct Jamf;

impl Source for Jamf {
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
                crate::legacy::plain(legacy::post(request, body, desk, sink).unwrap_or_else(|reply| reply))
            }
            "POST" => post(request, body, desk, sink).unwrap_or_else(|reply| reply),
            _ => Reply::error(405, "method", "only POST is answered here").with("Allow", "POST"),
        }
    }

    fn translate(&self, raw: &Raw) -> Result<Vec<Event>, Refusal> {
        match raw.kind.as_str() {
            WEBHOOK => translate::webhook(raw).map(|event| vec![event]),
            legacy::KIND => legacy::event(raw).map(|event| vec![event]),
            // What it says is the inventory's: see `snapshot`.
            COMPUTER => inventory::snapshot(raw).map(|_| Vec::new()),
            kind => Err(Refusal::new("kind", format!("{kind:?} is no kind of record of jamf"))),
        }
    }

    fn read_log(&self, _line: &[u8], _now: Time) -> Result<Vec<Event>, Refusal> {
        Err(Refusal::new("no_log", "jamf has no log that can be read; its server calls the hub"))
    }

    fn snapshot(&self, raw: &Raw) -> Option<Result<Snapshot, Refusal>> {
        (raw.kind == COMPUTER).then(|| inventory::snapshot(raw))
    }

    fn facts(&self, raw: &Raw) -> Option<MachineFacts> {
        if raw.kind == COMPUTER { inventory::facts(raw) } else { None }
    }
}

/// `Err` is a reply, too: the one that ends the conversation early.
fn post(request: &Request<'_>, body: &mut dyn BufRead, desk: &dyn Desk, sink: &mut dyn Sink) -> Result<Reply, Reply> {
    let caller =
        speaker(request, desk.jamf()).ok_or_else(|| Reply::error(403, "secret", "the secret is none of this hub's"))?;
    let text = body::json(&whole::read(request, body, sink)?)?;
    webhook(request, caller, &text, sink)
}

/// What a caller says, which is a webhook.
fn webhook(request: &Request<'_>, caller: &Caller, text: &[u8], sink: &mut dyn Sink) -> Result<Reply, Reply> {
    let webhook = body::Webhook::read(text)?;
    let done = Reply::ok(ReplyBody::Fixed("{}"));
    if webhook.user().is_some_and(|user| caller.own_users.iter().any(|own| own.eq_ignore_ascii_case(&user))) {
        return Ok(Reply { reason: "own_user", ..done });
    }
    let mut lines = Lines::new(&caller.name, request, &webhook.machine());
    lines.timed(WEBHOOK, webhook.ms(), text);
    lines.flush(sink, true).map_err(|_| Reply::busy())?;
    Ok(Reply { records: 1, ..done })
}

/// Who says one of their secrets; all are looked at, whichever it is.
fn speaker<'d>(request: &Request<'_>, callers: &'d [Caller]) -> Option<&'d Caller> {
    let in_path = request.parts.first().map(|part| decoded(part));
    let is = |caller: &Caller| match &in_path {
        Some(said) => caller.secret.is(said),
        None => request.headers.get(&caller.header).is_some_and(|value| in_header(value, &caller.secret)),
    };
    callers.iter().fold(None, |found, caller| if is(caller) { Some(caller) } else { found })
}

/// As it is, as `Bearer SECRET`, or as the password of `Basic`, the two ways of Jamf to say one.
fn in_header(value: &str, secret: &Word) -> bool {
    let value = value.trim();
    let behind = |scheme: &str| {
        let (said, rest) = value.split_once(' ')?;
        said.eq_ignore_ascii_case(scheme).then(|| rest.trim())
    };
    let password = || {
        let text = STANDARD.decode(behind("Basic")?).ok()?;
        let colon = text.iter().position(|byte| *byte == b':')?;
        text.get(colon + 1..).map(<[u8]>::to_vec)
    };
    secret.is(value.as_bytes())
        | behind("Bearer").is_some_and(|said| secret.is(said.as_bytes()))
        | password().is_some_and(|said| secret.is(&said))
}

/// A part of a path as it was meant: `%41` is `A`.
pub(crate) fn decoded(part: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [byte, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        (rest, _) = match (byte, hex) {
            (b'%', Some(meant)) => (tail.get(2..).unwrap_or_default(), out.push(meant)),
            _ => (tail, out.push(*byte)),
        };
    }
    out
}

/// The text of a member that is a string and says something.
pub(crate) fn said(object: &[u8], key: &str) -> Option<String> {
    json::parse_str(json::get(object, key)?).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_said_in_the_path_or_in_a_header() {
        assert_eq!(decoded("a%2Fb%zz%4"), b"a/b%zz%4");
        let word = Word::new("pass:word");
        let basic = format!("basic {}", STANDARD.encode("jamf:pass:word"));
        for (value, fits) in [
            ("pass:word", true),
            ("Bearer pass:word", true),
            (&basic, true),
            ("Bearer pass", false),
            ("Basic pass:word", false),
            ("Basic cGFzczp3b3Jk", false), // the password is `word` here
            ("", false),
        ] {
            assert_eq!(in_header(value, &word), fits, "{value}");
        }
    }
}

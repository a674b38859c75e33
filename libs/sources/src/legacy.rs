//! What the paths of a hub of 2017 have in common. They are answered only where `legacy_paths` says so, and each source
//! turns them into its own conversation.
//!
//! The secret of an enrolment comes with the machine behind it: `SECRET$SERIAL$sn`. Nobody vouches for that serial number:
//! whoever has the secret may speak for every machine of its unit. Errors are texts.

use event::json;

use crate::osquery::facts;
use crate::{MachineFacts, Reply, ReplyBody};

/// The one way to name a machine.
const METHOD: &str = "SERIAL";

/// A secret as it was said.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Said<'a> {
    /// The secret of the enrolment.
    pub secret: &'a str,
    /// The serial number behind it.
    pub serial: Option<&'a str>,
}

impl<'a> Said<'a> {
    /// Takes it apart.
    pub fn of(text: &'a str) -> Result<Self, Reply> {
        let Some((secret, rest)) = text.trim().split_once('$') else {
            return Ok(Self { secret: text.trim(), serial: None });
        };
        let (method, serial) =
            rest.split_once('$').ok_or_else(|| Reply::text(403, "secret_malformed", "Malformed secret"))?;
        if method != METHOD {
            return Err(Reply::text(403, "secret_method", "Invalid secret method"));
        }
        // What is no name, or longer than one, is no serial number either.
        match facts::name(serial) {
            Some(_) => Ok(Self { secret, serial: Some(serial.trim()) }),
            None => Err(Reply::text(403, "secret_value", "Invalid secret value")),
        }
    }

    /// The serial number, which has to be there.
    pub fn serial(&self) -> Result<&'a str, Reply> {
        self.serial.ok_or_else(|| Reply::text(400, "missing_serial", "The secret comes without a serial number"))
    }
}

/// What a serial number says of its machine. One that makers leave as a filler says nothing; it is all that there is, so
/// it stands for the name.
pub fn machine(serial: &str) -> MachineFacts {
    match facts::serial(serial) {
        Some(serial) => MachineFacts { serial_number: Some(serial), ..MachineFacts::default() },
        None => MachineFacts { hostname: facts::name(serial), ..MachineFacts::default() },
    }
}

/// The text for somebody who is not let in, by the word for the metrics.
pub fn denied(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "secret" | "secret_bad" | "secret_unknown" => "Bad secret signature",
        "secret_wrong_source" => "Invalid module",
        "secret_revoked" | "secret_expired" | "secret_used_up" => "Invalid secret",
        "conflict" => "Machine conflict",
        "no_certificate" => "Missing client certificate",
        _ => return None,
    })
}

/// The same reply, an error as text.
pub fn plain(reply: Reply) -> Reply {
    if reply.status < 400 {
        return reply;
    }
    let own = json::get(reply.body.as_bytes(), "error").and_then(json::parse_str).map(std::borrow::Cow::into_owned);
    match denied(reply.reason).map(str::to_owned).or(own) {
        Some(text) => {
            let body = ReplyBody::Own(text.into_bytes());
            Reply { body, ..reply }.of_type(crate::reply::TEXT)
        }
        None => reply,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_secret_names_its_machine() {
        let said = |text| Said::of(text).map(|said| (said.secret, said.serial)).map_err(|reply| reply.reason);
        assert_eq!(said(" zs1.a.1.b$SERIAL$C02 "), Ok(("zs1.a.1.b", Some("C02"))));
        assert_eq!(said("zs1.a.1.b$SERIAL$ C0$2"), Ok(("zs1.a.1.b", Some("C0$2"))));
        assert_eq!((said("zs1.a.1.b"), said("")), (Ok(("zs1.a.1.b", None)), Ok(("", None))));
        for (text, reason) in [
            ("s$SERIAL", "secret_malformed"),
            ("$", "secret_malformed"),
            ("s$UDID$x", "secret_method"),
            ("s$serial$x", "secret_method"),
            ("s$$x", "secret_method"),
            ("s$SERIAL$", "secret_value"),
            ("s$SERIAL$ \t", "secret_value"),
            ("s$SERIAL$a\0b", "secret_value"),
            (&format!("s$SERIAL${}", "x".repeat(300)), "secret_value"),
        ] {
            assert_eq!(said(text), Err(reason), "{text:?}");
        }
        assert_eq!(Said::of("s").unwrap().serial().unwrap_err().status, 400);
    }

    #[test]
    fn a_filler_is_a_name_and_no_serial_number() {
        assert_eq!(machine("C02").serial_number.as_deref(), Some("C02"));
        let filler = machine("0123456789");
        assert_eq!((filler.serial_number.as_deref(), filler.key()), (None, Some("0123456789")));
    }

    #[test]
    fn errors_are_texts() {
        let text = |reply: Reply| {
            let reply = plain(reply);
            (reply.status, reply.content_type, String::from_utf8(reply.body.as_bytes().to_vec()).unwrap())
        };
        let is = |status, said: &str| (status, crate::reply::TEXT, said.to_owned());
        assert_eq!(text(Reply::error(400, "not_json", "no \"JSON\"")), is(400, "no \"JSON\""));
        assert_eq!(text(Reply::error(403, "secret_wrong_source", "x")), is(403, "Invalid module"));
        assert_eq!(text(Reply::no_certificate()), is(403, "Missing client certificate"));
        assert_eq!(text(Reply::busy()), is(503, "busy"));
        assert_eq!(text(Reply::text(403, "x", "already")), is(403, "already"));
        let done = Reply::ok(ReplyBody::Fixed("{}"));
        assert_eq!(plain(done.clone()), done);
    }
}

//! A signature over the body: HMAC with a shared secret, and when it was made.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use event::Time;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha384, Sha512};

use crate::{Reply, Request};

/// The algorithms, by the words of the configuration.
pub const ALGORITHMS: [(&str, Algorithm); 3] =
    [("sha256", Algorithm::Sha256), ("sha384", Algorithm::Sha384), ("sha512", Algorithm::Sha512)];
/// Numbers above it are milliseconds: as seconds they would be beyond the year 5000.
const SECONDS_MAX: i64 = 99_999_999_999;
/// A longer header is no signature and no moment.
const HEADER_MAX: usize = 512;

/// The hash within the HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How requests are signed.
#[derive(Clone)]
pub struct Signature {
    /// The header that holds the signature, in small letters.
    pub header: String,
    /// The hash.
    pub algorithm: Algorithm,
    /// The shared secret.
    pub key: Vec<u8>,
    /// What is signed.
    pub signs: Signs,
    /// The header that holds the moment of signing (small letters), and how far it may lie from ours.
    pub moment: Option<(String, Duration)>,
}

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { header, algorithm, signs, moment, .. } = self;
        write!(f, "Signature({header:?}, {algorithm:?}, {signs:?}, {moment:?}, ***)")
    }
}

/// What is signed: `{body}`, or with the moment in it, such as `v0:{timestamp}:{body}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signs(String);

impl Signs {
    /// Reads it; the error is a fragment for people.
    pub fn parse(text: &str, with_moment: bool) -> Result<Self, &'static str> {
        let count = |word: &str| text.matches(word).count();
        match (count("{body}"), count("{timestamp}")) {
            (1, 1) if with_moment => Ok(Self(text.to_owned())),
            (1, 0) if !with_moment => Ok(Self(text.to_owned())),
            (1, 0) => Err("holds no {timestamp}: a moment that is not signed can be made up"),
            (1, 1) => Err("holds {timestamp}, but `timestamp` names no header"),
            _ => Err("holds {body} once, and {timestamp} at most once"),
        }
    }

    /// Calls `each` with the parts of what is signed.
    fn parts(&self, moment: &str, body: &[u8], mut each: impl FnMut(&[u8])) {
        let (before, after) = self.0.split_once("{body}").unwrap_or_default();
        each(before.replace("{timestamp}", moment).as_bytes());
        each(body);
        each(after.replace("{timestamp}", moment).as_bytes());
    }
}

/// What the headers of a request say, before its body was looked at.
pub(super) struct Claim<'r> {
    signature: &'r Signature,
    said: &'r str,
    moment: &'r str,
    at: Option<Time>,
}

impl Signature {
    /// The signature of this request, if it is of this time.
    pub(super) fn claim<'r>(&'r self, request: &'r Request<'_>) -> Result<Claim<'r>, Reply> {
        let header = |name: &str| request.headers.get(name).map(str::trim).filter(|value| value.len() <= HEADER_MAX);
        let missing = |name: &str| Reply::error(401, "no_signature", &format!("the header {name} is asked for"));
        let said = header(&self.header).ok_or_else(|| missing(&self.header))?;
        let Some((name, window)) = &self.moment else {
            return Ok(Claim { signature: self, said, moment: "", at: None });
        };
        let moment = header(name).ok_or_else(|| missing(name))?;
        let wrong = || Reply::error(403, "moment", &format!("the header {name} is no time"));
        let at = time(moment).ok_or_else(wrong)?;
        let off = request.received.ms().saturating_sub(at.ms()).unsigned_abs();
        if u128::from(off) > window.as_millis() {
            return Err(Reply::error(403, "window", "the request was signed too long ago, or a clock is wrong"));
        }
        Ok(Claim { signature: self, said, moment, at: Some(at) })
    }
}

impl Claim<'_> {
    /// The moment of signing.
    pub(super) fn at(&self) -> Option<Time> {
        self.at
    }

    /// Whether it is the signature of this body.
    pub(super) fn check(&self, body: &[u8]) -> Result<(), Reply> {
        let fits = match self.signature.algorithm {
            Algorithm::Sha256 => self.fits(Hmac::<Sha256>::new_from_slice(&self.signature.key).ok(), body),
            Algorithm::Sha384 => self.fits(Hmac::<Sha384>::new_from_slice(&self.signature.key).ok(), body),
            Algorithm::Sha512 => self.fits(Hmac::<Sha512>::new_from_slice(&self.signature.key).ok(), body),
        };
        if fits { Ok(()) } else { Err(Reply::error(403, "signature", "the signature is not that of this body")) }
    }

    /// Some senders write `sha256=` or `v0=` before it, in hex or in base64: each reading of it is tried.
    fn fits<M: Mac + Clone>(&self, mac: Option<M>, body: &[u8]) -> bool {
        let Some(mut mac) = mac else { return false };
        self.signature.signs.parts(self.moment, body, |part| mac.update(part));
        let behind = self.said.split_once('=').filter(|(name, _)| {
            (1..=10).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        });
        let texts = std::iter::once(self.said).chain(behind.map(|(_, rest)| rest));
        texts.flat_map(readings).any(|tag| mac.clone().verify_slice(&tag).is_ok())
    }
}

fn readings(text: &str) -> Vec<Vec<u8>> {
    let base64 = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
    hex(text).into_iter().chain(base64.into_iter().filter_map(|engine| engine.decode(text).ok())).collect()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if bytes.len().is_multiple_of(2) && bytes.iter().all(u8::is_ascii_hexdigit) {
        bytes.chunks(2).map(byte).collect()
    } else {
        None
    }
}

/// Seconds or milliseconds since 1970, or a time as RFC 3339 writes it.
fn time(text: &str) -> Option<Time> {
    match text.parse::<i64>() {
        Ok(n) if n.unsigned_abs() > SECONDS_MAX.unsigned_abs() => Some(Time::from_ms(n)),
        Ok(n) => Some(Time::from_ms(n.saturating_mul(1000))),
        Err(_) => text.parse().ok(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_said_whole() {
        assert!(Signs::parse("{body}", false).is_ok() && Signs::parse("v0:{timestamp}:{body}", true).is_ok());
        for (text, moment) in [("{body}", true), ("{timestamp}.{body}", false), ("", false), ("{body}{body}", false)] {
            assert!(Signs::parse(text, moment).is_err(), "{text}");
        }
        let mut all = Vec::new();
        let signs = Signs::parse("v0:{timestamp}:{body}!", true).unwrap();
        signs.parts("17", b"{timestamp}", |part| all.extend_from_slice(part));
        assert_eq!(all, b"v0:17:{timestamp}!", "nothing of a body is replaced");
    }

    #[test]
    fn a_moment_is_read_as_it_is_written() {
        let ms = |text| time(text).map(Time::ms);
        assert_eq!(ms("1767686405"), Some(1_767_686_405_000));
        assert_eq!(ms("1767686405678"), Some(1_767_686_405_678));
        assert_eq!(ms("2026-01-06T08:00:05Z"), Some(1_767_686_405_000));
        assert!(ms("yesterday").is_none() && ms("").is_none());
    }
}

//! What goes into a package, checked.

use crate::authorities::Authorities;
use crate::{Address, Agent, Error, Format, Identity};

/// All that goes into a package, as a configuration and an enrolment say it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The enrolment's source: who speaks.
    pub source: &'a str,
    /// Where agents find the hub.
    pub url: &'a str,
    /// PEM of those who vouch for the hub's certificate; none: whomever the machine believes.
    pub authorities: Option<&'a [u8]>,
    /// The enrolment's id: `[a-z0-9]+`.
    pub enrolment: &'a str,
    /// The enrolment's generation.
    pub generation: i64,
    /// When the enrolment was made, in ms since 1970: the package's version, so that a later enrolment replaces an earlier
    /// one, and the time of its files.
    pub created: i64,
    /// The unit of its machines: `[a-z0-9-]+`.
    pub unit: &'a str,
    /// What lets them in.
    pub secret: &'a str,
    /// Who signs installers of macOS; none: nobody.
    pub signer: Option<&'a Identity>,
}

/// A request that is understood.
pub struct Order<'a> {
    pub agent: Agent,
    pub address: Address,
    pub authorities: Option<Authorities>,
    pub enrolment: &'a str,
    pub generation: i64,
    /// Seconds since 1970.
    pub created: u32,
    pub unit: &'a str,
    pub secret: &'a str,
}

impl<'a> Order<'a> {
    /// What goes into scripts is checked letter by letter, wherever it comes from: nothing in it means anything to a shell,
    /// to PowerShell or in XML, least of all inside <<'…'. An address and authorities are made of such letters.
    pub fn of(request: &Request<'a>) -> Result<Self, Error> {
        let plain = |text: &str, more: &[u8], max| {
            (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
        };
        for (text, more, max, what) in [
            (request.enrolment, &b""[..], 64, "the enrolment's id"),
            (request.unit, b"-", 64, "the unit"),
            (request.secret, b".-_", 256, "the secret"),
        ] {
            if !plain(text, more, max) {
                return Err(Error::Unfit(what));
            }
        }
        Ok(Self {
            agent: Agent::of(request.source).ok_or_else(|| Error::Source(request.source.to_owned()))?,
            address: Address::parse(request.url).map_err(Error::Url)?,
            authorities: request.authorities.map(Authorities::read).transpose().map_err(Error::Authorities)?,
            enrolment: request.enrolment,
            generation: request.generation,
            created: u32::try_from(request.created / 1000).map_err(|_| Error::Unfit("the enrolment's time"))?,
            unit: request.unit,
            secret: request.secret,
        })
    }

    /// Name of the package's file.
    pub fn file(&self, format: Format) -> String {
        format!("zentral-{}-{}-{}.{}", self.agent.name(), self.unit, self.enrolment, format.name())
    }
}

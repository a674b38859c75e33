//! What makes an agent speak to a hub, in the form that its machine takes: installers, profiles, scripts.
//!
//! Everything that goes in is in a [`Request`]; nothing is read, no clock is asked, so the same request gives the same
//! bytes. What an agent's machine needs is in `osquery`, `munki` and `santa`, how a form is written in `form`.

mod address;
mod authorities;
mod contents;
mod form;
mod munki;
mod osquery;
mod profile;
mod santa;

pub use address::{Address, is_host};
pub use authorities::Authorities;

use contents::Contents;

/// Who speaks with the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// osquery 5.
    Osquery,
    /// Munki 3 to 7.
    Munki,
    /// Santa, of today and of before 2025.
    Santa,
}

impl Agent {
    /// The agent of a source, if it is one that packages are made for.
    pub fn of(source: &str) -> Option<Self> {
        [Self::Osquery, Self::Munki, Self::Santa].into_iter().find(|agent| agent.name() == source)
    }

    /// Its source's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Osquery => "osquery",
            Self::Munki => "munki",
            Self::Santa => "santa",
        }
    }

    /// The forms that its machines take. osquery reads its flags from a file only, so there is no profile for it; Munki
    /// and Santa are of macOS.
    pub fn formats(self) -> &'static [Format] {
        use Format::{Deb, Mobileconfig, Pkg, Ps1, Rpm, Sh, Zip};
        match self {
            Self::Osquery => &[Pkg, Deb, Rpm, Sh, Ps1, Zip],
            Self::Munki | Self::Santa => &[Pkg, Mobileconfig, Sh],
        }
    }
}

/// Form of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Installer of macOS, flat and unsigned.
    Pkg,
    /// Debian, Ubuntu.
    Deb,
    /// Red Hat, Fedora, SUSE.
    Rpm,
    /// Shell script for Linux and macOS.
    Sh,
    /// PowerShell script for Windows, all in one file.
    Ps1,
    /// The same for Windows with its files beside it.
    Zip,
    /// Profile of macOS.
    Mobileconfig,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Pkg, Self::Deb, Self::Rpm, Self::Sh, Self::Ps1, Self::Zip, Self::Mobileconfig];

    /// Its word on the command line, and the end of the file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pkg => "pkg",
            Self::Deb => "deb",
            Self::Rpm => "rpm",
            Self::Sh => "sh",
            Self::Ps1 => "ps1",
            Self::Zip => "zip",
            Self::Mobileconfig => "mobileconfig",
        }
    }

    /// What it is, in a few words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Pkg => "Installer of macOS, unsigned",
            Self::Deb => "Debian, Ubuntu",
            Self::Rpm => "Red Hat, Fedora, SUSE",
            Self::Sh => "Shell script for Linux and macOS",
            Self::Ps1 => "PowerShell script for Windows",
            Self::Zip => "PowerShell script for Windows, its files beside it",
            Self::Mobileconfig => "Profile of macOS",
        }
    }

    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Pkg => "application/octet-stream",
            Self::Deb => "application/vnd.debian.binary-package",
            Self::Rpm => "application/x-rpm",
            Self::Sh => "text/x-shellscript; charset=utf-8",
            Self::Ps1 => "text/plain; charset=utf-8",
            Self::Zip => "application/zip",
            Self::Mobileconfig => "application/x-apple-aspen-config",
        }
    }
}

/// All that goes into a package.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Whose.
    pub agent: Agent,
    /// Where the hub is.
    pub address: &'a Address,
    /// Who vouches for the hub's certificate; none: whomever the machine believes.
    pub authorities: Option<&'a Authorities>,
    /// The enrolment's id: `[a-z0-9]+`.
    pub enrolment: &'a str,
    /// The enrolment's generation.
    pub generation: i64,
    /// When the enrolment was made, in seconds since 1970: the package's version, so that a later enrolment replaces an
    /// earlier one, and the time of its files.
    pub created: u32,
    /// The unit of its machines: `[a-z0-9-]+`.
    pub unit: &'a str,
    /// What lets them in.
    pub secret: &'a str,
}

/// A package.
pub struct Package {
    /// A name for the file.
    pub name: String,
    /// Its media type.
    pub content_type: &'static str,
    /// The file. It holds a secret.
    pub bytes: Vec<u8>,
}

/// Why there is no package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The agent's machines do not take this form.
    Form(Agent, Format),
    /// This part of the request has letters that mean something to a shell, or is too long.
    Unfit(&'static str),
    /// What writes the form says no.
    Writer(String),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Form(agent, format) => {
                let there: Vec<&str> = agent.formats().iter().map(|format| format.name()).collect();
                let why = match (agent, format) {
                    (Agent::Osquery, Format::Mobileconfig) => "osquery reads no profile",
                    _ => "it runs on macOS only",
                };
                write!(f, "there is no {} for {}: {why}; there is {}", format.name(), agent.name(), there.join(", "))
            }
            Self::Unfit(what) => write!(f, "{what} does not fit into a package"),
            Self::Writer(why) => write!(f, "the package cannot be written: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// Builds it.
pub fn build(request: &Request, format: Format) -> Result<Package, Error> {
    check(request)?;
    let contents = || -> Contents {
        match request.agent {
            Agent::Osquery => osquery::contents(request, format),
            Agent::Munki => munki::contents(request),
            Agent::Santa => santa::contents(request),
        }
    };
    let bytes = match (format, request.agent) {
        (other, agent) if !agent.formats().contains(&other) => return Err(Error::Form(agent, format)),
        (Format::Pkg, _) => form::pkg::write(request, &contents())?,
        (Format::Deb, _) => form::deb::write(request, &contents())?,
        (Format::Rpm, _) => form::rpm::write(request, &contents())?,
        (Format::Sh, Agent::Osquery) => osquery::script(request).into(),
        (Format::Sh, Agent::Munki) => munki::script(request).into(),
        (Format::Sh, Agent::Santa) => santa::script(request).into(),
        (Format::Ps1, _) => osquery::windows(request).into(),
        (Format::Zip, _) => form::zip::write(request, &osquery::windows_files(request))?,
        (Format::Mobileconfig, Agent::Munki) => munki::profile(request).into(),
        (Format::Mobileconfig, _) => santa::profile(request).into(),
    };
    let name = format!("zentral-{}-{}-{}.{}", request.agent.name(), request.unit, request.enrolment, format.name());
    Ok(Package { name, content_type: format.content_type(), bytes })
}

/// What goes into scripts is checked letter by letter, wherever it comes from: nothing in it means anything to a shell,
/// to PowerShell or in XML, least of all inside <<'…'. The address and the authorities are made of such letters.
fn check(request: &Request) -> Result<(), Error> {
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
    Ok(())
}

/// A template with `@NAME@` replaced, in this order: what is put in may name what comes after it.
fn fill(template: &str, with: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (name, value) in with {
        text = text.replace(name, value);
    }
    text
}

/// The same, and then what every template may name.
fn fill_all(template: &str, request: &Request, with: &[(&str, &str)]) -> String {
    let (agent, url) = (request.agent.name(), request.address.url());
    let common = [
        ("@BASE@", url.as_str()),
        ("@URL@", &url),
        ("@IDENTIFIER@", &format!("io.zentral.enrol.{agent}")),
        ("@ID@", request.enrolment),
        ("@UNIT@", request.unit),
        ("@SECRET@", request.secret),
    ];
    fill(&fill(template, with), &common)
}

#[cfg(test)]
mod tests;

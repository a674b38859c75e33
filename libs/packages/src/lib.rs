//! What makes an agent speak to a hub, in the form that its machine takes: installers, profiles, scripts.
//!
//! Everything that goes in is in a [`Request`]; nothing is read, no clock is asked, so the same request gives the same
//! bytes. What an agent's machine needs is in `osquery`, `munki` and `santa`, how a form is written in `form`.

mod address;
mod authorities;
mod contents;
mod form;
mod identity;
mod kinds;
mod munki;
mod order;
mod osquery;
mod profile;
mod santa;

pub use address::{Address, is_host};
pub use identity::{Identity, Unfit};
pub use kinds::{Agent, Format};
pub use order::Request;

use order::Order;

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
    /// Packages are made for no such source.
    Source(String),
    /// The URL is none that agents can use.
    Url(String),
    /// What is wrong with the file of authorities.
    Authorities(String),
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
            Self::Source(source) => write!(f, "there is no package for {source}"),
            Self::Url(why) | Self::Authorities(why) => f.write_str(why),
            Self::Unfit(what) => write!(f, "{what} does not fit into a package"),
            Self::Writer(why) => write!(f, "the package cannot be written: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// Builds it.
pub fn build(request: &Request, format: Format) -> Result<Package, Error> {
    let order = &Order::of(request)?;
    let agent = order.agent;
    let contents = || match agent {
        Agent::Osquery => osquery::contents(order, format),
        Agent::Munki => munki::contents(order),
        Agent::Santa => santa::contents(order),
    };
    let bytes = match (format, agent) {
        _ if !agent.formats().contains(&format) => return Err(Error::Form(agent, format)),
        (Format::Pkg, _) => form::pkg::write(order, &contents(), request.signer)?,
        (Format::Deb, _) => form::deb::write(order, &contents())?,
        (Format::Rpm, _) => form::rpm::write(order, &contents())?,
        (Format::Sh, Agent::Osquery) => osquery::script(order).into(),
        (Format::Sh, Agent::Munki) => munki::script(order).into(),
        (Format::Sh, Agent::Santa) => santa::script(order).into(),
        (Format::Ps1, _) => osquery::windows(order).into(),
        (Format::Zip, _) => form::zip::write(order, &osquery::windows_files(order))?,
        (Format::Mobileconfig, Agent::Munki) => munki::profile(order).into(),
        (Format::Mobileconfig, _) => santa::profile(order).into(),
    };
    Ok(Package { name: order.file(format), content_type: format.content_type(), bytes })
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
fn fill_all(template: &str, order: &Order, with: &[(&str, &str)]) -> String {
    let (agent, url) = (order.agent.name(), order.address.url());
    let common = [
        ("@BASE@", url.as_str()),
        ("@URL@", &url),
        ("@IDENTIFIER@", &format!("io.zentral.enrol.{agent}")),
        ("@ID@", order.enrolment),
        ("@UNIT@", order.unit),
        ("@SECRET@", order.secret),
    ];
    fill(&fill(template, with), &common)
}

#[cfg(test)]
mod tests;

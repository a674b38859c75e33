//! What makes the agent of a machine speak to this hub.

use std::path::PathBuf;

use event::Time;
use packages::{Error, Format, Package, Request};
use pipe::config::Config;
use registry::db::Tx;
use registry::enrolments::Enrolment;
use registry::users::{By, audit};
use serde_json::json;

use crate::{Refused, secret, signer};

/// A package, and what to know about it.
pub struct Made {
    /// The file. It holds a secret.
    pub package: Package,
    /// The authority of the hub that was looked for and is not there: the package trusts those of each machine.
    pub no_authority: Option<PathBuf>,
}

/// The package of an enrolment; the same input gives the same bytes.
pub fn package(
    config: &Config,
    tx: &mut Tx<'_>,
    enrolment: &Enrolment,
    format: Format,
    by: &By,
    now: Time,
) -> Result<Made, Refused> {
    let made = build(config, enrolment, format, now)?;
    let Enrolment { id, unit, source, .. } = enrolment;
    let what = json!({"enrolment": id, "unit": unit, "source": source, "format": format.name()});
    audit(tx, by, "enrolment_package", what, now)?;
    Ok(made)
}

/// Where the authority of the hub would lie, if it is not there: packages then believe those that each machine believes.
pub fn believes_machines(config: &Config) -> Option<PathBuf> {
    config.authority().filter(|path| !path.exists())
}

fn build(config: &Config, enrolment: &Enrolment, format: Format, now: Time) -> Result<Made, Refused> {
    if enrolment.revoked {
        return Err(Refused::Revoked(enrolment.id.clone()));
    }
    let no_url = || Refused::Config("the configuration has no `url`".to_owned());
    let url = config.url.as_deref().ok_or_else(no_url)?;
    let path = config.authority().unwrap_or_default();
    let fail = |what: String| Refused::Config(format!("{}: {what}", path.display()));
    let (pem, no_authority) = match config.authority().map(std::fs::read).transpose() {
        Ok(pem) => (pem, None),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => (None, Some(path.clone())),
        Err(e) => return Err(fail(e.to_string())),
    };
    let secret = secret(config, enrolment)?;
    // Asked for here alone: a certificate that is over keeps nobody from the other forms.
    let signer = if format == Format::Pkg { signer(config).map_err(Refused::Config)? } else { None };
    if let Some(Err(why)) = signer.as_ref().map(|signer| signer.valid_at(now)) {
        return Err(Refused::Config(why));
    }
    let request = Request {
        source: &enrolment.source,
        url,
        authorities: pem.as_deref(),
        enrolment: &enrolment.id,
        generation: enrolment.generation,
        created: enrolment.created,
        unit: &enrolment.unit,
        secret: &secret,
        signer: signer.as_ref().map(|signer| &signer.identity),
    };
    let package = packages::build(&request, format).map_err(|error| match error {
        Error::Authorities(what) => fail(what),
        other @ (Error::Form(..) | Error::Source(_)) => Refused::Asked("format", other.to_string()),
        other => Refused::Config(other.to_string()),
    })?;
    Ok(Made { package, no_authority })
}
